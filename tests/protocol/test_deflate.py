"""permessage-deflate's data: what RFC 7692 shows, what senders really send, and what attackers do."""

from __future__ import annotations

import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from codec_helpers import BYTES, LIBRARIES
from hypothesis import given, settings
from hypothesis import strategies as st
from support.internals import internal
from support.machine import traced_memory
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, RsvBits

from trio_ws.conformance.deflate import deflated_zeros
from trio_ws.protocol import deflate
from trio_ws.protocol.compressors import Shared
from trio_ws.protocol.deflate import Deflater, InflateError, Inflater, InflateTooBig

KIB = 1024
MIB = 1024 * KIB
TAIL = b"\x00\x00\xff\xff"
HELLO = bytes.fromhex("f248cdc9c90700")


def inflate(payload: bytes, *, limit: int = MIB, **options: Any) -> bytes:
    """Inflate one message in one part."""
    return Inflater(**{"context_takeover": False} | options).inflate(payload, final=True, limit=limit)


def inflate_parts(inflater: Inflater, parts: Iterable[bytes], *, limit: int = MIB) -> bytes:
    """Inflate one message in several parts, counting the limit down as a decoder does."""
    pieces = list(parts)
    inflated = b""
    for index, piece in enumerate(pieces):
        inflated += inflater.inflate(piece, final=index == len(pieces) - 1, limit=limit - len(inflated))
    return inflated


def deflate_parts(deflater: Deflater, parts: Iterable[bytes]) -> list[bytes]:
    pieces = list(parts)
    return [deflater.deflate(piece, final=index == len(pieces) - 1) for index, piece in enumerate(pieces)]


def deflater(*, context_takeover: bool = False, window_bits: int = 15, level: int = 6) -> Deflater:
    return Deflater(level=level, window_bits=window_bits, context_takeover=context_takeover, threshold=0)


def raw(data: bytes, mode: int, *, zdict: bytes = b"", level: int = 6) -> bytes:
    """Deflate with zlib alone, ending in `mode`."""
    stream = zlib.compressobj(level, zlib.DEFLATED, -15, zdict=zdict)
    return stream.compress(data) + stream.flush(mode)


