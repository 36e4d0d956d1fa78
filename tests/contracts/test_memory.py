"""What is left of a server's connection that has ended: nothing, and at once, without a search for reference cycles.

A connection may hold megabytes that nobody received, and a full search for cycles may be long in coming. (A client's
ends in the frames of Python's own context managers, which may be cycles.)
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio

from contracts.rig import Peer, Rig
from trio_ws import Timeouts, WebSocket
from trio_ws.connection.connection import Connection
from trio_ws.handler.runner import HandlerRunner
from trio_ws.server.connection import ServerConnection
from trio_ws.server.handshake import ServerHandshake
from trio_ws.server.request_receiver import RequestReceiver

TIMES = Timeouts(ping_interval=None, drain_timeout=0.01)
OURS = (ServerConnection, Connection, HandlerRunner, ServerHandshake, RequestReceiver, WebSocket)


Count = Callable[[], list[str]]


@pytest.fixture(scope="module")
def frozen() -> None:
    """Freeze what there is, for good, so that it is not searched: there may be a million objects of it."""
    gc.freeze()


@pytest.fixture
def alive(frozen: None) -> Iterator[Count]:
    """Name what is alive of ours and was not before the test: an earlier one's failure may hold on to its own.

    What is alive is what is referred to, or in a cycle; the records of a log would refer to tracebacks.
    """
    logging.disable()
    gc.disable()
    earlier = [each for each in gc.get_objects() if type(each) in OURS]

    def count() -> list[str]:
        ours = [each for each in gc.get_objects() if type(each) in OURS]
        return [type(each).__name__ for each in ours if not any(each is other for other in earlier)]

    yield count
    gc.enable()
    logging.disable(logging.NOTSET)


async def none_left(alive: Count) -> None:
    """Wait until nothing is left, which may take a turn or two."""
    with trio.move_on_after(1):
        while alive():
            await trio.sleep(0.001)
    assert alive() == []


async def echoes(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def is_told(ws: WebSocket) -> None:
    while True:
        await ws.receive()


async def fails(ws: WebSocket) -> None:
    await ws.receive()
    raise ValueError


async def waits(ws: WebSocket) -> None:
    await ws.receive()
    await trio.sleep_forever()


async def says_goodbye(peer: Peer) -> None:
    await peer.close()
    await peer.rest()


async def drops(peer: Peer) -> None:
    await peer.leave()


async def breaks_the_protocol(peer: Peer) -> None:
    await peer.send(b"\xff\xff")
    await peer.rest()


@pytest.mark.parametrize("body", [echoes, is_told, fails, waits])
@pytest.mark.parametrize("leave", [says_goodbye, drops, breaks_the_protocol])
async def test_nothing_is_left_of_a_connection_that_has_ended(
    alive: Count,
    server: Rig,
    body: Callable[[WebSocket], Awaitable[None]],
    leave: Callable[[Peer], Awaitable[None]],
    clock,
):
    async with server.connect(body, timeouts=TIMES) as peer:
        await peer.message("hello")
        await leave(peer)
    server.error = None
    del server.websocket
    await none_left(alive)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_nothing_is_left_of_a_connection_that_was_refused(alive: Count, server: Rig, head: bytes, clock):
    async with trio.open_nursery() as nursery:
        await server.serve(nursery, echoes)
        stream = await server.stream()
        await stream.send_all(head)
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 4")
        await stream.aclose()
        await server.all_gone()
        await none_left(alive)
        nursery.cancel_scope.cancel()
