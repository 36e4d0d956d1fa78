"""Chapter 6, text that is UTF-8, wherever fragments cut it, and text that is not, which fails the connection with 1007.

From 6.5 on each case is one sequence of bytes of the decoder stress test by Markus Kuhn that the published list takes
over (https://www.cl.cam.ac.uk/~mgk25/ucs/examples/UTF-8-test.txt), by its own sections.
"""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import continuation, fragments, text
from trio_ws.conformance.outcomes import CLEAN, fails
from trio_ws.conformance.steps import FailFast, FramePart, LateRest, Quiet, send
from trio_ws.testing.raw_frame import Opcode

__all__ = ["CHAPTER"]

_GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5"
"""A word of five letters with two bytes each but for the second, which has three; a precomposed accent is in it."""
_MIXED = "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!"
_SURROGATE = b"\xed\xa0\x80"
_BEYOND = b"\xf4\x90\x80\x80"
"""U+110000, one more than there is: wrong from its second byte on."""
_INVALID = _GREEK.encode() + _SURROGATE + b"edited"
_TOO_HIGH = _GREEK.encode() + _BEYOND + b"edited"
_LATE = "invalid UTF-8 is found at the end of the message, not when it arrives (RFC 6455 8.1 allows both)"
_CUT = len(_GREEK.encode()) + 1
"""Just before the byte that makes it invalid."""


# --- 6.1 to 6.4: fragments ----------------------------------------------------------------------------------------


def _octets(payload: bytes) -> list[bytes]:
    return [payload[index : index + 1] for index in range(len(payload))]


def _fail_fast(number: str, what: str, first: bytes, second: bytes) -> Case:
    """Make a case of three frames: the first is valid, the second is to be refused without waiting for the third."""
    return Case(
        number,
        what,
        [
            send(text(first, fin=False)),
            Quiet(),
            send(continuation(second, fin=False)),
            FailFast((continuation("edited"),), _LATE),
        ],
        ending=fails(1007),
        level=Level.SHOULD,
    )


def _fail_fast_in_frame(number: str, what: str, first: int, second: int) -> Case:
    """Make a case of one frame in three parts: the second is to be refused without waiting for the third."""
    whole = text(_TOO_HIGH)
    return Case(
        number,
        what,
        [FramePart(whole, 0, first), Quiet(), FramePart(whole, first, second), LateRest(whole, second, _LATE)],
        ending=fails(1007),
        level=Level.SHOULD,
    )


_FRAGMENTED = [
    Case("6.1.1", "text of no bytes", [send(text(""))], [text("")]),
    Case(
        "6.1.2",
        "three fragments of no bytes",
        [send(text("", fin=False), continuation("", fin=False), continuation(""))],
        [text("")],
    ),
    Case(
        "6.1.3",
        "three fragments, the first and the last of no bytes",
        [send(text("", fin=False), continuation("middle", fin=False), continuation(""))],
        [text("middle")],
    ),
    Case("6.2.1", "text in one frame", [send(text(_MIXED))], [text(_MIXED)]),
    Case(
        "6.2.2",
        "text in two fragments, cut between characters",
        [send(text(_MIXED[:8], fin=False), continuation(_MIXED[8:]))],
        [text(_MIXED)],
    ),
    Case(
        "6.2.3",
        "text in fragments of one octet",
        [send(fragments(Opcode.TEXT, _MIXED.encode(), 1))],
        [text(_MIXED)],
    ),
    Case(
        "6.2.4",
        "a Greek word in fragments of one octet",
        [send(fragments(Opcode.TEXT, _GREEK.encode(), 1))],
        [text(_GREEK)],
    ),
    Case("6.3.1", "a surrogate among valid text", [send(text(_INVALID))], ending=fails(1007)),
    Case("6.3.2", "the same, by octet", [send(fragments(Opcode.TEXT, _INVALID, 1))], ending=fails(1007)),
    _fail_fast("6.4.1", "the second of three fragments is wrong", _GREEK.encode(), _BEYOND),
    _fail_fast("6.4.2", "the second ends with the first wrong byte", _TOO_HIGH[:_CUT], _TOO_HIGH[_CUT : _CUT + 1]),
    _fail_fast_in_frame("6.4.3", "the second of three parts of a frame is wrong", _CUT - 1, _CUT + 3),
    _fail_fast_in_frame("6.4.4", "the second part ends with the first wrong byte", _CUT, _CUT + 1),
]


