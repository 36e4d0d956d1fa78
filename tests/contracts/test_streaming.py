"""Messages in fragments, as they come and as they are made, both ways and on either side."""

from __future__ import annotations

import pytest
import trio
from support.handlers import parts
from trio.testing import wait_all_tasks_blocked

from contracts.rig import piece, sees
from trio_ws import Limits, Timeouts, WebSocketDisconnect

SMALL = Limits(outbox_bytes=1)


# --- sending ---


@pytest.mark.values("contents")
@pytest.mark.parametrize("make", [parts, lambda *contents: list(contents)], ids=["async", "iterable"])
@pytest.mark.parametrize(
    ("contents", "seen"),
    [
        (("one ", "two ", "three"), ("text", "one two three")),
        ((b"one ", b"two"), ("binary", b"one two")),
        (("alone",), ("text", "alone")),
        (("", "x", ""), ("text", "x")),
        ((b"",), ("binary", b"")),
    ],
    ids=lambda value: str(len(value)),
)
async def test_send_stream_sends_one_message_in_as_many_fragments(rig, make, contents, seen):
    async with rig.connect(lambda websocket: websocket.send_stream(make(*contents))) as peer:
        assert await peer.rest() == [seen, ("close", (1000, ""))]
    assert peer.fragments == len(contents)


async def test_send_stream_of_nothing_is_an_empty_binary_message(rig):
    assert await rig.run(lambda websocket: websocket.send_stream([])) == [("binary", b""), ("close", (1000, ""))]


async def test_each_fragment_leaves_as_soon_as_the_next_is_there(rig):
    """What is the last one shows only at the end; everything before it does not wait."""
    asked = trio.Event()

    async with rig.connect(lambda websocket: websocket.send_stream(parts("one ", "two ", asked, "three"))) as peer:
        while not peer.fragments:
            with trio.move_on_after(0.01):
                await peer.next()
        assert peer.parts == [b"one "]
        asked.set()
        assert await peer.rest() == [("text", "one two three"), ("close", (1000, ""))]


async def test_other_senders_wait_for_the_stream_and_pings_do_not(rig):
    """Other senders wait until the message is complete pings and pongs do not."""
    middle = trio.Event()

    async def body(websocket):
        async def send(content):
            await websocket.send(content)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.send_stream, parts("one ", "two ", middle, "three"))
            await wait_all_tasks_blocked()
            nursery.start_soon(send, "later")
            nursery.start_soon(websocket.send_stream, parts("also ", "later"))
            await wait_all_tasks_blocked()
            await websocket.pong(b"meanwhile")
            middle.set()

    seen = await rig.run(body, limits=SMALL)
    assert seen[:2] == [("pong", b"meanwhile"), ("text", "one two three")]
    assert sorted(content for _, content in seen[2:4]) == ["also later", "later"]
    assert seen[4:] == [("close", (1000, ""))]


async def test_peer_ping_is_answered_in_the_middle_of_a_message(rig):
    """A ping of the peer is answered in the middle of a message."""
    middle = trio.Event()

    async with rig.connect(lambda websocket: websocket.send_stream(parts("one ", "two", middle))) as peer:
        await peer.ping(b"now")
        assert await peer.next() == ("pong", b"now")
        middle.set()
        assert await peer.rest() == [("text", "one two"), ("close", (1000, ""))]


@pytest.mark.values("chunks")
@pytest.mark.parametrize(
    "chunks",
    [["one", b"two", "three"], ["one", 2], [b"one", b"two", None]],
    ids=["both kinds", "int", "None"],
)
async def test_wrong_later_chunk_ends_the_connection_with_1011(rig, chunks):
    """The peer cannot be told in another way that the message will not be completed."""

    async def body(websocket):
        with pytest.raises(TypeError):
            await websocket.send_stream([*chunks, chunks[-1]])
        assert websocket.close_code == 1011

    async with rig.connect(body) as peer:
        assert [kind for kind, _ in await peer.rest()] == ["close"]
        assert peer.seen[0][1] == (1011, "message was not completed")
    assert rig.error is None
    assert rig.codes == ([1011] if rig.side == "server" else [])


@pytest.mark.values("chunks")
@pytest.mark.parametrize("chunks", [[1], [None, "x"], ["\ud800"]], ids=repr)
async def test_a_wrong_first_chunk_is_refused_and_nothing_was_sent(rig, chunks):
    async def body(websocket):
        with pytest.raises((TypeError, ValueError)):
            await websocket.send_stream(chunks)
        await websocket.send("unharmed")

    assert await rig.run(body) == [("text", "unharmed"), ("close", (1000, ""))]


