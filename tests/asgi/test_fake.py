"""The bridge on an ASGI server that does what the test says: what it tells, and what becomes of the handler."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.endings import code_of, end_of
from support.handlers import echo, stall, until_cancelled
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_ws import (
    Limits,
    LocalProtocolError,
    Reject,
    Response,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from trio_ws.asgi import ASGIApplication
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.testing import cancel_everywhere

from .server import bridge_of, called, calling, seen_as

TIMES = Timeouts(
    ping_interval=None, close_timeout=2, drain_timeout=1, cleanup_timeout=5, send_timeout=3, open_timeout=4
)


# --- messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"text": "a", "bytes": None}, "a"),
        ({"text": "", "bytes": None}, ""),
        ({"text": "a"}, "a"),
        ({"bytes": b"\0", "text": None}, b"\0"),
        ({"bytes": b"", "text": None}, b""),
        ({"bytes": b""}, b""),
    ],
    ids=str,
)
async def test_each_form_of_a_message_is_one_and_an_empty_one_too(event: dict[str, Any], message: Any) -> None:
    got = []

    async def handler(ws: WebSocket) -> None:
        got.append(await ws.receive())

    async with calling(bridge_of(handler)) as call:
        call.put("websocket.receive", **event)
        await call.next(2)
        call.leave(1000)
    assert got == [message]


Message = st.text(max_size=5) | st.binary(max_size=5)


@given(
    messages=st.lists(Message, max_size=40),
    end=st.sampled_from([None, 1000, 1001, 1005, 1006, 4000]),
    bounds=st.tuples(st.integers(1, 5), st.integers(1, 40)),
    close_first=st.booleans(),
)
def test_legal_events_are_received_in_order_and_call_returns(
    messages: list[str | bytes], end: int | None, bounds: tuple[int, int], close_first: bool
) -> None:
    """Any events that are legal are received in order and the call returns."""
    got: list[str | bytes] = []
    ends: list[int] = []

    async def handler(ws: WebSocket) -> None:
        try:
            while True:
                got.append(await ws.receive())
                await ws.send(got[-1])
        except WebSocketDisconnect as error:
            ends.append(error.code)

    async def leave(ws: WebSocket, code: int) -> None:
        ends.append(code)

    async def main() -> None:
        limits = Limits(inbox_messages=bounds[0], inbox_bytes=bounds[1], outbox_bytes=bounds[1])
        bridge = bridge_of(handler, settings={"limits": limits, "timeouts": TIMES}, on_disconnect=leave)
        async with calling(bridge) as call:
            for message in messages:
                call.say(message)
            await call.next(1 + len(messages))
            if close_first:
                bridge.shutdown(1012)
                await call.next(2 + len(messages))
            call.leave(1005 if end is None else end)
        sent = [seen_as(event) for event in call.sent]
        expected = [("accept", None), *(("send", message) for message in messages)]
        code = 1012 if close_first else (1005 if end is None else end)
        assert sent == expected + ([("close", 1012)] if close_first else [])
        assert got == messages
        assert ends == [code, code]

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_a_message_that_is_too_large_ends_with_1009(autojump_clock: MockClock) -> None:
    fate = []

    async def handler(ws: WebSocket) -> None:
        fate.append([await ws.receive(), await ws.receive(), await code_of(ws)])

    limits = Limits(max_message_size=5)
    async with calling(bridge_of(handler, settings={"limits": limits})) as call:
        call.say("\N{SNOWMAN}xx")
        call.say(bytes(5))
        call.say("\N{SNOWMAN}\N{SNOWMAN}")  # six bytes
        assert seen_as((await call.next(2))[-1]) == ("close", 1009)
        call.leave(1000)
    assert fate == [["\N{SNOWMAN}xx", bytes(5), 1009]]


async def test_a_full_inbox_stops_receiving_until_it_is_empty(autojump_clock: MockClock) -> None:
    go = trio.Event()

    async def handler(ws: WebSocket) -> None:
        await go.wait()
        for _ in range(10):
            await ws.receive()

    async with calling(bridge_of(handler, settings={"limits": Limits(inbox_messages=4)})) as call:
        for _ in range(10):
            call.say("x")
        await wait_all_tasks_blocked()
        assert call._queue.statistics().current_buffer_used == 6
        go.set()
        await call.next(2)
        call.leave(1000)
    assert [seen_as(event) for event in call.sent] == [("accept", None), ("close", 1000)]


async def test_events_that_are_none_of_ours_are_passed_over() -> None:
    async with calling(bridge_of(echo)) as call:
        call.put("websocket.novelty")
        call.say("after")
        await call.next(2)
        call.leave()


async def test_a_receive_that_fails_is_the_end(caplog: pytest.LogCaptureFixture) -> None:
    ends = []

    async def note(ws: WebSocket, code: int) -> None:
        ends.append((code, ws.close_info and ws.close_info.by))

    async with calling(bridge_of(echo, on_disconnect=note)) as call:
        await call.next(1)
        call._events.close()
    assert ends == [(1006, "network")]
    assert "receive() of the ASGI server failed" in caplog.text


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "seen", "by"), [(1006, 1006, "unknown"), (1001, 1001, "peer"), (None, 1005, "peer"), (4000, 4000, "peer")]
)
async def test_the_code_of_the_disconnect_and_1006_is_unknown(code: int | None, seen: int, by: str) -> None:
    infos = []

    async def note(ws: WebSocket, code: int) -> None:
        infos.append(ws.close_info)

    async with calling(bridge_of(echo, on_disconnect=note)) as call:
        call.leave(code, reason="bye")
    (info,) = infos
    assert info is not None
    assert (info.code, info.reason, info.by) == (seen, "bye", by)


@pytest.mark.parametrize(
    ("caught", "silent"), [((1000, 1001), True), (all, True), ((1006,), True), ((), False), ((4000,), False)], ids=str
)
async def test_who_catches_good_ends_catches_an_unknown_one(
    caught: Any, silent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    after = []

    async def handler(ws: WebSocket) -> None:
        async for _ in ws:
            pass
        after.append("the line behind the loop")

    async with calling(bridge_of(handler, caught_close_codes=caught)) as call:
        call.leave(1006)
    assert bool(after) == silent
    assert bool(caplog.records) != silent


@pytest.mark.parametrize(
    ("error", "code"), [(None, 1000), (WebSocketException(4003, "why"), 4003), (ValueError("oops"), 1011)], ids=str
)
async def test_each_outcome_has_its_close_code(error: Exception | None, code: int) -> None:
    async def handler(ws: WebSocket) -> None:
        if error is not None:
            raise error

    bridge = bridge_of(handler)
    call = await called(bridge)
    assert [seen_as(event) for event in call.sent] == [("accept", None), ("close", code)]
    assert bridge.statistics().handler_errors == (code == 1011)


async def test_the_disconnect_rule_cancels_who_does_not_read_at_once(autojump_clock: MockClock) -> None:
    fate = []

    async def handler(ws: WebSocket) -> None:
        await until_cancelled(lambda cancelled: fate.append((trio.current_time(), cancelled.reason)))

    async with calling(bridge_of(handler)) as call:
        await trio.sleep(5)
        start = trio.current_time()
        call.leave(1006)
    assert fate == [(start, "client gone: 1006")]


async def test_drain_timeout_before_and_cleanup_timeout_after_notice(autojump_clock: MockClock) -> None:
    """Who reads has drain_timeout and who was told cleanup_timeout."""
    fate = []

    def handler_of(told: bool) -> Any:
        async def handler(ws: WebSocket) -> None:
            await ws.receive()
            if told:
                await end_of(ws)
            else:
                await ws.send("read")
            start = trio.current_time()
            await until_cancelled(lambda _: fate.append(trio.current_time() - start))

        return handler

    for told in (False, True):
        async with calling(bridge_of(handler_of(told), settings={"timeouts": TIMES})) as call:
            call.say("x")
            if not told:
                await call.next(2)
            call.leave(1006)
    assert fate == [1.0, 5.0]


async def test_a_send_after_the_disconnect_raises_our_own_error(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def handler(ws: WebSocket) -> None:
        while ws.connected:
            await trio.sleep(0.1)
        for use in (ws.send("x"), ws.send_stream(["x"]), ws.ping(), ws.pong(b"x")):
            with pytest.raises(WebSocketDisconnect, match="1006"):
                await use
            told.append("told")
        assert ws.context.open_channel().writer.offer(PreparedMessage("dropped"))
        await ws.close(4000)  # no complaint

    async with calling(bridge_of(handler, when_peer_leaves="finish")) as call:
        call.leave(1006)
    assert len(told) == 4
    assert [seen_as(event) for event in call.sent] == [("accept", None)]


async def test_messages_that_wait_at_the_disconnect_are_dropped(autojump_clock: MockClock) -> None:
    """The server gets no event after the disconnect but the one that it was taking."""

    async def handler(ws: WebSocket) -> None:
        for message in ("taken", "being taken", "waits", "waits too"):
            await ws.send(message)
        while ws.connected:
            await trio.sleep(0.1)
        call.make_room()
        await trio.sleep(1)

    async with calling(bridge_of(handler, when_peer_leaves="finish")) as call:
        call.room = 2
        await call.next(2)
        await trio.sleep(1)
        call.leave(1006)
    assert [seen_as(event)[1] for event in call.sent] == [None, "taken", "being taken"]


async def test_close_waits_for_the_disconnect_at_most_close_timeout(autojump_clock: MockClock) -> None:
    waited = []

    async def handler(ws: WebSocket) -> None:
        start = trio.current_time()
        await ws.close(4000)
        waited.append(trio.current_time() - start)

    async with calling(bridge_of(handler, settings={"timeouts": TIMES})) as call:
        assert await call.ended() == [("accept", None), ("close", 4000)]
    async with calling(bridge_of(handler, settings={"timeouts": TIMES})) as call:
        await call.next(2)
        call.say("dropped")
        call.leave(1000)
    assert waited == [2.0, 0.0]


async def test_http2_call_stays_until_client_ends_its_stream(autojump_clock: MockClock) -> None:
    """A call over HTTP/2 stays until the client has ended its side."""

    async def handler(ws: WebSocket) -> None:
        pass

    bridge = bridge_of(handler, settings={"timeouts": TIMES})
    for leaves in (True, False):
        async with calling(bridge, http_version="2") as call:
            start = trio.current_time()
            await call.next(2)
            await trio.sleep(10)
            assert not call.returned.is_set()
            assert bridge.statistics().connections == 0  # it is over, but for the call
            if leaves:
                call.leave(1000)
        assert trio.current_time() - start == (10 if leaves else 62)


# --- sending ---------------------------------------------------------------------------------------------------------


async def test_senders_wait_for_room_and_offers_come_behind_them(autojump_clock: MockClock) -> None:
    steps: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        channel = ws.context.open_channel()
        await ws.send("x" * 100)
        assert not channel.writer.offer(PreparedMessage("no room"))
        channel.writer.when_writable(lambda: steps.append("writable"))
        unwanted = lambda: steps.append("forgotten")  # noqa: E731 - it is compared by identity
        channel.writer.when_writable(unwanted)
        channel.writer.forget_writable(unwanted)
        with trio.move_on_after(1) as scope:
            await ws.send("never sent")
        steps.append(scope.cancelled_caught)
        call.make_room()
        await ws.send("second")
        while "writable" not in steps:
            await trio.sleep(0.01)
        assert channel.writer.offer(PreparedMessage(b"offered"))

    async with calling(bridge_of(handler, settings={"limits": Limits(outbox_bytes=100)})) as call:
        call.room = 1
        await call.next(5)
        call.leave(1000)
    assert steps == [True, "writable"]
    contents = ["x" * 100, "second", b"offered"]
    assert [seen_as(event)[1] for event in call.sent] == [None, *contents, 1000]


async def test_server_that_accepts_no_data_is_aborted_at_send_timeout(autojump_clock: MockClock) -> None:
    """A server that takes nothing is given up after send_timeout."""
    fate = []

    async def handler(ws: WebSocket) -> None:
        await ws.send("x" * 1000)
        start = trio.current_time()
        with pytest.raises(WebSocketDisconnect, match="1013"):
            await ws.send("y")
        await ws.close()  # waits for nothing any more
        fate.append(trio.current_time() - start)

    limits = Limits(outbox_bytes=100)
    async with calling(bridge_of(handler, settings={"timeouts": TIMES, "limits": limits})) as call:
        call.room = 1
        await call.ended()
    assert fate == [3.0]


async def test_a_server_that_makes_progress_is_kept(autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        for _ in range(4):
            await ws.send("x" * 1000)

    limits = Limits(outbox_bytes=1500)
    async with calling(bridge_of(handler, settings={"timeouts": TIMES, "limits": limits})) as call:
        for room in range(1, 5):
            call.room = room
            call._changed.unpark_all()
            await trio.sleep(2)
        call.make_room()
        await call.next(6)
        call.leave(1000)


async def test_a_server_that_has_taken_everything_is_left_alone(autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.send("x" * 1000)
        await trio.sleep(2 * TIMES.send_timeout)
        await ws.send("y")

    limits = Limits(outbox_bytes=100)
    call = await called(bridge_of(handler, settings={"timeouts": TIMES, "limits": limits}), events=4)
    assert seen_as(call.sent[-1]) == ("close", 1000)


@pytest.mark.parametrize(("error", "logged"), [(OSError("gone"), False), (RuntimeError("broken"), True)], ids=str)
async def test_a_server_whose_send_fails_is_the_end(
    error: Exception, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """ASGI 2.4: OSError says that the client has left."""
    async with calling(bridge_of(echo)) as call:
        await call.next(1)
        call.failing = error
        call.say("x")
        assert await call.ended() == [("accept", None)]
    assert ("send() of the ASGI server failed" in caplog.text) == logged


async def test_one_stream_at_a_time_and_it_is_sent_whole(autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        async def parts() -> Any:
            yield "a"
            await trio.sleep(1)
            assert not ws.context.open_channel().writer.offer(PreparedMessage("between"))
            yield "b"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send_stream, parts())
            await trio.sleep(0.5)
            await ws.send("behind")
        await ws.send_stream([])
        await ws.send_stream([b"x", b"y"])
        for wrong in (["a", b"b"], [1]):
            with pytest.raises(TypeError):
                await ws.send_stream(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await ws.context.open_channel().writer.send(5)  # type: ignore[arg-type]

    call = await called(bridge_of(handler), events=6)
    contents = [seen_as(event)[1] for event in call.sent[1:-1]]
    assert sorted(map(str, contents[:2])) == ["ab", "behind"]
    assert contents[2:] == [b"", b"xy"]


async def test_receive_stream_gives_a_message_as_one_part() -> None:
    got = []

    async def handler(ws: WebSocket) -> None:
        got.append([part async for part in ws.receive_stream()])
        assert await ws.context.open_channel().reader.receive_chunk(first=False) == (b"", True)
        got.append([part async for part in ws.receive_stream()])

    await called(bridge_of(handler), "whole", b"")
    assert got == [["whole"], []]


@pytest.mark.parametrize(
    ("payload", "error"), [(b"x" * 126, ValueError), ("text", TypeError), (b"x" * 125, RuntimeError)]
)
async def test_pings_are_refused_and_it_is_said_what_to_do(payload: Any, error: type[Exception]) -> None:
    raised = []

    async def handler(ws: WebSocket) -> None:
        for use in (ws.ping(payload), ws.pong(payload)):
            with pytest.raises(error) as caught:
                await use
            raised.append(caught.value)

    await called(bridge_of(handler))
    if error is RuntimeError:
        assert isinstance(raised[0], LocalProtocolError)
        assert "websocket_ping_interval" in str(raised[0])


async def test_idle_and_old_connections_end_with_1001(autojump_clock: MockClock) -> None:
    for times in ({"idle_timeout": 3}, {"max_lifetime": 3}):
        bridge = bridge_of(echo, settings={"timeouts": Timeouts(ping_interval=None, **times)})
        async with calling(bridge) as call:
            start = trio.current_time()
            await trio.sleep(2)
            call.say("x")
            assert seen_as((await call.next(3))[-1]) == ("close", 1001)
            assert trio.current_time() - start == (5 if "idle_timeout" in times else 3)
            call.leave(1000)


async def test_a_message_on_its_way_after_a_hold_counts(mock_clock: MockClock) -> None:
    """The loop was held up for longer than `idle_timeout`; the ASGI server's tasks take a few turns to pass it on."""
    bridge = bridge_of(echo, settings={"timeouts": Timeouts(ping_interval=None, idle_timeout=10)})
    async with calling(bridge) as call:
        await call.next(1)
        clock = mock_clock
        clock.jump(100)
        for _ in range(6):
            await trio.lowlevel.checkpoint()
        call.say("x")
        assert seen_as((await call.next(2))[-1]) == ("send", "x")
        clock.jump(11)
        assert seen_as((await call.next(3))[-1]) == ("close", 1001)
        call.leave(1000)


