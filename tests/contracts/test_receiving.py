"""Receiving: what each way of receiving returns and raises, on either side."""

from __future__ import annotations

import pytest
import trio

from contracts.rig import status_of
from trio_ws import (
    InvalidMessage,
    LocalProtocolError,
    Timeouts,
    UnexpectedMessage,
    WebSocketDisconnect,
    WebSocketMessage,
)


async def send_all(peer, *contents):
    for content in contents:
        await peer.message(content)


async def test_receive_gives_text_as_str_and_binary_as_bytes_in_order(rig):
    contents = ["text", b"binary", "", b"", "grüße \N{SNOWMAN}", b"\0" * 70_000]

    async def body(websocket):
        for content in contents:
            received = await websocket.receive()
            assert received == content
            assert type(received) is type(content)

    async with rig.connect(body) as peer:
        await send_all(peer, *contents)
        assert await peer.rest() == [("close", (1000, ""))]


async def test_receive_text_bytes_and_json_take_their_kind_only(rig):
    async def body(websocket):
        assert await websocket.receive_text() == "text"
        assert await websocket.receive_bytes() == b"bytes"
        assert await websocket.receive_json() == {"a": [1, None, "ü"]}
        assert await websocket.receive_json() == 7  # in a binary message
        with pytest.raises(UnexpectedMessage, match="expected text, the peer sent binary") as caught:
            await websocket.receive_text()
        assert caught.value.message == b"binary"
        with pytest.raises(UnexpectedMessage, match="expected binary, the peer sent text") as caught:
            await websocket.receive_bytes()
        assert caught.value.message == "text"

    async with rig.connect(body) as peer:
        await send_all(peer, "text", b"bytes", '{"a": [1, null, "\\u00fc"]}', b"7", b"binary", "text")
        assert await peer.rest() == [("close", (1000, ""))]


@pytest.mark.values("content")
@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "nope",
        "NaN",
        "-Infinity",
        '{"a": Infinity}',
        "[" * 100_000,
        "[" * 129 + "]" * 129,
        "1e999",
        b"\xff\xfe\xff",
        "1 2",
        b"",
    ],
    ids=lambda content: repr(content[:12]),
)
async def test_what_is_no_json_is_an_invalid_message(rig, content):
    async def body(websocket):
        with pytest.raises(InvalidMessage) as caught:
            await websocket.receive_json()
        assert caught.value.message == content

    assert await rig.run(body, content) == [("close", (1000, ""))]


@pytest.mark.values("content")
@pytest.mark.parametrize(
    "content", [r'"\ud83d"', r'{"\udc00":"grüße"}', "[" * 128 + "]" * 128], ids=lambda text: text[:9]
)
async def test_json_that_is_taken_in_can_be_sent(rig, content):
    """A lone surrogate is valid JSON, and UTF-8 cannot carry it: it goes out escaped."""

    async def body(websocket):
        await websocket.send_json(await websocket.receive_json())

    assert await rig.run(body, content) == [("text", content), ("close", (1000, ""))]


@pytest.mark.values("receive_type")
@pytest.mark.parametrize(
    ("receive_type", "good", "value", "bad"),
    [("text", "text", "text", b"x"), ("bytes", b"x", b"x", "text"), ("json", "[1]", [1], "["), (None, b"", b"", None)],
)
async def test_receive_type_says_what_receive_and_iteration_give(rig, receive_type, good, value, bad):
    async def body(websocket):
        assert await websocket.receive() == value
        assert await anext(aiter(websocket)) == value
        if bad is not None:
            with pytest.raises((UnexpectedMessage, InvalidMessage)):
                await websocket.receive()

    async with rig.connect(body, receive_type=receive_type) as peer:
        await send_all(peer, good, good, *([] if bad is None else [bad]))
        assert await peer.rest() == [("close", (1000, ""))]


@pytest.mark.parametrize("code", [1000, 1001])
async def test_iteration_ends_on_a_good_code_after_the_last_message(rig, code):
    async def body(websocket):
        assert [message async for message in websocket] == ["one", "two"]
        assert [message async for message in websocket] == []  # and again

    async with rig.connect(body) as peer:
        await send_all(peer, "one", "two")
        await peer.close(code)
        await peer.rest()
    assert rig.error is None


async def test_iteration_raises_on_another_code_after_the_last_message(rig):
    async def body(websocket):
        received = []
        with pytest.raises(WebSocketDisconnect, match="4000: oops"):
            async for message in websocket:
                received.append(message)
        assert received == ["one"]

    async with rig.connect(body) as peer:
        await send_all(peer, "one")
        await peer.close(4000, "oops")
        await peer.rest()


