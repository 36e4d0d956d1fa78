"""Tap: a channel that tells somebody of each message that passes; it is there only where somebody asked for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.connection.channel import Channel, Iteration
    from trio_ws.connection.prepared import PreparedMessage

__all__ = ["InstrumentedChannel"]


class InstrumentedChannel:
    """A `Channel` whose messages are told of. What is not here is the channel's below.

    Args:
        channel: what does the work.
        tell: called with "message_received" or "message_sent" and the message, None for one that was a stream.
    """

    __slots__ = ("_tell", "channel")

    def __init__(self, channel: Channel, tell: Callable[[str, Any], None]) -> None:
        self.channel: Channel = channel
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self.channel, name)

    @property
    def reads(self) -> bool:
        """Whether somebody has called a receiving method so far."""
        return self.channel.reads

    @reads.setter
    def reads(self, reads: bool) -> None:
        self.channel.reads = reads

    @property
    def callbacks(self) -> int:
        """How many callbacks of a listener's are at work on a message."""
        return self.channel.callbacks

    @callbacks.setter
    def callbacks(self, callbacks: int) -> None:
        self.channel.callbacks = callbacks

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message."""
        message = await self.channel.receive(iteration)
        self._tell("message_received", message)
        return message

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message and whether it is the last."""
        part, last = await self.channel.receive_chunk(first=first)
        if last:
            self._tell("message_received", None)
        return part, last

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message."""
        await self.channel.send(data)
        self._tell("message_sent", data)

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Send one message in fragments."""
        await self.channel.send_stream(chunks)
        self._tell("message_sent", None)

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return the kind of the connection's frames."""
        return self.channel.frame_kind(size)

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room for it now."""
        open_before = self.channel.close_info is None
        taken = self.channel.offer(message, hold=hold)
        if taken and open_before:  # one that has ended takes everything, and drops it
            self._tell("message_sent", message.data)
        return taken
