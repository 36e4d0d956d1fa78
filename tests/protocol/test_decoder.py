"""The decoder's contract, rule by rule."""

from __future__ import annotations

import itertools
import random
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from codec_helpers import (
    KEY,
    PLENTY,
    Codec,
    deflater,
    feed,
    feed_bytewise,
    inflater,
    joined,
    masked,
    plain,
)
from hypothesis import given
from hypothesis import strategies as st
from support.internals import internal
from support.machine import traced_memory

from trio_ws.protocol import assembler
from trio_ws.protocol.deflate import deflated_bound
from trio_ws.protocol.events import ViolationEvent
from trio_ws.protocol.frames import BINARY, CLOSE, CONTINUATION, MASKED, PING, PONG, TEXT, encode_header
from trio_ws.protocol.items import BytesMessage, CloseConnection, Ping, Pong, TextMessage


@pytest.fixture
def server(codec: Codec) -> Any:
    return codec.server()


@pytest.fixture
def client(codec: Codec) -> Any:
    return codec.client()


def refused(decoder: Any, data: bytes, code: int, word: str = "") -> ViolationEvent:
    """Assert that these bytes are refused with this code, and with nothing before it."""
    items = feed(decoder, data)
    assert [type(item) for item in items] == [ViolationEvent]
    assert items[0].code == code
    assert word in items[0].reason
    assert 0 < len(items[0].reason.encode()) <= 123
    assert decoder.failed
    return items[0]


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return code.to_bytes(2) + reason


