"""Wrappers that report each message that passes, for channels that an instrument observes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_ws.connection.wrapped_reader import WrappedReader

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.connection.channel import Channel, ChannelReader, ChannelWriter, Iteration
    from trio_ws.connection.prepared import PreparedMessage

    Report = Callable[[str, Any], None]

__all__ = ["InstrumentedReader", "InstrumentedWriter", "instrument_channel", "remove_instruments"]


def instrument_channel(channel: Channel, report: Report) -> None:
    """Wrap a channel's reader and writer.

    Args:
        channel: the channel.
        report: called with "message_received" or "message_sent" and the message, None for a streamed one.
    """
    channel.reader = InstrumentedReader(channel.reader, report)
    channel.writer = InstrumentedWriter(channel.writer, channel, report)


def remove_instruments(channel: Channel) -> None:
    """Undo `instrument_channel`, if it was called: the wrappers refer to the channel, and would delay its release."""
    if isinstance(channel.reader, InstrumentedReader):
        channel.reader = channel.reader.wrapped
    if isinstance(channel.writer, InstrumentedWriter):
        channel.writer = channel.writer.wrapped


class InstrumentedReader(WrappedReader):
    """A reader that reports each message that it returns.

    Args:
        wrapped: receives the messages.
        report: is called with each of them.
    """

    __slots__ = ("_report",)

    def __init__(self, wrapped: ChannelReader, report: Report) -> None:
        super().__init__(wrapped)
        self._report = report

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message, as the wrapped reader does."""
        message = await self.wrapped.receive(iteration)
        self._report("message_received", message)
        return message

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message, and True if it is the last."""
        part, last = await self.wrapped.receive_chunk(first=first)
        if last:
            self._report("message_received", None)
        return part, last


class InstrumentedWriter:
    """A writer that reports each message that it commits.

    Args:
        wrapped: sends the messages.
        channel: the channel of the writer.
        report: is called with each of them.
    """

    __slots__ = ("_channel", "_report", "wrapped")

    def __init__(self, wrapped: ChannelWriter, channel: Channel, report: Report) -> None:
        self.wrapped: ChannelWriter = wrapped
        self._channel = channel
        self._report = report

    @property
    def sent(self) -> int:
        """Messages that were committed."""
        return self.wrapped.sent

    @sent.setter
    def sent(self, sent: int) -> None:
        self.wrapped.sent = sent

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message, as the wrapped writer does."""
        await self.wrapped.send(data)
        self._report("message_sent", data)

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Send one message in fragments."""
        await self.wrapped.send_stream(chunks)
        self._report("message_sent", None)

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return the kind of the connection's frames."""
        return self.wrapped.frame_kind(size)

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room; return False if there is none."""
        open_before = self._channel.close_info is None
        taken = self.wrapped.offer(message, hold=hold)
        if taken and open_before:  # a connection that has ended takes every message, and drops it
            self._report("message_sent", message.data)
        return taken

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `offer` may succeed again."""
        self.wrapped.when_writable(callback)

    def call_writable_soon(self) -> None:
        """Call the callbacks of `when_writable` in the next turn if there is room."""
        self.wrapped.call_writable_soon()

    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Cancel `when_writable` if `callback` was not called yet."""
        self.wrapped.forget_writable(callback)

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Send a ping, as the wrapped writer does."""
        return await self.wrapped.ping(payload, wait=wait)

    async def pong(self, payload: bytes) -> None:
        """Send an unsolicited pong."""
        await self.wrapped.pong(payload)
