"""Chapters 3 and 4, reserved bits that no extension has given a meaning, and reserved opcodes, fail the connection."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.frames import binary, close, ping, text
from trio_ws.conformance.outcomes import fails
from trio_ws.conformance.steps import BY_FRAME, TOGETHER, Chop, send
from trio_ws.testing.raw_frame import RawFrame

__all__ = ["AT_ONCE", "CHAPTERS"]

AT_ONCE = (
    "the breach comes right behind the message before it, and the connection is failed as soon as it is read; "
    "behind our close frame no message may be sent any more (RFC 6455 7.1.7, 5.5.1)"
)
"""Why a message that came right before a breach need not be answered."""

_HELLO = "Hello, world!"


def _alone(number: str, what: str, frame: RawFrame) -> Case:
    return Case(number, what, [send(frame)], ending=fails(1002))


def _behind(number: str, what: str, frame: RawFrame, chop: Chop = TOGETHER) -> Case:
    """A legal message, then the frame, then a ping, which must not be answered."""
    return Case(
        number,
        f"text, then {what}, then ping{'' if chop == TOGETHER else f', {chop}' if chop == BY_FRAME else ', by octet'}",
        [send(text(_HELLO), frame, ping(), chop=chop)],
        [text(_HELLO)],
        fails(1002),
        nonstrict=AT_ONCE,
    )


_CASES = [
    _alone("3.1", "text with reserved bits 1", text(_HELLO, rsv=1)),
    _behind("3.2", "text with reserved bits 2", text(_HELLO, rsv=2)),
    _behind("3.3", "text with reserved bits 3", text(_HELLO, rsv=3), BY_FRAME),
    _behind("3.4", "text with reserved bits 4", text(_HELLO, rsv=4), 1),
    _alone("3.5", "binary with reserved bits 5", binary(b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", rsv=5)),
    _alone("3.6", "ping with reserved bits 6", ping(_HELLO, rsv=6)),
    _alone("3.7", "close with reserved bits 7", close(rsv=7)),
    _alone("4.1.1", "data opcode 3", RawFrame(3)),
    _alone("4.1.2", "data opcode 4 with payload", RawFrame(4, b"reserved opcode")),
    _behind("4.1.3", "data opcode 5", RawFrame(5)),
    _behind("4.1.4", "data opcode 6 with payload", RawFrame(6, _HELLO.encode())),
    _behind("4.1.5", "data opcode 7 with payload", RawFrame(7, _HELLO.encode()), 1),
    _alone("4.2.1", "control opcode 11", RawFrame(11)),
    _alone("4.2.2", "control opcode 12 with payload", RawFrame(12, b"reserved opcode")),
    _behind("4.2.3", "control opcode 13", RawFrame(13)),
    _behind("4.2.4", "control opcode 14 with payload", RawFrame(14, _HELLO.encode())),
    _behind("4.2.5", "control opcode 15 with payload", RawFrame(15, _HELLO.encode()), 1),
]

CHAPTERS = [
    Chapter.of("3", "Reserved bits", "RFC 6455 5.2", [case for case in _CASES if case.chapter == "3"]),
    Chapter.of("4", "Opcodes", "RFC 6455 5.2", [case for case in _CASES if case.chapter == "4"]),
]
