"""Frames from the bytes of the implementation under test, with the rules of RFC 6455 checked."""

from __future__ import annotations

import codecs
from typing import Final

import attrs

from trio_ws.testing.raw_frame import MASK_KEY, SHOWN_BYTES, Opcode, RawFrame, apply_mask_key, shortest_form

__all__ = ["InvalidFrame", "RawFrameReader", "RawFrameRules"]

PROTOCOL_ERROR: Final = 1002
INVALID_PAYLOAD: Final = 1007
"""The close code for text that is not UTF-8 (RFC 6455 7.4.1)."""
MAX_CONTROL_PAYLOAD: Final = 125
"""RFC 6455 5.5."""
SENDABLE_CODES: Final = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))
"""Close codes that a frame may have (RFC 6455 7.4 and the IANA registry of close codes)."""

_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}


class InvalidFrame(Exception):  # noqa: N818 - a finding about the other side, not an error of the test
    """The other side sent a frame that breaks a rule of RFC 6455.

    Args:
        rule: what the rule demands.
        section: where it stands, such as "RFC 6455 5.1".
        frame: the frame; of one whose header alone breaks the rule, the payload so far, and its declared length.
        code: the close code that answers it.

    Attributes:
        rule: likewise.
        section: likewise.
        frame: likewise; None for bytes behind a close frame.
        code: likewise.

    Example:
        async with client.raw("/echo") as peer:
            with pytest.raises(InvalidFrame, match="a client masks its frames, a server does not"):
                await peer.receive_frame()
    """

    def __init__(self, rule: str, section: str, frame: RawFrame | None = None, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(f"{rule} ({section}){'' if frame is None else f': {frame}'}")
        self.rule = rule
        self.section = section
        self.frame = frame
        self.code = code


@attrs.define
class RawFrameRules:
    """The rules for the order and the content of the frames of one side.

    Args:
        masked: whether the frames must be masked, as those of a client.
        compressed: whether permessage-deflate is agreed, so that RSV1 may mark a message (RFC 7692 6).
    """

    masked: bool
    compressed: bool = False
    _in_message: bool = False
    _closed: bool = False
    _text: codecs.IncrementalDecoder | None = None

    def check(self, frame: RawFrame) -> None:
        """Check the next frame.

        Raises:
            InvalidFrame: it breaks a rule.
        """
        self.check_header(frame)
        if frame.opcode == Opcode.CLOSE:
            self._closed = True
            self._check_close(frame)
        elif frame.opcode < Opcode.CLOSE:
            self._check_text(frame)
            self._in_message = not frame.fin

    def check_header(self, frame: RawFrame) -> None:
        """Check all of the next frame but its payload, of which the length counts alone.

        Raises:
            InvalidFrame: it breaks a rule.
        """
        for broken, rule, section in self._rules(frame):
            if broken:
                raise InvalidFrame(rule, f"RFC 6455 {section}", frame)

    def check_unread(self, data: bytes | bytearray) -> None:
        """Check bytes that are no complete frame yet.

        Raises:
            InvalidFrame: they follow a close frame.
        """
        if self._closed and data:
            raise InvalidFrame(f"nothing follows a close frame, not {bytes(data[:20])!r}", "RFC 6455 5.5.1")

    def _rules(self, frame: RawFrame) -> tuple[tuple[bool, str, str], ...]:
        size = len(frame.payload) if frame.length is None else frame.length
        control = frame.opcode >= Opcode.CLOSE
        starts = frame.opcode in (Opcode.TEXT, Opcode.BINARY)
        return (
            (self._closed, "nothing follows a close frame", "5.5.1"),
            (frame.masked is not self.masked, "a client masks its frames, a server does not", "5.1"),
            (frame.opcode not in _OPCODES, "reserved opcodes are not sent", "5.2"),
            (frame.rsv2 or frame.rsv3, "reserved bits without an extension are 0", "5.2"),
            (frame.rsv1 and not (self.compressed and starts), "RSV1 only marks a compressed message", "5.2"),
            (control and not frame.fin, "a control frame is not fragmented", "5.5"),
            (control and size > MAX_CONTROL_PAYLOAD, "a control frame has at most 125 bytes", "5.5"),
            (starts and self._in_message, "a message ends before the next one begins", "5.4"),
            (not control and not starts and not self._in_message, "a continuation continues a message", "5.4"),
            (bool(size >> 63), "the most significant bit of a length is 0", "5.2"),
            (frame.length_bytes not in (None, shortest_form(size)), "a payload length has the shortest form", "5.2"),
        )

    def _check_close(self, frame: RawFrame) -> None:
        if len(frame.payload) == 1:
            raise InvalidFrame("a close code has two bytes, not one byte", "RFC 6455 5.5.1", frame)
        if frame.payload and frame.close_code not in SENDABLE_CODES:
            raise InvalidFrame(f"close code {frame.close_code} may not be sent", "RFC 6455 7.4", frame)
        try:
            frame.payload[2:].decode()
        except UnicodeDecodeError:
            raise InvalidFrame(
                "the reason of a close frame is UTF-8", "RFC 6455 5.5.1", frame, INVALID_PAYLOAD
            ) from None

    def _check_text(self, frame: RawFrame) -> None:
        if frame.opcode != Opcode.CONTINUATION:
            plain = frame.opcode == Opcode.TEXT and not frame.rsv1
            self._text = codecs.getincrementaldecoder("utf-8")() if plain else None
        if self._text is not None:
            try:
                self._text.decode(frame.payload, frame.fin)
            except UnicodeDecodeError:
                raise InvalidFrame("a text message is UTF-8", "RFC 6455 8.1", frame, INVALID_PAYLOAD) from None


class RawFrameReader:
    """Takes bytes apart into frames.

    Args:
        rules: the rules that frames are checked by, None to accept any frame.
    """

    def __init__(self, rules: RawFrameRules | None = None) -> None:
        self.rules = rules
        self.unread: bytearray = bytearray()
        """Bytes that belong to no complete frame yet."""

    def feed(self, data: bytes | bytearray) -> None:
        """Add bytes that arrived."""
        self.unread += data

    def next_frame(self) -> RawFrame | None:
        """Remove the next complete frame and return it, None if there is none yet.

        Raises:
            InvalidFrame: it breaks a rule. If it is complete, it has been removed, so that reading can go on; a header
                that breaks one raises before its payload has arrived, and stays until then.
        """
        unread = self.unread
        if self.rules is not None:
            self.rules.check_unread(unread)
        if len(unread) < 2:
            return None
        form = {126: 2, 127: 8}.get(unread[1] & 0x7F, 0)
        start = 2 + form + (4 if unread[1] & 0x80 else 0)
        has_length = len(unread) >= 2 + form
        size = int.from_bytes(unread[2 : 2 + form]) if form and has_length else unread[1] & 0x7F
        if not has_length or len(unread) < start + size:
            if self.rules is not None:
                self.rules.check_header(self._frame(start, start + SHOWN_BYTES, form if has_length else None, size))
            return None
        frame = self._frame(start, start + size, form, size)
        del unread[: start + size]
        if self.rules is not None:
            self.rules.check(frame)
        return frame

    def _frame(self, start: int, end: int, form: int | None, size: int) -> RawFrame:
        """Return the frame with its payload, or the beginning of that.

        Args:
            start: of the payload.
            end: likewise.
            form: bytes of the extended length, None if they have not arrived.
            size: the length that the header declares.
        """
        first, second = self.unread[:2]
        payload, key = bytes(self.unread[start:end]), MASK_KEY
        if second & 0x80 and len(self.unread) >= start:
            key = bytes(self.unread[start - 4 : start])
            payload = apply_mask_key(payload, key)
        opcode = first & 0xF
        return RawFrame(
            _OPCODES.get(opcode, opcode),
            payload,
            bool(first & 0x80),
            rsv1=bool(first & 0x40),
            rsv2=bool(first & 0x20),
            rsv3=bool(first & 0x10),
            masked=bool(second & 0x80),
            mask=key,
            length_bytes=None if form in (None, shortest_form(size)) else form,
            length=None if len(payload) == size else size,
        )
