"""The allowed outcomes of a case."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import attrs

from trio_ws.testing.raw_frame import CLOSE_WITHOUT_CODE, RawFrame

__all__ = ["ANY", "CLEAN", "ENDS", "Answer", "Ending", "Outcome", "answered", "fails"]

Beginner: TypeAlias = Literal["us", "script", "them", "stream", "any"]


@attrs.frozen
class Ending:
    """How a connection is to end.

    Args:
        codes: that may stand in the close frame of the implementation under test; 1005 is an empty close frame.
        begun_by: "us", the suite, once all answers are there; "script", its script, with a close frame; "them", as
            a failure; "stream": the script ends the TCP connection, so a close frame is optional; "any": the
            connection ends in any way.
    """

    codes: tuple[int, ...]
    begun_by: Beginner

    def __str__(self) -> str:
        codes = " or ".join(map(_close, self.codes))
        match self.begun_by:
            case "them":
                return f"the connection fails with {codes}"
            case "stream":
                return "the connection ends, with or without a close frame"
            case "any":
                return "the connection ends, in any way"
            case _:
                return f"{codes} in answer to the suite's"


def _close(code: int) -> str:
    return "an empty close frame" if code == CLOSE_WITHOUT_CODE else f"close {code}"


CLEAN: Final = Ending((1000,), "us")
"""The suite closes with 1000 in the end, and 1000 comes back."""
ENDS: Final = Ending((), "stream")
"""The suite ends the stream; the other side ends too."""
ANY: Final = Ending((), "any")
"""The connection ends."""


def answered(code: int) -> Ending:
    """Return the ending in which the script's close frame is answered with this code."""
    return Ending((code,), "script")


def fails(*codes: int) -> Ending:
    """Return the ending in which the implementation under test fails the connection with one of these codes."""
    return Ending(codes, "them")


Answer: TypeAlias = RawFrame
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
