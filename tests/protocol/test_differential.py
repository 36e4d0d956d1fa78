"""The compiled codec against the pure one: the same calls give the same answers, to the byte and to the pause.

The plans here are also what the fuzzer in `tests/fuzz` varies.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
from codec_helpers import (
    COMPILED,
    PLENTY,
    PURE,
    Codec,
    conversations,
    deflater,
    encode,
    inflater,
    pieces,
    speedups,
    wire_size,
)
from hypothesis import event, given
from hypothesis import strategies as st

from trio_ws.protocol.encoder import plain_message
from trio_ws.protocol.frames import BINARY, CONTINUATION, PING, TEXT, encode_frame
from trio_ws.testing.strategies import binaries, damaged, read_sizes, sizes, texts

pytestmark = pytest.mark.skipif(COMPILED is None, reason="the compiled codec was not built")

LIMITS = st.one_of(st.integers(1, 70_000), sizes().filter(bool), st.just(1 << 70))
ITEM_BOUNDS = st.one_of(st.integers(1, 4), st.just(1 << 70))
BYTE_BOUNDS = st.one_of(st.integers(0, 300), st.just(1 << 70))
KINDS = st.sampled_from([bytes, bytearray, memoryview])


@dataclass(frozen=True)
class Plan:
    """What a decoder is made for, and the calls that it gets."""

    client: bool
    compressed: bool
    max_size: int
    max_fragments: int
    parts: tuple[bytes | bytearray | memoryview, ...]
    max_items: int
    max_bytes: int
    asks: frozenset[int]

    def decoder(self, codec: Codec) -> Any:
        return codec.decoder(
            client=self.client,
            max_message_size=self.max_size,
            max_fragments=self.max_fragments,
            inflater=inflater() if self.compressed else None,
        )


@st.composite
def plain_frames(draw: st.DrawFn) -> bytes:
    """Draw a frame as it is mostly sent, or one that is unusual in one thing."""
    payload = draw(st.one_of(texts().map(str.encode), binaries(), st.just("ä€😀".encode()[:-1])))
    return encode_frame(
        draw(st.sampled_from([TEXT, TEXT, BINARY, BINARY, CONTINUATION, PING, 3])),
        payload,
        fin=draw(st.integers(0, 7)) > 0,
        rsv1=draw(st.integers(0, 15)) == 0,
        mask=draw(st.one_of(st.binary(min_size=4, max_size=4), st.none())),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    client, compressed = draw(st.booleans()), draw(st.booleans())
    squeeze = deflater(threshold=20) if compressed else None
    sent = encode(PURE.encoder(client=not client, deflater=squeeze), draw(conversations())[:8])
    stream = draw(st.sampled_from([sent, b""])) + b"".join(draw(st.lists(plain_frames(), max_size=5)))
    stream = draw(damaged(stream, max_changes=2, pieces=st.binary(max_size=12)))
    kind = draw(KINDS)
    return Plan(
        client=client,
        compressed=compressed,
        max_size=draw(LIMITS),
        max_fragments=draw(st.integers(1, 4)),
        parts=tuple(kind(piece) for piece in pieces(stream, draw(read_sizes()))),
        max_items=draw(ITEM_BOUNDS),
        max_bytes=draw(BYTE_BOUNDS),
        asks=draw(st.frozensets(st.integers(0, 40), max_size=3)),
    )


def decoded(codec: Codec, plan: Plan) -> list[Any]:
    """Return all that can be seen of a decoder while it gets these calls."""
    decoder = plan.decoder(codec)
    seen: list[Any] = []
    for index, part in enumerate(plan.parts):
        if index in plan.asks:
            seen.append(decoder.stream_next())
        rest: Any = part
        while len(rest):
            out: list[Any] = ["was here before"]
            consumed = decoder.decode(rest, out, plan.max_items, plan.max_bytes)
            seen.append((consumed, out, [type(item) for item in out], decoder.failed, decoder.closed))
            rest = rest[consumed:]
    return seen


@given(plan=plans())
@pytest.mark.slow
def test_decoders_agree_on_any_bytes_cuts_and_pauses(plan: Plan) -> None:
    """Decoders do the same with the same bytes cuts and pauses."""
    expected = decoded(PURE, plan)
    event("violation" if any(isinstance(each, tuple) and each[3] for each in expected) else "no violation")
    assert decoded(COMPILED, plan) == expected  # type: ignore[arg-type]


@given(data=st.binary(max_size=300), sizes=read_sizes(), client=st.booleans(), max_items=ITEM_BOUNDS)
def test_decoders_do_the_same_with_arbitrary_bytes(data: bytes, sizes: list[int], client: bool, max_items: int) -> None:
    plan = Plan(client, False, 1000, 3, tuple(pieces(data, sizes)), max_items, PLENTY, frozenset())
    assert decoded(COMPILED, plan) == decoded(PURE, plan)  # type: ignore[arg-type]


def items_of(codec: Codec, plan: Plan, *, whole_first: bool) -> list[Any]:
    """Return the items; `whole_first` takes the whole messages at the start of what is left by `decode_whole`."""
    decoder = plan.decoder(codec)
    items: list[Any] = []
    for index, part in enumerate(plan.parts):
        if index in plan.asks:
            items.append(decoder.stream_next())
        rest: Any = part
        while len(rest):
            out: list[Any] = []
            if whole_first:
                rest = rest[decoder.decode_whole(rest, out, plan.max_items, plan.max_bytes) :]
                left = plan.max_bytes - sum(map(wire_size, out))
                assert decoder.budget == left or plan.max_bytes > sys.maxsize
                assert len(out) <= plan.max_items
                items += out
            rest = rest[decoder.decode(rest, items, plan.max_items, plan.max_bytes) :]
    return [*items, decoder.failed, decoder.closed]


@given(plan=plans())
@pytest.mark.slow
def test_to_take_whole_messages_first_changes_nothing(plan: Plan) -> None:
    expected = items_of(PURE, plan, whole_first=False)
    assert items_of(PURE, plan, whole_first=True) == expected
    assert items_of(COMPILED, plan, whole_first=True) == expected  # type: ignore[arg-type]


STRANGE = st.one_of(
    st.sampled_from(["\ud800", "a\udfff", None, 3]),
    st.builds(lambda: memoryview(b"abcdefgh").cast("I")),
    st.builds(lambda: memoryview(b"abcdef")[::2]),
)
DATA = st.one_of(texts(), binaries(), binaries().map(bytearray), binaries().map(memoryview), STRANGE)
CALLS = st.one_of(
    st.tuples(st.just("message"), DATA),
    st.tuples(st.just("message"), DATA),
    st.tuples(st.just("fragment"), DATA, st.booleans(), st.booleans()),
    st.tuples(st.just("ping"), st.binary(max_size=130)),
    st.tuples(st.just("pong"), st.binary(max_size=130)),
    st.tuples(st.just("close"), st.integers(900, 5100), st.text(max_size=50)),
)


def keys_in_order(size: int) -> bytes:
    """Stand in for `os.urandom`: a key that is used up for nothing shifts all that follow."""
    return b"".join(number.to_bytes(4) for number in range(size // 4))


def outcome(function: Callable[[Any], bytes], data: Any) -> Any:
    try:
        return function(data)
    except Exception as error:  # whatever it is, the other one raises it too
        return type(error), str(error)


@given(data=DATA)
def test_plain_message_equals_uncompressed_server_encoding(data: Any) -> None:
    """A plain message is what a server's encoder without compression makes."""
    expected = outcome(PURE.encoder(client=False).message, data)
    assert outcome(plain_message, data) == expected
    assert outcome(speedups.compiled_plain_message, data) == expected


def encoded(codec: Codec, client: bool, threshold: int | None, calls: list[Any]) -> list[Any]:
    """Return what an encoder answers to these calls, or which error it raises."""
    with mock.patch("trio_ws.protocol.masking.os.urandom", keys_in_order):
        encoder = codec.encoder(client=client, deflater=None if threshold is None else deflater(threshold=threshold))
        answers: list[Any] = []
        for name, *arguments in calls:
            try:
                if name == "fragment":
                    data, first, final = arguments
                    answers.append(encoder.fragment(data, first=first, final=final))
                else:
                    answers.append(getattr(encoder, name)(*arguments))
            except Exception as error:  # whatever it is, the other one raises it too
                answers.append((type(error), str(error)))
    return answers


@given(
    client=st.booleans(),
    threshold=st.one_of(st.none(), st.none(), st.integers(0, 100)),
    calls=st.lists(CALLS, max_size=6),
)
def test_encoders_do_the_same_with_the_same_calls(client: bool, threshold: int | None, calls: list[Any]) -> None:
    """The same frames with the same keys, and the same errors."""
    expected = encoded(PURE, client, threshold, calls)
    assert encoded(COMPILED, client, threshold, calls) == expected  # type: ignore[arg-type]
