"""Sending, pings and pongs: what is on the wire, what is refused, who waits and who wakes, on either side."""

from __future__ import annotations

import pytest
import trio
from support.handlers import stall

from trio_ws import Limits, LocalProtocolError, Timeouts, WebSocketDisconnect, WebSocketMessage

SMALL = Limits(outbox_bytes=1)
BULK = "x" * 300_000
"""More than the sockets keep of what a peer does not read."""


async def test_send_sends_str_as_text_and_bytes_as_binary_in_order(rig):
    contents = ["text", b"binary", "", b"", "grüße", b"\0" * 70_000]

    async def body(websocket):
        for content in contents:
            await websocket.send(content)
        await websocket.send(bytearray(b"array"))
        await websocket.send(memoryview(b"view")[1:])

    *messages, close = await rig.run(body)
    assert [content for _, content in messages] == [*contents, b"array", b"iew"]
    assert [kind for kind, _ in messages] == ["text", "binary"] * 3 + ["binary"] * 2
    assert close == ("close", (1000, ""))


async def test_what_was_sent_can_be_changed_afterwards(rig):
    async def body(websocket):
        data = bytearray(b"before")
        await websocket.send(BULK)
        await websocket.send_bytes(data)
        data[:] = b"after "

    assert (await rig.run(body))[1] == ("binary", b"before")


async def test_the_named_senders_send_their_kind_only(rig):
    async def body(websocket):
        await websocket.send_text("text")
        await websocket.send_bytes(b"bytes")
        await websocket.send_binary(b"binary")
        await websocket.send_json({"a": [1, None, "ü"]})
        for wrong in (
            lambda: websocket.send_text(b"bytes"),
            lambda: websocket.send_bytes("text"),
            lambda: websocket.send(7),
            lambda: websocket.send(None),
            lambda: websocket.send_json({object()}),
            lambda: websocket.send_json(b"bytes"),
        ):
            with pytest.raises(TypeError):
                await wrong()
        for wrong in (
            lambda: websocket.send_json(float("nan")),
            lambda: websocket.send("\ud800"),
            lambda: websocket.pong(b"x" * 126),
        ):
            with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
                await wrong()

    assert await rig.run(body) == [
        ("text", "text"),
        ("binary", b"bytes"),
        ("binary", b"binary"),
        ("text", '{"a":[1,null,"ü"]}'),
        ("close", (1000, "")),
    ]


@pytest.mark.values("send_type")
@pytest.mark.parametrize(
    ("send_type", "value", "sent", "wrong"),
    [
        ("json", {"a": 1}, ("text", '{"a":1}'), b"x"),
        ("text", "x", ("text", "x"), b"x"),
        ("bytes", b"x", ("binary", b"x"), "x"),
    ],
)
async def test_send_type_says_what_send_takes(rig, send_type, value, sent, wrong):
    async def body(websocket):
        await websocket.send(value)
        with pytest.raises(TypeError):
            await websocket.send(wrong)
        await websocket.send(WebSocketMessage.text("a message says itself what it is"))

    assert await rig.run(body, send_type=send_type) == [
        sent,
        ("text", "a message says itself what it is"),
        ("close", (1000, "")),
    ]


async def test_send_takes_every_kind_of_message(rig):
    async def body(websocket):
        await websocket.send(WebSocketMessage.text("text"))
        await websocket.send(WebSocketMessage.binary(b"binary"))
        await websocket.send(WebSocketMessage.ping())
        await websocket.send(WebSocketMessage.ping(b"ping"))
        await websocket.send(WebSocketMessage.pong(b"pong"))
        await websocket.send(WebSocketMessage.close(4000, "bye"))
        assert not websocket.connected

    assert await rig.run(body) == [
        ("text", "text"),
        ("binary", b"binary"),
        ("ping", b""),
        ("ping", b"ping"),
        ("pong", b"pong"),
        ("close", (4000, "bye")),
    ]


# --- a send on a connection that has ended ---