# --- 6.5 to 6.23: sequences ---------------------------------------------------------------------------------------


def _joined(*rows: str) -> list[str]:
    return " ".join(rows).split()


_NONCHARACTERS = ["efbfbe", "efbfbf"] + [
    (chr(plane << 16 | 0xFFFE + last)).encode().hex() for plane in range(1, 17) for last in (0, 1)
]
_WITHOUT_LAST_BYTE = _joined("c0 e080 f08080 f8808080 fc80808080", "df efbf f7bfbf fbbfbfbf fdbfbfbfbf")

# What the section shows, and the sequences in hexadecimal; "!" stands before one that is not UTF-8.
_SEQUENCES: list[tuple[str, list[str]]] = [
    (
        "valid text",
        [
            word.encode().hex()
            for word in ("hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", _GREEK)
        ],
    ),
    (
        "every beginning of a Greek word",
        [("" if size in {2, 5, 7, 9, 11} else "!") + _GREEK.encode()[:size].hex() for size in range(1, 12)],
    ),
    ("the first code point of each length", _joined("00 c280 e0a080 f0908080")),
    ("the first of five and six bytes", _joined("!f888808080 !fc8480808080")),
    ("the last code point of each length", _joined("7f dfbf efbfbf f48fbfbf")),
    ("the last of four, five and six bytes", _joined("!f7bfbfbf !fbbfbfbfbf !fdbfbfbfbfbf")),
    ("around the surrogates, and around the end", _joined("ed9fbf ee8080 efbfbd f48fbfbf !f4908080")),
    (
        "continuation bytes that continue nothing",
        ["!80", "!bf", *("!" + ("80bf" * 3)[: 2 * size] for size in range(2, 7)), "!" + bytes(range(0x80, 0xC0)).hex()],
    ),
    (
        "first bytes with a space behind each",
        [
            "!" + "".join(f"{byte:02x}20" for byte in range(first, last + 1))
            for first, last in [(0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD)]
        ],
    ),
    ("the last byte is missing", ["!" + sequence for sequence in _WITHOUT_LAST_BYTE]),
    ("all of those together", ["!" + "".join(_WITHOUT_LAST_BYTE)]),
    ("bytes that never occur", _joined("!fe !ff !fefeffff")),
    ("a slash in too many bytes", _joined("!c0af !e080af !f08080af !f8808080af !fc80808080af")),
    ("the last code points in too many bytes", _joined("!c1bf !e09fbf !f08fbfbf !f887bfbfbf !fc83bfbfbfbf")),
    ("NUL in too many bytes", _joined("!c080 !e08080 !f0808080 !f880808080 !fc8080808080")),
    ("single surrogates", _joined("!eda080 !edadbf !edae80 !edafbf !edb080 !edbe80 !edbfbf")),
    (
        "pairs of surrogates",
        ["!" + high + low for high in _joined("eda080 edadbf edae80 edafbf") for low in _joined("edb080 edbfbf")],
    ),
    ("code points that are no characters, but valid", _NONCHARACTERS),
    ("the specials, among them the replacement character", _joined("efbfb9 efbfba efbfbb efbfbc efbfbd efbfbe efbfbf")),
]


def _sequence(number: str, what: str, sequence: str) -> Case:
    valid = not sequence.startswith("!")
    payload = bytes.fromhex(sequence.removeprefix("!"))
    shown = payload[:8].hex(" ") + (" ..." if len(payload) > 8 else "")
    return Case(
        number,
        f"{what}: {shown}",
        [send(text(payload))],
        [text(payload)] if valid else [],
        CLEAN if valid else fails(1007),
    )


_CASES = _FRAGMENTED + [
    _sequence(f"6.{section}.{number}", what, sequence)
    for section, (what, sequences) in enumerate(_SEQUENCES, start=5)
    for number, sequence in enumerate(sequences, start=1)
]

CHAPTER = Chapter.of("6", "UTF-8", "RFC 6455 8.1", _CASES)
