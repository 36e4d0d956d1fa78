"""A prepared message is encoded once for all encoders that make the same of it, and rightly for the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.config import Limits
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.protocol.decoder import Decoder
from trio_ws.protocol.encoder import Encoder
from trio_ws.protocol.negotiation import DeflateSettings


def deflate(*, context: bool = False, level: int = 6, window: int = 12) -> DeflateSettings:
    return DeflateSettings(
        send_window_bits=window,
        send_context=context,
        receive_window_bits=window,
        receive_context=context,
        level=level,
        threshold=16,
    )


class Connection:
    """An encoder, and the decoder of its peer."""

    def __init__(self, *, client: bool = False, settings: DeflateSettings | None = None) -> None:
        self.encoder = Encoder(client=client, deflater=settings.deflater() if settings else None)
        limits = Limits()
        self.decoder = Decoder(
            client=not client,
            max_message_size=limits.max_message_size,
            max_fragments=limits.max_fragments,
            inflater=settings.inflater() if settings else None,
        )

    def receives(self, prepared: PreparedMessage) -> object:
        items: list[object] = []
        frame = prepared.frame(self.encoder)
        assert self.decoder.decode(memoryview(frame), items, 10, 10**6) == len(frame)  # type: ignore[arg-type]
        (item,) = items
        return item


def one_of_each() -> list[Connection]:
    return [
        Connection(),
        Connection(client=True),
        Connection(settings=deflate()),
        Connection(settings=deflate(level=1)),
        Connection(settings=deflate(window=15)),
        Connection(settings=deflate(context=True)),
        Connection(client=True, settings=deflate()),
    ]


LARGE = st.sampled_from(
    [f"again and again {number} " * 300 for number in (1, 2)] + ["much " * 9000, b"\1\2\3" * 50_000]
)


@pytest.mark.slow
@given(st.lists(st.text() | st.binary() | st.just("again and again " * 5) | LARGE, max_size=6))
def test_peers_with_any_settings_read_the_published_message(messages: list[str | bytes]) -> None:
    """Every peer reads what was published whatever its settings."""
    connections = one_of_each() + one_of_each()
    for message in messages:
        prepared = PreparedMessage(message)
        for connection in connections:
            assert connection.receives(prepared) == message


@pytest.mark.parametrize("text", ["short", "long enough to be compressed"])
def test_servers_with_the_same_settings_share_one_frame(text: str) -> None:
    prepared = PreparedMessage(text)
    for settings in (None, deflate()):
        one, two = Connection(settings=settings), Connection(settings=settings)
        assert prepared.frame(one.encoder) is prepared.frame(two.encoder)
    shared = prepared.frame(Connection(settings=deflate()).encoder) is prepared.frame(Connection().encoder)
    assert shared == (text == "short"), "what is not compressed is the same for those who compress"


def test_masked_frames_and_frames_in_a_context_are_never_shared() -> None:
    prepared = PreparedMessage("long enough to be compressed")
    for connection in (Connection(client=True), Connection(settings=deflate(context=True))):
        first, second = prepared.frame(connection.encoder), prepared.frame(connection.encoder)
        assert first != second


def test_the_size_is_that_of_the_encoded_message() -> None:
    assert (PreparedMessage("äöü").size, PreparedMessage(b"abc").size, PreparedMessage([1]).size) == (6, 3, 3)


@pytest.mark.parametrize("size", [20_000, 60_000, 200_000])
@pytest.mark.parametrize("context", [False, True])
def test_what_is_deflated_where_it_is_sent_has_a_bound(size: int, context: bool) -> None:
    """Of all kinds together; beyond it members are sent the message uncompressed, and all of them one frame."""
    members = [Connection(settings=deflate(context=context, window=window)) for window in range(8, 16)]
    members += [Connection(settings=deflate(context=context, level=level)) for level in range(1, 6)]
    prepared = PreparedMessage("x" * size)
    frames = {id(frame): frame for frame in [prepared.frame(member.encoder) for member in members]}
    compressed = [frame for frame in frames.values() if frame[0] & 0x40]
    assert len(compressed) == 64 * 1024 // size
    assert len(frames) == len(compressed) + 1


@pytest.mark.parametrize("window", range(8, 16))
def test_a_context_goes_on_behind_a_message_for_many(window: int) -> None:
    """It has the end of that message: the next one that repeats it is small."""
    member = Connection(settings=deflate(context=True, window=window))
    text = "".join(f"{number:x}" for number in range(5000))
    end = text[-200:]
    for message in ("first " * 9, text, end, end * 2, text, text, end):
        assert member.receives(PreparedMessage(message)) == message
    if window > 8:  # whose compressor refers to nothing but the byte before
        assert len(PreparedMessage(end).frame(member.encoder)) < 40
