"""One task for all deadlines of a server, or of a client.

A deadline is armed when something rare begins (a full outbox, a closing handshake), or checks the state again when it
fires (keepalive), so that a message never touches the heap.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from itertools import count, takewhile
from typing import TYPE_CHECKING, Final, Protocol, cast

import trio

from trio_ws.native.choice import DeadlineState
from trio_ws.runtime.log import ConnectionLog

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadline", "TimeoutQueue", "Timer", "Timers"]

SWEEP_FROM: Final = 64
"""Entries of the heap from which on cancelled ones are removed."""


class Deadline(DeadlineState, ABC):
    """An action at a later time, unless it is cancelled.

    Attributes:
        armed: it will fire.
        due: when, by Trio's clock.
        order: distinguishes deadlines of the same time: the one that was armed first fires first.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def log(self) -> ConnectionLog | None:
        """The log of the connection that it concerns."""

    @abstractmethod
    def fire(self) -> None:
        """Act on the deadline, without waiting."""

    def cancel(self) -> None:
        """Cancel the deadline.

        Does nothing if it has fired.
        """
        self.armed = False


class Timer(Deadline):
    """A deadline with a callback."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self.callback: Callable[[], None] | None = callback
        self.armed: bool = callback is not None

    @property
    def log(self) -> ConnectionLog | None:
        """The log of the object whose method the callback is."""
        return getattr(getattr(self.callback, "__self__", None), "log", None)

    def fire(self) -> None:
        """Call the callback, and drop it: the timer may be kept longer."""
        callback, self.callback = self.callback, None
        cast("Callable[[], None]", callback)()

    def cancel(self) -> None:
        """Cancel the timer, and drop its callback."""
        self.armed = False
        self.callback = None


NEVER: Final = Timer(None)
"""A deadline that never fires, shared by all."""


class Timers:
    """A heap of deadlines, and the task that waits for the first."""

    def __init__(self) -> None:
        self._heap: list[Deadline] = []  # no tuples: the keepalive of each idle connection is in it
        self._order = count()
        self._sweep_at = SWEEP_FROM
        self._sleeper: trio.CancelScope | None = None

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in `seconds`, or never if they are infinite.

        The callback must neither wait nor raise. If it raises all the same, the `log` of the object whose method it is
        identifies the connection.
        """
        if seconds == math.inf:
            return NEVER
        timer = Timer(callback)
        self.arm(timer, seconds)
        return timer

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """Arm a deadline, which is new or has fired, to fire in finite `seconds`."""
        deadline.armed = True
        deadline.due = due = trio.current_time() + seconds
        deadline.order = next(self._order)
        heapq.heappush(self._heap, deadline)
        if len(self._heap) > self._sweep_at:
            self._sweep()
        if self._sleeper is not None and due < self._sleeper.deadline:
            self._sleeper.deadline = due

    def _sweep(self) -> None:
        """Drop cancelled deadlines, which would pile up until their time."""
        self._heap[:] = [deadline for deadline in self._heap if deadline.armed]
        heapq.heapify(self._heap)
        self._sweep_at = max(SWEEP_FROM, 2 * len(self._heap))

    # Ctrl-C interrupts the code that runs: not here, where the deadlines of all closing handshakes would be lost.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Call what is due, for ever.

        Cancel it to stop; deadlines that are left never fire.
        """
        while True:
            self._call_due()
            deadline = self._heap[0].due if self._heap else math.inf
            with trio.CancelScope(deadline=deadline) as self._sleeper:
                await trio.sleep_forever()
            # The loop may have been held up: all tasks that can run do so before a deadline ends them.
            await trio.lowlevel.checkpoint()

    def _call_due(self) -> None:
        heap = self._heap
        now = trio.current_time()
        due: list[Deadline] = []
        while heap and (not heap[0].armed or heap[0].due <= now):
            due.append(heapq.heappop(heap))
        for deadline in due:  # not those that they arm for at once: other tasks run first
            if deadline.armed:
                deadline.armed = False
                log = deadline.log or ConnectionLog(0, None)
                try:
                    deadline.fire()
                except Exception:
                    log.exception("unexpected error in a timer of connection %s")


class TimeoutTarget(Protocol):
    """An object waiting for an event that is nearly always in time."""

    @property
    def log(self) -> ConnectionLog:
        """The log of the connection that it concerns."""

    def on_timeout(self, since: float) -> bool:
        """Handle the timeout, without waiting or raising.

        Args:
            since: the deadline on Trio's clock, earlier than now if the loop was held up.

        Returns:
            False to be called again in the next turn.
        """


class TimeoutQueue:
    """Timeouts of equal length that rarely expire, with one timer.

    Args:
        timers: where its timer is.
        seconds: the length of all its timeouts.
    """

    def __init__(self, timers: Timers, seconds: float) -> None:
        self._timers = timers
        self._seconds = seconds
        self._waiting: dict[TimeoutTarget, float] = {}  # the first one's deadline is the first
        self._timer = NEVER

    def add(self, waiting: TimeoutTarget) -> None:
        """Call `on_timeout` of `waiting` after the queue's seconds, if finite.

        An earlier timeout of it is replaced.
        """
        if self._seconds != math.inf:
            self.remove(waiting)  # so that it is the last one
            self._waiting[waiting] = trio.current_time() + self._seconds
            if not self._timer.armed:
                self._timer = self._timers.call_later(self._seconds, self._look)

    def remove(self, waiting: TimeoutTarget) -> None:
        """Cancel the timeout of `waiting`, if there is one."""
        self._waiting.pop(waiting, None)

    def deadline(self, waiting: TimeoutTarget) -> float:
        """Return the deadline of `waiting`; minus infinity if it has none."""
        return math.inf if self._seconds == math.inf else self._waiting.get(waiting, -math.inf)

    def _look(self) -> None:
        now = trio.current_time()
        postponed: dict[TimeoutTarget, float] = {}
        for waiting in list(takewhile(lambda waiting: self._waiting[waiting] <= now, self._waiting)):
            since = self._waiting.pop(waiting)
            try:
                if not waiting.on_timeout(since):
                    postponed[waiting] = since
            except Exception:
                waiting.log.exception("unexpected error in a timer of connection %s")
        if postponed:
            self._waiting = {**postponed, **self._waiting}
        self._timer.cancel()  # one that was added anew has armed it
        if self._waiting:
            first = next(iter(self._waiting.values()))
            self._timer = self._timers.call_later(first - now, self._look)
