"""Verdicts on cases, and what stands behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import attrs

from trio_ws.conformance.case import Case, Level
from trio_ws.conformance.log import LogEntry

__all__ = ["AgentResults", "Result", "Verdict"]


class Verdict(StrEnum):
    """The outcome of a case."""

    OK = "OK"
    NON_STRICT = "NON-STRICT"
    """Allowed, but not what was hoped for; the remarks say why."""
    FAILED = "FAILED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    """The implementation has not what the case tests, such as compression."""
    ERROR = "ERROR"
    """There was no connection to judge."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self not in (Verdict.FAILED, Verdict.ERROR)


@attrs.frozen
class Result:
    """The verdict on one case.

    Args:
        case: the case.
        verdict: likewise.
        section: of the rule that was broken, "" if none was.
        text: the fault, or the reasons of a NON-STRICT.
        log: the wire log.
        seconds: that the case took.
        known: whether the baseline file lists the deviation.
    """

    case: Case
    verdict: Verdict
    section: str = ""
    text: str = ""
    log: tuple[LogEntry, ...] = attrs.field(default=(), repr=False)
    seconds: float = 0.0
    known: bool = False

    @property
    def bad(self) -> bool:
        """Whether it counts against the implementation."""
        return not self.verdict.passed and not self.known


_STATUS: Final = {Level.MUST: 1, Level.SHOULD: 3, Level.HARDENING: 4}


@attrs.define
class AgentResults:
    """The results of one implementation.

    Args:
        agent: its name.
        side: "server" or "client", which it is.
        results: in the order of the cases.
        version: of this library, whose suite it was.
    """

    agent: str
    side: str
    results: list[Result] = attrs.field(factory=list)
    version: str = ""

    def count(self) -> Counter[Verdict]:
        """Return how many cases have each verdict."""
        return Counter(result.verdict for result in self.results)

    def exit_status(self) -> int:
        """Return 0 if no case failed; else 1, 3 or 4, if the gravest that did is a MUST, a SHOULD or hardening.

        2 stands for a wrong command line, as elsewhere.
        """
        return min((_STATUS[result.case.weight] for result in self.results if result.bad), default=0)


def in_order(results: Iterable[Result], cases: Iterable[Case]) -> list[Result]:
    """Return results in the order of the cases."""
    place = {case.id: index for index, case in enumerate(cases)}
    return sorted(results, key=lambda result: place[result.case.id])
