"""Calls of a function with each message, in the turn of the loop in which the message was parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import trio

from trio_ws.connection.inbox import YIELD_EVERY, busy_receiving
from trio_ws.connection.reader import MessageReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.connection.channel import Channel
    from trio_ws.transport.outbox import Outbox

__all__ = ["MessageCallback", "WhenFull", "call_for_each_message", "check_when_full"]

WhenFull: TypeAlias = Literal["pause", "call"]
"""What happens to messages while the outbox is full: they wait, and reading stops; or the function is called anyway."""
AT_ONCE: Final = YIELD_EVERY
"""Messages of one connection that the function is called with in one turn; the others follow in the next."""


class MessageCallback:
    """A function that is called with each message of a connection over a transport.

    The task that reads the socket calls it. The handler's task sleeps, and raises what the function raised.

    Args:
        reader: receives the messages.
        outbox: of the same connection.
        when_writable: calls a function once when there is room in the outbox.
        function: called with each message.
        when_full: "pause" or "call".
    """

    __slots__ = ("_error", "_function", "_outbox", "_pauses", "_reader", "_waiting", "_when_writable")

    def __init__(
        self,
        reader: MessageReader,
        outbox: Outbox,
        when_writable: Callable[[Callable[[], None]], None],
        function: Callable[[str | bytes], object],
        when_full: WhenFull,
    ) -> None:
        self._reader = reader
        self._outbox = outbox
        self._when_writable = when_writable
        self._function = function
        self._pauses = when_full == "pause"
        self._waiting = False  # for room in the outbox
        self._error: BaseException | None = None

    def __call__(self) -> None:
        """Call the function with the messages that are there, as far as this turn's share and the outbox's room go."""
        reader, items = self._reader, self._reader.inbox.items
        if self._error is not None:
            return
        for _ in range(AT_ONCE):
            if not items:
                return
            if self._pauses and self._outbox.full:
                self._wait_for_room()
                return
            item = reader.take()
            message = item if isinstance(item, (str, bytes)) else reader.add_part(item)
            if message is None:
                continue
            try:
                self._function(message)
            except BaseException as error:
                self._error = error
                break
        if items or self._error is not None:
            reader.inbox.wake()

    def _wait_for_room(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._when_writable(self.on_room)

    def on_room(self) -> None:
        """Go on: there is room in the outbox again."""
        self._waiting = False
        self()

    async def run(self) -> None:
        """Sleep until the connection ends, or the function raises."""
        reader = self._reader
        reader.reads = True
        while True:
            self()
            if self._error is not None:
                await trio.lowlevel.checkpoint()
                raise self._error
            if reader.inbox.items and not self._waiting:
                await reader.inbox.let_others_run()
            else:
                await reader.arrival()


def check_when_full(when_full: object) -> None:
    """Raise ValueError for a policy that does not exist."""
    if when_full not in ("pause", "call"):
        raise ValueError(f'when_full is "pause" or "call", not {when_full!r}')


async def call_for_each_message(
    channel: Channel, function: Callable[[str | bytes], object], when_full: WhenFull
) -> None:
    """Call a function with each message until the connection ends; raise what it raises.

    Where messages do not come from a transport of our own, or an instrument observes them, a task calls it.

    Args:
        channel: of the connection.
        function: called with each message; it must not wait.
        when_full: "pause" or "call".

    Raises:
        WebSocketDisconnect: the connection has ended, and the function was called with all messages.
        trio.BusyResourceError: another task is receiving.
    """
    reader, writer = channel.reader, channel.writer
    if not isinstance(reader, MessageReader):
        while True:
            function(await reader.receive())
    callback = MessageCallback(reader, reader.transport.outbox, writer.when_writable, function, when_full)
    if reader.on_messages is not None or reader.inbox.reader is not None:
        raise busy_receiving()
    reader.on_messages = callback
    try:
        await callback.run()
    finally:
        reader.on_messages = None
        writer.forget_writable(callback.on_room)
