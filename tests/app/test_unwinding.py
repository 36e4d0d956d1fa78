"""What the library unwinds for its user is not cancelled at its first await, and takes cleanup_timeout at most."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from support.handlers import app_of, app_of_listener
from support.networks import Witness, close, dial, peer_of, text

from trio_ws import App, Depends, Limits, Server, Timeouts, WebSocket, serve_websocket
from trio_ws.testing import MemoryNetwork, RawPeer

CLEANUP = 5.0
TIMES = Timeouts(cleanup_timeout=CLEANUP, shutdown_grace=0.0, ping_interval=None)


class Pool:
    """A resource whose release takes a while."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.taken = 0
        self.lost = 0
        self.open = trio.Event()

    async def connection(self) -> AsyncIterator[int]:
        self.taken += 1
        try:
            yield self.taken
        finally:
            try:
                await trio.sleep(self.seconds)
                self.taken -= 1
            except BaseException:
                self.lost += 1
                raise


async def push(pool: Pool) -> None:
    pool.open.set()
    await trio.sleep_forever()


def pushing(pool: Pool) -> App:
    """Return an application whose one handler never reads."""
    app = App(timeouts=TIMES)

    @app.websocket("/")
    async def view(ws: WebSocket, connection: int = Depends(pool.connection)) -> None:
        await push(pool)

    return app


def called_back(pool: Pool) -> App:
    """Return an application whose view is called back, in a scope of its own."""
    app = App(timeouts=TIMES)

    async def receive(data: str, connection: int = Depends(pool.connection)) -> None:
        await push(pool)

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        with trio.CancelScope():
            await ws.accept_callback(on_receive=receive, encoding="text")

    return app


def replying(pool: Pool, where: str) -> App:
    """Return an application whose replies come from a generator that waits, or has its reply wait for room."""
    app = App(timeouts=TIMES)

    @app.listener("/", encoding="text")
    async def replies(data: str) -> AsyncIterator[str]:
        async with asynccontextmanager(pool.connection)():
            pool.open.set()
            while where == "the yield":
                yield "x" * 4096
            yield "once"
            await trio.sleep_forever()

    return app


MAKERS: dict[str, Any] = {
    "dependency": pushing,
    "dependency of accept_callback": called_back,
    "generator that waits": lambda pool: replying(pool, "the generator"),
    "generator whose reply waits": lambda pool: replying(pool, "the yield"),
}


async def served(nursery: trio.Nursery, app: App, network: MemoryNetwork) -> Server:
    server: Server = await nursery.start(partial(app.serve, port=None, listeners=[network.listen()]))
    return server


@attrs.frozen
class Ending:
    """A way in which a handler is cancelled."""

    by: str

    async def __call__(self, peer: RawPeer, server: Any) -> None:
        if self.by == "close frame":
            await peer.send(close(1001))
        elif self.by == "drop":
            await peer.close()
        else:
            server.shutdown(grace=0)


