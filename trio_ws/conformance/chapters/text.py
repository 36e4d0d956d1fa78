"""Chapter 30, text that comes back with each mark, line end, space and accent unchanged (RFC 6455 5.6)."""

from __future__ import annotations

from trio_ws.conformance.case import Case, Chapter
from trio_ws.conformance.frames import continuation, text
from trio_ws.conformance.steps import send

__all__ = ["CHAPTER"]

_MARK = "\ufeff"
"""U+FEFF. RFC 3629 6 lets a protocol forbid it as a signature; RFC 6455 does not, so it is a character of the text."""
_WHOLE = [
    ("U+FEFF, then a word", f"{_MARK}word"),
    ("U+FEFF alone", _MARK),
    ("U+FEFF twice, then a word", f"{_MARK}{_MARK}word"),
    ("U+FEFF within a word", f"wo{_MARK}rd"),
    ("U+FEFF at the end", f"word{_MARK}"),
    ("U+FFFE, which is no character", "\ufffeword"),
    ("line ends of all kinds", "one\r\ntwo\nthree\rfour\n\rfive"),
    ("a line end behind the text", "line\r\n"),
    ("separators of lines and paragraphs", "one\u2028two\u2029three\x85four\x0bfive\x0csix"),
    ("spaces at both ends", " \t word \u00a0\u3000"),
    ("control characters, and NUL at both ends", "\0\x01\x1a\x1b\x7f\x80\0"),
    ("accents in one character and in two", "\u00e9e\u0301\u212b\u1e9b\u0323"),
    ("a replacement character", "\ufffdword"),
    ("HTML and escapes", "<b>&amp;\\u0041%41</b>"),
]

_CASES = [
    *(
        Case(f"30.1.{number}", what, [send(text(content))], [text(content)])
        for number, (what, content) in enumerate(_WHOLE, start=1)
    ),
    Case(
        "30.2.1",
        "U+FEFF at the begin of each fragment",
        [send(text(f"{_MARK}one", fin=False), continuation(f"{_MARK}two"))],
        [text(f"{_MARK}one{_MARK}two")],
    ),
    Case(
        "30.2.2",
        "U+FEFF over two fragments",
        [send(text(b"\xef\xbb", fin=False), continuation(b"\xbfword"))],
        [text(f"{_MARK}word")],
    ),
    Case(
        "30.2.3",
        "CR and LF in two fragments",
        [send(text("one\r", fin=False), continuation("\ntwo"))],
        [text("one\r\ntwo")],
    ),
    Case(
        "30.2.4",
        "an accent behind its letter, in two fragments",
        [send(text("e", fin=False), continuation("\u0301"))],
        [text("e\u0301")],
    ),
]

CHAPTER = Chapter.of("30", "Text as it is", "RFC 6455 5.6", _CASES)
