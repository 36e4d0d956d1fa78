"""What decoding costs grows with the bytes, not with their square, whatever the splits and fragments.

The cost is counted, not timed: the bytes that are copied, unmasked, decoded or inflated, and the calls that are made.
Four times the message must be four times the cost; a copy of all that came so far, made at each part, would be sixteen.
"""

from __future__ import annotations

import io
import random
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from codec_helpers import PLENTY, deflater, inflater, masked, speedups
from support.internals import internal

from trio_ws.protocol import assembler
from trio_ws.protocol.frames import BINARY, CONTINUATION, MAX_CONTROL_SIZE, PING, TEXT
from trio_ws.protocol.items import Ping
from trio_ws.protocol.whole import WINDOW

KIB = 1024
SMALL = 120
"""Bytes of a message that comes byte by byte, or in a fragment for each byte."""
HEADER = 14
"""The most that a look at an incomplete frame costs: the longest header."""
SMILE = "\N{PILE OF POO}".encode()


class Meter:
    """Counts bytes and calls."""

    def __init__(self, patch: pytest.MonkeyPatch, codec: Any) -> None:
        self.bytes = 0
        self.calls = 0
        self.read = self._read_type()
        """Bytes whose slices are counted."""
        patch.setattr(
            codec.decoder, "_apply_mask", staticmethod(self._counting(internal(codec.decoder, "_apply_mask")))
        )
        patch.setattr(assembler, "utf_8_decode", self._counting(assembler.utf_8_decode))
        patch.setattr(assembler, "StringIO", self._text_buffer())
        patch.setattr(assembler, "bytearray", self._byte_buffer(), raising=False)
        patch.setattr(zlib, "decompressobj", self._inflating(zlib.decompressobj))
        if speedups is not None:
            patch.setattr(speedups, "parse", self._parsing(speedups.parse))

    def _counting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(data: bytes, *more: Any) -> Any:
            self.bytes += len(data)
            return function(data, *more)

        return counted

    def _parsing(self, parse: Callable[..., tuple[int, int]]) -> Callable[..., tuple[int, int]]:
        def counted(data: bytes, position: int, *more: Any) -> tuple[int, int]:
            end, budget = parse(data, position, *more)
            self.bytes += end - position + HEADER
            return end, budget

        return counted

    def _text_buffer(self) -> type:
        meter = self

        class Buffer(io.StringIO):
            def write(self, text: str) -> int:
                meter.bytes += len(text)
                return super().write(text)

            def getvalue(self) -> str:
                meter.bytes += len(super().getvalue())
                return super().getvalue()

        return Buffer

    def _byte_buffer(self) -> type:
        meter = self

        class Buffer(bytearray):
            def __iadd__(self, data: bytes) -> Any:
                meter.bytes += len(data)
                return super().__iadd__(data)

            def __add__(self, data: bytes) -> Any:
                meter.bytes += len(self) + len(data)
                return Buffer(super().__add__(data))

            def __bytes__(self) -> bytes:
                meter.bytes += len(self)
                return bytes(memoryview(self))

        return Buffer

    def _inflating(self, decompressobj: Callable[..., Any]) -> Callable[..., Any]:
        meter = self

        class Stream:
            def __init__(self, *arguments: Any, zdict: bytes | bytearray = b"") -> None:
                meter.bytes += len(zdict)
                self.stream = decompressobj(*arguments, zdict=zdict)

            def decompress(self, data: bytes, most: int) -> bytes:
                inflated = self.stream.decompress(data, most)
                meter.bytes += len(data) + len(inflated)
                return inflated

            def __getattr__(self, name: str) -> Any:
                return getattr(self.stream, name)

        return Stream

    def _read_type(self) -> type[bytes]:
        meter = self

        class Read(bytes):
            def __getitem__(self, key: Any) -> Any:
                part = super().__getitem__(key)
                if isinstance(part, bytes):
                    meter.bytes += len(part)
                return part

        return Read

    def feed(self, decoder: Any, data: bytes, size: int) -> list[Any]:
        """Decode `data` in reads of `size` bytes; return the items."""
        reads = [self.read(data[start : start + size]) for start in range(0, len(data), size)]
        out: list[Any] = []
        self.bytes = self.calls = 0
        old = sys.getprofile()
        sys.setprofile(self._note)
        try:
            for read in reads:
                decoder.decode(read, out, PLENTY, PLENTY)
        finally:
            sys.setprofile(old)
        return out

    def _note(self, frame: Any, event: str, _: Any) -> None:
        self.calls += event in ("call", "c_call")


