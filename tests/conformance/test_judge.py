"""The judge finds what is wrong: here the server under test is a script that makes mistakes."""

from __future__ import annotations

import contextlib
import math

import pytest
import trio
import trio.testing

from trio_ws.conformance.catalogue import all_cases
from trio_ws.conformance.deflate import MessageDeflate
from trio_ws.conformance.finding import Finding
from trio_ws.conformance.frames import binary, close, continuation, ping, pong, text
from trio_ws.conformance.handshakes import HandshakeContext
from trio_ws.conformance.judge import judge
from trio_ws.conformance.log import WireLog
from trio_ws.conformance.opening import PLAIN_RESPONSE
from trio_ws.conformance.opening_checks import key_of
from trio_ws.conformance.peer import SuitePeer
from trio_ws.testing import Opcode, RawConnectionEnded, RawFrame, RawPeer, request_bytes

from .rigs import PACE, SMALL

BY_ID = {case.id: case for case in all_cases(SMALL)}
ECHO = text("fragment1fragment2")
HELLO = text("Hello, world!")


async def wait_for_close(stream):
    client = RawPeer(stream, side="server", timeout=math.inf)
    with contextlib.suppress(RawConnectionEnded):
        while (await client.receive_frame()).opcode != Opcode.CLOSE:
            pass