def pieces_of(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut `data` into pieces of these sizes, and the rest."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


SIZES = st.lists(st.integers(0, 20_000), max_size=4)


@pytest.fixture(scope="class", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Iterator[None]:
    """What deflates whole messages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deflate, "_shared", Shared(lambda: request.param))
        yield


@pytest.mark.usefixtures("library")
class TestExamples:
    """RFC 7692 7.2.3."""

    def test_one_compressed_block(self) -> None:
        """7.2.3.1, in one frame and in two."""
        assert inflate(HELLO) == b"Hello"
        inflater = Inflater(context_takeover=False)
        assert inflate_parts(inflater, [HELLO[:3], HELLO[3:]]) == b"Hello"

    def test_we_send_it_like_that(self) -> None:
        assert deflater().deflate(b"Hello", final=True) == HELLO

    def test_sharing_the_window(self) -> None:
        """7.2.3.2: the second message refers to the first."""
        inflater = Inflater(context_takeover=True)
        assert inflater.inflate(HELLO, final=True, limit=5) == b"Hello"
        assert inflater.inflate(bytes.fromhex("f200110000"), final=True, limit=5) == b"Hello"

    def test_sharing_the_window_as_a_sender(self) -> None:
        sender = deflater(context_takeover=True)
        assert sender.deflate(b"Hello", final=True) == HELLO
        assert sender.deflate(b"Hello", final=True) == bytes.fromhex("f200110000")

    def test_a_window_that_is_not_shared_cannot_be_referred_to(self) -> None:
        inflater = Inflater(context_takeover=False)
        assert inflater.inflate(HELLO, final=True, limit=5) == b"Hello"
        with pytest.raises(InflateError, match="distance too far back"):
            inflater.inflate(bytes.fromhex("f200110000"), final=True, limit=5)

    def test_a_block_without_compression(self) -> None:
        """7.2.3.3."""
        assert inflate(bytes.fromhex("000500faff48656c6c6f00")) == b"Hello"

    @pytest.mark.parametrize("context_takeover", [True, False])
    def test_a_last_block(self, context_takeover: bool) -> None:
        """7.2.3.4, as often as one likes."""
        inflater = Inflater(context_takeover=context_takeover)
        for _ in range(3):
            assert inflater.inflate(bytes.fromhex("f348cdc9c9070000"), final=True, limit=5) == b"Hello"

    def test_two_blocks(self) -> None:
        """7.2.3.5."""
        assert inflate(bytes.fromhex("f24805000000ffffcac9c90700")) == b"Hello"

    def test_an_empty_message(self) -> None:
        """7.2.3.6: one byte, the only byte, however often it comes."""
        inflater = Inflater(context_takeover=True)
        sender = deflater(context_takeover=True)
        for _ in range(3):
            assert inflater.inflate(b"\x00", final=True, limit=0) == b""
            assert sender.deflate(b"", final=True) == b"\x00"


class TestLastBlocks:
    """Blocks with BFINAL=1 end a deflate stream, but not a message."""

    def test_more_blocks_may_follow(self) -> None:
        payload = raw(b"Hello, ", zlib.Z_FINISH) + raw(b"world", zlib.Z_SYNC_FLUSH)[:-4]
        assert inflate(payload) == b"Hello, world"

    def test_they_may_come_byte_by_byte(self) -> None:
        payload = raw(b"Hello, ", zlib.Z_FINISH) + raw(b"world", zlib.Z_FINISH) + b"\x00"
        inflater = Inflater(context_takeover=False)
        assert inflate_parts(inflater, [bytes([byte]) for byte in payload]) == b"Hello, world"

    @pytest.mark.parametrize("context_takeover", [True, False])
    def test_data_after_final_block_may_refer_back_in_the_message(self, context_takeover: bool) -> None:
        """What follows may refer to what was before it in the message."""
        text = random.Random(1).randbytes(20_000)
        again = raw(text, zlib.Z_SYNC_FLUSH, zdict=text)[:-4]
        assert len(again) < 1000
        inflater = Inflater(context_takeover=context_takeover)
        parts = pieces_of(raw(text, zlib.Z_FINISH) + again, [3000, 3000])
        assert inflate_parts(inflater, parts) == text * 2

    @pytest.mark.parametrize("end", [b"", b"\x00"], ids=["bare", "with the empty block"])
    def test_the_next_message_may_refer_to_what_was_before_it(self, end: bytes) -> None:
        text = random.Random(2).randbytes(40_000)
        inflater = Inflater(context_takeover=True)
        assert inflater.inflate(raw(text, zlib.Z_FINISH) + end, final=True, limit=MIB) == text
        again = raw(text[8000:], zlib.Z_SYNC_FLUSH, zdict=text)[:-4]
        assert len(again) < 1000
        assert inflater.inflate(again, final=True, limit=MIB) == text[8000:]

    def test_an_empty_last_block_whose_length_was_cut_off(self) -> None:
        """RFC 7692 7.2.1 does not say that the empty block at the end is not a last one."""
        inflater = Inflater(context_takeover=True)
        assert inflater.inflate(bytes.fromhex("000500faff48656c6c6f01"), final=True, limit=5) == b"Hello"
        assert inflater.inflate(bytes.fromhex("f200110000"), final=True, limit=5) == b"Hello"

    def test_a_message_that_ends_with_one_and_nothing_else_is_whole(self) -> None:
        assert inflate(raw(b"Hello", zlib.Z_FINISH)) == b"Hello"

    def test_a_last_block_that_is_not_whole_is_an_error(self) -> None:
        with pytest.raises(InflateError, match="within a block"):
            inflate(bytes.fromhex("f348cdc9c9"))

    def test_garbage_after_one_is_an_error(self) -> None:
        with pytest.raises(InflateError, match="invalid block type"):
            inflate(raw(b"Hello", zlib.Z_FINISH) + b"\xff\xff")

    def test_many_small_streams_are_one_message(self) -> None:
        words = [b"%d " % number * 3 for number in range(60)]
        assert inflate(b"".join(raw(word, zlib.Z_FINISH) for word in words)) == b"".join(words)

    def test_a_long_message_may_have_more_of_them(self) -> None:
        words = [random.Random(number).randbytes(80) for number in range(300)]
        assert inflate(b"".join(raw(word, zlib.Z_FINISH) for word in words)) == b"".join(words)

    def test_final_blocks_do_not_make_inflating_quadratic(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Twice the length is about twice the work, counted in bytes that are handed to zlib."""
        offered = 0
        decompressobj = zlib.decompressobj

        class Counting:
            def __init__(self, wbits: int, zdict: bytes | bytearray = b"") -> None:
                self.stream = decompressobj(wbits, zdict=zdict)

            def decompress(self, data: bytes, max_length: int) -> bytes:
                nonlocal offered
                offered += len(data)
                return self.stream.decompress(data, max_length)

            def __getattr__(self, name: str) -> Any:
                return getattr(self.stream, name)

        monkeypatch.setattr(zlib, "decompressobj", Counting)
        costs = []
        for times in (1000, 2000):
            offered = 0
            inflate(raw(random.Random(7).randbytes(80), zlib.Z_FINISH) * times)
            costs.append(offered)
        assert 1.5 < costs[1] / costs[0] < 2.5

    def test_a_message_of_nothing_but_them_is_an_error(self) -> None:
        """Each costs us as much as a message, and them two bytes."""
        with pytest.raises(InflateError, match="too many last blocks"):
            inflate(b"\x03\x00" * 100)

    def test_a_part_that_ends_with_one_is_forgotten_with_its_message(self) -> None:
        """Without context: what comes later in the message may refer to it, the next message may not."""
        inflater = Inflater(context_takeover=False)
        text = random.Random(4).randbytes(400)
        again = raw(text, zlib.Z_SYNC_FLUSH, zdict=text)[:-4]
        assert inflater.inflate(raw(text, zlib.Z_FINISH), final=False, limit=MIB) == text
        assert inflater.inflate(again, final=True, limit=MIB) == text
        with pytest.raises(InflateError, match="too far back"):
            inflater.inflate(again, final=True, limit=MIB)


class TestBrokenMessages:
    """What cannot be right is an error, never silently short."""

    @pytest.mark.parametrize("context_takeover", [True, False])
    @pytest.mark.parametrize("level", [0, 1, 6])
    @pytest.mark.parametrize("mode", [zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH])
    def test_a_message_cut_anywhere_is_an_error(self, context_takeover: bool, level: int, mode: int) -> None:
        text = bytes(range(200)) + b"the quick brown fox, the quick brown dog, the quick" * 5
        payload = raw(text, mode, level=level)[:-4]
        first = 1 if level else 2  # the first byte of a stored block alone is an empty message
        for size in range(first, len(payload)):
            inflater = Inflater(context_takeover=context_takeover)
            with pytest.raises(InflateError):
                inflater.inflate(payload[:size], final=True, limit=MIB)

    @pytest.mark.parametrize("context_takeover", [True, False])
    def test_a_block_with_codes_of_its_own_cut_anywhere_is_an_error(self, context_takeover: bool) -> None:
        """Where it lists its codes, zlib takes in whatever follows without a word."""
        text = bytes(random.Random(9).choices(range(97, 123), range(1, 27), k=1000))
        payload = raw(text, zlib.Z_SYNC_FLUSH)[:-4]
        assert payload[0] >> 1 & 3 == 2  # BTYPE, RFC 1951 3.2.3
        for size in range(1, len(payload)):
            inflater = Inflater(context_takeover=context_takeover)
            with pytest.raises(InflateError):
                inflater.inflate(payload[:size], final=True, limit=MIB)

    def test_a_last_block_cut_anywhere_is_an_error(self) -> None:
        """Even where the first bytes of the tail happen to complete it."""
        payload = raw(b"Hello, world", zlib.Z_FINISH)
        for size in range(1, len(payload)):
            with pytest.raises(InflateError):
                inflate(payload[:size])

    def test_missing_last_byte_is_an_error_despite_complete_text(self) -> None:
        """zlib takes the tail for the rest of the block, and waits: no error, and no end."""
        lone = zlib.decompressobj(-15)
        assert lone.decompress(HELLO[:-1] + TAIL) == b"Hello"
        with pytest.raises(InflateError):
            inflate(HELLO[:-1])

    def test_the_tail_is_never_taken_for_text(self) -> None:
        """A stored block of four bytes whose four bytes are missing."""
        with pytest.raises(InflateError, match="within a block"):
            inflate(bytes.fromhex("000400fbff"))

    def test_a_sender_that_does_not_cut_off_the_tail_is_wrong(self) -> None:
        with pytest.raises(InflateError):
            inflate(HELLO + TAIL)

    def test_text_that_was_not_compressed_is_an_error(self) -> None:
        with pytest.raises(InflateError, match="corrupt compressed data"):
            inflate(b"Hello, world")

    @given(st.binary(max_size=300), SIZES, st.booleans(), st.integers(8, 15), st.integers(0, 500))
    def test_arbitrary_bytes_raise_our_errors_and_keep_the_limit(
        self, data: bytes, sizes: list[int], context_takeover: bool, window_bits: int, limit: int
    ) -> None:
        inflater = Inflater(context_takeover=context_takeover, window_bits=window_bits)
        try:
            assert len(inflate_parts(inflater, pieces_of(data, sizes), limit=limit)) <= limit
        except (InflateError, InflateTooBig):
            pass

    @given(BYTES, st.data())
    def test_flipped_bits_raise_our_errors(self, message: bytes, data: st.DataObject) -> None:
        payload = bytearray(deflater().deflate(message, final=True))
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        try:
            inflate(bytes(payload))
        except (InflateError, InflateTooBig):
            pass


@pytest.mark.usefixtures("library")
class TestRoundTrips:
    @settings(max_examples=4 * settings.default.max_examples)
    @given(
        window_bits=st.integers(8, 15),
        context_takeover=st.booleans(),
        messages=st.lists(st.tuples(BYTES, SIZES, SIZES), max_size=4),
        level=st.integers(0, 9),
    )
    @pytest.mark.slow
    def test_what_we_deflate_we_inflate(
        self, window_bits: int, context_takeover: bool, messages: list[Any], level: int
    ) -> None:
        """For windows of each kind, with and without context, cut into parts anywhere on both sides."""
        sender = deflater(window_bits=window_bits, context_takeover=context_takeover, level=level)
        receiver = Inflater(window_bits=window_bits, context_takeover=context_takeover)
        for message, sent, received in messages:
            payload = b"".join(deflate_parts(sender, pieces_of(message, sent)))
            assert not payload.endswith(TAIL)
            assert inflate_parts(receiver, pieces_of(payload, received), limit=len(message)) == message

    @pytest.mark.parametrize("window_bits", range(8, 16))
    def test_no_message_refers_to_more_than_the_window(self, window_bits: int) -> None:
        """A reader is held to its window by reading byte by byte."""
        text = b"".join(random.Random(3).choices([b"abc ", b"defgh ", b"ijklmnop "], k=5000))
        payload = deflater(window_bits=window_bits).deflate(text, final=True)
        reader = zlib.decompressobj(-window_bits)
        read, rest = b"", payload + TAIL
        while rest or len(read) < len(text):
            read += reader.decompress(rest, 1)
            rest = reader.unconsumed_tail
        assert read == text
        assert len(payload) < len(text)

    def test_window_of_8_bits_shortens_only_runs_of_one_byte(self) -> None:
        """zlib would use 9 bits."""
        assert len(deflater(window_bits=8).deflate(b"a" * 800, final=True)) < 50
        assert len(deflater(window_bits=8).deflate(b"abcdefgh" * 100, final=True)) > 250

    def test_a_peer_that_agreed_to_8_bits_may_use_9(self) -> None:
        """Its zlib does, whatever it is told."""
        text = random.Random(8).randbytes(400) * 2
        payload = raw(text, zlib.Z_SYNC_FLUSH)[:-4]
        assert len(payload) < 500
        inflater = Inflater(window_bits=8, context_takeover=False)
        assert inflate_parts(inflater, [bytes([byte]) for byte in payload]) == text

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_bytes_like_object_will_do(self, kind: Callable[[bytes], Any]) -> None:
        text = random.Random(4).randbytes(50_000)
        payload = deflater().deflate(kind(text), final=True)
        assert len(payload) > 3 * 16 * KIB
        assert inflate(kind(payload)) == text

    def test_without_context_messages_do_not_depend_on_each_other(self) -> None:
        sender = deflater()
        assert sender.deflate(b"Hello" * 9, final=True) == sender.deflate(b"Hello" * 9, final=True)

    def test_with_context_repetition_costs_next_to_nothing(self) -> None:
        text = random.Random(5).randbytes(2000)
        sender = deflater(context_takeover=True)
        assert len(sender.deflate(text, final=True)) >= 2000
        assert len(sender.deflate(text, final=True)) < 50

    def test_empty_message_between_others_keeps_sides_in_step(self) -> None:
        """An empty message between others keeps both sides in step."""
        sender, receiver = deflater(context_takeover=True), Inflater(context_takeover=True)
        for message in (b"Hello", b"", b"", b"Hello", b"Hello", b""):
            assert receiver.inflate(sender.deflate(message, final=True), final=True, limit=5) == message

    def test_zero_byte_message_is_empty_and_keeps_the_context(self) -> None:
        """Senders that flush zlib twice write empty messages so."""
        inflater = Inflater(context_takeover=True)
        assert inflater.inflate(HELLO, final=True, limit=5) == b"Hello"
        assert inflate_parts(inflater, [b"", b""]) == b""
        assert inflater.inflate(bytes.fromhex("f200110000"), final=True, limit=5) == b"Hello"

    def test_the_threshold_is_kept_for_whoever_sends(self) -> None:
        assert Deflater(level=1, window_bits=9, context_takeover=False, threshold=77).threshold == 77


class TestLimit:
    def test_exactly_the_limit_is_allowed(self) -> None:
        payload = deflater().deflate(bytes(5000), final=True)
        assert inflate(payload, limit=5000) == bytes(5000)
        with pytest.raises(InflateTooBig):
            inflate(payload, limit=4999)

    def test_it_counts_over_all_parts_and_streams(self) -> None:
        payload = raw(bytes(3000), zlib.Z_FINISH) + raw(bytes(2000), zlib.Z_FINISH)
        assert inflate_parts(Inflater(context_takeover=False), pieces_of(payload, [2, 5]), limit=5000) == bytes(5000)
        with pytest.raises(InflateTooBig):
            inflate(payload, limit=4999)

    def test_no_limit_is_too_large_to_work_with(self) -> None:
        payload = deflated_zeros(20)
        assert inflate(payload, limit=sys.maxsize) == bytes(20 * MIB)

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [MIB, 64 * KIB, 1000], ids=["whole", "by 64 KiB", "by 1000"])
    def test_a_bomb_does_not_move_memory(self, size: int) -> None:
        """256 MiB of zeros in 256 KiB against a limit of 1 MiB, in parts. zlib's memory is counted too."""
        payload = deflated_zeros(256)
        assert 250 * KIB < len(payload) < MIB
        parts = [payload[start : start + size] for start in range(0, len(payload), size)]
        inflater = Inflater(context_takeover=True)
        with traced_memory():
            with pytest.raises(InflateTooBig):
                inflate_parts(inflater, parts)
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB

    def test_many_small_bombs_do_not_move_memory(self) -> None:
        payload = deflated_zeros(4)
        inflaters = [Inflater(context_takeover=True) for _ in range(100)]
        with traced_memory():
            for inflater in inflaters:
                with pytest.raises(InflateTooBig):
                    inflater.inflate(payload, final=True, limit=64 * KIB)
            assert tracemalloc.get_traced_memory()[1] < 8 * MIB

    @pytest.mark.parametrize("context_takeover", [True, False])
    def test_a_connection_at_rest_holds_at_most_the_window(self, context_takeover: bool) -> None:
        text = random.Random(6).randbytes(100_000)
        payloads = [deflater().deflate(text[:size], final=True) for size in (100_000, 30_000, 1, 0, 5000)]
        with traced_memory():
            inflater = Inflater(context_takeover=context_takeover)
            for payload in payloads * 4:
                inflater.inflate(payload, final=True, limit=MIB)
            assert tracemalloc.get_traced_memory()[0] < (40 * KIB if context_takeover else KIB)

    def test_without_context_nothing_is_kept_to_send(self) -> None:
        sender = deflater()
        sender.deflate(b"Hello", final=False)
        assert internal(sender, "_stream") is not None
        sender.deflate(b"Hello", final=True)
        assert internal(sender, "_stream") is None


@pytest.mark.usefixtures("library")
class TestOracle:
    """wsproto's permessage-deflate and ours read each other."""

    @staticmethod
    def oracle(*, client: bool, window_bits: int, context_takeover: bool) -> tuple[PerMessageDeflate, FrameProtocol]:
        extension = PerMessageDeflate(not context_takeover, window_bits, not context_takeover, window_bits)
        return extension, FrameProtocol(client=client, extensions=[extension])

    @given(
        messages=st.lists(st.tuples(BYTES, SIZES), max_size=4),
        client=st.booleans(),
        window_bits=st.integers(9, 15),
        context_takeover=st.booleans(),
    )
    def test_it_inflates_what_we_deflate(
        self, messages: list[Any], client: bool, window_bits: int, context_takeover: bool
    ) -> None:
        extension, protocol = self.oracle(client=client, window_bits=window_bits, context_takeover=context_takeover)
        sender = deflater(window_bits=window_bits, context_takeover=context_takeover)
        for message, sizes in messages:
            read = b""
            parts = deflate_parts(sender, pieces_of(message, sizes))
            for index, part in enumerate(parts):
                opcode = Opcode.CONTINUATION if index else Opcode.BINARY
                rsv = RsvBits(not index, False, False)
                extension.frame_inbound_header(protocol, opcode, rsv, len(part))
                piece = extension.frame_inbound_payload_data(protocol, part)
                rest = extension.frame_inbound_complete(protocol, index == len(parts) - 1)
                assert not isinstance(piece, CloseReason)
                assert not isinstance(rest, CloseReason)
                read += piece + (rest or b"")
            assert read == message

    @given(
        messages=st.lists(st.tuples(BYTES, SIZES), max_size=4),
        client=st.booleans(),
        window_bits=st.integers(9, 15),
        context_takeover=st.booleans(),
    )
    def test_we_inflate_what_it_deflates(
        self, messages: list[Any], client: bool, window_bits: int, context_takeover: bool
    ) -> None:
        extension, protocol = self.oracle(client=client, window_bits=window_bits, context_takeover=context_takeover)
        receiver = Inflater(window_bits=window_bits, context_takeover=context_takeover)
        none = RsvBits(False, False, False)
        for message, sizes in messages:
            parts = pieces_of(message, sizes)
            payloads = []
            for index, part in enumerate(parts):
                opcode = Opcode.CONTINUATION if index else Opcode.BINARY
                final = index == len(parts) - 1
                payloads.append(extension.frame_outbound(protocol, opcode, none, part, final)[1])
            assert inflate_parts(receiver, payloads, limit=len(message)) == message


def test_what_was_deflated_elsewhere_is_referred_to() -> None:
    text = random.Random(7).randbytes(3000)
    behind = deflater(context_takeover=True)
    behind.passed(text)
    assert len(behind.deflate(text, final=True)) < 100
