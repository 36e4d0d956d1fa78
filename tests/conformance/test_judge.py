"""The judge and the fuzzing peer find what is wrong: here the peer under test is a script that makes mistakes."""

from __future__ import annotations

import zlib

import pytest
import trio
import trio.testing

from .case import binary, close, continuation, ping, pong, text
from .deflate import Deflate
from .judge import NON_STRICT, OK, judge
from .peer import FuzzingPeer
from .table import CASES
from .wire import Frame, FrameError, Reader, encode

BY_ID = {case.id: case for case in CASES}
ECHO = text("fragment1fragment2")
HELLO = text("Hello, world!")


async def verdict_on(number, *frames):
    """Judge a server that answers the case with these frames, whatever comes, and ends."""
    ours, theirs = trio.testing.memory_stream_pair()
    case = BY_ID[number]

    async def mistaken():
        server = FuzzingPeer(theirs, client=False)
        await server.open(case)
        await server.send(frames)
        await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mistaken)
        return await judge(case, FuzzingPeer(ours, client=True))


def leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


async def test_an_echo_and_a_clean_end_are_ok():
    assert await verdict_on("5.3", ECHO, close(1000)) == OK


async def test_an_echo_in_fragments_is_as_good():
    assert await verdict_on("5.3", text("fragment1", fin=False), continuation("fragment2"), close(1000)) == OK


async def test_missing_strict_answers_are_non_strict_if_case_allows():
    """Fewer answers than strictly expected are non strict where the case says why."""
    assert await verdict_on("3.2", HELLO, close(1002)) == OK
    assert await verdict_on("3.2", close(1002)) == NON_STRICT


@pytest.mark.parametrize(
    ("number", "frames", "complaint"),
    [
        pytest.param("5.3", [text("other"), close(1000)], "answered", id="another text"),
        pytest.param("5.3", [binary(ECHO.payload), close(1000)], "answered", id="another kind"),
        pytest.param("5.3", [ECHO, ECHO, close(1000)], "answered", id="twice"),
        pytest.param("5.3", [close(1000)], "answered", id="not at all"),
        pytest.param("5.3", [ECHO, close(1001)], "closed with 1001", id="another code"),
        pytest.param("5.3", [ECHO, close()], "closed with None", id="no code"),
        pytest.param("5.3", [ECHO], "without a close frame", id="no close frame"),
        pytest.param("5.3", [ECHO, close(1000), pong()], "after the close frame", id="behind the close frame"),
        pytest.param("5.3", [ping()], "nobody asked", id="a ping"),
        pytest.param("5.3", [continuation("x")], "not in order", id="out of order"),
        pytest.param("5.3", [text("x", fin=False), text("y")], "not in order", id="a message within a message"),
        pytest.param("5.3", [text("x", rsv=4)], "reserved bits", id="reserved bits"),
        pytest.param("5.3", [text(b"\xff")], "utf-8", id="no UTF-8"),
        pytest.param("3.2", [HELLO, pong(), close(1002)], "no part of", id="more than strictly expected"),
        pytest.param("3.2", [text("other"), close(1002)], "no part of", id="no part of what is expected"),
        pytest.param("6.4.1", [close(1007)], "closed early", id="fails what is not wrong yet"),
        pytest.param("6.4.3", [pong()], "answered early", id="answers what is not complete yet"),
    ],
)
async def test_a_mistake_is_found(number, frames, complaint):
    with pytest.raises((AssertionError, UnicodeDecodeError, ExceptionGroup)) as caught:
        await verdict_on(number, *frames)
    assert any(complaint in str(leaf) for leaf in leaves(caught.value))


async def test_a_peer_that_does_not_fail_fast_runs_out_of_time(autojump_clock):
    """The third fragment of 6.4.1 is never sent, so only a peer that refuses the second at once ends."""
    ours, theirs = trio.testing.memory_stream_pair()
    server = FuzzingPeer(theirs, client=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.open, BY_ID["6.4.1"])
        with pytest.raises(trio.TooSlowError):
            await judge(BY_ID["6.4.1"], FuzzingPeer(ours, client=True))


KEY = b"\x01\x02\x03\x04"


@pytest.mark.parametrize(
    ("masked", "data", "complaint"),
    [
        (False, encode(HELLO, KEY), "masks"),
        (True, encode(HELLO, None), "masks"),
        (False, encode(Frame(3), None), "reserved opcode"),
        (False, encode(ping(fin=False), None), "control frame"),
        (False, encode(ping(b"x" * 126), None), "control frame"),
        (False, b"\x81\x7e\x00\x01x", "shortest"),
        (False, b"\x81\x7f" + (65_535).to_bytes(8) + b"x" * 65_535, "shortest"),
    ],
)
def test_a_frame_that_may_not_be_sent_is_found(masked, data, complaint):
    reader = Reader(masked=masked, compressed=False)
    with pytest.raises(FrameError, match=complaint):
        list(reader.feed(data))


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536])
def test_what_is_written_can_be_read_octet_by_octet(key, size):
    frame = text(b"x" * size)
    reader = Reader(masked=key is not None, compressed=False)
    data = encode(frame, key)
    found = [each for index in range(len(data)) for each in reader.feed(data[index : index + 1])]
    assert found == [frame]
    assert not reader.within_frame


@pytest.mark.parametrize("bits", [8, 9, 15])
def test_a_window_larger_than_agreed_is_found(bits):
    """A repetition 300 bytes back is out of a window of 8 bits, and within one of 9."""
    sender = Deflate({}, client=True)
    message = bytes(range(150)) * 2 + bytes(range(150, 250)) * 3 + bytes(range(150))
    receiver = Deflate({"client_max_window_bits": str(bits)}, client=False)
    if bits == 8:
        with pytest.raises(zlib.error, match="too far back"):
            receiver.decompress(sender.compress(message))
    else:
        assert receiver.decompress(sender.compress(message)) == message


def test_a_context_that_was_not_to_be_kept_is_found():
    sender = Deflate({}, client=True)
    receiver = Deflate({"client_no_context_takeover": None}, client=False)
    message = b"the same words again and again"
    assert receiver.decompress(sender.compress(message)) == message
    with pytest.raises(zlib.error):
        receiver.decompress(sender.compress(message))
