"""Groups 12 and 13: permessage-deflate with five kinds of data, and with all that one side may ask of the other.

The data are of the kinds that the published list names, made here: JSON, a picture, German text, a PDF, HTML.
`scale` says how many messages are sent.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator

from .case import Case, Exchange
from .deflate import Wish
from .scale import compressed_count
from .wire import BINARY, TEXT

__all__ = ["CASES"]

_CORPUS_SIZE = 300_000
_MESSAGES = 1_000
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
    return _repeat(lambda: bytes((column // 2 + chance.randrange(4)) & 0xFF for column in range(512)))


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


_DATA: list[tuple[str, int, Callable[[random.Random], bytes]]] = [
    ("JSON", TEXT, _json),
    ("a picture", BINARY, _picture),
    ("German text", BINARY, _german),
    ("a PDF", BINARY, _pdf),
    ("HTML", TEXT, _html),
]


class _Slices(Iterable[tuple[int, bytes]]):
    """Consecutive pieces of the data, going round at its end, made when they are asked for."""

    def __init__(self, opcode: int, data: bytes, size: int, count: int) -> None:
        self._opcode, self._data, self._size, self._count = opcode, data, size, count

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for index in range(self._count):
            start = index * self._size % (len(self._data) - self._size)
            yield self._opcode, self._data[start : start + self._size]


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


def _cases(section: str, what: str, opcode: int, data: bytes, wishes: tuple[Wish, ...]) -> Iterator[Case]:
    for number, (size, fragment) in enumerate(_SHAPES, start=1):
        count = compressed_count(_MESSAGES, size)
        cut = f", in frames of {fragment}" if fragment else ""
        yield Case(
            f"{section}.{number}",
            f"{count} times {size} bytes of {what}{cut}",
            [Exchange(_Slices(opcode, data, size, count), fragment)],
            wishes=wishes,
        )


def _asked(wish: Wish) -> str:
    return f"({'no context' if wish.no_context else 'context'}, {wish.bits or 'any'} bits)"


def _all() -> Iterator[Case]:
    data = {name: make(random.Random(7692)) for name, _, make in _DATA}
    for section, (name, opcode, _) in enumerate(_DATA, start=1):
        yield from _cases(f"12.{section}", name, opcode, data[name], (Wish(),))
    for section, wishes in enumerate(_WISHES, start=1):
        asked = " or ".join(map(_asked, wishes))
        yield from _cases(f"13.{section}", f"JSON, asking for {asked}", TEXT, data["JSON"], wishes)


CASES = list(_all())