async def test_a_peer_that_is_not_taken_from_is_not_idle(autojump_clock: MockClock) -> None:
    seen = []

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(35)
        async for message in ws:
            seen.append(message)

    settings = {"timeouts": Timeouts(ping_interval=None, idle_timeout=10), "limits": Limits(inbox_messages=2)}
    async with calling(bridge_of(handler, settings=settings)) as call:
        start = trio.current_time()
        for message in "abc":
            call.say(message)
        assert seen_as((await call.next(2))[-1]) == ("close", 1001)
        assert seen == ["a", "b", "c"]
        assert trio.current_time() - start == 45
        call.leave(1000)


async def test_both_loops_let_others_run() -> None:
    turns = []

    async def handler(ws: WebSocket) -> None:
        async def other() -> None:
            while True:
                turns.append(1)
                await trio.lowlevel.checkpoint()

        ws.nursery.start_soon(other)
        for _ in range(200):
            assert await ws.receive() == "x"

    limits = Limits(inbox_messages=1000)
    async with calling(bridge_of(handler, settings={"limits": limits})) as call:
        for _ in range(200):
            call.say("x")
        await call.next(2)
        call.leave(1000)
    assert len(turns) >= 3


async def test_what_ends_a_connection_ends_it_once(autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.close(4000)  # its age comes while it waits
        channel = ws.context.open_channel()
        channel.closing.abort(1013, "too late")
        channel.closing.begin_close(1011, "too late")
        assert ws.close_code == 4000

    times = Timeouts(ping_interval=None, close_timeout=2, max_lifetime=1)
    async with calling(bridge_of(handler, settings={"timeouts": times})) as call:
        assert await call.ended() == [("accept", None), ("close", 4000)]


async def test_second_of_two_readers_waits_for_the_next_message(autojump_clock: MockClock) -> None:
    """Two readers of one message and the later one waits for the next."""
    got = []

    async def handler(ws: WebSocket) -> None:
        async def read() -> None:
            got.append(await ws.receive())

        await trio.sleep(1)
        for _ in range(63):  # the next step lets others run
            await ws.send("x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(read)

    async with calling(bridge_of(handler)) as call:
        call.say("one")
        await call.next(64)
        call.say("two")
        await call.next(65)
        call.leave(1000)
    assert got == ["one", "two"]


# --- before the answer -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({"headers": [(b"host", b"a"), (b"origin", b"http://b")]}, 403),
        ({"headers": [(b"host", b"a"), (b"origin", b"http://a"), (b"origin", b"http://a")]}, 400),
        ({"headers": [(b"host", b"a b")]}, 400),
        ({"headers": [(b"host", b"a"), (b"sec-websocket-extensions", b"permessage-deflate; ;")]}, 400),
        (
            {
                "headers": [
                    (b"host", b"a"),
                    (b"sec-websocket-extensions", b"permessage-deflate; server_max_window_bits=z"),
                ]
            },
            400,
        ),
        ({"subprotocols": ["a", "a"]}, 400),
        ({"subprotocols": ["a b"]}, 400),
        ({"path": "x", "raw_path": b"x"}, 400),
        ({"headers": [(b"host", b"a"), (b"x", b"y" * Limits().max_header_size)]}, 431),
        ({"headers": [(b"host", b"a")] + [(b"x", b"y")] * Limits().max_headers}, 431),
        ({"headers": [(b"host", b"a")] + [(b"x", b"y" * 8000)] * 5}, 431),
        ({"query_string": b"y" * Limits().max_request_line}, 414),
    ],
    ids=lambda given: str(given)[:80],
)
async def test_a_handshake_that_cannot_be_answered_is_refused(scope: dict[str, Any], status: int) -> None:
    async with calling(bridge_of(echo), **scope) as call:
        assert ("status", status) in [seen_as(event) for event in await call.next(2)]