@pytest.mark.parametrize("ending", ["ours", "peer's", "drop"])
async def test_a_send_after_the_end_raises_in_the_caller_whoever_it_is(rig, ending):
    code = {"ours": 4000, "peer's": 4001, "drop": 1006}[ending]
    told = []

    async def body(websocket):
        if ending == "ours":
            await websocket.close(4000)
        else:
            assert await websocket.recv() is None or ending == "peer's"

        async def stranger():
            for send in (websocket.send, websocket.send_json, websocket.pong, websocket.ping):
                with pytest.raises(WebSocketDisconnect, match=str(code)):
                    await send(b"x" if send != websocket.send_json else 1)
                told.append(send)
            with pytest.raises(WebSocketDisconnect):
                await websocket.send_stream(["x"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stranger)
        await stranger()

    async with rig.connect(body) as peer:
        if ending == "peer's":
            await peer.close(4001)
        if ending == "drop":
            await peer.leave()
        else:
            await peer.rest()
    assert len(told) == 8
    assert rig.error is None


async def test_all_waiting_senders_wake_when_the_connection_ends(rig, clock):
    """Everyone who waits to send wakes when the connection ends."""
    told = []

    async def body(websocket):
        async def sender():
            with pytest.raises(WebSocketDisconnect):
                while True:
                    await websocket.send(BULK)
            told.append("sender")

        async def pinger():
            with pytest.raises(WebSocketDisconnect):
                await websocket.ping()
            told.append("pinger")

        async def streamer():
            with pytest.raises(WebSocketDisconnect):
                while True:
                    await websocket.send_stream(["x"] * 3)
            told.append("streamer")

        async with trio.open_nursery() as nursery:
            for task in (pinger, sender, sender, streamer):
                nursery.start_soon(task)

    times = Timeouts(ping_interval=None, close_timeout=0.2)
    async with rig.connect(body, limits=SMALL, timeouts=times) as peer:
        await peer.next()
        await peer.leave()
    assert sorted(told) == ["pinger", "sender", "sender", "streamer"]


async def test_senders_take_turns_and_each_message_is_whole(rig):
    async def body(websocket):
        async def sender(name):
            for number in range(20):
                await websocket.send(f"{name} {number} " + name * 3000)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(sender, name)

    *messages, _ = await rig.run(body, limits=SMALL)
    for name in "abc":
        mine = [content for _, content in messages if content.startswith(name)]
        assert mine == [f"{name} {number} " + name * 3000 for number in range(20)]


# --- pings ---


async def test_ping_waits_for_its_pong_and_returns_the_seconds_between(rig, clock):
    async def body(websocket):
        latency = await websocket.ping()
        assert latency >= 0.1
        if clock is not None:
            assert latency == pytest.approx(0.1)
        assert await websocket.ping(b"mine") < 5

    async with rig.connect(body) as peer:
        kind, payload = await peer.next()
        assert kind == "ping"
        await trio.sleep(0.1)
        await peer.pong(payload)
        assert await peer.next() == ("ping", b"mine")
        await peer.pong(b"mine")
        assert await peer.rest() == [("close", (1000, ""))]


async def test_concurrent_pings_are_unique_and_pong_answers_older_ones(rig):
    """Pings at once have payloads of their own and a pong answers the older ones too."""
    answered = []

    async def body(websocket):
        async def pinger(name):
            await websocket.ping()
            answered.append(name)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(pinger, name)
                await trio.testing.wait_all_tasks_blocked()
            await websocket.send("all are out")

    async with rig.connect(body) as peer:
        payloads = [(await peer.next())[1] for _ in range(3)]
        assert len(set(map(bytes, payloads))) == 3
        assert await peer.next() == ("text", "all are out")
        await peer.pong(b"nobody asked for this")
        await peer.pong(payloads[1])
        await peer.pong(payloads[1])  # again
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert answered in (["a", "b"], ["b", "a"])
        await peer.pong(payloads[2])
        assert await peer.rest() == [("close", (1000, ""))]


async def test_ping_with_outstanding_payload_is_refused(rig):
    """A ping whose payload waits already is refused and the first goes on."""

    async def body(websocket):
        async def first():
            await websocket.ping(b"same")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LocalProtocolError):
                await websocket.ping(b"same")
            await websocket.send("answer now")

    async with rig.connect(body) as peer:
        assert [await peer.next(), await peer.next()] == [("ping", b"same"), ("text", "answer now")]
        await peer.pong(b"same")
        assert await peer.rest() == [("close", (1000, ""))]


@pytest.mark.parametrize(("payload", "error"), [(b"x" * 126, ValueError), ("text", TypeError)])
async def test_unsendable_ping_is_refused_and_none_is_outstanding(rig, payload, error):
    """A ping that cannot be sent is refused and nothing is outstanding."""

    async def body(websocket):
        for _ in range(2):
            with pytest.raises(error):
                await websocket.ping(payload)

    assert await rig.run(body) == [("close", (1000, ""))]


async def test_pings_of_the_peer_are_answered_whatever_the_body_does(rig):
    async with rig.connect(stall) as peer:
        for number in range(3):
            await peer.ping(b"%d" % number)
            assert await peer.next() == ("pong", b"%d" % number)


async def test_a_pong_is_sent_unasked(rig):
    async def body(websocket):
        await websocket.pong()
        await websocket.pong(b"heartbeat")

    assert await rig.run(body) == [("pong", b""), ("pong", b"heartbeat"), ("close", (1000, ""))]


async def test_waiting_ping_gets_a_disconnect_when_connection_ends(rig):
    """A ping that was waiting is told when the connection ends."""

    async def body(websocket):
        with pytest.raises(WebSocketDisconnect, match="4000"):
            await websocket.ping()

    async with rig.connect(body) as peer:
        assert (await peer.next())[0] == "ping"
        await peer.close(4000)
        await peer.rest()
    assert rig.error is None


# --- a peer that does not read ---


@pytest.mark.parametrize("network", ["poller", "stream"])  # a memory stream takes everything
async def test_peer_that_does_not_read_is_aborted_after_send_timeout(rig):
    """A peer that does not read is given up after send_timeout."""
    ended = trio.Event()

    async def body(websocket):
        try:
            while True:
                await websocket.send(BULK)
        except WebSocketDisconnect as end:
            assert end.code == 1013  # noqa: PT017 - that it is raised, the event shows
            ended.set()

    async with rig.connect(body, timeouts=Timeouts(ping_interval=None, send_timeout=0.2)):
        await ended.wait()
    assert rig.codes == ([1013] if rig.side == "server" else [])
