"""One task for all deadlines of a server's, or a client's, connections.

A deadline is armed when something rare begins (a full outbox, a closing handshake) or looks again at the state when it
fires (keepalive), so that a message never touches the heap.
"""

from __future__ import annotations

import heapq
import math
from itertools import count
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.log import ConnectionLog

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Timer", "Timers"]

SWEEP_FROM: Final = 64
"""Entries of the heap from which on cancelled ones are looked for."""


class Timer:
    """A deadline that can be cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Make sure that the callback is not called any more."""
        self.callback = None


NEVER: Final = Timer(None)
"""Every deadline that never comes."""


class Timers:
    """A heap of deadlines and the task, `run`, that waits for the first of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._sweep_at = SWEEP_FROM
        self._sleeper: trio.CancelScope | None = None

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback`, which must neither wait nor raise, in `seconds`; never if they are infinite.

        If it raises all the same, the `log` of the object whose method it is says which connection it was.
        """
        if seconds == math.inf:
            return NEVER
        timer = Timer(callback)
        when = trio.current_time() + seconds
        heapq.heappush(self._heap, (when, next(self._order), timer))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        if self._sleeper is not None and when < self._sleeper.deadline:
            self._sleeper.deadline = when
        return timer

    def _sweep(self) -> None:
        """Drop what was cancelled, so that it does not pile up until it would have been due."""
        self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
        heapq.heapify(self._heap)
        self._sweep_at = max(SWEEP_FROM, 2 * len(self._heap))

    # Ctrl-C strikes whatever code runs: not here, where the deadlines of all goodbyes would be lost.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Call what is due, for ever. Cancel it to stop; deadlines that are left are never called."""
        while True:
            self._call_due()
            deadline = self._heap[0][0] if self._heap else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleeper:
                await trio.sleep_forever()

    def _call_due(self) -> None:
        heap = self._heap
        now = trio.current_time()
        due: list[Timer] = []
        while heap and (heap[0][2].callback is None or heap[0][0] <= now):
            due.append(heapq.heappop(heap)[2])
        for timer in due:  # not those that they arm for at once: others come first
            if timer.callback is not None:
                callback, timer.callback = timer.callback, None
                try:
                    callback()
                except Exception:
                    log = getattr(getattr(callback, "__self__", None), "log", None) or ConnectionLog(0, None)
                    log.exception("error at a deadline of the connection %s: others go on")
