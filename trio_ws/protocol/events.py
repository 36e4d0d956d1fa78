"""Values of a decoder, `str` and `bytes` for messages, wsproto's events for the rest."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from trio_ws.codes import CloseCode
from trio_ws.protocol.deflate import InflateTooBig
from trio_ws.protocol.items import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from trio_ws.protocol.validation import ProtocolViolation

__all__ = ["Event", "ViolationEvent", "too_big", "violation_of"]


@attrs.frozen
class ViolationEvent:
    """The last item of a decoder whose peer broke the protocol.

    Attributes:
        code: the close code for it: 1002, 1007 or 1009 (RFC 6455 7.4.1).
        reason: the rule in one sentence, short enough for a close frame.
    """

    code: int
    reason: str


Event: TypeAlias = str | bytes | Ping | Pong | CloseConnection | TextMessage | BytesMessage | ViolationEvent
"""What a decoder gives: a whole message as `str` or `bytes`, a control frame as wsproto's event, a part of a
streamed message as wsproto's `TextMessage` or `BytesMessage`, or the peer's breach of the protocol."""


def violation_of(error: Exception, max_message_size: int) -> ViolationEvent:
    """Return the violation behind an error in decoding.

    Args:
        error: a `ProtocolViolation`, or what text or an inflater raised.
        max_message_size: the limit, in bytes, that may have been broken.
    """
    match error:
        case ProtocolViolation():
            return ViolationEvent(error.code, error.reason)
        case InflateTooBig():
            return ViolationEvent(int(CloseCode.MESSAGE_TOO_BIG), too_big(max_message_size))
        case UnicodeDecodeError():
            return ViolationEvent(int(CloseCode.INVALID_PAYLOAD), "text message is not UTF-8")
        case _:
            return ViolationEvent(int(CloseCode.INVALID_PAYLOAD), "compressed message cannot be inflated")


def too_big(max_message_size: int) -> str:
    """Return the reason of a close frame for a message of more than so many bytes."""
    return f"message of more than {max_message_size} bytes"
