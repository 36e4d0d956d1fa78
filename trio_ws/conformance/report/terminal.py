"""The progress of a run on a terminal, and the summary at its end."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final, TextIO

from trio_ws.conformance.case import Chapter
from trio_ws.conformance.results import AgentResults, Result, Verdict
from trio_ws.escaping import printable

__all__ = ["Progress", "summary"]

REFRESH_SECONDS: Final = 0.1
_SHOWN: Final = (Verdict.OK, Verdict.NON_STRICT, Verdict.FAILED, Verdict.UNIMPLEMENTED, Verdict.ERROR)


class Progress:
    """Writes a line that is overwritten on a terminal, and a line for each deviation.

    Args:
        stream: standard error, as a rule; None if there is none.
        total: how many cases there are.
    """

    def __init__(self, stream: TextIO | None, total: int) -> None:
        self._stream = stream
        self._total = total
        self._terminal = stream is not None and stream.isatty()
        self._counts: Counter[Verdict] = Counter()
        self._written = 0.0

    def show(self, result: Result) -> None:
        """Show one result."""
        self._counts[result.verdict] += 1
        if not result.verdict.passed:
            known = " (known)" if result.known else ""
            self._line(f"{result.case.id:8} {result.verdict}{known} {result.case.title}: {_reason(result)}")
        if self._terminal and (time.monotonic() - self._written > REFRESH_SECONDS or self.done == self._total):
            self._written = time.monotonic()
            shown = ", ".join(f"{self._counts[each]} {each}" for each in _SHOWN if self._counts[each])
            self._write(f"\r\x1b[K{self.done} of {self._total}: {shown}")

    @property
    def done(self) -> int:
        """How many results were shown."""
        return sum(self._counts.values())

    def end(self) -> None:
        """Leave the line."""
        if self._terminal:
            self._write("\r\x1b[K")

    def _line(self, text: str) -> None:
        self._write(f"{chr(13) + chr(27) + '[K' if self._terminal else ''}{printable(text)}\n")

    def _write(self, text: str) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):  # the terminal or the reader has gone, or the disk is full
                self._stream.write(text)
                self._stream.flush()


def _reason(result: Result) -> str:
    return f"{result.text} [{result.section}]" if result.section else result.text


def summary(results: AgentResults, chapters: Iterable[Chapter], *, planned: int, outdated: list[str]) -> str:
    """Return the summary of a run: a table of verdicts by chapter, and a sentence.

    Args:
        results: of the run, maybe of a part of the cases.
        chapters: for their titles.
        planned: how many cases there were to be.
        outdated: ids of the baseline whose deviation is gone.
    """
    rows = []
    titles = {chapter.number: chapter.title for chapter in chapters}
    for number, title in titles.items():
        counts = Counter(each.verdict for each in results.results if each.case.chapter == number)
        if counts:
            cells = "".join(f"{counts[verdict] or '':>{len(verdict) + 2}}" for verdict in _SHOWN)
            rows.append(f"{number:>3} {title:36}{cells}")
    head = f"{results.agent}, a {results.side}"[:40]
    lines = [f"{head:40}{''.join(f'{verdict:>{len(verdict) + 2}}' for verdict in _SHOWN)}", *rows]
    return "\n".join([*lines, *_sentences(results, planned, outdated)])


def _sentences(results: AgentResults, planned: int, outdated: list[str]) -> Iterable[str]:
    bad = Counter(str(each.case.weight) for each in results.results if each.bad)
    done = len(results.results)
    ended = "" if done == planned else f"; {planned - done} did not run"
    known = sum(each.known for each in results.results)
    failed = ", ".join(f"{count} {level}" for level, count in sorted(bad.items())) or "none"
    yield f"{done} cases ran{ended}. Failed: {failed}{f'; {known} known' if known else ''}."
    if outdated:
        yield f"The baseline lists what is mended: remove {', '.join(outdated)}."