@pytest.fixture
def meter(codec: Any, monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter(monkeypatch, codec)


def fragments(opcode: int, payload: bytes, size: int, *, between: bytes = b"", compressed: bool = False) -> bytes:
    """Return a message in fragments of `size` bytes."""
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    last = len(parts) - 1
    return between.join(
        masked(CONTINUATION if number else opcode, part, fin=number == last, rsv1=compressed and not number)
        for number, part in enumerate(parts)
    )


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def deflated(message: bytes) -> bytes:
    return deflater().deflate(message, final=True)


def words(size: int) -> bytes:
    """Text that compresses to some two fifths."""
    rnd = random.Random(size)
    return b"".join(b"%d " % rnd.randrange(300) for _ in range(size // 4))


def repeated(size: int) -> bytes:
    return b"x" * size


MANY = masked(PING, bytes(MAX_CONTROL_SIZE))

# How a message of so many bytes comes: the frames, the size of the reads, and what is made of them.
WAYS: dict[str, tuple[int, Callable[[int], tuple[bytes, int, Any]]]] = {
    "binary, a byte at a time": (SMALL, lambda n: (masked(BINARY, noise(n)), 1, noise(n))),
    "text, a byte at a time": (SMALL, lambda n: (masked(TEXT, repeated(n)), 1, "x" * n)),
    "binary, 16 KiB at a time": (64 * KIB, lambda n: (masked(BINARY, noise(n)), 16 * KIB, noise(n))),
    "text, 16 KiB at a time": (64 * KIB, lambda n: (masked(TEXT, repeated(n)), 16 * KIB, "x" * n)),
    "text, cut within its characters": (
        SMALL,
        lambda n: (masked(TEXT, SMILE * (n // 4)), 3, SMILE.decode() * (n // 4)),
    ),
    "a fragment for each byte, all at once": (SMALL, lambda n: (fragments(BINARY, noise(n), 1), PLENTY, noise(n))),
    "a fragment for each byte of text, all at once": (
        SMALL,
        lambda n: (fragments(TEXT, SMILE * (n // 4), 1), PLENTY, SMILE.decode() * (n // 4)),
    ),
    "a fragment for each byte, a byte at a time": (SMALL, lambda n: (fragments(BINARY, noise(n), 1), 1, noise(n))),
    "a fragment for each byte of text, a byte at a time": (
        SMALL,
        lambda n: (fragments(TEXT, SMILE * (n // 4), 1), 1, SMILE.decode() * (n // 4)),
    ),
    "a ping between any two bytes": (SMALL, lambda n: (fragments(BINARY, noise(n), 1, between=MANY), 999, noise(n))),
    "compressed, a byte at a time": (SMALL, lambda n: (masked(BINARY, deflated(words(n)), rsv1=True), 1, words(n))),
    "compressed, a fragment for each byte": (
        SMALL,
        lambda n: (fragments(BINARY, deflated(words(n)), 1, compressed=True), PLENTY, words(n)),
    ),
    "compressed, 16 KiB at a time": (
        64 * KIB,
        lambda n: (masked(BINARY, deflated(words(n)), rsv1=True), 16 * KIB, words(n)),
    ),
    "many small messages, a byte at a time": (SMALL, lambda n: (masked(TEXT, b"Hello") * (n // 5), 1, "Hello")),
    "many small messages, all at once": (16 * KIB, lambda n: (masked(TEXT, b"Hello") * (n // 5), PLENTY, "Hello")),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_four_times_the_message_is_four_times_the_cost(codec: Any, meter: Meter, way: str) -> None:
    size, make = WAYS[way]
    costs = []
    for times in (1, 4):
        data, read, message = make(times * size)
        decoder = codec.server(max_message_size=PLENTY, max_fragments=PLENTY, inflater=inflater())
        items = [item for item in meter.feed(decoder, data, min(read, len(data))) if not isinstance(item, Ping)]
        assert items == [message] * len(items)
        assert items
        costs.append((meter.bytes, meter.calls, len(data)))
    (few_bytes, few_calls, _), (many_bytes, many_calls, wire) = costs
    assert many_bytes <= 4.5 * few_bytes + 100
    assert many_calls <= 4.5 * few_calls + 100
    # In bytes of the wire: read, unmasked, decoded, gathered, handed out; what is inflated is more than was sent.
    assert many_bytes <= 16 * (wire + len(message))
    assert few_bytes >= size, "the meter counts"


def test_decoder_pausing_per_message_scans_only_its_window(codec: Any, meter: Meter) -> None:
    """Room for one message each time, as for a slow handler, and a long read of small messages behind it."""
    count = 5000
    data = masked(TEXT, b"Hello") * count
    assert len(data) > 3 * WINDOW
    decoder = codec.server()
    out: list[Any] = []
    meter.bytes = position = 0
    while position < len(data):
        position += decoder.decode(meter.read(data[position:]), out, 1, PLENTY)
    assert out == ["Hello"] * count
    assert count * len("Hello") <= meter.bytes <= count * (WINDOW + HEADER)
