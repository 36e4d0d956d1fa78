"""A client's connection whose receiving task waits for the socket itself.

A message is returned in the turn in which it arrived, not in the next one, as with one task that reads for many
connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import trio

from trio_ws.connection.connection import Connection
from trio_ws.connection.inbox import Inbox, busy_receiving
from trio_ws.connection.reader import MessageReader

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trio_ws.connection.channel import Iteration
    from trio_ws.protocol.events import Event
    from trio_ws.transport.single import SingleSocketPoller

__all__ = ["InlineConnection", "InlineInbox", "InlineReader"]


class InlineInbox(Inbox):
    """An inbox whose reader waits for the socket unless another task does; `reader` is one that only sleeps.

    Args:
        max_items: as of `Inbox`.
        max_bytes: as of `Inbox`.
        solo: watches the socket while there is no reader.
    """

    __slots__ = ("_asleep", "_at_socket", "_solo")

    def __init__(self, max_items: int, max_bytes: int, solo: SingleSocketPoller) -> None:
        super().__init__(max_items, max_bytes)
        self._solo = solo
        self._at_socket = False  # a reader waits for the socket, or handles what arrived
        self._asleep = False  # a reader sleeps, or was woken and has not run

    def wait(self) -> Coroutine[Any, Any, Any]:
        """Wait for the next `put` or `wake`, or read from the socket once; await it at once.

        Raises:
            trio.BusyResourceError: another task waits already.
        """
        if self._at_socket:
            raise busy_receiving()
        if self.reader is None and self._solo.free:
            return self._read()
        return self._sleep(super().wait())

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        self._at_socket = True
        try:
            await self._solo.read()
        finally:
            self._at_socket = False
            self._solo.watch()

    @trio.lowlevel.enable_ki_protection
    async def _sleep(self, woken: Coroutine[Any, Any, Any]) -> None:
        self._asleep = True
        try:
            await woken
        finally:
            self._asleep = False
            self._solo.watch()

    def wake(self) -> bool:
        """Wake the waiting task; return True if there is one."""
        if not self._at_socket:
            return super().wake()
        self._at_socket = False
        self._solo.interrupt()
        return True

    def look(self) -> None:
        """Pass on what may have arrived: interrupt a reader at the socket, or hand over to one that was woken."""
        if self._at_socket:
            if self.items:
                self.wake()
        elif self._asleep and self.reader is None:
            self._solo.hand_over()


class InlineReader(MessageReader):
    """A reader with an `InlineInbox`."""

    __slots__ = ()

    inbox: InlineInbox

    def data_received(self, data: memoryview, now: float) -> None:
        """Parse `data` as far as the inbox has room, and keep the rest of it."""
        super().data_received(data, now)
        self.inbox.look()

    def dispatch(self, items: list[Event], size: int) -> None:
        """Put messages of `size` bytes into the inbox, and handle all other items."""
        super().dispatch(items, size)
        self.inbox.look()

    def receive(self, iteration: Iteration | None = None) -> Coroutine[Any, Any, str | bytes]:
        """Return the next message, as `MessageReader.receive` does."""
        # No coroutine of its own, which would add a frame to each of many messages.
        return MessageReader.receive(self, iteration) if self.inbox.items else self._receive_next(iteration)

    async def _receive_next(self, iteration: Iteration | None) -> str | bytes:
        self.reads = True
        items = self.inbox.items
        while True:
            while not items:
                await self.arrival(iteration)
            item = self.take()
            message = item if isinstance(item, (str, bytes)) else self.add_part(item)
            if message is not None:
                return message


class InlineConnection(Connection):
    """A connection with an `InlineInbox`, which it must be given."""

    __slots__ = ()

    READER: ClassVar[type[MessageReader]] = InlineReader
