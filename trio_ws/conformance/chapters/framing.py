"""Chapter 1, text and binary messages in one frame, at the sizes where the header changes its form."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.frames import binary, stars, text
from trio_ws.conformance.steps import TOGETHER, Chop, send

__all__ = ["CHAPTER"]

_SIZES: list[tuple[int, Chop]] = [
    (0, TOGETHER),
    (125, TOGETHER),
    (126, TOGETHER),
    (127, TOGETHER),
    (128, TOGETHER),
    (65_535, TOGETHER),
    (65_536, TOGETHER),
    (65_536, 997),
]

_CASES = [
    Case(
        f"1.{kind}.{number}",
        f"{name} message of {size} bytes{'' if chop == TOGETHER else f' in writes of {chop}'}",
        steps=[send(make(stars(size, byte)), chop=chop)],
        answers=[make(stars(size, byte))],
    )
    for kind, name, make, byte in [(1, "text", text, b"*"), (2, "binary", binary, b"\xfe")]
    for number, (size, chop) in enumerate(_SIZES, start=1)
]

CHAPTER = Chapter.of("1", "Framing", "RFC 6455 5.2", _CASES)
