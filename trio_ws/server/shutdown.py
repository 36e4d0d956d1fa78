"""Draining: how a server sees its clients off, in order and in bounded time.

First it is only said that the server shuts down (503 on `/healthz` and to upgrades), for `drain_delay`. Then the server
stops accepting, which is its own part. Then every client is told, all at once or at `drain_rate`, and its handler has
its grace from there on; then it is cancelled. What is said to one client is in `conversation` and `closing`.
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
"""Between two batches of goodbyes at most, unless the rate is lower than one in that time."""
JITTER: Final = (0.25, 1.0)
"""What part of that time passes, at random. Never more than all of it, so that the whole stays in its bound."""


class Drainable(Protocol):
    """A connection of the server, as its shutdown sees it."""

    @property
    def connection(self) -> object | None:
        """The open WebSocket connection; None before the handshake is answered."""

    def drain(self, code: int, reason: str, grace: float) -> None:
        """Begin to end the connection; its handler has `grace` seconds."""

    def cancel(self, why: str) -> None:
        """Cancel the handler."""


class GracefulShutdown:
    """The end of one server.

    Args:
        conversations: those that the server holds, at any time.
        settings: `Timeouts` and `Limits` of it.
    """

    def __init__(self, conversations: Collection[Drainable], settings: Settings) -> None:
        self._conversations = conversations
        self._rate = settings.limits.drain_rate
        self._timeouts = settings.timeouts
        self._delay = settings.timeouts.drain_delay
        self._grace = settings.timeouts.shutdown_grace
        self._farewell = (int(CloseCode.GOING_AWAY), "")
        self._begun = trio.Event()
        self._hurried = trio.Event()  # a shorter grace was asked for: neither delay nor spread any more
        self._timers: Timers | None = None

    @property
    def begun(self) -> bool:
        """Whether the server shuts down."""
        return self._begun.is_set()

    @property
    def bound(self) -> float:
        """Seconds from the beginning to the end at most, with the settings as they are."""
        times = self._timeouts
        spread = 0.0 if self._rate is None else times.drain_spread
        # A cancelled handler is cleaned up after, then `on_disconnect` runs; meanwhile the connection is closed.
        ends = times.cleanup_timeout + max(times.cleanup_timeout, times.close_timeout + LINGER)
        return times.drain_delay + spread + times.shutdown_grace + ends

    def begin(self, code: int, grace: float | None, reason: str, delay: float | None) -> None:
        """Begin, or hurry up; `Server.shutdown` says what it means."""
        check_close(code, reason)
        if not self.begun:
            self._farewell = (int(code), reason)
            self._grace = self._grace if grace is None else grace
            self._delay = self._delay if delay is None else delay
            self._begun.set()
        elif grace is not None and grace < self._grace:
            self._grace = grace
            self._hurried.set()
            if self._timers is not None:
                self._timers.call_later(grace, self._cancel_all)

    async def wait(self) -> None:
        """Wait until it is time to stop accepting."""
        await self._begun.wait()
        if self._delay:
            await self._pause(self._delay)

    async def run(self, timers: Timers) -> None:
        """Say goodbye to every client; return when all are told."""
        self._timers = timers
        crowd = [each for each in self._conversations if each.connection is not None]
        self._say_goodbye([each for each in self._conversations if each.connection is None], timers)
        random.shuffle(crowd)
        rate = self._rate_for(len(crowd))
        began, told = trio.current_time(), 0
        while crowd:
            now = trio.current_time()
            due = len(crowd) if rate == math.inf or self._hurried.is_set() else int((now - began) * rate) + 1 - told
            self._say_goodbye(crowd[:due], timers)
            told += due
            crowd = [each for each in crowd[due:] if each in self._conversations]
            if crowd:
                await self._pause(random.uniform(*JITTER) * max(BATCH_SECONDS, 1 / rate))

    def _rate_for(self, count: int) -> float:
        """Return how many to tell in a second."""
        spread = self._timeouts.drain_spread
        if self._rate is None or not spread:
            return math.inf
        return max(self._rate, count / spread)

    def _say_goodbye(self, batch: Iterable[Drainable], timers: Timers) -> None:
        for conversation in batch:
            conversation.drain(*self._farewell, self._grace)
        timers.call_later(self._grace, partial(self._cancel, batch))

    def _cancel_all(self) -> None:
        self._cancel(self._conversations)

    def _cancel(self, conversations: Iterable[Drainable]) -> None:
        for conversation in conversations:
            conversation.cancel("the server shuts down")

    async def _pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._hurried.wait()
