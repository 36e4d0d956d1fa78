"""The interface of trio-websocket over this library: what its own tests leave out, and what differs on purpose."""

from __future__ import annotations

import gc
import logging
import math
import pickle
import ssl
from functools import partial
from typing import Any

import pytest
import trio
from support.tls import contexts
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

import trio_ws
from trio_ws.compat import trio_websocket as theirs
from trio_ws.compat.trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    Endpoint,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    serve_websocket,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_ws.testing.network import MemoryListener

HOST = "127.0.0.1"
LONG = 1000.0
"""Seconds after which a test has hung, in virtual time."""


async def echo(request: WebSocketRequest) -> None:
    connection = await request.accept()
    while True:
        await connection.send_message(await connection.get_message())


async def serve(nursery: trio.Nursery, handler: Any = echo, **options: Any) -> WebSocketServer:
    server: WebSocketServer = await nursery.start(
        partial(serve_websocket, handler, HOST, 0, **{"ssl_context": None, **options})
    )
    return server


class Memory:
    """A server in memory, and connections to it."""

    def __init__(self, nursery: trio.Nursery, handler: Any, **options: Any) -> None:
        self.listener = MemoryListener()
        self.nursery = nursery
        self.server = WebSocketServer(handler, [self.listener], **options)

    async def connect(self, **options: Any) -> WebSocketConnection:
        return await wrap_client_stream(self.nursery, self.listener.connect(), "localhost", "/", **options)


@pytest.fixture
def memory(nursery):
    """Starts a server in memory, for tests with `autojump_clock`."""

    async def bound() -> None:
        await trio.sleep(LONG)
        raise trio.TooSlowError

    async def start(handler: Any = echo, **options: Any) -> Memory:
        nursery.start_soon(bound)
        made = Memory(nursery, handler, **options)
        await nursery.start(made.server.run)
        return made

    return start


def test_only_public_names_are_those_of_trio_websocket():
    import trio_websocket

    assert set(theirs.__all__) == {name for name in dir(trio_websocket) if name[0] != "_"}


# --- messages ---


async def test_several_tasks_may_wait_for_messages(memory, autojump_clock):
    """Here a second task that receives is an error: the interface queues them."""
    received = []

    async def receive() -> None:
        received.append(await connection.get_message())

    connection = await (await memory()).connect()
    async with connection, trio.open_nursery() as tasks:
        for _ in range(3):
            tasks.start_soon(receive)
        await wait_all_tasks_blocked()
        for number in range(3):
            await connection.send_message(str(number))
    assert sorted(received) == ["0", "1", "2"]


