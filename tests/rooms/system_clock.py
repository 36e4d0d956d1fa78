"""The system's clock, for tests in which a backplane's times are compared with Redis's."""

from __future__ import annotations

from time import perf_counter

import trio

__all__ = ["SystemClock"]


class SystemClock(trio.abc.Clock):
    """Real time, also while the test's process is not running: Redis's clock goes on then, too.

    A room that was opened without Redis is placed in its stream by the seconds since then.
    """

    def start_clock(self) -> None:
        """Do nothing: the time has no beginning."""

    def current_time(self) -> float:
        """Return the time in seconds."""
        return perf_counter()

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return the seconds up to a deadline."""
        return deadline - perf_counter()
