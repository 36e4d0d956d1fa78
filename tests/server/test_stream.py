"""`serve_stream`, and connections that run in a nursery of the caller's."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from support.endings import code_of, end_of
from support.handlers import QUICK, echo
from trio.testing import memory_stream_pair

from trio_ws import Server, WebSocket, WebSocketDisconnect, open_websocket, serve_stream
from trio_ws.connection.settings import Settings
from trio_ws.server.serve import one_service
from trio_ws.testing.network import MemoryListener


async def test_one_stream_is_served_until_its_connection_ends(nursery, autojump_clock):
    ours, theirs = memory_stream_pair()
    done = trio.Event()

    async def serve() -> None:
        await serve_stream(echo, ours)
        done.set()

    nursery.start_soon(serve)
    async with open_websocket("ws://localhost/", stream=theirs) as ws:
        await ws.send("hello")
        assert await ws.receive() == "hello"
        assert not done.is_set()
    with trio.fail_after(5):
        await done.wait()


async def test_a_stream_without_a_request_ends_serve_stream(autojump_clock):
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, echo, ours)
        await theirs.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert (await theirs.receive_some()).startswith(b"HTTP/1.1 400 ")
        await theirs.aclose()


async def test_a_cancelled_serve_stream_closes_with_1001(nursery, autojump_clock):
    ours, theirs = memory_stream_pair()
    scope = trio.CancelScope()

    async def serve() -> None:
        with scope:
            await serve_stream(echo, ours)

    nursery.start_soon(serve)
    async with open_websocket("ws://localhost/", stream=theirs, caught_close_codes=()) as ws:
        scope.cancel()
        assert await code_of(ws) == 1001


async def test_the_owner_of_a_whole_stream_may_close_it(nursery):
    ended = trio.Event()

    async def handler(ws: WebSocket) -> None:
        await ws.wait_closed()
        assert ws.close_code == 1006
        ended.set()

    async def accept(stream: trio.SocketStream) -> None:
        nursery.start_soon(lambda: serve_stream(handler, stream, poller=False, timeouts=QUICK))
        await accepted.wait()
        await stream.aclose()
        await ended.wait()

    accepted = trio.Event()
    (listener,) = await nursery.start(partial(trio.serve_tcp, accept, 0, host="127.0.0.1"))
    async with open_websocket(f"ws://127.0.0.1:{listener.socket.getsockname()[1]}") as ws:
        accepted.set()
        await end_of(ws)
    with trio.fail_after(5):
        await ended.wait()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"port": 80}, "port"), ({"subprotocol": "chat"}, "subprotocols")],
    ids=["of another function", "misspelt"],
)
async def test_an_option_that_does_not_exist_is_refused(options: dict[str, Any], message):
    ours, _ = memory_stream_pair()
    with pytest.raises(TypeError, match=message):
        await serve_stream(echo, ours, **options)


async def test_a_stream_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="stream"):
        await serve_stream(echo, b"bytes")  # type: ignore[arg-type]


def memory_server(handler: Any = echo) -> tuple[Server, MemoryListener]:
    return Server(one_service(handler, {}), Settings(timeouts=QUICK)), MemoryListener()


async def test_connections_run_in_the_nursery_that_is_given(nursery, autojump_clock):
    server, listener = memory_server()
    async with trio.open_nursery() as handlers:
        await nursery.start(
            lambda task_status: server.serve([listener], handler_nursery=handlers, task_status=task_status)
        )
        async with open_websocket("ws://localhost/", stream=listener.connect()) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
            assert [task.name for task in handlers.child_tasks if "transport" not in task.name] == ["/ #1"]
        await trio.testing.wait_all_tasks_blocked()
        assert not handlers.child_tasks


async def test_shutdown_waits_for_connections_elsewhere(nursery, autojump_clock):
    """The timers and the poller run until the last connection has ended, wherever that runs."""
    server, listener = memory_server()
    over = trio.Event()

    async def serve(handlers: trio.Nursery, *, task_status: Any) -> None:
        await server.serve([listener], handler_nursery=handlers, task_status=task_status)
        assert server.statistics().connections == 0
        over.set()

    async with trio.open_nursery() as handlers:
        await nursery.start(serve, handlers)
        async with open_websocket("ws://localhost/", stream=listener.connect(), caught_close_codes=()) as ws:
            server.shutdown()
            await end_of(ws)
        with trio.fail_after(5):
            await over.wait()


async def test_a_cancelled_handler_nursery_closes_with_1001(nursery, autojump_clock):
    server, listener = memory_server()
    async with trio.open_nursery() as handlers:
        await nursery.start(
            lambda task_status: server.serve([listener], handler_nursery=handlers, task_status=task_status)
        )
        async with open_websocket("ws://localhost/", stream=listener.connect(), caught_close_codes=()) as ws:
            handlers.cancel_scope.cancel()
            with trio.CancelScope(shield=True), pytest.raises(WebSocketDisconnect) as end:
                await ws.receive()
            assert end.value.code == 1001
