"""The fuzzing peer's own frames (RFC 6455 5.2): written as the case says, legal or not, and read with suspicion.

Nothing here comes from the library under test. Compression is `deflate`'s; what is said when is `peer`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "RSV1",
    "TEXT",
    "Frame",
    "FrameError",
    "Reader",
    "encode",
    "fragments",
]

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
RSV1: Final = 0b100
"""The reserved bits count as one number of three bits, the way the published list names them."""


class FrameError(AssertionError):
    """The peer under test sent a frame that it may not send."""


@attrs.frozen
class Frame:
    """One frame, as it is to be sent or as it came."""

    opcode: int
    payload: bytes = attrs.field(default=b"", repr=lambda data: repr(data) if len(data) < 80 else f"{len(data)} bytes")
    fin: bool = True
    rsv: int = 0


def encode(frame: Frame, key: bytes | None) -> bytes:
    """Return the bytes of a frame, masked with the key if there is one. Nothing is checked: fuzzing needs it all."""
    size = len(frame.payload)
    masked = 0 if key is None else 0x80
    head = bytes([frame.fin << 7 | frame.rsv << 4 | frame.opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 1 << 16:
        head += bytes([masked | 126]) + size.to_bytes(2)
    else:
        head += bytes([masked | 127]) + size.to_bytes(8)
    return head + frame.payload if key is None else head + key + mask(frame.payload, key)


def mask(payload: bytes, key: bytes) -> bytes:
    """Return the payload masked, or unmasked, which is the same."""
    size = len(payload)
    stretched = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(stretched)).to_bytes(size)


def fragments(opcode: int, payload: bytes, size: int, *, rsv: int = 0) -> Iterator[Frame]:
    """Cut a message into frames of `size` bytes; 0 leaves it whole."""
    starts = range(0, len(payload), size) if size and payload else range(1)
    for start in starts:
        first, last = start == 0, start == starts[-1]
        part = payload[start : start + size] if size else payload
        yield Frame(opcode if first else CONTINUATION, part, last, rsv if first else 0)


class Reader:
    """Takes the bytes of the peer under test apart; a frame that breaks a rule of RFC 6455 5 is a `FrameError`.

    Args:
        masked: whether its frames must be masked, that is whether it is a client.
        compressed: whether RSV1 may stand on the first frame of a message (RFC 7692 6).
    """

    def __init__(self, *, masked: bool, compressed: bool) -> None:
        self._masked = masked
        self._compressed = compressed
        self._buffer = bytearray()
        self._in_message = False
        self._closed = False

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete now."""
        if self._closed and data:
            raise FrameError(f"{len(data)} bytes after the close frame")
        self._buffer += data
        while (frame := self._take()) is not None:
            self._check(frame)
            yield frame
            if frame.opcode == CLOSE:
                self._closed = True
                if self._buffer:
                    raise FrameError(f"{len(self._buffer)} bytes after the close frame")

    @property
    def within_frame(self) -> bool:
        """Whether an end of the stream would tear a frame."""
        return bool(self._buffer)

    def _take(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        size, position = buffer[1] & 0x7F, 2
        if size >= 126:
            position += 2 if size == 126 else 8
            if len(buffer) < position:
                return None
            least = 126 if size == 126 else 1 << 16
            size = int.from_bytes(buffer[2:position])
            if size < least:
                raise FrameError(f"a size of {size} is not written in the shortest form")
        if bool(buffer[1] & 0x80) is not self._masked:
            raise FrameError("a client masks its frames, a server does not")
        key = bytes(buffer[position : position + 4]) if self._masked else b""
        position += 4 if self._masked else 0
        if len(buffer) < position + size:
            return None
        payload = bytes(buffer[position : position + size])
        first = buffer[0]
        del buffer[: position + size]
        return Frame(first & 0xF, mask(payload, key) if key else payload, bool(first & 0x80), first >> 4 & 0b111)

    def _check(self, frame: Frame) -> None:
        if frame.opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameError(f"reserved opcode: {frame}")
        if frame.rsv and not (frame.rsv == RSV1 and self._compressed and frame.opcode in (TEXT, BINARY)):
            raise FrameError(f"reserved bits: {frame}")
        if frame.opcode >= CLOSE:
            if not frame.fin or len(frame.payload) > 125:
                raise FrameError(f"a control frame is whole, and at most 125 bytes: {frame}")
            return
        if (frame.opcode == CONTINUATION) is not self._in_message:
            raise FrameError(f"not in order: {frame}")
        self._in_message = not frame.fin
