"""Control frames and parts of messages, as a decoder gives them.

Names and fields are those of wsproto's events, which are not used since importing wsproto takes longer than all that a
client needs of this library.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

__all__ = ["BytesMessage", "CloseConnection", "Ping", "Pong", "TextMessage"]

_Data = TypeVar("_Data", str, bytes)


@attrs.frozen
class _Heartbeat:
    payload: bytes = b""


class Ping(_Heartbeat):
    """A ping frame (RFC 6455 5.5.2)."""

    __slots__ = ()


class Pong(_Heartbeat):
    """A pong frame (RFC 6455 5.5.3)."""

    __slots__ = ()


@attrs.frozen
class CloseConnection:
    """A close frame (RFC 6455 5.5.1).

    Attributes:
        code: the close code, 1005 for a frame without one.
        reason: the text after it.
    """

    code: int
    reason: str | None = None


@attrs.frozen
class _MessagePart(Generic[_Data]):
    data: _Data
    message_finished: bool = True


class TextMessage(_MessagePart[str]):
    """A part of a text message that is streamed; no character is cut."""

    __slots__ = ()


class BytesMessage(_MessagePart[bytes]):
    """A part of a binary message that is streamed."""

    __slots__ = ()
