"""Property tests of the frame codec: round trips, wsproto as the oracle, arbitrary cuts, arbitrary bytes."""

from __future__ import annotations

from typing import Any

import pytest
from codec_helpers import (
    CONTROLS,
    KEY,
    MAX_FRAGMENTS,
    PLENTY,
    Codec,
    conversations,
    deflater,
    encode,
    feed,
    inflater,
    meaning,
    pieces,
    wire_size,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from trio_ws.protocol.events import ViolationEvent
from trio_ws.protocol.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, encode_frame
from trio_ws.protocol.items import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from trio_ws.testing.strategies import damaged, read_sizes

FEWER = settings(max_examples=max(1, settings.default.max_examples // 2))
"""For what takes long, and runs for several codecs and extensions; `make properties` tries more."""

# --- the oracle ---


def oracle(*, client: bool, deflate: str | None = None) -> FrameProtocol:
    """Return wsproto's codec for one side, with permessage-deflate as agreed in `deflate` if given."""
    extensions = []
    if deflate is not None:
        resets = not AGREED[deflate]
        extension = PerMessageDeflate(client_no_context_takeover=resets, server_no_context_takeover=resets)
        if client:
            extension.finalize(deflate)
        else:
            extension.accept(deflate)
        extensions.append(extension)
    return FrameProtocol(client, extensions)


def oracle_items(protocol: FrameProtocol, data: bytes, sizes: list[int]) -> list[Any]:
    """Return what wsproto makes of these bytes, as our items; a refusal is its code alone."""
    items: list[Any] = []
    parts: list[Any] = []
    for piece in pieces(data, sizes):
        protocol.receive_bytes(piece)
        try:
            for frame in protocol.received_frames():
                match frame.opcode:
                    case Opcode.PING:
                        items.append(Ping(bytes(frame.payload)))
                    case Opcode.PONG:
                        items.append(Pong(bytes(frame.payload)))
                    case Opcode.CLOSE:
                        return [*items, CloseConnection(int(frame.payload[0]), frame.payload[1])]
                    case _:
                        parts.append(frame.payload)
                        if frame.message_finished:
                            items.append("".join(parts) if isinstance(parts[0], str) else b"".join(parts))
                            parts = []
        except ParseFailed as error:
            return [*items, int(error.code)]
    return items


def oracle_encode(protocol: FrameProtocol, steps: list[Any]) -> bytes:
    """Return the bytes that wsproto makes of a conversation."""
    stream = b""
    for step in steps:
        match step:
            case (data, _, final):
                stream += protocol.send_data(data, fin=final)
            case Ping(payload):
                stream += protocol.ping(payload)
            case Pong(payload):
                stream += protocol.pong(payload)
            case CloseConnection(1005, _):
                stream += protocol.close()
            case CloseConnection(code, reason):
                stream += protocol.close(code, reason)
    return stream


def codes(items: list[Any]) -> list[Any]:
    """Return our items with the code alone of a violation."""
    return [item.code if isinstance(item, ViolationEvent) else item for item in items]


def without_inner_controls(steps: list[Any]) -> list[Any]:
    """Leave out the control frames between fragments.

    wsproto 1.3 takes such a frame for the end of a compressed message, and reads the rest as it is.
    """
    kept: list[Any] = []
    inside = False
    for step in steps:
        if isinstance(step, tuple):
            inside = not step[2]
        elif inside:
            continue
        kept.append(step)
    return kept


ROLES = st.booleans()
AGREED = {
    None: True,
    "permessage-deflate": True,
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover": False,
}
"""What was agreed, and whether context is taken over."""


class TestConversations:
    """What one side sends is what the other reads, however the bytes are cut."""

    @given(steps=conversations(), client=ROLES, sizes=read_sizes())
    @example(steps=[("x" * 65_536, True, True)], client=True, sizes=[1] * 20)
    def test_our_encoder_to_our_decoder(self, codec: Codec, steps: list[Any], client: bool, sizes: list[int]) -> None:
        stream = encode(codec.encoder(client=client), steps)
        decoder = codec.server() if client else codec.client()
        assert feed(decoder, stream, sizes) == meaning(steps)

    @FEWER
    @given(steps=conversations(), client=ROLES, sizes=read_sizes(), context_takeover=st.booleans())
    def test_our_encoder_to_our_decoder_compressed(
        self, codec: Codec, steps: list[Any], client: bool, sizes: list[int], context_takeover: bool
    ) -> None:
        squeeze = deflater(context_takeover=context_takeover, threshold=20)
        stream = encode(codec.encoder(client=client, deflater=squeeze), steps)
        make = codec.server if client else codec.client
        decoder = make(inflater=inflater(context_takeover=context_takeover))
        assert feed(decoder, stream, sizes) == meaning(steps)

    @pytest.mark.parametrize("agreed", AGREED)
    @FEWER
    @given(steps=conversations(), client=ROLES, sizes=read_sizes())
    def test_our_encoder_to_wsproto(
        self, codec: Codec, agreed: str | None, steps: list[Any], client: bool, sizes: list[int]
    ) -> None:
        squeeze = None
        if agreed is not None:
            squeeze = deflater(context_takeover=AGREED[agreed])
            steps = without_inner_controls(steps)
        stream = encode(codec.encoder(client=client, deflater=squeeze), steps)
        assert oracle_items(oracle(client=not client, deflate=agreed), stream, sizes) == meaning(steps)

    @pytest.mark.parametrize("agreed", AGREED)
    @FEWER
    @given(steps=conversations(), client=ROLES, sizes=read_sizes())
    def test_wsproto_to_our_decoder(
        self, codec: Codec, agreed: str | None, steps: list[Any], client: bool, sizes: list[int]
    ) -> None:
        stream = oracle_encode(oracle(client=client, deflate=agreed), steps)
        make = codec.server if client else codec.client
        decoder = make(inflater=None if agreed is None else inflater(context_takeover=AGREED[agreed]))
        assert feed(decoder, stream, sizes) == meaning(steps)


# --- frames that need not be right ---

# No text that ends in the first two bytes of a surrogate: wsproto waits for the third, we do not.
PAYLOADS = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"\xff", b"\xc3", b"\xa4", b"\xe2\x82", b"\x03\xe8", b"\x03\xe8ok", b"\x03", b"\x03\xed", b""]),
    st.integers(120, 130).map(b"x".__mul__),
)


