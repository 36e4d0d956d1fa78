"""How a connection ends: for everything that a handler can do, the close code, the log and the callbacks."""

from __future__ import annotations

import logging

import pytest
import trio
from support.endings import code_of, end_of
from support.handlers import noted_when_cancelled, stall, until_cancelled

from contracts.rig import LONG, Rig, status_of
from trio_ws import (
    InvalidMessage,
    LocalProtocolError,
    Reject,
    Timeouts,
    UnexpectedMessage,
    WebSocketDisconnect,
    WebSocketException,
)


class MappedError(Exception):
    pass


def close_code_of(error):
    return 4010 if isinstance(error, MappedError) else None


def raises(error):
    async def body(websocket):
        raise error

    return body


async def returns(websocket):
    pass


async def closes(websocket):
    await websocket.close(4001, "because")


async def closes_then_raises(websocket):
    await websocket.close(4001, "because")
    raise WebSocketException(4002)


async def receives_text(websocket):
    await websocket.receive_text()


async def receives_json(websocket):
    await websocket.receive_json()


async def fails_in_a_child_task(websocket):
    async def child():
        raise MappedError

    websocket.nursery.start_soon(child)
    await trio.sleep_forever()


async def fails_in_tasks_of_its_own(websocket):
    async def child():
        raise MappedError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        nursery.start_soon(child)


FORESEEN = {
    "returns": (returns, (1000, "")),
    "closes": (closes, (4001, "because")),
    "closes, then raises": (closes_then_raises, (4001, "because")),
    "WebSocketException": (raises(WebSocketException(4003, "why")), (4003, "why")),
    "WebSocketException(1008)": (raises(WebSocketException(1008)), (1008, "")),
    "mapped": (raises(MappedError()), (4010, "")),
    "mapped, in a child task": (fails_in_a_child_task, (4010, "")),
    "mapped, in tasks of its own": (fails_in_tasks_of_its_own, (4010, "")),
    "a group of one code": (
        raises(ExceptionGroup("", [MappedError(), ExceptionGroup("", [WebSocketException(4010)])])),
        (4010, ""),
    ),
    "a group of one code with reasons": (
        raises(ExceptionGroup("", [WebSocketException(4003, "why"), WebSocketException(4003, "why")])),
        (4003, "why"),
    ),
}
"""Handlers, and the close frame that they end with."""


@pytest.mark.parametrize(("body", "close"), FORESEEN.values(), ids=FORESEEN.keys())
async def test_expected_end_sends_its_code_and_logs_nothing(server, caplog, body, close):
    """An end that was foreseen sends its code and logs nothing."""
    errors = []

    async def on_error(websocket, error):
        errors.append(error)

    assert await server.run(body, close_code_of=close_code_of, on_error=on_error) == [("close", close)]
    assert server.codes == [close[0]]
    assert errors == []
    assert caplog.records == []


UNFORESEEN = {
    "ValueError": ValueError("oops"),
    "a group of several codes": ExceptionGroup("", [MappedError(), WebSocketException(4011)]),
    "a group with an unknown error": ExceptionGroup("", [MappedError(), ValueError("oops")]),
    "a code that cannot be sent": MappedError("unsendable"),
    "a disconnect of another connection": WebSocketDisconnect(1006),
    "a good end of another connection": WebSocketDisconnect(1000),
    "a good end of another connection, in a group": ExceptionGroup("", [WebSocketDisconnect(1000)]),
    "Reject after the answer": Reject(404),
}


@pytest.mark.parametrize("error", UNFORESEEN.values(), ids=UNFORESEEN.keys())
async def test_unexpected_error_is_1011_one_record_then_on_error(server, caplog, error):
    """Any other error is 1011 one record with traceback then on_error."""
    records_before = []

    async def on_error(websocket, raised):
        assert raised is error
        assert websocket is server.websocket
        records_before.append(len(caplog.records))

    def code_of(error):
        return 1005 if error.args == ("unsendable",) else close_code_of(error)

    assert await server.run(raises(error), close_code_of=code_of, on_error=on_error) == [("close", (1011, ""))]
    assert server.codes == [1011]
    assert records_before == [1]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info[1] is error
    assert record.exc_info[2] is not None


