"""Cases of the closing handshake and of close frames (chapter 7)."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.frames import close, continuation, ping, stars, text
from trio_ws.conformance.outcomes import Outcome, answered, fails
from trio_ws.conformance.steps import send

__all__ = ["CHAPTER"]

_HELLO = text("Hello World!")
_VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
_INVALID = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999]
_UNDEFINED = [5000, 65535]
_LARGE = text(stars(256 * 1024))
_NOT_UTF8 = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode() + b"\xed\xa0\x80edited"

_BEHIND_MESSAGES = (
    "messages and close frame come in one write, and the close frame is answered as soon as it is read; behind that "
    "answer no message may be sent any more (RFC 6455 5.5.1). The list itself leaves open what is echoed"
)

_CASES = [
    Case("7.1.1", "a message, and the closing handshake behind its echo", [send(_HELLO)], [_HELLO]),
    Case("7.1.2", "two close frames", [send(close(1000), close(1000))], ending=answered(1000)),
    Case("7.1.3", "a ping behind the close frame", [send(close(1000), ping())], ending=answered(1000)),
    Case("7.1.4", "a message behind the close frame", [send(close(1000), _HELLO)], ending=answered(1000)),
    Case(
        "7.1.5",
        "a close frame between two fragments",
        [send(text("fragment1", fin=False), close(1000), continuation("fragment2"))],
        ending=answered(1000),
    ),
    Case(
        "7.1.6",
        "a message of 256 KiB and a small one, a close frame, and a ping",
        [send(_LARGE, _HELLO, close(1000), ping())],
        [_LARGE, _HELLO],
        answered(1000),
        nonstrict=_BEHIND_MESSAGES,
    ),
    Case("7.3.1", "a close frame without payload", [send(close())], ending=answered(1005)),
    Case(
        "7.3.2", "a close frame with one byte", [send(close(None, b"a"))], ending=fails(1002), section="RFC 6455 5.5.1"
    ),
    Case("7.3.3", "a close frame with a code", [send(close(1000))], ending=answered(1000)),
    Case("7.3.4", "a close frame with a reason", [send(close(1000, b"Hello World!"))], ending=answered(1000)),
    Case("7.3.5", "the longest reason, 123 bytes", [send(close(1000, stars(123)))], ending=answered(1000)),
    Case("7.3.6", "a reason of 124 bytes", [send(close(1000, stars(124)))], ending=fails(1002), section="RFC 6455 5.5"),
    Case(
        "7.5.1",
        "a reason that is not UTF-8",
        [send(close(1000, _NOT_UTF8))],
        ending=fails(1007),
        section="RFC 6455 8.1",
    ),
    *(
        Case(
            f"7.7.{number}",
            f"a close frame with code {code}",
            [send(close(code))],
            ending=answered(code),
            section="RFC 6455 7.4",
        )
        for number, code in enumerate(_VALID, start=1)
    ),
    *(
        Case(
            f"7.9.{number}",
            f"a close frame with code {code}",
            [send(close(code))],
            ending=fails(1002),
            section="RFC 6455 7.4",
        )
        for number, code in enumerate(_INVALID, start=1)
    ),
    # What follows on these the RFC leaves open.
    *(
        Case(
            f"7.13.{number}",
            f"a close frame with code {code}",
            [send(close(code))],
            ending=fails(1002),
            also=(Outcome(answered(code)), Outcome(answered(1002)), Outcome(answered(1000))),
        )
        for number, code in enumerate(_UNDEFINED, start=1)
    ),
]

CHAPTER = Chapter.of("7", "Closing", "RFC 6455 5.5.1", _CASES)
