"""The run of the suite against a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import trio

from trio_ws.conformance.case import Case
from trio_ws.conformance.judge import judge
from trio_ws.conformance.peer import Pace
from trio_ws.conformance.results import Result, Verdict
from trio_ws.conformance.server_under_test import CannotTest, ServerUnderTest

__all__ = ["Observer", "run_server_cases"]

GIVE_UP: Final = 5
"""Cases in a row without a connection after which the server is gone for good."""

Observer: TypeAlias = Callable[[Result], None]


async def run_server_cases(
    target: ServerUnderTest, cases: Sequence[Case], *, pace: Pace, jobs: int, observe: Observer
) -> None:
    """Run cases against a server.

    Args:
        target: the server.
        cases: in the order in which they are begun.
        pace: how long to wait.
        jobs: how many cases run at the same time.
        observe: called with each result.

    Raises:
        CannotTest: the server cannot be connected to any more.
        trio.Cancelled: the connections are closed; results so far were observed.
    """
    runner = _Runner(target, iter(cases), pace, observe)
    async with trio.open_nursery() as nursery:
        for _ in range(jobs):
            nursery.start_soon(runner.work, nursery.cancel_scope)
    if runner.gone is not None:
        raise runner.gone


class _Runner:
    """The tasks of one run share it."""

    def __init__(self, target: ServerUnderTest, cases: Iterator[Case], pace: Pace, observe: Observer) -> None:
        self.gone: CannotTest | None = None
        self._target = target
        self._cases = cases
        self._pace = pace
        self._observe = observe
        self._failures = 0

    async def work(self, scope: trio.CancelScope) -> None:
        """Run cases until none is left, or the server is gone."""
        for case in self._cases:
            try:
                stream = await self._target.connect(self._pace.timeout)
            except CannotTest as error:
                self._observe(Result(case, Verdict.ERROR, text=str(error)))
                self._failures += 1
                if self._failures >= GIVE_UP:
                    self.gone = error
                    scope.cancel(reason="the server is gone")
                continue
            self._failures = 0
            self._observe(await judge(case, stream, client=True, pace=self._pace, context=self._target.context()))
