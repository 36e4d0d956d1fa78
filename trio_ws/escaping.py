"""Escaping of a peer's text for terminals, logs and errors."""

from __future__ import annotations

from typing import Final
from unicodedata import category

__all__ = ["encodable", "printable"]

_JOINERS: Final = "\u200c\u200d"
"""They shape emoji and some scripts, and move nothing else on a screen."""


def printable(text: str, *, keep: str = "") -> str:
    """Return text with escapes in place of unprintable characters.

    Control characters move a terminal's cursor, and line ends forge lines; marks of direction reorder what is read.

    Args:
        text: of a peer.
        keep: characters that may pass besides, such as line ends.
    """
    if text.isprintable():
        return text
    kept = keep + _JOINERS
    return "".join(each if each in kept or _is_plain(each) else _escape(each) for each in text)


def encodable(text: str, encoding: str) -> str:
    """Return text with escapes in place of characters outside an encoding.

    Args:
        text: of a peer.
        encoding: of the file that it is written to, such as "latin-1".
    """
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_plain(character: str) -> bool:
    return character.isprintable() or category(character) == "Zs"  # a space of any width


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
