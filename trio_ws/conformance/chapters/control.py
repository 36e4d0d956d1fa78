"""Chapter 23, control frames between and within fragments, and many of them (RFC 6455 5.4, 5.5)."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import binary, continuation, ping, pong, stars, text
from trio_ws.conformance.outcomes import CLEAN, Outcome, fails
from trio_ws.conformance.steps import BY_FRAME, AwaitPong, Step, send
from trio_ws.testing.raw_frame import Opcode, RawFrame

__all__ = ["CHAPTER"]

_LARGEST = stars(125, b"p")
_PARTS = [f"part {number} " for number in range(10)]
_JOINED = text("".join(_PARTS))


def _interleaved(payload: bytes, *, wait: bool) -> list[Step]:
    """Return a message of ten fragments with a ping behind each but the last."""
    steps: list[Step] = []
    for number, part in enumerate(_PARTS):
        last = number == len(_PARTS) - 1
        frame = continuation(part, fin=last) if number else text(part, fin=False)
        mark = b"%d" % number + payload
        steps.append(send(frame) if last else send(frame, ping(mark)))
        if wait and not last:
            steps.append(AwaitPong(mark))
    return steps


def _pongs(payload: bytes) -> list[RawFrame]:
    return [pong(b"%d" % number + payload) for number in range(len(_PARTS) - 1)]


_BETWEEN = [
    Case(
        "23.1.1",
        "a ping behind each of ten fragments, each answered before the next fragment is sent",
        _interleaved(b"", wait=True),
        [*_pongs(b""), _JOINED],
    ),
    Case(
        "23.1.2", "a ping behind each of ten fragments, at once", _interleaved(b"", wait=False), [*_pongs(b""), _JOINED]
    ),
    Case(
        "23.1.3",
        "a ping of 125 bytes between two fragments",
        [send(text("one ", fin=False), ping(_LARGEST), continuation("two"))],
        [pong(_LARGEST), text("one two")],
    ),
    Case(
        "23.1.4",
        "a ping between two fragments, octet by octet",
        [send(text("one ", fin=False), ping("ping"), continuation("two"), chop=1)],
        [pong("ping"), text("one two")],
    ),
    Case(
        "23.1.5",
        "pings between fragments without payload",
        [send(text("", fin=False), ping("a"), continuation("", fin=False), ping("b"), continuation(""))],
        [pong("a"), pong("b"), text("")],
    ),
    Case(
        "23.1.6",
        "pongs that nobody asked for between fragments",
        [send(binary(b"one ", fin=False), pong("x"), pong(""), continuation(b"two"))],
        [binary(b"one two")],
        section="RFC 6455 5.5.3",
    ),
    Case(
        "23.1.7",
        "a ping between the two bytes of a character",
        [send(text(b"\xc3", fin=False), ping("ping"), continuation(b"\xa4"), chop=BY_FRAME)],
        [pong("ping"), text("\u00e4")],
    ),
    Case(
        "23.1.8",
        "a binary message between two fragments of text",
        [send(text("one ", fin=False), binary(b"x"), continuation("two"))],
        ending=fails(1002),
    ),
    Case(
        "23.1.9",
        "a continuation behind a finished message of fragments",
        [send(text("one ", fin=False), continuation("two"), chop=BY_FRAME), send(continuation("three"))],
        [text("one two")],
        fails(1002),
    ),
]
_FORM = [
    Case("23.2.1", "a ping that is not finished", [send(ping("x", fin=False))], ending=fails(1002)),
    Case("23.2.2", "a pong that is not finished", [send(pong("x", fin=False))], ending=fails(1002)),
    Case("23.2.3", "a pong of 126 bytes", [send(pong(stars(126)))], ending=fails(1002)),
    Case(
        "23.2.4",
        "the header of a ping of 64 KiB, and nothing more",
        [send(RawFrame(Opcode.PING, b"", length=65_536))],
        ending=fails(1002),
        also=(Outcome(fails(1009)),),
        level=Level.HARDENING,
    ),
    Case(
        "23.2.5",
        "a ping with its length in two bytes",
        [send(RawFrame(Opcode.PING, b"x", length_bytes=2))],
        ending=fails(1002),
        section="RFC 6455 5.2",
    ),
    Case(
        "23.2.6",
        "a close frame with its length in eight bytes",
        [send(RawFrame(Opcode.CLOSE, b"\x03\xe8", length_bytes=8))],
        ending=fails(1002),
        section="RFC 6455 5.2",
    ),
]
_MANY = [
    Case(
        "23.3.1",
        "100 pings of 125 bytes",
        [send(*[ping(_LARGEST)] * 100)],
        [pong(_LARGEST)] * 100,
        section="RFC 6455 5.5.2",
    ),
    Case(
        "23.3.2",
        "1,000 pongs that nobody asked for, and a ping",
        [send(*[pong("x")] * 1000, ping("last"))],
        [pong("last")],
        section="RFC 6455 5.5.3",
        level=Level.HARDENING,
    ),
    Case(
        "23.3.3",
        "a message of 1,000 fragments without payload",
        [send(text("", fin=False), [continuation("", fin=False)] * 998, continuation("end"))],
        [text("end")],
        CLEAN,
        also=(Outcome(fails(1008, 1009), (), "a message of so many fragments is refused, as a limit"),),
        level=Level.HARDENING,
    ),
]

CHAPTER = Chapter.of("23", "Control frames between fragments", "RFC 6455 5.5", [*_BETWEEN, *_FORM, *_MANY])