async def test_a_denial_has_its_status_headers_and_body() -> None:
    async def refuses(ws: WebSocket) -> None:
        raise Reject(401, {"WWW-Authenticate": "Basic"}, b"who are you?")

    async with calling(bridge_of(refuses, auto_accept=False)) as call:
        await call.next(2)
    start, body = call.sent
    assert start["type"] == "websocket.http.response.start"
    assert start["status"] == 401
    assert start["headers"] == [(b"www-authenticate", b"Basic"), (b"content-length", b"12")]
    assert body == {"type": "websocket.http.response.body", "body": b"who are you?"}


@pytest.mark.parametrize("extensions", [None, {}], ids=["none", "others"])
@pytest.mark.parametrize("status", [401, 403])
async def test_without_the_extension_a_denial_is_a_403(
    extensions: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    bridge = bridge_of(lambda ws: ws.reject(status), auto_accept=False)
    async with calling(bridge, extensions=extensions) as call:
        await call.next(1)
    assert call.sent == [{"type": "websocket.close"}]
    assert ("refused with 403, not" in caplog.text) == (status == 401)
    assert bridge.statistics().responses == {403: 1}


async def test_only_an_offered_subprotocol_is_accepted() -> None:
    errors = []

    async def handler(ws: WebSocket) -> None:
        with pytest.raises(LocalProtocolError, match="was not offered") as caught:
            await ws.accept("never")
        errors.append(caught.value)
        await ws.accept("b", {"X-Extra": "1"})

    call = await called(bridge_of(handler, auto_accept=False), subprotocols=["a", "b"])
    assert call.sent[0] == {"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-extra", b"1")]}
    assert len(errors) == 1


