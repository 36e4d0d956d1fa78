"""Pages beside the WebSockets: those that are long in the making or on their way, and those that a shutdown meets."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
from support.handlers import until_cancelled
from support.networks import SocketNetwork

from tests.testing.responders import Routes
from trio_ws import App, Server, Timeouts, WebSocket
from trio_ws.connection.settings import Settings
from trio_ws.handler.service import Response, Streamed
from trio_ws.http.url import URL
from trio_ws.testing import MemoryNetwork
from trio_ws.testing.http import fetch
from trio_ws.testing.network import MemoryListener
from trio_ws.transport.outbox import WRITE_BYTES
from trio_ws.transport.poller import Poller


async def test_pending_page_is_cancelled_at_shutdown_and_answered_503(autojump_clock) -> None:
    """A page that does not come is cancelled at shutdown and answered 503."""
    asked = trio.Event()

    class Endless(Routes):
        async def page(self, request):
            asked.set()
            await trio.sleep_forever()

    server, listener = Server(Endless()), MemoryListener()
    statuses = []

    async def get() -> None:
        page = await fetch(listener.connect(), URL.parse("http://test/page"), ())
        statuses.append(page.status)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [listener])
        nursery.start_soon(get)
        await asked.wait()
        server.shutdown()
    assert statuses == [503]
    assert trio.current_time() - began == pytest.approx(0, abs=1)


async def test_page_exceeding_open_timeout_is_answered_503(autojump_clock) -> None:
    """A page that takes longer than open_timeout is answered 503."""

    class Endless(Routes):
        async def page(self, request):
            await trio.sleep_forever()

    server, listener = Server(Endless(), Settings(timeouts=Timeouts(open_timeout=3))), MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [listener])
        began = trio.current_time()
        assert (await fetch(listener.connect(), URL.parse("http://test/page"), ())).status == 503
        assert trio.current_time() - began == pytest.approx(3, abs=0.1)
        server.shutdown()


@pytest.mark.skipif(not Poller.available(), reason="only the poller notices a reset while nothing is written")
async def test_a_page_whose_client_has_left_is_cancelled(nursery) -> None:
    asked, cancelled = trio.Event(), trio.Event()

    class Endless(Routes):
        async def page(self, request):
            asked.set()
            await until_cancelled(lambda _: cancelled.set())

    network = SocketNetwork(poller=True)
    server = Server(Endless(), Settings(timeouts=Timeouts(open_timeout=1000)))
    await nursery.start(server.serve, [network.listen()])
    stream = await ask(network)
    await asked.wait()
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
    with trio.fail_after(20):
        await cancelled.wait()


REQUESTS = {
    "page": b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n",
    "HTTP/1.0 without Host": b"GET /page HTTP/1.0\r\n\r\n",
    "malformed": b"GET /page HTTP/1.1\r\n\r\n",
}
STATUSES = (200, 200, 400)


@pytest.mark.parametrize(("request_", "status"), list(zip(REQUESTS.values(), STATUSES, strict=True)), ids=REQUESTS)
@pytest.mark.parametrize("kind", ["memory", "stream", "poller", "poller, TLS"])
async def test_a_client_that_half_closes_at_once_gets_its_answer(nursery, kind, request_, status) -> None:
    """The whole of it, though it is more than the network takes at once.

    TLS of Trio's own streams cannot: it is broken when TCP ends before TLS does.
    """

    class Slow(Large):
        async def page(self, request):
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            return await super().page(request)

    tls = kind.endswith("TLS")
    network = MemoryNetwork() if kind == "memory" else SocketNetwork(poller=kind.startswith("poller"), tls=tls)
    server = Server(Slow(), **getattr(network, "options", {}))
    await nursery.start(server.serve, [network.listen()])
    stream = await network.connect()
    await stream.send_all(request_)
    await (stream.transport_stream if tls else stream).send_eof()
    answer = b""
    while data := await stream.receive_some():
        answer += data
    await trio.aclose_forcefully(stream)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert status != 200 or len(answer) > LARGE
    server.shutdown()


_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_VERSIONED, _OLD = (f"{_UPGRADE}Sec-WebSocket-Version: {number}\r\n" for number in (13, 8))


@pytest.mark.parametrize(
    ("start", "fields", "status"),
    [
        ("GET /page", "", 200),
        ("HEAD /page", "", 200),
        ("GET /streamed", "", 200),
        ("HEAD /streamed", "", 200),
        ("GET /nothing", "", 404),
        ("GET /a page", "", 400),
        ("GET /guarded", _OLD, 426),
        ("GET /guarded", _VERSIONED, 403),
        ("GET /nothing", _VERSIONED, 403),
        ("GET /rejecting", _VERSIONED, 418),
        ("GET /failing", _VERSIONED, 500),
    ],
    ids=lambda value: value if isinstance(value, int) else value.partition("\r")[0],
)
async def test_the_end_of_an_answer_comes_together_with_it(autojump_clock, start, fields, status) -> None:
    """A client that reads up to the end does not wait until the server gives up waiting for the client's."""
    app, network, answer = App(), MemoryNetwork(), b""

    async def pieces():
        yield b"x" * 10

    @app.websocket("/guarded", guards=[lambda context: False])
    async def guarded(ws: WebSocket) -> None: ...

    @app.websocket("/rejecting", auto_accept=False)
    async def rejecting(ws: WebSocket) -> None:
        await ws.reject(418)

    @app.websocket("/failing", auto_accept=False)
    async def failing(ws: WebSocket) -> None:
        raise ZeroDivisionError

    app.page("/page", lambda _: "hello")
    app.page("/streamed", lambda _: Streamed(length=10, pieces=pieces))
    async with app.test_client(network=network, raise_server_errors=False):
        stream, began = await network.connect(), trio.current_time()
        await stream.send_all(f"{start} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode())
        while data := await stream.receive_some():
            answer += data
        assert trio.current_time() == began
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        await stream.aclose()


async def test_a_page_of_a_half_closed_client_ends_at_open_timeout(autojump_clock) -> None:
    class Endless(Routes):
        async def page(self, request):
            await trio.sleep_forever()

    server, network = Server(Endless(), Settings(timeouts=Timeouts(open_timeout=3))), MemoryNetwork()
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [network.listen()])
        stream = await ask(network)
        await stream.send_eof()
        began = trio.current_time()
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 503 ")
        assert trio.current_time() - began == pytest.approx(3, abs=0.1)
        server.shutdown()


