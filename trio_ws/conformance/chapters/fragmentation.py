"""Chapter 5, messages in fragments, control frames between them, and fragments that belong to no message."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.chapters.reserved import AT_ONCE
from trio_ws.conformance.frames import continuation, ping, pong, text
from trio_ws.conformance.outcomes import fails
from trio_ws.conformance.steps import BY_FRAME, TOGETHER, Chop, send
from trio_ws.testing.raw_frame import RawFrame

__all__ = ["CHAPTER"]

_CHOPS: list[tuple[str, Chop]] = [("at once", TOGETHER), ("frame by frame", BY_FRAME), ("octet by octet", 1)]
_TWO = [text("fragment1", fin=False), continuation("fragment2")]
_JOINED = text("fragment1fragment2")
_HELLO = text("Hello, world!")


def _in_three_chops(first: int, what: str, frames: list[RawFrame], **outcome: object) -> list[Case]:
    """Make the three cases of one script: in one write, frame by frame, octet by octet."""
    return [
        Case(f"5.{number}", f"{what}, {how}", [send(frames, chop=chop)], **outcome)  # type: ignore[arg-type]
        for number, (how, chop) in enumerate(_CHOPS, start=first)
    ]


def _orphan(fin: bool) -> list[RawFrame]:
    return [continuation("continues nothing", fin=fin), _HELLO]


def _orphans_and_messages(fin: bool) -> list[RawFrame]:
    return [continuation("continues nothing", fin=fin), *_TWO] * 2


def _pings_between(number: str, chop: Chop) -> Case:
    """A legal message of five fragments, with a ping behind the second and one before the last."""
    parts = [f"fragment{index}" for index in range(1, 6)]
    first, *rest = parts
    return Case(
        number,
        f"five fragments, a ping after two of them, a pause, a second ping, {chop}",
        [
            send(text(first, fin=False), continuation(rest[0], fin=False), ping("ping 1"), chop=chop),
            send(
                continuation(rest[1], fin=False),
                continuation(rest[2], fin=False),
                ping("ping 2"),
                continuation(rest[3]),
                chop=chop,
            ),
        ],
        [pong("ping 1"), pong("ping 2"), text("".join(parts))],
    )


_CASES = [
    Case(
        "5.1",
        "ping in two fragments",
        [send(ping("fragment1", fin=False), continuation("fragment2"))],
        ending=fails(1002),
        section="RFC 6455 5.5",
    ),
    Case(
        "5.2",
        "pong in two fragments",
        [send(pong("fragment1", fin=False), continuation("fragment2"))],
        ending=fails(1002),
        section="RFC 6455 5.5",
    ),
    *_in_three_chops(3, "text in two fragments", _TWO, answers=[_JOINED]),
    *_in_three_chops(
        6, "a ping between two fragments", [_TWO[0], ping("ping"), _TWO[1]], answers=[pong("ping"), _JOINED]
    ),
    *_in_three_chops(9, "a last fragment of no message, then text", _orphan(True), ending=fails(1002)),
    *_in_three_chops(12, "a fragment of no message, then text", _orphan(False), ending=fails(1002)),
    Case(
        "5.15",
        "text in two fragments, a fragment of no message, then text, at once",
        [send(_TWO, _orphan(False))],
        [_JOINED],
        fails(1002),
        nonstrict=AT_ONCE,
    ),
    Case(
        "5.16",
        "twice: a fragment of no message, text in two fragments",
        [send(_orphans_and_messages(False))],
        ending=fails(1002),
    ),
    Case(
        "5.17",
        "twice: a last fragment of no message, text in two fragments",
        [send(_orphans_and_messages(True))],
        ending=fails(1002),
    ),
    Case(
        "5.18",
        "two fragments that both begin a text message",
        [send(text("fragment1", fin=False), text("fragment2"))],
        ending=fails(1002),
    ),
    _pings_between("5.19", TOGETHER),
    _pings_between("5.20", BY_FRAME),
]

CHAPTER = Chapter.of("5", "Fragmentation", "RFC 6455 5.4", _CASES)