async def test_client_leaving_before_the_answer_cancels_handler() -> None:
    """A client that leaves before the answer cancels the handler."""
    reasons = []

    async def handler(ws: WebSocket) -> None:
        await until_cancelled(lambda cancelled: reasons.append(cancelled.reason))

    async with calling(bridge_of(handler, auto_accept=False)) as call:
        await wait_all_tasks_blocked()
        call.leave(1006)
    assert reasons == ["client left before the answer"]
    assert call.sent == []


async def test_client_leaving_after_a_denial_cancels_nothing(autojump_clock: MockClock) -> None:
    """The handler has answered: what it does afterwards is not for the client."""
    done = []

    async def handler(ws: WebSocket) -> None:
        await ws.send_denial_response(SimpleNamespace(status_code=403, raw_headers=[], body=b"no"))
        await trio.sleep(1)
        done.append(trio.current_time())

    async with calling(bridge_of(handler, auto_accept=False)) as call:
        await call.next(2)
        call.leave(1006)
    assert done == [1]


async def test_an_accept_after_the_client_has_left_is_a_disconnect() -> None:
    raised = []

    async def handler(ws: WebSocket) -> None:
        with trio.CancelScope(shield=True):
            await wait_all_tasks_blocked()
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.accept()
            raised.append(caught.value.code)

    async with calling(bridge_of(handler, auto_accept=False)) as call:
        call.leave(1006)
    assert raised == [1006]


