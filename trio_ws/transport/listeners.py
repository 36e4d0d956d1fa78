"""The sockets of a server, and the loops that accept connections."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import os
import socket
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from trio_ws.transport.unix_sockets import BACKLOG, BoundHere, OwnedPath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_ws.addresses import Address
    from trio_ws.transport.socket_options import AnySocket

__all__ = [
    "SocketListener",
    "StreamListener",
    "accept_sockets",
    "accept_streams",
    "bind_tcp",
    "close_listener",
    "close_stream",
    "describe",
    "get_own_address",
    "get_peer",
    "get_stream_descriptor",
    "inherit",
    "owned_path",
]

logger: Final = logging.getLogger("trio_ws")

SocketListener: TypeAlias = "socket.socket | trio.abc.Listener[trio.abc.Stream]"
"""A source of a server's connections: a listening plain socket, or any listener of Trio's."""

ACCEPT_BATCH: Final = 64
"""Connections that are accepted in one go, before other tasks run."""
RETRY_SECONDS: Final = 0.1
"""Pause when the process or the machine has run out of descriptors or memory."""
LOG_INTERVAL: Final = 60.0
"""Pause between two records of that: clients that come and go at the limit would fill the log."""
PORT_ATTEMPTS: Final = 16
"""Attempts to find a port that is free on every address of a host."""

_ABSENT: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
"""A machine without IPv6, or with none on loopback, may still resolve names to it: the name's other addresses do."""
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def bind_tcp(host: str | None, port: int, *, backlog: int = BACKLOG) -> list[socket.socket]:
    """Bind and listen on every address that `host` resolves to.

    Port 0 takes one free port for all of them.

    Args:
        host: a name or an address, None for all interfaces.
        port: 0 to 65535.
        backlog: connections that may wait to be accepted.

    Raises:
        OSError: the host does not resolve, or the port is taken or not permitted.
    """
    infos = await trio.socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in infos))
    for attempt in range(PORT_ATTEMPTS):
        try:
            return _bind_all(addresses, port, backlog)
        except OSError as error:
            if port != 0 or error.errno != errno.EADDRINUSE or attempt == PORT_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _bind_all(addresses: Sequence[tuple[int, tuple[Any, ...]]], port: int, backlog: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                sockets.append(_bind(family, (address[0], port, *address[2:]), backlog))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
            else:
                port = sockets[-1].getsockname()[1]
        if absent is not None and not sockets:
            raise absent
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _bind(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


async def accept_sockets(sock: socket.socket, take: Callable[[socket.socket, Address], None]) -> None:
    """Accept connections from a socket, for ever.

    Args:
        sock: a listening socket.
        take: called with each connection and its peer; it must neither wait nor raise.
    """
    sock.setblocking(False)
    logged_at = -math.inf
    host = ""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            for _ in range(ACCEPT_BATCH):
                accepted, name = sock.accept()
                client = _address(name)
                if isinstance(client, tuple) and client[0] == host:
                    client = (host, client[1])  # a proxy's address is kept once
                elif isinstance(client, tuple):
                    host = client[0]
                take(accepted, client)
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno in _EXHAUSTED:
                logged_at = await _wait_for_resources(error, logged_at)
            elif error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                raise
            # every other error is about the connection that was to be accepted, which is lost


async def accept_streams(listener: trio.abc.Listener[trio.abc.Stream], take: Callable[[trio.abc.Stream], None]) -> None:
    """Accept connections from a Trio listener, for ever.

    Each is passed to `take`, which must neither wait nor raise.
    """
    logged_at = -math.inf
    while True:
        try:
            stream = await listener.accept()
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise
            logged_at = await _wait_for_resources(error, logged_at)
        else:
            take(stream)


class StreamListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener that accepts one given stream, and nothing after it.

    Args:
        stream: the stream to accept.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream: trio.abc.Stream | None = stream

    async def accept(self) -> trio.abc.Stream:
        """Return the stream; wait for ever when called again."""
        stream, self._stream = self._stream, None
        if stream is None:
            await trio.sleep_forever()
            raise AssertionError("unreachable")
        await trio.lowlevel.checkpoint_if_cancelled()
        return stream

    async def aclose(self) -> None:
        """Close the stream if it was not accepted."""
        if self._stream is not None:
            await close_stream(self._stream)


async def close_stream(stream: trio.abc.Stream) -> None:
    """Close a stream that is not in use."""
    with contextlib.suppress(OSError, trio.BrokenResourceError):
        await trio.aclose_forcefully(stream)


async def _wait_for_resources(error: OSError, logged_at: float) -> float:
    """Wait a little, and log the failure unless one was logged lately.

    Returns:
        The time of the last record.
    """
    now = trio.current_time()
    if now >= logged_at + LOG_INTERVAL:
        logged_at = now
        logger.error("cannot accept connections for now: %s", error.strerror)
    await trio.sleep(RETRY_SECONDS)
    return logged_at


class _Inherited(socket.socket):
    """A listening socket of another process, which may listen on it too."""


def inherit(descriptor: int) -> socket.socket:
    """Return the listening socket of an inherited descriptor.

    Closing it has no effect on other processes that have it, and does not remove the path of a Unix socket. Programs
    that this process starts do not inherit it.

    Raises:
        OSError: there is no such descriptor, or it is no listening stream socket.
    """
    sock = _Inherited(fileno=descriptor)
    if sock.type is not socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()  # another owner may use it
        raise OSError(errno.EINVAL, "it is no listening stream socket")
    sock.set_inheritable(False)
    return sock


def owned_path(listener: socket.socket) -> OwnedPath | None:
    """Return the path of a Unix socket that this process has bound.

    It is this process's to remove. None for every other socket.
    """
    if _is_unix(listener) and not isinstance(listener, _Inherited):
        name = listener.getsockname()
        if isinstance(name, str) and name:  # names in the abstract namespace are bytes
            return OwnedPath(name, listener.file if isinstance(listener, BoundHere) else None)
    return None


async def close_listener(listener: SocketListener) -> None:
    """Stop listening, and remove the path of a Unix socket bound here."""
    if isinstance(listener, socket.socket):
        path = owned_path(listener)
        listener.close()
        if path is not None:
            path.remove()
    else:
        await listener.aclose()


def describe(listener: SocketListener, *, secure: bool) -> str:
    """Return a listener's URL, or its `repr` without one."""
    if not isinstance(listener, socket.socket):
        return repr(listener)
    if _is_unix(listener):
        return f"ws+unix://{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'wss' if secure else 'ws'}://{shown}:{port}"


def get_port(listener: SocketListener) -> int | None:
    """Return the TCP port of a listening socket.

    None for a Unix socket, and for a listener that does not expose its socket.
    """
    if isinstance(listener, trio.SocketListener):
        name = listener.socket.getsockname()
    elif isinstance(listener, socket.socket):
        name = listener.getsockname()
    else:
        return None
    return name[1] if isinstance(name, tuple) else None


def get_peer(sock: AnySocket) -> Address:
    """Return the peer's address of a socket, None if it is disconnected."""
    try:
        name = sock.getpeername()
    except OSError:
        return None
    return _address(name)


def get_own_address(sock: AnySocket) -> Address:
    """Return the local address of a socket, None if it is closed."""
    try:
        name = sock.getsockname()
    except OSError:
        return None
    return _address(name)


def _address(name: Any) -> Address:
    """Convert an address of the `socket` module."""
    if not isinstance(name, tuple):
        return str(name)
    return name if len(name) == 2 else (name[0], name[1])  # of IPv6 it has four parts


def get_stream_peer(stream: trio.abc.Stream) -> Address:
    """Return the peer's address of a stream, None without a socket."""
    sock = _socket_of_stream(stream)
    return None if sock is None else get_peer(sock)


def get_stream_descriptor(stream: trio.abc.Stream) -> int:
    """Return the descriptor of a stream's socket, -1 without one."""
    sock = _socket_of_stream(stream)
    return -1 if sock is None else sock.fileno()


def _socket_of_stream(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream.socket if isinstance(stream, trio.SocketStream) else None


def _is_unix(sock: socket.socket) -> bool:
    return sock.family == getattr(socket, "AF_UNIX", None)