class TestMessages:
    @pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 32, 125, 126, 127, 511, 16_384, 65_535, 65_536, 100_000])
    def test_a_whole_frame_is_a_message(self, codec: Codec, size: int) -> None:
        data = (b"0123456789abcdef-" * (size // 17 + 1))[:size]
        for decoder, frame in ((codec.server(), masked), (codec.client(), plain)):
            assert feed(decoder, frame(TEXT, data) + frame(BINARY, data)) == [data.decode(), data]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    @pytest.mark.parametrize("size", [5, 200, 70_000])
    def test_data_may_be_any_buffer(self, codec: Codec, kind: type, size: int) -> None:
        for decoder, frame in ((codec.server(), masked), (codec.client(), plain)):
            stream = kind(frame(BINARY, b"x" * size) * 3 + frame(TEXT, b"y" * size)[:-1])
            out: list[Any] = []
            assert decoder.decode(stream, out, PLENTY, PLENTY) == len(stream)
            assert out == [b"x" * size] * 3
            assert {type(item) for item in out} == {bytes}

    def test_many_messages_in_one_read(self, server: Any) -> None:
        """More than are looked at in one turn, so frames lie across its ends."""
        messages = [b"m" * (number % 300) for number in range(2000)]
        stream = b"".join(masked(BINARY, message) for message in messages)
        assert feed(server, stream) == messages

    @pytest.mark.parametrize("size", [0, 1, 7, 125, 126, 700, 65_536])
    def test_a_frame_cut_anywhere_is_the_same_message(self, codec: Codec, size: int) -> None:
        data = b"x" * size
        for make, frame in ((codec.server, masked(TEXT, data)), (codec.client, plain(TEXT, data))):
            for cut in {*range(min(len(frame), 20)), len(frame) // 2, len(frame) - 1}:
                assert feed(make(), frame * 2, [cut, len(frame)]) == [data.decode()] * 2

    def test_no_bytes_are_no_items(self, server: Any) -> None:
        assert feed(server, b"") == []

    def test_fragments_are_joined(self, server: Any) -> None:
        stream = masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b", fin=False) + masked(CONTINUATION, b"c")
        assert feed(server, stream * 2 + masked(BINARY, b"d")) == ["abc", "abc", b"d"]

    def test_empty_fragments_are_joined(self, client: Any) -> None:
        stream = plain(BINARY, b"", fin=False) + plain(CONTINUATION, b"", fin=False) + plain(CONTINUATION, b"")
        assert feed(client, stream + stream.replace(b"\x02", b"\x01", 1)) == [b"", ""]

    def test_flushed_fragments_have_room_for_their_flushes(self, codec: Codec) -> None:
        """A message at its limit may come in fragments that each end with a flush of some bytes."""
        data = random.Random(1).randbytes(200)
        stream = zlib.compressobj(wbits=-15)
        parts = [stream.compress(data[at : at + 1]) + stream.flush(zlib.Z_FULL_FLUSH) for at in range(len(data))]
        parts[-1] = parts[-1].removesuffix(b"\0\0\xff\xff")
        frames = [
            masked(CONTINUATION if at else BINARY, part, fin=at == len(parts) - 1, rsv1=not at)
            for at, part in enumerate(parts)
        ]
        assert len(b"".join(parts)) > 5 * len(data)
        decoder = codec.server(max_message_size=len(data), inflater=inflater())
        assert feed(decoder, b"".join(frames)) == [data]

    def test_line_ends_in_fragmented_text_are_not_translated(self, server: Any) -> None:
        stream = masked(TEXT, b"a\r\n\r", fin=False) + masked(CONTINUATION, b"\nb\n\r")
        assert feed(server, stream) == ["a\r\n\r\nb\n\r"]


class TestControlFrames:
    def test_each_is_its_event(self, server: Any) -> None:
        stream = masked(PING, b"a") + masked(PONG, b"") + masked(CLOSE, close_payload(1000, "ä".encode()))
        assert feed(server, stream) == [Ping(b"a"), Pong(b""), CloseConnection(1000, "ä")]

    def test_125_bytes_of_payload(self, client: Any) -> None:
        assert feed_bytewise(client, plain(PING, b"x" * 125)) == [Ping(b"x" * 125)]

    def test_they_come_between_fragments_as_they_arrive(self, server: Any) -> None:
        stream = masked(TEXT, b"a", fin=False) + masked(PING, b"p") + masked(CONTINUATION, b"b")
        assert feed_bytewise(server, stream + masked(PONG, b"q")) == [Ping(b"p"), "ab", Pong(b"q")]

    def test_an_empty_close_frame_has_code_1005(self, server: Any) -> None:
        assert feed(server, masked(CLOSE, b"")) == [CloseConnection(1005, "")]
        assert server.closed
        assert not server.failed

    @pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
    def test_close_codes_that_may_be_sent(self, client: Any, code: int) -> None:
        (item,) = feed(client, plain(CLOSE, close_payload(code)))
        assert item == CloseConnection(code, "")
        assert type(item.code) is int

    @pytest.mark.parametrize("bounds", [(1, 0), (PLENTY, PLENTY)])
    @pytest.mark.parametrize("rest", [b"\xff" * 20, masked(TEXT, b"late") * 2])
    def test_bytes_after_a_close_frame_are_discarded(self, server: Any, rest: bytes, bounds: tuple[int, int]) -> None:
        """RFC 6455 5.5.1, in the same bytes and in later ones, whatever they are, and without a pause."""
        stream = masked(CLOSE, b"") + rest
        out: list[Any] = []
        assert server.decode(stream, out, *bounds) == len(stream)
        assert feed(server, rest) == []
        assert out == [CloseConnection(1005, "")]
        assert server.closed
        assert not server.failed

    def test_a_close_frame_ends_an_unfinished_message(self, server: Any) -> None:
        assert feed(server, masked(TEXT, b"a", fin=False) + masked(CLOSE, b"")) == [CloseConnection(1005, "")]


class TestRules:
    """RFC 6455 5.2: whatever a header is wrong in is a violation as soon as the header shows it."""

    @pytest.mark.parametrize(
        ("header", "word"),
        [
            ("91 80", "RSV2 or RSV3"),
            ("a1 80", "RSV2 or RSV3"),
            ("c1 80", "RSV1"),
            ("c9 80", "RSV1"),
            ("83 80", "opcode 0x3"),
            ("87 80", "opcode 0x7"),
            ("8b 80", "opcode 0xb"),
            ("8f 80", "opcode 0xf"),
            ("81 05", "not masked"),
            ("81 7e", "not masked"),
            ("89 00", "not masked"),
            ("89 fe", "more than 125"),
            ("88 ff", "more than 125"),
            ("09 80", "fragmented control"),
            ("08 80", "fragmented control"),
            ("80 80", "continuation"),
            ("00 81", "continuation"),
            ("88 81", "half a close code"),
            ("81 fe 00 7d", "shortest form"),
            ("82 ff 00 00 00 00 00 00 ff ff", "shortest form"),
            ("82 ff 00 00 00 00 00 00 00 00", "shortest form"),
        ],
    )
    def test_a_header_that_breaks_a_rule_is_1002(self, codec: Codec, header: str, word: str) -> None:
        """On the header alone: neither its key nor a byte of its payload has come; and cut anywhere."""
        refused(codec.server(), bytes.fromhex(header), 1002, word)
        (violation,) = feed_bytewise(codec.server(), bytes.fromhex(header) + bytes(200))
        assert violation == feed(codec.server(), bytes.fromhex(header))[0]

    def test_half_a_close_code_is_1002_when_all_of_it_is_there_too(self, codec: Codec) -> None:
        refused(codec.server(), masked(CLOSE, b"\x03"), 1002, "half a close code")

    @pytest.mark.parametrize("header", ["81 80", "81 85", "82 fe", "89 80"])
    def test_a_masked_frame_from_a_server_is_1002(self, client: Any, header: str) -> None:
        refused(client, bytes.fromhex(header), 1002, "masked")

    @pytest.mark.parametrize("header", ["01 80", "81 80", "82 81"])
    def test_a_new_message_inside_a_message_is_1002(self, server: Any, header: str) -> None:
        assert feed(server, masked(TEXT, b"a", fin=False)) == []
        refused(server, bytes.fromhex(header), 1002, "new message")

    @pytest.mark.parametrize("header", ["40 80", "c0 80", "c8 80", "ca 80", "c3 80"])
    def test_rsv1_only_starts_a_data_message_even_with_compression(self, codec: Codec, header: str) -> None:
        server = codec.server(inflater=inflater())
        assert feed(server, masked(TEXT, b"a", fin=False)) == []
        refused(server, bytes.fromhex(header), 1002, "RSV1")

    def test_rules_are_checked_in_the_order_of_the_header(self, codec: Codec) -> None:
        """Reserved bits, opcode, mask, length: a header that breaks all is refused for the first."""
        refused(codec.server(), bytes.fromhex("73 7f"), 1002, "RSV")
        refused(codec.server(), bytes.fromhex("0b 7f"), 1002, "opcode")
        refused(codec.server(), bytes.fromhex("09 7f"), 1002, "fragmented")
        refused(codec.server(), bytes.fromhex("89 7f"), 1002, "masked")
        refused(codec.server(), bytes.fromhex("89 ff"), 1002, "125")

    @pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
    def test_a_close_code_that_may_not_be_sent_is_1002(self, server: Any, code: int) -> None:
        refused(server, masked(CLOSE, close_payload(code, b"why")), 1002, str(code))
        assert not server.closed

    @pytest.mark.parametrize("reason", [b"\xff", b"ok\xc3", b"\xed\xa0\x80"])
    def test_a_close_reason_that_is_not_utf_8_is_1007(self, server: Any, reason: bytes) -> None:
        refused(server, masked(CLOSE, close_payload(1000, reason)), 1007, "close reason")

    def test_what_came_before_a_violation_is_given_before_it(self, server: Any) -> None:
        items = feed(server, masked(TEXT, b"a") + masked(PING, b"") + masked(BINARY, b"b") + b"\xff\xff")
        assert items[:3] == ["a", Ping(b""), b"b"]
        assert [item.code for item in items[3:]] == [1002]

    def test_after_a_violation_everything_is_discarded(self, server: Any) -> None:
        stream = b"\xff\xff" + masked(TEXT, b"late")
        out: list[Any] = []
        assert server.decode(stream, out, 1, 0) == len(stream)
        assert feed(server, masked(TEXT, b"late") + b"\xff") == []
        assert [item.code for item in out] == [1002]
        assert server.failed
        assert not server.closed

    def test_a_violation_is_a_value(self) -> None:
        assert ViolationEvent(1002, "x") == ViolationEvent(1002, "x")
        with pytest.raises(AttributeError):
            ViolationEvent(1002, "x").code = 1000  # type: ignore[misc]


class TestLimits:
    """Checked on the header, before a byte of payload is there."""

    @pytest.fixture
    def small(self, codec: Codec) -> Any:
        return codec.server(max_message_size=100, max_fragments=3)

    def test_a_message_of_the_limit_is_taken(self, small: Any) -> None:
        assert feed(small, masked(BINARY, b"x" * 100)) == [b"x" * 100]
        assert feed_bytewise(small, masked(BINARY, b"x" * 100)) == [b"x" * 100]

    def test_one_byte_more_is_1009_on_the_header(self, codec: Codec, small: Any) -> None:
        refused(small, encode_header(0x82, 101, MASKED), 1009, "100 bytes")
        refused(codec.server(max_message_size=100), masked(TEXT, b"x" * 101), 1009, "100 bytes")
        refused(codec.client(max_message_size=300), plain(TEXT, b"x" * 301), 1009, "300 bytes")

    @pytest.mark.parametrize("size", [2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
    def test_huge_lengths_are_1009_on_the_header(self, codec: Codec, size: int) -> None:
        refused(codec.server(), b"\x82\xff" + size.to_bytes(8), 1009)
        refused(codec.client(), b"\x81\x7f" + size.to_bytes(8), 1009)

    def test_fragments_count_together(self, small: Any) -> None:
        assert feed(small, masked(TEXT, b"x" * 60, fin=False) + masked(PING, b"p" * 125)) == [Ping(b"p" * 125)]
        refused(small, encode_header(0x00, 41, MASKED), 1009, "100 bytes")

    def test_the_count_begins_anew_with_each_message(self, small: Any) -> None:
        message = masked(TEXT, b"x" * 60, fin=False) + masked(CONTINUATION, b"x" * 40)
        assert feed(small, message * 3) == ["x" * 100] * 3

    def test_as_many_fragments_as_allowed(self, small: Any) -> None:
        message = masked(TEXT, b"", fin=False) + masked(CONTINUATION, b"", fin=False) + masked(CONTINUATION, b"")
        assert feed(small, message * 2) == ["", ""]

    def test_one_fragment_more_is_1009_on_the_header(self, small: Any) -> None:
        stream = masked(TEXT, b"", fin=False) + masked(CONTINUATION, b"", fin=False) * 2
        assert feed(small, stream) == []
        refused(small, encode_header(0x80, 0, MASKED), 1009, "3 frames")

    def test_control_frames_are_not_fragments(self, small: Any) -> None:
        stream = masked(TEXT, b"a", fin=False) + masked(PONG, b"") * 9 + masked(CONTINUATION, b"b")
        assert feed(small, stream)[9:] == ["ab"]

    def test_the_limits_hold_for_a_streamed_message(self, small: Any) -> None:
        small.stream_next()
        first = masked(BINARY, b"x" * 60, fin=False)
        items = feed(small, first + encode_header(0x80, 41, MASKED))
        assert items[0] == BytesMessage(b"x" * 60, message_finished=False)
        assert items[1].code == 1009


# All that can go wrong in UTF-8: the byte that shows it is the last one.
WRONG_UTF_8 = [
    b"\x80",
    b"\xbf",
    b"\xc0",
    b"\xc1",
    b"\xc3\x28",
    b"\xe0\x9f",
    b"\xe2\x28",
    b"\xe2\x82\x28",
    b"\xed\xa0",
    b"\xed\xbf",
    b"\xf0\x8f",
    b"\xf0\x90\x28",
    b"\xf0\x90\x80\xc0",
    b"\xf4\x90",
    b"\xf5",
    b"\xff",
]


def begins_text(data: bytes) -> bool:
    """Say whether some text begins with these bytes, by trying all shapes of what could complete it."""
    shapes = (b"\x80", b"\x90", b"\xa0", b"\xbf")
    for count in range(4):
        for rest in itertools.product(shapes, repeat=count):
            try:
                (data + b"".join(rest)).decode()
            except UnicodeDecodeError:
                continue
            return True
    return False


class TestText:
    @pytest.mark.parametrize("wrong", WRONG_UTF_8, ids=bytes.hex)
    def test_wrong_text_in_a_whole_frame_is_1007(self, codec: Codec, wrong: bytes) -> None:
        refused(codec.server(), masked(TEXT, b"ok" + wrong), 1007, "UTF-8")
        refused(codec.client(), plain(TEXT, b"ok" * 200 + wrong), 1007, "UTF-8")

    @pytest.mark.parametrize("wrong", WRONG_UTF_8, ids=bytes.hex)
    def test_wrong_text_is_1007_as_soon_as_the_wrong_byte_is_there(self, server: Any, wrong: bytes) -> None:
        """The frame is not complete, the byte before was still right."""
        payload = "κόσμε".encode() + wrong
        frame = masked(TEXT, payload + b"...")[:-3]
        assert feed_bytewise(server, frame[:-1]) == []
        refused(server, frame[-1:], 1007, "UTF-8")

    @pytest.mark.parametrize("wrong", WRONG_UTF_8, ids=bytes.hex)
    def test_so_it_is_across_fragments(self, server: Any, wrong: bytes) -> None:
        assert feed(server, masked(TEXT, b"ok" + wrong[:-1], fin=False)) == []
        refused(server, masked(CONTINUATION, wrong[-1:], fin=False), 1007, "UTF-8")

    @given(data=st.binary(max_size=8))
    def test_prefix_is_accepted_exactly_if_valid_text_starts_with_it(self, codec: Codec, data: bytes) -> None:
        """Every prefix is accepted exactly if some text begins with it."""
        server = codec.server()
        feed(server, encode_header(TEXT, 100, MASKED) + bytes(4))
        feed(server, data)
        assert server.failed is not begins_text(data)

    @pytest.mark.parametrize("cut", ["ä".encode()[:1], "€".encode()[:2], "😀".encode()[:3]])
    def test_a_message_that_ends_within_a_character_is_1007(self, codec: Codec, cut: bytes) -> None:
        refused(codec.server(), masked(TEXT, cut), 1007)
        refused(codec.server(), masked(TEXT, cut, fin=False) + masked(CONTINUATION, b""), 1007)

    def test_a_character_may_be_cut_anywhere(self, codec: Codec) -> None:
        text = "aß€😀\N{REPLACEMENT CHARACTER}\ud7ff\ue000\U0010ffff\0"
        data = text.encode()
        for cut in range(len(data)):
            stream = masked(TEXT, data[:cut], fin=False) + masked(CONTINUATION, data[cut:])
            assert feed(codec.server(), stream) == [text]
        assert feed_bytewise(codec.server(), masked(TEXT, data)) == [text]

    def test_binary_messages_are_not_checked(self, server: Any) -> None:
        assert feed_bytewise(server, masked(BINARY, b"\xff\xfe")) == [b"\xff\xfe"]


class TestPause:
    """A pause comes after the item that reaches a bound, and at no other place."""

    def test_after_max_items(self, server: Any) -> None:
        frames = [masked(TEXT, b"a"), masked(PING, b""), masked(BINARY, b"x" * 200), masked(TEXT, b"b")]
        stream = b"".join(frames)
        for count in range(1, 5):
            out: list[Any] = ["was here before"]
            assert server.decode(stream, out, count, PLENTY) == len(b"".join(frames[:count]))
            assert len(out) == 1 + count

    @pytest.mark.parametrize("size", [10, 300, 20_000])
    def test_after_max_bytes(self, codec: Codec, size: int) -> None:
        frame = masked(BINARY, b"x" * size)
        for max_bytes, count in [(0, 1), (1, 1), (size, 1), (size + 1, 2), (2 * size, 2), (2 * size + 1, 3)]:
            out: list[Any] = []
            assert codec.server().decode(frame * 4, out, PLENTY, max_bytes) == len(frame) * count
            assert len(out) == count

    def test_text_counts_in_bytes_of_utf_8(self, server: Any) -> None:
        frame = masked(TEXT, "€€".encode())
        out: list[Any] = []
        assert server.decode(frame * 3, out, PLENTY, 6) == len(frame)
        assert server.decode(frame * 3, out, PLENTY, 7) == 2 * len(frame)

    def test_fragmented_text_counts_in_bytes_of_utf_8(self, server: Any) -> None:
        message = masked(TEXT, "€€".encode()[:4], fin=False) + masked(CONTINUATION, "€€".encode()[4:])
        out: list[Any] = []
        assert server.decode(message * 3, out, PLENTY, 6) == len(message)
        assert server.decode(message * 3, out, PLENTY, 7) == 2 * len(message)

    def test_compressed_messages_count_inflated(self, codec: Codec) -> None:
        server = codec.server(inflater=inflater(context_takeover=False))
        frame = masked(BINARY, deflater().deflate(b"x" * 1000, final=True), rsv1=True)
        out: list[Any] = []
        assert server.decode(frame * 3, out, PLENTY, 1001) == 2 * len(frame)
        assert out == [b"x" * 1000] * 2

    def test_control_frames_count_as_items_not_as_bytes(self, server: Any) -> None:
        frame = masked(PING, b"x" * 100)
        out: list[Any] = []
        assert server.decode(frame * 4, out, PLENTY, 50) == 4 * len(frame)
        assert server.decode(frame * 4, out, 2, 50) == 2 * len(frame)

    def test_a_part_of_a_message_is_no_reason_to_pause(self, server: Any) -> None:
        frame = masked(BINARY, b"x" * 50, fin=False)
        assert server.decode(frame, [], 1, 1) == len(frame)


class TestStreaming:
    def test_a_message_comes_in_chunks_as_its_bytes_come(self, server: Any) -> None:
        assert server.stream_next() is None
        frame = masked(BINARY, b"abcdef")
        assert feed(server, frame[:6]) == []
        assert feed(server, frame[6:8]) == [BytesMessage(b"ab", message_finished=False)]
        assert feed(server, frame[8:11]) == [BytesMessage(b"cde", message_finished=False)]
        assert feed(server, frame[11:]) == [BytesMessage(b"f")]

    def test_it_holds_for_one_message(self, server: Any) -> None:
        server.stream_next()
        frame = masked(TEXT, b"ab")
        assert feed(server, frame * 2) == [TextMessage("ab"), "ab"]
        assert feed_bytewise(server, frame) == ["ab"]

    def test_fragments_come_one_by_one_with_control_frames_between(self, server: Any) -> None:
        server.stream_next()
        stream = masked(TEXT, b"a", fin=False) + masked(PING, b"") + masked(CONTINUATION, b"b")
        items = feed(server, stream + masked(TEXT, b"c"))
        assert items[0] == TextMessage("a", message_finished=False)
        assert items[1:] == [Ping(b""), TextMessage("b"), "c"]

    def test_only_the_last_chunk_may_be_empty(self, client: Any) -> None:
        client.stream_next()
        stream = plain(BINARY, b"", fin=False) + plain(CONTINUATION, b"", fin=False) + plain(CONTINUATION, b"")
        assert feed(client, stream) == [BytesMessage(b"")]
        client.stream_next()
        assert feed(client, plain(TEXT, b"")) == [TextMessage("")]

    def test_text_is_cut_between_characters(self, codec: Codec) -> None:
        text = "aß€😀" * 3
        for step in (1, 2, 3, 5):
            server = codec.server()
            server.stream_next()
            frame = masked(TEXT, text.encode())
            assert joined(feed(server, frame, [step] * len(frame))) == text

    def test_what_is_gathered_already_is_the_first_chunk(self, server: Any) -> None:
        frame = masked(BINARY, b"abcdef")
        assert feed(server, frame[:-2]) == []
        assert server.stream_next() == BytesMessage(b"abcd", message_finished=False)
        assert server.stream_next() is None
        assert feed(server, frame[-2:] + frame) == [BytesMessage(b"ef"), b"abcdef"]

    def test_a_character_that_is_cut_waits_for_its_rest(self, server: Any) -> None:
        frame = masked(TEXT, "aä€".encode())
        assert feed(server, frame[:-1]) == []
        assert server.stream_next() == TextMessage("aä", message_finished=False)
        assert feed(server, frame[-1:]) == [TextMessage("€")]

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_of_which_nothing_came_yet_is_the_one_too(self, codec: Codec, opcode: int) -> None:
        frame = masked(opcode, b"ab")
        for cut in range(1, 7):
            server = codec.server()
            assert feed(server, frame[:cut]) == []
            assert server.stream_next() is None
            assert feed(server, frame[cut:])[-1].message_finished

    def test_half_a_character_is_nothing_yet(self, server: Any) -> None:
        frame = masked(TEXT, "ä".encode())
        assert feed(server, frame[:-1]) == []
        assert server.stream_next() is None
        assert feed(server, frame[-1:]) == [TextMessage("ä")]

    def test_it_may_be_asked_for_before_the_rest_of_a_pause(self, server: Any) -> None:
        stream = masked(TEXT, b"a") + masked(TEXT, b"b")
        out: list[Any] = []
        consumed = server.decode(stream, out, 1, PLENTY)
        server.stream_next()
        assert server.decode(stream[consumed:], out, 1, PLENTY) == len(stream) - consumed
        assert out == ["a", TextMessage("b")]

    def test_chunks_count_for_the_pause(self, server: Any) -> None:
        server.stream_next()
        fragment = masked(CONTINUATION, "€".encode()[:2], fin=False) + masked(CONTINUATION, "€".encode()[2:], fin=False)
        stream = masked(TEXT, "€".encode(), fin=False) + fragment * 3
        out: list[Any] = []
        assert server.decode(stream, out, 1, PLENTY) == 9
        assert server.decode(stream[9:], out, PLENTY, 6) == 2 * len(fragment)
        assert [item.data for item in out] == ["€"] * 3

    def test_wrong_text_is_1007(self, server: Any) -> None:
        server.stream_next()
        items = feed(server, masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"\xff"))
        assert items[0].data == "a"
        assert items[1].code == 1007

    def test_after_the_end_there_is_nothing_to_stream(self, codec: Codec) -> None:
        failed, closed = codec.server(), codec.server()
        feed(failed, masked(TEXT, b"a", fin=False) + b"\xff\xff")
        feed(closed, masked(TEXT, b"a", fin=False) + masked(CLOSE, b""))
        assert failed.stream_next() is closed.stream_next() is None


class TestCompression:
    @pytest.mark.parametrize("context_takeover", [False, True])
    @pytest.mark.parametrize("size", [0, 1, 100, 50_000])
    def test_compressed_messages_are_inflated(self, codec: Codec, context_takeover: bool, size: int) -> None:
        squeeze = deflater(context_takeover=context_takeover)
        frames = [masked(opcode, squeeze.deflate(b"x" * size, final=True), rsv1=True) for opcode in (TEXT, BINARY)]
        for cuts in ([], [1] * 10_000):
            server = codec.server(inflater=inflater(context_takeover=context_takeover))
            assert feed(server, b"".join(frames), cuts) == ["x" * size, b"x" * size]

    def test_messages_that_are_not_compressed_go_between(self, codec: Codec) -> None:
        squeeze = deflater()
        packed = [masked(TEXT, squeeze.deflate(b"packed" * 9, final=True), rsv1=True) for _ in range(2)]
        stream = packed[0] + masked(TEXT, b"plain", fin=False) + masked(CONTINUATION, b"!") + packed[1]
        expected = ["packed" * 9, "plain!", "packed" * 9]
        assert feed(codec.server(inflater=inflater()), stream) == expected
        assert feed_bytewise(codec.server(inflater=inflater()), stream) == expected

    def test_compressed_fragments_and_control_frames(self, codec: Codec) -> None:
        data = deflater().deflate("grüße €".encode() * 50, final=True)
        stream = b"".join(
            [
                masked(TEXT, data[:5], fin=False, rsv1=True),
                masked(PING, b"p"),
                masked(CONTINUATION, b"", fin=False),
                masked(CONTINUATION, data[5:], fin=False),
                masked(CONTINUATION, b""),
            ]
        )
        for cuts in ([], [1] * len(stream)):
            assert feed(codec.server(inflater=inflater()), stream, cuts) == [Ping(b"p"), "grüße €" * 50]

    def test_inflated_size_is_limited_to_the_byte(self, codec: Codec) -> None:
        data = deflater().deflate(b"x" * 5000, final=True)
        frame = masked(BINARY, data, rsv1=True)
        half = len(data) // 2
        parts = masked(BINARY, data[:half], rsv1=True, fin=False) + masked(CONTINUATION, data[half:])
        for stream, cuts in ((frame, []), (frame, [1] * len(frame)), (parts, [])):
            enough = codec.server(max_message_size=5000, inflater=inflater())
            assert feed(enough, stream, cuts) == [b"x" * 5000]
            too_little = codec.server(max_message_size=4999, inflater=inflater())
            (violation,) = feed(too_little, stream, cuts)
            assert violation == ViolationEvent(1009, "message of more than 4999 bytes")

    def test_the_limit_is_each_message_s_own(self, codec: Codec) -> None:
        frame = masked(BINARY, deflater().deflate(b"x" * 90, final=True), rsv1=True)
        server = codec.server(max_message_size=100, inflater=inflater(context_takeover=False))
        assert feed(server, frame * 3) == [b"x" * 90] * 3

    def test_wire_size_is_limited_on_the_header(self, codec: Codec) -> None:
        server = codec.server(max_message_size=100, inflater=inflater())
        refused(server, encode_header(0xC2, deflated_bound(100, 1) + 1, MASKED), 1009, "100 bytes")

    @pytest.mark.parametrize(("level", "memory"), [(0, 8), (1, 1), (6, 1), (6, 8), (9, 9)])
    @pytest.mark.parametrize("size", [1, 100, 4096, 50_000])
    def test_what_does_not_compress_may_be_as_long_as_the_limit(
        self, codec: Codec, size: int, level: int, memory: int
    ) -> None:
        noise = random.Random(size).randbytes(size)
        stream = zlib.compressobj(level, zlib.DEFLATED, -9, memory)
        whole = stream.compress(noise) + stream.flush(zlib.Z_SYNC_FLUSH)
        assert len(whole) > size
        parts = b""
        for position in range(0, size, 100):
            part = stream.compress(noise[position : position + 100]) + stream.flush(zlib.Z_SYNC_FLUSH)
            parts += masked(CONTINUATION if position else BINARY, part, rsv1=not position, fin=False)
        parts += masked(CONTINUATION, b"\x00")
        server = codec.server(max_message_size=size, inflater=inflater())
        assert feed(server, masked(BINARY, whole[:-4], rsv1=True) + parts) == [noise, noise]

    @pytest.mark.slow
    def test_a_bomb_is_1009_and_costs_little_memory(self, codec: Codec) -> None:
        frame = masked(BINARY, deflater().deflate(bytes(64 << 20), final=True), rsv1=True)
        server = codec.server(inflater=inflater())
        out: list[Any] = []
        with traced_memory():
            server.decode(frame, out, PLENTY, PLENTY)
            _, peak = tracemalloc.get_traced_memory()
        assert [item.code for item in out] == [1009]
        assert peak < 8 << 20

    @pytest.mark.parametrize("rest", [b"", b"\x00\x01"])
    def test_corrupt_data_is_1007(self, codec: Codec, rest: bytes) -> None:
        refused(codec.server(inflater=inflater()), masked(TEXT, b"\xff\xff" + rest, rsv1=True), 1007, "inflated")

    def test_wrong_text_within_compressed_data_is_1007(self, codec: Codec) -> None:
        data = deflater().deflate(b"ok\xff", final=True)
        refused(codec.server(inflater=inflater()), masked(TEXT, data, rsv1=True), 1007, "UTF-8")

    def test_wrong_compressed_text_is_1007_before_its_message_ends(self, codec: Codec) -> None:
        data = deflater().deflate(b"ok\xff", final=True)
        server = codec.server(inflater=inflater())
        refused(server, masked(TEXT, data, rsv1=True, fin=False), 1007, "UTF-8")

    def test_streaming_inflates_as_it_comes(self, codec: Codec) -> None:
        text = "grüße €" * 500
        frame = masked(TEXT, deflater().deflate(text.encode(), final=True), rsv1=True)
        server = codec.server(inflater=inflater())
        server.stream_next()
        assert joined(feed_bytewise(server, frame)) == text
        assert not server.failed


class TestKeepsNothing:
    @pytest.mark.parametrize("cut", [1, 3, 7, 10, 40])
    def test_no_reference_to_the_buffer_is_kept(self, codec: Codec, cut: int) -> None:
        """A bytearray that somebody holds a view of cannot be resized."""
        for decoder, frame in ((codec.server(), masked), (codec.client(), plain)):
            stream = frame(TEXT, b"a") + frame(BINARY, b"x" * 300) + frame(PING, b"p" * 50)
            buffer = bytearray(stream[:-cut])
            out: list[Any] = []
            decoder.decode(buffer, out, PLENTY, PLENTY)
            buffer.clear()
            decoder.decode(memoryview(stream)[-cut:], out, PLENTY, PLENTY)
            assert out == ["a", b"x" * 300, Ping(b"p" * 50)]


def holds_less(work: Callable[[], None], most: int) -> bool:
    """Return whether work holds fewer bytes at once: in one of three tries, as other threads allocate, too."""
    for _ in range(3):
        with traced_memory():
            work()
            peak = tracemalloc.get_traced_memory()[1]
        if peak < most:
            return True
    return False


def calls_made(work: Any) -> int:
    """Count the calls, of Python and of C functions, that `work` makes."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def bytewise_message(opcode: int, size: int) -> tuple[bytes, list[int]]:
    frame = masked(opcode, b"x" * size)
    return frame, [1] * len(frame)


def tiny_fragments(opcode: int, count: int) -> tuple[bytes, list[int]]:
    middle = masked(CONTINUATION, b"x", fin=False) * (count - 2)
    return masked(opcode, b"x", fin=False) + middle + masked(CONTINUATION, b"x"), []


class TestCost:
    """The work is linear in the bytes, counted: calls, and the bytes that the expensive ones are given."""

    @pytest.mark.slow
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @pytest.mark.parametrize("make", [bytewise_message, tiny_fragments])
    def test_calls_grow_with_the_bytes(self, codec: Codec, make: Any, opcode: int) -> None:
        def cost(size: int) -> int:
            decoder = codec.server(max_fragments=65_536)
            return calls_made(lambda: feed(decoder, *make(opcode, size)))

        assert cost(1_200) < 4.2 * cost(300)

    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @pytest.mark.parametrize("make", [bytewise_message, tiny_fragments])
    def test_each_byte_is_unmasked_decoded_and_gathered_once(
        self, codec: Codec, monkeypatch: pytest.MonkeyPatch, make: Any, opcode: int
    ) -> None:
        """Each byte is unmasked once decoded once and gathered once."""
        given = {"unmasked": 0, "decoded": 0, "gathered": 0, "taken": 0}
        unmask, decode = internal(codec.decoder, "_apply_mask"), assembler.utf_8_decode

        def count_unmask(payload: bytes, key: bytes) -> bytes:
            given["unmasked"] += len(payload)
            return unmask(payload, key)

        def count_decode(data: bytes, errors: str, final: bool) -> tuple[str, int]:
            given["decoded"] += len(data)
            return decode(data, errors, final)

        class CountingText(StringIO):
            def write(self, text: str, /) -> int:
                given["gathered"] += len(text)
                return super().write(text)

            def getvalue(self) -> str:
                given["taken"] += 1
                return super().getvalue()

        class CountingBytes(bytearray):
            def __iadd__(self, part: Any) -> Any:
                given["gathered"] += len(part)
                return super().__iadd__(part)

            def __bytes__(self) -> bytes:
                given["taken"] += 1
                return bytes(memoryview(self))

        monkeypatch.setattr(codec.decoder, "_apply_mask", staticmethod(count_unmask))
        monkeypatch.setattr(assembler, "utf_8_decode", count_decode)
        monkeypatch.setattr(assembler, "StringIO", CountingText)
        monkeypatch.setattr(assembler, "bytearray", CountingBytes, raising=False)
        (message,) = feed(codec.server(max_fragments=65_536), *make(opcode, 3_000))
        assert len(message) == 3_000
        assert given.pop("decoded") <= (3_000 if opcode == TEXT else 0)
        assert given == {"unmasked": 3_000, "gathered": 3_000, "taken": 1}

    @pytest.mark.slow
    def test_a_flood_of_fragments_is_gathered_in_one_buffer(self, codec: Codec) -> None:
        """10,000 fragments of one character hold no 10,000 objects, of 50 bytes each."""
        stream, _ = tiny_fragments(TEXT, 10_000)

        def decode() -> None:
            out: list[Any] = []
            codec.server(max_fragments=65_536).decode(stream, out, PLENTY, PLENTY)
            assert out == ["x" * 10_000]

        assert holds_less(decode, 200_000)

    def test_a_length_reserves_no_memory(self, codec: Codec) -> None:
        def decode() -> None:
            decoder = codec.server(max_message_size=1 << 40)
            feed(decoder, encode_header(0x82, 1 << 39, MASKED) + KEY + b"xyz")
            assert not decoder.failed

        assert holds_less(decode, 1 << 16)


@pytest.mark.parametrize(
    "before",
    [
        masked(TEXT, b"a", fin=False),
        masked(BINARY, bytes(100))[:50],
        masked(TEXT, b"a")[:1],
        masked(CLOSE, b""),
        masked(CONTINUATION, b""),
        None,
    ],
    ids=["in a message", "in a payload", "in a header", "closed", "failed", "streamed"],
)
def test_a_frame_that_is_not_alone_is_no_whole_message(server: Any, before: bytes | None) -> None:
    """`decode_whole` takes nothing where the frame belongs to something else, though the bytes look like a message."""
    out: list[Any] = []
    assert server.decode_whole(masked(TEXT, b"x"), out, 9, PLENTY) == len(masked(TEXT, b"x"))
    if before is None:
        server.stream_next()
    else:
        feed(server, before)
    assert server.decode_whole(masked(TEXT, b"y"), out, 9, PLENTY) == 0
    assert out == ["x"]
