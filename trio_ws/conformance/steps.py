"""The steps of a script."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import attrs

from trio_ws.testing.raw_frame import RawFrame

__all__ = [
    "BY_FRAME",
    "TOGETHER",
    "AwaitPong",
    "Chop",
    "EndOfStream",
    "FailFast",
    "Flood",
    "FramePart",
    "LateRest",
    "Quiet",
    "RawBytes",
    "RoundTrips",
    "Send",
    "Step",
    "send",
]

TOGETHER: Final = "together"
"""All frames of a step in one write."""
BY_FRAME: Final = "by frame"
"""A write for each frame, and time for an answer after each."""
Chop: TypeAlias = int | Literal["together", "by frame"]
"""How the bytes of a step are cut into writes; a number cuts them into so many octets each."""


@attrs.frozen
class Send:
    """Send these frames.

    Args:
        frames: in order.
        chop: how their bytes are cut into writes.
        exact: whether they are masked, or not, as they say; else the suite masks them as its side must, each with a
            new key.
    """

    frames: tuple[RawFrame, ...]
    chop: Chop = TOGETHER
    exact: bool = False

    def __str__(self) -> str:
        shown = [self._shown(frame) for frame in self.frames[:6]]
        if len(self.frames) > len(shown):
            shown.append(f"... {len(self.frames)} frames in all")
        how = (
            "" if self.chop == TOGETHER else " (frame by frame)" if self.chop == BY_FRAME else f" ({self.chop} a write)"
        )
        return "; ".join(shown) + how

    def _shown(self, frame: RawFrame) -> str:
        return f"{frame} {'masked' if frame.masked else 'not masked'}" if self.exact else str(frame)


@attrs.frozen
class RawBytes:
    """Send bytes that need not be frames."""

    data: bytes
    what: str

    def __str__(self) -> str:
        return self.what


@attrs.frozen
class FramePart:
    """Send a part of one frame: the bytes of its payload from `start` to `stop`, and its header with the first."""

    frame: RawFrame
    start: int
    stop: int

    def __str__(self) -> str:
        return f"bytes {self.start} to {self.stop} of the payload of {self.frame}"


@attrs.frozen
class Quiet:
    """Wait a moment, in which nothing may arrive and the connection must stay open."""

    def __str__(self) -> str:
        return "wait: nothing may arrive"


@attrs.frozen
class FailFast:
    """Wait until the connection fails; if it does not, send the rest, and note that it fails late."""

    frames: tuple[RawFrame, ...]
    why: str

    def __str__(self) -> str:
        return "wait for the failure; if there is none, send the rest"


@attrs.frozen
class LateRest:
    """Wait until the connection fails; if it does not, send the rest of a frame, from `start` of its payload on."""

    frame: RawFrame
    start: int
    why: str

    def __str__(self) -> str:
        return "wait for the failure; if there is none, send the rest of the frame"


@attrs.frozen
class AwaitPong:
    """Wait for the pong to a ping that was sent, before the script goes on."""

    payload: bytes

    def __str__(self) -> str:
        return f"wait for the pong {self.payload!r}"


@attrs.frozen
class RoundTrips:
    """Send a message, wait until it has come back, then the next.

    Args:
        messages: TEXT or BINARY, and the payload.
        fragment: bytes of each frame that they are sent in, 0 for one frame; of the compressed payload, if it is.
        plain: send them without compression, although it was negotiated.
    """

    messages: Iterable[tuple[int, bytes]]
    fragment: int = 0
    plain: bool = False

    def __str__(self) -> str:
        return "messages, each after the echo of the one before"


@attrs.frozen
class Flood:
    """Send messages without reading anything; then read all that comes."""

    opcode: int
    payload: bytes
    count: int

    def __str__(self) -> str:
        return f"{self.count} messages of {len(self.payload)} bytes without reading; then read"


@attrs.frozen
class EndOfStream:
    """End the suite's side of the TCP connection."""

    def __str__(self) -> str:
        return "FIN: end our side of the TCP connection"


Step: TypeAlias = (
    Send | RawBytes | FramePart | Quiet | FailFast | LateRest | AwaitPong | RoundTrips | Flood | EndOfStream
)


def send(*frames: RawFrame | Iterable[RawFrame], chop: Chop = TOGETHER, exact: bool = False) -> Send:
    """Return a step that sends frames."""
    flat: list[RawFrame] = []
    for each in frames:
        flat += [each] if isinstance(each, RawFrame) else each
    return Send(tuple(flat), chop, exact)
