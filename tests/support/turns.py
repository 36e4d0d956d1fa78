"""The scheduler's turns, counted: what tests of fairness measure in, because time would measure the machine."""

from __future__ import annotations

import trio


class Turns(trio.abc.Instrument):
    """Counts the scheduler's turns; each runs every task once that could run when it began."""

    def __init__(self) -> None:
        self.count = 0

    def after_io_wait(self, timeout: float) -> None:
        self.count += 1


class Streak(trio.abc.Instrument):
    """Counts how many steps the current task made at most without giving way to others."""

    def __init__(self) -> None:
        self.longest = 0
        self._now = 0
        self._task = trio.lowlevel.current_task()
        trio.lowlevel.add_instrument(self)

    def step(self) -> None:
        self._now += 1
        self.longest = max(self.longest, self._now)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._now = 0
