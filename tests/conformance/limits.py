"""Groups 9 and 10: large messages, in frames, fragments and chopped writes, round trips, and fragments by themselves.

`scale` says how much smaller than published they are.
"""

from __future__ import annotations

from .case import Case, Exchange, binary, send, stars, text
from .scale import chopped_size, large_size, round_trips
from .wire import BINARY, TEXT, fragments

__all__ = ["CASES"]

_KIB = 1024
_MIB = 1024 * _KIB
_KINDS = [("text", TEXT, text, b"*"), ("binary", BINARY, binary, b"\xfe")]

_SIZES = [64 * _KIB, 256 * _KIB, _MIB, 4 * _MIB, 8 * _MIB, 16 * _MIB]
_FRAGMENTED = 4 * _MIB
_FRAGMENTS = [64, 256, _KIB, 4 * _KIB, 16 * _KIB, 64 * _KIB, 256 * _KIB, _MIB, 4 * _MIB]
_CHOPPED = _MIB
_CHOPS = [64, 128, 256, 512, _KIB, 2 * _KIB]
_ROUND_TRIPS = 1_000
_SMALL = [0, 16, 64, 256, _KIB, 4 * _KIB]


def _large() -> list[Case]:
    return [
        Case(
            f"9.{group}.{number}", f"{name} of {size} bytes", [send(make(stars(size, byte)))], [make(stars(size, byte))]
        )
        for group, (name, _, make, byte) in enumerate(_KINDS, start=1)
        for number, size in enumerate(map(large_size, _SIZES), start=1)
    ]


def _fragmented() -> list[Case]:
    size = large_size(_FRAGMENTED)
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


def _chopped() -> list[Case]:
    size = chopped_size(_CHOPPED)
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


def _round_trips() -> list[Case]:
    count = round_trips(_ROUND_TRIPS)
    return [
        Case(
            f"9.{group}.{number}",
            f"{count} times {name} of {size} bytes, one after the other",
            [Exchange([(opcode, stars(size, byte))] * count)],
        )
        for group, (name, opcode, _, byte) in enumerate(_KINDS, start=7)
        for number, size in enumerate(_SMALL, start=1)
    ]


CASES = [
    *_large(),
    *_fragmented(),
    *_chopped(),
    *_round_trips(),
    Case(
        "10.1.1",
        "text of 65536 bytes in fragments of 1300",
        [send(fragments(TEXT, stars(65_536), 1_300))],
        [text(stars(65_536))],
    ),
]
