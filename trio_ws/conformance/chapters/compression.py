"""Chapters 12 and 13, permessage-deflate with five kinds of data, and with all that one side may ask of the other.

The data are of the kinds that the published list names, made here: JSON, a picture, German text, a PDF, HTML.
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator

import attrs

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.deflate import Wish
from trio_ws.conformance.scale import Scale
from trio_ws.conformance.steps import RoundTrips
from trio_ws.testing.raw_frame import Opcode

__all__ = ["chapters"]

_CORPUS_SIZE = 200_000
_SHAPES = [
    *((size, 0) for size in (16, 64, 256, 1_024, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072)),
    *((size, 256) for size in (8_192, 16_384, 32_768, 65_536, 131_072)),
    *((131_072, fragment) for fragment in (1_024, 4_096, 32_768)),
]
"""Bytes of a message, and of the frames that its compressed form is sent in; 0 for one frame."""


# --- the data -----------------------------------------------------------------------------------------------------

_WORDS = re.findall(
    r"\w+",
    "und der die nicht das ein ist mit sich dem auf so wie ich hat was nur den im aus man wenn bei doch schon "
    "Himmel Geist Wasser Abend Wagen Schritt Fenster Garten Winter Bruder klein still groß läuft hört",
)


def _repeat(make: Callable[[], bytes]) -> bytes:
    data = bytearray()
    while len(data) < _CORPUS_SIZE:
        data += make()
    return bytes(data[:_CORPUS_SIZE])


def _json(chance: random.Random) -> bytes:
    def record() -> bytes:
        number = chance.randrange(10**6)
        record = {"id": number, "name": chance.choice(_WORDS), "price": number / 100, "tags": chance.sample(_WORDS, 3)}
        return json.dumps(record).encode() + b",\n"

    return _repeat(record)


def _picture(chance: random.Random) -> bytes:
    def row() -> bytes:
        return bytes((column // 2 + noise % 4) & 0xFF for column, noise in enumerate(chance.randbytes(512)))

    return _repeat(row)


def _german(chance: random.Random) -> bytes:
    return _repeat(lambda: " ".join(chance.choices(_WORDS, k=9)).capitalize().encode() + b",\r\n")


def _pdf(chance: random.Random) -> bytes:
    def part() -> bytes:
        stream = chance.randbytes(2_000)
        return b"%d 0 obj << /Length %d >> stream\n%b\nendstream endobj\n" % (
            chance.randrange(999),
            len(stream),
            stream,
        )

    return _repeat(part)


def _html(chance: random.Random) -> bytes:
    def row() -> bytes:
        name = chance.choice(_WORDS).encode("ascii", "xmlcharrefreplace").decode()
        return f'<tr class="row"><td><a href="/item/{chance.randrange(10**5)}">{name}</a></td></tr>\n'.encode()

    return _repeat(row)


@attrs.frozen
class _Kind:
    """A kind of data."""

    name: str
    opcode: int
    make: Callable[[random.Random], bytes]


_KINDS = [
    _Kind("JSON", Opcode.TEXT, _json),
    _Kind("a picture", Opcode.BINARY, _picture),
    _Kind("German text", Opcode.BINARY, _german),
    _Kind("a PDF", Opcode.BINARY, _pdf),
    _Kind("HTML", Opcode.TEXT, _html),
]


@functools.cache
def _data_of(kind: _Kind) -> bytes:
    return kind.make(random.Random(7692))


class _Slices(Iterable[tuple[int, bytes]]):
    """Consecutive pieces of the data, going round at its end, made when they are asked for."""

    def __init__(self, kind: _Kind, size: int, count: int) -> None:
        self._kind, self._size, self._count = kind, size, count

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        data = _data_of(self._kind)
        for index in range(self._count):
            start = index * self._size % (len(data) - self._size)
            yield self._kind.opcode, data[start : start + self._size]


# --- the cases ----------------------------------------------------------------------------------------------------

_WISHES: list[tuple[Wish, ...]] = [
    (Wish(),),
    (Wish(no_context=True),),
    (Wish(bits=8),),
    (Wish(bits=15),),
    (Wish(no_context=True, bits=8),),
    (Wish(no_context=True, bits=15),),
    (Wish(no_context=True, bits=8), Wish(no_context=True), Wish()),
]


def _cases(section: str, kind: _Kind, wishes: tuple[Wish, ...], scale: Scale) -> Iterator[Case]:
    for number, (published, fragment) in enumerate(_SHAPES, start=1):
        size = scale.compressed_size(published)
        count = scale.messages(size)
        cut = f", in frames of {fragment}" if fragment else ""
        yield Case(
            f"{section}.{number}",
            f"{count} times {size} bytes of {kind.name}{cut}{_asked(wishes)}",
            [RoundTrips(_Slices(kind, size, count), fragment)],
            wishes=wishes,
        )


def _asked(wishes: tuple[Wish, ...]) -> str:
    if wishes == (Wish(),):
        return ""
    asked = [f"{'no context' if wish.no_context else 'context'} and {wish.bits or 'any'} bits" for wish in wishes]
    return f", asking for {', or '.join(asked)}"


def chapters(scale: Scale) -> list[Chapter]:
    """Return the two chapters at a scale."""
    data = [case for section, kind in enumerate(_KINDS, 1) for case in _cases(f"12.{section}", kind, (Wish(),), scale)]
    parameters = [
        case
        for section, wishes in enumerate(_WISHES, start=1)
        for case in _cases(f"13.{section}", _KINDS[0], wishes, scale)
    ]
    return [
        Chapter.of("12", "Compression: data", "RFC 7692 7.2", data),
        Chapter.of("13", "Compression: parameters", "RFC 7692 7.1", parameters),
    ]
