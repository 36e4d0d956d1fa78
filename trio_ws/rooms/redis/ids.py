"""Ids and epochs of stream entries, and how they compare.

Redis names an entry by a time in milliseconds and a number within it, joined by a hyphen. An epoch is the time in
milliseconds at which it began, and a token that distinguishes it from other epochs of that time.
"""

from __future__ import annotations

import math
import re
import secrets
from typing import Final

import attrs

__all__ = ["BEGINNING", "StreamHead", "check_epoch", "id_key", "next_id", "previous_id", "range_of"]

BEGINNING: Final = "0-0"
"""The id before that of a stream's first entry."""
_POSITION: Final = re.compile(r"(([0-9]{1,20})-([0-9]{1,20}))(?:~.*)?", re.DOTALL)
_EPOCH: Final = re.compile(r"|[0-9]{1,15}-[0-9a-f]{1,16}")


def id_key(entry_id: str) -> tuple[int, int]:
    """Return the key by which ids are compared.

    Raises:
        ValueError: it is no id.
    """
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)


def previous_id(entry_id: str) -> str:
    """Return the greatest id below that of an entry."""
    milliseconds, number = id_key(entry_id)
    return f"{milliseconds}-{number - 1}" if number else f"{milliseconds - 1}-{2**64 - 1}"


def next_id(entry_id: str) -> str:
    """Return the smallest id above that of an entry."""
    milliseconds, number = id_key(entry_id)
    return f"{milliseconds}-{number + 1}" if number + 1 < 2**64 else f"{milliseconds + 1}-0"


def range_of(after: str | float | None, before: str | float | None) -> tuple[str, str] | None:
    """Return the first and the last id between two ids or times, None if there is none.

    Raises:
        ValueError: a text is no id.
    """
    first, last = "-", "+"
    if isinstance(after, str):
        first = next_id(_checked_id(after))
    elif after is not None:
        first = f"{max(0, math.floor(_milliseconds(after)) + 1)}-0"
    if before is not None:
        end = _checked_id(before) if isinstance(before, str) else f"{max(0, math.ceil(_milliseconds(before)))}-0"
        if id_key(end) <= (0, 0):
            return None
        last = previous_id(end)
    return first, last


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)  # a float has not the exact thousandths of one


def _checked_id(text: str) -> str:
    """Return the id in the stream of a position, which may hold more."""
    match = _POSITION.fullmatch(text)
    if match is None or max(int(match[2]), int(match[3])) >= 2**64 - 1:
        raise ValueError(f"no id of a message: {text!r:.80}")
    return match[1]


def check_epoch(epoch: str) -> None:
    """Refuse a text that is neither an epoch nor empty.

    Raises:
        ValueError: it is neither.
    """
    if not _EPOCH.fullmatch(epoch):
        raise ValueError(f"no epoch of a stream: {epoch!r:.80}")


@attrs.frozen
class StreamHead:
    """The newest entry of a stream that this process has seen."""

    id: str = ""
    """Empty if there was none."""
    epoch: str = ""

    @property
    def arguments(self) -> tuple[str, str, str]:
        """The id, the epoch, and a token for a new epoch."""
        return self.id, self.epoch, secrets.token_hex(4)

    @property
    def age(self) -> tuple[int, tuple[int, int]]:
        """The key by which heads of one stream are compared.

        Raises:
            ValueError: the epoch is not one.
        """
        check_epoch(self.epoch)
        return int(self.epoch.partition("-")[0] or 0), id_key(self.id)
