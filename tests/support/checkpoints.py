"""Cancelling a scenario at each of its checkpoints in turn, and looking for what it leaves behind.

A task can be cancelled where it begins, where it waits, and where its waiting is over but it has not run yet. The
helper tries all of them, until the scenario comes to its end before the cancellation would have come.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Literal

import trio

Moment = Literal["waits", "wakes"]

MOST_STEPS = 1000
"""More steps than any scenario has: it would never come to its end."""
PATIENCE = 5.0
"""Seconds that tasks and descriptors of the other side have to go away, on a slow machine."""


class _CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when a task, or one of its children, has waited so many times."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, steps: int, moment: Moment) -> None:
        self._task = task
        self._scope = scope
        self._steps = steps
        self._moment = moment
        self.fired = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._moment == "waits":
            self._count(task)

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if self._moment == "wakes":
            self._count(task)

    def _count(self, task: trio.lowlevel.Task) -> None:
        if not self.fired and self._concerns(task):
            self._steps -= 1
            if self._steps == 0:
                self.fired = True
                self._scope.cancel()

    def _concerns(self, task: trio.lowlevel.Task) -> bool:
        while task is not self._task:
            if task.parent_nursery is None:
                return False
            task = task.parent_nursery.parent_task
        return True


class Cut:
    """Where one run of a scenario is cancelled: what is inside `with cut():` is, at one of its checkpoints.

    Args:
        steps: how often it has waited until then; 0 cancels before it begins.
        moment: where it begins to wait, or where it ceases to.
    """

    def __init__(self, steps: int, moment: Moment) -> None:
        self._steps = steps
        self._moment = moment
        self.fired = False
        """Whether the scope was cancelled before the end of the block."""
        self.cancelled = False
        """Whether the block ended by it; a block may also come to its end after it was cancelled."""

    @contextmanager
    def __call__(self) -> Iterator[trio.CancelScope]:
        with trio.CancelScope() as scope:
            if self._steps == 0:
                self.fired = True
                scope.cancel()
                yield scope
            else:
                instrument = _CancelAtStep(trio.lowlevel.current_task(), scope, self._steps, self._moment)
                trio.lowlevel.add_instrument(instrument)
                try:
                    yield scope
                finally:
                    trio.lowlevel.remove_instrument(instrument)
                    self.fired = instrument.fired
        self.cancelled = scope.cancelled_caught

    def __repr__(self) -> str:
        return f"<cut where step {self._steps} {self._moment}>"


async def cancelled_at_each_checkpoint(scenario: Callable[[Cut], Awaitable[object]]) -> int:
    """Run `scenario(cut)` again and again, cancelled at one checkpoint later each time; return how often.

    Each run must leave no task and no descriptor behind.
    """
    runs = 0
    moments: tuple[Moment, ...] = ("waits", "wakes")
    for moment in moments:
        for steps in count(0 if moment == "waits" else 1):
            assert steps < MOST_STEPS, "the scenario never came to its end"
            cut = Cut(steps, moment)
            try:
                async with leaks_nothing():
                    await scenario(cut)
            except BaseException as error:
                error.add_note(f"in {cut}")
                raise
            runs += 1
            if not cut.fired:
                break
    return runs


def descriptors() -> int:
    """How many file descriptors this process has open; 0 where nobody counts."""
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def _tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


@asynccontextmanager
async def leaks_nothing() -> AsyncIterator[None]:
    """Check that no more descriptors and tasks are there after the block than before, once the other side saw it."""
    open_before, living_before = descriptors(), _tasks()
    yield
    with trio.move_on_after(PATIENCE):
        while descriptors() > open_before or _tasks() > living_before:
            await trio.lowlevel.checkpoint()
    assert descriptors() <= open_before, "descriptors leaked"
    assert _tasks() <= living_before, "tasks leaked"
