"""The vocabulary of the tables, from steps to outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal, TypeAlias

import attrs

from trio_ws.conformance.deflate import Wish
from trio_ws.conformance.opening import OpeningRequest, OpeningResponse
from trio_ws.conformance.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, WireFrame

__all__ = [
    "ANY",
    "BY_FRAME",
    "CLEAN",
    "ENDS",
    "HELLO",
    "TOGETHER",
    "AwaitPong",
    "Case",
    "Chapter",
    "EndOfStream",
    "Ending",
    "Exchange",
    "FailFast",
    "Flood",
    "LateRest",
    "Level",
    "Outcome",
    "Part",
    "Quiet",
    "RawBytes",
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


class Level(StrEnum):
    """How much a case weighs."""

    MUST = "MUST"
    """The RFC demands what the case allows."""
    SHOULD = "SHOULD"
    """The RFC recommends it."""
    HARDENING = "hardening"
    """No RFC says so: the peer is slow, hostile or broken, and the implementation has to survive it."""


# --- what the suite does ------------------------------------------------------------------------------------------


@attrs.frozen
class Send:
    """Send these frames."""

    frames: tuple[WireFrame, ...]
    chop: Chop = TOGETHER

    def __str__(self) -> str:
        shown = list(map(str, self.frames[:6]))
        if len(self.frames) > len(shown):
            shown.append(f"... {len(self.frames)} frames in all")
        how = (
            "" if self.chop == TOGETHER else " (frame by frame)" if self.chop == BY_FRAME else f" ({self.chop} a write)"
        )
        return "; ".join(shown) + how


@attrs.frozen
class RawBytes:
    """Send bytes that need not be frames."""

    data: bytes
    what: str

    def __str__(self) -> str:
        return self.what


@attrs.frozen
class Part:
    """Send a part of one frame: the bytes of its payload from `start` to `stop`, and its header with the first."""

    frame: WireFrame
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

    frames: tuple[WireFrame, ...]
    why: str

    def __str__(self) -> str:
        return "wait for the failure; if there is none, send the rest"


@attrs.frozen
class LateRest:
    """Wait until the connection fails; if it does not, send the rest of a frame, from `start` of its payload on."""

    frame: WireFrame
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
class Exchange:
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


Step: TypeAlias = Send | RawBytes | Part | Quiet | FailFast | LateRest | AwaitPong | Exchange | Flood | EndOfStream


# --- what is allowed ----------------------------------------------------------------------------------------------

Beginner: TypeAlias = Literal["us", "script", "them", "stream", "any"]


@attrs.frozen
class Ending:
    """How a connection is to end.

    Args:
        codes: that may stand in the close frame of the implementation under test; None is an empty close frame.
        begun_by: "us", the suite, once all answers are there; "script", its script, with a close frame; "them", as
            a failure; "stream": the script ends the TCP connection, so a close frame is optional; "any": the
            connection ends in any way.
    """

    codes: tuple[int | None, ...]
    begun_by: Beginner

    def __str__(self) -> str:
        codes = " or ".join("an empty close frame" if code is None else f"close {code}" for code in self.codes)
        match self.begun_by:
            case "them":
                return f"the connection fails with {codes}"
            case "stream":
                return "the connection ends, with or without a close frame"
            case "any":
                return "the connection ends, in any way"
            case _:
                return f"{codes} in answer to the suite's"


CLEAN: Final = Ending((1000,), "us")
"""The suite closes with 1000 in the end, and 1000 comes back."""
ENDS: Final = Ending((), "stream")
"""The suite ends the stream; the other side ends too."""
ANY: Final = Ending((), "any")
"""The connection ends."""


def answered(code: int | None) -> Ending:
    """Return the ending in which the script's close frame is answered with this code."""
    return Ending((code,), "script")


def fails(*codes: int) -> Ending:
    """Return the ending in which the implementation under test fails the connection with one of these codes."""
    return Ending(codes, "them")


Answer: TypeAlias = WireFrame
"""A whole message or a pong, as one frame."""


@attrs.frozen
class Outcome:
    """Another outcome that is allowed.

    Args:
        ending: how the connection ends.
        answers: messages and pongs that come back before; None for any part of those of the case.
        why: the reason that makes the verdict NON-STRICT; "" if it is as good.
    """

    ending: Ending
    answers: tuple[Answer, ...] | None = None
    why: str = ""


def _steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(steps)