async def test_an_error_of_on_error_is_logged_and_harms_nothing(server, caplog):
    async def on_error(websocket, error):
        raise RuntimeError("again")

    assert await server.run(raises(ValueError("first")), on_error=on_error) == [("close", (1011, ""))]
    assert [str(record.exc_info[1]) for record in caplog.records] == ["first", "again"]


async def test_an_error_of_close_code_of_is_logged_and_harms_nothing(server, caplog):
    def code_of(error):
        raise RuntimeError("the map itself")

    assert await server.run(raises(ValueError("first")), close_code_of=code_of) == [("close", (1011, ""))]
    assert server.codes == [1011]
    assert [str(record.exc_info[1]) for record in caplog.records] == ["the map itself", "first"]


async def test_the_handlers_error_and_its_childs_are_reported_as_one(server, caplog):
    async def body(websocket):
        async def child():
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("child")

        websocket.nursery.start_soon(child)
        await trio.testing.wait_all_tasks_blocked()
        raise ValueError("handler")

    assert await server.run(body) == [("close", (1011, ""))]
    (record,) = caplog.records
    assert record.exc_info[1].subgroup(ValueError)
    assert record.exc_info[1].subgroup(KeyError)


async def test_handler_error_ends_only_its_own_connection(server):
    """A handler's error ends its own connection and nothing else."""

    async def body(websocket):
        async for message in websocket:
            if message == "fail":
                raise ValueError
            await websocket.send(message)

    async with server.connect(body) as peer:
        _, other = await server.dial()
        await other.message("fail")
        assert await other.rest() == [("close", (1011, ""))]
        await peer.message("still here")
        assert await peer.next() == ("text", "still here")
        await peer.close()
    assert server.codes == [1011, 1000]


@pytest.mark.filterwarnings("ignore::trio.TrioDeprecationWarning")
def test_child_error_stays_in_connection_without_strict_groups(caplog):
    """A child's error stays in its connection where Trio runs without strict groups."""
    server = Rig("server", "memory")

    async def main():
        assert await server.run(fails_in_a_child_task) == [("close", (1011, ""))]

    trio.run(main, strict_exception_groups=False)
    assert server.codes == [1011]
    (record,) = caplog.records
    assert record.exc_info[0] is MappedError


async def test_strict_raises_error_out_of_serve_and_closes_all(server):
    """Strict lets the error out of serve and tells everyone else."""

    async def body(websocket):
        if websocket.url.path == "/fails":
            raise ValueError("strict")
        await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await server.serve(nursery, body, strict=True)
            _, peer = await server.dial()
            head, failing = await server.dial(target="/fails")
            assert status_of(head) == 101
            with trio.CancelScope(shield=True), trio.move_on_after(LONG):
                assert await failing.rest() == [("close", (1011, ""))]
                assert await peer.rest() == [("close", (1001, ""))]
    (leaf,) = _leaves(caught.value)
    assert str(leaf) == "strict"
    assert sorted(server.codes) == [1001, 1011]


def _leaves(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


# --- what the peer sends ---


async def test_an_uncaught_message_of_the_wrong_kind_is_1003(server, caplog):
    assert await server.run(receives_text, b"binary") == [("close", (1003, "expected text, the peer sent binary"))]
    assert isinstance(server.error, UnexpectedMessage)
    assert server.error.message == b"binary"
    assert caplog.records == []


async def test_an_uncaught_message_that_is_no_json_is_1007(server, caplog):
    assert (await server.run(receives_json, "{"))[0][1][0] == 1007
    assert isinstance(server.error, InvalidMessage)
    assert server.error.message == "{"
    assert caplog.records == []


@pytest.mark.parametrize(
    ("receive", "content", "code"), [(receives_text, b"", 1003), (receives_json, "nope", 1007)], ids=["kind", "json"]
)
async def test_who_catches_the_error_goes_on(rig, receive, content, code):
    async def body(websocket):
        try:
            await receive(websocket)
        except (UnexpectedMessage, InvalidMessage) as error:
            assert error.message == content  # noqa: PT017 - that it is raised, the answer shows
            await websocket.send("again, please")
        assert await websocket.receive() == "better"

    async with rig.connect(body) as peer:
        await peer.message(content)
        assert await peer.next() == ("text", "again, please")
        await peer.message("better")
        assert await peer.rest() == [("close", (1000, ""))]


@pytest.mark.values("code")
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "bye"), (1005, ""), (1008, "bye"), (3000, ""), (4999, "bye")]
)
async def test_a_clean_end_by_the_peer_is_echoed_and_raised(rig, code, reason, caplog):
    caplog.set_level(logging.INFO)

    async def body(websocket):
        caught = await end_of(websocket)
        assert (caught.code, caught.reason) == (code, reason)
        assert websocket.close_info.by == "peer"
        raise caught

    async with rig.connect(body) as peer:
        await peer.close(None if code == 1005 else code, reason)
        assert await peer.rest() == [("close", (code, reason))]
    if rig.side == "server":
        assert rig.codes == [code]
        # A caught code is silent, another is worth a line, but is no error of ours.
        assert [record.levelno for record in caplog.records] == ([] if code in GOOD else [logging.INFO])
    else:
        assert (rig.error is None) == (code in GOOD)