async def test_every_receive_after_the_end_raises_again(rig):
    async def body(websocket):
        for _ in range(3):
            with pytest.raises(WebSocketDisconnect, match="4000"):
                await websocket.receive()

    await rig.run(body, close=4000)


# --- recv() ---


async def test_recv_gives_typed_messages_then_one_close_then_none(rig):
    """Recv gives messages with their kind then one close then none."""

    async def body(websocket):
        text = await websocket.recv()
        assert text == WebSocketMessage.text("hello")
        assert (text.msg_type, text.text, text.data, text.is_text()) == ("text", "hello", None, True)
        binary = await websocket.recv()
        assert binary == WebSocketMessage.binary(b"bytes")
        assert (binary.msg_type, binary.text, binary.data, binary.is_binary()) == ("binary", None, b"bytes", True)
        close = await websocket.recv()
        assert (close.msg_type, close.code, close.reason, close.is_close()) == ("close", 4000, "bye", True)
        assert await websocket.recv() is None
        assert await websocket.recv() is None

    async with rig.connect(body) as peer:
        await send_all(peer, "hello", b"bytes")
        await peer.close(4000, "bye")
        await peer.rest()
    assert rig.error is None


async def test_recv_after_a_drop_gives_none(rig):
    async def body(websocket):
        assert await websocket.recv() == WebSocketMessage.text("last")
        assert await websocket.recv() is None

    async with rig.connect(body) as peer:
        await peer.message("last")
        await peer.leave()


async def test_recv_after_our_own_close_gives_none(rig):
    async def body(websocket):
        await websocket.close(4000)
        assert await websocket.recv() is None

    await rig.run(body)


async def test_recv_gives_an_empty_close_frame_as_1005(rig):
    async def body(websocket):
        message = await websocket.recv()
        assert (message.code, message.reason) == (1005, "")

    async with rig.connect(body) as peer:
        await peer.close(None)
        await peer.rest()


# --- what was received is not lost ---


async def test_data_before_our_close_is_received_and_later_is_dropped(rig, clock):
    """And reading it does not begin anything's countdown: the handler knows that the connection ends."""

    async def body(websocket):
        assert await websocket.receive() == "one"
        await websocket.close(4000)
        assert await websocket.receive() == "two"
        await trio.sleep(0.2)  # longer than drain_timeout
        assert await websocket.receive() == "three"
        await trio.sleep(0.2)
        with pytest.raises(WebSocketDisconnect, match="4000"):
            await websocket.receive()

    times = Timeouts(ping_interval=None, drain_timeout=0.05, cleanup_timeout=0.05)
    async with rig.connect(body, timeouts=times) as peer:
        await peer.send(b"".join(peer.data(content) for content in ("one", "two", "three")))
        assert await peer.next() == ("close", (4000, ""))
        await peer.message("dropped")
        await peer.rest()
    assert rig.error is None


async def test_fragmented_messages_with_control_frames_are_whole(rig):
    """Messages in fragments with control frames between are whole."""

    async def body(websocket):
        assert await websocket.receive() == "one two"

    async with rig.connect(body) as peer:
        await peer.message("one ", fin=False)
        await peer.ping(b"between")
        await peer.pong(b"unasked")
        await peer.message("two")
        assert await peer.rest() == [("pong", b"between"), ("close", (1000, ""))]


async def test_second_concurrent_receiver_is_a_busy_resource_error(rig):
    """Two receivers at once are a BusyResourceError and the first goes on."""

    async def body(websocket):
        async def first():
            assert await websocket.receive() == "for the first"

        websocket.nursery.start_soon(first)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await websocket.receive()
        await websocket.send("go")
        await trio.testing.wait_all_tasks_blocked(0.01)

    async with rig.connect(body) as peer:
        assert await peer.next() == ("text", "go")
        await peer.message("for the first")
        assert await peer.rest() == [("close", (1000, ""))]


# --- every async method is a cancellation point ---

