"""The part of `Room` that works in all processes by the backplane alone: presence, kept messages, and orders."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs

from trio_ws.codes import CloseCode
from trio_ws.rooms.orders import Disconnect

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import Entry, Presence
    from trio_ws.rooms.place import Place

__all__ = ["Everywhere", "RoomMessage", "message_of"]

_MOST: Final = 1000
"""Messages of one query."""
_LATEST: Final = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()
"""The latest time that there is: ids of other programs' entries may be of later ones."""


@attrs.frozen
class RoomMessage:
    """A message that a room keeps."""

    id: str
    """Its position, for `Room.history` and for `join(since=...)`."""
    message: str | bytes
    """The message as it was published, before `stamp`: text, or bytes."""
    time: datetime
    """When it was published, in UTC."""


def message_of(entry: Entry) -> RoomMessage:
    """Return the message of an entry."""
    return RoomMessage(entry.id, entry.message.data, datetime.fromtimestamp(min(entry.time, _LATEST), UTC))


class Everywhere:
    """A room as all processes see it.

    Args:
        place: where it is.
    """

    __slots__ = ("_at",)

    def __init__(self, place: Place) -> None:
        self._at = place

    async def total(self) -> int:
        """Return the number of members in all processes, by one query to the backplane; see `presence`.

        Raises:
            BackplaneUnavailable: the backplane is away, and the time to wait for it is over.
            trio.Cancelled: nothing has happened.
        """
        return await self._at.registry.backplane.count(self._at.topic)

    async def presence(self) -> tuple[Presence, ...]:
        """Return the members in all processes, by one query to the backplane.

        A join or leave in another process shows a little later, the death of a process after `presence_timeout`.

        Raises:
            BackplaneUnavailable: the backplane is away, and the time to wait for it is over.
            trio.Cancelled: nothing has happened.
        """
        return await self._at.registry.backplane.presence(self._at.topic)

    async def disconnect(self, member_id: str, *, code: int = CloseCode.POLICY_VIOLATION, reason: str = "") -> None:
        """Close the connection of one member, in whichever process it is.

        It receives the messages that were published before, unless it is slow: those that wait for it are dropped. Its
        handler ends as if the peer had gone. Nothing happens if there is no such member. It may come back: a
        `room_guard` keeps it out.

        Args:
            member_id: `Member.id`, or `Presence.id` in any process. A connection that joins again has another.
            code: the close code; with 1008 and most others, clients that reconnect do not come back by themselves.
            reason: at most 123 bytes of UTF-8.

        Raises:
            BackplaneError: as `Room.publish` raises it.
            TypeError: an argument has another type.
            ValueError: no member has that id, or the code or the reason may not be sent.
            trio.Cancelled: as of `Room.publish`.
        """
        if member_id is None:
            raise TypeError("the id of a member is text, not None: close() closes the connections of all")
        await self._order(Disconnect(member_id, code, reason))

    async def close(self, *, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connections of all members, in all processes; see `disconnect`.

        Connections that join once this has returned are not closed; while Redis is away, those that join meanwhile are.

        Args:
            code: the close code.
            reason: at most 123 bytes of UTF-8.

        Raises:
            BackplaneError: as `Room.publish` raises it.
            TypeError: an argument has another type.
            ValueError: the code or the reason may not be sent.
            trio.Cancelled: as of `Room.publish`.
        """
        await self._order(Disconnect(None, code, reason))

    async def _order(self, order: Disconnect) -> None:
        await self._at.registry.backplane.publish(self._at.topic, order.encode(), frozenset(), order=True)

    async def history(
        self, *, after: str | datetime | None = None, before: str | datetime | None = None, limit: int = 100
    ) -> list[RoomMessage]:
        """Return messages that are kept, oldest first.

        With `after` they are the first ones after it, else the latest ones. In memory a room keeps as many as its
        `history` or `resume`, while it has members; with Redis about `stream_length`, in all processes. Messages that
        wait for Redis are not among them.

        Args:
            after: the id of a message, or a time with its zone; the message itself is left out.
            before: likewise. Both may be ids of messages that are not kept any more.
            limit: messages at most, up to 1,000; less are returned beyond some MiB, and at the end.

        Raises:
            BackplaneUnavailable: the backplane is away, and the time to wait for it is over.
            TypeError: an argument has another type.
            ValueError: the limit is out of range, or a time has no zone.
            trio.Cancelled: nothing has happened.
        """
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"limit is a whole number, not {limit!r:.80}")
        if not 1 <= limit <= _MOST:
            raise ValueError(f"limit must be from 1 to {_MOST}, not {limit}")
        bounds = _bound("after", after), _bound("before", before)
        entries = await self._at.registry.backplane.history(self._at.topic, *bounds, limit)
        return [message_of(entry) for entry in entries]


def _bound(name: str, given: object) -> str | float | None:
    """Return an id, or a time in seconds since 1970."""
    if given is None or isinstance(given, str):
        return given
    if not isinstance(given, datetime):
        raise TypeError(f"{name} is the id of a message or a datetime, not {type(given).__name__}: {given!r:.80}")
    if given.utcoffset() is None:
        raise ValueError(f"{name} is a time without a zone: datetime.now(UTC) has one, {given!r} has none")
    return given.timestamp()
