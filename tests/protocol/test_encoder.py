"""The encoder's contract: which frames it makes, what it refuses, and that a refusal changes nothing."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from codec_helpers import Codec, deflater, feed, inflater, plain

from trio_ws.errors import LocalProtocolError
from trio_ws.protocol.deflate import DEFLATED_AT_ONCE
from trio_ws.protocol.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, RSV1, TEXT
from trio_ws.protocol.items import CloseConnection, Ping, Pong


@pytest.fixture
def server(codec: Codec) -> Any:
    return codec.encoder(client=False)


@pytest.fixture
def client(codec: Codec) -> Any:
    return codec.encoder(client=True)


class TestMessage:
    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
    def test_str_is_a_text_frame_and_bytes_a_binary_frame(self, server: Any, size: int) -> None:
        assert server.message("x" * size) == plain(TEXT, b"x" * size)
        assert server.message(b"x" * size) == plain(BINARY, b"x" * size)

    @pytest.mark.parametrize("size", [5, 500])
    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer_is_a_binary_frame_of_bytes(self, server: Any, kind: type, size: int) -> None:
        frame = server.message(kind(b"x" * size))
        assert type(frame) is bytes
        assert frame == plain(BINARY, b"x" * size)

    def test_a_memoryview_is_taken_as_its_bytes(self, server: Any) -> None:
        assert server.message(memoryview(b"abcdefgh").cast("I")) == plain(BINARY, b"abcdefgh")
        assert server.message(memoryview(b"abcdef")[::2]) == plain(BINARY, b"ace")

    def test_text_is_sent_as_utf_8_and_counted_in_bytes(self, server: Any) -> None:
        assert server.message("ü" * 63) == plain(TEXT, "ü".encode() * 63)

    @pytest.mark.parametrize("data", ["text", b"binary", "x" * 70_000, ""])
    def test_a_client_masks_with_a_new_key_each_time(self, codec: Codec, client: Any, data: Any) -> None:
        first, second = client.message(data), client.message(data)
        key_at = {4: 2, 6: 2, 70_000: 10, 0: 2}[len(data)]
        assert first[1] & second[1] & 0x80
        assert first[key_at : key_at + 4] != second[key_at : key_at + 4]
        assert feed(codec.server(), first + second) == [data, data]

    @pytest.mark.parametrize("data", [None, 1, ["x"], object()])
    def test_another_type_is_a_type_error_that_names_it(self, server: Any, data: Any) -> None:
        with pytest.raises(TypeError, match=type(data).__name__):
            server.message(data)

    @pytest.mark.parametrize("is_client", [False, True])
    def test_text_that_cannot_be_encoded_raises_and_moves_nothing(self, codec: Codec, is_client: bool) -> None:
        """Neither the compressor nor the supply of keys: the frames before and after fit together."""
        encoder = codec.encoder(client=is_client, deflater=deflater())
        before = encoder.message("the same text " * 20)
        with pytest.raises(UnicodeEncodeError):
            encoder.message("the other text " * 20 + "\ud800")
        with pytest.raises(UnicodeEncodeError):
            encoder.fragment("the other text " * 20 + "\ud800", first=True, final=False)
        after = encoder.message("the other text " * 20)
        decoder = codec.decoder(client=not is_client, max_message_size=1 << 20, max_fragments=9, inflater=inflater())
        assert feed(decoder, before + after) == ["the same text " * 20, "the other text " * 20]

    def test_no_message_between_the_fragments_of_another(self, server: Any) -> None:
        server.fragment("a", first=True, final=False)
        with pytest.raises(LocalProtocolError, match="before the last fragment"):
            server.message("b")
        assert server.fragment("c", first=False, final=True) == plain(CONTINUATION, b"c")
        assert server.message("b") == plain(TEXT, b"b")


class TestFragment:
    def test_the_first_has_the_opcode_and_the_last_has_fin(self, server: Any) -> None:
        assert server.fragment("a", first=True, final=False) == plain(TEXT, b"a", fin=False)
        assert server.fragment("b", first=False, final=False) == plain(CONTINUATION, b"b", fin=False)
        assert server.fragment("", first=False, final=True) == plain(CONTINUATION, b"")

    def test_bytes_are_a_binary_message(self, server: Any) -> None:
        assert server.fragment(b"a", first=True, final=False) == plain(BINARY, b"a", fin=False)
        assert server.fragment(bytearray(b"b"), first=False, final=True) == plain(CONTINUATION, b"b")

    def test_one_fragment_is_a_whole_message(self, server: Any) -> None:
        assert server.fragment("a", first=True, final=True) == plain(TEXT, b"a")
        assert server.message("b") == plain(TEXT, b"b")

    def test_a_client_masks_each_fragment(self, codec: Codec, client: Any) -> None:
        stream = client.fragment(b"a", first=True, final=False) + client.fragment(b"b", first=False, final=True)
        assert feed(codec.server(), stream) == [b"ab"]

    def test_control_frames_may_go_between(self, codec: Codec, server: Any) -> None:
        stream = server.fragment("a", first=True, final=False) + server.ping(b"p")
        stream += server.fragment("b", first=False, final=True)
        assert feed(codec.client(), stream) == [Ping(b"p"), "ab"]

    def test_a_message_is_of_one_kind(self, server: Any) -> None:
        server.fragment("a", first=True, final=False)
        with pytest.raises(TypeError, match="all str, or all bytes"):
            server.fragment(b"b", first=False, final=True)
        assert server.fragment("b", first=False, final=True) == plain(CONTINUATION, b"b")

    def test_a_fragment_that_continues_nothing_is_refused(self, server: Any) -> None:
        with pytest.raises(LocalProtocolError, match="continues no message"):
            server.fragment("a", first=False, final=True)
        assert server.message("a") == plain(TEXT, b"a")

    def test_a_second_first_fragment_is_refused(self, server: Any) -> None:
        server.fragment("a", first=True, final=False)
        with pytest.raises(LocalProtocolError, match="new message"):
            server.fragment("a", first=True, final=False)

    def test_a_fragment_of_another_type_is_a_type_error(self, server: Any) -> None:
        with pytest.raises(TypeError, match="int"):
            server.fragment(5, first=True, final=True)


class TestCompression:
    @pytest.fixture
    def squeezing(self, codec: Codec) -> Any:
        return codec.encoder(client=False, deflater=deflater(threshold=10))

    def test_message_above_threshold_has_rsv1_and_raw_deflate(self, squeezing: Any) -> None:
        """A message from the threshold on has RSV1 and a raw deflate stream."""
        frame = squeezing.message(b"0123456789")
        assert frame[0] == 0xC2
        inflate = zlib.decompressobj(-15)
        assert inflate.decompress(frame[2:] + b"\x00\x00\xff\xff") == b"0123456789"

    def test_a_message_below_the_threshold_is_sent_as_it_is(self, squeezing: Any) -> None:
        assert squeezing.message(b"012345678") == plain(BINARY, b"012345678")

    def test_the_threshold_is_in_bytes(self, squeezing: Any) -> None:
        assert squeezing.message("ü" * 4)[0] & RSV1 == 0
        assert squeezing.message("ü" * 5)[0] & RSV1

    def test_rsv1_is_on_the_first_fragment_alone(self, codec: Codec, squeezing: Any) -> None:
        frames = [
            squeezing.fragment("x" * 10, first=True, final=False),
            squeezing.fragment("y", first=False, final=False),
            squeezing.fragment("", first=False, final=True),
        ]
        assert [frame[0] for frame in frames] == [0x41, 0x00, 0x80]
        assert feed(codec.client(inflater=inflater()), b"".join(frames)) == ["x" * 10 + "y"]

    def test_the_first_fragment_decides_for_the_whole_message(self, codec: Codec, squeezing: Any) -> None:
        frames = [
            squeezing.fragment("x", first=True, final=False),
            squeezing.fragment("y" * 10, first=False, final=True),
        ]
        assert frames == [plain(TEXT, b"x", fin=False), plain(CONTINUATION, b"y" * 10)]
        assert feed(codec.client(inflater=inflater()), b"".join(frames)) == ["x" + "y" * 10]

    def test_control_frames_are_never_compressed(self, squeezing: Any) -> None:
        assert squeezing.ping(b"p" * 100) == plain(PING, b"p" * 100)
        assert squeezing.close(1000, "r" * 100) == plain(CLOSE, b"\x03\xe8" + b"r" * 100)


class TestControl:
    @pytest.mark.parametrize("size", [0, 1, 125])
    def test_ping_and_pong_carry_up_to_125_bytes(self, server: Any, size: int) -> None:
        assert server.ping(b"x" * size) == plain(PING, b"x" * size)
        assert server.pong(b"x" * size) == plain(PONG, b"x" * size)

    def test_the_payload_is_empty_by_default(self, server: Any) -> None:
        assert server.ping() == plain(PING, b"")
        assert server.pong() == plain(PONG, b"")

    def test_a_client_masks_them(self, codec: Codec, client: Any) -> None:
        stream = client.ping(b"x") + client.pong(b"y") + client.close(1000, "z")
        assert feed(codec.server(), stream) == [Ping(b"x"), Pong(b"y"), CloseConnection(1000, "z")]

    @pytest.mark.parametrize("name", ["ping", "pong"])
    def test_126_bytes_are_a_value_error(self, server: Any, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} is at most 125 bytes, not 126"):
            getattr(server, name)(b"x" * 126)

    @pytest.mark.parametrize("name", ["ping", "pong"])
    @pytest.mark.parametrize("payload", ["text", 3, None])
    def test_a_payload_that_is_not_bytes_is_a_type_error(self, server: Any, name: str, payload: Any) -> None:
        with pytest.raises(TypeError, match=f"{name} is bytes, not {type(payload).__name__}"):
            getattr(server, name)(payload)

    def test_a_size_is_in_bytes_not_in_elements(self, server: Any) -> None:
        with pytest.raises(ValueError, match="not 128"):
            server.ping(memoryview(bytes(128)).cast("I"))


class TestClose:
    def test_code_and_reason(self, server: Any) -> None:
        assert server.close(1001, "going ä") == plain(CLOSE, b"\x03\xe9" + "going ä".encode())

    def test_1005_is_an_empty_frame(self, server: Any) -> None:
        assert server.close(1005, "") == plain(CLOSE, b"")

    @pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 2999, 5000, 70_000, -1])
    def test_a_code_that_may_not_be_sent_is_a_value_error(self, server: Any, code: int) -> None:
        with pytest.raises(ValueError, match=str(code)):
            server.close(code, "")

    def test_1005_with_a_reason_is_a_value_error(self, server: Any) -> None:
        with pytest.raises(ValueError, match="1005"):
            server.close(1005, "why")

    def test_a_reason_of_123_bytes_fits_and_124_are_a_value_error(self, server: Any) -> None:
        assert len(server.close(1000, "r" * 123)) == 2 + 125
        with pytest.raises(ValueError, match="124"):
            server.close(1000, "ü" * 62)

    def test_a_reason_that_cannot_be_encoded_raises(self, server: Any) -> None:
        with pytest.raises(UnicodeEncodeError):
            server.close(1000, "\udfff")


def test_message_deflated_in_steps_may_be_overtaken(codec: Codec) -> None:
    """Another message has moved the context meanwhile: the work is done again, and both can be read."""
    encoder = codec.encoder(client=False, deflater=deflater())
    large = bytes(range(256)) * 1000
    first = encoder.message("first")
    deflating = encoder.begin(large)
    assert deflating is not None
    while deflating.step():
        pass
    other = encoder.message("other")
    frames = first + other + encoder.end(deflating, text=False) + encoder.message("last")
    assert feed(codec.client(inflater=inflater()), frames) == ["first", "other", large, "last"]


@pytest.mark.parametrize(("threshold", "least"), [(0, DEFLATED_AT_ONCE + 1), (50_000, 50_000)])
def test_steps_are_for_what_is_large_and_compressed(codec: Codec, threshold: int, least: int) -> None:
    encoder = codec.encoder(client=False, deflater=deflater(threshold=threshold))
    for data in (bytes(least), "x" * least, "ü" * ((least + 1) // 2)):
        assert encoder.begin(data[:-1]) is None
        assert encoder.begin(data) is not None
    assert codec.encoder(client=False).begin(bytes(least)) is None
