"""One message for many connections, encoded once for those with the same frames.

`rooms` choose the connections; `ChannelWriter.offer` commits it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from trio_ws.connection.serialization import to_json
from trio_ws.messages import WebSocketMessage
from trio_ws.protocol.deflate import DEFLATED_AT_ONCE
from trio_ws.protocol.encoder import PLAIN, deflated_message, deflated_steps, plain_message

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from trio_ws.connection.encoders import ToJSON
    from trio_ws.protocol.encoder import Encoder, Kind

__all__ = ["PreparedMessage"]

_DEFLATED_UNPREPARED: Final = 64 * 1024
"""Bytes of one message that are deflated where it is sent, for all kinds together: some milliseconds. Beyond that it
goes uncompressed, unless it was deflated before."""


class FramedChannel(Protocol):
    """The part of a channel that decides which frame it takes."""

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return the encoder's `kind` of a whole message of `size` bytes; None if it encodes the message itself."""


class PreparedMessage:
    """A message for many connections.

    A server's connections share one frame of it for each compression setting. Clients, which mask every frame with a
    key of its own, encode it for themselves, and so do connections that compress a small one in the context of earlier
    messages.

    Args:
        message: `str` becomes a text message, bytes-like a binary one, a `WebSocketMessage` what it says; everything
            else becomes compact JSON in a text message.

        encode: the application's encoder of JSON.

    Raises:
        TypeError: it cannot be JSON, or is a control message.
        ValueError: likewise, or text with lone surrogates.
    """

    __slots__ = ("_frames", "_unprepared", "data", "plain", "size")

    data: str | bytes
    """The message: text, or bytes."""
    plain: bytes | None
    """Its frame without mask and compression, once it was made."""
    size: int
    """Bytes of the message before compression."""

    def __init__(self, message: Any, encode: ToJSON = to_json) -> None:
        self.data = data = _content(message, encode)
        self.size = len(data) if isinstance(data, bytes) else len(data.encode())
        self.plain = None
        self._frames: dict[Kind, bytes] = {}
        self._unprepared = 0  # bytes that `frame` has deflated

    async def deflate(self, channels: Iterable[FramedChannel]) -> None:
        """Deflate a large message for connections, in steps between which other tasks run."""
        if self.size <= DEFLATED_AT_ONCE:
            return
        kinds = {channel.frame_kind(self.size) for channel in channels}
        for kind in kinds - self._frames.keys():
            if kind:
                self._frames[kind] = await _let_others_run(deflated_steps(kind, self.data))

    def frame(self, encoder: Encoder) -> bytes:
        """Return the message's frame for one connection.

        Args:
            encoder: of that connection, with no fragmented message unfinished.
        """
        kind = encoder.kind(self.size)
        if kind is None:
            alone = encoder.compresses and self.size > DEFLATED_AT_ONCE
            return encoder.uncompressed(self.data) if alone else encoder.message(self.data)
        frame = self._frames.get(kind)
        if frame is None:
            if kind is PLAIN or self._unprepared + self.size > _DEFLATED_UNPREPARED:
                return self.plain_frame()
            self._unprepared += self.size
            frame = self._frames[kind] = deflated_message(kind, self.data)
        encoder.passed(self.data)
        return frame

    def plain_frame(self) -> bytes:
        """Return the message's frame without mask and compression."""
        if self.plain is None:
            self.plain = plain_message(self.data)
        return self.plain


async def _let_others_run(steps: Generator[None, None, bytes]) -> bytes:
    try:
        while True:
            next(steps)
            await trio.lowlevel.checkpoint()
    except StopIteration as end:
        frame: bytes = end.value
        return frame


def _content(message: Any, encode: ToJSON) -> str | bytes:
    match message:
        case str() | bytes():
            return message
        case bytearray() | memoryview():
            return bytes(message)
        case WebSocketMessage(msg_type="text"):
            return message.text or ""
        case WebSocketMessage(msg_type="binary"):
            return message.data or b""
        case WebSocketMessage():
            raise TypeError(f"a {message.msg_type} message is for one connection: it cannot be sent to many")
        case _:
            return encode(message)
