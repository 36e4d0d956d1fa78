"""Resets and closes of connections without waiting."""

from __future__ import annotations

import socket
import struct
from typing import Final, Protocol, runtime_checkable

import trio

__all__ = ["Immediate", "Resettable", "close_stream_now", "reset_stream", "stream_below"]

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing the socket resets the connection (socket(7))."""


@runtime_checkable
class Resettable(Protocol):
    """A stream that can be reset, as `MemoryStream` and `ChaosStream`."""

    def reset(self) -> None:
        """Close both sides so that the other end sees a reset."""


@runtime_checkable
class Immediate(Protocol):
    """A stream that takes bytes and ends without waiting, as `MemoryStream` does."""

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Send what there is room for; return the number of bytes."""

    def send_eof_nowait(self) -> None:
        """End this side of the connection."""

    def close_nowait(self) -> None:
        """Close both sides."""


def stream_below(stream: trio.abc.Stream) -> trio.abc.Stream:
    """Return the stream below TLS."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    return stream


def reset_stream(stream: trio.abc.Stream) -> None:
    """Close a stream so that the other end sees a reset.

    Raises:
        TypeError: the stream is neither in memory nor a socket, nor TLS over one.
    """
    below = stream_below(stream)
    if isinstance(below, Resettable):
        below.reset()
    elif isinstance(below, trio.SocketStream):
        if below.socket.fileno() >= 0:
            below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        below.socket.close()
    else:
        raise TypeError(f"a {type(below).__name__} cannot be reset, only closed")


def close_stream_now(stream: trio.abc.Stream) -> bool:
    """Close a stream without waiting; return False if only `trio.aclose_forcefully` can."""
    below = stream_below(stream)
    if isinstance(below, Immediate):
        below.close_nowait()
    elif isinstance(below, trio.SocketStream):
        below.socket.close()
    else:
        return False
    return True
