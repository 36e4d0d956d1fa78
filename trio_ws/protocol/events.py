"""Items: what a decoder gives. Messages are `str` and `bytes`, control frames and parts are wsproto's events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from trio_ws.codes import CloseCode
from trio_ws.protocol.deflate import InflateTooBig
from trio_ws.protocol.validation import BrokenRule

__all__ = ["Item", "Violation", "too_big", "violation_of"]


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke the protocol: the last item of a decoder.

    Attributes:
        code: what the connection is to be closed with: 1002, 1007 or 1009 (RFC 6455 7.4.1).
        reason: the rule in one sentence, short enough for a close frame.
    """

    code: int
    reason: str


Item: TypeAlias = str | bytes | Ping | Pong | CloseConnection | TextMessage | BytesMessage | Violation
"""What a decoder gives: a whole message as `str` or `bytes`, a control frame as wsproto's event, a part of a
streamed message as wsproto's `TextMessage` or `BytesMessage`, or the peer's breach of the protocol."""


def violation_of(error: Exception, max_message_size: int) -> Violation:
    """Return what an error in decoding says of the peer.

    Args:
        error: a `BrokenRule`, or what text or an inflater raised.
        max_message_size: the limit, in bytes, that may have been broken.
    """
    match error:
        case BrokenRule():
            return Violation(error.code, error.reason)
        case InflateTooBig():
            return Violation(int(CloseCode.MESSAGE_TOO_BIG), too_big(max_message_size))
        case UnicodeDecodeError():
            return Violation(int(CloseCode.INVALID_PAYLOAD), "text message is not UTF-8")
        case _:
            return Violation(int(CloseCode.INVALID_PAYLOAD), "compressed message cannot be inflated")


def too_big(max_message_size: int) -> str:
    """Return the reason of a close frame for a message of more than so many bytes."""
    return f"message of more than {max_message_size} bytes"
