"""Room for connections: refused ones are bounded, and `open_timeout` ends what never gets as far as a request."""

from __future__ import annotations

import os
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from support.handlers import echo
from support.internals import set_internal
from support.tls import contexts, tls_over
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_ws import Limits, Timeouts, open_websocket, serve_websocket
from trio_ws.server.admission import REFUSALS, SPARE_DESCRIPTORS, Admission
from trio_ws.testing import MemoryNetwork
from trio_ws.transport.tls_session import TLSSession

TIMES = Timeouts(open_timeout=10, close_timeout=5, ping_interval=None)
CROWD = 100


@pytest.fixture(params=[True, False], ids=["poller", "stream"])
def poller(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def clock() -> MockClock:
    """Nothing times out unless a test says so."""
    return MockClock()


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Any]:
    options = {"timeouts": TIMES, **options}
    async with trio.open_nursery() as nursery:
        where = () if "listeners" in options else ("127.0.0.1", 0)
        try:
            yield await nursery.start(partial(serve_websocket, echo, *where, **options))
        finally:
            clock: Any = trio.lowlevel.current_clock()
            clock.autojump_threshold = 0
        nursery.cancel_scope.cancel()


async def settle() -> None:
    for _ in range(5):
        await wait_all_tasks_blocked(0.001)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def silent_crowd(stack: AsyncExitStack, port: int, size: int) -> None:
    for _ in range(size):
        await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
    await settle()


LIMITS = {"max_connections": Limits(max_connections=10), "max_connections_per_ip": Limits(max_connections_per_ip=10)}


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors")
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS.keys())
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_silent_crowd_beyond_the_limit_holds_few_descriptors(limits, tls, poller, clock) -> None:
    """They are connected, and say nothing: neither a request, nor TLS's first word."""
    options: dict[str, Any] = {"ssl_context": contexts()[0]} if tls else {}
    async with AsyncExitStack() as stack, serving(limits=limits, poller=poller, **options) as server:
        before = descriptors()
        await silent_crowd(stack, server.port, CROWD)
        assert descriptors() - before - CROWD <= 10 + REFUSALS
        assert server.statistics().connections <= 10 + REFUSALS


async def test_a_listener_of_trios_refuses_no_more_than_that_at_once(clock) -> None:
    network = MemoryNetwork()
    async with serving(limits=Limits(max_connections=10), listeners=[network.listen()]) as server:
        streams = [await network.connect() for _ in range(CROWD)]  # kept, or they would leave
        await settle()
        assert server.statistics().connections <= 10 + REFUSALS
        assert server.statistics().refused >= len(streams) - 10 - REFUSALS


async def test_the_newest_of_a_crowd_is_told_why(poller, clock) -> None:
    """Who asks at once gets its 503, however many silent ones are being refused."""
    async with AsyncExitStack() as stack, serving(limits=Limits(max_connections=1), poller=poller) as server:
        await silent_crowd(stack, server.port, 2 * REFUSALS)
        stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 503 ")


@pytest.mark.slow
async def test_room_that_becomes_free_is_given_to_the_next(poller, clock) -> None:
    """Refused connections are counted down again, dropped or not."""
    async with serving(limits=Limits(max_connections=1), poller=poller) as server:
        for _ in range(3):
            async with open_websocket(f"ws://127.0.0.1:{server.port}/", timeouts=TIMES) as ws:
                async with AsyncExitStack() as crowd:
                    await silent_crowd(crowd, server.port, 2 * REFUSALS)
                    await ws.send("a")
                    assert await ws.receive() == "a"
            await settle()
        assert server.statistics().connections == 0


