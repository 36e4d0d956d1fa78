"""Prepared: one message for many connections, encoded once for all whose frames of it are the same.

Whom it goes to is not known here: see `rooms` and `Channel.offer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_ws.connection.serialization import to_json
from trio_ws.messages import WebSocketMessage
from trio_ws.protocol.encoder import PLAIN

if TYPE_CHECKING:
    from trio_ws.protocol.encoder import Encoder, Kind

__all__ = ["PreparedMessage"]


class PreparedMessage:
    """A message that is about to be sent to many.

    A server's connections share one frame of it for each compression setting. Clients, which mask every frame with a
    key of its own, and connections that compress in the context of earlier messages encode it for themselves.

    Args:
        message: `str` becomes a text message, bytes-like a binary one, a `WebSocketMessage` what it says; everything
            else becomes compact JSON in a text message.

    Raises:
        TypeError: it cannot be JSON, or is a control message.
        ValueError: likewise, or text with lone surrogates.
    """

    __slots__ = ("_frames", "data", "plain", "size")

    data: str | bytes
    """The message: text, or bytes."""
    plain: bytes | None
    """Its frame without mask and compression, as soon as `frame` was asked for it."""
    size: int
    """Bytes of the message before compression."""

    def __init__(self, message: Any) -> None:
        self.data = data = _content(message)
        self.size = len(data) if isinstance(data, bytes) else len(data.encode())
        self.plain = None
        self._frames: dict[Kind, bytes] = {}

    def frame(self, encoder: Encoder) -> bytes:
        """Return the message's frame for one connection.

        Args:
            encoder: of that connection, with no fragmented message unfinished.
        """
        kind = encoder.kind(self.size)
        if kind is None:
            return encoder.message(self.data)
        if kind is PLAIN:
            if self.plain is None:
                self.plain = encoder.message(self.data)
            return self.plain
        frame = self._frames.get(kind)
        if frame is None:
            frame = self._frames[kind] = encoder.message(self.data)
        return frame


def _content(message: Any) -> str | bytes:
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
            return to_json(message)