LARGE = 10 * WRITE_BYTES


class Large(Routes):
    async def page(self, request):
        return Response(body=bytes(LARGE))


async def ask(network: MemoryNetwork) -> trio.abc.Stream:
    stream = await network.connect()
    await stream.send_all(b"GET /page HTTP/1.1\r\nHost: test\r\n\r\n")
    return stream


async def take(stream: trio.abc.Stream, pause: float) -> int:
    """Read to the end, slowly; return how much it was."""
    size = 0
    while data := await stream.receive_some(WRITE_BYTES):
        size += len(data)
        await trio.sleep(pause)
    return size


async def test_a_large_page_is_sent_whole_however_slowly_it_is_taken(autojump_clock) -> None:
    server, network = Server(Large()), MemoryNetwork(capacity=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [network.listen()])
        assert await take(await ask(network), pause=4) > LARGE
        server.shutdown()


async def test_client_that_stops_reading_page_is_cut_at_close_timeout(autojump_clock) -> None:
    """Who takes nothing more of a page is cut off after close_timeout."""
    server, network = Server(Large(), Settings(timeouts=Timeouts(close_timeout=5))), MemoryNetwork(capacity=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [network.listen()])
        stream = await ask(network)
        await stream.receive_some(WRITE_BYTES)
        began = trio.current_time()
        while server.statistics().connections:
            await trio.sleep(0.1)
        assert trio.current_time() - began == pytest.approx(5, abs=1.2)  # and a second for a goodbye
        server.shutdown()


async def test_a_page_on_its_way_has_the_grace_of_a_shutdown(autojump_clock) -> None:
    server, network = Server(Large()), MemoryNetwork(capacity=0)
    sizes: list[int] = []

    async def get(pause: float) -> None:
        sizes.append(await take(await ask(network), pause))

    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve, [network.listen()])
        nursery.start_soon(get, 0.5)
        nursery.start_soon(get, 4)
        await trio.sleep(1)
        server.shutdown(grace=10)
        began = trio.current_time()
    assert sizes[0] > LARGE > sizes[1]
    assert trio.current_time() - began == pytest.approx(10, abs=5)
