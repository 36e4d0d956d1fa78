"""Backplane: how a room's messages travel between everyone who has the room open, in one process or in many.

Each room is a bounded stream of entries in one order, the same for every subscriber. Publishing appends to it;
subscribers are handed what is appended, and keep a window of it, a `Log`, which says honestly what it does not hold
any more. Who a room's members are, and how slow they may be, is not known here.

Where the stream is elsewhere, and cannot be reached, a backplane may hand what is published in its own process to the
subscribers there at once, in the publishers' order, and append it when it can. They do not get it again then, and its
entry's id says how far the subscriber has come, as any id does.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs

from trio_ws.rooms.topics import check_member

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trio_ws.connection.prepared import PreparedMessage

__all__ = ["Backplane", "Entry", "GapHandler", "Log", "Presence", "Replay", "SeenAhead", "Subscriber", "guarded"]

logger: Final = logging.getLogger("trio_ws")


@attrs.frozen(eq=False)
class Entry:
    """A message in a room's stream."""

    id: str
    """Says where in its room's stream a subscriber is that has been handed it: `Log.since` takes it, in any process. It
    names the entry; one that is delivered before it is in the stream, or while such a one is not, has another id there.
    It has no other meaning outside of the backplane that made it."""
    message: PreparedMessage
    exclude: frozenset[str]
    """The ids of the members that it is not for."""
    more: bool = False
    """Whether another one is delivered in the same scheduler turn, right after it."""


Subscriber: TypeAlias = Callable[[Entry], None]
"""Is handed each entry once, in the stream's order but for what is handed on early. It neither waits nor raises."""

GapHandler: TypeAlias = "Callable[[int | None], None]"
"""Is told how many entries are lost before the next one, None if nobody knows. It neither waits nor raises."""

Heard = TypeVar("Heard")


def _is_member(_: object, __: attrs.Attribute[str], value: str) -> None:
    check_member(value)


def guarded(call: Callable[[Heard], None], room: str) -> Callable[[Heard], None]:
    """Return a subscriber's function that logs its errors instead of raising them."""

    def guard(heard: Heard) -> None:
        try:
            call(heard)
        except Exception:
            logger.exception("error in what hears the room %r: others are not affected", room)

    return guard


@attrs.frozen
class Presence:
    """A member of a room, in whatever process its connection is.

    Raises:
        TypeError: the id is no text.
        ValueError: the id is empty, has white space or lone surrogates, or is longer than 256 bytes of UTF-8.
    """

    id: str = attrs.field(validator=_is_member)
    """Names it among all members of all rooms, in all processes."""
    info: Mapping[str, Any]
    """What it was joined with."""


class SeenAhead(ABC):
    """What somebody has had of entries that are still to come: it was elsewhere, where they came earlier."""

    @abstractmethod
    def take(self, entry: Entry) -> Entry | None:
        """Return what to hand on for an entry that has come, once for each and in order; None for one it has had."""

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether all of them have come."""


@attrs.frozen
class Replay:
    """What followed a certain entry."""

    entries: tuple[Entry, ...]
    """In order; all that is left, if some of it is not."""
    recovered: bool
    """Whether nothing is missing."""
    ahead: SeenAhead | None = None
    """What whoever came back has had of the entries that are still to come; None for nothing."""


class Log:
    """The newest entries of one room's stream, as one subscriber knows it.

    Args:
        size: how many entries it holds at most.
    """

    __slots__ = ("_entries", "_forgotten")

    def __init__(self, size: int) -> None:
        self._entries: deque[Entry] = deque(maxlen=size)
        self._forgotten: str | None = None  # the entry right before those that are held

    def append(self, entry: Entry) -> None:
        """Add the newest entry, and forget the oldest if there are too many."""
        if len(self._entries) == self._entries.maxlen:
            self._forgotten = (self._entries[0] if self._entries else entry).id
        self._entries.append(entry)

    def break_off(self, after: str | None = None) -> None:
        """Forget everything: entries are lost between those that it holds and those to come.

        Args:
            after: the id of what stands in the place of those that are lost, if there is anything.
        """
        self._entries.clear()
        self._forgotten = after

    def since(self, after: str) -> Replay:
        """Return what followed the entry with the id `after`, and whether that is all of it."""
        entries = tuple(self._entries)
        if after == self._forgotten:
            return Replay(entries, recovered=True)
        for place, entry in enumerate(entries, 1):
            if entry.id == after:
                return Replay(entries[place:], recovered=True)
        return Replay(entries, recovered=False)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries))

    def __len__(self) -> int:
        return len(self._entries)


class Backplane(ABC):
    """Carries rooms' messages. `tests/rooms/conformance.py` says in tests what every implementation owes.

    What it calls `room` is a topic, see `topics`: a text of UTF-8 that `Rooms` has checked. A call with what cannot be
    carried is refused in its caller, before it reaches a task or a link that others share.
    """

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Hold what the backplane needs, connections and tasks, while rooms are open.

        Tasks of its own talk to the network, so that a publisher or subscriber that is cancelled leaves nothing half
        done. This one needs nothing.
        """
        yield

    @abstractmethod
    async def publish(self, room: str, message: PreparedMessage, exclude: frozenset[str]) -> str:
        """Append a message to a room's stream, and return the id of its entry once that is certain.

        It never waits for a subscriber. It may wait for the backplane itself, which takes a bounded number of messages
        at once. It is a checkpoint.

        Args:
            room: the room's name.
            message: what to say.
            exclude: the ids of the members that it is not for.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed; its `local` says whether
                subscribers in this process have been handed it. So do the other errors.
            BackplaneFull: the backplane has no memory left for it.
            MessageTooLarge: it is larger than the backplane carries.
            trio.Cancelled: nothing was published; but where publishing takes time, it may have been.
        """

    @abstractmethod
    def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler = lambda missed: None
    ) -> AbstractAsyncContextManager[Log]:
        """Subscribe to a room's stream; leaving the context ends it.

        Within the context each entry is put into the log, then handed to `deliver`: once, in the stream's order, with
        none missing since those that the log began with. (What is handed on early has an order of its own: see the
        module.) Entries that are lost after all are told of: the log is broken off, then `gap` called, in the place in
        the order where they would have been.

        Args:
            room: the room's name.
            deliver: called with each new entry, not before the context is entered nor after it is left.
            history: how many entries the log holds at most. It begins with the newest of those that are still there.
            gap: called when entries are lost.

        Raises:
            BackplaneUnavailable: on entering: the backplane is away, and a bounded time has passed.
        """

    @abstractmethod
    async def sync(self, room: str) -> None:
        """Wait until what is in a room's stream now has been handed to this object's subscribers of the room.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
        """

    @abstractmethod
    def enter(self, room: str, member: Presence) -> None:
        """Let a member be present in a room, for everyone. It does not wait: others may see it a little later.

        A member whose process ends without a word is gone after a bounded time.

        Raises:
            TypeError: the member's info cannot travel; likewise ValueError.
            MessageTooLarge: it is larger than the backplane carries.
        """

    @abstractmethod
    def leave(self, room: str, member: str) -> None:
        """Let the member with this id be present no more. It does not wait."""

    @abstractmethod
    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Return who is present in a room, in all processes, those of one process in the order in which they came.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
        """