async def test_stream_failing_before_any_send_leaves_connection_intact(rig):
    """A stream that fails before anything was sent leaves the connection as it was."""

    async def body(websocket):
        with pytest.raises(ValueError, match="chunks"):
            await websocket.send_stream(parts("held back as it may be the last", ValueError("chunks")))
        await websocket.send("unharmed")

    assert await rig.run(body) == [("text", "unharmed"), ("close", (1000, ""))]


async def test_stream_failing_midway_ends_connection_and_raises_error(rig, caplog):
    """Whoever sent it knows that it ends: what it does next is not cut off as if its peer had left."""

    async def body(websocket):
        with pytest.raises(ValueError, match="chunks"):
            await websocket.send_stream(parts("one ", "two ", ValueError("chunks")))
        for _ in range(10):  # a handler that was not told would be cancelled here
            await trio.lowlevel.checkpoint()
        with pytest.raises(WebSocketDisconnect, match="1011"):
            await websocket.send("too late")

    assert await rig.run(body) == [("close", (1011, "message was not completed"))]
    assert rig.error is None
    assert caplog.records == []


async def test_cancelled_stream_ends_the_connection_if_partly_sent(rig):
    """A cancelled stream ends the connection if any of it was sent."""
    sent = trio.Event()

    async def body(websocket):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.send_stream, parts("one ", "two ", sent.set, trio.Event()))
            await sent.wait()
            nursery.cancel_scope.cancel()
        assert websocket.close_code == 1011

    assert await rig.run(body) == [("close", (1011, "message was not completed"))]


@pytest.mark.parametrize("network", ["poller", "stream"])  # a memory stream always has room
async def test_stream_cancelled_while_waiting_for_room_sends_nothing(rig):
    """A stream that is cancelled while it waits for room has sent nothing."""
    bulk = "x" * 300_000

    async def body(websocket):
        await websocket.send(bulk)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.send_stream, parts("never ", "sent"))
            await wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        await websocket.send("after")

    async with rig.connect(body, limits=SMALL) as peer:
        await wait_all_tasks_blocked(0.05)
        seen = await peer.rest()
    assert [content for _, content in seen[:2]] == [bulk, "after"]


async def test_a_stream_is_closed_whatever_becomes_of_it(rig):
    """Its `finally` runs before send_stream returns or raises."""
    ended = []

    async def body(websocket):
        async def chunks(name):
            try:
                yield name
                yield name
            finally:
                ended.append(name)

        await websocket.send_stream(chunks("first"))
        assert ended == ["first"]
        with pytest.raises(TypeError):
            await websocket.send_stream(chunks(2))
        assert ended == ["first", 2]
        with trio.CancelScope() as scope:
            scope.cancel()
            await websocket.send_stream(chunks("never begun"))
        await websocket.close()
        with pytest.raises(WebSocketDisconnect):
            await websocket.send_stream(chunks("never begun"))
        assert ended == ["first", 2]

    await rig.run(body)


async def test_close_during_a_stream_ends_the_stream_in_its_sender(rig):
    """A close in the middle of a stream ends the stream in its sender."""
    sent = trio.Event()

    async def body(websocket):
        async def chunks():
            yield "one "
            yield "two "
            sent.set()
            while True:
                await wait_all_tasks_blocked()
                yield "more "

        async def send():
            with pytest.raises(WebSocketDisconnect, match="4000"):
                await websocket.send_stream(chunks())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await sent.wait()
            await websocket.close(4000)

    assert (await rig.run(body))[-1] == ("close", (4000, ""))


# --- receiving ---


async def test_receive_stream_gives_the_parts_as_they_come(rig):
    async def body(websocket):
        stream = websocket.receive_stream()
        assert await anext(stream) == "one "
        await websocket.send("go on")
        assert await anext(stream) == "two "
        await websocket.send("go on")
        assert [part async for part in stream] == ["three"]
        assert [part async for part in stream] == []
        assert await websocket.receive() == "next"

    steps = piece("one "), sees("go on"), piece("two "), sees("go on"), "three", "next"
    assert await rig.run(body, *steps) == [("close", (1000, ""))]


@pytest.mark.parametrize(
    "content", ["text ü" * 50_000, b"binary" * 50_000, "", b"", "whole"], ids=lambda it: f"{len(it)}"
)
async def test_receive_stream_of_one_frame_gives_the_same_message(rig, content):
    async def body(websocket):
        kind = type(content)
        assert kind().join([part async for part in websocket.receive_stream()]) == content
        assert await websocket.receive() == "next"

    assert await rig.run(body, content, "next") == [("close", (1000, ""))]


