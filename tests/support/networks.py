"""Servers of ours on the networks of the test kit, raw clients of them, and frames as clients send them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import trio

from support.tls import contexts
from trio_ws import Server, WebSocket, serve_websocket
from trio_ws.testing import MemoryNetwork, Opcode, RawPeer, frame_bytes
from trio_ws.testing import SocketNetwork as KitNetwork

BUFFER = 16 * 1024
PATIENCE = 10
"""Real seconds, after which a test on sockets has hung."""


class SocketNetwork(KitNetwork):
    """Loopback TCP with small buffers, so that a test need not send much until they are full.

    Args:
        poller: the server's transport.
        tls: speak TLS on both sides.
    """

    def __init__(self, *, poller: bool, tls: bool = False) -> None:
        super().__init__(buffer_bytes=BUFFER, ssl_context=contexts()[1] if tls else None)
        self.poller = poller
        self.options: dict[str, Any] = {"poller": poller, "ssl_context": contexts()[0] if tls else None}


@asynccontextmanager
async def serving(network: MemoryNetwork | SocketNetwork, handler: Any, **options: Any) -> AsyncIterator[Server]:
    """Serve `handler` on `network`; an error in it, a failed assertion say, fails the test."""
    options = {"strict": True, **getattr(network, "options", {}), **options}
    if "listeners" not in options:
        options["listeners"] = [network.listen()]
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(partial(serve_websocket, handler, **options))
        yield server
        nursery.cancel_scope.cancel()


async def dial(network: Any, *, early: bytes = b"") -> RawPeer:
    """Connect a raw client whose waiting the test bounds, and do the handshake; `early` goes out with the request."""
    peer = RawPeer(await network.connect(), timeout=math.inf)
    try:
        await peer.handshake(early=early)
    except BaseException:
        await peer.close()
        raise
    return peer


@asynccontextmanager
async def peer_of(
    handler: Any, network: MemoryNetwork | SocketNetwork | None = None, **options: Any
) -> AsyncIterator[RawPeer]:
    """Serve `handler` on a network, in memory unless it is given, for one raw client; on sockets at most 10 seconds."""
    network = network or MemoryNetwork()
    with trio.fail_after(PATIENCE if isinstance(network, SocketNetwork) else math.inf):
        async with serving(network, handler, **options):
            yield await dial(network)


def text(content: str) -> bytes:
    return frame_bytes(Opcode.TEXT, content)


def binary(content: bytes) -> bytes:
    return frame_bytes(Opcode.BINARY, content)


def fragment(content: bytes, *, first: bool = False, final: bool = False) -> bytes:
    """Return a frame of a binary message in fragments."""
    return frame_bytes(Opcode.BINARY if first else Opcode.CONTINUATION, content, fin=final)


def ping(payload: bytes = b"") -> bytes:
    return frame_bytes(Opcode.PING, payload)


def pong(payload: bytes = b"") -> bytes:
    return frame_bytes(Opcode.PONG, payload)


def close(code: int, reason: str = "") -> bytes:
    return frame_bytes(Opcode.CLOSE, code.to_bytes(2) + reason.encode())


class Witness:
    """Sees what becomes of a piece of code: when and why it was cancelled, or what it raised."""

    def __init__(self) -> None:
        self.began = trio.Event()
        self.ended = trio.Event()
        self.time = math.nan
        """When it ended."""
        self.cancelled: str | None = None
        """The reason of the cancellation, None if there was none."""
        self.told: BaseException | None = None

    async def stay(self, ws: WebSocket | None = None) -> None:
        """Be the handler of a connection, or the end of one, until it is cancelled."""
        self.began.set()
        with self.watch():
            await trio.sleep_forever()

    @contextmanager
    def watch(self) -> Iterator[None]:
        try:
            yield
        except trio.Cancelled as cancelled:
            self.cancelled = cancelled.reason or ""
            raise
        finally:
            self.time = trio.current_time()
            self.ended.set()
