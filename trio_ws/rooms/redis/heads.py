"""The newest entry of each stream that this process has seen.

Redis may come back with older data, and go on from there. A stream has an epoch, which all its entries bear. A process
names the head that it has seen when it appends, and over each new link. Where that entry is missing, the script begins
another epoch with a mark, before anything else is appended. So all readers see the loss, also those that had not read
so far, for which nothing else looks wrong.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from trio_ws.rooms.redis.stream import StreamState

__all__ = ["Head", "StreamHeads", "before", "generation", "order"]

_EPOCH: Final = re.compile(r"|[0-9]{1,15}-[0-9a-f]{1,16}")
_ROOMS: Final = 1024
"""Rooms without members here of which the head is held; more were published to long ago."""


def order(identifier: str) -> tuple[int, ...]:
    """Return what ids of entries are compared by."""
    return tuple(int(part) for part in identifier.split("-"))


def before(identifier: str) -> str:
    """Return the greatest id that is less than that of an entry."""
    milliseconds, number = order(identifier)
    return f"{milliseconds}-{number - 1}" if number else f"{milliseconds - 1}-{2**64 - 1}"


def generation(epoch: str) -> int:
    """Return what epochs are compared by: when one was begun, in ms.

    Raises:
        ValueError: it is none.
    """
    if not _EPOCH.fullmatch(epoch):
        raise ValueError(f"no epoch of a stream: {epoch!r:.80}")
    return int(epoch.partition("-")[0] or 0)


@attrs.frozen
class Head:
    """An entry of a stream that was read, or that Redis has acknowledged."""

    id: str = ""
    """Empty if there was none."""
    epoch: str = ""

    @property
    def arguments(self) -> tuple[str, str, str]:
        """Arguments of scripts: its id, its epoch, and a token for another one."""
        return self.id, self.epoch, secrets.token_hex(4)

    @property
    def age(self) -> tuple[int, tuple[int, ...]]:
        """What heads of one stream are compared by."""
        return generation(self.epoch), order(self.id)


class StreamHeads:
    """The heads of all streams; see the module.

    Args:
        feeds: those of this process, by the names of rooms.
    """

    def __init__(self, feeds: Mapping[str, StreamState]) -> None:
        self._feeds = feeds
        self._heads: dict[str, Head] = {}  # the one that was noted last is last

    def note(self, room: str, identifier: str, epoch: str) -> None:
        """Take an entry as the head, if it is newer than what was seen before."""
        head, known = Head(identifier, epoch), self._heads.pop(room, None)
        self._heads[room] = head if known is None or known.age < head.age else known
        if len(self._heads) > _ROOMS + len(self._feeds):
            del self._heads[next(iter(self._heads))]

    def of(self, room: str) -> Head:
        """Return the head of a room's stream."""
        known = self._heads.get(room)
        if known is None:
            feed = self._feeds.get(room)
            known = Head() if feed is None else feed.head
        return known

    def elsewhere(self) -> Iterable[str]:
        """Return the rooms that have a head, and no members here."""
        return [room for room in self._heads if room not in self._feeds]
