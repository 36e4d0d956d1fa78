"""Options, delivery progress and shutdown of sockets."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final, NamedTuple, TypeAlias

import trio

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["NOTSENT_BYTES", "AnySocket", "Uptake", "abandon", "get_uptake", "shut_down", "socket_below", "tune"]

NOTSENT_BYTES: Final = 64 * 1024
"""Bytes that the kernel buffers beyond what it may send now; without a bound they are megabytes. With less, messages of
a megabyte take half as long again, since the kernel asks for more too often (docs/decisions/0024)."""

_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
# Of Linux's struct tcp_info (linux/tcp.h), whose beginning never changes; older kernels fill less of it.
_MEMBERS: Final = struct.Struct("=24xI92xQ16xI80xI")
"""`tcpi_unacked`, in segments; `tcpi_bytes_acked`, since Linux 4.1; `tcpi_notsent_bytes`, since 4.6; `tcpi_snd_wnd`,
since 5.4."""

AnySocket: TypeAlias = socket.socket | trio.socket.SocketType


class Uptake(NamedTuple):
    """A peer's progress with written data, where the platform reports it."""

    taken: tuple[int, int]
    """Changes whenever the peer, or its system, has taken more; it has no other meaning."""
    backlog: int
    """Bytes that wait until the peer has room for them."""
    pending: bool
    """Whether the peer's system has yet to acknowledge something."""


def tune(sock: socket.socket) -> None:
    """Set a socket to send at once and to buffer little."""
    _set(sock, socket.TCP_NODELAY, 1)  # frames are written whole: to wait for more only costs time
    if _NOTSENT_LOWAT is not None:
        _set(sock, _NOTSENT_LOWAT, NOTSENT_BYTES)


def _set(sock: socket.socket, option: int, value: int) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        pass  # a Unix socket has no such option, and macOS refuses it on a socket that was reset already


def get_uptake(sock: AnySocket | None, waiting: int, left: int) -> Uptake:
    """Return the progress of a socket's peer.

    Args:
        sock: a connected socket, None without one.
        waiting: bytes in the outbox.
        left: bytes that have left the outbox so far.
    """
    if sock is None or sys.platform != "linux" or sock.fileno() < 0:
        return Uptake((left, 0), waiting, waiting > 0)
    try:
        return _tcp_uptake(sock, waiting, left)
    except OSError:
        return _unix_uptake(sock, waiting, left)


def _tcp_uptake(sock: AnySocket, waiting: int, left: int) -> Uptake:
    """Return the progress of a TCP peer.

    The window's right edge moves when data arrives, and when the peer reads it.
    """
    assert _INFO is not None
    info = sock.getsockopt(socket.IPPROTO_TCP, _INFO, _MEMBERS.size)
    unacked, acked, unsent, window = _MEMBERS.unpack(info.ljust(_MEMBERS.size, b"\0"))
    return Uptake((left, acked + window), waiting + unsent, waiting + unsent + unacked > 0)


def _unix_uptake(sock: AnySocket, waiting: int, left: int) -> Uptake:
    """Return the progress of a Unix socket's peer.

    The kernel's queue holds the unread data, some administration included.
    """
    try:
        held: int = struct.unpack("=i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except OSError:
        held = 0
    return Uptake((left, -held), waiting + held, waiting + held > 0)


def socket_below(stream: object) -> trio.socket.SocketType | None:
    """Return the socket at the bottom of a stream, None without one.

    It is found below TLS within TLS too.
    """
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream.socket if isinstance(stream, trio.SocketStream) else None


def shut_down(sock: AnySocket) -> None:
    """Shut down a connection, also if forked processes hold its socket."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is not connected any more, or never was


async def abandon(stream: trio.abc.AsyncResource) -> None:
    """Close a stream at once, without close frame or close_notify.

    The peer sees the end also if forked processes hold the socket.
    """
    sock = socket_below(stream)
    if sock is not None:
        shut_down(sock)
    await trio.aclose_forcefully(stream)
