"""The rules that a peer's frames are held to (RFC 6455 5.2, 5.4, 5.5, 7.4), as functions of the bytes alone.

The limits that a receiver sets (message size, fragments) are in `limits`; the order of the checks is `decoder`'s.
"""

from __future__ import annotations

from typing import Final

from trio_ws.codes import CloseCode, is_wire_code
from trio_ws.protocol.frames import (
    CLOSE,
    CONTINUATION,
    DATA_OPCODES,
    EXTENDED_16,
    EXTENDED_64,
    FIN,
    LENGTH_BITS,
    MASKED,
    MAX_CONTROL_SIZE,
    OPCODE_BITS,
    OPCODES,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
)
from trio_ws.protocol.items import CloseConnection, Ping, Pong

__all__ = ["ProtocolViolation", "check_start", "read_close", "read_control", "read_length"]

_LARGEST_16: Final = 0xFFFF
_CODE_SIZE: Final = 2
"""Bytes of the code in a close frame (RFC 6455 5.5.1)."""


class ProtocolViolation(Exception):  # noqa: N818 - it says what it is, and never leaves the decoder
    """The peer broke a rule.

    Attributes:
        code: the close code that answers it.
        reason: the rule in one sentence, at most 123 bytes.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code: int = int(code)
        self.reason = reason


def _broken(reason: str) -> ProtocolViolation:
    return ProtocolViolation(CloseCode.PROTOCOL_ERROR, reason)


def check_start(start: bytes, *, in_message: bool, compression: bool, masked: int) -> None:
    """Check the first two bytes of a frame: see `check_first_byte` and `check_length_byte`."""
    check_first_byte(start[0], in_message=in_message, compression=compression)
    check_length_byte(start[0] & OPCODE_BITS, start[1], masked=masked)


def check_first_byte(first: int, *, in_message: bool, compression: bool) -> None:
    """Check a frame's first byte: reserved bits, opcode, FIN, and the order of fragments (RFC 6455 5.2, 5.4).

    Args:
        first: the byte.
        in_message: whether a fragmented message is unfinished.
        compression: whether permessage-deflate was negotiated, which gives RSV1 a meaning (RFC 7692 6).

    Raises:
        ProtocolViolation: 1002.
    """
    opcode = first & OPCODE_BITS
    if first & (RSV2 | RSV3):
        raise _broken("reserved bit RSV2 or RSV3 is set")
    if first & RSV1 and not compression:
        raise _broken("reserved bit RSV1 is set, no extension was negotiated")
    if first & RSV1 and opcode not in DATA_OPCODES:
        raise _broken("reserved bit RSV1 is set on a frame that does not start a message")
    if opcode not in OPCODES:
        raise _broken(f"reserved opcode {opcode:#x}")
    if opcode >= CLOSE:
        if not first & FIN:
            raise _broken("fragmented control frame")
    elif opcode == CONTINUATION:
        if not in_message:
            raise _broken("continuation frame without a message to continue")
    elif in_message:
        raise _broken("new message before the last one was finished")


def check_length_byte(opcode: int, second: int, *, masked: int) -> None:
    """Check a frame's second byte: the mask bit, and what it says of the length (RFC 6455 5.1, 5.2, 5.5).

    Args:
        opcode: the frame's.
        second: the byte.
        masked: `MASKED` if the peer has to mask, else 0.

    Raises:
        ProtocolViolation: 1002.
    """
    if second & MASKED != masked:
        raise _broken("client's frame is not masked" if masked else "server's frame is masked")
    size = second & LENGTH_BITS
    if opcode >= CLOSE and size > MAX_CONTROL_SIZE:
        raise _broken(f"control frame of more than {MAX_CONTROL_SIZE} bytes")
    if opcode == CLOSE and size == 1:
        raise _broken("close frame with half a close code")


def read_length(head: bytes | bytearray) -> int:
    """Return the payload length in a frame's header (RFC 6455 5.2).

    The top bit of the 64 bit form is read as part of the number, which then exceeds any limit.

    Raises:
        ProtocolViolation: 1002, a form longer than the length needs.
    """
    size = head[1] & LENGTH_BITS
    if size == EXTENDED_16:
        size = int.from_bytes(head[2:4])
        smallest = MAX_CONTROL_SIZE + 1
    elif size == EXTENDED_64:
        size = int.from_bytes(head[2:10])
        smallest = _LARGEST_16 + 1
    else:
        return size
    if size < smallest:
        raise _broken("payload length is not in its shortest form")
    return size


def read_control(opcode: int, payload: bytes) -> Ping | Pong | CloseConnection:
    """Return the event of a control frame.

    Raises:
        ProtocolViolation: as for `read_close`.
    """
    if opcode == PING:
        return Ping(payload)
    return Pong(payload) if opcode == PONG else read_close(payload)


def read_close(payload: bytes) -> CloseConnection:
    """Return the code and reason of a close frame; code 1005 if it is empty (RFC 6455 5.5.1, 7.1.5).

    Args:
        payload: not of one byte, which `check_length_byte` refuses.

    Raises:
        ProtocolViolation: 1002 for a code that may not be sent, 1007 for a reason that is not UTF-8.
    """
    if not payload:
        return CloseConnection(int(CloseCode.NO_STATUS_RECEIVED), "")
    code = int.from_bytes(payload[:_CODE_SIZE])
    if not is_wire_code(code):
        raise _broken(f"close code {code} may not be sent")
    try:
        return CloseConnection(code, str(payload[_CODE_SIZE:], "utf-8"))
    except UnicodeDecodeError:
        raise ProtocolViolation(CloseCode.INVALID_PAYLOAD, "close reason is not UTF-8") from None
