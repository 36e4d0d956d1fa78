"""Opcodes, header bits and the writing of frames (RFC 6455 5.2).

`decoder` reads frames; `encoder` decides which frames a message consists of.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from trio_ws.protocol.masking import apply_mask

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "DATA_OPCODES",
    "EXTENDED_16",
    "EXTENDED_64",
    "EXTENDED_LENGTH",
    "FIN",
    "LENGTH_BITS",
    "MASKED",
    "MAX_CONTROL_SIZE",
    "OPCODES",
    "OPCODE_BITS",
    "PING",
    "PONG",
    "RSV1",
    "RSV2",
    "RSV3",
    "START_SIZE",
    "TEXT",
    "Data",
    "encode_frame",
    "encode_header",
]

Data: TypeAlias = bytes | bytearray | memoryview
"""Bytes that are read where they are."""

# Opcodes, RFC 6455 11.8. Plain integers: an IntEnum costs a third of the time of a small frame.
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
OPCODES: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
DATA_OPCODES: Final = frozenset({TEXT, BINARY})
"""The opcodes that start a message."""

# The first byte.
FIN: Final = 0x80
RSV1: Final = 0x40
RSV2: Final = 0x20
RSV3: Final = 0x10
OPCODE_BITS: Final = 0x0F

START_SIZE: Final = 2
"""Bytes of a header before the extended length and the masking key."""

# The second byte.
MASKED: Final = 0x80
LENGTH_BITS: Final = 0x7F
EXTENDED_16: Final = 126
"""In the place of the length: the length is in the next two bytes."""
EXTENDED_64: Final = 127
"""In the place of the length: the length is in the next eight bytes."""
EXTENDED_LENGTH: Final = {EXTENDED_16: 2, EXTENDED_64: 8}

MAX_CONTROL_SIZE: Final = 125
"""Payload bytes of a control frame, RFC 6455 5.5; also the longest payload whose length is in the second
byte."""


def encode_header(first: int, size: int, masked: int = 0) -> bytes:
    """Return a frame's header up to its masking key.

    Args:
        first: the first byte: FIN, RSV bits and opcode.
        size: payload bytes, less than 2**63.
        masked: `MASKED` if a key follows, else 0.
    """
    if size <= MAX_CONTROL_SIZE:
        return bytes((first, masked | size))
    if size <= 0xFFFF:
        return bytes((first, masked | EXTENDED_16)) + size.to_bytes(2)
    return bytes((first, masked | EXTENDED_64)) + size.to_bytes(8)


def encode_frame(
    opcode: int,
    payload: bytes | bytearray | memoryview,
    *,
    fin: bool = True,
    rsv1: bool = False,
    mask: bytes | None,
) -> bytes:
    """Return one frame. Nothing is checked: tests write broken frames with it too.

    Args:
        opcode: one of `OPCODES`.
        payload: the payload as it is before masking.
        fin: whether it is the last frame of its message.
        rsv1: whether it starts a compressed message (RFC 7692 6).
        mask: four bytes to mask the payload with (a client's frame), None for none (a server's).
    """
    first = (FIN if fin else 0) | (RSV1 if rsv1 else 0) | opcode
    if mask is None:
        return encode_header(first, len(payload)) + payload
    return b"".join((encode_header(first, len(payload), MASKED), mask, apply_mask(payload, mask)))
