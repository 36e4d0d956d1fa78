"""The graceful shutdown of a server, in order and in bounded time.

At first the server only announces it, for `drain_delay`: `/healthz` and upgrades get 503. Then it stops accepting.
Then every client gets a close frame, all at once or at `drain_rate`; its handler has its grace from then on, and is
cancelled after it.
"""

from __future__ import annotations

import math
import random
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import trio

from trio_ws.codes import CloseCode, check_close
from trio_ws.connection.closing import LINGER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trio_ws.connection.settings import Settings
    from trio_ws.runtime.timers import Timers

__all__ = ["GracefulShutdown"]

BATCH_SECONDS: Final = 0.1
"""The longest time between two batches of close frames, unless the rate is lower than one in that time."""
JITTER: Final = (0.25, 1.0)
"""The random part of that time that passes, never more than all of it, so that the bound holds."""


class Drainable(Protocol):
    """A connection that can be drained."""

    @property
    def connection(self) -> object | None:
        """The open WebSocket connection; None before the handshake is answered."""

    def drain(self, code: int, reason: str, grace: float) -> None:
        """Begin to end the connection; its handler has `grace` seconds."""

    def cancel(self, why: str) -> None:
        """Cancel the handler."""


class GracefulShutdown:
    """The shutdown of one server.

    Args:
        connections: the open ones, kept up to date by the server.
        settings: of the server.
    """

    def __init__(self, connections: Collection[Drainable], settings: Settings) -> None:
        self._connections = connections
        self._rate = settings.limits.drain_rate
        self._timeouts = settings.timeouts
        self._delay = settings.timeouts.drain_delay
        self._grace = settings.timeouts.shutdown_grace
        self._close_frame = (int(CloseCode.GOING_AWAY), "")
        self._begun = trio.Event()
        self._shortened = trio.Event()  # set by a shorter grace, after which there is neither delay nor spread
        self._timers: Timers | None = None

    @property
    def begun(self) -> bool:
        """Whether the shutdown has begun."""
        return self._begun.is_set()

    @property
    def bound(self) -> float:
        """The longest time from beginning to end, in seconds, with these settings."""
        times = self._timeouts
        spread = 0.0 if self._rate is None else times.drain_spread
        # After clean-up of a cancelled handler `on_disconnect` runs, while the connection is closed.
        ends = times.cleanup_timeout + max(times.cleanup_timeout, times.close_timeout + LINGER)
        return times.drain_delay + spread + times.shutdown_grace + ends

    def begin(self, code: int, grace: float | None, reason: str, delay: float | None) -> None:
        """Begin, or shorten the grace; see `Server.shutdown`."""
        check_close(code, reason)
        if not self.begun:
            self._close_frame = (int(code), reason)
            self._grace = self._grace if grace is None else grace
            self._delay = self._delay if delay is None else delay
            self._begun.set()
        elif grace is not None and grace < self._grace:
            self._grace = grace
            self._shortened.set()
            if self._timers is not None:
                self._timers.call_later(grace, self._cancel_all)

    async def wait(self) -> None:
        """Wait until it is time to stop accepting."""
        await self._begun.wait()
        if self._delay:
            await self._pause(self._delay)

    async def run(self, timers: Timers) -> None:
        """Drain every connection, and return when all have begun to close."""
        self._timers = timers
        remaining = [each for each in self._connections if each.connection is not None]
        self._drain([each for each in self._connections if each.connection is None], timers)
        random.shuffle(remaining)
        rate = self._rate_for(len(remaining))
        began, drained = trio.current_time(), 0
        while remaining:
            now = trio.current_time()
            due = (
                len(remaining)
                if rate == math.inf or self._shortened.is_set()
                else int((now - began) * rate) + 1 - drained
            )
            self._drain(remaining[:due], timers)
            drained += due
            remaining = [each for each in remaining[due:] if each in self._connections]
            if remaining:
                await self._pause(random.uniform(*JITTER) * max(BATCH_SECONDS, 1 / rate))

    def _rate_for(self, count: int) -> float:
        """Return the number of connections to drain in a second."""
        spread = self._timeouts.drain_spread
        if self._rate is None or not spread:
            return math.inf
        return max(self._rate, count / spread)

    def _drain(self, batch: Iterable[Drainable], timers: Timers) -> None:
        for connection in batch:
            connection.drain(*self._close_frame, self._grace)
        timers.call_later(self._grace, partial(self._cancel, batch))

    def _cancel_all(self) -> None:
        self._cancel(self._connections)

    def _cancel(self, connections: Iterable[Drainable]) -> None:
        for connection in connections:
            connection.cancel("the server shuts down")

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._shortened.wait()
