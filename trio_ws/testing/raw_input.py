"""Bytes, heads and frames that arrive at a raw peer, with bounded waiting."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Literal

import trio

from trio_ws.testing.raw_frame import RawFrame
from trio_ws.testing.raw_head import HEAD_END, InvalidHead
from trio_ws.testing.raw_reader import RawFrameReader, RawFrameRules
from trio_ws.testing.timeouts import TestTimeout

__all__ = ["READ_BYTES", "RawConnectionEnded", "RawInput"]

READ_BYTES: Final = 64 * 1024
"""Bytes that are received at once."""
MAX_HEAD: Final = 256 * 1024
"""Bytes of a head: a peer that sends anything else for ever does not fill the memory."""
SHOWN_FRAMES: Final = 10
"""The last frames that a message shows."""
SHOWN_BYTES: Final = 40
"""The first unread bytes that a message shows."""


class RawConnectionEnded(Exception):  # noqa: N818 - a state, not an error of the test kit
    """The other side ended the connection before the awaited bytes arrived; the message has what arrived.

    Attributes:
        reset: whether it was reset.
        unread: the bytes that arrived, and are no whole frame or head.
    """

    def __init__(self, message: str, *, reset: bool, unread: bytes = b"") -> None:
        super().__init__(message)
        self.reset = reset
        self.unread = unread


class RawInput:
    """The receiving side of a raw peer.

    Args:
        stream: connected.
        rules: the rules that frames are checked by, None for none.
        where: the name of the other side in messages.
        timeout: seconds that each wait may take.
    """

    def __init__(self, stream: trio.abc.Stream, rules: RawFrameRules | None, where: str, timeout: float) -> None:
        self._stream = stream
        self._reader = RawFrameReader(rules)
        self._where = where
        self.timeout = timeout
        self.unread: bytearray = self._reader.unread
        """Bytes that have arrived, and belong to nothing that was returned."""
        self.line: str = ""
        """The first line of the last head."""
        self.frames: list[RawFrame] = []
        """All frames so far."""
        self.end: Literal["closed", "reset"] | None = None
        """How the other side ended the connection, None as long as it did not."""

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return the next bytes, b"" at the end."""
        with self.bounded("bytes"):
            await trio.lowlevel.checkpoint()
            if not self.unread:
                await self._read()
        return self._take(max_bytes)

    async def receive_bytes(self, count: int) -> bytes:
        """Return exactly so many bytes."""
        awaited = f"{count} bytes"
        with self.bounded(awaited):
            await trio.lowlevel.checkpoint()
            while len(self.unread) < count:
                await self._read_more(awaited)
        return self._take(count)

    async def receive_all(self) -> bytes:
        """Return all bytes up to the end."""
        with self.bounded("the end of the connection"):
            await trio.lowlevel.checkpoint()
            while await self._read():
                pass
        return self._take(len(self.unread))

    async def receive_frame(self) -> RawFrame:
        """Return the next frame."""
        with self.bounded("a frame"):
            await trio.lowlevel.checkpoint()
            while (frame := self._reader.next_frame()) is None:
                await self._read_more("a frame")
        self.frames.append(frame)
        return frame

    async def receive_head(self, awaited: str) -> bytes:
        """Return the next head, with the empty line at its end."""
        with self.bounded(awaited):
            await trio.lowlevel.checkpoint()
            while (end := self.unread.find(HEAD_END)) < 0:
                if len(self.unread) > MAX_HEAD:
                    raise InvalidHead(f"{len(self.unread)} bytes are no head; {self.describe()}")
                await self._read_more(awaited)
        head = self._take(end + len(HEAD_END))
        self.line = head.split(b"\r\n", 1)[0].decode("latin-1")
        return head

    def _take(self, count: int) -> bytes:
        taken = bytes(self.unread[:count])
        del self.unread[:count]
        return taken

    async def _read_more(self, awaited: str) -> None:
        if not await self._read():
            how = "was reset" if self.end == "reset" else "ended"
            message = f"the connection to {self._where} {how} before {awaited} arrived; {self.describe()}"
            raise RawConnectionEnded(message, reset=self.end == "reset", unread=bytes(self.unread))

    async def _read(self) -> bool:
        """Receive bytes; return False at the end."""
        if self.end is not None:
            return False
        try:
            data = await self._stream.receive_some(READ_BYTES)
        except trio.BrokenResourceError:
            self.end = "reset"
            return False
        self._reader.feed(data)
        if not data:
            self.end = "closed"
        return bool(data)

    @contextmanager
    def bounded(self, awaited: str) -> Generator[None, None, None]:
        """Bound the waiting in a block.

        Raises:
            TestTimeout: the block took longer, and was cancelled.
        """
        with trio.move_on_after(self.timeout) as scope:
            yield
        if scope.cancelled_caught:
            message = f"timed out after {self.timeout:g} s waiting for {awaited} from {self._where}; {self.describe()}"
            raise TestTimeout(message)

    def describe(self) -> str:
        """Describe what has arrived so far, for messages."""
        parts = [repr(self.line)] if self.line else []
        if len(self.frames) > SHOWN_FRAMES:
            parts.append(f"{len(self.frames) - SHOWN_FRAMES} frames")
        parts += [str(frame) for frame in self.frames[-SHOWN_FRAMES:]]
        if self.unread:
            parts.append(f"{len(self.unread)} bytes that are no whole frame: {bytes(self.unread[:SHOWN_BYTES])!r}")
        return f"received so far: {', '.join(parts) or 'nothing'}"
