"""Raw peers over sockets and in memory, for servers and for clients under test."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trio_ws.errors import HeaderSource
from trio_ws.runtime.background import open_background
from trio_ws.testing.memory_stream import MemoryStream, memory_pair
from trio_ws.testing.raw_peer import DEFAULT_TIMEOUT, RawPeer
from trio_ws.testing.timeouts import bounded_wait, check_timeout

if TYPE_CHECKING:
    import ssl

__all__ = ["RawServer", "raw_connect", "raw_server"]


@asynccontextmanager
async def raw_connect(
    host: str,
    port: int,
    target: str = "/",
    *,
    handshake: bool = True,
    headers: HeaderSource = (),
    without: Iterable[str] = (),
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - of each wait in the block
    check: bool = True,
) -> AsyncGenerator[RawPeer, None]:
    """Connect a raw client to a server on a socket, and close the connection at the end of the block.

    Args:
        host: name or address.
        port: its port.
        target: path and query.
        handshake: whether to request a WebSocket; False leaves all bytes to the test.
        headers: further headers of the request.
        without: names of headers of the handshake to leave out.
        ssl_context: for TLS.
        server_hostname: the name that the certificate must hold for, if it is not `host`.
        timeout: seconds that each wait may take.
        check: whether frames that break RFC 6455 raise `InvalidFrame`.

    Raises:
        OSError: the host refused the connection, or has no such name.
        ConnectionRejected: likewise the other errors of `RawPeer.handshake`.

    Example:
        async with raw_connect("127.0.0.1", server.port, "/echo") as peer:
            peer.send(b"no frame at all")
    """
    where = f"{host}:{port}"
    with bounded_wait(check_timeout(timeout), f"a connection to {where}"):
        stream: trio.abc.Stream = await trio.open_tcp_stream(host, port)
    if ssl_context is not None:
        stream = trio.SSLStream(stream, ssl_context, server_hostname=server_hostname or host, https_compatible=True)
    async with RawPeer(stream, timeout=timeout, check=check, where=where) as peer:
        if handshake:
            await peer.handshake(target, headers, host=where, without=without)
        yield peer


class RawServer:
    """A listener for raw peers that are servers, to test clients.

    Args:
        listener: for sockets on loopback.
        ssl_context: for TLS on sockets.
        timeout: seconds that each wait may take.
        check: whether frames that break RFC 6455 raise `InvalidFrame`.

    Example:
        async with raw_server() as server, trio.open_nursery() as nursery:
            nursery.start_soon(run_client, server.url)
            async with server.accept() as peer:
                peer.message("hello")
                assert (await peer.receive_frame()).text == "HELLO"
    """

    def __init__(
        self, listener: trio.SocketListener, ssl_context: ssl.SSLContext | None, *, timeout: float, check: bool
    ) -> None:
        self.port: int = listener.socket.getsockname()[1]
        """The port on loopback."""
        self._listener = listener
        self._ssl_context = ssl_context
        self._timeout = timeout
        self._check = check
        self._connecting, self._accepting = trio.open_memory_channel[trio.abc.Stream](math.inf)

    @property
    def url(self) -> str:
        """The URL for clients on sockets, such as `ws://127.0.0.1:8000`."""
        return f"{'ws' if self._ssl_context is None else 'wss'}://127.0.0.1:{self.port}"

    def connect(self) -> MemoryStream:
        """Return the client's end of a new connection in memory, for `open_websocket(url, stream=...)`."""
        client, server = memory_pair()
        self._connecting.send_nowait(server)
        return client

    @asynccontextmanager
    async def accept(self, *, handshake: bool = True, headers: HeaderSource = ()) -> AsyncGenerator[RawPeer, None]:
        """Accept the next connection, and close it at the end of the block.

        Args:
            handshake: whether to answer the client's request with 101; False leaves all bytes to the test.
            headers: further headers of the response.

        Raises:
            TestTimeout: no client connected in time, or it sent no request.
            InvalidHead: the client sent no request for a WebSocket.
            RawConnectionEnded: the client left before it had sent one.
        """
        with bounded_wait(self._timeout, "a client to connect"):
            stream = await self._accepting.receive()
        async with RawPeer(stream, side="server", timeout=self._timeout, check=self._check, where="the client") as peer:
            if handshake:
                await peer.accept(headers)
            yield peer

    async def run(self) -> None:
        """Accept connections on sockets until cancelled."""
        while True:
            stream: trio.abc.Stream = await self._listener.accept()
            if self._ssl_context is not None:
                stream = trio.SSLStream(stream, self._ssl_context, server_side=True, https_compatible=True)
            self._connecting.send_nowait(stream)

    async def aclose(self) -> None:
        """Refuse further connections, and close those that were not accepted."""
        await trio.aclose_forcefully(self._listener)
        self._connecting.close()
        while True:
            try:
                await trio.aclose_forcefully(self._accepting.receive_nowait())
            except (trio.EndOfChannel, trio.WouldBlock):
                return


@asynccontextmanager
async def raw_server(
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - of each wait in the block
    check: bool = True,
) -> AsyncGenerator[RawServer, None]:
    """Open a server whose bytes are those of the test, to test a client.

    It listens on a free port of 127.0.0.1, and takes connections in memory from `RawServer.connect`.

    Args:
        ssl_context: for TLS on sockets.
        timeout: seconds that each wait may take.
        check: whether frames that break RFC 6455 raise `InvalidFrame`.

    Raises:
        ValueError: the timeout is invalid.

    Example:
        async with raw_server() as server, trio.open_nursery() as nursery:
            nursery.start_soon(my_client, server.url)
            async with server.accept() as peer:
                peer.frame(Opcode.TEXT, "hello", rsv1=True)
                assert (await peer.receive_frame()).close_code == 1002
    """
    check_timeout(timeout)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = RawServer(listener, ssl_context, timeout=timeout, check=check)
    try:
        async with open_background() as nursery:
            nursery.start_soon(server.run)
            yield server
    finally:
        await server.aclose()
