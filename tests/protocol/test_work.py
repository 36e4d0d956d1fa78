"""The work of one call has a bound in bytes: large messages inflate over several calls, dropped ones not at all."""

from __future__ import annotations

import random
from typing import Any

import pytest
from codec_helpers import PLENTY, deflater, inflater, masked
from hypothesis import given
from hypothesis import strategies as st
from support.internals import internal

from trio_ws.protocol.deflate import InflateError, Inflater, InflateTooBig
from trio_ws.protocol.events import ViolationEvent
from trio_ws.protocol.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from trio_ws.protocol.items import CloseConnection, Ping, Pong

KIB = 1024
WORK = 64 * KIB
SLACK = 16 * KIB
"""What zlib may hold back of input that it has taken."""


def deflated(message: bytes, *, context: bool = False) -> bytes:
    return deflater(context_takeover=context).deflate(message, final=True)


def compressed(opcode: int, message: bytes, cuts: int = 1) -> bytes:
    """Return a compressed message in so many frames."""
    payload = deflated(message)
    size = -(-len(payload) // cuts)
    parts = [payload[start : start + size] for start in range(0, len(payload), size)]
    return b"".join(
        masked(CONTINUATION if number else opcode, part, fin=number == len(parts) - 1, rsv1=not number)
        for number, part in enumerate(parts)
    )


def decode_in_turns(decoder: Any, data: bytes) -> tuple[list[Any], list[int]]:
    """Decode to the end; return the items, and how much was inflated by each call."""
    out: list[Any] = []
    steps: list[int] = []
    position = 0
    while position < len(data):
        before = decoder.inflated
        used = decoder.decode(memoryview(bytearray(data[position:])), out, PLENTY, PLENTY)
        steps.append(decoder.inflated - before)
        assert used or steps[-1], "it would never go on"
        position += used
    return out, steps


MESSAGES = {
    "zeros": bytes(1000 * KIB),
    "noise": random.Random(1).randbytes(300 * KIB),
    "words": b" ".join(b"%d" % number for number in random.Random(1).choices(range(1000), k=100_000)),
    "exactly one turn's work": bytes(WORK),
    "one byte more": bytes(WORK + 1),
    "little": b"x" * 300,
}


@pytest.mark.parametrize("cuts", [1, 7])
@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_inflates_over_as_many_calls_as_it_needs(codec: Any, message: bytes, cuts: int) -> None:
    decoder = codec.server(max_message_size=PLENTY, inflater=inflater(), work=WORK)
    before, after = compressed(BINARY, b"before" * 100), compressed(TEXT, b"after" * 100)
    items, steps = decode_in_turns(decoder, before + compressed(BINARY, message, cuts) + after)
    assert items == [b"before" * 100, message, "after" * 100]
    assert max(steps) <= WORK + SLACK
    assert len(steps) >= len(message) // (WORK + SLACK)
    assert decoder.inflated == 600 + len(message) + 500


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 300),
    st.booleans(),
)
@pytest.mark.slow
def test_the_messages_do_not_depend_on_the_work_of_a_call(
    codec: Any, messages: list[tuple[int, int, bool]], work: int, context: bool
) -> None:
    """With a context too, and with messages of any ratio, one after the other."""
    rnd = random.Random(5)
    sender = deflater(context_takeover=context)
    wanted = [rnd.randbytes(size // 10 + 1) * 10 if repeated else rnd.randbytes(size) for size, _, repeated in messages]
    data = b"".join(
        masked(BINARY, sender.deflate(message, final=True), rsv1=True) + masked(PING, b"") * pings
        for message, (_, pings, _) in zip(wanted, messages, strict=True)
    )
    decoder = codec.server(inflater=inflater(context_takeover=context), work=work)
    items, _ = decode_in_turns(decoder, data)
    assert [item for item in items if not isinstance(item, Ping)] == wanted


def test_too_large_message_is_refused_before_inflating(codec: Any) -> None:
    """A message that is too large is refused before it is inflated."""
    decoder = codec.server(max_message_size=300 * KIB, inflater=inflater(), work=WORK)
    items, steps = decode_in_turns(decoder, compressed(BINARY, bytes(4000 * KIB)))
    assert [item.code for item in items] == [1009]
    assert sum(steps) <= 300 * KIB


def test_message_cut_within_a_block_is_refused_after_any_pause(codec: Any) -> None:
    """A message that is cut within a block is refused after any pause."""
    decoder = codec.server(inflater=inflater(), work=WORK)
    items, _ = decode_in_turns(decoder, masked(BINARY, deflated(bytes(500 * KIB))[:-3], rsv1=True))
    assert [item.code for item in items] == [1007]


class TestInflater:
    @pytest.mark.parametrize("message", [MESSAGES["words"], bytes(50_000)], ids=["words", "zeros"])
    def test_what_is_not_taken_comes_again(self, message: bytes) -> None:
        """A piece is exact while there is input, also within a repetition that zlib has read."""
        payload = deflated(message)
        reader, whole = Inflater(context_takeover=False), b""
        while payload:
            piece = reader.inflate(payload, final=True, limit=PLENTY - len(whole), most=1000)
            assert len(piece) == 1000 if reader.left else len(piece) <= 1000 + SLACK
            whole += piece
            payload = payload[len(payload) - reader.left :]
        assert whole == message

    @pytest.mark.parametrize("most", [1, 100, 5000])
    def test_the_limit_holds_whatever_the_pauses(self, most: int) -> None:
        payload = deflated(b"x" * 5001)
        reader, size = Inflater(context_takeover=False), 0
        with pytest.raises(InflateTooBig):
            while True:
                size += len(reader.inflate(payload, final=True, limit=5000 - size, most=most))
                payload = payload[len(payload) - reader.left :]
        assert size <= 5000

    def test_stream_ending_midway_continues_with_the_next_block(self) -> None:
        """A stream that ends in the middle goes on with the next block."""
        last_blocks = (bytes.fromhex("4b 04 00") + bytes.fromhex("03 00")) * 20
        reader = Inflater(context_takeover=False)
        assert reader.inflate(last_blocks, final=False, limit=100, most=3) == b"aaa"
        assert reader.left > 0

    def test_corrupt_data_behind_a_pause_is_an_error(self) -> None:
        payload = deflated(bytes(100_000))
        reader = Inflater(context_takeover=False)
        reader.inflate(payload, final=False, limit=PLENTY, most=1000)
        with pytest.raises(InflateError):
            reader.inflate(b"\xff" * 50, final=True, limit=PLENTY, most=1 << 30)


# --- what is dropped ---


def discarding(codec: Any, **options: Any) -> Any:
    decoder = codec.server(inflater=inflater(), **options)
    decoder.discard()
    return decoder


def test_what_is_dropped_is_framed_and_no_more(codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it is dropped")

    monkeypatch.setattr(Inflater, "inflate", never)
    decoder = discarding(codec)
    data = (
        compressed(BINARY, bytes(900 * KIB))
        + masked(TEXT, b"no \xff text")
        + masked(TEXT, b"", fin=False)
        + masked(PING, b"between")
        + masked(CONTINUATION, b"x" * 70_000)
        + masked(PONG, b"pong")
        + masked(CLOSE, b"\x03\xe8bye")
        + b"rest"
    )
    for size in (len(data), 1, 1000):
        decoder = discarding(codec)
        out: list[Any] = []
        for start in range(0, len(data), size):
            decoder.decode(data[start : start + size], out, PLENTY, PLENTY)
        assert out == [Ping(b"between"), Pong(b"pong"), CloseConnection(1000, "bye")]
    assert decoder.inflated == 0


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_what_is_gathered_is_dropped_at_once(codec: Any, opcode: int) -> None:
    """The peer may leave the message unfinished for as long as it likes."""
    decoder = codec.server()
    decoder.decode(masked(opcode, b"x" * 300_000, fin=False), [], PLENTY, PLENTY)
    decoder.discard()
    assert decoder.stream_next() is None


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (masked(CONTINUATION, b""), 1002),
        (masked(TEXT, b"a", fin=False) + masked(TEXT, b"b"), 1002),
        (b"\xb1\x80" + bytes(4), 1002),
        (masked(BINARY, bytes(200 * KIB)), 1009),
        (masked(BINARY, b"", fin=False) + masked(CONTINUATION, b"", fin=False) * 10, 1009),
        (masked(CLOSE, b"\x03\xe8\xff"), 1007),
    ],
)
def test_frames_that_are_dropped_are_held_to_the_rules(codec: Any, wrong: bytes, code: int) -> None:
    out: list[Any] = []
    discarding(codec, max_message_size=100 * KIB, max_fragments=5).decode(wrong, out, PLENTY, PLENTY)
    assert [type(item) for item in out] == [ViolationEvent]
    assert out[0].code == code


@given(st.integers(0, 3000), st.integers(0, 20))
def test_dropping_may_begin_anywhere_in_a_message(codec: Any, cut: int, fragments: int) -> None:
    data = (
        masked(TEXT, b"x" * 300, fin=False)
        + masked(PING, b"within") * 2
        + b"".join(masked(CONTINUATION, b"y" * 50, fin=False) for _ in range(fragments))
        + masked(CONTINUATION, b"z" * 400)
        + compressed(BINARY, bytes(200_000))
    )
    tail = masked(PING, b"tail") + masked(CLOSE, b"\x03\xe8")
    decoder = codec.server(inflater=inflater())
    before: list[Any] = []
    decoder.decode(data[:cut], before, PLENTY, PLENTY)
    decoder.discard()
    assert decoder.stream_next() is None or internal(decoder, "_message") is not None
    decoder.discard()
    after: list[Any] = []
    decoder.decode(data[cut:] + tail, after, PLENTY, PLENTY)
    assert after[-2:] == [Ping(b"tail"), CloseConnection(1000, "")]
    assert [item for item in [*before, *after] if item == Ping(b"within")] == [Ping(b"within")] * 2
    assert not any(isinstance(item, (str, bytes)) for item in after)
