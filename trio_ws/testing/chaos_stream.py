"""A stream that delays, splits, joins, stalls, throttles, half-closes and resets, by seed or by script."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Self

import trio

from trio_ws.testing.abrupt import reset_stream
from trio_ws.testing.chaos_steps import (
    CHAOS_KINDS,
    ChaosScript,
    ChaosStep,
    HalfClose,
    Reset,
    Throttle,
    check_kinds,
    check_script,
    check_source,
    drawn_steps,
)

__all__ = ["ChaosDirection", "ChaosStream"]

READ_BYTES: Final = 64 * 1024
"""Bytes that are received at once from the stream below."""
THROTTLED_PIECES: Final = 10
"""Pieces that a throttled direction delivers in a second, if there are bytes enough."""


class ChaosDirection:
    """The steps of one direction.

    Args:
        steps: the steps to come; after them the network is good.
    """

    def __init__(self, steps: Iterator[ChaosStep]) -> None:
        self._steps = steps
        self._left = 0
        """Bytes that the step at hand still has to deliver."""
        self._step: ChaosStep | None = None
        self.taken: list[ChaosStep] = []
        """The steps so far."""

    def next_piece(self) -> tuple[float, int | None] | HalfClose | Reset:
        """Return the seconds before the next piece and its largest size, or the end of the direction."""
        if self._step is None:
            self._begin()
        step = self._step
        if isinstance(step, HalfClose | Reset):
            return step
        if isinstance(step, Throttle):
            size = min(self._left, math.ceil(step.rate / THROTTLED_PIECES))
            return size / step.rate, size
        return (0.0, None) if step is None else (step.after, self._left or None)

    def _begin(self) -> None:
        self._step = next(self._steps, None)
        if self._step is not None:
            self.taken.append(self._step)
        self._left = getattr(self._step, "size", None) or 0

    def delivered(self, count: int) -> None:
        """Go on after a piece of so many bytes."""
        self._left = max(self._left - count, 0)
        if not self._left:
            self._step = None


class ChaosStream(trio.abc.HalfCloseableStream):
    """A stream on a bad network, around any other stream.

    What it receives and what it sends each go through the steps of their direction: they come from a seed or from a
    script. Waiting uses the current clock, so that under a `trio.testing.MockClock` it takes no time, and a run with
    the same seed is the same run. Bytes are lost only by `HalfClose` and `Reset`.

    Args:
        stream: connected; it is closed with this one.
        seed: where the steps are drawn from.
        kinds: the kinds of steps that are drawn; `GENTLE_KINDS` for those that lose nothing.
        script: the steps, instead of a seed.

    Raises:
        TypeError: the script or the stream is something else.
        ValueError: a kind is unknown, or there is not either a seed or a script.

    Example:
        stream = ChaosStream(await trio.open_tcp_stream("127.0.0.1", port), seed=7, kinds=GENTLE_KINDS)
        async with open_websocket("ws://127.0.0.1/", stream=stream) as ws: ...
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        *,
        seed: object = None,
        kinds: Iterable[str] = CHAOS_KINDS,
        script: ChaosScript | None = None,
    ) -> None:
        chosen = check_kinds(kinds)
        script = check_source(seed, check_script(script))
        if not isinstance(stream, trio.abc.Stream):
            raise TypeError(f"a ChaosStream is around a trio.abc.Stream, not {stream!r}")
        self.stream = stream
        """The stream below."""
        self._up = ChaosDirection(drawn_steps((seed, "up"), chosen) if script is None else iter(script.up))
        self._down = ChaosDirection(drawn_steps((seed, "down"), chosen) if script is None else iter(script.down))
        self._arrived = bytearray()
        self._at_end: Exception | None = None
        """What follows the bytes that have arrived: the error of the stream below, or `trio.EndOfChannel`."""
        self._lost: set[str] = set()
        """The directions that a step has ended."""
        self._broken = self._closed = False
        self._busy: set[str] = set()

    @classmethod
    def incoming(cls, stream: trio.abc.Stream, direction: ChaosDirection) -> Self:
        """Return a stream that is bad only in what it receives, as one end of a network."""
        made = cls(stream, script=ChaosScript())
        made._down = direction
        return made

    @property
    def schedule(self) -> ChaosScript:
        """The steps taken so far; as a script they give the same run."""
        return ChaosScript(self._up.taken, self._down.taken)

    # --- sending -------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes, in the pieces and after the seconds of the steps.

        Raises:
            trio.BrokenResourceError: the other end is closed, or a step has ended this direction.
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is sending.
            trio.Cancelled: some of the bytes may have been sent.
        """
        with self._only("sending"), memoryview(data) as view:
            sent = 0
            while True:
                sent += await self._send_piece(view[sent:])
                if sent == len(view):
                    return

    async def _send_piece(self, data: memoryview) -> int:
        """Send the next piece; return its size."""
        self._check_open()
        piece = self._up.next_piece() if len(data) else (0.0, None)
        if isinstance(piece, HalfClose | Reset):
            await self._end("up", piece)
            raise trio.BrokenResourceError(f"the network has ended this direction: {piece}")
        seconds, most = piece
        if seconds:
            await trio.sleep(seconds)
        size = len(data[:most])
        with self._below():
            await self.stream.send_all(data[:size])
        self._up.delivered(size)
        return size

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room in the stream below; it raises the errors of `send_all`."""
        with self._only("sending"), self._below():
            await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Close the stream below for sending; it raises the errors of that stream.

        Raises:
            TypeError: it cannot be closed for sending only.
        """
        if not isinstance(self.stream, trio.abc.HalfCloseableStream):
            raise TypeError(f"a {type(self.stream).__name__} cannot be closed for sending only")
        with self._only("sending"), self._below():
            await self.stream.send_eof()

    # --- receiving -----------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next piece, b"" at the end.

        Raises:
            ValueError: `max_bytes` is less than 1.
            trio.BrokenResourceError: the connection was reset.
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: nothing is lost.
        """
        room = READ_BYTES if max_bytes is None else operator.index(max_bytes)
        if room < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
        with self._only("receiving"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            piece = self._down.next_piece()
            if isinstance(piece, HalfClose | Reset):
                await self._end("down", piece)
                self._check_open()
                return b""
            seconds, most = piece
            await self._gather(seconds)
            self._check_open()
            return self._take(min(room, most or room))

    async def _gather(self, seconds: float) -> None:
        """Wait for bytes, then so many seconds, in which further bytes arrive."""
        if not self._arrived:
            await self._fill()
        if seconds and self._arrived:
            with trio.move_on_after(seconds):
                while self._at_end is None and len(self._arrived) < READ_BYTES:
                    await self._fill()
                await trio.sleep_forever()

    async def _fill(self) -> None:
        """Receive from the stream below, unless it has ended."""
        if self._at_end is not None:
            return
        try:
            with self._below():
                data = await self.stream.receive_some(READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._at_end = error
        else:
            self._arrived += data
            self._at_end = None if data else trio.EndOfChannel()

    def _take(self, most: int) -> bytes:
        data = bytes(self._arrived[:most])
        del self._arrived[: len(data)]
        self._down.delivered(len(data))
        if not (data or self._at_end is None or isinstance(self._at_end, trio.EndOfChannel)):
            raise self._at_end
        return data

    # --- ends ----------------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the stream below."""
        self._closed = True
        await self.stream.aclose()

    def reset(self) -> None:
        """Reset the stream below, and close this end.

        Raises:
            TypeError: that stream cannot be reset.
        """
        reset_stream(self.stream)
        self._closed = True

    async def _end(self, direction: str, step: HalfClose | Reset) -> None:
        """Take the last step of a direction, once."""
        if direction in self._lost:
            return
        await trio.sleep(step.after)
        self._lost.add(direction)
        if isinstance(step, Reset):
            self._broken = True
            await self._break()
        elif direction == "up":
            with self._below():
                await self._send_eof_below()

    async def _break(self) -> None:
        try:
            reset_stream(self.stream)
        except TypeError:
            await trio.aclose_forcefully(self.stream)

    async def _send_eof_below(self) -> None:
        if isinstance(self.stream, trio.abc.HalfCloseableStream):
            await self.stream.send_eof()
        else:
            await trio.aclose_forcefully(self.stream)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end of the connection is closed")
        if self._broken:
            raise trio.BrokenResourceError("the network has reset the connection")

    @contextmanager
    def _below(self) -> Iterator[None]:
        """Translate errors of the stream below after a reset."""
        try:
            yield
        except trio.ClosedResourceError:
            if self._broken and not self._closed:
                raise trio.BrokenResourceError("the network has reset the connection") from None
            raise

    @contextmanager
    def _only(self, what: str) -> Iterator[None]:
        if what in self._busy:
            raise trio.BusyResourceError(f"another task is {what} on this stream")
        self._busy.add(what)
        try:
            yield
        finally:
            self._busy.discard(what)
