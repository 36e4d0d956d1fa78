"""The peers under test: our server and our client with an echo handler, in memory and on loopback sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import trio
import trio.testing
from support.memory import MemoryListener

from trio_ws import (
    CloseInfo,
    Compression,
    Limits,
    Server,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    open_websocket,
    serve_websocket,
)

from .case import Case, Ending

__all__ = ["Rig", "Witness", "client_in_memory", "client_on_loopback", "server_in_memory", "server_on_loopback"]

LIMITS: Final = Limits(max_message_size=16 * 1024 * 1024)
"""The largest message of the published list has 16 MiB."""
TIMEOUTS: Final = Timeouts(shutdown_grace=0.0)
COMPRESSION: Final = Compression(send_context=True, receive_context=True, send_window_bits=15, threshold=0)
"""All that the other side allows: contexts are kept, the window is full, and the smallest message is compressed."""

Echo: TypeAlias = Callable[[WebSocket], Awaitable[None]]


async def echo(websocket: WebSocket) -> None:
    """Send every message back."""
    async for message in websocket:
        await websocket.send(message)


@attrs.define
class Witness:
    """What the application beside the peer under test has seen.

    Args:
        handler: the application.
    """

    handler: Echo = echo
    info: CloseInfo | None = None
    ended: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, websocket: WebSocket) -> None:
        """Be the handler, and note how the connection ended."""
        try:
            await self.handler(websocket)
        finally:
            self.info = websocket.close_info
            self.ended.set()

    async def confirm(self, ending: Ending) -> None:
        """Check that the application was told the same end as the wire."""
        with trio.fail_after(10):
            await self.ended.wait()
        assert self.info is not None
        assert self.info.code == (1005 if ending.code is None else ending.code)
        assert self.info.by == ("local" if ending.begun_by == "them" else "peer")


Rig: TypeAlias = Callable[[Case, Witness], AbstractAsyncContextManager[trio.abc.Stream]]
"""Starts the peer under test for one case, and gives the stream to it."""


@asynccontextmanager
async def _serving(case: Case, witness: Witness, **where: Any) -> AsyncIterator[Server]:
    async with trio.open_nursery() as nursery:
        start = partial(
            serve_websocket,
            witness,
            **where,
            limits=LIMITS,
            timeouts=TIMEOUTS,
            compression=COMPRESSION if case.wishes else None,
            strict=True,
        )
        server: Server = await nursery.start(start)
        yield server
        server.shutdown()


@asynccontextmanager
async def server_in_memory(case: Case, witness: Witness) -> AsyncIterator[trio.abc.Stream]:
    """Our server, over a stream in memory."""
    listener = MemoryListener()
    async with _serving(case, witness, listeners=[listener]):
        yield listener.connect()


@asynccontextmanager
async def server_on_loopback(case: Case, witness: Witness) -> AsyncIterator[trio.abc.Stream]:
    """Our server, on a loopback socket, read by the poller where there is one."""
    async with (
        _serving(case, witness, host="127.0.0.1", port=0) as server,
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        yield stream


async def _dial(case: Case, witness: Witness, url: str, stream: trio.abc.Stream | None) -> None:
    compression = COMPRESSION if case.wishes else None
    try:
        async with open_websocket(
            url, stream=stream, limits=LIMITS, timeouts=TIMEOUTS, compression=compression
        ) as websocket:
            await witness(websocket)
    except WebSocketDisconnect:
        pass


@asynccontextmanager
async def client_in_memory(case: Case, witness: Witness) -> AsyncIterator[trio.abc.Stream]:
    """Our client, over a stream in memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_dial, case, witness, "ws://fuzzing.test/", theirs)
        yield ours


@asynccontextmanager
async def client_on_loopback(case: Case, witness: Witness) -> AsyncIterator[trio.abc.Stream]:
    """Our client, on a loopback socket, read by the poller where there is one."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, trio.open_nursery() as nursery:
        port = listener.socket.getsockname()[1]
        nursery.start_soon(_dial, case, witness, f"ws://127.0.0.1:{port}/", None)
        async with await listener.accept() as stream:
            yield stream
