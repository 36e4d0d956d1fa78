"""Committed bytes that wait for the network.

Everything put in is sent in order and whole, unless the connection ends first. Its senders bound its size. The outbox
never writes; a transport empties it.
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import TypeAlias, cast

import trio

from trio_ws.native.choice import OutboxState

__all__ = ["Buffer", "Outbox"]

Buffer: TypeAlias = bytes | memoryview

WRITE_BYTES = 64 * 1024
"""The most that is written in one call: enough to fill a loopback socket's buffer in a few calls."""


class Outbox(OutboxState):
    """A queue of byte chunks with a high-water mark.

    Args:
        high_water: bytes at which it is `full`.
    """

    __slots__ = ("_waiters", "written")

    def __init__(self, high_water: int) -> None:
        self.high_water: int = min(high_water, sys.maxsize)  # the core's numbers have 63 bits
        self.size: int = 0
        """Bytes that wait."""
        self.written: int = 0
        """Bytes that have left the outbox for the network."""
        self.closed: bool = False
        """Whether everything is dropped, because the network takes nothing any more."""
        self.chunks: list[Buffer] | None = None  # while there are some: it would be in each idle connection
        """Waiting chunks in order, none of them empty; None if there are none.

        Code that appends without `put` adds to `size`."""
        self._waiters: trio.lowlevel.ParkingLot | None = None

    @property
    def full(self) -> bool:
        """Whether a sender has to wait."""
        return self.size >= self.high_water and not self.closed

    def put(self, data: Buffer) -> None:
        """Append `data`, which must not change afterwards. After `close()` it is dropped."""
        if data and not self.closed:
            if self.chunks is None:
                self.chunks = []
            self.chunks.append(data)
            self.size += len(data)

    def peek(self) -> Buffer:
        """Return the next bytes to write, which there must be; they stay inside.

        They are some 64 KiB at most, unless one chunk is longer.
        """
        chunks = cast("list[Buffer]", self.chunks)
        if len(chunks) == 1:
            return chunks[0]
        count = 1
        size = len(chunks[0])
        for chunk in islice(chunks, 1, None):
            size += len(chunk)
            if size > WRITE_BYTES:
                break
            count += 1
        if count > 1:
            chunks[:count] = [b"".join(chunks[:count])]
        return chunks[0]

    def advance(self, count: int) -> None:
        """Remove `count` bytes that the network has taken.

        Args:
            count: at most the length of the last `peek`.
        """
        chunks = self.chunks
        if not count or chunks is None:
            return  # nothing was taken, or it was closed during the write
        head = chunks[0]
        if count < len(head):
            chunks[0] = memoryview(head)[count:]
        elif len(chunks) > 1:
            del chunks[0]
        else:
            self.chunks = None
        self.size -= count
        self.written += count
        if self._waiters is not None and not self.full:
            self._waiters.unpark_all()

    async def wait(self) -> None:
        """Wait until there may be room, or for `wake`.

        Cancellation leaves nothing behind.
        """
        if self._waiters is None:
            self._waiters = trio.lowlevel.ParkingLot()
        await self._waiters.park()

    def close(self) -> None:
        """Drop everything, now and from now on.

        Waiting senders stay asleep; the connection wakes them with the reason of its end.
        """
        self.closed = True
        self.chunks = None
        self.size = 0

    def wake(self) -> bool:
        """Wake all waiting senders; return whether there were any."""
        if self._waiters is None:
            return False
        return bool(self._waiters.unpark_all())
