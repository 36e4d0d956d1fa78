"""Calls of a function with each message, in the turn of the loop in which the message was parsed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from trio_ws.connection.inbox import STEP_BYTES, YIELD_EVERY, busy_receiving
from trio_ws.connection.incremental_json import PIECE, read_json
from trio_ws.connection.reader import MessageReader
from trio_ws.connection.serialization import from_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_ws.connection.channel import Channel, ChannelReader
    from trio_ws.connection.closing import ClosingHandshake
    from trio_ws.connection.writer import MessageWriter
    from trio_ws.options import WhenFull
    from trio_ws.transport.outbox import Outbox

__all__ = [
    "InlineCall",
    "MessageCallback",
    "Remainder",
    "call_for_each_message",
    "inline_call",
]

Remainder: TypeAlias = "Callable[[], Awaitable[object]]"
"""Work on a message that a function leaves to the handler's task."""
AT_ONCE: Final = YIELD_EVERY
"""Messages of one connection that the function is called with in one turn; the others follow in the next."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class InlineCall:
    """A function that is called with messages, and how."""

    function: Callable[[str | bytes], Any]
    """Called with each message; it must not wait."""
    when_full: WhenFull
    hands_over: bool = False
    """Whether its result is None, or a `Remainder` of its work, which may wait: the handler's task does that before the
    next message is passed on."""
    decodes: bool = False
    """Whether it decodes messages: then `STEP_BYTES` of them are passed on in a turn."""

    async def in_task(self, reader: ChannelReader) -> None:
        """Receive each message, and call the function with it, until the connection ends.

        Raises:
            WebSocketDisconnect: the connection has ended.
        """
        while True:
            remainder = self.function(await reader.receive())
            if self.hands_over and remainder is not None:
                await remainder()


class MessageCallback:
    """A function that is called with each message of a connection over a transport.

    The task that reads the socket calls it. The handler's task sleeps, and raises what the function raised.

    Args:
        reader: receives the messages.
        call: the function.
    """

    __slots__ = (
        "_closing",
        "_decodes",
        "_error",
        "_function",
        "_hands_over",
        "_outbox",
        "_paused",
        "_pauses",
        "_reader",
        "_remainder",
        "_stopped",
        "_writer",
    )

    def __init__(self, reader: MessageReader, call: InlineCall) -> None:
        self._reader = reader
        self._writer: MessageWriter = reader.writer
        self._closing: ClosingHandshake = reader.closing
        self._outbox: Outbox = reader.transport.outbox
        self._function = call.function
        self._pauses = call.when_full == "pause"
        self._hands_over = call.hands_over
        self._decodes = call.decodes
        self._paused = False  # until there is room in the outbox
        self._stopped = False  # by an error, or until the remainder is done
        self._error: BaseException | None = None
        self._remainder: Remainder | None = None

    def __call__(self) -> None:
        """Call the function with the messages that are there, as far as this turn's share and the outbox's room go."""
        if self._stopped:
            return
        reader, writer, outbox = self._reader, self._writer, self._outbox
        items = reader.inbox.items
        self._paused = False
        decoded = 0
        for _ in range(AT_ONCE):
            if not items:
                return
            if self._pauses and (writer.blocked or outbox.size >= outbox.high_water) and self._wait_for_room():
                return
            item = reader.take()
            message = item if isinstance(item, (str, bytes)) else reader.add_part(item)
            if message is None:
                continue
            try:
                remainder = self._function(message)
            except BaseException as error:
                self._error, self._stopped = error, True
                break
            if self._hands_over and remainder is not None:
                self._remainder, self._stopped = remainder, True
                break
            if self._decodes:
                decoded += len(message)
                if decoded >= STEP_BYTES:
                    break
        if items or self._stopped:
            reader.inbox.wake()

    def _wait_for_room(self) -> bool:
        """Return False if there is room after all; else have this called again."""
        if not self._closing.open or (self._writer.accepts and not self._outbox.full):
            return False
        self._paused = True
        self._writer.when_writable(self)
        return True

    async def run(self) -> None:
        """Sleep until the connection ends, or the function raises."""
        reader = self._reader
        reader.reads = True
        while True:
            self()
            if self._error is not None:
                await trio.lowlevel.checkpoint()
                raise self._error
            if self._remainder is not None:
                await self._finish(self._remainder)
            elif reader.inbox.items and not self._paused:
                await reader.inbox.let_others_run()
            else:
                await reader.arrival()

    async def _finish(self, remainder: Remainder) -> None:
        """Do what the function left; no message overtakes it."""
        self._remainder = None
        await remainder()
        self._stopped = False


def inline_call(
    function: Callable[[Any], object],
    channel: Channel,
    decode: Callable[[str | bytes], Any] | None,
    when_full: WhenFull,
) -> InlineCall:
    """Return the call of a function with decoded messages; large JSON is decoded in pieces.

    Args:
        function: called with what was decoded.
        channel: where the messages come from.
        decode: one of `serialization.decoder_of`; None to pass messages on as they are.
        when_full: "pause" or "call".
    """
    if decode is None:
        return InlineCall(function=function, when_full=when_full)
    if decode is not from_json:
        return InlineCall(function=lambda message: function(decode(message)), when_full=when_full)

    async def call_with_large(message: str | bytes) -> None:
        function(await read_json(message, channel))

    def call(message: str | bytes) -> Remainder | None:
        if len(message) > PIECE:
            return partial(call_with_large, message)
        function(from_json(message))
        return None

    return InlineCall(function=call, when_full=when_full, hands_over=True, decodes=True)


async def call_for_each_message(channel: Channel, call: InlineCall) -> None:
    """Call a function with each message until the connection ends; raise what it raises.

    Where messages do not come from a transport of our own, or an instrument observes them, a task calls it.

    Args:
        channel: of the connection.
        call: the function.

    Raises:
        WebSocketDisconnect: the connection has ended, and the function was called with all messages.
        trio.BusyResourceError: another task is receiving.
    """
    reader = channel.reader
    if not isinstance(reader, MessageReader):
        await call.in_task(reader)
        return
    if reader.on_messages is not None or reader.inbox.reader is not None:
        raise busy_receiving()
    callback = MessageCallback(reader, call)
    reader.on_messages = callback
    try:
        await callback.run()
    finally:
        reader.on_messages = None
        reader.writer.forget_writable(callback)
