"""One task for all deadlines of a server's, or a client's, connections.

A deadline is armed when something rare begins (a full outbox, a closing handshake) or looks again at the state when it
fires (keepalive), so that a message never touches the heap.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from itertools import count, takewhile
from typing import TYPE_CHECKING, Final, Protocol, cast

import trio

from trio_ws.runtime.log import ConnectionLog

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Deadline", "TimeoutQueue", "Timer", "Timers"]

SWEEP_FROM: Final = 64
"""Entries of the heap from which on cancelled ones are looked for."""


class Deadline(ABC):
    """Something that is to happen later, unless it is cancelled."""

    __slots__ = ("armed",)

    armed: bool
    """Whether it is yet to come."""

    @property
    @abstractmethod
    def log(self) -> ConnectionLog | None:
        """Says which connection it is about, if it fails."""

    @abstractmethod
    def due(self) -> None:
        """Its time has come. It must not wait."""

    def cancel(self) -> None:
        """Make sure that it does not come any more."""
        self.armed = False


class Timer(Deadline):
    """A deadline at which something is called."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None] | None) -> None:
        self.callback: Callable[[], None] | None = callback
        self.armed: bool = callback is not None

    @property
    def log(self) -> ConnectionLog | None:
        """That of the object whose method it is to call."""
        return getattr(getattr(self.callback, "__self__", None), "log", None)

    def due(self) -> None:
        """Call it, and let go of it: the timer may be kept longer."""
        callback, self.callback = self.callback, None
        cast("Callable[[], None]", callback)()

    def cancel(self) -> None:
        """Make sure that the callback is not called any more, and let go of it."""
        self.armed = False
        self.callback = None


NEVER: Final = Timer(None)
"""Every deadline that never comes."""


class Timers:
    """A heap of deadlines and the task, `run`, that waits for the first of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline]] = []
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
        self.arm(timer, seconds)
        return timer

    def arm(self, deadline: Deadline, seconds: float) -> None:
        """Let a deadline come in `seconds`, which are finite. It must not be armed already."""
        deadline.armed = True
        when = trio.current_time() + seconds
        heapq.heappush(self._heap, (when, next(self._order), deadline))
        if len(self._heap) > self._sweep_at:
            self._sweep()
        if self._sleeper is not None and when < self._sleeper.deadline:
            self._sleeper.deadline = when

    def _sweep(self) -> None:
        """Drop what was cancelled, so that it does not pile up until it would have been due."""
        self._heap[:] = [entry for entry in self._heap if entry[2].armed]
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
            # The loop may have been held up: tasks that read, and those that work, have their turn before they are
            # judged.
            await trio.lowlevel.checkpoint()

    def _call_due(self) -> None:
        heap = self._heap
        now = trio.current_time()
        due: list[Deadline] = []
        while heap and (not heap[0][2].armed or heap[0][0] <= now):
            due.append(heapq.heappop(heap)[2])
        for deadline in due:  # not those that they arm for at once: others come first
            if deadline.armed:
                deadline.armed = False
                log = deadline.log or ConnectionLog(0, None)
                try:
                    deadline.due()
                except Exception:
                    log.exception("error at a deadline of the connection %s: others go on")


class TimeoutTarget(Protocol):
    """Who waits for something that nearly always comes in time."""

    @property
    def log(self) -> ConnectionLog:
        """Says which connection it is about, if `too_late` fails."""

    def too_late(self, since: float) -> bool:
        """It did not; return False to be asked again in the next turn. It must neither wait nor raise.

        Args:
            since: when its time was over, on Trio's clock: earlier than now if the loop was held up.
        """


class TimeoutQueue:
    """Deadlines that are all equally far away, and nearly none of which comes: one timer is enough for all of them.

    Args:
        timers: has that timer.
        seconds: how far away.
    """

    def __init__(self, timers: Timers, seconds: float) -> None:
        self._timers = timers
        self._seconds = seconds
        self._waiting: dict[TimeoutTarget, float] = {}  # the first one's deadline is the first
        self._timer = NEVER

    def add(self, waiting: TimeoutTarget) -> None:
        """Tell `waiting` when its time is over; never if that is infinite."""
        if self._seconds != math.inf:
            self._waiting[waiting] = trio.current_time() + self._seconds
            if not self._timer.armed:
                self._timer = self._timers.after(self._seconds, self._look)

    def remove(self, waiting: TimeoutTarget) -> None:
        """It came in time, or nobody cares any more."""
        self._waiting.pop(waiting, None)

    def deadline(self, waiting: TimeoutTarget) -> float:
        """Return when the time of `waiting` is over; minus infinity if it is not in the queue any more."""
        return math.inf if self._seconds == math.inf else self._waiting.get(waiting, -math.inf)

    def _look(self) -> None:
        now = trio.current_time()
        postponed: dict[TimeoutTarget, float] = {}
        for waiting in list(takewhile(lambda waiting: self._waiting[waiting] <= now, self._waiting)):
            since = self._waiting.pop(waiting)
            try:
                if not waiting.too_late(since):
                    postponed[waiting] = since
            except Exception:
                waiting.log.exception("error at a deadline of the connection %s: others go on")
        if postponed:
            self._waiting = {**postponed, **self._waiting}
        self._timer.cancel()  # one that was added anew has armed it
        if self._waiting:
            first = next(iter(self._waiting.values()))
            self._timer = self._timers.after(first - now, self._look)
