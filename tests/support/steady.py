"""The clock of all async tests that ask for no other: real time without what the test's process was not running.

A machine that is busy, or a process that is stopped, delays both sides of a test alike: nothing can be answered
meanwhile. By the system's clock deadlines pass in that time; by this one they do not, so a test's outcome does not
depend on the machine's speed. Other processes that a test starts have the system's clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeVar

import pytest
import trio

__all__ = ["MOST", "SteadyClock", "run", "use_steady_clock"]

MOST = 0.005
"""Seconds of work, and of delay behind the end of a wait, that count at most at once."""

_T = TypeVar("_T")


class SteadyClock(trio.abc.Clock):
    """Real time, in which a pause of the process lasts no longer than `MOST`.

    Args:
        now: where the system's time is read, in seconds.
    """

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self._now = now
        self._time = 0.0
        self._read = now()
        self._asleep = 0.0

    def start_clock(self) -> None:
        """Begin to count."""
        self._read = self._now()

    def current_time(self) -> float:
        """Return the seconds so far: since the last call those slept on purpose, and `MOST` besides."""
        now = self._now()
        self._time += min(now - self._read, self._asleep + MOST)
        self._read = now
        self._asleep = 0.0
        return self._time

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return the seconds up to a deadline, which Trio sleeps if nothing happens before."""
        seconds = deadline - self.current_time()
        self._asleep = max(seconds, 0.0)
        return seconds


def run(main: Callable[[], Awaitable[_T]], *, clock: trio.abc.Clock | None, instruments: Sequence[trio.abc.Instrument]):
    """Run a test as `trio.run` does, by a steady clock if it brings none."""
    return trio.run(main, clock=SteadyClock() if clock is None else clock, instruments=instruments)


def use_steady_clock(items: list[pytest.Item]) -> None:
    """Run each async test with `run`."""
    for item in items:
        if item.get_closest_marker("trio") is not None:
            item.add_marker(pytest.mark.trio(run=run), append=False)
