"""Chapter 22, close codes that were registered since, reasons, and what races with a close frame."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import HELLO, binary, close, continuation, ping, pong, stars, text
from trio_ws.conformance.outcomes import CLEAN, ENDS, Outcome, answered, fails
from trio_ws.conformance.steps import EndOfStream, FramePart, RawBytes, send
from trio_ws.testing.raw_frame import RawFrame

__all__ = ["CHAPTER"]

_CODES = "RFC 6455 7.4"
_NEWER = "the code is treated as unknown, although it is registered by now (RFC 6455 7.4, IANA)"
_WHOLE = text(stars(1000))


def _reason(number: int, what: str, reason: bytes) -> Case:
    return Case(f"22.2.{number}", f"a reason that {what}", [send(close(1000, reason))], ending=answered(1000))


def _bad_reason(number: int, what: str, reason: bytes) -> Case:
    return Case(
        f"22.2.{number}",
        f"a reason that {what}",
        [send(close(1000, reason))],
        ending=fails(1007),
        also=(Outcome(fails(1002), why="invalid UTF-8 is answered with 1002, where 1007 says more (RFC 6455 7.4.1)"),),
        section="RFC 6455 8.1",
    )


_REGISTERED = [
    Case(
        f"22.1.{number}",
        f"a close frame with code {code}",
        [send(close(code))],
        ending=answered(code),
        also=(Outcome(fails(1002), why=_NEWER),),
        section=_CODES,
        level=Level.SHOULD,
    )
    for number, code in enumerate((1012, 1013, 1014), start=1)
]
_FORBIDDEN = [
    Case(f"22.1.{number}", f"a close frame with code {code}", [send(close(code))], ending=fails(1002), section=_CODES)
    for number, code in enumerate((1015, 1017, 1999), start=4)
]
_EDGES = [
    Case(
        f"22.1.{number}", f"a close frame with code {code}", [send(close(code))], ending=answered(code), section=_CODES
    )
    for number, code in enumerate((3001, 4001, 4998), start=7)
]
_REASONS = [
    _reason(1, "has 41 characters of three bytes each", "\u20ac".encode() * 41),
    _reason(2, "begins with a byte order mark", b"\xef\xbb\xbfreason"),
    _reason(3, "has a NUL in it", b"a\0b"),
    _reason(4, "has line ends", b"a\r\nb"),
    _bad_reason(5, "ends within a character", b"reason\xe2\x82"),
    _bad_reason(6, "has a surrogate in it", b"\xed\xa0\x80"),
    _bad_reason(7, "has an overlong character in it", b"\xc0\xaf"),
]
_RACES = [
    Case("22.3.1", "a close frame octet by octet", [send(close(1000, b"bye"), chop=1)], ending=answered(1000)),
    Case(
        "22.3.2",
        "a fragmented close frame",
        [send(close(1000, fin=False), continuation(b""))],
        ending=fails(1002),
        section="RFC 6455 5.5",
    ),
    Case("22.3.3", "close frames 1000 and 4000", [send(close(1000), close(4000))], ending=answered(1000)),
    Case(
        "22.3.4",
        "a close frame and bytes that are no frame",
        [send(close(1000)), RawBytes(b"\xff" * 64, "64 bytes 0xff")],
        ending=answered(1000),
    ),
    Case(
        "22.3.5",
        "a close frame and bytes that are no frame in one write",
        [RawBytes(bytes.fromhex("88820000000003e8") + b"\xff" * 64, "CLOSE 1000 and 64 bytes 0xff")],
        ending=answered(1000),
        side="server",
    ),
    Case(
        "22.3.6",
        "a close frame, and the end of the stream behind it",
        [send(close(1000)), EndOfStream()],
        ending=answered(1000),
    ),
    Case(
        "22.3.7",
        "a fragment, a ping and a close frame in one write",
        [send(text("fragment", fin=False), ping("ping"), close(1000))],
        [pong("ping")],
        answered(1000),
        nonstrict="the close frame is answered before the ping that came with it",
    ),
    Case(
        "22.3.8",
        "a close frame within a fragmented binary message",
        [send(binary(b"fragment", fin=False)), send(close(1001))],
        ending=answered(1001),
    ),
    Case(
        "22.3.9",
        "a message, and at once the close frame",
        [send(HELLO), send(close(1000))],
        [HELLO],
        answered(1000),
        nonstrict="the close frame is answered before the message is echoed",
    ),
    Case("22.3.10", "a close frame after a minute's worth of pings", [send(*[ping()] * 60)], [pong()] * 60, CLEAN),
]
_STREAM = [
    Case("22.4.1", "the end of the stream without a close frame", [EndOfStream()], ending=ENDS),
    Case(
        "22.4.2",
        "the end of the stream after an echo",
        [send(ping("before")), EndOfStream()],
        [],
        ENDS,
        also=(Outcome(ENDS, (pong("before"),)),),
    ),
    Case(
        "22.4.3", "the end of the stream within a header", [RawBytes(b"\x81", "one byte"), EndOfStream()], ending=ENDS
    ),
    Case("22.4.4", "the end of the stream within a payload", [FramePart(_WHOLE, 0, 500), EndOfStream()], ending=ENDS),
    Case(
        "22.4.5",
        "the end of the stream within a message",
        [send(text("fragment", fin=False)), EndOfStream()],
        ending=ENDS,
    ),
    Case(
        "22.4.6",
        "the end of the stream within a close frame",
        [RawBytes(b"\x88", "the first byte of a close frame"), EndOfStream()],
        ending=ENDS,
    ),
]
_UNASKED = [
    Case(
        "22.5.1",
        "a violation, and no answer to the close frame",
        [send(RawFrame(0x3))],
        ending=fails(1002),
        section="RFC 6455 7.1.7",
    ),
    Case(
        "22.5.2",
        "a violation, and messages behind it",
        [send(RawFrame(0xB)), send(HELLO, HELLO, ping())],
        ending=fails(1002),
        section="RFC 6455 7.1.7",
    ),
]

CHAPTER = Chapter.of(
    "22",
    "Close codes and races",
    "RFC 6455 5.5.1",
    [*_REGISTERED, *_FORBIDDEN, *_EDGES, *_REASONS, *_RACES, *_STREAM, *_UNASKED],
)
