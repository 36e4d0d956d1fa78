"""The end of a server: cancelled or told to, it tells everyone, gives handlers their grace, and is gone in time."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from support.handlers import noted_when_cancelled, stall, until_cancelled
from trio.testing import wait_all_tasks_blocked

from contracts.rig import LONG, Peer, request, status_of
from trio_ws import Timeouts, WebSocketDisconnect
from trio_ws.protocol.frames import encode_frame
from trio_ws.testing import leaves_nothing

GRACE = 0.3
TIMES = Timeouts(ping_interval=None, shutdown_grace=GRACE, close_timeout=0.2, cleanup_timeout=0.2)
BULK = "x" * 300_000


@asynccontextmanager
async def guard(websocket):
    """Never lets those through who ask for /guarded."""
    if websocket.url.path == "/guarded":
        await trio.sleep_forever()
    yield


class Handlers:
    """A handler for each state that a connection can be in, by its path."""

    def __init__(self) -> None:
        self.ended: dict[str, BaseException | str] = {}
        self.began: set[str] = set()

    async def __call__(self, websocket):
        name = websocket.url.path.strip("/")
        self.began.add(name)
        try:
            await getattr(self, name)(websocket)
        except BaseException as error:
            self.ended[name] = error
            raise
        self.ended[name] = "returned"

    async def echoes(self, websocket):
        async for message in websocket:
            await websocket.send(message)

    async def sleeps(self, websocket):
        await trio.sleep_forever()

    async def stays(self, websocket):
        """Was told of the end by nobody, and has read: whatever it does may be work on a message."""
        with trio.move_on_after(0.01):
            await websocket.receive()
        await trio.sleep_forever()

    async def sends(self, websocket):
        while True:
            await websocket.send(BULK)

    async def pings(self, websocket):
        await websocket.ping()

    async def streams(self, websocket):
        async for _ in websocket.receive_stream():
            pass

    async def works(self, websocket):
        """Uses its grace for work that takes less."""
        try:
            await websocket.receive()
        except WebSocketDisconnect:
            await trio.sleep(GRACE / 2)


async def connect(server, path):
    head, peer = await server.dial(target=f"/{path}")
    assert status_of(head) == 101
    return peer


async def test_cancelling_serve_closes_connections_in_every_state(server, clock):
    """Cancelling serve tells everyone whatever state its connection is in."""
    handlers = Handlers()
    paths = ["echoes", "sleeps", "stays", "sends", "pings", "streams", "works"]
    peers: dict[str, Peer] = {}
    unanswered = []

    async with leaves_nothing(), trio.open_nursery() as clients:
        async with trio.open_nursery() as nursery:
            await server.serve(nursery, handlers, timeouts=TIMES, around=guard)
            for path in paths:
                if path != "sends" or server.network != "memory":  # a memory stream takes everything
                    peers[path] = await connect(server, path)
            peers["in a frame"] = await connect(server, "echoes")
            await peers["in a frame"].send(encode_frame(2, b"x" * 1000, mask=b"mask")[:500])
            peers["in a message"] = await connect(server, "echoes")
            await peers["in a message"].message("half a", fin=False)
            await peers["streams"].message("half a", fin=False)
            for begin in (b"", b"GET / HT", request("/guarded")):
                stream = await server.stream()
                unanswered.append(stream)
                await stream.send_all(begin)
            while len(handlers.began) < len(set(paths) & set(peers)):
                await trio.sleep(0.001)
            with trio.move_on_after(0.05):
                await trio.sleep_forever()

            started = trio.current_time()
            for peer in peers.values():
                if peer is not peers.get("sends"):  # who reads nothing at all
                    clients.start_soon(peer.rest)
            answers = []
            for stream in unanswered:
                clients.start_soon(_read_all, stream, answers)
            nursery.cancel_scope.cancel()
        took = trio.current_time() - started
        if "sends" in peers:
            await peers["sends"].leave()

    # Never longer than the grace and the goodbyes after it, here with some time for a slow machine.
    assert took < GRACE + TIMES.close_timeout + TIMES.cleanup_timeout + 1.5
    for name, peer in peers.items():
        if name != "sends":
            assert [content for kind, content in peer.seen if kind == "close"] == [(1001, "")], name
    assert sorted(status_of(answer) for answer in answers) == [503, 503, 503]
    assert server.codes == [1001] * len(peers)

    assert handlers.ended["echoes"] == "returned"
    assert handlers.ended["works"] == "returned"
    for name, reason in {"stays": "the server shuts down", "sleeps": "closed by us: 1001"}.items():
        assert isinstance(handlers.ended[name], trio.Cancelled)
        assert handlers.ended[name].reason == reason
    for name in {"sends", "pings", "streams"} & set(peers):
        assert isinstance(handlers.ended[name], WebSocketDisconnect), name


async def _read_all(stream, answers):
    data = b""
    while more := await stream.receive_some():
        data += more
    answers.append(data)
    await stream.aclose()


async def _stay(peer):
    await peer.rest()


async def test_handlers_that_know_of_nothing_have_the_whole_grace(server, clock):
    lived = []
    at_work = trio.Event()

    async def body(websocket):
        await websocket.receive()
        at_work.set()
        started = trio.current_time()
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            lived.append(trio.current_time() - started)
            assert cancelled.reason == "the server shuts down"  # noqa: PT017 - it is Trio's to raise
            raise

    async with trio.open_nursery() as clients, trio.open_nursery() as nursery:
        await server.serve(nursery, body, timeouts=TIMES)
        peer = await connect(server, "")
        await peer.message("work")
        clients.start_soon(_stay, peer)
        await at_work.wait()
        server.server.shutdown()
    assert lived[0] >= GRACE - 0.01
    if clock is not None:
        assert lived[0] == pytest.approx(GRACE)
    assert server.codes == [1001]


@pytest.mark.parametrize("cancel", [False, True])
async def test_shutdown_with_1012_and_no_grace_is_at_once(server, clock, cancel):
    async with trio.open_nursery() as clients:
        async with trio.open_nursery() as nursery:
            await server.serve(nursery, stall, timeouts=Timeouts(ping_interval=None))
            peers = [await connect(server, "") for _ in range(5)]
            for peer in peers:
                clients.start_soon(peer.rest)
            waiting = await server.stream()
            started = trio.current_time()
            server.server.shutdown(1012, grace=0, reason="new version")
            assert server.server.draining
            clients.start_soon(waiting.aclose)
            if cancel:
                nursery.cancel_scope.cancel()  # changes nothing
        assert trio.current_time() - started < 2
    for peer in peers:
        assert peer.seen == [("close", (1012, "new version"))]
    assert server.codes == [1012] * 5
    assert isinstance(server.error, trio.Cancelled)


async def test_shutdown_without_grace_waits_for_no_silent_client(server, clock):
    """Clients that are connected and silent do not hold a server up for the rest of their open_timeout."""
    async with trio.open_nursery() as nursery:
        await server.serve(nursery, Handlers(), timeouts=Timeouts(open_timeout=100))
        silent = [await server.stream() for _ in range(3)]
        while server.server.statistics().connections < 3:
            await trio.sleep(0.001)
        started = trio.current_time()
        server.server.shutdown(grace=0)
    assert trio.current_time() - started < 3
    for stream in silent:
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
        await stream.aclose()


async def test_first_shutdown_sets_the_grace_even_longer_than_usual(server, clock):
    """The first shutdown says the grace also a longer one than usual."""
    lived = []

    async def body(websocket):
        started = trio.current_time()
        await until_cancelled(lambda _: lived.append(trio.current_time() - started))

    async with trio.open_nursery() as clients, trio.open_nursery() as nursery:
        times = Timeouts(ping_interval=None, shutdown_grace=0)
        await server.serve(nursery, body, timeouts=times, when_peer_leaves="finish")
        clients.start_soon(_stay, await connect(server, ""))
        await wait_all_tasks_blocked()
        server.server.shutdown(grace=0.2)
        server.server.shutdown(grace=100)
        server.server.shutdown()
    assert lived[0] >= 0.19


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (77, ""), (1001, "x" * 124)])
async def test_invalid_shutdown_is_a_value_error_and_server_goes_on(server, code, reason):
    """A shutdown that cannot be said is a ValueError and the server goes on."""
    async with server.connect(Handlers().sleeps):
        with pytest.raises(ValueError):  # noqa: PT011 - of the code or of the reason
            server.server.shutdown(code, reason=reason)
        assert not server.server.draining


async def test_draining_server_accepts_none_and_closes_the_open_ones(server, clock):
    """A draining server accepts no one and what it has is told."""

    async def body(websocket):
        async for _ in websocket:
            pass
        await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, timeouts=TIMES)
        peer = await connect(server, "")
        await wait_all_tasks_blocked()
        server.server.shutdown()
        await wait_all_tasks_blocked()
        if server.network != "memory":
            with pytest.raises(OSError, match="attempts to connect"):
                await server.stream()
        assert await peer.rest() == [("close", (1001, ""))]


async def test_handler_in_grace_may_receive_arrived_data_uncancelled(server, clock):
    """A handler in its grace may receive what had arrived and is not cancelled for it."""
    received = []

    async def body(websocket):
        await trio.sleep(0.05)
        async for message in websocket:
            received.append(message)
            await trio.sleep(0.05)

    times = Timeouts(ping_interval=None, drain_timeout=0, cleanup_timeout=0, shutdown_grace=5)
    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, timeouts=times)
        peer = await connect(server, "")
        for content in ("one", "two", "three"):
            await peer.message(content)
        while server.server.statistics().messages_received < 3:
            await trio.sleep(0.001)
        server.server.shutdown()
        await peer.rest()
    assert received == ["one", "two", "three"]
    assert server.error is None


async def test_on_disconnect_runs_bounded_when_serve_is_cancelled(server, clock):
    """on_disconnect runs for everyone when serve is cancelled and is bounded."""

    ended = []

    async def on_disconnect(websocket, code):
        await noted_when_cancelled(ended, code)

    times = Timeouts(ping_interval=None, shutdown_grace=0, cleanup_timeout=0.2, close_timeout=0.2)
    async with trio.open_nursery() as clients:
        async with trio.open_nursery() as nursery:
            await server.serve(nursery, stall, timeouts=times, on_disconnect=on_disconnect)
            for _ in range(3):
                clients.start_soon(_stay, await connect(server, ""))
            started = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - started < 2
    assert ended == [1001] * 3


async def test_serve_returns_after_shutdown_and_raises_if_cancelled(server):
    """Serve returns when it was shut down and raises cancelled when it was cancelled."""
    returned = []

    async def serve(task_status):
        await server.serving(Handlers(), task_status=task_status)
        returned.append("it")

    async with trio.open_nursery() as nursery:
        running = await nursery.start(serve)
        running.shutdown()
    assert returned == ["it"]

    with trio.fail_after(LONG):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            nursery.cancel_scope.cancel()
    assert returned == ["it"]