GOOD = (1000, 1001, 1005)
"""Codes that are caught by default: a close frame without one counts as 1000."""


@pytest.mark.parametrize("caught_close_codes", [all, (1006,), ()], ids=["all", "1006", "none"])
async def test_caught_close_codes_say_which_ends_are_silent(rig, caught_close_codes, caplog):
    caplog.set_level(logging.INFO)

    async def body(websocket):
        async for _ in websocket:
            pass

    async with rig.connect(body, caught_close_codes=caught_close_codes) as peer:
        await peer.leave()
    silent = caught_close_codes != ()
    if rig.side == "server":
        assert rig.codes == [1006]
        assert bool(caplog.records) != silent
    else:
        assert isinstance(rig.error, WebSocketDisconnect) != silent


async def test_an_unclean_end_is_1006(rig):
    async def body(websocket):
        assert await code_of(websocket) == 1006
        assert websocket.close_code == 1006
        assert websocket.close_info.by == "network"

    async with rig.connect(body) as peer:
        await peer.leave()
    assert rig.codes == ([1006] if rig.side == "server" else [])
    assert rig.error is None


BREACHES = {
    "a reserved opcode": (b"\x83", 1002),
    "a reserved bit": (b"\xc1", 1002),
    "text that is no UTF-8": (b"\x81\x81\0\0\0\0\xff", 1007),
    "a message that is too big": (b"\x82\xff\x00\x00\x00\x00\x7f\xff\xff\xff\0\0\0\0", 1009),
}


@pytest.mark.parametrize(("frame", "code"), BREACHES.values(), ids=BREACHES.keys())
async def test_protocol_error_is_answered_then_the_connection_ends(rig, frame, code, clock):
    """What came before the breach can still be received; the handler then learns how it ended."""
    if rig.side == "client":  # a server's frames are not masked
        frame = {b"\x81\x81\0\0\0\0\xff": b"\x81\x01\xff"}.get(frame, frame.replace(b"\xff\x00\x00", b"\x7f\x00\x00"))
    if len(frame) == 1:
        frame += b"\x80\0\0\0\0" if rig.side == "server" else b"\0"

    async def body(websocket):
        assert await websocket.receive() == "before"
        assert await code_of(websocket) == code
        assert websocket.close_info.by == "local"

    async with rig.connect(body) as peer:
        await peer.message("before")
        await peer.send(frame)
        while await peer.next() is not None:
            pass
        assert [kind for kind, _ in peer.seen] == ["close"]
        assert peer.seen[0][1][0] == code
    assert rig.error is None
    assert rig.codes == ([code] if rig.side == "server" else [])


async def test_peer_without_pong_is_closed_with_1011_and_replies_late(rig, clock):
    """The handler is cancelled; the peer's answer to the close frame harms nobody."""
    ended = []

    async def body(websocket):
        await until_cancelled(lambda cancelled: ended.append(cancelled.reason))

    times = Timeouts(ping_interval=0.1, ping_timeout=0.1)
    async with rig.connect(body, timeouts=times) as peer:
        assert await peer.next() == ("ping", b"keepalive")
        assert await peer.rest() == [("close", (1011, "keepalive ping timeout"))]
        if rig.side == "server":
            _, other = await rig.dial()  # it goes on serving
            await other.leave()
    assert ended[0] == "closed by us: 1011 keepalive ping timeout"
    if rig.side == "server":
        assert rig.codes == [1011, 1006]
    else:
        assert isinstance(rig.error, WebSocketDisconnect)
        assert rig.error.code == 1011


