"""Networks between a server and its clients, in memory or over loopback sockets.

They work with real and with virtual time.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Protocol

import trio

from trio_ws.errors import ConnectError
from trio_ws.testing.memory_stream import BUFFER_BYTES, MemoryStream, memory_pair

if TYPE_CHECKING:
    import ssl

    from trio_ws.transport.listeners import SocketListener

__all__ = ["MemoryListener", "MemoryNetwork", "Network", "SocketNetwork", "check_network"]


class Network(Protocol):
    """The way between a server and its clients in a test.

    `MemoryNetwork`, `SocketNetwork` and `ChaosNetwork` are networks; `TestClient(app, network=...)` takes any.

    Example:
        async def echoes_over(network: Network):
            async with app.test_client(network=network) as client, client.websocket_connect("/echo") as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
    """

    def listen(self) -> SocketListener:
        """Begin to listen, in place of an earlier listener; return what a `Server` accepts from."""

    async def connect(self) -> trio.abc.Stream:
        """Return the client's end of a new connection."""

    def describe(self) -> str:
        """Return a description for the message of a failing test, "" for none."""


def check_network(network: Network) -> Network:
    """Return a network.

    Raises:
        TypeError: it is something else, such as a class.
    """
    if isinstance(network, type) or not (hasattr(network, "listen") and hasattr(network, "connect")):
        raise TypeError(f"network takes a network, such as ChaosNetwork(seed=7) or SocketNetwork(), not {network!r}")
    return network


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """A listener for connections in memory, which `connect` creates."""

    __slots__ = ("_accepting", "_capacity", "_connecting")

    def __init__(self, capacity: int = BUFFER_BYTES) -> None:
        self._capacity = capacity
        self._connecting, self._accepting = trio.open_memory_channel[MemoryStream](math.inf)

    def connect(self) -> MemoryStream:
        """Return the client's end of a new connection.

        Raises:
            ConnectError: the listener is closed.
        """
        client, server = memory_pair(self._capacity)
        try:
            self._connecting.send_nowait(server)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ConnectError("tcp", "the server has stopped listening") from None
        return client

    async def accept(self) -> MemoryStream:
        """Return the server's end of the next connection.

        Raises:
            trio.ClosedResourceError: the listener is closed.
        """
        return await self._accepting.receive()

    async def aclose(self) -> None:
        """Refuse further connections."""
        self._accepting.close()
        await trio.lowlevel.checkpoint()


class MemoryNetwork:
    """Connections in memory, in real and in virtual time.

    Args:
        capacity: bytes that each direction holds until they are read; 0: what is sent has been read when `send_all`
            returns.

    Example:
        network = MemoryNetwork()
        await nursery.start(partial(serve_websocket, handler, listeners=[network.listen()]))
        async with open_websocket("ws://test/", stream=await network.connect()) as ws: ...
    """

    def __init__(self, capacity: int = BUFFER_BYTES) -> None:
        self._capacity = capacity
        self._listener: MemoryListener | None = None

    def listen(self) -> MemoryListener:
        """Begin to listen, in place of an earlier listener; return what a `Server` accepts from."""
        self._listener = MemoryListener(self._capacity)
        return self._listener

    async def connect(self) -> MemoryStream:
        """Return the client's end of a new connection.

        Raises:
            ConnectError: nothing listens.
        """
        await trio.lowlevel.checkpoint()
        if self._listener is None:
            raise ConnectError("tcp", "nothing listens on this network")
        return self._listener.connect()

    def describe(self) -> str:
        """Return "": there is nothing to say of a good network."""
        return ""


class SocketNetwork:
    """Connections over TCP on 127.0.0.1, in real time.

    Args:
        buffer_bytes: the size of the kernel's buffers on both sides, which doubles it on Linux; None for its default.
            With small ones a test need not send much until they are full.
        ssl_context: the clients' context for TLS to `localhost`; the server has its own.

    Example:
        async with app.test_client(network=SocketNetwork()) as client: ...
    """

    def __init__(self, *, buffer_bytes: int | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self._buffer_bytes = buffer_bytes
        self._ssl_context = ssl_context
        self._address: tuple[str, int] | None = None

    def listen(self) -> socket.socket:
        """Begin to listen on a free port, in place of an earlier one; return what a `Server` accepts from and closes.

        Raises:
            OSError: there is no port.
        """
        listener = self._narrow(socket.socket())
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        self._address = listener.getsockname()
        return listener

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the listener.

        Raises:
            ConnectError: nothing listens.
        """
        if self._address is None:
            raise ConnectError("tcp", "nothing listens on this network")
        return self._address

    async def connect(self) -> trio.SocketStream | trio.SSLStream[trio.SocketStream]:
        """Return the client's end of a new connection; TLS's handshake is done by its first use.

        Raises:
            ConnectError: nothing listens.
        """
        sock = trio.socket.from_stdlib_socket(self._narrow(socket.socket()))
        try:
            await sock.connect(self.address)
        except OSError as error:
            sock.close()
            raise ConnectError("tcp", f"the server has stopped listening: {error}") from error
        except BaseException:
            sock.close()
            raise
        stream = trio.SocketStream(sock)
        if self._ssl_context is None:
            return stream
        return trio.SSLStream(stream, self._ssl_context, server_hostname="localhost", https_compatible=True)

    def _narrow(self, sock: socket.socket) -> socket.socket:
        if self._buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._buffer_bytes)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer_bytes)
        return sock

    def describe(self) -> str:
        """Return "": there is nothing to say of a good network."""
        return ""