async def test_a_call_that_begins_with_the_end_calls_nobody() -> None:
    async with calling(bridge_of(echo), connect=False) as call:
        call.leave(1006)
    assert call.sent == []


async def test_no_answer_within_open_timeout_is_a_503(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = bridge_of(stall, settings={"timeouts": TIMES}, auto_accept=False)
    async with calling(bridge) as call:
        await call.next(2)
        assert trio.current_time() == 4
    assert ("status", 503) in [seen_as(event) for event in call.sent]
    assert "no answer within open_timeout" in caplog.text


class Odd:
    """A responder that says what it was told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def page(self, request: Any) -> Any:
        return self._answer()

    def route(self, request: Any) -> Any:
        return self._answer()

    def _answer(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Response(status=404, body=b"no"), 404),
        (Response(status=404, headers={"Content-Length": "3"}), 500),
        (ValueError("broken"), 500),
    ],
    ids=["refusal", "one that cannot be sent", "error"],
)
async def test_the_responder_may_refuse_or_fail(answer: Any, status: int) -> None:
    async with calling(ASGIApplication(Odd(answer))) as call:
        await call.next(2)
    assert ("status", status) in [seen_as(event) for event in call.sent]


@pytest.mark.parametrize("limits", [Limits(max_connections=1), Limits(max_connections_per_ip=1)], ids=["all", "ip"])
async def test_who_has_no_room_is_refused_with_503(limits: Limits) -> None:
    bridge = bridge_of(echo, settings={"limits": limits})
    async with calling(bridge) as first:
        await first.next(1)
        async with calling(bridge) as second:
            await second.next(2)
        assert ("status", 503) in [seen_as(event) for event in second.sent]
        assert bridge.statistics().websockets == 1
        first.leave(1000)
    async with calling(bridge) as third:
        assert seen_as((await third.next(1))[0]) == ("accept", None)
        third.leave(1000)
    statistics = bridge.statistics()
    assert (statistics.connections, statistics.accepted, statistics.refused) == (0, 2, 1)


# --- the end of the server -------------------------------------------------------------------------------------------


async def test_shutdown_closes_open_connections_and_refuses_others(autojump_clock: MockClock) -> None:
    """Shutdown tells those who are open and refuses the others."""

    async def handler(ws: WebSocket) -> None:
        if ws.request.path == "/undecided":
            await trio.sleep_forever()
        await ws.accept()
        await trio.sleep_forever()

    bridge = bridge_of(handler, auto_accept=False, settings={"timeouts": TIMES})
    async with (
        calling(bridge) as opened,
        calling(bridge, path="/undecided", raw_path=b"/undecided") as undecided,
        calling(bridge, connect=False) as fresh,
    ):
        await opened.next(1)
        await wait_all_tasks_blocked()
        bridge.shutdown(1012, grace=1, reason="new version")
        assert bridge.draining
        fresh.put("websocket.connect")
        await opened.next(2)
        opened.leave(1000)
        with trio.fail_after(3):
            await bridge.wait_shutdown()
    assert opened.sent[-1] == {"type": "websocket.close", "code": 1012, "reason": "new version"}
    async with calling(bridge) as late:
        await late.next(2)
    for call in (undecided, fresh, late):
        (start,) = [event for event in call.sent if seen_as(event) == ("status", 503)]
        assert (b"retry-after", b"1") in start["headers"]


async def test_second_shutdown_can_only_shorten_the_grace(autojump_clock: MockClock) -> None:
    """Handlers have their grace and a second shutdown can only shorten it."""

    async def handler(ws: WebSocket) -> None:
        assert await code_of(ws) == 1001
        await trio.sleep_forever()

    bridge = bridge_of(handler, settings={"timeouts": TIMES})
    async with calling(bridge) as call:
        await call.next(1)
        bridge.shutdown(grace=50)
        bridge.shutdown(grace=100)
        bridge.shutdown()
        await trio.sleep(20)
        assert not call.returned.is_set()
        bridge.shutdown(grace=3)
        await call.ended()
    assert trio.current_time() == 23


async def test_handler_that_never_reads_is_cancelled_after_close_reply(autojump_clock: MockClock) -> None:
    """A handler that never reads is cancelled when its client has answered."""

    bridge = bridge_of(stall, settings={"timeouts": TIMES})
    async with calling(bridge) as call:
        await call.next(1)
        bridge.shutdown(grace=50)
        await call.next(2)
        await trio.sleep(1)
        call.leave(1000)
    assert trio.current_time() == 1
    assert dict(bridge.statistics().closed) == {1001: 1}


async def test_shutdown_delay_refuses_new_and_keeps_open_connections(autojump_clock: MockClock) -> None:
    """Before the delay is over nobody is told but new ones are refused."""
    bridge = bridge_of(echo, settings={"timeouts": Timeouts(ping_interval=None, drain_delay=7)})
    async with calling(bridge) as call:
        await call.next(1)
        bridge.shutdown()
        async with calling(bridge) as late:
            await late.next(2)
        assert seen_as(late.sent[0]) == ("status", 503)
        await call.next(2)
        assert trio.current_time() == 7
        call.leave(1000)
    assert dict(bridge.statistics().responses) == {503: 1}


async def test_a_trusted_proxy_says_who_the_client_is() -> None:
    clients = []

    async def handler(ws: WebSocket) -> None:
        clients.append((ws.client, ws.url.scheme))

    headers = [(b"host", b"a"), (b"x-forwarded-for", b"192.0.2.1"), (b"x-forwarded-proto", b"https")]
    for trusted in ((), ("127.0.0.1",)):
        await called(bridge_of(handler, settings={"trusted_proxies": trusted}), headers=headers)
    assert clients == [(("127.0.0.1", 1234), "ws"), (("192.0.2.1", 0), "wss")]


async def test_a_server_that_cancels_the_call_lets_it_say_goodbye(autojump_clock: MockClock) -> None:
    codes = []

    async def farewell(ws: WebSocket, code: int) -> None:
        await trio.sleep(1)
        codes.append(code)

    async with calling(bridge_of(stall, on_disconnect=farewell)) as call:
        await call.next(1)
        start = trio.current_time()
        call.scope.cancel()
        assert await call.ended() == [("accept", None), ("close", 1001)]
    assert codes == [1001]
    assert trio.current_time() - start == 1  # it hears of no answer, and waits for none


async def test_that_goodbye_is_bounded_if_the_server_takes_nothing(autojump_clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await ws.send("x")
        await trio.sleep_forever()

    async with calling(bridge_of(handler, settings={"timeouts": TIMES})) as call:
        call.room = 1
        await wait_all_tasks_blocked()
        call.scope.cancel()
        assert await call.ended() == [("accept", None)]
    assert trio.current_time() <= 2 * TIMES.close_timeout


async def test_cancelled_call_sends_one_close_frame_or_no_answer() -> None:
    """Cancelled at each checkpoint a call sends one close frame or no answer."""

    async def scenario(cut: Any) -> None:
        ends: list[int] = []

        async def note(ws: WebSocket, code: int) -> None:
            ends.append(code)

        bridge = bridge_of(echo, on_disconnect=note, settings={"timeouts": Timeouts(close_timeout=0.01)})

        async def application(*arguments: Any) -> None:
            with cut():
                await bridge(*arguments)

        async with calling(application) as call:
            call.say("one")
            call.say("two")
            call.leave(1000)
            seen = await call.ended()
        answered = [kind for kind, _ in seen].count("accept")
        closed = [code for kind, code in seen if kind == "close"]
        assert len(ends) <= answered <= 1 or not seen
        assert closed in ([], [1001])
        assert bridge.statistics().connections == 0

    assert await cancel_everywhere(scenario) >= 10


async def test_dismissed_connection_is_told_1013_behind_what_waits(autojump_clock: MockClock) -> None:
    """As by a room's policy "disconnect": the server takes nothing at first; `close_timeout` is 5 s here."""
    gone = []

    async def handler(ws: WebSocket) -> None:
        channel = ws.context.open_channel()
        while channel.writer.offer(PreparedMessage(b"x" * 200)):
            pass
        channel.closing.dismiss(1013, "too slow")
        gone.append(ws.close_code)

    timeouts = Timeouts(send_timeout=None, close_timeout=5, cleanup_timeout=1)
    settings = {"timeouts": timeouts, "limits": Limits(outbox_bytes=100)}
    async with calling(bridge_of(handler, settings=settings)) as call:
        call.room = 1
        await trio.sleep(4)
        call.make_room()
        await trio.sleep(0.5)
        call.leave(1013)
    assert gone == [1013]
    assert seen_as(call.sent[-1]) == ("close", 1013)
