"""Single WebSocket frames as values and as bytes, legal or not (RFC 6455 5.2).

The code shares nothing with `protocol`, so that a test which uses it checks one implementation against another.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import attrs

from trio_ws.options import check_number

__all__ = [
    "CLOSE_WITHOUT_CODE",
    "MASK_KEY",
    "Opcode",
    "RawFrame",
    "apply_mask_key",
    "close_payload",
    "frame_bytes",
    "join_bytes",
    "short_bytes",
    "shortest_form",
    "to_bytes",
]

MASK_KEY: Final = b"\x37\xfa\x21\x3d"
"""The key of the examples in RFC 6455 5.7. It is fixed, so that tests send the same bytes each time."""
CLOSE_WITHOUT_CODE: Final = 1005
"""The code of a close frame with an empty payload (RFC 6455 7.1.5)."""
LENGTH_FORMS: Final = {0: 125, 2: 0xFFFF, 8: (1 << 64) - 1}
"""The largest length in each form: in the second byte, in two, and in eight further bytes (RFC 6455 5.2)."""
SHOWN_BYTES: Final = 60
"""Bytes of a payload that the description of a frame shows."""


class Opcode(IntEnum):
    """The opcodes of RFC 6455 5.2."""

    CONTINUATION = 0x0
    """A further fragment of a message."""
    TEXT = 0x1
    """A text message, or its first fragment."""
    BINARY = 0x2
    """A binary message, or its first fragment."""
    CLOSE = 0x8
    """A close frame."""
    PING = 0x9
    """A ping."""
    PONG = 0xA
    """A pong."""


@attrs.frozen(repr=False)
class RawFrame:
    """A frame as it arrived or is to be sent, valid or not, with its payload unmasked.

    `str(frame)` is short and made for messages of tests: `TEXT b'hello'`, `CLOSE 1002 'reserved bits'`.

    Example:
        frame = await peer.receive_frame()
        assert (frame.opcode, frame.payload) == (Opcode.TEXT, b"hello")
    """

    opcode: int
    """An `Opcode`, or the number of a reserved one."""
    payload: bytes = b""
    """The payload, unmasked."""
    fin: bool = True
    """Whether it is the last fragment."""
    rsv1: bool = attrs.field(default=False, kw_only=True)
    """The first reserved bit, of compressed messages."""
    rsv2: bool = attrs.field(default=False, kw_only=True)
    """The second reserved bit."""
    rsv3: bool = attrs.field(default=False, kw_only=True)
    """The third reserved bit."""
    masked: bool = attrs.field(default=False, kw_only=True)
    """Whether it was masked, or is to be."""
    mask: bytes = attrs.field(default=MASK_KEY, kw_only=True, eq=False)
    """The masking key that `encode` uses, if the frame is masked; it does not count in comparisons."""
    length_bytes: int | None = attrs.field(default=None, kw_only=True)
    """Bytes of the extended length: 0, 2 or 8; None for the shortest form, the only valid one."""
    length: int | None = attrs.field(default=None, kw_only=True)
    """The length that the header declares; None for that of the payload, the only valid one."""

    def encode(self) -> bytes:
        """Return the bytes of the frame.

        Raises:
            ValueError: the length does not fit its form, or the opcode its four bits.
        """
        return frame_bytes(
            self.opcode,
            self.payload,
            fin=self.fin,
            rsv1=self.rsv1,
            rsv2=self.rsv2,
            rsv3=self.rsv3,
            mask=self.mask if self.masked else None,
            length=self.length,
            length_bytes=self.length_bytes,
        )

    @property
    def is_control(self) -> bool:
        """True for control frames, reserved ones too (RFC 6455 5.5)."""
        return self.opcode >= Opcode.CLOSE

    @property
    def close_code(self) -> int | None:
        """The code of a close frame; 1005 without one, None for other frames."""
        if self.opcode != Opcode.CLOSE:
            return None
        return int.from_bytes(self.payload[:2]) if len(self.payload) > 1 else CLOSE_WITHOUT_CODE

    @property
    def close_reason(self) -> str | None:
        """The reason of a close frame, None for other frames; invalid UTF-8 is shown as escapes."""
        return self.payload[2:].decode("utf-8", "backslashreplace") if self.opcode == Opcode.CLOSE else None

    @property
    def text(self) -> str:
        """The payload as UTF-8.

        Raises:
            UnicodeDecodeError: it is not, or only together with other fragments.
        """
        return self.payload.decode()

    def __repr__(self) -> str:
        """Return the call that makes the frame, in which a long payload is shortened."""
        name = f"Opcode.{self.opcode.name}" if isinstance(self.opcode, Opcode) else f"{self.opcode:#x}"
        parts = [name, short_bytes(self.payload)]
        for field in attrs.fields(type(self))[2:]:
            value = getattr(self, field.name)
            if value != field.default and (self.masked or field.name != "mask"):
                parts.append(f"{field.name}={value!r}")
        return f"RawFrame({', '.join(parts)})"

    def __str__(self) -> str:
        name = self.opcode.name if isinstance(self.opcode, Opcode) else f"OPCODE {self.opcode:#x}"
        if self.opcode == Opcode.CLOSE and len(self.payload) > 1:
            content = f"{self.close_code} {self.close_reason!r}"
        else:
            content = short_bytes(self.payload)
        words = [name, content, *([] if self.fin else ["unfinished"])]
        words += [bit for bit in ("rsv1", "rsv2", "rsv3") if getattr(self, bit)]
        words += [] if self.length is None else [f"length {self.length} declared"]
        words += [] if self.length_bytes is None else [f"length in {self.length_bytes} bytes"]
        return " ".join(words)


def short_bytes(data: bytes) -> str:
    """Return an expression for bytes; of many bytes that are not all the same only the first are in it."""
    if len(data) <= SHOWN_BYTES:
        return repr(bytes(data))
    if data == data[:1] * len(data):
        return f"{data[:1]!r} * {len(data)}"
    return f"{bytes(data[:SHOWN_BYTES])!r} and {len(data) - SHOWN_BYTES} bytes"


def apply_mask_key(payload: bytes, key: bytes) -> bytes:
    """Return the payload masked with four bytes, or unmasked, which is the same operation (RFC 6455 5.3)."""
    size = len(payload)
    stretched = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(stretched)).to_bytes(size)


def frame_bytes(
    opcode: int,
    payload: str | bytes = b"",
    *,
    fin: bool = True,
    rsv1: bool = False,
    rsv2: bool = False,
    rsv3: bool = False,
    mask: bytes | None = MASK_KEY,
    length: int | None = None,
    length_bytes: int | None = None,
) -> bytes:
    """Return the bytes of one frame. Nothing is checked, so that every invalid frame is possible.

    Args:
        opcode: 0 to 15.
        payload: before masking; text is encoded as UTF-8.
        fin: whether the frame is the last of its message.
        rsv1: the first reserved bit; permessage-deflate sets it on the first frame of a compressed message.
        rsv2: the second reserved bit.
        rsv3: the third reserved bit.
        mask: the four bytes of a client's masking key, None for an unmasked frame, as servers send them.
        length: the length that the header declares, None for that of the payload.
        length_bytes: bytes of the extended length: 0, 2 or 8; None for the shortest form, the only valid one.

    Raises:
        TypeError: the opcode is no number, or the payload neither text nor bytes.
        ValueError: the length does not fit its form, or the opcode its four bits.

    Example:
        frame_bytes(Opcode.TEXT, "hello", mask=None) == b"\\x81\\x05hello"
    """
    data = to_bytes("the payload of a frame", payload)
    if not isinstance(opcode, int):
        raise TypeError(f"an opcode is a number or a member of Opcode, such as Opcode.TEXT, not {opcode!r}")
    declared = len(data) if length is None else length
    if not 0 <= opcode <= 0xF:
        raise ValueError(f"an opcode has four bits, not {opcode}")
    head = bytes([fin << 7 | rsv1 << 6 | rsv2 << 5 | rsv3 << 4 | opcode]) + _length_field(
        declared, length_bytes, masked=mask is not None
    )
    return head + data if mask is None else head + mask + apply_mask_key(data, mask)


def close_payload(code: int | None, reason: str | bytes) -> bytes:
    """Return the payload of a close frame, empty without a code.

    Raises:
        TypeError: the code is no number, or the reason neither text nor bytes.
        ValueError: the code does not fit its two bytes.
    """
    text = to_bytes("the reason of a close frame", reason)
    if code is None:
        return b""
    check_number("code", code, 0, 0xFFFF, none="a close frame without payload")
    return code.to_bytes(2) + text


def join_bytes(pieces: tuple[bytes, ...]) -> bytes:
    """Join bytes for the network.

    Raises:
        TypeError: a piece is text.
    """
    if any(isinstance(piece, str) for piece in pieces):
        raise TypeError("send() takes bytes as they go to the network: encode() the text, or send it by message()")
    return b"".join(pieces)


def to_bytes(name: str, content: object) -> bytes:
    """Return bytes, or text as UTF-8.

    Args:
        name: of the content, for the message of the error.
        content: text or bytes.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content)
    raise TypeError(f"{name} is text or bytes, not {content!r}")


def shortest_form(length: int) -> int:
    """Return the bytes of the extended length that a payload needs: 0, 2 or 8."""
    return next((form for form, most in LENGTH_FORMS.items() if length <= most), 8)


def _length_field(length: int, length_bytes: int | None, *, masked: bool) -> bytes:
    if length_bytes is None:
        length_bytes = shortest_form(length)
    if length_bytes not in LENGTH_FORMS or not 0 <= length <= LENGTH_FORMS[length_bytes]:
        raise ValueError(f"a length of {length} does not fit {length_bytes} bytes: 0 holds 125, 2 hold 65535, or use 8")
    short = length if length_bytes == 0 else 126 if length_bytes == 2 else 127
    return bytes([masked << 7 | short]) + (length.to_bytes(length_bytes) if length_bytes else b"")
