"""The queue of events to an ASGI server, and the task that sends them.

The server's `send` is never cancelled: the server may have compressed a message, whose frame would be lost.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.asgi.scope import Event, Send

__all__ = ["EventSender"]

logger: Final = logging.getLogger("trio_ws")

EVENT_BYTES: Final = 64
"""Overhead of an event in bytes, so that empty messages count too."""


class EventSender:
    """A queue of events with a high-water mark, the counterpart of `Outbox`.

    Args:
        send: the ASGI server's callable.
        high_water: bytes at which the queue is `full`.
    """

    def __init__(self, send: Send, high_water: int) -> None:
        self.high_water: int = high_water
        self.size: int = 0
        """Bytes in the queue and in the current call of `send`."""
        self.closed: bool = False
        """Whether all events are dropped, because the connection has ended."""
        self.progress_time: float = 0.0
        """Time of the last completed `send`, on Trio's clock."""
        self.on_progress: Callable[[], None] | None = None
        """Called after each `send`, completed or failed."""
        self._send = send
        self._events: deque[tuple[Event, int]] = deque()
        self._room = trio.lowlevel.ParkingLot()
        self._work = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope(shield=True)

    @property
    def full(self) -> bool:
        """Whether the queue has reached its high-water mark."""
        return self.size >= self.high_water and not self.closed

    def put(self, event: Event, size: int = 0) -> None:
        """Add an event whose content has `size` bytes."""
        if not self.closed:
            self._events.append((event, size + EVENT_BYTES))
            self.size += size + EVENT_BYTES
            self._work.unpark()

    async def wait(self) -> None:
        """Wait for room, or for `wake`."""
        await self._room.park()

    def wake(self) -> bool:
        """Wake the tasks that wait for room; return True if there were any."""
        return bool(self._room.unpark_all())

    async def wait_empty(self) -> None:
        """Wait until the server has taken all events."""
        while self.size:
            await self._room.park()

    def close(self) -> None:
        """Drop all events, queued and future."""
        self.closed = True
        self._events.clear()
        self.size = 0
        self._room.unpark_all()

    def stop(self) -> None:
        """End `run`."""
        self._scope.cancel(reason="the connection has ended")

    async def run(self) -> None:
        """Send events until `stop`, even in a cancelled scope."""
        with self._scope:
            while True:
                while not self._events:
                    await self._work.park()
                event, size = self._events.popleft()
                try:
                    await self._send(event)
                except Exception as error:
                    self._fail(error)
                else:
                    self._on_sent(size)

    def _fail(self, error: Exception) -> None:
        # ASGI 2.4: OSError means that the client has disconnected; the event of that follows.
        if not isinstance(error, OSError):
            logger.error("send() of the ASGI server failed, closing the connection", exc_info=error)
        self.close()
        self._notify()

    def _on_sent(self, size: int) -> None:
        if self.closed:
            return
        self.size -= size
        self.progress_time = trio.current_time()
        if not self.full:
            self._room.unpark_all()
        self._notify()

    def _notify(self) -> None:
        if self.on_progress is not None:
            self.on_progress()