@pytest.mark.parametrize("limit", [256, 100, 80, 1024])
@pytest.mark.parametrize("wanted", [None, 100_000], ids=["default", "more than there is room for"])
def test_the_promised_descriptors_stay_free(limit, wanted, monkeypatch) -> None:
    """Those that are admitted and those that are refused together leave the spare ones."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr("trio_ws.server.admission._descriptors_in_use", lambda: 10)
    admission = Admission(Limits(max_connections=wanted))
    admitted = refused = 0

    class Silent:
        def drop(self) -> bool:
            return False  # its descriptor is free later

    for _ in range(limit):
        if not admission.full("host"):
            admission.admit("host")
            admitted += 1
        elif admission.can_refuse():
            admission.refuse(Silent())
            refused += 1
    assert admitted >= 1
    assert refused >= 1
    assert admitted + refused <= limit - 10 - SPARE_DESCRIPTORS


# --- open_timeout and TLS ---


@pytest.mark.parametrize("words", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "half a greeting"])
async def test_unfinished_tls_handshake_is_dropped_after_open_timeout(words, poller, clock, caplog) -> None:
    """No answer could reach the client: there is nothing to wait for any longer."""
    async with serving(ssl_context=contexts()[0], poller=poller) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            if words:
                await stream.send_all(words)
            await settle()
            assert server.statistics().connections == 1
            clock.jump(TIMES.open_timeout + 0.01)
            await settle()
            assert server.statistics().connections == 0
            try:
                assert await stream.receive_some(1) == b""
            except trio.BrokenResourceError:
                pass


async def test_silent_tls_client_after_the_handshake_is_answered_408(poller, clock) -> None:
    """A TLS client that says nothing after the handshake is answered 408."""
    async with serving(ssl_context=contexts()[0], poller=poller) as server:
        stream = tls_over(await trio.open_tcp_stream("127.0.0.1", server.port), server=False)
        await stream.do_handshake()
        await settle()
        clock.jump(TIMES.open_timeout + 0.01)
        assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 408 ")
        await trio.aclose_forcefully(stream)


async def test_refused_client_with_unfinished_handshake_is_dropped(poller, clock) -> None:
    """A refused client that never ends its handshake is dropped too."""
    limits = Limits(max_connections=1)
    async with serving(ssl_context=contexts()[0], poller=poller, limits=limits) as server, AsyncExitStack() as stack:
        await silent_crowd(stack, server.port, 5)
        clock.jump(TIMES.open_timeout + 0.01)
        await settle()
        assert server.statistics().connections == 0


@pytest.mark.parametrize("words", [b"", b"\x16\x03\x01"], ids=["nothing", "half a greeting"])
async def test_a_crowd_of_endless_tls_handshakes_is_dropped(words, poller, clock) -> None:
    """They are more than the handshakes that one turn of the poller does, and nothing wakes the poller again."""
    async with AsyncExitStack() as stack, serving(ssl_context=contexts()[0], poller=poller) as server:
        for _ in range(30):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
            if words:
                await stream.send_all(words)
        await settle()
        assert server.statistics().connections == 30
        clock.jump(TIMES.open_timeout + 0.01)
        await settle()
        assert server.statistics().connections == 0


async def test_a_tls_handshake_is_dropped_wherever_it_stalls(poller, clock) -> None:
    client = TLSSession(contexts()[1], "localhost")
    assert not client.do_handshake()
    greeting = client.take_ciphertext()
    cuts = [*range(12), *range(12, len(greeting), 16), len(greeting) - 1, len(greeting)]
    async with AsyncExitStack() as stack, serving(ssl_context=contexts()[0], poller=poller) as server:
        for cut in cuts:
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
            await stream.send_all(greeting[:cut])
        await settle()
        assert server.statistics().connections == len(cuts)
        clock.jump(TIMES.open_timeout + 0.01)
        await settle()
        assert server.statistics().connections == 0


def test_two_servers_of_one_process_share_its_descriptors(monkeypatch) -> None:
    """Each could hold all that are there when it begins; a new descriptor has the lowest number that is free."""
    limit, in_use = 256, 10
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr("trio_ws.server.admission._descriptors_in_use", lambda: in_use)
    servers = Admission(Limits()), Admission(Limits())
    held = [0, 0]

    class Silent:
        def drop(self) -> bool:
            return False  # its descriptor is free later

    for _ in range(limit):
        for index, admission in enumerate(servers):
            descriptor = in_use + sum(held)
            if not admission.full("host", descriptor):
                admission.admit("host")
            elif admission.can_refuse(descriptor):
                admission.refuse(Silent())
            else:
                continue
            held[index] += 1
    assert sum(held) == limit - in_use - SPARE_DESCRIPTORS
    assert min(held) > 50


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_connection_on_a_spare_descriptor_is_closed(tls, poller, clock) -> None:
    """The application has opened all the others."""
    options: dict[str, Any] = {"ssl_context": contexts()[0]} if tls else {}
    async with serving(poller=poller, **options) as server:
        set_internal(server, "_admission._ceiling", 0)
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            assert await stream.receive_some(1) == b""
        assert server.statistics().refused == 1


async def test_a_stream_on_a_spare_descriptor_is_closed(clock) -> None:
    """The same with a listener of Trio's."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with serving(listeners=[listener]) as server:
        set_internal(server, "_admission._ceiling", 0)
        async with await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1]) as stream:
            assert await stream.receive_some(1) == b""
        assert server.statistics().refused == 1
