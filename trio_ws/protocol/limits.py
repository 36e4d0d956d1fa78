"""The limits of a message that its receiver sets: its bytes, and the frames that it comes in."""

from __future__ import annotations

from trio_ws.codes import CloseCode
from trio_ws.protocol.deflate import deflated_bound
from trio_ws.protocol.events import too_big
from trio_ws.protocol.validation import ProtocolViolation

__all__ = ["check_message_size"]


def check_message_size(
    wire_size: int, fragments: int, *, max_message_size: int, max_fragments: int, compressed: bool
) -> None:
    """Check a message by the headers of its frames so far.

    Args:
        wire_size: bytes of its payloads.
        fragments: the number of its frames.
        max_message_size: bytes, inflated.
        max_fragments: frames.
        compressed: whether it is compressed, and so may have somewhat more bytes on the wire.

    Raises:
        ProtocolViolation: 1009.
    """
    if fragments > max_fragments:
        raise ProtocolViolation(CloseCode.MESSAGE_TOO_BIG, f"message of more than {max_fragments} frames")
    largest = deflated_bound(max_message_size, fragments) if compressed else max_message_size
    if wire_size > largest:
        raise ProtocolViolation(CloseCode.MESSAGE_TOO_BIG, too_big(max_message_size))