async def verdict_on(number, *frames, head=PLAIN_RESPONSE, ends=True):
    """Judge a server that answers with these frames; a close frame waits for the suite's, if one is due."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def mistaken():
        server = SuitePeer(theirs, client=False, pace=PACE, log=WireLog())
        request = await server.read_head()
        await server.send_head(head.encode(key_of(request), ()))
        server.agree(None)
        waits = BY_ID[number].ending.begun_by != "them" and close(1009) not in frames
        for frame in frames:
            if frame.opcode == Opcode.CLOSE and waits:
                await wait_for_close(theirs)
            await server.send((frame,))
        if ends:
            await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(mistaken)
        return await judge(BY_ID[number], ours, client=True, pace=PACE, context=HandshakeContext())


async def test_an_echo_and_a_clean_end_are_ok(autojump_clock):
    result = await verdict_on("5.3", ECHO, close(1000))
    assert (result.verdict, result.text) == ("OK", "")
    assert [entry.direction for entry in result.log][:2] == ["sent", "received"]


@pytest.mark.parametrize(
    ("number", "frames", "remark"),
    [
        pytest.param("3.2", [close(1002)], "right behind", id="a message that came with a violation is not echoed"),
        pytest.param("5.3", [ECHO, close()], "typically", id="an empty close frame in answer"),
        pytest.param("3.1", [], "without a close frame", id="a drop in place of a failure"),
        pytest.param("2.10", [pong("payload 9"), close(1000)], "not every ping", id="only the last ping is answered"),
        pytest.param("2.8", [pong("unsolicited"), close(1000)], "a pong was answered", id="a pong in answer to a pong"),
        pytest.param("9.1.6", [close(1009)], "raise the limit", id="a limit"),
    ],
)
async def test_what_is_allowed_but_not_hoped_for_is_non_strict(number, frames, remark, autojump_clock):
    result = await verdict_on(number, *frames)
    assert (result.verdict, remark in result.text) == ("NON-STRICT", True), result.text


@pytest.mark.parametrize(
    ("number", "frames"),
    [
        pytest.param("5.3", [text("fragment1", fin=False), continuation("fragment2"), close(1000)], id="in fragments"),
        pytest.param("5.3", [ping("are you there"), ECHO, close(1000)], id="a ping of its own"),
        pytest.param("5.3", [pong(), ECHO, close(1000)], id="a heartbeat"),
        pytest.param("2.7", [pong(), close(1000)], id="an empty heartbeat behind an empty pong"),
        pytest.param("2.8", [pong("other"), close(1000)], id="another heartbeat behind a pong"),
        pytest.param("7.13.1", [close(1002)], id="either answer to an undefined code"),
        pytest.param("22.4.1", [], id="no close frame at the end of the stream"),
        pytest.param("22.4.3", [], id="no close frame at the end within a header"),
    ],
)
async def test_what_is_as_good_is_ok(number, frames, autojump_clock):
    result = await verdict_on(number, *frames)
    assert (result.verdict, result.text) == ("OK", "")


@pytest.mark.parametrize(
    ("number", "frames", "complaint", "section"),
    [
        pytest.param("5.3", [text("other"), close(1000)], "answered", "6455 5.4", id="another text"),
        pytest.param("5.3", [binary(ECHO.payload), close(1000)], "answered", "6455 5.4", id="another kind"),
        pytest.param("5.3", [ECHO, ECHO, close(1000)], "answered", "6455 5.4", id="twice"),
        pytest.param("5.3", [], "answered", "6455 5.4", id="not at all"),
        pytest.param("5.3", [ECHO, close(1001)], "closed with", "6455 5.4", id="another code"),
        pytest.param("5.3", [ECHO], "without a close frame", "6455 5.5.1", id="no close frame"),
        pytest.param("7.3.3", [], "without a close frame", "6455 5.5.1", id="no answer to a close frame"),
        pytest.param("5.3", [ECHO, close(1000), pong()], "follows a close frame", "6455 5.5.1", id="behind the end"),
        pytest.param("5.3", [continuation("x")], "continues a message", "6455 5.4", id="out of order"),
        pytest.param("5.3", [text("x", fin=False), text("y")], "ends before", "6455 5.4", id="message in message"),
        pytest.param("5.3", [text("x", rsv=4)], "RSV1 only", "6455 5.2", id="reserved bits"),
        pytest.param("5.3", [text(b"\xff")], "is UTF-8", "6455 8.1", id="no UTF-8"),
        pytest.param("5.3", [RawFrame(Opcode.TEXT, b"x", length=9)], "within a frame", "6455 5.2", id="half a frame"),
        pytest.param("2.2", [pong("other"), close(1000)], "timed out", "6455 5.5.2", id="another pong"),
        pytest.param("2.10", [pong("payload 3"), close(1000)], "timed out", "6455 5.5.2", id="not the last pong"),
        pytest.param("3.2", [text("other"), close(1002)], "answered", "6455 5.2", id="no part of what is expected"),
        pytest.param("3.1", [close(1003)], "failed with", "6455 7.4.1", id="the wrong close code"),
        pytest.param("3.1", [text("Hello, world!")], "did not fail", "6455 5.2", id="no failure"),
        pytest.param("6.4.1", [close(1007)], "too early", "6455 8.1", id="fails what is not wrong yet"),
        pytest.param("7.9.1", [close(999)], "code 999 may not", "6455 7.4", id="a code that may not be sent"),
        pytest.param("7.3.1", [close(None, b"x")], "not one byte", "6455 5.5.1", id="half a close code"),
    ],
)
async def test_a_mistake_is_found_with_its_section(number, frames, complaint, section, autojump_clock):
    result = await verdict_on(number, *frames)
    assert (result.verdict, result.section) == ("FAILED", f"RFC {section}"), result.text
    assert complaint in result.text


async def test_the_log_has_what_is_wrong_where_it_was_read(autojump_clock):
    result = await verdict_on("5.3", ECHO, continuation("x"), close(1000))
    shown = [entry.text for entry in result.log if entry.direction in ("received", "note")]
    (place,) = [at for at, text in enumerate(shown) if "continues a message" in text]
    assert "fragment1fragment2" in shown[place - 1]
    assert "RFC 6455 5.4" in shown[place]
    assert "has ended" in shown[place + 1]


@pytest.mark.parametrize(
    ("number", "verdict"),
    [("21.3.2", "OK"), ("21.3.4", "OK"), pytest.param("1.1.1", "FAILED", id="of a good response")],
)
async def test_a_client_that_sends_its_next_request_has_refused(number, verdict, autojump_clock):
    """HTTP keeps the connection: the request is no frame with reserved bits."""
    ours, theirs = trio.testing.memory_stream_pair()
    client = RawPeer(theirs, timeout=math.inf)
    await client.send(request_bytes("/runCase?case=1"))
    request = await SuitePeer(ours, client=False, pace=PACE, log=WireLog()).read_head()
    async with trio.open_nursery() as nursery:

        async def next_request() -> None:
            await client.receive_response()
            await client.send(request_bytes("/runCase?case=2"))

        nursery.start_soon(next_request)
        result = await judge(BY_ID[number], ours, client=False, pace=PACE, context=HandshakeContext(), request=request)
    assert result.verdict == verdict, result.text


@pytest.mark.parametrize(
    ("frames", "verdict", "seconds"),
    [
        pytest.param([pong("accepted?")], "FAILED", PACE.pause, id="accepts"),
        pytest.param([close(1002)], "OK", PACE.pause + PACE.linger, id="refuses with a close frame and stays"),
        pytest.param([], "FAILED", PACE.timeout, id="does nothing"),
    ],
)
async def test_an_invalid_response_is_judged_in_bounded_time(frames, verdict, seconds, autojump_clock):
    """A client that stays has the time to end its side only if it has accepted nothing."""
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(request_bytes("/runCase?case=1"))
    request = await SuitePeer(ours, client=False, pace=PACE, log=WireLog()).read_head()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def stay() -> None:
            client = SuitePeer(theirs, client=True, pace=PACE, log=WireLog())
            await client.read_head()
            client.agree(None)
            await trio.sleep(PACE.pause)
            await client.send(tuple(frames))

        nursery.start_soon(stay)
        context = HandshakeContext()
        result = await judge(BY_ID["21.3.4"], ours, client=False, pace=PACE, context=context, request=request)
    assert (result.verdict, trio.current_time() - began) == (verdict, pytest.approx(seconds)), result.text


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, "FAILED"), (299, "FAILED"), (300, "OK"), (400, "OK"), (499, "OK"), (500, "NON-STRICT"), (501, "OK")],
)
async def test_only_success_is_a_wrong_refusal(status, verdict, autojump_clock):
    """Of a request without a key; 500 says that the server did not expect it."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def answers() -> None:
        await SuitePeer(theirs, client=False, pace=PACE, log=WireLog()).read_head()
        await theirs.send_all(f"HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n".encode())
        await theirs.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers)
        result = await judge(BY_ID["20.2.16"], ours, client=True, pace=PACE, context=HandshakeContext())
    assert result.verdict == verdict, result.text