# --- the same on the client: an error leaves the block, and the server is told ---


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("oops"), 1011),
        (WebSocketException(4003, "why"), 4003),
        (UnexpectedMessage("text", b""), 1003),
        (InvalidMessage("not JSON", "{"), 1007),
        (ExceptionGroup("", [WebSocketException(4003), WebSocketException(4003)]), 4003),
        (ExceptionGroup("", [WebSocketException(4003), ValueError()]), 1011),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
async def test_an_error_leaves_a_clients_block_and_the_server_is_told(client, error, code):
    assert (await client.run(raises(error)))[0][1][0] == code
    assert type(client.error) is type(error)
    assert _leaves(client.error) == _leaves(error)


async def test_child_error_leaves_the_client_block_and_closes_server(client):
    """An error of a child task leaves a client's block and the server is told."""

    async def body(websocket):
        async def child():
            raise ValueError("child")

        websocket.nursery.start_soon(child)
        await trio.sleep_forever()

    assert await client.run(body) == [("close", (1011, ""))]
    assert [str(leaf) for leaf in _leaves(client.error)] == ["child"]


async def test_cancelled_client_block_that_fails_raises_its_own_error(client, clock):
    """The server has left, the block was cancelled for it, and an error came up while it ended."""

    async def body(websocket):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("cleaning up")

    async with client.connect(body) as peer:
        await peer.leave()
    assert [str(leaf) for leaf in _leaves(client.error)] == ["cleaning up"]


# --- 'async with ws' in a handler ---


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 1000),
        (ValueError("oops"), 1011),
        (WebSocketException(4003), 4003),
        (MappedError(), 4010),
        (UnexpectedMessage("text", b""), 1003),
        (InvalidMessage("not JSON", "{"), 1007),
    ],
    ids=lambda value: "" if isinstance(value, int) else type(value).__name__,
)
async def test_leaving_async_with_closes_as_its_error_demands(server, error, code):
    after = []

    async def body(websocket):
        assert not websocket.accepted
        try:
            async with websocket as same:
                assert same is websocket
                assert websocket.connected
                if error is not None:
                    raise error
        finally:
            after.append(websocket.close_code)

    assert (await server.run(body, auto_accept=False, close_code_of=close_code_of))[0][1][0] == code
    assert after == [code]
    assert server.error is error


async def test_async_with_swallows_disconnect_and_next_line_runs(rig):
    """Async with swallows a caught disconnect and the line after it runs."""
    after = []

    async def body(websocket):
        async with websocket:
            await websocket.receive()
        after.append("it")

    await rig.run(body, close=1001)
    assert after == ["it"]


async def test_async_with_lets_another_disconnect_through(rig):
    async def body(websocket):
        with pytest.raises(WebSocketDisconnect, match="4000"):
            async with websocket:
                await websocket.receive()

    await rig.run(body, close=4000)


async def test_async_with_after_a_close_sends_nothing_more(rig):
    async def body(websocket):
        async with websocket:
            await websocket.close(4001)

    assert await rig.run(body) == [("close", (4001, ""))]


# --- the end of the handler ---


async def test_child_tasks_are_cancelled_when_the_handler_has_ended(rig):
    ended = []

    async def body(websocket):
        async def child():
            await until_cancelled(lambda _: ended.append(websocket.connected))

        websocket.nursery.start_soon(child)
        await trio.testing.wait_all_tasks_blocked()

    assert await rig.run(body) == [("close", (1000, ""))]
    assert ended == [True]
    with pytest.raises(LocalProtocolError):
        _ = rig.websocket.nursery


# --- on_disconnect ---


async def test_on_disconnect_is_shielded_for_cleanup_timeout(server, caplog, clock):
    """on_disconnect is shielded and bounded by cleanup_timeout."""
    ended = []

    times = Timeouts(cleanup_timeout=0.1, ping_interval=None)
    await server.run(returns, on_disconnect=lambda websocket, code: noted_when_cancelled(ended, code), timeouts=times)
    assert ended == [1000]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cleanup_timeout" in record.getMessage()


