"""The frames of the suite (RFC 6455 5.2): written as a case demands, valid or not, and read with suspicion.

`testing.raw_frame` makes the bytes. Nothing comes from the library's own codec, since that is among what is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs

from trio_ws.testing.raw_frame import MASK_KEY, apply_mask_key, frame_bytes

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "PING",
    "PONG",
    "RSV1",
    "TEXT",
    "Finding",
    "FrameReader",
    "WireFrame",
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
"""The reserved bits count as one number of three bits, as in the published list."""

NAMES: Final = {
    CONTINUATION: "CONTINUATION",
    TEXT: "TEXT",
    BINARY: "BINARY",
    CLOSE: "CLOSE",
    PING: "PING",
    PONG: "PONG",
}
MAX_CONTROL: Final = 125
SHOWN_BYTES: Final = 32
"""Bytes of a payload that the description of a frame shows."""


class Finding(Exception):  # noqa: N818 - a result of the suite, not an error of it
    """A breach of the rules by the implementation under test.

    Args:
        section: where the rule stands, such as "RFC 6455 5.1".
        text: the event, in a clause.
    """

    def __init__(self, section: str, text: str) -> None:
        super().__init__(f"{text} ({section})")
        self.section = section
        self.text = text


@attrs.frozen
class WireFrame:
    """One frame, as a case sends it or as it arrived.

    Frames are equal if they say the same: opcode, payload, FIN and reserved bits.

    Args:
        opcode: 0 to 15.
        payload: before masking.
        fin: whether it is the last frame of its message.
        rsv: the three reserved bits as a number; 4 is RSV1.
        masked: whether it is masked; None for what its side has to do.
        key: the masking key; None for one of the suite's.
        length: the length that the header declares, None for the payload's.
        length_bytes: bytes of the extended length: 0, 2 or 8; None for the shortest form.
    """

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    masked: bool | None = attrs.field(default=None, eq=False, kw_only=True)
    key: bytes | None = attrs.field(default=None, eq=False, kw_only=True)
    length: int | None = attrs.field(default=None, eq=False, kw_only=True)
    length_bytes: int | None = attrs.field(default=None, eq=False, kw_only=True)

    @property
    def close_code(self) -> int | None:
        """The code of a close frame, None if it has none."""
        return int.from_bytes(self.payload[:2]) if self.opcode == CLOSE and len(self.payload) > 1 else None

    def __str__(self) -> str:
        words = [NAMES.get(self.opcode, f"OPCODE {self.opcode:#x}")]
        if self.close_code is not None:
            words.append(f"{self.close_code}")
            words += [repr(self.payload[2:].decode(errors="backslashreplace"))] * (len(self.payload) > 2)
        else:
            words.append(shown(self.payload, text=self.opcode == TEXT))
        words += [] if self.fin else ["unfinished"]
        words += [f"RSV {self.rsv:03b}"] if self.rsv else []
        words += ["masked" if self.masked else "not masked"] if self.masked is not None else []
        words += [f"length {self.length} declared"] if self.length is not None else []
        words += [f"length in {self.length_bytes} bytes"] if self.length_bytes is not None else []
        return " ".join(words)


def shown(payload: bytes, *, text: bool = False) -> str:
    """Return the beginning of a payload, and its size if it is longer or one byte repeated."""
    size = len(payload)
    if size > 8 and payload == payload[:1] * size:
        return f"{size} times {payload[:1]!r}"
    part = payload[:SHOWN_BYTES]
    words = repr(part)
    if text:
        try:
            words = repr(part.decode())
        except UnicodeDecodeError:
            pass
    return words if size <= SHOWN_BYTES else f"{words}... ({size} bytes)"


def encode(frame: WireFrame, key: bytes | None) -> bytes:
    """Return the bytes of a frame. Nothing is checked.

    Args:
        frame: valid or not.
        key: the masking key of a client's frame, None on a server; the frame's own attributes come first.
    """
    if frame.masked is not None:
        key = (frame.key or key or MASK_KEY) if frame.masked else None
    elif key is not None and frame.key is not None:
        key = frame.key
    return frame_bytes(
        frame.opcode,
        frame.payload,
        fin=frame.fin,
        rsv1=bool(frame.rsv & RSV1),
        rsv2=bool(frame.rsv & 0b010),
        rsv3=bool(frame.rsv & 0b001),
        mask=key,
        length=frame.length,
        length_bytes=frame.length_bytes,
    )


def fragments(opcode: int, payload: bytes, size: int, *, rsv: int = 0) -> Iterator[WireFrame]:
    """Cut a message into frames of `size` bytes; 0 leaves it whole."""
    starts = range(0, len(payload), size) if size and payload else range(1)
    for start in starts:
        first, last = start == 0, start == starts[-1]
        part = payload[start : start + size] if size else payload
        yield WireFrame(opcode if first else CONTINUATION, part, last, rsv if first else 0)


class FrameReader:
    """Takes the bytes of the implementation under test apart, and checks each frame.

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

    def feed(self, data: bytes) -> Iterator[WireFrame]:
        """Yield the frames that are complete now.

        Raises:
            Finding: a frame breaks a rule of RFC 6455 5, or follows a close frame.
        """
        if self._closed and data:
            raise Finding("RFC 6455 5.5.1", f"{len(data)} bytes follow the close frame")
        self._buffer += data
        while (frame := self._take()) is not None:
            self._check(frame)
            yield frame
            if frame.opcode == CLOSE:
                self._closed = True
                if self._buffer:
                    raise Finding("RFC 6455 5.5.1", f"{len(self._buffer)} bytes follow the close frame")

    @property
    def within_frame(self) -> bool:
        """Whether an end of the stream would tear a frame."""
        return bool(self._buffer)

    @property
    def within_message(self) -> bool:
        """Whether a fragmented message is unfinished."""
        return self._in_message

    def _take(self) -> WireFrame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        self._check_first(buffer[0])
        if bool(buffer[1] & 0x80) is not self._masked:
            text = "a server's frame is masked" if not self._masked else "a client's frame is not masked"
            raise Finding("RFC 6455 5.1", text)
        size, position = buffer[1] & 0x7F, 2
        if size > MAX_CONTROL:
            position += 2 if size == 126 else 8
            if len(buffer) < position:
                return None
            size = self._length(size, int.from_bytes(buffer[2:position]))
        key = bytes(buffer[position : position + 4]) if self._masked else b""
        position += 4 if self._masked else 0
        if len(buffer) < position + size:
            return None
        payload = bytes(buffer[position : position + size])
        first = buffer[0]
        del buffer[: position + size]
        payload = apply_mask_key(payload, key) if key else payload
        return WireFrame(first & 0xF, payload, bool(first & 0x80), first >> 4 & 0b111, key=key or None)

    def _length(self, form: int, size: int) -> int:
        if size < (126 if form == 126 else 1 << 16):
            raise Finding("RFC 6455 5.2", f"a length of {size} is not in its shortest form")
        if size >> 63:
            raise Finding("RFC 6455 5.2", "the most significant bit of a length is set")
        return size

    def _check_first(self, first: int) -> None:
        opcode, rsv = first & 0xF, first >> 4 & 0b111
        if opcode not in NAMES:
            raise Finding("RFC 6455 5.2", f"a frame has the reserved opcode {opcode:#x}")
        if rsv and not (rsv == RSV1 and self._compressed and opcode in (TEXT, BINARY)):
            raise Finding("RFC 6455 5.2", f"a frame has reserved bits {rsv:03b}: {NAMES[opcode]}")

    def _check(self, frame: WireFrame) -> None:
        if frame.opcode >= CLOSE:
            if not frame.fin or len(frame.payload) > MAX_CONTROL:
                raise Finding("RFC 6455 5.5", f"a control frame is fragmented or longer than 125 bytes: {frame}")
            if frame.opcode == CLOSE:
                check_close(frame)
            return
        if (frame.opcode == CONTINUATION) is not self._in_message:
            raise Finding("RFC 6455 5.4", f"a fragment is not in order: {frame}")
        self._in_message = not frame.fin


def check_close(frame: WireFrame) -> None:
    """Check the payload of a close frame.

    Raises:
        Finding: half a code, a code that may not be sent (RFC 6455 7.4), or a reason that is not UTF-8.
    """
    if not frame.payload:
        return
    code = int.from_bytes(frame.payload[:2])
    if len(frame.payload) == 1:
        raise Finding("RFC 6455 5.5.1", "a close frame has one byte")
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise Finding("RFC 6455 7.4", f"a close frame has code {code}, which may not be sent")
    try:
        frame.payload[2:].decode()
    except UnicodeDecodeError:
        raise Finding("RFC 6455 5.5.1", "the reason of a close frame is not UTF-8") from None
