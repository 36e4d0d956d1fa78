"""Chapter 24, lengths that are not in their shortest form, or too large for anything (RFC 6455 5.2).

The RFC says that a sender MUST use the shortest form, and not what a receiver does about a longer one: 24.1 are SHOULD.
"""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import stars
from trio_ws.conformance.outcomes import Outcome, fails
from trio_ws.conformance.steps import send
from trio_ws.testing.raw_frame import Opcode, RawFrame

__all__ = ["CHAPTER"]

# The payload, and the bytes that its length is written in.
_LONG_FORMS = [(0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65_535, 8)]
_HUGE = [("2 GiB", 1 << 31), ("4 GiB", 1 << 32), ("2 ** 62 bytes", 1 << 62), ("the largest length", (1 << 63) - 1)]

_CASES = [
    *(
        Case(
            f"24.1.{number}",
            f"{size} bytes with their length in {form} bytes",
            [send(RawFrame(Opcode.TEXT, stars(size), length_bytes=form))],
            ending=fails(1002),
            level=Level.SHOULD,
        )
        for number, (size, form) in enumerate(_LONG_FORMS, start=1)
    ),
    *(
        Case(
            f"24.2.{number}",
            f"the header of a frame of {name}, and a few bytes",
            [send(RawFrame(Opcode.BINARY, b"few", length=size))],
            ending=fails(1009),
            also=(Outcome(fails(1002)),),
            level=Level.HARDENING,
            section="RFC 6455 10.4",
        )
        for number, (name, size) in enumerate(_HUGE, start=1)
    ),
    Case(
        "24.3.1",
        "a length with the most significant bit set",
        [send(RawFrame(Opcode.BINARY, b"few", length=1 << 63))],
        ending=fails(1002),
        also=(Outcome(fails(1009)),),
    ),
    Case(
        "24.3.2",
        "a length of which all bits are set",
        [send(RawFrame(Opcode.TEXT, b"few", length=(1 << 64) - 1))],
        ending=fails(1002),
        also=(Outcome(fails(1009)),),
    ),
]

CHAPTER = Chapter.of("24", "Lengths", "RFC 6455 5.2", _CASES)