async def test_on_disconnect_runs_to_its_end_in_a_cancelled_server(server, clock):
    done = []

    async def on_disconnect(websocket, code):
        await trio.sleep(0.1)
        done.append(code)

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, returns, on_disconnect=on_disconnect)
        _, peer = await server.dial()
        assert await peer.next() == ("close", (1000, ""))
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True), trio.move_on_after(LONG):
            await peer.rest()
    assert done == [1000]


async def test_on_disconnect_receives_what_came_before_the_end(server):
    """Nothing watches the peer for the handler any more then."""
    received = []

    async def body(websocket):
        await websocket.wait_closed()

    async def on_disconnect(websocket, code):
        received.append(await websocket.receive())
        await end_of(websocket)
        received.append("end")

    await server.run(body, "last words", close=1001, on_disconnect=on_disconnect, when_peer_leaves="finish")
    assert received == ["last words", "end"]


async def test_on_disconnect_error_is_logged_and_given_to_on_error(server, caplog):
    """An error of on_disconnect is logged and given to on_error."""
    errors = []

    async def on_error(websocket, error):
        errors.append(error)

    async def on_disconnect(websocket, code):
        raise ValueError("farewell")

    assert await server.run(returns, on_disconnect=on_disconnect, on_error=on_error) == [("close", (1000, ""))]
    assert len(caplog.records) == 1
    assert [str(error) for error in errors] == ["farewell"]


async def test_uncallable_on_disconnect_is_harmless(server, caplog):
    """An on_disconnect that cannot even be called harms nothing."""

    def takes_nothing():
        """The code is missing."""

    async def body(websocket):
        websocket.context.disconnect_callbacks += (takes_nothing,)

    assert await server.run(body) == [("close", (1000, ""))]
    (record,) = caplog.records
    assert isinstance(record.exc_info[1], TypeError)


async def test_on_disconnect_gets_first_close_code_when_both_close(server):
    """on_disconnect gets the first close frame's code when both close."""

    async with server.connect(lambda websocket: websocket.close(4001)) as peer:
        assert await peer.next() == ("close", (4001, ""))
        await peer.close(4002)
        await peer.rest()
    assert server.codes == [4001]


SOCKETS = pytest.mark.parametrize("network", ["poller", "stream"])
"""Where the platform tells that a peer has left behind messages that nobody reads."""


@SOCKETS
async def test_on_disconnect_gets_1006_behind_unread_messages(server):
    """The handler never reads and its peer drops the connection: the close frame that nobody sent is none."""

    async with server.connect(stall) as peer:
        for _ in range(100):
            await peer.message("more than the inbox takes")
        await trio.testing.wait_all_tasks_blocked()
        await peer.leave()
    assert server.codes == [1006]


@SOCKETS
async def test_on_disconnect_gets_peer_code_behind_unread_messages(server):
    """on_disconnect gets the peer's code when it came behind messages nobody read."""

    async with server.connect(stall) as peer:
        for _ in range(100):
            await peer.message("more than the inbox takes")
        await peer.close(4004)
        await trio.testing.wait_all_tasks_blocked()
        await peer.leave()
    assert server.codes == [4004]


@SOCKETS
async def test_ping_to_peer_gone_behind_unread_messages_disconnects(server):
    """A ping to a peer that has left behind unread messages is told."""

    async def body(websocket):
        with pytest.raises(WebSocketDisconnect):
            await websocket.ping()
        assert websocket.connected  # what came before can still be received
        await websocket.close()  # nothing is sent, but how it ended is known now
        assert websocket.close_code == 4004

    async with server.connect(body, when_peer_leaves="finish") as peer:
        for _ in range(100):
            await peer.message("more than the inbox takes")
        await peer.close(4004)
        assert (await peer.next())[0] == "ping"
        await peer.leave()
    assert server.codes == [4004]


async def test_on_connect_runs_after_the_answer_and_fails_like_handler(server):
    """on_connect runs after the answer and its failure is the handler's."""
    called = []

    async def on_connect(websocket):
        assert websocket.accepted
        await websocket.send("welcome")
        raise WebSocketException(4005, "changed my mind")

    async def body(websocket):
        called.append("handler")

    assert await server.run(body, on_connect=on_connect) == [("text", "welcome"), ("close", (4005, "changed my mind"))]
    assert server.codes == [4005]
    assert called == []
