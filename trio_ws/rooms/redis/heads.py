"""The newest entry of each stream that this process has seen.

Redis may come back with older data and continue from there. A stream has an epoch, which all its entries carry. A
process sends the head that it has seen with each append, and over each new connection. Where that entry is missing, the
script begins another epoch with a loss marker, before it appends anything else. So all readers detect the loss, also
those that had not read that far, for which nothing else looks wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from trio_ws.rooms.redis.ids import StreamHead, id_key

if TYPE_CHECKING:
    from trio_ws.rooms.redis.stream import StreamState

__all__ = ["StreamHeads"]

_ROOMS: Final = 1024
"""Rooms without members here of which the head is held; more were published to long ago."""


class StreamHeads:
    """The heads of all streams.

    Args:
        streams: the streams that this process reads, by the names of rooms.
    """

    def __init__(self, streams: Mapping[str, StreamState]) -> None:
        self._streams = streams
        self._heads: dict[str, StreamHead] = {}  # the one that was noted last is last

    def note(self, room: str, entry_id: str, epoch: str) -> None:
        """Take an entry as the head if the known one is older."""
        known = self._heads.pop(room, None)
        if known is not None and known.epoch == epoch:
            is_newer = id_key(known.id) < id_key(entry_id)
        else:
            is_newer = known is None or known.age < StreamHead(entry_id, epoch).age
        self._heads[room] = StreamHead(entry_id, epoch) if known is None or is_newer else known
        if len(self._heads) > _ROOMS + len(self._streams):
            del self._heads[next(iter(self._heads))]

    def head_of(self, room: str) -> StreamHead:
        """Return the head of a room's stream."""
        known = self._heads.get(room)
        if known is None:
            stream = self._streams.get(room)
            known = StreamHead() if stream is None else stream.head
        return known

    def unread_rooms(self) -> Iterable[str]:
        """Return the rooms that have a head and are not read here."""
        return [room for room in self._heads if room not in self._streams]
