"""Peers behind a slow link, who take everything but slowly: no deadline ends them, and nothing is cut.

All is judged by bytes and by virtual time: the link takes 32 KiB in each half second, so that what is sent takes many
times every timeout that could strike.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from support.handlers import serve
from support.throttle import slow_link, url_of
from support.tls import contexts
from trio.testing import MockClock

from trio_ws import Limits, Timeouts, WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.transport.poller import Poller

MESSAGES = 6
SIZE = 100_000
"""Bytes of a message: all of them are less than a kernel takes if it may, and take 9 seconds."""
TIMES = Timeouts(
    ping_interval=None,
    close_timeout=2.0,
    send_timeout=3.0,
    shutdown_grace=0.1,
)
LONG = 600.0
"""Seconds of virtual time after which a test has hung."""

pytestmark = pytest.mark.slow


@pytest.fixture
def clock() -> MockClock:
    """A clock that jumps once nothing has moved on the sockets for a moment."""
    return MockClock(autojump_threshold=0.01)


@pytest.fixture(params=["poller", "poller-tls", "stream", pytest.param("stream-tls", marks=pytest.mark.repetition)])
def ways(request: pytest.FixtureRequest) -> Ways:
    """How both sides are connected; TLS over streams is Trio's own."""
    kind, _, tls = request.param.partition("-")
    if kind == "poller" and not Poller.available():
        pytest.skip("no poller on this platform")
    return Ways(poller=kind == "poller", tls=bool(tls))


class Ways:
    """The options of a server and a client on one transport."""

    def __init__(self, *, poller: bool, tls: bool) -> None:
        self.tls = contexts() if tls else None
        self.server: dict[str, Any] = {"poller": poller}
        self.client: dict[str, Any] = {"poller": poller}
        if self.tls:
            self.server["ssl_context"], self.client["ssl_context"] = self.tls


async def send_all(ws: WebSocket) -> None:
    for number in range(MESSAGES):
        await ws.send(bytes([number]) + bytes(SIZE - 1))


def whole(messages: list[Any]) -> list[int]:
    """Return which messages arrived whole."""
    return [message[0] for message in messages if len(message) == SIZE]


ALL = list(range(MESSAGES))


async def downwards(ways: Ways, nursery: trio.Nursery, handler: Any, **options: Any) -> tuple[list[Any], int | None]:
    """Let a server send to a slow client; return what arrived, and the close code that the client saw."""
    received: list[Any] = []
    server = await serve(nursery, handler, **{"timeouts": TIMES, **ways.server, **options})
    with trio.fail_after(LONG):
        async with slow_link(server.port, "down") as link:
            async with open_websocket(url_of(link, ways.tls), caught_close_codes=all, **ways.client) as ws:
                ws.nursery.start_soon(show_life, ws)
                received.extend([message async for message in ws])
            return received, ws.close_code


async def show_life(ws: WebSocket) -> None:
    """Send something from time to time, which a socket that is closed already answers with a reset."""
    with suppress(WebSocketDisconnect):
        while True:
            await trio.sleep(1)
            await ws.pong()


async def upwards(ways: Ways, nursery: trio.Nursery, timeouts: Timeouts) -> tuple[list[Any], int | None]:
    """Let a client send to a slow server, and leave; return what arrived, and the close code that the server saw."""
    received: list[Any] = []
    codes: list[int] = []
    done = trio.Event()

    async def collect(ws: WebSocket) -> None:
        async for message in ws:
            received.append(message)

    async def gone(_: WebSocket, code: int) -> None:
        codes.append(code)
        done.set()

    options = {**ways.server, "caught_close_codes": all, "on_disconnect": gone, "timeouts": attrs.evolve(TIMES)}
    server = await serve(nursery, collect, **options)
    with trio.fail_after(LONG):
        async with slow_link(server.port, "up") as link:
            async with open_websocket(url_of(link, ways.tls), timeouts=timeouts, **ways.client) as ws:
                await send_all(ws)
            await done.wait()
    return received, codes[0]


async def test_returning_handler_waits_for_slow_reader(ways: Ways, nursery: trio.Nursery, clock: MockClock) -> None:
    """What `send` accepted arrives, and the close frame behind it, however long it takes."""
    received, code = await downwards(ways, nursery, send_all)
    assert whole(received) == ALL
    assert code == 1000


async def test_closing_handler_waits_for_slow_reader(ways: Ways, nursery: trio.Nursery, clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await send_all(ws)
        await ws.close(4000, "done")

    received, code = await downwards(ways, nursery, handler)
    assert whole(received) == ALL
    assert code == 4000


async def test_failing_handler_waits_for_slow_reader(ways: Ways, nursery: trio.Nursery, clock: MockClock) -> None:
    async def handler(ws: WebSocket) -> None:
        await send_all(ws)
        raise ValueError("it is ours")

    received, code = await downwards(ways, nursery, handler)
    assert whole(received) == ALL
    assert code == 1011


async def test_leaving_client_waits_for_slow_server(ways: Ways, nursery: trio.Nursery, clock: MockClock) -> None:
    received, code = await upwards(ways, nursery, TIMES)
    assert whole(received) == ALL
    assert code == 1000


@pytest.mark.parametrize("slow", ["down", "up"])
async def test_keepalive_spares_slow_reader(ways: Ways, nursery: trio.Nursery, clock: MockClock, slow: str) -> None:
    """A ping stands behind what was sent before it: its pong takes longer than `ping_timeout`."""
    times = attrs.evolve(TIMES, ping_interval=2.0, ping_timeout=2.0)

    async def handler(ws: WebSocket) -> None:
        await send_all(ws)
        await trio.sleep(10)

    if slow == "down":
        received, code = await downwards(ways, nursery, handler, timeouts=times)
    else:
        received, code = await upwards(ways, nursery, times)
    assert whole(received) == ALL
    assert code == 1000


async def test_send_timeout_spares_slow_reader(ways: Ways, nursery: trio.Nursery, clock: MockClock) -> None:
    """So much is sent that the kernel has no room, and makes none for a long time if it takes megabytes."""
    large = 5_000_000

    async def handler(ws: WebSocket) -> None:
        await ws.send(bytes(large))
        await ws.send("done")

    received: list[Any] = []
    server = await serve(nursery, handler, timeouts=TIMES, **ways.server)
    with trio.fail_after(LONG):
        async with slow_link(server.port, "down", size=128 * 1024, step=1.0) as link:
            async with open_websocket(
                url_of(link, ways.tls), limits=Limits(max_message_size=large), **ways.client
            ) as ws:
                received.append(sum([len(part) async for part in ws.receive_stream()]))
                received.append(await ws.receive())
    assert received == [large, "done"]


async def test_drain_waits_for_slow_readers(ways: Ways, nursery: trio.Nursery, clock: MockClock) -> None:
    """The promise of docs/workers.md: what `send` has accepted is not lost, within the grace."""
    committed = trio.Event()
    received: list[Any] = []

    async def handler(ws: WebSocket) -> None:
        await send_all(ws)
        committed.set()
        await trio.sleep(math.inf)

    server = await serve(nursery, handler, timeouts=attrs.evolve(TIMES, shutdown_grace=60.0), **ways.server)

    async def stop() -> None:
        await committed.wait()
        server.shutdown()

    nursery.start_soon(stop)
    with trio.fail_after(LONG):
        async with slow_link(server.port, "down") as link:
            async with open_websocket(url_of(link, ways.tls), caught_close_codes=all, **ways.client) as ws:
                ws.nursery.start_soon(show_life, ws)
                received.extend([message async for message in ws])
    assert whole(received) == ALL
    assert ws.close_code == 1001