@st.composite
def frames(draw: st.DrawFn, *, client: bool) -> bytes:
    """Draw one frame, mostly right: a client's is masked."""
    opcode = draw(st.sampled_from([TEXT, BINARY, CONTINUATION, CONTINUATION, PING, CLOSE, *range(16)]))
    right_mask = draw(st.integers(0, 15)) > 0
    frame = encode_frame(
        opcode,
        draw(PAYLOADS),
        fin=draw(st.booleans()),
        rsv1=draw(st.integers(0, 15)) == 0,
        mask=KEY if client is right_mask else None,
    )
    return bytes([frame[0] | draw(st.sampled_from([0] * 14 + [0x10, 0x20]))]) + frame[1:]


@st.composite
def frame_streams(draw: st.DrawFn) -> tuple[bool, bytes]:
    client = draw(ROLES)
    return client, b"".join(draw(st.lists(frames(client=client), max_size=8)))


@st.composite
def damaged_streams(draw: st.DrawFn) -> tuple[bool, bool, bytes]:
    """Draw who sent a right stream, whether compressed, and the stream after some bytes changed."""
    client, compressed = draw(ROLES), draw(st.booleans())
    steps = draw(conversations())
    protocol = oracle(client=client, deflate="permessage-deflate" if compressed else None)
    return client, compressed, draw(damaged(oracle_encode(protocol, steps)[:2000]))


def read(codec: Codec, client: bool, stream: bytes, sizes: list[int], *, compressed: bool = False) -> list[Any]:
    """Return what the side that faces `client` makes of these bytes."""
    make = codec.server if client else codec.client
    decoder = make(max_message_size=5000, max_fragments=5, inflater=inflater() if compressed else None)
    items = feed(decoder, stream, sizes)
    assert all(not isinstance(item, ViolationEvent | CloseConnection) for item in items[:-1])
    assert decoder.failed is bool(items and isinstance(items[-1], ViolationEvent))
    assert decoder.closed is bool(items and isinstance(items[-1], CloseConnection))
    return items


class TestBrokenFrames:
    @given(drawn=frame_streams(), sizes=read_sizes())
    def test_wsproto_refuses_what_we_refuse_with_the_same_code(
        self, codec: Codec, drawn: tuple[bool, bytes], sizes: list[int]
    ) -> None:
        client, stream = drawn
        decoder = codec.server() if client else codec.client()
        ours = codes(feed(decoder, stream, sizes))
        theirs = oracle_items(oracle(client=not client), stream, sizes)
        assert ours == theirs

    @given(stream=st.binary(max_size=200), client=ROLES, sizes=read_sizes(), compressed=st.booleans())
    def test_arbitrary_bytes_never_raise(
        self, codec: Codec, stream: bytes, client: bool, sizes: list[int], compressed: bool
    ) -> None:
        read(codec, client, stream, sizes, compressed=compressed)

    @given(drawn=damaged_streams(), sizes=read_sizes())
    def test_damaged_streams_never_raise(self, codec: Codec, drawn: tuple[bool, bool, bytes], sizes: list[int]) -> None:
        client, compressed, stream = drawn
        read(codec, client, stream, sizes, compressed=compressed)