USES = {
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_event": lambda ws: ws.receive_event(),
    "recv": lambda ws: ws.recv(),
    "anext": lambda ws: anext(aiter(ws)),
    "receive_stream": lambda ws: anext(aiter(ws.receive_stream())),
    "send": lambda ws: ws.send("x"),
    "send_text": lambda ws: ws.send_text("x"),
    "send_bytes": lambda ws: ws.send_bytes(b"x"),
    "send_json": lambda ws: ws.send_json(1),
    "send_event": lambda ws: ws.send_event({"type": "websocket.send", "text": "x"}),
    "send_stream": lambda ws: ws.send_stream(["x"]),
    "ping": lambda ws: ws.ping(),
    "pong": lambda ws: ws.pong(),
    "close": lambda ws: ws.close(),
    "ensure_closed": lambda ws: ws.ensure_closed(),
    "aclose": lambda ws: ws.aclose(),
}


@pytest.mark.values("use", all_on=("memory", "poller"))
@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
async def test_every_async_method_is_a_cancellation_point(rig, use, ended):
    """Also where it need not wait, and where the connection has ended; and then nothing has happened."""

    async def body(websocket):
        assert await websocket.receive() == "ready"
        if ended:
            await websocket.close(4000)
        with trio.CancelScope() as scope:
            scope.cancel()
            await use(websocket)
        assert scope.cancelled_caught
        assert await websocket.receive() == "kept"

    async with rig.connect(body) as peer:
        await peer.send(b"".join(peer.data(content) for content in ("ready", "kept")))
        assert await peer.rest() == [("close", (4000 if ended else 1000, ""))]


async def test_the_first_event_is_a_cancellation_point_too(server):
    async def body(websocket):
        with trio.CancelScope() as scope:
            scope.cancel()
            await websocket.receive_event()
        assert scope.cancelled_caught
        assert await websocket.receive_event() == {"type": "websocket.connect"}
        await websocket.accept()

    assert await server.run(body, auto_accept=False) == [("close", (1000, ""))]


# --- ASGI events ---


async def test_receive_event_tells_messages_and_the_end_once(rig):
    async def body(websocket):
        assert await websocket.receive_event() == {"type": "websocket.receive", "text": "text"}
        assert await websocket.receive_event() == {"type": "websocket.receive", "bytes": b"bytes"}
        assert await websocket.receive_event() == {"type": "websocket.disconnect", "code": 4000, "reason": "bye"}
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive_event()

    async with rig.connect(body) as peer:
        await send_all(peer, "text", b"bytes")
        await peer.close(4000, "bye")
        await peer.rest()


async def test_an_asgi_application_can_be_written_with_events_alone(server):
    async def body(websocket):
        assert await websocket.receive_event() == {"type": "websocket.connect"}
        with pytest.raises(LocalProtocolError):
            await websocket.receive_event()
        headers = [(b"x-hello", b"caf\xe9")]
        await websocket.send_event({"type": "websocket.accept", "subprotocol": "chat", "headers": headers})
        event = await websocket.receive_event()
        await websocket.send_event({"type": "websocket.send", "text": event["text"]})
        await websocket.send_event({"type": "websocket.send", "bytes": b"bytes", "text": None})
        await websocket.send_event({"type": "websocket.close", "code": 4001, "reason": "done"})

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, auto_accept=False)
        head, peer = await server.dial("Sec-WebSocket-Protocol: chat")
        assert status_of(head) == 101
        assert b"caf\xe9" in head
        await peer.message("hello")
        assert await peer.rest() == [("text", "hello"), ("binary", b"bytes"), ("close", (4001, "done"))]
        await server.all_gone()
        nursery.cancel_scope.cancel()
    assert server.error is None


async def test_a_close_event_before_the_answer_is_a_403(server):
    async def body(websocket):
        await websocket.receive_event()
        await websocket.send_event({"type": "websocket.close", "code": 4001})

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, auto_accept=False)
        head, peer = await server.dial()
        assert status_of(head) == 403
        await peer.leave()
        await server.all_gone()
        nursery.cancel_scope.cancel()


@pytest.mark.values("event")
@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"type": "websocket.receive", "text": "x"}, ValueError),
        ({}, ValueError),
        ({"type": "websocket.send"}, ValueError),
        ({"type": "websocket.send", "text": "x", "bytes": b"x"}, ValueError),
        ({"type": "websocket.send", "text": b"x"}, TypeError),
        ({"type": "websocket.send", "bytes": "x"}, TypeError),
        ({"type": "websocket.close", "code": 1005}, ValueError),
    ],
)
async def test_invalid_event_is_refused_and_nothing_is_sent(rig, event, error):
    """An event that makes no sense is refused and nothing is sent."""

    async def body(websocket):
        with pytest.raises(error):
            await websocket.send_event(event)

    assert await rig.run(body) == [("close", (1000, ""))]
