"""Messages of this process that are not read from their streams yet."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from trio_ws.connection.prepared import PreparedMessage

__all__ = ["PendingPublish", "PendingQueue"]


@attrs.define(eq=False)
class PendingPublish:
    """A message of this process that is not read yet."""

    room: str
    message: PreparedMessage
    exclude: frozenset[str]
    keyed: bool = False
    """Whether it may be in the stream already, from another publisher, so that members receive it from there only."""
    order: bool = False
    """As of `Entry`."""
    number: int = 0
    """The publisher's number for it; 0 before it has one."""
    deliver_at: float = math.inf
    """Trio's time at which it is delivered early; 0 once that has passed."""
    id: str | None = None
    """Its id in the stream; None before Redis has acknowledged it."""
    delivered: bool = False
    """Whether members in this process have received it."""
    uncertain: bool = False
    """Whether publishing ended without an answer: it may be in the stream, or still get there."""


class PendingQueue:
    """The pending messages of all rooms, in order within each."""

    def __init__(self) -> None:
        self.newest_number: int = 0
        """The greatest number so far."""
        self.rooms: dict[str, dict[int, PendingPublish]] = {}
        """The messages by room and number; a room without any is missing."""
        self._timed: dict[PendingPublish, None] = {}  # those that are not due, oldest first
        self._unread: dict[PendingPublish, None] = {}  # those that are, or may be, in the stream, oldest first

    def add(self, pending: PendingPublish, number: int) -> None:
        """Append a message under its number, which is the greatest so far."""
        pending.number = self.newest_number = number
        self.rooms.setdefault(pending.room, {})[number] = pending

    def remove(self, pending: PendingPublish) -> None:
        """Remove a message, if it is there."""
        messages = self.rooms.get(pending.room, {})
        if messages.pop(pending.number, None) is not None and not messages:
            del self.rooms[pending.room]
        self._timed.pop(pending, None)
        self._unread.pop(pending, None)

    def take_first(self, room: str, number: int) -> PendingPublish | None:
        """Remove a room's oldest message and return it, if it has that number."""
        messages = self.rooms.get(room)
        if messages is None or next(iter(messages)) != number:
            return None
        pending = messages.pop(number)
        if not messages:
            del self.rooms[room]
        self._timed.pop(pending, None)
        self._unread.pop(pending, None)
        return pending

    def __contains__(self, pending: PendingPublish) -> bool:
        return self.rooms.get(pending.room, {}).get(pending.number) is pending

    def in_room(self, room: str) -> list[PendingPublish]:
        """Return a room's messages, oldest first."""
        return [*self.rooms.get(room, {}).values()]

    def up_to(self, room: str, number: int) -> list[PendingPublish]:
        """Return a room's messages with numbers up to one, oldest first."""
        found = []
        for pending in self.rooms.get(room, {}).values():
            if pending.number > number:
                break
            found.append(pending)
        return found

    def set_timer(self, pending: PendingPublish, deliver_at: float) -> None:
        """Set the time of a message's early delivery; times must be ascending."""
        pending.deliver_at = deliver_at
        self._timed[pending] = None

    def make_due(self, pending: PendingPublish) -> None:
        """Let a message be due for early delivery."""
        pending.deliver_at = 0
        self._timed.pop(pending, None)

    @property
    def next_timed(self) -> PendingPublish | None:
        """The message that is due next; None if there is none."""
        return next(iter(self._timed), None)

    def await_reading(self, pending: PendingPublish) -> None:
        """Note that a message is, or may be, in the stream."""
        self._unread[pending] = None

    def oldest_beyond(self, limit: int) -> PendingPublish | None:
        """Return the oldest unread message if a limit is exceeded, else None."""
        return next(iter(self._unread)) if len(self._unread) > limit else None
