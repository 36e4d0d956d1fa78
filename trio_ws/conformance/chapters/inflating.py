"""Chapter 27, compressed messages, with the examples of RFC 7692, RSV1, invalid data and bombs."""

from __future__ import annotations

import zlib
from typing import Final

import attrs

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.deflate import Wish, deflated_zeros
from trio_ws.conformance.frames import HELLO, RSV1, binary, close, continuation, fragments, ping, pong, text
from trio_ws.conformance.outcomes import CLEAN, fails
from trio_ws.conformance.steps import RoundTrips, Step, send
from trio_ws.testing.raw_frame import Opcode, RawFrame

__all__ = ["chapter"]

_WISHES: Final = (Wish(),)
_CONTEXT: Final = (Wish(own_context=True),)
_SHARED: Final = "RFC 7692 7.2.3.2"
"""The example that needs the context of an earlier message."""
_HELLO = bytes.fromhex("f248cdc9c90700")
"""RFC 7692 7.2.3.1: "Hello" in one block with fixed Huffman codes."""
_INVALID = (1007, 1002, 1003, 1008)
"""Close codes for data that cannot be inflated; no RFC names one."""
BOMB: Final = 128
"""MiB that a bomb inflates to, from 128 KiB."""


def _deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


def _example(number: int, what: str, section: str, steps: list[Step], answers: list[RawFrame]) -> Case:
    return Case(f"27.1.{number}", what, steps, answers, CLEAN, section=f"RFC 7692 {section}")


_EXAMPLES = [
    _example(1, "one block with fixed codes", "7.2.3.1", [send(text(_HELLO, rsv=RSV1))], [HELLO]),
    _example(
        2,
        "two fragments, RSV1 on the first",
        "6.1",
        [send(text(_HELLO[:3], fin=False, rsv=RSV1), continuation(_HELLO[3:]))],
        [HELLO],
    ),
    _example(
        3,
        "the same message twice, the second by the context of the first",
        "7.2.3.2",
        [send(text(_HELLO, rsv=RSV1), text(bytes.fromhex("f200110000"), rsv=RSV1))],
        [HELLO, HELLO],
    ),
    _example(
        4,
        "a block without compression",
        "7.2.3.3",
        [send(text(bytes.fromhex("000500faff48656c6c6f00"), rsv=RSV1))],
        [HELLO],
    ),
    _example(5, "a block with BFINAL", "7.2.3.4", [send(text(bytes.fromhex("f348cdc9c9070000"), rsv=RSV1))], [HELLO]),
    _example(
        6,
        "two blocks in one message",
        "7.2.3.5",
        [send(text(bytes.fromhex("f248050000 00ffffcac9c90700"), rsv=RSV1))],
        [HELLO],
    ),
    _example(7, "a message without bytes", "7.2.3.6", [send(text(b"\0", rsv=RSV1))], [text("")]),
    _example(8, "octet by octet", "6.2", [send(text(_HELLO, rsv=RSV1), chop=1)], [HELLO]),
    _example(
        9,
        "fragments without payload",
        "6.1",
        [
            send(
                text(b"", fin=False, rsv=RSV1),
                continuation(_HELLO, fin=False),
                continuation(b"", fin=False),
                continuation(b""),
            )
        ],
        [HELLO],
    ),
    _example(
        10,
        "a ping between compressed fragments",
        "6.1",
        [send(text(_HELLO[:3], fin=False, rsv=RSV1), ping("ping"), continuation(_HELLO[3:]))],
        [pong("ping"), HELLO],
    ),
    _example(11, "a message that is not compressed", "6", [send(HELLO)], [HELLO]),
    _example(
        12,
        "compressed and other messages in turn",
        "6",
        [
            RoundTrips([(Opcode.TEXT, b"compressed, compressed")]),
            RoundTrips([(Opcode.TEXT, b"not compressed")], plain=True),
            RoundTrips([(Opcode.TEXT, b"compressed, compressed")]),
        ],
        [],
    ),
    _example(
        13,
        "a character that is cut by fragments",
        "6.2",
        [send(fragments(Opcode.TEXT, _deflated("\u20ac".encode() * 50), 1, rsv=RSV1))],
        [text("\u20ac" * 50)],
    ),
]

