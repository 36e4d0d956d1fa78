"""Rooms, and something of each, as the scripts about many rooms take them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trio_ws.rooms.redis.scripts import Keys

__all__ = ["Pairs", "PairsEncoder"]

Pairs: TypeAlias = "list[str | int | None]"
"""Names of rooms, and something of each, by turns."""


class PairsEncoder:
    """Encodes pairs as JSON, and those that have not changed since the last time not again.

    Args:
        keys: the names of keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: dict[int, tuple[Pairs, str]] = {}

    def encode(self, place: int, pairs: Pairs) -> str:
        """Return an array of hash tags and values by turns.

        Args:
            place: distinguishes these pairs from others that are encoded in turn.
            pairs: the rooms and values.
        """
        known = self._known.get(place)
        if known is None or known[0] != pairs:
            words = pairs[:]
            words[::2] = [self._keys.tag(str(room)) for room in pairs[::2]]
            known = self._known[place] = pairs, json.dumps(words, ensure_ascii=False)
        return known[1]

    def forget(self, first: int) -> None:
        """Forget pairs of places from one on, which are not encoded any more."""
        for place in [each for each in self._known if each >= first]:
            del self._known[place]