@pytest.mark.parametrize("end", [Ending("close frame"), Ending("drop"), Ending("grace=0")], ids=lambda end: end.by)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
async def test_clean_up_after_a_cancelled_handler_is_not_cancelled(make, end, autojump_clock) -> None:
    pool = Pool()
    network = MemoryNetwork(capacity=0)
    async with trio.open_nursery() as nursery:
        server = await served(nursery, make(pool), network)
        peer = await dial(network)
        await peer.send(text("go"))
        await pool.open.wait()
        await trio.sleep(1)
        await end(peer, server)
        await trio.sleep(60)
        assert (pool.taken, pool.lost) == (0, 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("make", [pushing, called_back, MAKERS["generator that waits"]])
async def test_clean_up_that_hangs_is_cut_off_and_recorded(make, caplog, autojump_clock) -> None:
    pool = Pool(seconds=1000)
    app = make(pool)
    caplog.set_level(logging.WARNING)
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        server = await served(nursery, app, network)
        peer = await dial(network)
        await peer.send(text("go"))
        await pool.open.wait()
        began = trio.current_time()
        server.shutdown(grace=0)
        await peer.receive_frames()
        while server.statistics().connections:
            await trio.sleep(0.01)
        assert trio.current_time() - began <= server.max_shutdown_seconds
        nursery.cancel_scope.cancel()
    assert pool.lost == 1
    (record,) = caplog.records
    assert record.getMessage().endswith(f"took longer than cleanup_timeout, {CLEANUP:g} s: it was cancelled")


async def test_a_dependency_that_holds_a_nursery_is_left_within_it(autojump_clock) -> None:
    """Its tasks are cancelled, what it does behind them is not."""
    ended: list[str] = []
    ready = trio.Event()

    async def background() -> AsyncIterator[trio.Nursery]:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield nursery
        finally:
            await trio.sleep(1)
            ended.append("released")

    async def view(ws: WebSocket, nursery: Any = Depends(background)) -> None:
        ready.set()
        await trio.sleep_forever()

    async with app_of(view, "/", App(timeouts=TIMES)).test_client() as client:
        async with client.websocket_connect("/") as ws:
            await ready.wait()
            await ws.close()
    assert ended == ["released"]


async def test_a_stream_that_is_cancelled_cleans_up(autojump_clock) -> None:
    """Chunks of a message come from a generator of the user's; the last one waits for room in vain."""
    pool = Pool()

    async def chunks() -> AsyncIterator[str]:
        async with asynccontextmanager(pool.connection)():
            while True:
                yield "x" * 4096

    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        with fate.watch(), trio.move_on_after(1):
            await ws.send_stream(chunks())

    async with peer_of(handler, MemoryNetwork(capacity=0), timeouts=TIMES, limits=Limits(outbox_bytes=1024)):
        await fate.ended.wait()
    assert (pool.taken, pool.lost) == (0, 0)


async def test_lifespan_exit_is_shielded_on_cancellation(autojump_clock) -> None:
    """The lifespan is left shielded when the application is cancelled."""
    ended: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await trio.sleep(1)
            ended.append("pool closed")

    app = App(lifespan=lifespan, timeouts=TIMES)
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: app.serve(port=None, listeners=[MemoryNetwork().listen()], task_status=task_status)
        )
        nursery.cancel_scope.cancel()
    assert ended == ["pool closed"]


async def test_a_cancelled_handler_is_still_told_off_with_1001(autojump_clock) -> None:
    """A dependency with a nursery does not swallow the cancellation of the connection itself."""

    async def background() -> AsyncIterator[None]:
        async with trio.open_nursery():
            yield

    async def view(ws: WebSocket, nursery: Any = Depends(background)) -> None:
        await trio.sleep_forever()

    app = app_of(view, "/", App(timeouts=TIMES))
    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: app.serve(port=None, listeners=[network.listen()], task_status=task_status)
        )
        peer = await dial(network)
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            (frame,) = await peer.receive_frames()
        assert frame.close_code == 1001


async def test_each_reply_and_its_cleanup_have_their_own_timeout(autojump_clock) -> None:
    """The time to clean up does not begin with the first reply."""
    pool = Pool()

    async def replies(data: str, connection: int = Depends(pool.connection)) -> AsyncIterator[str]:
        yield data
        await trio.sleep(CLEANUP - 1)
        yield data

    async with app_of_listener(replies, "/", App(timeouts=TIMES), encoding="text").test_client(timeout=60) as client:
        async with client.websocket_connect("/") as ws:
            for message in "abc":
                await ws.send(message)
                assert [await ws.receive(), await ws.receive()] == [message] * 2
    assert (pool.taken, pool.lost) == (0, 0)


SECOND = {
    "shutdown": lambda server, nursery: server.shutdown(grace=0),
    "cancellation": lambda server, nursery: nursery.cancel_scope.cancel(),
}