def _answers(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    return tuple(answers)


Opening: TypeAlias = Literal["accepted", "refused", "either"]


@attrs.frozen
class Case:
    """One case.

    Args:
        id: its number; in chapters 1 to 13 that of the published list.
        title: the behaviour of the suite, in a clause.
        steps: the script after the opening handshake.
        answers: messages and pongs that must come back, in this order and no others, beside those of `Exchange`
            and `Flood`.
        ending: how the connection must end.
        nonstrict: why a part of the answers, counted from the first, is right as well. The verdict says so.
        wishes: offers of permessage-deflate, the favourite first; none: without compression.
        section: where the rule stands; "" for the section of the chapter.
        level: how much it weighs; None for the level of the chapter.
        side: which implementations it tests: "server", "client", or "" for both.
        also: other outcomes that are allowed.
        request: the suite's opening request, if a server is under test.
        response: the suite's answer to it, if a client is under test.
        opening: the outcome of the opening handshake.
        check: name of a check of the other side's request or response (`opening_checks`).
        offers: values of Sec-WebSocket-Extensions that the suite sends, as they are.
        acceptable: which of the offers a server may accept, by their index.
    """

    id: str
    title: str
    steps: tuple[Step, ...] = attrs.field(converter=_steps, repr=False, default=())
    answers: tuple[Answer, ...] = attrs.field(converter=_answers, default=(), repr=False)
    ending: Ending = CLEAN
    nonstrict: str = ""
    wishes: tuple[Wish, ...] = ()
    section: str = attrs.field(default="", kw_only=True)
    level: Level | None = attrs.field(default=None, kw_only=True)
    side: Literal["server", "client", ""] = attrs.field(default="", kw_only=True)
    also: tuple[Outcome, ...] = attrs.field(default=(), kw_only=True)
    request: OpeningRequest | None = attrs.field(default=None, kw_only=True)
    response: OpeningResponse | None = attrs.field(default=None, kw_only=True)
    opening: Opening = attrs.field(default="accepted", kw_only=True)
    check: str = attrs.field(default="", kw_only=True)
    offers: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    acceptable: tuple[int, ...] = attrs.field(default=(), kw_only=True)

    @property
    def chapter(self) -> str:
        """The number before the first dot."""
        return self.id.split(".")[0]

    @property
    def weight(self) -> Level:
        """The level, `MUST` if none is set."""
        return self.level or Level.MUST

    def tests(self, side: str) -> bool:
        """Return whether it is for a "server" or a "client"."""
        return self.side in ("", side)


@attrs.frozen
class Chapter:
    """The table of one chapter.

    Args:
        number: the first number of its cases.
        title: its subject.
        section: where the rules of those cases stand that name none.
        cases: in order.
        level: of those cases that name none.
    """

    number: str
    title: str
    section: str
    cases: tuple[Case, ...]
    level: Level = Level.MUST

    @classmethod
    def of(cls, number: str, title: str, section: str, cases: Iterable[Case], *, level: Level = Level.MUST) -> Chapter:
        """Make a chapter; each case gets the section and the level, if it has none."""
        filled = tuple(attrs.evolve(case, section=case.section or section, level=case.level or level) for case in cases)
        return cls(number, title, section, filled, level)


# --- short words for frames ---------------------------------------------------------------------------------------


def text(payload: bytes | str, *, fin: bool = True, rsv: int = 0) -> WireFrame:
    """Return a text frame."""
    return WireFrame(TEXT, _bytes(payload), fin, rsv)


def binary(payload: bytes, *, fin: bool = True, rsv: int = 0) -> WireFrame:
    """Return a binary frame."""
    return WireFrame(BINARY, payload, fin, rsv)


def continuation(payload: bytes | str, *, fin: bool = True, rsv: int = 0) -> WireFrame:
    """Return a frame that continues a message."""
    return WireFrame(CONTINUATION, _bytes(payload), fin, rsv)


def ping(payload: bytes | str = b"", *, fin: bool = True, rsv: int = 0) -> WireFrame:
    """Return a ping."""
    return WireFrame(PING, _bytes(payload), fin, rsv)


def pong(payload: bytes | str = b"", *, fin: bool = True) -> WireFrame:
    """Return a pong."""
    return WireFrame(PONG, _bytes(payload), fin)


def close(code: int | None = None, reason: bytes = b"", *, fin: bool = True, rsv: int = 0) -> WireFrame:
    """Return a close frame; without a code `reason` is all of its payload."""
    return WireFrame(CLOSE, (b"" if code is None else code.to_bytes(2)) + reason, fin, rsv)


def send(*frames: WireFrame | Iterable[WireFrame], chop: Chop = TOGETHER) -> Send:
    """Return a step that sends frames."""
    flat: list[WireFrame] = []
    for each in frames:
        flat += [each] if isinstance(each, WireFrame) else each
    return Send(tuple(flat), chop)


_STARS: dict[tuple[bytes, int], bytes] = {}


def stars(size: int, byte: bytes = b"*") -> bytes:
    """Return a payload of one byte repeated; each is made once."""
    return _STARS.setdefault((byte, size), byte * size)


def _bytes(payload: bytes | str) -> bytes:
    return payload.encode() if isinstance(payload, str) else payload


HELLO: Final = text("Hello")
"""The message that shows that a connection works."""
