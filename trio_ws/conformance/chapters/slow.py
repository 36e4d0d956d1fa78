"""Chapter 28, slow peers, peers that do not read, and peers that end half of the connection."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import HELLO, binary, close, continuation, stars, text
from trio_ws.conformance.opening import OpeningRequest, request
from trio_ws.conformance.outcomes import ENDS, Outcome, answered
from trio_ws.conformance.steps import EndOfStream, Flood, send
from trio_ws.testing.raw_frame import Opcode

__all__ = ["CHAPTER"]

_KIB = 1024

_CASES = [
    Case(
        "28.1.1",
        "200 messages of 16 KiB, of which no echo is read until they are sent",
        [Flood(Opcode.BINARY, stars(16 * _KIB, b"\x01"), 200)],
        section="RFC 6455 5.4",
    ),
    Case(
        "28.1.2",
        "2,000 small messages, of which no echo is read until they are sent",
        [Flood(Opcode.TEXT, stars(20, b"m"), 2000)],
        section="RFC 6455 5.4",
    ),
    Case(
        "28.1.3", "a message in writes of one octet", [send(text(stars(300, b"s")), chop=1)], [text(stars(300, b"s"))]
    ),
    Case(
        "28.1.4",
        "fragments of one byte, octet by octet",
        [send([text("H", fin=False), continuation("e", fin=False), continuation("y")], chop=1)],
        [text("Hey")],
    ),
    Case("28.2.1", "the end of our side right after the handshake", [EndOfStream()], ending=ENDS),
    Case(
        "28.2.2",
        "a message, and the end of our side",
        [send(HELLO), EndOfStream()],
        ending=ENDS,
        also=(Outcome(ENDS, (HELLO,)),),
    ),
    Case(
        "28.2.3",
        "16 messages of 64 KiB, and the end of our side",
        [send(*[binary(stars(64 * _KIB, b"\x02"))] * 16), EndOfStream()],
        [binary(stars(64 * _KIB, b"\x02"))] * 16,
        ENDS,
        also=(Outcome(ENDS, None),),
    ),
    Case(
        "28.2.4",
        "a close frame, and the end of our side before it is answered",
        [send(close(1000)), EndOfStream()],
        ending=answered(1000),
        also=(Outcome(ENDS, ()),),
    ),
]
_OPENING = [
    Case(
        "28.3.1",
        "a request whose head does not end",
        request=request(complete=False),
        opening="refused",
        side="server",
    ),
    Case(
        "28.3.2",
        "a connection without a request",
        request=OpeningRequest((), raw=b""),
        opening="refused",
        side="server",
    ),
]

CHAPTER = Chapter.of("28", "Slow and half-closed peers", "RFC 6455 7.1.1", [*_CASES, *_OPENING], level=Level.HARDENING)