@pytest.mark.parametrize("policy", ["drain", "finish"])
@pytest.mark.parametrize("end", SECOND.values(), ids=SECOND.keys())
async def test_clean_up_under_way_is_not_cancelled_by_a_shutdown(end, policy, autojump_clock) -> None:
    """The handler has returned by itself, and its dependency is being left when the server ends."""
    pool = Pool()

    async def view(ws: WebSocket, connection: int = Depends(pool.connection)) -> None:
        await ws.receive()

    network = MemoryNetwork()
    async with trio.open_nursery() as nursery:
        server = await served(nursery, app_of(view, "/", App(timeouts=TIMES), when_peer_leaves=policy), network)
        peer = await dial(network)
        await peer.send(text("go"))
        await trio.sleep(0.5)
        end(server, nursery)
        with trio.CancelScope(shield=True):
            await peer.receive_frames()
        nursery.cancel_scope.cancel()
    assert (pool.taken, pool.lost) == (0, 0)


async def serve_around(
    nursery: trio.Nursery, pool: Pool, handler: Callable[[WebSocket], Awaitable[None]]
) -> tuple[Server, RawPeer]:
    """Serve a handler with a connection of the pool around it; return the server and a peer."""
    network = MemoryNetwork()
    server = await nursery.start(
        lambda task_status: serve_websocket(
            handler,
            listeners=[network.listen()],
            timeouts=TIMES,
            around=lambda ws: asynccontextmanager(pool.connection)(),
            task_status=task_status,
        )
    )
    return server, await dial(network)


@pytest.mark.parametrize("seconds", [1.0, 1000.0])
@pytest.mark.parametrize("end", SECOND.values(), ids=SECOND.keys())
async def test_what_is_around_a_handler_is_left_shielded(end, seconds, caplog, autojump_clock) -> None:
    """It takes as long as it needs until the server ends, then cleanup_timeout."""
    pool = Pool(seconds)

    async with trio.open_nursery() as nursery:
        server, peer = await serve_around(nursery, pool, lambda ws: ws.receive())
        await peer.send(text("go"))
        await trio.sleep(0.5 if seconds == 1 else 2 * CLEANUP)
        began = trio.current_time()
        end(server, nursery)
        with trio.CancelScope(shield=True):
            await peer.receive_frames()
        assert trio.current_time() - began <= server.max_shutdown_seconds
        nursery.cancel_scope.cancel()
    assert pool.lost == (seconds > CLEANUP)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * pool.lost


async def test_an_error_is_not_lost_with_the_clean_up_behind_it(caplog, autojump_clock) -> None:
    """The handler fails, and what is around it hangs until it is cut off."""
    pool = Pool(seconds=1000)

    async def handler(ws: WebSocket) -> None:
        raise KeyError("mine")

    async with trio.open_nursery() as nursery:
        server, peer = await serve_around(nursery, pool, handler)
        await trio.sleep(1)
        server.shutdown(grace=0)
        await peer.receive_frames()
        nursery.cancel_scope.cancel()
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert isinstance(caplog.records[1].exc_info[1], KeyError)


@pytest.mark.parametrize("seconds", [1.0, 1000.0])
async def test_a_lifespan_being_left_is_not_cancelled(seconds, caplog, autojump_clock) -> None:
    """The server has shut down by itself; the application is cancelled while its pool is being closed."""
    pool = Pool(seconds)

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        async with asynccontextmanager(pool.connection)():
            yield

    app = App(lifespan=lifespan, timeouts=TIMES)
    async with trio.open_nursery() as nursery:
        server = await served(nursery, app, MemoryNetwork())
        server.shutdown(grace=0)
        await trio.sleep(0.5)
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    assert pool.lost == (seconds > CLEANUP)
    assert trio.current_time() - began <= CLEANUP
    assert len(caplog.records) == pool.lost
