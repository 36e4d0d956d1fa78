"""Before the answer: guards, accept and reject, errors, clients that leave, answers that come too late."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager

import pytest
import trio
from support.handlers import until_cancelled

from contracts.rig import PATIENT, request, status_of
from trio_ws import LocalProtocolError, Reject, Timeouts, WebSocketDisconnect, WebSocketException
from trio_ws.asgi.handshake import ASGIHandshake
from trio_ws.testing import leaves_nothing


def around(prepare):
    """What an application puts around its handlers: `prepare` before the answer."""

    @asynccontextmanager
    async def surroundings(websocket):
        await prepare(websocket)
        yield

    return surroundings


async def never(websocket):
    raise AssertionError("the handler must not be called")


@asynccontextmanager
async def served(server, body=never, **options):
    """A server, and afterwards nothing left of its connections."""
    async with leaves_nothing(), trio.open_nursery() as nursery:
        await server.serve(nursery, body, **options)
        yield
        await server.all_gone()
        nursery.cancel_scope.cancel()


async def refused(server, *, target="/"):
    """Ask for a WebSocket that is refused; return status, lower-case head and body."""
    head, peer = await server.dial(target=target)
    body = peer.early
    while data := await peer.stream.receive_some():
        body += data
    await peer.leave()
    return status_of(head), head.lower(), body


# --- refusals by a guard ---


REFUSALS = {
    "Reject": (Reject(451, {"X-Why": "law"}, b"not for you"), 451, b"not for you"),
    "Reject()": (Reject(), 403, b""),
    "WebSocketException": (WebSocketException(4003, "why"), 403, b"why"),
    "a group of one": (ExceptionGroup("", [Reject(404)]), 404, b""),
    "a group of several": (ExceptionGroup("", [Reject(404), ExceptionGroup("", [WebSocketException(4000)])]), 404, b""),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
@pytest.mark.parametrize("where", ["guard", "handler"])
async def test_a_refusal_before_the_answer_is_an_http_status(server, caplog, refusal, where):
    error, status, body = refusal

    async def refuse(websocket):
        raise error

    options = {"around": around(refuse)} if where == "guard" else {"body": refuse, "auto_accept": False}
    async with served(server, **options):
        assert (await refused(server))[::2] == (status, body)
    assert server.codes == []
    assert caplog.records == []


async def test_headers_of_a_refusal_are_sent(server):
    async def refuse(websocket):
        raise Reject(401, [("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer")])

    async with served(server, around=around(refuse)):
        _, head, _ = await refused(server)
        assert head.count(b"www-authenticate") == 2


async def test_a_refusal_that_cannot_be_sent_is_a_500_and_logged(server, caplog):
    async def refuse(websocket):
        raise Reject(403, {"X-Bad": "a\r\nb"})

    async with served(server, around=around(refuse)):
        assert (await refused(server))[0] == 500
    assert len(caplog.records) == 1


async def test_error_before_the_answer_is_500_one_record_and_on_error(server, caplog):
    """An error before the answer is a 500 one record and on_error."""
    errors = []
    problem = ValueError("guard")

    async def on_error(websocket, error):
        errors.append(error)

    async def fail(websocket):
        raise problem

    async with served(server, around=around(fail), on_error=on_error):
        assert (await refused(server))[0] == 500
    assert errors == [problem]
    assert [record.exc_info[1] for record in caplog.records] == [problem]
    assert server.codes == []


# --- the handler's own answer ---


async def test_a_return_without_an_answer_is_a_403_and_a_warning(server, caplog):
    async def body(websocket):
        pass

    async with served(server, body, auto_accept=False):
        assert (await refused(server))[0] == 403
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_reject_answers_and_cancels_the_handler_silently(server, caplog):
    after = []

    async def body(websocket):
        try:
            await websocket.reject(404, {"X-Why": "gone"}, b"nothing here")
        finally:
            after.append("finally")
            with pytest.raises(WebSocketDisconnect):
                await websocket.send("too late")
            with trio.CancelScope(shield=True), pytest.raises(LocalProtocolError, match="rejected"):
                await websocket.accept()
        after.append("never")

    async with served(server, body, auto_accept=False):
        status, head, content = await refused(server)
        assert (status, content) == (404, b"nothing here")
        assert b"x-why: gone" in head
    assert after == ["finally"]
    assert server.codes == []
    assert caplog.records == []


async def test_error_after_reject_is_logged_and_the_answer_stands(server, caplog):
    """An error after reject is logged though the answer stands."""

    async def body(websocket):
        try:
            await websocket.reject(404)
        finally:
            raise ValueError("cleaning up")

    async with served(server, body, auto_accept=False):
        assert (await refused(server))[0] == 404
    assert [str(record.exc_info[1]) for record in caplog.records] == ["cleaning up"]


@pytest.mark.parametrize("status", [300, 599])
async def test_reject_answers_with_the_status(server, status):
    async with served(server, lambda websocket: websocket.reject(status), auto_accept=False):
        assert (await refused(server))[0] == status


@pytest.mark.parametrize("status", [200, 101, 299, 600])
async def test_reject_takes_statuses_that_refuse(server, status):
    async def body(websocket):
        with pytest.raises(ValueError, match=str(status)):
            await websocket.reject(status)
        await websocket.reject()

    async with served(server, body, auto_accept=False):
        assert (await refused(server))[0] == 403


async def test_reject_with_invalid_headers_leaves_the_answer_open(server):
    """Reject with headers that cannot be sent leaves the answer open."""

    async def body(websocket):
        with pytest.raises(ValueError, match="X-Bad"):
            await websocket.reject(headers={"X-Bad": "a\nb"})
        await websocket.accept()

    assert await server.run(body, auto_accept=False) == [("close", (1000, ""))]


@pytest.mark.parametrize("method", ["accept", "reject"])
@pytest.mark.parametrize("auto_accept", [True, False])
async def test_second_answer_is_a_runtime_error_naming_auto_accept(server, method, auto_accept):
    """A second answer is a RuntimeError that names auto_accept."""

    async def body(websocket):
        if not auto_accept:
            await websocket.accept()
        with pytest.raises(RuntimeError, match="auto_accept=False"):
            await getattr(websocket, method)()
        await websocket.send("unharmed")

    assert await server.run(body, auto_accept=auto_accept) == [("text", "unharmed"), ("close", (1000, ""))]


@pytest.mark.parametrize("method", ["accept", "reject"])
async def test_a_client_has_nothing_to_answer(client, method):
    async def body(websocket):
        with pytest.raises(RuntimeError, match="this side has opened"):
            await getattr(websocket, method)()

    await client.run(body)


async def test_accept_says_which_subprotocol_and_sends_headers(server):
    async def body(websocket):
        with pytest.raises(LocalProtocolError):
            await websocket.accept("soap")
        with pytest.raises(ValueError, match=r"(?i)sec-websocket-accept"):
            await websocket.accept(headers={"Sec-WebSocket-Accept": "mine"})
        await websocket.accept("wamp", {"X-Hello": "there"})
        assert websocket.subprotocol == "wamp"

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, auto_accept=False)
        head, peer = await server.dial("Sec-WebSocket-Protocol: chat, wamp")
        assert b"sec-websocket-protocol: wamp\r\n" in head.lower() + b"\r\n"
        assert b"x-hello: there" in head.lower()
        await peer.rest()
        await server.all_gone()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "use",
    [
        lambda ws: ws.receive(),
        lambda ws: ws.recv(),
        lambda ws: ws.send("x"),
        lambda ws: ws.ping(),
        lambda ws: ws.close(),
        lambda ws: anext(aiter(ws)),
        lambda ws: anext(aiter(ws.receive_stream())),
    ],
    ids=["receive", "recv", "send", "ping", "close", "iterate", "stream"],
)
async def test_unanswered_connection_refuses_use_and_names_the_fix(server, use):
    """An unanswered connection can do nothing and says what is missing."""

    async def body(websocket):
        assert not websocket.connected
        assert websocket.close_info is websocket.close_code is websocket.close_reason is None
        with pytest.raises(LocalProtocolError, match=r"accept\(\)"):
            await use(websocket)
        await websocket.ensure_closed()  # never complains
        await websocket.aclose()
        await websocket.accept()

    assert await server.run(body, auto_accept=False) == [("close", (1000, ""))]


async def test_what_came_behind_the_request_is_received(server):
    async def body(websocket):
        await websocket.accept()
        assert await websocket.receive() == "early"
        assert await websocket.receive() == "later"

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, auto_accept=False)
        head, peer = await server.dial(behind=b"\x81\x85\0\0\0\0early")
        assert status_of(head) == 101
        await peer.message("later")
        assert await peer.rest() == [("close", (1000, ""))]
        await server.all_gone()
        nursery.cancel_scope.cancel()
    assert server.error is None


async def test_data_behind_the_request_is_received_even_with_a_close(server):
    """What came behind the request is received also if it ends with a close."""

    async def body(websocket):
        assert [message async for message in websocket] == ["early"]

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body)
        _, peer = await server.dial(behind=b"\x81\x85\0\0\0\0early\x88\x82\0\0\0\0\x03\xe9")
        assert await peer.rest() == [("close", (1001, ""))]
        await server.all_gone()
        nursery.cancel_scope.cancel()
    assert server.error is None
    assert server.codes == [1001]


# --- clients that leave ---


@pytest.mark.parametrize("where", ["guard", "handler"])
async def test_client_leaving_before_the_answer_cancels_the_handler(server, caplog, where):
    """A client that leaves before the answer cancels what runs."""
    began, ended = trio.Event(), []

    async def wait(websocket):
        began.set()
        await until_cancelled(ended.append)

    options = {"around": around(wait)} if where == "guard" else {"body": wait, "auto_accept": False}
    async with served(server, **options):
        stream = await server.stream()
        await stream.send_all(request())
        await began.wait()
        await stream.aclose()
        await server.all_gone()
    (cancelled,) = ended
    assert cancelled.reason == "client left before the answer"
    assert server.codes == []
    assert caplog.records == []


async def test_accept_after_client_left_is_a_silent_disconnect(server, caplog):
    """Accept after the client has left is a disconnect and silent."""
    began = trio.Event()

    async def body(websocket):
        began.set()
        with trio.CancelScope(shield=True):
            gate = websocket.context.handshake
            while not (gate.receiver.disconnected if isinstance(gate, ASGIHandshake) else gate.receiver.left):
                await trio.lowlevel.checkpoint()
            await websocket.accept()

    async with served(server, body, auto_accept=False):
        stream = await server.stream()
        await stream.send_all(request())
        await began.wait()
        await stream.aclose()
        await server.all_gone()
    assert isinstance(server.error, WebSocketDisconnect)
    assert server.codes == []
    assert caplog.records == []


# --- answers that come too late ---


@pytest.mark.parametrize("where", ["guard", "handler"])
async def test_no_answer_in_open_timeout_is_503_and_cancels_handler(server, caplog, clock, where):
    """No answer within open_timeout is a 503 and cancels what runs."""
    ended = []

    async def wait(websocket):
        await until_cancelled(lambda cancelled: ended.append(cancelled.reason))

    options = {"around": around(wait)} if where == "guard" else {"body": wait, "auto_accept": False}
    async with served(server, timeouts=Timeouts(open_timeout=0.1), **options):
        assert (await refused(server))[0] == 503
    assert ended == ["no answer within open_timeout"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_an_answer_after_the_503_comes_too_late(server, clock):
    async def body(websocket):
        with trio.CancelScope(shield=True):
            await trio.sleep(0.3)
            await websocket.accept()

    async with served(server, body, auto_accept=False, timeouts=Timeouts(open_timeout=0.1)):
        assert (await refused(server))[0] == 503
    assert isinstance(server.error, WebSocketDisconnect)
    assert server.codes == []


async def test_open_timeout_ends_with_the_answer(server, clock):
    async def body(websocket):
        await websocket.accept()
        await trio.sleep(0.3)
        await websocket.send("still here")

    times = Timeouts(open_timeout=0.1, ping_interval=None)
    assert await server.run(body, auto_accept=False, timeouts=times) == [("text", "still here"), ("close", (1000, ""))]


async def test_context_around_handler_exits_before_the_close_frame(server):
    """What is around the handler is left when it has ended and before the farewell."""
    order = []

    @asynccontextmanager
    async def surroundings(websocket):
        order.append(("before", websocket.accepted))
        try:
            yield
        finally:
            order.append(("after", websocket.connected))

    async def body(websocket):
        order.append(("handler", websocket.connected))

    async def on_disconnect(websocket, code):
        order.append(("farewell", websocket.connected))

    await server.run(body, around=surroundings, on_disconnect=on_disconnect, timeouts=PATIENT)
    assert order == [("before", False), ("handler", True), ("after", True), ("farewell", False)]
