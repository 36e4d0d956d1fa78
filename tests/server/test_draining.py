"""The end of a server at scale: health first, goodbyes at a rate, what was sent arrives, and all of it in its bound."""

from __future__ import annotations

import math

import attrs
import pytest
import trio
from support.endings import code_of, end_of
from support.handlers import echo, serve, until_cancelled
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from trio_ws import (
    App,
    CloseCode,
    ConnectionRejected,
    Limits,
    Server,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    open_websocket,
)
from trio_ws.testing.network import MemoryListener

TIMES = Timeouts(ping_interval=None, shutdown_grace=4, close_timeout=2, cleanup_timeout=2, drain_timeout=0.5)


def connect(listener, path: str = "/", **options):
    return open_websocket(
        f"ws://here{path}", stream=listener.connect(), when_peer_leaves="finish", caught_close_codes=all, **options
    )


async def get(listener, path: str, *lines: str) -> bytes:
    async with listener.connect() as stream:
        await stream.send_all("\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *lines, "", ""]).encode())
        return b"".join([piece async for piece in stream])


# --- the delay --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def application(nursery):
    """An application with a delay of 5 s, and its listener; it is served."""
    app = App(timeouts=attrs.evolve(TIMES, drain_delay=5))
    app.websocket("/echo")(echo)
    listener = MemoryListener()
    await nursery.start(lambda task_status: app.serve(None, None, listeners=[listener], task_status=task_status))
    return app, listener


async def test_drain_delay_answers_503_and_serves_open_connections(application, autojump_clock) -> None:
    """In the delay health and upgrades are 503 and who is there is served."""
    app, listener = application
    assert (await get(listener, "/healthz")).startswith(b"HTTP/1.1 200 ")
    async with connect(listener, "/echo") as ws:
        began = trio.current_time()
        app.server.shutdown()
        await trio.sleep(1)
        assert (await get(listener, "/healthz")).startswith(b"HTTP/1.1 503 ")
        with pytest.raises(ConnectionRejected) as refused:
            await connect(listener, "/echo").__aenter__()
        assert refused.value.status == 503
        assert refused.value.headers["Retry-After"] == "1"
        await ws.send("still here")
        assert await ws.receive() == "still here"
        assert await code_of(ws) == 1001
        assert trio.current_time() - began == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize("hurry", [{"delay": 0}, {"grace": 0}], ids=["none wanted", "hurried"])
async def test_the_delay_may_be_left_out(application, hurry, autojump_clock) -> None:
    app, listener = application
    began = trio.current_time()
    async with connect(listener, "/echo") as ws:
        if "grace" in hurry:
            app.server.shutdown()
            await trio.sleep(1)
        app.server.shutdown(1012, **hurry)
        with pytest.raises(WebSocketDisconnect, match="1001" if "grace" in hurry else "1012"):
            await ws.receive()
        assert trio.current_time() - began < 2


async def test_connection_without_request_gets_503_when_closing_begins(application, autojump_clock) -> None:
    """Who has connected and asked nothing is told 503 when all are told."""
    app, listener = application
    async with listener.connect() as stream:
        await wait_all_tasks_blocked()
        app.server.shutdown()
        answer = b"".join([piece async for piece in stream])
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in answer.lower()


# --- the rate ---------------------------------------------------------------------------------------------------------


class Crowd:
    """Clients of one server, when each of them was told, and how long each handler lived after that."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._arrived = 0
        self.listener = MemoryListener()
        self.told: list[float] = []
        self.lived: list[float] = []
        self.server: Server

    async def serve(self, **options) -> None:
        self.server = await serve(self._nursery, self._stay, listeners=[self.listener], **options)

    async def _stay(self, ws: WebSocket) -> None:
        await ws.receive()
        await end_of(ws)
        began = trio.current_time()
        await until_cancelled(lambda _: self.lived.append(trio.current_time() - began))

    async def arrive(self, number: int) -> None:
        self._arrived += number
        for _ in range(number):
            self._nursery.start_soon(self._wait)
        while self.server.statistics().messages_received < self._arrived:
            await trio.sleep(0.01)

    async def _wait(self) -> None:
        async with connect(self.listener) as ws:
            await ws.send("here")
            assert await code_of(ws) == 1001
            self.told.append(trio.current_time())

    def shutdown(self, **options) -> None:
        self._began = trio.current_time()
        self.server.shutdown(**options)

    async def gone(self) -> list[float]:
        """Wait for the end; return when each was told, in seconds from the beginning."""
        while self.server.statistics().connections:
            await trio.sleep(0.1)
        assert trio.current_time() - self._began <= self.server.max_shutdown_seconds
        assert len(self.told) == self._arrived
        return sorted(each - self._began for each in self.told)


@pytest.fixture
def crowd(nursery):
    return Crowd(nursery)


async def test_without_a_rate_all_are_told_at_once(crowd, autojump_clock) -> None:
    await crowd.serve(timeouts=TIMES)
    await crowd.arrive(20)
    crowd.shutdown()
    assert (await crowd.gone())[-1] < 0.01


@pytest.mark.slow
async def test_drain_rate_spreads_closes_and_each_has_its_own_grace(crowd, autojump_clock) -> None:
    """At a rate goodbyes are spread and each handler has its grace from its own."""
    await crowd.serve(timeouts=TIMES, limits=Limits(drain_rate=12))
    await crowd.arrive(60)
    crowd.shutdown()
    told = await crowd.gone()
    assert told[0] == 0
    assert 4.5 < told[-1] < 5.2
    for second in range(5):
        assert sum(second <= each < second + 1 for each in told) <= 16  # the rate, and a batch and a half
    assert crowd.lived == pytest.approx([4] * 60)
    assert len({round(each, 6) for each in told}) >= 25  # in batches of a few


async def test_a_low_rate_tells_one_after_another(crowd, autojump_clock) -> None:
    await crowd.serve(timeouts=TIMES, limits=Limits(drain_rate=0.5))
    await crowd.arrive(3)
    crowd.shutdown()
    told = await crowd.gone()
    assert told[0] == 0
    assert 2 <= told[1] < 4 <= told[2] < 6


@pytest.mark.slow
async def test_drain_rate_is_raised_to_close_all_within_the_spread(crowd, autojump_clock) -> None:
    """The rate is raised so that all are told within the spread."""
    await crowd.serve(timeouts=attrs.evolve(TIMES, drain_spread=2), limits=Limits(drain_rate=1))
    await crowd.arrive(60)
    crowd.shutdown()
    told = await crowd.gone()
    assert 1.5 < told[-1] <= 2.1
    assert crowd.server.max_shutdown_seconds == 2 + 4 + 2 + 2 + 1


async def test_no_spread_is_all_at_once(crowd, autojump_clock) -> None:
    await crowd.serve(timeouts=attrs.evolve(TIMES, drain_spread=0), limits=Limits(drain_rate=1))
    await crowd.arrive(10)
    crowd.shutdown()
    assert (await crowd.gone())[-1] < 0.01


async def test_a_shorter_grace_ends_the_spread(crowd, autojump_clock) -> None:
    await crowd.serve(timeouts=TIMES, limits=Limits(drain_rate=1))
    await crowd.arrive(10)
    crowd.shutdown()
    await trio.sleep(1.5)
    crowd.server.shutdown(grace=1)
    told = await crowd.gone()
    assert told[-1] == pytest.approx(1.5)
    assert max(crowd.lived) <= 2.51  # the first of them, of which a second after it was hurried


async def test_a_second_shutdown_with_the_same_grace_changes_nothing(crowd, autojump_clock) -> None:
    """Neither the delay nor the spread is cut short; a longer grace is none either."""
    await crowd.serve(timeouts=attrs.evolve(TIMES, drain_delay=3), limits=Limits(drain_rate=1))
    await crowd.arrive(3)
    crowd.shutdown()
    for grace in (TIMES.shutdown_grace, None, TIMES.shutdown_grace + 1):
        crowd.server.shutdown(grace=grace)
    told = await crowd.gone()
    assert told[0] == pytest.approx(3)
    assert told[-1] >= 3 + 1.5  # the third of one in each second, about


async def test_goodbyes_wait_for_nobody_who_has_left(nursery, autojump_clock) -> None:
    listener = MemoryListener()
    server = await serve(nursery, echo, listeners=[listener], timeouts=TIMES, limits=Limits(drain_rate=0.1))
    async with trio.open_nursery() as clients:
        for _ in range(20):
            clients.start_soon(_visit, listener)
        while server.statistics().messages_sent < 20:
            await trio.sleep(0.01)
        began = trio.current_time()
        server.shutdown()
        await trio.sleep(1)
        clients.cancel_scope.cancel()
    while server.statistics().connections:
        await trio.sleep(0.01)
    assert trio.current_time() - began < 5  # a pause of at most three seconds was under way


async def _visit(listener) -> None:
    async with connect(listener) as ws:
        await ws.send("hello")
        await trio.sleep_forever()


# --- what was sent ----------------------------------------------------------------------------------------------------

KIB = 1024
MESSAGES = 5
SIZE = 60 * KIB


class SlowStream(trio.abc.HalfCloseableStream):
    """A stream whose reader takes its time, once it is told to."""

    def __init__(self, stream: trio.StapledStream) -> None:
        self._stream = stream
        self.pause = 0.0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep(self.pause)
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class LockstepListener(MemoryListener):
    """A listener over a network that keeps nothing: what the client has not taken is in the server's outbox."""

    def connect(self):
        client, server = lockstep_stream_pair()
        self._connecting.send_nowait(server)
        return SlowStream(client)


class Slow:
    """A server that has committed five messages to a client which takes one in `pause` seconds."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.received: list[int] = []

    async def run(self, pause: float, grace: float, hurry_after: float = math.inf) -> float:
        """Shut down; return how long the server took to end."""
        committed = trio.Event()

        async def talk(ws: WebSocket) -> None:
            await ws.receive()
            for number in range(MESSAGES):
                await ws.send(bytes([number]) * SIZE)
            committed.set()
            await ws.receive()

        listener = LockstepListener()
        options = {"timeouts": attrs.evolve(TIMES, shutdown_grace=grace), "limits": Limits(outbox_bytes=400 * KIB)}
        server = await serve(self._nursery, talk, listeners=[listener], when_peer_leaves="finish", **options)
        stream = listener.connect()
        async with open_websocket("ws://here/", stream=stream, caught_close_codes=all, when_peer_leaves="finish") as ws:
            await ws.send("begin")
            stream.pause = pause
            await committed.wait()
            began = trio.current_time()
            server.shutdown(grace=grace)
            if hurry_after != math.inf:
                await trio.sleep(hurry_after)
                server.shutdown(grace=0)
            async for message in ws:
                self.received.append(message[0])
            self.code = ws.close_code
        while server.statistics().connections:
            await trio.sleep(0.01)
        return trio.current_time() - began


@pytest.fixture
def slow(nursery):
    return Slow(nursery)


async def test_slow_client_gets_all_committed_data_within_the_grace(slow, autojump_clock) -> None:
    """A slow client gets all that was committed within the grace."""
    took = await slow.run(pause=1.5, grace=20)
    assert slow.received == list(range(MESSAGES))
    assert slow.code == CloseCode.GOING_AWAY
    assert took > 2 * TIMES.close_timeout


async def test_a_slow_client_has_no_more_than_the_grace(slow, autojump_clock) -> None:
    took = await slow.run(pause=1.5, grace=3)
    assert len(slow.received) < MESSAGES
    assert 3 <= took < 3 + TIMES.close_timeout + 1.5


async def test_a_slow_client_has_no_time_once_the_end_is_hurried(slow, autojump_clock) -> None:
    took = await slow.run(pause=1.5, grace=20, hurry_after=3.1)
    assert len(slow.received) < MESSAGES
    assert took < 3.1 + TIMES.close_timeout + 1.5


async def test_stalled_client_is_not_waited_for_beyond_close_timeout(slow, autojump_clock) -> None:
    """Who takes nothing is waited for no longer than for an answer."""
    assert await slow.run(pause=50, grace=20) <= 53
    assert slow.code != CloseCode.GOING_AWAY