async def test_a_cancelled_receive_loses_no_message(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        await go.wait()
        await connection.send_message("first")
        await connection.get_message()

    go = trio.Event()
    connection = await (await memory(handler)).connect()
    async with connection:
        for _ in range(2):
            with trio.move_on_after(0.1):
                await connection.get_message()
        go.set()
        assert await connection.get_message() == "first"


async def test_a_cancelled_send_tears_no_frame(nursery, autojump_clock):
    """A send that is cancelled while the peer does not read leaves the connection whole."""
    ours, peer = memory_stream_pair()
    blocked = trio.Event()
    peer_reads = ours.send_stream.send_all_hook

    async def wait_for_peer() -> None:
        await blocked.wait()
        await peer_reads()

    async with trio.open_nursery() as tasks:
        tasks.start_soon(partial(wrap_and_echo, nursery, peer))
        connection = await wrap_client_stream(nursery, ours, "localhost", "/")
        ours.send_stream.send_all_hook = wait_for_peer
        with trio.move_on_after(0.1) as scope:
            while True:
                await connection.send_message(b"x" * 1000)
        assert scope.cancelled_caught
        blocked.set()
        await connection.send_message("whole")
        while await connection.get_message() != "whole":
            pass
        await connection.aclose()


async def wrap_and_echo(nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
    request = await wrap_server_stream(nursery, stream)
    connection = await request.accept()
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass


@pytest.mark.parametrize("queue", [0, 1, 3])
async def test_the_queue_holds_as_many_messages_as_it_says(memory, autojump_clock, queue):
    """One more is read and waits with the reader, as there: what follows stays in the network."""

    async def handler(request):
        connection = await request.accept()
        await never.wait()
        await connection.get_message()

    never = trio.Event()
    made = await memory(handler, message_queue_size=queue, disconnect_timeout=1)
    connection = await made.connect()
    for _ in range(queue):
        await connection.send_message("x")
    await connection.ping()  # it is read behind as many messages
    await connection.send_message("one too many")
    with trio.move_on_after(1) as scope:
        await connection.ping()
    assert scope.cancelled_caught
    never.set()


async def test_infinite_bounds_are_taken(memory, autojump_clock):
    made = await memory(message_queue_size=math.inf, max_message_size=math.inf)
    async with await made.connect(message_queue_size=math.inf, receive_buffer_size=None) as connection:
        await connection.send_message("x" * 2**21)
        with pytest.raises(ConnectionClosed) as end:
            await connection.get_message()
    assert end.value.reason.code == 1009


@pytest.mark.parametrize("name", ["message_queue_size", "max_message_size"])
async def test_a_negative_bound_is_a_value_error(name):
    with pytest.raises(ValueError, match=name):
        WebSocketServer(echo, [MemoryListener()], **{name: -1})


@pytest.mark.parametrize("message", [None, 1, bytearray(b"x"), object()], ids=["None", "int", "bytearray", "object"])
async def test_a_message_of_another_kind_is_a_value_error(memory, autojump_clock, message):
    async with await (await memory()).connect() as connection:
        with pytest.raises(ValueError, match="str or bytes"):
            await connection.send_message(message)
        await connection.send_message(b"bytes")
        assert await connection.get_message() == b"bytes"


async def test_a_ping_is_answered_with_and_without_a_payload(memory, autojump_clock):
    async with await (await memory()).connect() as connection:
        await connection.ping()
        await connection.ping(b"payload")
        await connection.pong()
        await connection.pong(b"payload")


async def test_a_payload_in_flight_is_a_value_error(memory, autojump_clock):
    made = await memory(silent, message_queue_size=0)
    connection = await made.connect()
    await connection.send_message("x")
    await connection.send_message("its ping is not read")
    made.nursery.start_soon(connection.ping, b"A")
    await wait_all_tasks_blocked()
    with pytest.raises(ValueError, match="payload"):
        await connection.ping(b"A")


async def silent(request: WebSocketRequest) -> None:
    await request.accept()
    await trio.sleep_forever()


async def test_a_ping_ends_when_the_connection_does(memory, autojump_clock):
    """There it waits for ever."""

    async def handler(request):
        connection = await request.accept()
        await trio.sleep(1)
        connection.websocket.context.channel.closing.disconnect()

    made = await memory(handler, message_queue_size=0)
    connection = await made.connect()
    await connection.send_message("x")
    await connection.send_message("y")
    with pytest.raises(ConnectionClosed):
        await connection.ping()


# --- the end ---


async def test_the_reason_is_none_without_one(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        await connection.get_message()
        await connection.aclose()

    connection = await (await memory(handler)).connect()
    assert connection.closed is None
    await connection.send_message("close")
    with pytest.raises(ConnectionClosed) as end:
        await connection.get_message()
    assert (
        repr(end.value.reason) == repr(connection.closed) == "CloseReason<code=1000, name=NORMAL_CLOSURE, reason=None>"
    )
    assert repr(end.value) == f"ConnectionClosed<{connection.closed}>"


async def test_all_calls_after_the_end_are_connection_closed(memory, autojump_clock):
    connection = await (await memory()).connect()
    await connection.aclose(4000, "enough")
    await connection.aclose()  # it may be called again
    for call in (connection.get_message, connection.ping, connection.pong, partial(connection.send_message, "x")):
        with pytest.raises(ConnectionClosed) as end:
            await call()
        assert (end.value.reason.code, end.value.reason.reason) == (4000, "enough")


async def test_messages_before_our_own_close_are_dropped(memory, autojump_clock):
    connection = await (await memory()).connect()
    await connection.send_message("echo")
    await wait_all_tasks_blocked()
    await connection.aclose()
    with pytest.raises(ConnectionClosed):
        await connection.get_message()


async def test_messages_before_the_peers_close_can_be_received(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        await connection.send_message("last words")

    connection = await (await memory(handler)).connect()
    await wait_all_tasks_blocked()
    await connection.aclose()  # it has ended already
    assert await connection.get_message() == "last words"


async def test_a_waiting_receive_ends_with_our_own_close(memory, autojump_clock):
    async def receive() -> None:
        with pytest.raises(ConnectionClosed):
            await connection.get_message()
        ended.set()

    ended = trio.Event()
    made = await memory()
    connection = await made.connect()
    made.nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    await connection.aclose()
    with trio.fail_after(1):
        await ended.wait()


@pytest.mark.parametrize(("code", "reason"), [(999, None), (1000, "x" * 124)], ids=["code", "reason"])
async def test_a_close_that_cannot_be_sent_is_a_value_error(memory, autojump_clock, code, reason):
    async with await (await memory()).connect() as connection:
        with pytest.raises(ValueError, match=r"9|123"):
            await connection.aclose(code, reason)
        await connection.send_message("open still")
        assert await connection.get_message() == "open still"


async def test_an_error_in_a_block_comes_before_cancellation(memory, autojump_clock):
    connection = await (await memory(silent)).connect()
    with pytest.raises(KeyError), trio.CancelScope() as scope:
        async with connection:
            scope.cancel()
            raise KeyError
    assert connection.closed.code == 1000


async def test_a_cancelled_close_still_sends_its_frame(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        with pytest.raises(ConnectionClosed) as end:
            await connection.get_message()
        codes.append(end.value.reason.code)

    codes: list[int] = []
    connection = await (await memory(handler)).connect()
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.aclose(4000)
    await wait_all_tasks_blocked()
    assert codes == [4000]


async def test_a_cancelled_nursery_closes_its_connections(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        try:
            await connection.get_message()
        finally:
            codes.append(connection.closed.code)

    codes: list[int] = []
    made = await memory(handler)
    async with trio.open_nursery() as inner:
        await wrap_client_stream(inner, made.listener.connect(), "localhost", "/")
        inner.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    assert codes == [1001]


async def test_a_close_waits_sixty_seconds_at_most(memory, autojump_clock):
    connection = await (await memory(silent, message_queue_size=0)).connect()
    await connection.send_message("x")
    await connection.send_message("the close frame is behind it")
    began = trio.current_time()
    await connection.aclose()
    assert trio.current_time() - began == pytest.approx(60, abs=0.1)
    assert not connection.websocket.closed_cleanly


async def test_the_size_of_text_is_that_of_its_bytes(memory, autojump_clock):
    async with await (await memory(max_message_size=100)).connect() as connection:
        await connection.send_message("ü" * 50)
        assert await connection.get_message() == "ü" * 50
        await connection.send_message("ü" * 51)
        with pytest.raises(ConnectionClosed) as end:
            await connection.get_message()
    assert end.value.reason.code == 1009


# --- clients ---


async def test_an_open_block_closes_at_its_end(nursery):
    server = await serve(nursery)
    async with open_websocket_url(f"ws://{HOST}:{server.port}/path?query") as connection:
        assert (connection.is_client, connection.is_server, connection.path) == (True, False, "/path?query")
        assert isinstance(connection.websocket, trio_ws.WebSocket)
        await connection.send_message("x")
        assert await connection.get_message() == "x"
    assert connection.closed.code == 1000


async def test_errors_of_a_block_leave_it_alone_and_unchanged(nursery):
    server = await serve(nursery)
    error, cause = ValueError("error"), KeyError("cause")
    with pytest.raises(ValueError, match="error") as raised:
        async with open_websocket(HOST, server.port, "/", use_ssl=False):
            raise error from cause
    assert raised.value is error
    assert (error.__cause__, error.__context__) == (cause, None)


async def test_a_cancelled_block_is_cancelled(nursery):
    server = await serve(nursery)
    with trio.CancelScope() as scope:
        async with open_websocket(HOST, server.port, "/", use_ssl=False):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_server_that_is_not_there_is_a_handshake_error(nursery):
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(HandshakeError):
        async with open_websocket(HOST, port, "/", use_ssl=False):
            pass
    with pytest.raises(OSError, match=str(port)):
        await connect_websocket(nursery, HOST, port, "/", use_ssl=False)


async def test_a_rejection_has_status_headers_and_body(nursery):
    async def handler(request):
        await request.reject(418, extra_headers=[(b"X-Kind", b"teapot")], body=b"short and stout")
        went_on.set()

    went_on = trio.Event()
    server = await serve(nursery, handler)
    for connect in (open_and_leave, partial(connect_websocket_url, nursery)):
        with pytest.raises(ConnectionRejected) as rejected:
            await connect(f"ws://{HOST}:{server.port}")
        assert rejected.value.status_code == 418
        assert (b"x-kind", b"teapot") in rejected.value.headers
        assert (b"connection", b"close") in rejected.value.headers
        assert rejected.value.body == b"short and stout"
        assert pickle.loads(pickle.dumps(rejected.value)).status_code == 418
    await went_on.wait()


async def open_and_leave(url: str) -> None:
    async with open_websocket_url(url):
        pass


async def test_a_redirect_is_a_rejection(nursery):
    async def handler(request):
        await request.reject(301, extra_headers=[(b"Location", b"ws://example.org/")])

    server = await serve(nursery, handler)
    with pytest.raises(ConnectionRejected) as rejected:
        await open_and_leave(f"ws://{HOST}:{server.port}")
    assert rejected.value.status_code == 301


async def test_an_informational_answer_is_skipped(nursery, autojump_clock):
    """There it is a rejection; RFC 9110 15.2 has the answer after it."""
    ours, peer = memory_stream_pair()

    async def answer() -> None:
        await peer.receive_some()
        await peer.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    nursery.start_soon(answer)
    with pytest.raises(ConnectionRejected) as rejected:
        await wrap_client_stream(nursery, ours, HOST, "/")
    assert rejected.value.status_code == 403


async def test_a_server_that_leaves_before_its_answer_is_an_error(nursery, autojump_clock):
    """There the caller waits for ever."""
    ours, peer = memory_stream_pair()

    async def leave() -> None:
        await peer.receive_some()
        await peer.aclose()

    nursery.start_soon(leave)
    with trio.fail_after(1), pytest.raises(HandshakeError):
        await wrap_client_stream(nursery, ours, HOST, "/")


async def test_no_answer_is_a_connection_timeout(nursery, autojump_clock):
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    began = trio.current_time()
    with pytest.raises(ConnectionTimeout):
        async with open_websocket(HOST, listener.socket.getsockname()[1], "/", use_ssl=False, connect_timeout=3):
            pass
    assert trio.current_time() - began == pytest.approx(3, abs=0.1)
    await listener.aclose()


@pytest.mark.parametrize("url", ["http://localhost/", "localhost", "ws:///path"], ids=["http", "none", "no host"])
def test_a_url_of_another_kind_is_a_value_error(url):
    with pytest.raises(ValueError, match=url):
        open_websocket_url(url)


async def test_tls_options_that_contradict_are_refused(nursery):
    with pytest.raises(ValueError, match="ssl_context"):
        open_websocket_url("ws://localhost/", ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    with pytest.raises(TypeError, match="use_ssl"):
        await connect_websocket(nursery, HOST, 80, "/", use_ssl=1)  # type: ignore[arg-type]


async def test_headers_of_the_handshake_are_left_out(memory, autojump_clock):
    async def handler(request):
        seen.extend(request.headers)
        await request.accept()

    seen: list[Any] = []
    made = await memory(handler)
    given = [(b"X-One", b"1"), (b"Sec-WebSocket-Key", b"mine"), (b"Upgrade", b"h2c")]
    async with await made.connect(extra_headers=given, subprotocols=["chat"]):
        pass
    assert (b"sec-websocket-protocol", b"chat") in seen
    assert (b"x-one", b"1") in seen
    assert (b"host", b"localhost") in seen
    assert {b"mine", b"h2c"} & {value for _, value in seen} == set()


async def test_client_knows_the_headers_of_the_answer(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept(subprotocol="b", extra_headers=[(b"X-One", b"1")])
        assert (b"x-two", b"2") in connection.handshake_headers
        assert (connection.is_client, connection.is_server) == (False, True)
        assert str(connection).startswith("server-")

    made = await memory(handler)
    async with await made.connect(subprotocols=["a", "b"], extra_headers=[(b"X-Two", b"2")]) as connection:
        assert connection.handshake_headers == ((b"x-one", b"1"),)
        assert connection.subprotocol == "b"
        assert str(connection).startswith("client-")


# --- servers ---


async def test_an_error_of_one_handler_ends_only_its_connection(memory, autojump_clock, caplog):
    """There it ends the server."""

    async def handler(request):
        connection = await request.accept()
        if await connection.get_message() == "fail":
            raise ZeroDivisionError
        await connection.send_message("well")

    made = await memory(handler)
    with caplog.at_level(logging.ERROR):
        async with await made.connect() as failing:
            await failing.send_message("fail")
            with pytest.raises(ConnectionClosed) as end:
                await failing.get_message()
    assert end.value.reason.code == 1011
    assert "ZeroDivisionError" in caplog.text
    async with await made.connect() as other:
        await other.send_message("x")
        assert await other.get_message() == "well"


async def test_a_client_that_leaves_is_no_error_of_the_handler(memory, autojump_clock, caplog):
    made = await memory()
    async with await made.connect() as connection:
        await connection.send_message("x")
    await wait_all_tasks_blocked()
    assert caplog.records == []


async def test_the_end_of_another_connection_is_an_error(memory, autojump_clock, caplog):
    async def handler(request):
        await request.accept()
        raise ConnectionClosed(CloseReason(1000, None))

    connection = await (await memory(handler)).connect()
    with pytest.raises(ConnectionClosed) as end:
        await connection.get_message()
    assert end.value.reason.code == 1011


async def test_a_handler_goes_on_when_its_client_has_left(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        await trio.sleep(100)
        assert connection.closed.code == 1000
        done.set()

    done = trio.Event()
    async with await (await memory(handler)).connect():
        pass
    await done.wait()


async def test_a_cancelled_server_closes_its_connections(memory, autojump_clock, nursery):
    listener = MemoryListener()
    server = WebSocketServer(silent, [listener])
    async with trio.open_nursery() as serving:
        await serving.start(server.run)
        connection = await wrap_client_stream(nursery, listener.connect(), "localhost", "/")
        serving.cancel_scope.cancel()
    assert trio.current_time() < 1
    with pytest.raises(ConnectionClosed) as end:
        await connection.get_message()
    assert end.value.reason.code == 1001


async def test_a_cancelled_server_waits_a_second_for_a_dead_client(nursery, autojump_clock):
    listener = MemoryListener()
    server = WebSocketServer(silent, [listener])
    async with trio.open_nursery() as serving:
        await serving.start(server.run)
        stream = listener.connect()
        await stream.send_all(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 101 ")
        began = trio.current_time()
        serving.cancel_scope.cancel()
    assert trio.current_time() - began == pytest.approx(1, abs=0.1)


async def test_a_second_accept_or_reject_is_refused(memory, autojump_clock):
    async def handler(request):
        connection = await request.accept()
        for call in (request.accept, partial(request.reject, 403)):
            with pytest.raises(RuntimeError):
                await call()
        await connection.send_message("done")

    async with await (await memory(handler)).connect() as connection:
        assert await connection.get_message() == "done"


async def test_listeners_are_endpoints_or_their_repr(nursery):
    server_context, client_context = contexts()
    tls = await serve(nursery, ssl_context=server_context)
    (endpoint,) = tls.listeners
    assert isinstance(endpoint, Endpoint)
    assert endpoint.url == f"wss://{HOST}:{tls.port}"
    listeners = await trio.open_ssl_over_tcp_listeners(0, server_context, host=HOST)
    wrapped = await nursery.start(WebSocketServer(echo, listeners).run)
    assert repr(wrapped.listeners[0]) == f'Endpoint(address="{HOST}", port={wrapped.port}, is_ssl=True)'
    for server in (tls, wrapped):
        async with open_websocket_url(f"wss://localhost:{server.port}", client_context) as connection:
            assert connection.remote.is_ssl
            assert connection.local.is_ssl
            await connection.send_message("x")
            assert await connection.get_message() == "x"
        assert connection.remote.port == server.port  # known after the end, too


async def test_a_server_without_a_socket_has_no_port(memory, autojump_clock):
    made = await memory()
    with pytest.raises(RuntimeError, match="port"):
        _ = made.server.port
    assert "MemoryListener" in made.server.listeners[0]


async def test_endpoints_in_memory_are_text(memory, autojump_clock):
    async def handler(request):
        seen.extend((request.local, request.remote))
        connection = await request.accept()
        seen.extend((connection.local, connection.remote))

    seen: list[Any] = []
    async with await (await memory(handler)).connect() as connection:
        seen.extend((connection.local, connection.remote))
    assert [type(each) for each in seen] == [str] * 6


async def test_no_request_on_a_wrapped_stream_is_an_error(nursery, autojump_clock):
    """There the caller waits for ever."""
    ours, peer = memory_stream_pair()
    await peer.send_all(b"GET / HTTP/1.1\r\n\r\n")
    nursery.start_soon(peer.receive_some)
    with pytest.raises(HandshakeError):
        await wrap_server_stream(nursery, ours)


async def test_a_wrapped_request_can_be_rejected(nursery, autojump_clock):
    ours, peer = memory_stream_pair()

    async def reject() -> None:
        await (await wrap_server_stream(nursery, peer)).reject(404)

    nursery.start_soon(reject)
    with pytest.raises(ConnectionRejected) as rejected:
        await wrap_client_stream(nursery, ours, HOST, "/")
    assert rejected.value.status_code == 404


async def test_accept_after_the_client_has_left_is_closed(nursery, autojump_clock):
    ours, peer = memory_stream_pair()

    async def leave() -> None:
        with trio.move_on_after(1):
            await wrap_client_stream(nursery, peer, HOST, "/")

    nursery.start_soon(leave)
    request = await wrap_server_stream(nursery, ours)
    await trio.sleep(2)
    with pytest.raises(ConnectionClosed):
        await request.accept()


async def test_connect_timeout_of_a_server_includes_its_answer(memory, autojump_clock):
    async def handler(request):
        await trio.sleep(3)
        await request.accept()

    made = await memory(handler, connect_timeout=2)
    with pytest.raises(ConnectionRejected) as rejected:
        await made.connect()
    assert rejected.value.status_code == 503


async def test_a_handler_ends_with_a_client_that_has_no_answer(memory, autojump_clock):
    async def handler(request):
        try:
            await trio.sleep(10)
        finally:
            ended.append(trio.current_time() - began)

    ended: list[float] = []
    began = trio.current_time()
    made = await memory(handler)
    with trio.move_on_after(1):
        await made.connect()
    await wait_all_tasks_blocked()
    assert ended == [pytest.approx(1, abs=0.1)]


async def test_all_interfaces_have_one_port(nursery):
    server = await nursery.start(serve_websocket, echo, None, 0, None)
    assert len({endpoint.port for endpoint in server.listeners}) == 1


# --- values ---


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1001, "GOING_AWAY"),
        (1016, "RFC_RESERVED"),
        (3000, "IANA_RESERVED"),
        (4999, "PRIVATE_RESERVED"),
        (5000, "INVALID_CODE"),
    ],
)
def test_a_close_code_has_a_name(code, name):
    assert CloseReason(code, "why").name == name


def test_errors_are_those_of_handshakes():
    assert issubclass(ConnectionRejected, HandshakeError)
    assert issubclass(ConnectionTimeout, HandshakeError)
    assert issubclass(theirs.DisconnectionTimeout, HandshakeError)
    assert repr(ConnectionRejected(404, (), None)) == "ConnectionRejected<status_code=404>"
    gc.collect()
