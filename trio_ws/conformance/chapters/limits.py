"""Chapters 9 and 10, large messages, whole, in fragments, in small writes, and one after the other."""

from __future__ import annotations

import attrs

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import binary, fragments, stars, text
from trio_ws.conformance.outcomes import CLEAN, Outcome, fails
from trio_ws.conformance.scale import Scale
from trio_ws.conformance.steps import RoundTrips, send
from trio_ws.testing.raw_frame import Opcode

__all__ = ["chapters"]

_KIB = 1024
_MIB = 1024 * _KIB
_KINDS = [("text", Opcode.TEXT, text, b"*"), ("binary", Opcode.BINARY, binary, b"\xfe")]

_SIZES = [64 * _KIB, 256 * _KIB, _MIB, 4 * _MIB, 8 * _MIB, 16 * _MIB]
_FRAGMENTED = 4 * _MIB
_FRAGMENTS = [64, 256, _KIB, 4 * _KIB, 16 * _KIB, 64 * _KIB, 256 * _KIB, _MIB, 4 * _MIB]
_CHOPPED = _MIB
_CHOPS = [64, 128, 256, 512, _KIB, 2 * _KIB]
_SMALL = [0, 16, 64, 256, _KIB, 4 * _KIB]


def _large(scale: Scale) -> list[Case]:
    return [
        Case(
            f"9.{group}.{number}", f"{name} of {size} bytes", [send(make(stars(size, byte)))], [make(stars(size, byte))]
        )
        for group, (name, _, make, byte) in enumerate(_KINDS, start=1)
        for number, size in enumerate([each // scale.large for each in _SIZES], start=1)
    ]


def _fragmented(scale: Scale) -> list[Case]:
    size = _FRAGMENTED // scale.large
    return [
        Case(
            f"9.{group}.{number}",
            f"{name} of {size} bytes in fragments of {part}",
            [send(fragments(opcode, stars(size, byte), part))],
            [make(stars(size, byte))],
        )
        for group, (name, opcode, make, byte) in enumerate(_KINDS, start=3)
        for number, part in enumerate(_FRAGMENTS, start=1)
    ]


def _chopped(scale: Scale) -> list[Case]:
    size = _CHOPPED // scale.chopped
    return [
        Case(
            f"9.{group}.{number}",
            f"{name} of {size} bytes in writes of {part}",
            [send(make(stars(size, byte)), chop=part)],
            [make(stars(size, byte))],
        )
        for group, (name, _, make, byte) in enumerate(_KINDS, start=5)
        for number, part in enumerate(_CHOPS, start=1)
    ]


def _round_trips(scale: Scale) -> list[Case]:
    count = scale.round_trips
    return [
        Case(
            f"9.{group}.{number}",
            f"{count} times {name} of {size} bytes, one after the other",
            [RoundTrips([(opcode, stars(size, byte))] * count)],
        )
        for group, (name, opcode, _, byte) in enumerate(_KINDS, start=7)
        for number, size in enumerate(_SMALL, start=1)
    ]


_TOO_LARGE = Outcome(
    fails(1009), None, "the message is refused with 1009: raise the limit to see it echoed (RFC 6455 10.4)"
)


def _refusable(cases: list[Case]) -> list[Case]:
    return [attrs.evolve(case, also=(_TOO_LARGE,)) for case in cases]


def chapters(scale: Scale) -> list[Chapter]:
    """Return the two chapters at a scale."""
    nine = _refusable(_large(scale) + _fragmented(scale)) + _chopped(scale) + _round_trips(scale)
    ten = Case(
        "10.1.1",
        "text of 65536 bytes in fragments of 1300",
        [send(fragments(Opcode.TEXT, stars(65_536), 1_300))],
        [text(stars(65_536))],
        CLEAN,
    )
    return [
        Chapter.of("9", "Limits and performance", "RFC 6455 5.2", nine, level=Level.SHOULD),
        Chapter.of("10", "Fragments of the sender's own", "RFC 6455 5.4", [ten]),
    ]
