"""Direct: a client's connection whose receiver waits for the socket itself, and reads in the turn it was reported in.

What arrives need not wait for the receiver's next turn, as it does when one task reads for many connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from trio_ws.connection.connection import Connection
from trio_ws.connection.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trio_ws.connection.channel import Iteration
    from trio_ws.protocol.events import Event
    from trio_ws.transport.single import SingleSocketPoller

__all__ = ["InlineConnection", "InlineInbox"]


class InlineInbox(Inbox):
    """An inbox whose reader waits for the socket while nobody else does; `reader` is one that only sleeps.

    Args:
        max_items: as of `Inbox`.
        max_bytes: as of `Inbox`.
        solo: watches the socket while there is no reader.
    """

    __slots__ = ("_asleep", "_at_socket", "_solo")

    def __init__(self, max_items: int, max_bytes: int, solo: SingleSocketPoller) -> None:
        super().__init__(max_items, max_bytes)
        self._solo = solo
        self._at_socket = False  # a reader waits for the socket, or is at work on what came
        self._asleep = False  # a reader sleeps, or was woken and has not run

    def wait(self) -> Coroutine[Any, Any, Any]:
        """Wait for the next `put` or `wake`, or read from the socket once; to be awaited at once.

        Raises:
            trio.BusyResourceError: another task waits already.
        """
        if self._at_socket:
            raise trio.BusyResourceError("another task is receiving from this connection")
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
        """Let the waiting task look at the state again; return whether there is one."""
        if not self._at_socket:
            return super().wake()
        self._at_socket = False
        self._solo.interrupt()
        return True

    def look(self) -> None:
        """Something may have come: a reader who waits for the socket is called off, to one who was woken it is left."""
        if self._at_socket:
            if self.items:
                self.wake()
        elif self._asleep and self.reader is None:
            self._solo.hand_over()


class InlineConnection(Connection):
    """A connection with a `InlineInbox`."""

    __slots__ = ()

    _inbox: InlineInbox

    def data_received(self, data: memoryview, now: float) -> None:
        """Parse `data` as far as the inbox has room, and keep the rest of it."""
        super().data_received(data, now)
        self._inbox.look()

    def _dispatch(self, items: list[Event], size: int) -> None:
        super()._dispatch(items, size)
        self._inbox.look()

    def receive(self, iteration: Iteration | None = None) -> Coroutine[Any, Any, str | bytes]:
        """Return the next message; raise what says that there will be none."""
        # No coroutine of its own, which would only be passed through at each of many messages.
        return Connection.receive(self, iteration) if self._inbox.items else self._receive_next(iteration)

    async def _receive_next(self, iteration: Iteration | None) -> str | bytes:
        self.reads = True
        items = self._inbox.items
        while True:
            while not items:
                await self._arrival(iteration)
            item = self._take()
            message = item if isinstance(item, (str, bytes)) else self._add_part(item)
            if message is not None:
                return message
