"""The vocabulary of the tables: a case, the steps of its script, what is to come back, and how it is to end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

import attrs

from .deflate import Wish
from .wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame

__all__ = [
    "BY_FRAME",
    "CLEAN",
    "TOGETHER",
    "Answer",
    "Case",
    "Ending",
    "Exchange",
    "Part",
    "Quiet",
    "Send",
    "Step",
    "answered",
    "binary",
    "close",
    "continuation",
    "fails",
    "ping",
    "pong",
    "send",
    "stars",
    "text",
]

TOGETHER: Final = "together"
"""All frames of a step in one write."""
BY_FRAME: Final = "by frame"
"""A write for each frame, and time for an answer after each."""
Chop: TypeAlias = int | Literal["together", "by frame"]
"""How the bytes of a step are cut into writes; a number cuts them into so many octets each."""


# --- what the fuzzing peer does -----------------------------------------------------------------------------------


@attrs.frozen
class Send:
    """Send these frames."""

    frames: tuple[Frame, ...]
    chop: Chop = TOGETHER


@attrs.frozen
class Part:
    """Send a part of one frame: the bytes of its payload from `start` to `stop`, and its header with the first."""

    frame: Frame
    start: int
    stop: int


@attrs.frozen
class Quiet:
    """Wait until nothing moves any more: nothing may have come, and the connection must still be open."""


@attrs.frozen
class Exchange:
    """Send a message, wait until it has come back, then the next.

    Args:
        messages: TEXT or BINARY, and the payload.
        fragment: bytes of each frame that they are sent in, 0 for one frame; of the compressed payload, if it is.
    """

    messages: Iterable[tuple[int, bytes]]
    fragment: int = 0


Step: TypeAlias = Send | Part | Quiet | Exchange


# --- what is to come back -----------------------------------------------------------------------------------------


@attrs.frozen
class Ending:
    """How the connection is to end.

    Args:
        code: in the close frame of the peer under test; None: its close frame is empty.
        begun_by: "us", the fuzzing peer, once all answers are there; "script", its script; "them", as a failure.
    """

    code: int | None
    begun_by: Literal["us", "script", "them"]


CLEAN: Final = Ending(1000, "us")
"""The fuzzing peer closes with 1000 in the end, and 1000 comes back."""


def answered(code: int | None) -> Ending:
    """The script sends a close frame, and it is answered with this code."""
    return Ending(code, "script")


def fails(code: int) -> Ending:
    """The peer under test fails the connection: it sends a close frame with this code, unasked, and ends it."""
    return Ending(code, "them")


Answer: TypeAlias = Frame
"""A whole message or a pong, as one frame."""


def _steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(steps)


def _answers(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    return tuple(answers)


@attrs.frozen
class Case:
    """One case of the published list.

    Args:
        id: its number there.
        what: what the fuzzing peer does, in our words.
        steps: the script.
        answers: messages and pongs that must come back, in this order and no others, beside those of `Exchange`.
        ending: how the connection must end.
        nonstrict: why a part of the answers, counted from the first, is right as well. The run prints it.
        wishes: offers of permessage-deflate, the favourite first; none: without compression.
    """

    id: str
    what: str
    steps: tuple[Step, ...] = attrs.field(converter=_steps, repr=False)
    answers: tuple[Answer, ...] = attrs.field(converter=_answers, default=(), repr=False)
    ending: Ending = CLEAN
    nonstrict: str = ""
    wishes: tuple[Wish, ...] = ()

    @property
    def group(self) -> str:
        """The number before the first dot."""
        return self.id.split(".")[0]


# --- short words for frames ---------------------------------------------------------------------------------------


def text(payload: bytes | str, *, fin: bool = True, rsv: int = 0) -> Frame:
    """A text frame."""
    return Frame(TEXT, _bytes(payload), fin, rsv)


def binary(payload: bytes, *, fin: bool = True, rsv: int = 0) -> Frame:
    """A binary frame."""
    return Frame(BINARY, payload, fin, rsv)


def continuation(payload: bytes | str, *, fin: bool = True) -> Frame:
    """A frame that continues a message."""
    return Frame(CONTINUATION, _bytes(payload), fin)


def ping(payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> Frame:
    """A ping."""
    return Frame(PING, _bytes(payload), fin, rsv)


def pong(payload: bytes | str = b"", *, fin: bool = True) -> Frame:
    """A pong."""
    return Frame(PONG, _bytes(payload), fin)


def close(code: int | None = None, reason: bytes = b"", *, rsv: int = 0) -> Frame:
    """A close frame; without a code `reason` is all of its payload."""
    return Frame(CLOSE, (b"" if code is None else code.to_bytes(2)) + reason, rsv=rsv)


def send(*frames: Frame | Iterable[Frame], chop: Chop = TOGETHER) -> Send:
    """A step that sends frames."""
    flat: list[Frame] = []
    for each in frames:
        flat += [each] if isinstance(each, Frame) else each
    return Send(tuple(flat), chop)


_STARS: dict[tuple[bytes, int], bytes] = {}


def stars(size: int, byte: bytes = b"*") -> bytes:
    """A payload of one byte repeated; each is made once."""
    return _STARS.setdefault((byte, size), byte * size)


def _bytes(payload: bytes | str) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload
