"""Short words for the frames of the tables.

The frames are those of `testing.raw_frame`, valid or not, without a mask: a case masks those that its side has to mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from trio_ws.testing.raw_frame import Opcode, RawFrame

__all__ = [
    "HELLO",
    "RSV1",
    "binary",
    "close",
    "continuation",
    "fragments",
    "ping",
    "pong",
    "stars",
    "text",
]

RSV1: Final = 0b100
"""The reserved bits count as one number of three bits, as in the published list."""


def text(payload: bytes | str, *, fin: bool = True, rsv: int = 0) -> RawFrame:
    """Return a text frame."""
    return _frame(Opcode.TEXT, _bytes(payload), fin, rsv)


def binary(payload: bytes, *, fin: bool = True, rsv: int = 0) -> RawFrame:
    """Return a binary frame."""
    return _frame(Opcode.BINARY, payload, fin, rsv)


def continuation(payload: bytes | str, *, fin: bool = True, rsv: int = 0) -> RawFrame:
    """Return a frame that continues a message."""
    return _frame(Opcode.CONTINUATION, _bytes(payload), fin, rsv)


def ping(payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> RawFrame:
    """Return a ping."""
    return _frame(Opcode.PING, _bytes(payload), fin, rsv)


def pong(payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> RawFrame:
    """Return a pong."""
    return _frame(Opcode.PONG, _bytes(payload), fin, rsv)


def close(code: int | None = None, reason: bytes = b"", *, fin: bool = True, rsv: int = 0) -> RawFrame:
    """Return a close frame; without a code `reason` is all of its payload."""
    return _frame(Opcode.CLOSE, (b"" if code is None else code.to_bytes(2)) + reason, fin, rsv)


def fragments(opcode: int, payload: bytes, size: int, *, rsv: int = 0) -> Iterator[RawFrame]:
    """Cut a message into frames of `size` bytes; 0 leaves it whole."""
    starts = range(0, len(payload), size) if size and payload else range(1)
    for start in starts:
        first, last = start == 0, start == starts[-1]
        part = payload[start : start + size] if size else payload
        yield _frame(opcode if first else Opcode.CONTINUATION, part, last, rsv if first else 0)


_STARS: dict[tuple[bytes, int], bytes] = {}


def stars(size: int, byte: bytes = b"*") -> bytes:
    """Return a payload of one byte repeated; each is made once."""
    return _STARS.setdefault((byte, size), byte * size)


def _frame(opcode: int, payload: bytes, fin: bool, rsv: int) -> RawFrame:
    rsv1, rsv2, rsv3 = bool(rsv & RSV1), bool(rsv & 0b010), bool(rsv & 0b001)
    return RawFrame(opcode, payload, fin, rsv1=rsv1, rsv2=rsv2, rsv3=rsv3)


def _bytes(payload: bytes | str) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


HELLO: Final = text("Hello")
"""The message that shows that a connection works."""
