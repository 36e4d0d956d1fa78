"""What a connection costs while nothing happens on it, and what is not done where it would change nothing."""

from __future__ import annotations

import gc
import socket
import tracemalloc
from collections import Counter
from typing import Any

import pytest
import trio
from support.handlers import echo, serve, until_cancelled, until_gone
from support.machine import traced_memory

from trio_ws import WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.connection.connection import Connection
from trio_ws.connection.keepalive import Keepalive
from trio_ws.handler.opener import NoOpener, Opener
from trio_ws.handler.runner import HandlerRunner
from trio_ws.protocol.server_handshake import Upgrade
from trio_ws.runtime.timers import Timer, Timers
from trio_ws.server.connection import ServerConnection
from trio_ws.server.handshake import ServerHandshake
from trio_ws.server.request_receiver import RequestReceiver
from trio_ws.transport.poller import Poller

PATIENCE = 5.0
REQUEST = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CROWD = 50
AT_MOST = 7500
"""Bytes of Python's memory for an idle connection: with 3.11 it takes 5,900; each of the versions has its own sizes."""


async def until_there_are(server: Any, count: int) -> None:
    with trio.fail_after(PATIENCE):
        while server.statistics().websockets != count:
            await trio.sleep(0.001)


@pytest.fixture
def clients() -> Any:
    """Sockets that take no memory any more when they connect."""
    made = [socket.socket() for _ in range(CROWD)]
    yield made
    for each in made:
        each.close()


def alive() -> Counter[type]:
    """How many there are of our objects, of which a connection may have one."""
    gc.collect()
    kinds = (
        ServerConnection,
        HandlerRunner,
        Connection,
        Keepalive,
        ServerHandshake,
        RequestReceiver,
        Upgrade,
        Timer,
    )
    return Counter(type(each) for each in gc.get_objects() if type(each) in kinds)


@pytest.mark.slow
@pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")
async def test_idle_connection_is_small_and_keeps_no_handshake_data(nursery, clients):
    """An idle connection takes little memory and keeps nothing of its handshake."""
    server = await serve(nursery)
    before = alive()
    with traced_memory():
        for client in clients:
            client.connect(("127.0.0.1", server.port))
            client.sendall(REQUEST)
        await until_there_are(server, CROWD)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] / CROWD
    new = alive() - before
    timers = new.pop(Timer)
    assert new == {ServerConnection: CROWD, HandlerRunner: CROWD, Connection: CROWD, Keepalive: CROWD}
    assert timers == 1, "all that wait for an answer have one"
    assert size < AT_MOST, size
    for client in clients:  # or the server waits for their goodbyes
        client.close()


async def test_the_headers_are_all_there_when_a_handler_asks_later(nursery):
    seen: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await ws.receive()
        seen.append((ws.headers["x-token"], ws.headers.get_list("X-Token"), ws.request.headers.get("host")))

    server = await serve(nursery, handler)
    async with open_websocket(server.urls[0], headers=[("X-Token", "a"), ("X-Token", "b")]) as ws:
        await ws.send("now")
        with pytest.raises(WebSocketDisconnect):
            await ws.receive()
    assert seen == [("a", ["a", "b"], f"127.0.0.1:{server.port}")]


async def ends_when_told(ws: WebSocket) -> None:
    await ws.receive()


async def test_starting_task_in_nursery_of_ended_handler_is_cancelled(nursery):
    """Nothing runs in the nursery yet when the handler ends, so it cannot be told by its tasks."""
    begun, ended, cancelled = trio.Event(), trio.Event(), trio.Event()

    async def child(task_status: trio.TaskStatus[None]) -> None:
        begun.set()
        await ended.wait()
        task_status.started()
        await until_cancelled(lambda _: cancelled.set())

    async def handler(ws: WebSocket) -> None:
        nursery.start_soon(ws.nursery.start, child)
        await begun.wait()

    server = await serve(nursery, handler)
    async with open_websocket(server.urls[0]):
        await begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.01)
        ended.set()
        with trio.fail_after(PATIENCE):
            await cancelled.wait()


async def test_nursery_tasks_are_cancelled_however_they_were_started(nursery):
    """Tasks in the nursery are cancelled however they came there."""
    cancelled = trio.Event()

    async def child() -> None:
        await until_cancelled(lambda _: cancelled.set())

    async def handler(ws: WebSocket) -> None:
        trio.lowlevel.current_task().child_nurseries[-1].start_soon(child)
        await ws.receive()

    server = await serve(nursery, handler)
    async with open_websocket(server.urls[0]) as ws:
        await ws.send("end")
        with trio.fail_after(PATIENCE):
            await cancelled.wait()


@pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")
async def test_request_that_came_with_its_connection_is_read_at_once(nursery, monkeypatch):
    """The poller reports nothing, and the answer comes all the same."""

    async def report_nothing(poller: Poller) -> None:
        await until_cancelled(lambda _: poller.selector.close())

    async def handler(ws: WebSocket) -> None:
        pass

    monkeypatch.setattr(Poller, "run", report_nothing)
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        client.sendall(REQUEST)
        await serve(nursery, handler, listeners=[listener])
        client.setblocking(False)
        with trio.fail_after(PATIENCE):
            await trio.lowlevel.wait_readable(client)
        assert client.recv(1000).startswith(b"HTTP/1.1 101 ")


async def test_who_answers_a_handshake_that_is_over_is_told_so(nursery):
    kept: list[WebSocket] = []

    async def handler(ws: WebSocket) -> None:
        kept.append(ws)

    server = await serve(nursery, handler, auto_accept=False)
    with pytest.raises(Exception, match="403"):
        async with open_websocket(server.urls[0]):
            pytest.fail("it was accepted")
    await until_gone(server)
    with pytest.raises(WebSocketDisconnect):
        await kept[0].accept()
    await kept[0].reject()


async def test_an_error_at_opening_leaves_a_runner_without_an_opener():
    """An error outside of the handler is the caller's, as under an ASGI server."""
    error = OSError("no room")
    with pytest.raises(OSError, match="no room"):
        NoOpener(Timers()).on_failure(error)


async def test_opener_closes_in_any_case_and_decides_the_result():
    """An opener closes whatever happens and decides the result."""
    calls: list[object] = []

    class Broken(Opener):
        timers = Timers()

        async def open(self) -> bool:
            raise OSError("no room")

        async def finish(self) -> None:
            calls.append("finish")

        def on_failure(self, failure: Exception) -> Exception:
            calls.append(str(failure))
            return failure

        async def close(self, error: Exception | None) -> None:
            calls.append(error)

        def result(self, error: Exception | None) -> Exception | None:
            return error

    failure = await HandlerRunner(Broken()).run()
    assert calls == ["no room", failure]
    assert isinstance(failure, OSError)


async def test_addresses_of_one_host_are_kept_once(nursery):
    hosts: list[str] = []

    async def handler(ws: WebSocket) -> None:
        assert isinstance(ws.client, tuple)
        hosts.append(ws.client[0])
        await echo(ws)

    server = await serve(nursery, handler)
    async with open_websocket(server.urls[0]) as one, open_websocket(server.urls[0]) as two:
        for ws in (one, two):
            await ws.send("x")
            await ws.receive()
    assert hosts[0] is hosts[1]
