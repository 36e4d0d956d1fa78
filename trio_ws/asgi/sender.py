"""Writer: the events that were committed and wait for the ASGI server, in order, and the task that hands them over.

Nothing cancels the server's `send` halfway: it may have compressed a message whose frame would then never leave.
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
"""What an event counts beside its content, so that a flood of empty messages counts too."""


class EventSender:
    """A queue with a high-water mark, like an outbox, of events instead of bytes.

    Args:
        send: the server's.
        high_water: bytes from which on it is `full`.
    """

    def __init__(self, send: Send, high_water: int) -> None:
        self.high_water: int = high_water
        self.size: int = 0
        """Bytes that wait, or are being sent."""
        self.closed: bool = False
        """Whether everything is dropped, because the server takes nothing any more."""
        self.progress_time: float = 0.0
        """When the server last took something, by Trio's clock."""
        self.on_moved: Callable[[], None] | None = None
        """Called when the server has taken something, or has failed."""
        self._send = send
        self._events: deque[tuple[Event, int]] = deque()
        self._room = trio.lowlevel.ParkingLot()
        self._work = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope(shield=True)

    @property
    def full(self) -> bool:
        """Whether a sender has to wait."""
        return self.size >= self.high_water and not self.closed

    def put(self, event: Event, size: int = 0) -> None:
        """Commit an event whose content has `size` bytes."""
        if not self.closed:
            self._events.append((event, size + EVENT_BYTES))
            self.size += size + EVENT_BYTES
            self._work.unpark()

    async def wait(self) -> None:
        """Wait until there may be room, or for `wake`."""
        await self._room.park()

    def wake(self) -> bool:
        """Let everyone who waits for room look at the state; return whether there was someone."""
        return bool(self._room.unpark_all())

    async def drained(self) -> None:
        """Wait until the server has taken everything."""
        while self.size:
            await self._room.park()

    def close(self) -> None:
        """Drop everything that waits, now and from now on."""
        self.closed = True
        self._events.clear()
        self.size = 0
        self._room.unpark_all()

    def stop(self) -> None:
        """End the task."""
        self._scope.cancel(reason="the connection has ended")

    async def run(self) -> None:
        """Hand over events until `stop`, also in a cancelled scope."""
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
                    self._took(size)

    def _fail(self, error: Exception) -> None:
        # ASGI 2.4: OSError says that the client has left, which the next event will tell.
        if not isinstance(error, OSError):
            logger.error("the ASGI server failed at sending: the connection is given up", exc_info=error)
        self.close()
        self._moved()

    def _took(self, size: int) -> None:
        if self.closed:
            return
        self.size -= size
        self.progress_time = trio.current_time()
        if not self.full:
            self._room.unpark_all()
        self._moved()

    def _moved(self) -> None:
        if self.on_moved is not None:
            self.on_moved()
