"""A link that carries one direction slowly: a proxy that takes a bounded number of bytes in each step of virtual time.

The pace is the clock's, not the machine's: with a `MockClock` that jumps, a minute on the link takes a second.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

RECEIVE_BUFFER = 16 * 1024
"""Bytes that the kernel keeps on the slow direction's way into the proxy, before doubling them."""
SEGMENT = 1400
AT_ONCE = 65536


class Link:
    """A proxy in front of a server.

    Args:
        port: of the server.
        slow: the direction that is slow: "down" is from the server to its clients, "up" the other.
        size: bytes that the slow direction takes in a step.
        step: seconds of a step.
    """

    def __init__(self, port: int, slow: str, size: int, step: float) -> None:
        self.port = 0
        """Where clients connect."""
        self.carried = 0
        """Bytes that the slow direction has carried."""
        self._server = port
        self._slow = slow
        self._size = size
        self._step = step

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        listener = trio.socket.socket()
        if self._slow == "up":
            _narrow(listener)
        await listener.bind(("127.0.0.1", 0))
        listener.listen()
        self.port = listener.getsockname()[1]
        with listener:
            task_status.started()
            while True:
                client, _ = await listener.accept()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, client)

    async def _carry(self, client: trio.socket.SocketType) -> None:
        server = trio.socket.socket()
        if self._slow == "down":
            _narrow(server)
        await server.connect(("127.0.0.1", self._server))
        with client, server:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pipe, trio.SocketStream(server), trio.SocketStream(client), "down")
                nursery.start_soon(self._pipe, trio.SocketStream(client), trio.SocketStream(server), "up")

    async def _pipe(self, source: trio.SocketStream, sink: trio.SocketStream, direction: str) -> None:
        try:
            if direction == self._slow:
                await self._drip(source, sink)
            else:
                while data := await source.receive_some(AT_ONCE):
                    await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            for stream in (source, sink):  # a reset goes through
                await trio.aclose_forcefully(stream)

    async def _drip(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        left = self._size
        while data := await source.receive_some(left):
            await sink.send_all(data)
            self.carried += len(data)
            left -= len(data)
            if not left:
                await trio.sleep(self._step)
                left = self._size


def _narrow(sock: trio.socket.SocketType) -> None:
    """Give a socket that is not connected yet small segments and a small receive buffer, as on a real slow link."""
    # Loopback's segments are as large as such a buffer, and the kernel waits (in real time) until one has room.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


@asynccontextmanager
async def slow_link(port: int, slow: str, *, size: int = 32 * 1024, step: float = 0.5) -> AsyncIterator[Link]:
    """Open a slow link in front of the server at `port`."""
    link = Link(port, slow, size, step)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield link
        nursery.cancel_scope.cancel()


def url_of(link: Link, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> str:
    """Return the URL of the server behind a link; no name, as virtual time does not wait for a resolver."""
    return f"wss://127.0.0.1:{link.port}/" if tls else f"ws://127.0.0.1:{link.port}/"
