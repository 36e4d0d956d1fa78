"""Our server and our client under test: with an echo handler, in memory and on loopback sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import trio
import trio.testing

from trio_ws import (
    CloseInfo,
    Compression,
    Limits,
    Server,
    Timeouts,
    WebSocket,
    WebSocketError,
    open_websocket,
    serve_websocket,
)
from trio_ws.conformance.case import Case
from trio_ws.conformance.client_suite import ClientSuite
from trio_ws.conformance.handshakes import HandshakeContext
from trio_ws.conformance.judge import judge
from trio_ws.conformance.peer import Pace
from trio_ws.conformance.results import Result
from trio_ws.conformance.scale import Scale
from trio_ws.testing.network import MemoryListener

__all__ = ["PACE", "SMALL", "Witness", "client_results", "echo", "server_results", "serving"]

LIMITS: Final = Limits(max_message_size=16 * 1024 * 1024)
"""The largest message of the published list has 16 MiB."""
TIMEOUTS: Final = Timeouts(shutdown_grace=0.0)
COMPRESSION: Final = Compression(send_context=True, receive_context=True, send_window_bits=15, threshold=0)
"""All that the other side allows: contexts are kept, the window is full, and the smallest message is compressed."""
SMALL: Final = Scale(
    large=256, chopped=256, round_trips=3, compressed_bytes=16 * 1024, compressed_count=2, compressed=32
)
"""The large cases take long to build, and to play."""
PACE: Final = Pace(timeout=30.0, pause=0.01, octet=0.0005)
"""In virtual time these cost nothing. The timeout exceeds ours for an opening handshake, 10 s."""

Echo: TypeAlias = Callable[[WebSocket], Awaitable[None]]


async def echo(websocket: WebSocket) -> None:
    """Send every message back."""
    async for message in websocket:
        await websocket.send(message)


@attrs.define
class Witness:
    """What the applications beside the implementation under test have seen.

    Args:
        handler: the application.
    """

    handler: Echo = echo
    ends: list[CloseInfo | None] = attrs.field(factory=list)

    async def __call__(self, websocket: WebSocket) -> None:
        """Be the handler, and note how the connection ended."""
        try:
            await self.handler(websocket)
        finally:
            self.ends.append(websocket.close_info)


@asynccontextmanager
async def serving(handler: Echo = echo, *, strict: bool = True, **where: Any) -> AsyncIterator[Server]:
    """Run our server."""
    async with trio.open_nursery() as nursery:
        start = partial(
            serve_websocket, handler, **where, limits=LIMITS, timeouts=TIMEOUTS, compression=COMPRESSION, strict=strict
        )
        server: Server = await nursery.start(start)
        yield server
        server.shutdown()


async def server_results(
    cases: list[Case], handler: Echo = echo, pace: Pace = PACE, *, strict: bool = True
) -> list[Result]:
    """Play cases against our server, in memory."""
    listener = MemoryListener()
    context = HandshakeContext("conformance.test")
    async with serving(handler, strict=strict, listeners=[listener]):
        return [await judge(case, listener.connect(), client=True, pace=pace, context=context) for case in cases]


async def client_results(
    cases: list[Case], handler: Echo = echo, pace: Pace = PACE, *, strict: bool = True
) -> list[Result]:
    """Play cases on our client, in memory, by the protocol of drivers."""
    results: list[Result] = []
    suite = ClientSuite(cases, pace=pace, observe=lambda _, result: results.append(result), report=lambda _: None)
    for number in range(1, len(cases) + 1):
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(suite.handle, ours)
            await drive(f"ws://conformance.test/runCase?case={number}&agent=ours", handler, theirs, strict=strict)
    return results


async def drive(url: str, handler: Echo = echo, stream: trio.abc.Stream | None = None, *, strict: bool = True) -> None:
    """Run one case as a driver does; unless it is strict, any error of the client's is one that it handles."""
    try:
        async with open_websocket(
            url, stream=stream, limits=LIMITS, timeouts=TIMEOUTS, compression=COMPRESSION
        ) as websocket:
            await handler(websocket)
    except WebSocketError:
        pass
    except Exception:
        if strict:
            raise