async def test_a_message_that_was_there_already_comes_as_one_part(rig):
    async def body(websocket):
        assert await websocket.receive() == "first"
        assert [part async for part in websocket.receive_stream()] == ["second"]

    async with rig.connect(body) as peer:
        await peer.send(peer.data("first") + peer.data("second"))
        assert await peer.rest() == [("close", (1000, ""))]


@pytest.mark.parametrize("then", ["receive", "receive_stream"])
async def test_next_receive_drops_the_rest_of_an_abandoned_stream(rig, then):
    """The rest of an abandoned stream is dropped by the next receive."""

    async def body(websocket):
        async for part in websocket.receive_stream():
            assert part == "one "
            break
        await websocket.send("go on")
        if then == "receive":
            assert await websocket.receive() == "next"
        else:
            assert "".join([part async for part in websocket.receive_stream()]) == "next"

    steps = piece("one "), sees("go on"), piece("two "), "three", "next"
    assert await rig.run(body, *steps) == [("close", (1000, ""))]


async def test_a_stream_that_nothing_was_taken_of_has_dropped_nothing(rig):
    async def body(websocket):
        websocket.receive_stream()
        with trio.move_on_after(0.01):
            await anext(websocket.receive_stream())
        await websocket.send("go on")
        assert await websocket.receive() == "one two"
        assert await websocket.receive() == "next"

    assert await rig.run(body, sees("go on"), piece("one "), "two", "next") == [("close", (1000, ""))]


async def test_parts_gathered_by_a_cancelled_receive_are_kept(rig):
    """A stream was asked for, given up before its first part, and the message was received whole, in two attempts."""

    async def body(websocket):
        with trio.move_on_after(0.01):
            await anext(websocket.receive_stream())
        await websocket.send("one")
        with trio.move_on_after(0.05):
            await websocket.receive()
        await websocket.send("two")
        assert await websocket.receive() == "one two"
        assert await websocket.receive() == "next"

    steps = sees("one"), piece("one "), sees("two"), "two", "next"
    assert await rig.run(body, *steps) == [("close", (1000, ""))]


async def test_abandoned_stream_over_gathered_parts_tears_nothing(rig):
    """The worst of both: a cancelled receive has gathered parts, a stream takes the first of them and is abandoned."""

    async def body(websocket):
        with trio.move_on_after(0.01):
            await anext(websocket.receive_stream())
        await websocket.send("begin")
        with trio.move_on_after(0.05):
            await websocket.receive()
        assert await anext(websocket.receive_stream()) == "one "
        await websocket.send("finish")
        assert await websocket.receive() == "next"

    async with rig.connect(body) as peer:
        assert await peer.next() == ("text", "begin")
        await peer.message("one ", fin=False)
        await wait_all_tasks_blocked(0.005)
        await peer.message("two ", fin=False)
        assert await peer.next() == ("text", "finish")
        await peer.message("three")
        await peer.message("next")
        assert await peer.rest() == [("close", (1000, ""))]


async def test_finished_stream_object_takes_nothing_of_next_message(rig):
    """A stream object whose message is over takes nothing of the next."""

    async def body(websocket):
        stream = websocket.receive_stream()
        assert await anext(stream) == "one "
        await websocket.send("go on")
        assert await websocket.receive() == "next"
        assert [part async for part in stream] == []
        assert await websocket.receive() == "last"

    steps = piece("one "), sees("go on"), "two", "next", "last"
    assert await rig.run(body, *steps) == [("close", (1000, ""))]


@pytest.mark.parametrize("ending", ["close", "drop"])
async def test_an_end_in_the_middle_of_a_message_is_a_disconnect(rig, ending):
    code = 4000 if ending == "close" else 1006

    async def body(websocket):
        stream = websocket.receive_stream()
        assert await anext(stream) == "one "
        with pytest.raises(WebSocketDisconnect, match=str(code)):
            await anext(stream)
        with pytest.raises(WebSocketDisconnect, match=str(code)):
            await websocket.receive()

    async with rig.connect(body) as peer:
        await peer.message("one ", fin=False)
        if ending == "close":
            await peer.close(4000)
            await peer.rest()
        else:
            await peer.leave()
    assert rig.error is None


async def test_a_stream_larger_than_the_inbox_waits_for_its_reader(rig):
    """The limit of one message holds for all of its parts, the inbox only for those that wait."""
    limits = Limits(inbox_bytes=1000, inbox_messages=4, max_message_size=1_000_000)

    async def body(websocket):
        size = 0
        async for part in websocket.receive_stream():
            size += len(part)
        assert size == 900_000

    async with rig.connect(body, limits=limits, timeouts=Timeouts(ping_interval=None)) as peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.rest)
            for number in range(90):
                await peer.message(b"x" * 10_000, fin=number == 89)
    assert rig.error is None
