"""What every pair of libraries has to agree on."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from trio_ws import Compression, open_websocket

SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 1024 * 1024)
"""Bytes: each side of every border of RFC 6455 5.2's three lengths, and the default bound of a message."""
CLOSINGS = (
    (1000, ""),
    (1000, "done"),
    (1001, "going away"),
    (1008, "no"),
    (1011, "sorry"),
    (3000, "registered"),
    (4999, "\N{EURO SIGN}" * 41),  # 123 bytes: all that fits
)
WITH_ONE_LIBRARY = pytest.mark.thorough("test_compressed_messages_come_back")
SETTINGS = [
    pytest.param(True, id="defaults"),
    pytest.param(False, id="none"),
    pytest.param(Compression(send_context=True), id="contexts", marks=WITH_ONE_LIBRARY),
    pytest.param(Compression(receive_context=False), id="no contexts", marks=WITH_ONE_LIBRARY),
    pytest.param(Compression(send_window_bits=9, receive_window_bits=9), id="small windows"),
    pytest.param(Compression(threshold=0), id="even the smallest message", marks=WITH_ONE_LIBRARY),
]
"""Our compression. What is thorough is tested with `websockets` in each run, in both roles."""


@functools.cache
def text_of(size: int) -> str:
    """Return a text of `size` bytes of UTF-8, with characters of one, two, three and four bytes."""
    mixed = "a\N{LATIN SMALL LETTER E WITH ACUTE}\N{EURO SIGN}\N{GRINNING FACE}"
    whole, rest = divmod(size, len(mixed.encode()))
    return mixed * whole + "z" * rest


@functools.cache
def binary_of(size: int) -> bytes:
    """Return `size` bytes that look random, and hardly compress."""
    return random.Random(size).randbytes(size)


def similar_texts() -> Iterator[str]:
    """Texts that a compressor with a memory makes smaller from one to the next, one longer than any window."""
    for number in range(6):
        yield f"message {number}: " + "the same words again and again, " * 40
    yield ""
    yield "x"
    yield text_of(200_000)
    yield "message 7: " + "the same words again and again, " * 40


async def check_echo(url: str, *, compression: Compression | bool, **options: Any) -> None:
    """Check that a server sends back messages of all sizes, compressed if it is asked to."""
    async with open_websocket(url, compression=compression, **options) as ws:
        answer = ws.response_headers.get("sec-websocket-extensions", "")
        assert answer.startswith("permessage-deflate" if compression else "")
        for text in similar_texts():
            await ws.send(text)
            assert await ws.receive() == text
        for size in SIZES:
            await ws.send(binary_of(size))
            assert await ws.receive() == binary_of(size)
    assert ws.close_code == 1000
