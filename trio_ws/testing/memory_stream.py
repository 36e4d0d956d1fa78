"""Streams in memory that behave like TCP, with bounded buffers, half-close and resets."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import trio

__all__ = ["BUFFER_BYTES", "MemoryStream", "Pipe", "memory_pair", "pipe_log"]

BUFFER_BYTES: Final = 64 * 1024
"""Bytes that one direction holds, about the initial size of a kernel's socket buffer."""
READ_BYTES: Final = 64 * 1024
"""Bytes that `receive_some` returns at most by default."""


class Pipe:
    """One direction of a connection."""

    __slots__ = ("broken", "changed", "data", "ended", "ended_whole", "lockstep", "record", "reset", "room")

    def __init__(self, capacity: int) -> None:
        self.room: int = capacity
        self.lockstep: bool = capacity == 0
        """Whether sending ends once the bytes have been read."""
        self.data: bytearray = bytearray()
        self.ended: bool = False
        """Whether the writer has closed its side."""
        self.reset: bool = False
        """Whether the writer has reset the connection."""
        self.broken: bool = False
        """Whether the reader has closed its side."""
        self.ended_whole: bool = False
        """Whether the writer has closed its side without a reset, and before the reader closed."""
        self.record: bytearray | None = None
        """All bytes so far, if they are recorded."""
        self.changed: trio.lowlevel.ParkingLot = trio.lowlevel.ParkingLot()

    @property
    def full(self) -> bool:
        """Whether the writer has to wait."""
        return bool(self.data) if self.lockstep else not self.room

    def put(self, data: memoryview) -> int:
        """Store as many bytes as there is room for, and return their number."""
        room = (0 if self.data else len(data)) if self.lockstep else self.room
        taken = min(room, len(data))
        self.data += data[:taken]
        if self.record is not None:
            self.record += data[:taken]
        self.room -= taken
        self.changed.unpark_all()
        return taken

    def take(self, most: int) -> bytes:
        """Remove and return at most `most` bytes."""
        taken = bytes(self.data[:most])
        del self.data[:most]
        self.room += len(taken)
        self.changed.unpark_all()
        return taken


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory, created by `memory_pair`."""

    __slots__ = ("_closed", "_incoming", "_outgoing", "_receiving", "_sending")

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._sending = False
        self._receiving = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all bytes, waiting for room.

        Raises:
            trio.BrokenResourceError: the other end is closed.
            trio.ClosedResourceError: this end or its sending half is closed.
            trio.BusyResourceError: another task is sending.
            trio.Cancelled: some of the bytes may have been sent.
        """
        with self._only_sender(), memoryview(data) as rest:
            await trio.lowlevel.checkpoint()
            sent = 0
            while True:
                self._check_can_send()
                sent += self._outgoing.put(rest[sent:])
                if sent == len(rest) and not (self._outgoing.lockstep and self._outgoing.data):
                    return
                await self._outgoing.changed.park()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room. It raises the errors of `send_all`; cancellation has no effect."""
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            self._check_can_send()
            while self._outgoing.full:
                await self._outgoing.changed.park()
                self._check_can_send()

    async def send_eof(self) -> None:
        """Close this end for sending; the other direction stays open.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is sending.
            trio.Cancelled: this end is still open for sending.
        """
        with self._only_sender():
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this end of the connection is closed")
            self._end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for at least one byte and return the bytes received; `b""` at the end.

        Raises:
            ValueError: `max_bytes` is less than 1.
            trio.BrokenResourceError: the other end has reset the connection, and all that it sent has been read.
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: nothing is lost.
        """
        most = READ_BYTES if max_bytes is None else operator.index(max_bytes)
        if most < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint()
            while not (self._closed or self._incoming.data or self._incoming.ended):
                await self._incoming.changed.park()
        finally:
            self._receiving = False
        if self._closed:
            raise trio.ClosedResourceError("this end of the connection is closed")
        if self._incoming.reset and not self._incoming.data:
            raise trio.BrokenResourceError("the other end has reset the connection")
        return self._incoming.take(most)

    async def aclose(self) -> None:
        """Close this end. The other end can still read the bytes sent, and its sending fails."""
        self.close_nowait()
        await trio.lowlevel.checkpoint()

    # --- without waiting -----------------------------------------------------------------------------------------

    def send_nowait(self, data: bytes | bytearray | memoryview) -> int:
        """Send the bytes that there is room for, and return their number. It raises the errors of `send_all`."""
        with self._only_sender(), memoryview(data) as view:
            self._check_can_send()
            return 0 if self._outgoing.lockstep else self._outgoing.put(view)

    def send_eof_nowait(self) -> None:
        """Close this end for sending; the other direction stays open."""
        self._end()

    def close_nowait(self) -> None:
        """Close this end, as `aclose` does."""
        self._closed = True
        self._incoming.broken = True
        self._incoming.changed.unpark_all()
        self._end()

    def reset(self) -> None:
        """Close this end with a reset: the other end can still read the bytes sent, then both directions fail."""
        self._outgoing.reset = not self._outgoing.ended
        self.close_nowait()

    def _end(self) -> None:
        pipe = self._outgoing
        pipe.ended_whole = pipe.ended_whole or not (pipe.ended or pipe.broken or pipe.reset)
        pipe.ended = True
        self._outgoing.changed.unpark_all()

    def _check_can_send(self) -> None:
        if self._outgoing.ended:
            raise trio.ClosedResourceError("this end of the connection is closed for sending")
        if self._outgoing.broken:
            raise trio.BrokenResourceError("the other end of the connection is closed")

    @contextmanager
    def _only_sender(self) -> Iterator[None]:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._sending = True
        try:
            yield
        finally:
            self._sending = False


pipe_log: Final[ContextVar[Callable[[Pipe, Pipe], None] | None]] = ContextVar("pipe_log", default=None)
"""Called with both directions of each new connection, to the second end first; then they are recorded."""


def memory_pair(capacity: int = BUFFER_BYTES) -> tuple[MemoryStream, MemoryStream]:
    """Return the two ends of a new connection.

    Args:
        capacity: bytes that each direction holds until they are read.
    """
    there, back = Pipe(capacity), Pipe(capacity)
    log = pipe_log.get()
    if log is not None:
        there.record, back.record = bytearray(), bytearray()
        log(there, back)
    return MemoryStream(back, there), MemoryStream(there, back)