_WRONG_BITS = [
    Case(
        "27.2.1",
        "RSV1 on a continuation",
        [send(text(_HELLO[:3], fin=False, rsv=RSV1), continuation(_HELLO[3:], rsv=RSV1))],
        ending=fails(1002),
        section="RFC 7692 6.1",
    ),
    Case(
        "27.2.2",
        "RSV1 on the continuation of a message that is not compressed",
        [send(text("Hel", fin=False), continuation("lo", rsv=RSV1))],
        ending=fails(1002),
        section="RFC 7692 6.1",
    ),
    Case("27.2.3", "RSV1 on a ping", [send(ping("x", rsv=RSV1))], ending=fails(1002), section="RFC 7692 6.1"),
    Case(
        "27.2.4",
        "RSV1 on a pong",
        [send(pong("x", rsv=RSV1))],
        ending=fails(1002),
        section="RFC 7692 6.1",
    ),
    Case(
        "27.2.5",
        "RSV1 on a close frame",
        [send(close(1000, rsv=RSV1))],
        ending=fails(1002),
        section="RFC 7692 6.1",
    ),
    Case("27.2.6", "RSV1 and RSV2", [send(text(_HELLO, rsv=6))], ending=fails(1002), section="RFC 6455 5.2"),
    Case("27.2.7", "RSV3", [send(text(_HELLO, rsv=1))], ending=fails(1002), section="RFC 6455 5.2"),
]

_WRONG_DATA = [
    Case("27.3.1", "bytes that are no DEFLATE", [send(text(b"\xff" * 16, rsv=RSV1))], ending=fails(*_INVALID)),
    Case("27.3.2", "a block of the reserved type", [send(binary(b"\x07" * 8, rsv=RSV1))], ending=fails(*_INVALID)),
    Case(
        "27.3.3",
        "a distance from before the first message",
        [send(text(bytes.fromhex("f200110000"), rsv=RSV1))],
        ending=fails(*_INVALID),
    ),
    Case(
        "27.3.4",
        "a block without compression whose lengths contradict each other",
        [send(binary(bytes.fromhex("000500000048656c6c6f00"), rsv=RSV1))],
        ending=fails(*_INVALID),
    ),
    Case(
        "27.3.5",
        "text that inflates to invalid UTF-8",
        [send(text(_deflated(b"\xff\xfe\xfd"), rsv=RSV1))],
        ending=fails(1007),
        section="RFC 6455 8.1",
    ),
    Case(
        "27.3.6",
        "text that inflates to half a character",
        [send(text(_deflated(b"abc\xe2\x82"), rsv=RSV1))],
        ending=fails(1007),
        section="RFC 6455 8.1",
    ),
    Case(
        "27.3.7",
        "invalid data after a valid message",
        [send(text(_HELLO, rsv=RSV1), chop=1), send(binary(b"\xff" * 16, rsv=RSV1))],
        [HELLO],
        fails(*_INVALID),
        nonstrict="the connection fails before the message is echoed that came in front",
    ),
]


def _bombs() -> list[Case]:
    bomb = deflated_zeros(BOMB)
    cut = len(bomb) // 8
    return [
        Case(
            "27.4.1",
            f"a message of {len(bomb) // 1024} KiB that inflates to {BOMB} MiB",
            [send(binary(bomb, rsv=RSV1))],
            ending=fails(1009),
        ),
        Case(
            "27.4.2",
            f"the same, beginning to end in fragments of {cut // 1024} KiB",
            [send(fragments(Opcode.BINARY, bomb, cut, rsv=RSV1))],
            ending=fails(1009),
        ),
        Case(
            "27.4.3",
            "half of it, and never the end",
            [send(binary(bomb[: len(bomb) // 2], fin=False, rsv=RSV1))],
            ending=fails(1009),
        ),
    ]


def chapter() -> Chapter:
    """Return the chapter; its bombs are made now."""
    cases = [*_EXAMPLES, *_WRONG_BITS, *_WRONG_DATA]
    compressed = Chapter.of("27", "Compressed messages", "RFC 7692 7.2.2", _wishing(cases))
    bombs = Chapter.of("27", "", "RFC 7692 8", _wishing(_bombs()), level=Level.HARDENING)
    return Chapter("27", compressed.title, compressed.section, (*compressed.cases, *bombs.cases))


def _wishing(cases: list[Case]) -> list[Case]:
    return [attrs.evolve(case, wishes=_CONTEXT if case.section == _SHARED else _WISHES) for case in cases]
