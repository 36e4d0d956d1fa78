"""What the tests of the frame codec share: the implementations, a way to feed a decoder, and strategies."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from hypothesis import strategies as st

from trio_ws.protocol.compressors import STANDARD, TAIL, Library
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.deflate import Deflater, Inflater
from trio_ws.protocol.encoder import Encoder
from trio_ws.protocol.events import ViolationEvent
from trio_ws.protocol.frames import encode_frame
from trio_ws.protocol.items import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from trio_ws.testing.strategies import binaries, close_codes, texts

try:
    from trio_ws.protocol import speedups
except ImportError:
    speedups = None  # type: ignore[assignment]

try:
    from zlib_ng import zlib_ng
except ImportError:
    zlib_ng = None  # type: ignore[assignment]

KEY = b"\x11\xa2\x73\xf4"
PLENTY = 1 << 40
MAX_SIZE = 1 << 20
MAX_FRAGMENTS = 1000


@dataclass(frozen=True)
class Codec:
    """One implementation of the contract."""

    name: str
    encoder: Any
    decoder: Any

    def server(self, **changed: Any) -> Any:
        """Make a server's decoder, which reads masked frames."""
        return self._decoder(client=False, **changed)

    def client(self, **changed: Any) -> Any:
        """Make a client's decoder, which reads frames that are not masked."""
        return self._decoder(client=True, **changed)

    def _decoder(self, **changed: Any) -> Any:
        return self.decoder(**{"max_message_size": MAX_SIZE, "max_fragments": MAX_FRAGMENTS, **changed})


PURE = Codec("pure", Encoder, Decoder)
COMPILED = Codec("compiled", speedups.CompiledEncoder, speedups.CompiledDecoder) if speedups else None
"""None if it was not built."""

LIBRARIES = [
    pytest.param(STANDARD, id="zlib"),
    pytest.param(
        None if zlib_ng is None else Library("zlib-ng", zlib_ng.compressobj),
        marks=pytest.mark.skipif(zlib_ng is None, reason="zlib-ng is not installed"),
        id="zlib-ng",
    ),
]
"""Those that may deflate whole messages."""


def masked(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """Return a client's frame."""
    return encode_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=KEY)


def plain(opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
    """Return a server's frame."""
    return encode_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=None)


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut `data` into pieces of these sizes, and the rest."""
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def feed(decoder: Any, data: bytes, sizes: Iterable[int] = ()) -> list[Any]:
    """Decode `data` in pieces out of a buffer that is overwritten after each call; return all items."""
    out: list[Any] = []
    for piece in pieces(data, sizes):
        buffer = bytearray(piece)
        assert decoder.decode(memoryview(buffer), out, PLENTY, PLENTY) == len(piece)
        buffer[:] = b"\xaa" * len(buffer)
    assert all(type(item) in ITEM_TYPES for item in out)
    return out


def feed_bytewise(decoder: Any, data: bytes) -> list[Any]:
    """Decode `data` byte by byte; return all items."""
    return feed(decoder, data, [1] * len(data))


ITEM_TYPES = (str, bytes, Ping, Pong, CloseConnection, TextMessage, BytesMessage, ViolationEvent)


def joined(chunks: list[Any]) -> Any:
    """Return the message that was streamed in these chunks, which must be whole."""
    assert [chunk.message_finished for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert all(chunk.data for chunk in chunks[:-1])
    return type(chunks[0].data)().join(chunk.data for chunk in chunks)


def wire_size(item: Any) -> int:
    """Return what an item counts against `max_bytes`."""
    match item:
        case str():
            return len(item.encode())
        case bytes():
            return len(item)
        case TextMessage() | BytesMessage():
            return wire_size(item.data)
        case _:
            return 0


def deflater(*, context_takeover: bool = True, threshold: int = 0) -> Deflater:
    return Deflater(level=6, window_bits=12, context_takeover=context_takeover, threshold=threshold)


def inflater(*, context_takeover: bool = True) -> Inflater:
    return Inflater(context_takeover=context_takeover)


def read_in_window(payload: bytes, window_bits: int) -> bytes:
    """Inflate a message as a peer that has no more than its window: it is read in small steps."""
    reader = zlib.decompressobj(-window_bits)
    read, rest = [], payload + TAIL
    while rest:
        piece = reader.decompress(rest, 64)
        read.append(piece)
        rest = reader.unconsumed_tail
    while piece := reader.decompress(b"", 64):
        read.append(piece)
    return b"".join(read)


# --- strategies ---

BYTES = binaries(max_size=40_000)
"""Words that repeat, near and far, and noise that does not."""
CONTROLS = st.sampled_from([Ping, Pong]).flatmap(lambda kind: st.builds(kind, st.binary(max_size=125)))
WIRE_CODES = close_codes().filter(lambda code: code != 1014)
"""wsproto refuses 1014, which IANA has registered since."""
CLOSES = st.one_of(st.builds(CloseConnection, WIRE_CODES, st.text(max_size=30)), st.just(CloseConnection(1005, "")))


@st.composite
def conversations(draw: st.DrawFn) -> list[Any]:
    """Draw what one side sends: `(data, first, final)` for a part of a message, or a control event."""
    steps: list[Any] = []
    for _ in range(draw(st.integers(0, 5))):
        steps += draw(st.lists(CONTROLS, max_size=2))
        parts = draw(st.sampled_from([texts(), binaries()]).flatmap(partial(st.lists, min_size=1, max_size=4)))
        for index, part in enumerate(parts):
            steps.append((part, index == 0, index == len(parts) - 1))
            if index < len(parts) - 1:
                steps += draw(st.lists(CONTROLS, max_size=1))
    steps += draw(st.lists(CLOSES, max_size=1))
    return steps


def meaning(steps: list[Any]) -> list[Any]:
    """Return the items that a decoder makes of a conversation."""
    items: list[Any] = []
    parts: list[Any] = []
    for step in steps:
        if not isinstance(step, tuple):
            items.append(step)
            continue
        data, _, final = step
        parts.append(data)
        if final:
            items.append(("" if isinstance(data, str) else b"").join(parts))
            parts = []
    return items


def encode(encoder: Any, steps: list[Any]) -> bytes:
    """Return the bytes of a conversation."""
    stream = b""
    for step in steps:
        match step:
            case (data, True, True):
                stream += encoder.message(data)
            case (data, first, final):
                stream += encoder.fragment(data, first=first, final=final)
            case Ping(payload):
                stream += encoder.ping(payload)
            case Pong(payload):
                stream += encoder.pong(payload)
            case CloseConnection(code, reason):
                stream += encoder.close(code, reason)
    return stream