async def test_a_server_that_never_answers_runs_out_of_time(autojump_clock):
    ours, _theirs = trio.testing.memory_stream_pair()
    result = await judge(BY_ID["1.1.1"], ours, client=True, pace=PACE, context=HandshakeContext())
    assert (result.verdict, result.text) == ("FAILED", "timed out after 30 s waiting for an answer to the request")


async def test_a_server_that_stays_runs_out_of_time(autojump_clock):
    """The server has to end the TCP connection, once both close frames have passed."""
    result = await verdict_on("5.3", ECHO, close(1000), ends=False)
    assert (result.verdict, result.section) == ("FAILED", "RFC 6455 5.5.1")
    assert "waiting for the end of the TCP connection" in result.text


async def test_a_compression_that_is_not_accepted_is_unimplemented(autojump_clock):
    assert (await verdict_on("12.1.1")).verdict == "UNIMPLEMENTED"


@pytest.mark.parametrize("bits", [8, 9, 15])
def test_a_window_larger_than_agreed_is_found(bits):
    """A repetition 300 bytes back is out of a window of 8 bits, and within one of 9."""
    sender = MessageDeflate({}, client=True)
    message = bytes(range(150)) * 2 + bytes(range(150, 250)) * 3 + bytes(range(150))
    receiver = MessageDeflate({"client_max_window_bits": str(bits)}, client=False)
    if bits == 8:
        with pytest.raises(Finding, match="too far back"):
            receiver.decompress(sender.compress(message))
    else:
        assert receiver.decompress(sender.compress(message)) == message


def test_a_context_that_was_not_to_be_kept_is_found():
    sender = MessageDeflate({}, client=True)
    receiver = MessageDeflate({"client_no_context_takeover": None}, client=False)
    message = b"the same words again and again"
    assert receiver.decompress(sender.compress(message)) == message
    with pytest.raises(Finding, match="without the context"):
        receiver.decompress(sender.compress(message))
