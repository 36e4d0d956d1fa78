"""A model of a receiver, for the rule that frames break and the messages that they carry (RFC 6455 5).

It is written from the RFC and shares no code with the library's decoder, so that tests can compare the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import attrs

from trio_ws.testing.raw_frame import Opcode, RawFrame
from trio_ws.testing.raw_reader import InvalidFrame, RawFrameReader, RawFrameRules

__all__ = ["Sender", "Violation", "encode_frames", "messages_of", "parse_frames", "violation_of"]

Sender: TypeAlias = Literal["client", "server"]
"""The side that sends frames: a client masks them."""


@attrs.frozen
class Violation:
    """The first rule that a sequence of frames breaks.

    Args:
        index: of the frame in the sequence.
        code: the close code that a receiver answers with.
        rule: what the rule demands.
        section: where the rule stands, such as "RFC 6455 5.4".

    Example:
        violation = violation_of([RawFrame(Opcode.PING, fin=False, masked=True)])
        assert (violation.code, violation.section) == (1002, "RFC 6455 5.5")
    """

    index: int
    code: int
    rule: str
    section: str


def violation_of(
    frames: Iterable[RawFrame], *, sender: Sender = "client", compression: bool = False
) -> Violation | None:
    """Return the first violation in a sequence of frames, or None if a receiver accepts them all.

    Frames behind a close frame do not count. Limits of a receiver are not rules of the protocol.

    Example:
        found = violation_of([RawFrame(Opcode.CONTINUATION)], sender="server")
        assert (found.code, found.section) == (1002, "RFC 6455 5.4")

    Args:
        frames: in the order in which they are sent, from the beginning of the connection.
        sender: the side that sends them.
        compression: whether permessage-deflate was negotiated; then RSV1 may start a message, and the text of
            compressed messages is not checked.
    """
    rules = RawFrameRules(masked=sender == "client", compressed=compression)
    for index, frame in enumerate(frames):
        try:
            rules.check(frame)
        except InvalidFrame as broken:
            return Violation(index, broken.code, broken.rule, broken.section)
        if frame.opcode == Opcode.CLOSE:
            break
    return None


def messages_of(frames: Iterable[RawFrame], *, sender: Sender = "client") -> list[str | bytes]:
    """Return the messages that a receiver gets from frames, up to the first violation or close frame.

    Example:
        frames = [RawFrame(Opcode.TEXT, b"a", fin=False), RawFrame(Opcode.PING), RawFrame(Opcode.CONTINUATION, b"b")]
        assert messages_of(frames, sender="server") == ["ab"]

    Args:
        frames: in the order in which they are sent, not compressed.
        sender: the side that sends them.
    """
    messages: list[str | bytes] = []
    text, payload = False, b""
    for frame in accepted_of(frames, sender=sender):
        if frame.is_control:
            continue
        if frame.opcode != Opcode.CONTINUATION:
            text, payload = frame.opcode == Opcode.TEXT, b""
        payload += frame.payload
        if frame.fin:
            messages.append(payload.decode() if text else payload)
    return messages


def accepted_of(frames: Iterable[RawFrame], *, sender: Sender) -> list[RawFrame]:
    """Return the frames before the first violation, up to the first close frame."""
    rules = RawFrameRules(masked=sender == "client")
    accepted: list[RawFrame] = []
    for frame in frames:
        try:
            rules.check(frame)
        except InvalidFrame:
            break
        accepted.append(frame)
        if frame.opcode == Opcode.CLOSE:
            break
    return accepted


def encode_frames(frames: Iterable[RawFrame]) -> bytes:
    """Return the bytes of some frames.

    Example:
        assert encode_frames([RawFrame(Opcode.PING), RawFrame(Opcode.TEXT, b"a")]) == b"\\x89\\x00\\x81\\x01a"
    """
    return b"".join(frame.encode() for frame in frames)


def parse_frames(data: bytes | bytearray) -> tuple[list[RawFrame], bytes]:
    """Return the complete frames in `data`, whatever rule they break, and the bytes behind them.

    Example:
        assert parse_frames(b"\\x89\\x00\\x81\\x05he") == ([RawFrame(Opcode.PING)], b"\\x81\\x05he")
    """
    reader = RawFrameReader()
    reader.feed(data)
    frames = []
    while (frame := reader.next_frame()) is not None:
        frames.append(frame)
    return frames, bytes(reader.unread)
