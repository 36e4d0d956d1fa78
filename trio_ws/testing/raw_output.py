"""The way of bytes to a stream, at once where the network takes them, else by a task."""

from __future__ import annotations

import contextlib
import os
import socket

import trio

from trio_ws.testing.abrupt import Immediate, close_stream_now, reset_stream, stream_below

__all__ = ["RawOutput"]


class RawOutput:
    """The sending side of a raw peer.

    Args:
        stream: connected; in memory or on a POSIX socket, bytes are sent without waiting as long as there is room.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._below = stream_below(stream)
        self._waiting = bytearray()
        self._lock = trio.StrictFIFOLock()
        self._ending = self._ended = self._flushing = False
        self._broken = False
        self.nursery: trio.Nursery | None = None
        """Where a task sends what was not sent at once and is not awaited; None to leave it to the next `flush`."""

    def put(self, data: bytes) -> None:
        """Send bytes, or keep them for the task.

        Raises:
            trio.ClosedResourceError: this side has ended.
        """
        if self._ending:
            raise trio.ClosedResourceError("this peer has ended its side of the connection")
        sent = 0 if self._waiting or self._lock.locked() else self._send_now(data)
        self._waiting += data[sent:]
        self._flush_later()

    def end(self) -> None:
        """End this side behind all bytes."""
        self._ending = True
        if not self._waiting and not self._lock.locked():
            self._end_now()
        self._flush_later()

    def close(self, *, reset: bool) -> None:
        """Close the stream, by a task if it cannot be closed without waiting.

        Args:
            reset: reset the connection.

        Raises:
            TypeError: the stream cannot be reset.
        """
        self._ending = self._ended = True
        self._waiting.clear()
        if reset:
            reset_stream(self._stream)
        elif not close_stream_now(self._stream) and self.nursery is not None:
            self.nursery.start_soon(trio.aclose_forcefully, self._stream)

    async def flush(self) -> None:
        """Wait until the network has taken everything.

        Raises:
            trio.BrokenResourceError: the connection is broken, now or since an earlier byte.
            trio.ClosedResourceError: this peer was closed meanwhile.
            trio.Cancelled: some of the bytes may not be sent.
        """
        async with self._lock:
            while self._waiting:
                data = bytes(self._waiting)
                self._waiting.clear()
                await self._send(data)
            if self._ending and not self._ended:
                self._ended = True
                await self._send_eof()
        if self._broken:
            raise trio.BrokenResourceError("the other side has closed or reset the connection")

    async def _send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._broken = True
            self._waiting.clear()

    async def _send_eof(self) -> None:
        if not isinstance(self._below, trio.abc.HalfCloseableStream):
            raise TypeError(f"a {type(self._below).__name__} cannot be closed for sending only")
        await self._below.send_eof()

    def _flush_later(self) -> None:
        if self.nursery is not None and not self._flushing and (self._waiting or self._ending is not self._ended):
            self._flushing = True
            self.nursery.start_soon(self._flush_quietly)

    async def _flush_quietly(self) -> None:
        try:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self.flush()
        finally:
            self._flushing = False

    def _send_now(self, data: bytes) -> int:
        """Send what the network takes at once, and return the number of bytes; errors are left to `flush`."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            if isinstance(self._stream, Immediate):
                return self._stream.send_nowait(data)
            if isinstance(self._stream, trio.SocketStream) and os.name == "posix" and data:
                return os.write(self._stream.socket.fileno(), data)
        return 0

    def _end_now(self) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            if isinstance(self._stream, Immediate):
                self._stream.send_eof_nowait()
                self._ended = True
            elif isinstance(self._stream, trio.SocketStream):
                self._stream.socket.shutdown(socket.SHUT_WR)
                self._ended = True