class TestCuts:
    """What comes of a stream does not depend on how it is cut."""

    @given(drawn=frame_streams(), sizes=read_sizes(), tail=st.binary(max_size=20))
    def test_frames(self, codec: Codec, drawn: tuple[bool, bytes], sizes: list[int], tail: bytes) -> None:
        client, stream = drawn
        whole = read(codec, client, stream + tail, [])
        assert read(codec, client, stream + tail, sizes) == whole
        assert read(codec, client, stream + tail, [1] * len(stream + tail)) == whole

    @given(drawn=damaged_streams(), sizes=read_sizes())
    @pytest.mark.slow
    def test_damaged_streams(self, codec: Codec, drawn: tuple[bool, bool, bytes], sizes: list[int]) -> None:
        """But if a compressed message is wrong in two ways, the one that is seen first depends on how much is
        inflated at once: then only that it is refused is the same."""
        client, compressed, stream = drawn
        whole = read(codec, client, stream, [], compressed=compressed)
        cut = read(codec, client, stream, sizes, compressed=compressed)
        if compressed and whole and isinstance(whole[-1], ViolationEvent):
            assert isinstance(cut[-1], ViolationEvent)
            assert cut[:-1] == whole[:-1]
        else:
            assert cut == whole


class TestPauses:
    @given(
        steps=conversations(),
        client=ROLES,
        max_items=st.integers(1, 5),
        max_bytes=st.one_of(st.integers(0, 100), st.just(PLENTY)),
        sizes=read_sizes(),
    )
    @pytest.mark.slow
    def test_pausing_anywhere_gives_the_same_items(
        self,
        *,
        codec: Codec,
        steps: list[Any],
        client: bool,
        max_items: int,
        max_bytes: int,
        sizes: list[int],
    ) -> None:
        """And each pause comes right after the item that reaches a bound."""
        stream = encode(codec.encoder(client=client), steps)
        decoder = codec.server() if client else codec.client()
        items: list[Any] = []
        for piece in pieces(stream, sizes):
            rest = memoryview(piece)
            while rest:
                out: list[Any] = []
                consumed = decoder.decode(rest, out, max_items, max_bytes)
                assert 0 < consumed <= len(rest)
                paused = consumed < len(rest)
                counts = [
                    count >= max_items or sum(map(wire_size, out[:count])) >= max_bytes
                    for count in range(1, len(out) + 1)
                ]
                assert not any(counts[:-1])
                assert not paused or counts[-1]
                items += out
                rest = rest[consumed:]
        assert items == meaning(steps)

    @FEWER
    @given(steps=conversations(), client=ROLES)
    @pytest.mark.slow
    def test_every_bound_gives_the_same_items(self, codec: Codec, steps: list[Any], client: bool) -> None:
        stream = encode(codec.encoder(client=client), steps)
        total = sum(map(wire_size, meaning(steps)))
        bounds = [(count, PLENTY) for count in range(1, len(steps) + 2)]
        bounds += [(PLENTY, size) for size in range(0, min(total, 60) + 2)]
        for max_items, max_bytes in bounds:
            decoder = codec.server() if client else codec.client()
            out: list[Any] = []
            position = 0
            while position < len(stream):
                position += decoder.decode(stream[position:], out, max_items, max_bytes)
            assert out == meaning(steps)


class TestStreams:
    @given(
        steps=conversations(),
        client=ROLES,
        sizes=read_sizes(),
        compressed=st.booleans(),
        asks=st.sets(st.integers(0, 40), max_size=6),
    )
    def test_asking_for_a_stream_at_any_time_loses_nothing(
        self,
        *,
        codec: Codec,
        steps: list[Any],
        client: bool,
        sizes: list[int],
        compressed: bool,
        asks: set[int],
    ) -> None:
        """Chunks joined are the messages; they end with `message_finished`; only the last may be empty."""
        stream = encode(codec.encoder(client=client, deflater=deflater() if compressed else None), steps)
        make = codec.server if client else codec.client
        decoder = make(max_fragments=MAX_FRAGMENTS, inflater=inflater() if compressed else None)
        items: list[Any] = []
        for index, piece in enumerate(pieces(stream, sizes)):
            chunk = decoder.stream_next() if index in asks else None
            if chunk is not None:
                items.append(chunk)
            decoder.decode(piece, items, PLENTY, PLENTY)
        data: list[Any] = []
        parts: list[Any] = []
        for item in items:
            match item:
                case TextMessage() | BytesMessage():
                    parts.append(item.data)
                    assert item.data or item.message_finished
                    if item.message_finished:
                        data.append(type(item.data)().join(parts))
                        parts = []
                case str() | bytes():
                    assert not parts
                    data.append(item)
        expected = [item for item in meaning(steps) if isinstance(item, str | bytes)]
        assert data == expected
        assert not parts
        assert [item for item in items if isinstance(item, Ping | Pong)] == [
            step for step in steps if isinstance(step, Ping | Pong)
        ]


@given(control=CONTROLS, sizes=read_sizes())
def test_a_pong_answers_a_ping_with_its_payload(codec: Codec, control: Ping | Pong, sizes: list[int]) -> None:
    stream = codec.encoder(client=True).pong(control.payload)
    assert feed(codec.server(), stream, sizes) == [Pong(control.payload)]
