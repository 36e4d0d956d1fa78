"""All chapters in their order, and the selection of cases from them."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.chapters import (
    closing,
    compression,
    control,
    extensions,
    fragmentation,
    framing,
    inflating,
    lengths,
    limits,
    masking,
    oddities,
    pings,
    races,
    requests,
    reserved,
    responses,
    slow,
    text,
    utf8,
)
from trio_ws.conformance.scale import QUICK, Scale

__all__ = ["UnknownCases", "all_cases", "all_chapters", "select"]

_LEVELS: Final = [Level.MUST, Level.SHOULD, Level.HARDENING]


class UnknownCases(ValueError):  # noqa: N818 - what they are
    """A pattern that selects no case."""


@cache
def all_chapters(scale: Scale = QUICK) -> tuple[Chapter, ...]:
    """Return all chapters, which are built once for each scale.

    Args:
        scale: the sizes of the large cases.
    """
    return (
        framing.CHAPTER,
        pings.CHAPTER,
        *reserved.CHAPTERS,
        fragmentation.CHAPTER,
        utf8.CHAPTER,
        closing.CHAPTER,
        *limits.chapters(scale),
        *compression.chapters(scale),
        races.CHAPTER,
        control.CHAPTER,
        lengths.CHAPTER,
        masking.CHAPTER,
        inflating.chapter(),
        slow.CHAPTER,
        text.CHAPTER,
        requests.CHAPTER,
        extensions.CHAPTER,
        oddities.CHAPTER,
        responses.CHAPTER,
    )


def all_cases(scale: Scale = QUICK) -> list[Case]:
    """Return all cases of all chapters."""
    return [case for chapter in all_chapters(scale) for case in chapter.cases]


def select(
    cases: Iterable[Case], side: str, *, only: Sequence[str] = (), skip: Sequence[str] = (), level: Level | None = None
) -> list[Case]:
    """Return the cases for one side that are wanted.

    Args:
        cases: to choose from.
        side: "server" or "client", which is under test.
        only: ids, beginnings of ids ("7" is the whole chapter), or patterns such as "6.*.1"; empty for all.
        skip: likewise, for those that are left out.
        level: the least level; None for all. MUST selects only those, SHOULD both.

    Raises:
        UnknownCases: a pattern selects nothing.
    """
    fitting = [case for case in cases if case.tests(side)]
    for pattern in (*only, *skip):
        if not any(_matches(case, pattern) for case in fitting):
            raise UnknownCases(
                f"no case of a {side} matches {pattern!r}: give ids such as 7.1.1, 7.1 or 7, or a pattern"
            )
    levels = _LEVELS if level is None else _LEVELS[: _LEVELS.index(level) + 1]
    return [
        case
        for case in fitting
        if case.weight in levels
        and (not only or any(_matches(case, pattern) for pattern in only))
        and not any(_matches(case, pattern) for pattern in skip)
    ]


def _matches(case: Case, pattern: str) -> bool:
    pattern = pattern.strip().removesuffix(".")
    return case.id == pattern or case.id.startswith(f"{pattern}.") or fnmatch.fnmatchcase(case.id, pattern)
