"""The cases and the chapters of the tables."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, TypeAlias

import attrs

from trio_ws.conformance.deflate import Wish
from trio_ws.conformance.opening import OpeningRequest, OpeningResponse
from trio_ws.conformance.outcomes import CLEAN, Answer, Ending, Outcome
from trio_ws.conformance.steps import Step

__all__ = ["Case", "Chapter", "Level", "Opening"]


class Level(StrEnum):
    """How much a case weighs."""

    MUST = "MUST"
    """The RFC demands what the case allows."""
    SHOULD = "SHOULD"
    """The RFC recommends it."""
    HARDENING = "hardening"
    """No RFC says so: the peer is slow, hostile or broken, and the implementation has to survive it."""


def _steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(steps)


def _answers(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    return tuple(answers)


Opening: TypeAlias = Literal["accepted", "refused", "either"]


@attrs.frozen
class Case:
    """One case.

    Args:
        id: its number; in chapters 1 to 13 that of the published list.
        title: the behaviour of the suite, in a clause.
        steps: the script after the opening handshake.
        answers: messages and pongs that must come back, in this order and no others, beside those of `Exchange`
            and `Flood`.
        ending: how the connection must end.
        nonstrict: why a part of the answers, counted from the first, is right as well. The verdict says so.
        wishes: offers of permessage-deflate, the favourite first; none: without compression.
        section: where the rule stands; "" for the section of the chapter.
        level: how much it weighs; None for the level of the chapter.
        side: which implementations it tests: "server", "client", or "" for both.
        also: other outcomes that are allowed.
        request: the suite's opening request, if a server is under test.
        response: the suite's answer to it, if a client is under test.
        opening: the outcome of the opening handshake.
        check: name of a check of the other side's request or response (`opening_checks`).
        offers: values of Sec-WebSocket-Extensions that the suite sends, as they are.
        acceptable: which of the offers a server may accept, by their index.
    """

    id: str
    title: str
    steps: tuple[Step, ...] = attrs.field(converter=_steps, repr=False, default=())
    answers: tuple[Answer, ...] = attrs.field(converter=_answers, default=(), repr=False)
    ending: Ending = CLEAN
    nonstrict: str = ""
    wishes: tuple[Wish, ...] = ()
    section: str = attrs.field(default="", kw_only=True)
    level: Level | None = attrs.field(default=None, kw_only=True)
    side: Literal["server", "client", ""] = attrs.field(default="", kw_only=True)
    also: tuple[Outcome, ...] = attrs.field(default=(), kw_only=True)
    request: OpeningRequest | None = attrs.field(default=None, kw_only=True)
    response: OpeningResponse | None = attrs.field(default=None, kw_only=True)
    opening: Opening = attrs.field(default="accepted", kw_only=True)
    check: str = attrs.field(default="", kw_only=True)
    offers: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    acceptable: tuple[int, ...] = attrs.field(default=(), kw_only=True)

    @property
    def chapter(self) -> str:
        """The number before the first dot."""
        return self.id.split(".")[0]

    @property
    def weight(self) -> Level:
        """The level, `MUST` if none is set."""
        return self.level or Level.MUST

    def tests(self, side: str) -> bool:
        """Return whether it is for a "server" or a "client"."""
        return self.side in ("", side)


@attrs.frozen
class Chapter:
    """The table of one chapter.

    Args:
        number: the first number of its cases.
        title: its subject.
        section: where the rules of those cases stand that name none.
        cases: in order.
        level: of those cases that name none.
    """

    number: str
    title: str
    section: str
    cases: tuple[Case, ...]
    level: Level = Level.MUST

    @classmethod
    def of(cls, number: str, title: str, section: str, cases: Iterable[Case], *, level: Level = Level.MUST) -> Chapter:
        """Make a chapter; each case gets the section and the level, if it has none."""
        filled = tuple(attrs.evolve(case, section=case.section or section, level=case.level or level) for case in cases)
        return cls(number, title, section, filled, level)
