"""Feed: how far one room's stream has been read in this process, and the subscriptions that hear it.

A message of this process may have been handed to a subscription before it was read: see `local`. Then it is known by
its number when it is read, and is not delivered again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.rooms.backplane import Entry, GapHandler, Log, Replay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_ws.rooms.backplane import Subscriber
    from trio_ws.rooms.redis.local import Local

__all__ = ["BEGINNING", "Cursor", "Feed", "Record", "Subscription", "Window", "order"]

logger: Final = logging.getLogger("trio_ws")

BEGINNING: Final = "0-0"
"""The id before that of a stream's first entry."""
_PUBLISHERS: Final = 1024
"""Processes whose messages a feed knows again."""
_DIGITS: Final = 16
"""Of a publisher's number, at most: what a client says is looked at, not believed."""


@attrs.frozen(eq=False)
class Record(Entry):
    """An entry of a stream, as it is in Redis."""

    place: int = 0
    """Its number in the stream: one more than that of the entry before it."""
    publisher: str = ""
    """The process that it is from."""
    number: int = 0
    """The publisher's own number for it."""


@attrs.frozen
class Cursor:
    """What a member has had: the stream up to an entry, and maybe messages of one process that come behind that."""

    position: str
    publisher: str = ""
    number: int = 0
    """The greatest of the publisher's numbers."""

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what `str` has made; any other text is the id of an entry that no stream has."""
        position, _, rest = text.partition("~")
        publisher, _, number = rest.rpartition("-")
        if publisher and number.isdecimal() and len(number) <= _DIGITS:
            return cls(position, publisher, int(number))
        return cls(text)

    def __str__(self) -> str:
        return f"{self.position}~{self.publisher}-{self.number}"

    def covers(self, entry: Entry) -> bool:
        """Say whether it is one of the publisher's messages that the member has had."""
        return isinstance(entry, Record) and entry.publisher == self.publisher and entry.number <= self.number


class Window(Log):
    """The log of one subscription: what was read, and after that what it was handed and is still to be read.

    Args:
        size: how many entries are held of those that were read.
        handed: returns the others.
    """

    __slots__ = ("_handed", "lacks")

    lacks: int
    """The publisher's number of a message that was handed on, is to be read, and is not held; 0 for none."""

    def __init__(self, size: int, handed: Callable[[], Sequence[Record]]) -> None:
        super().__init__(size)
        self._handed = handed
        self.lacks = 0

    def since(self, after: str) -> Replay:
        """See `Log.since`; `after` may be what a member was told of a message that was not in the stream yet."""
        cursor = Cursor.parse(after)
        replay = super().since(cursor.position)
        entries = (*replay.entries, *self._handed())
        recovered = replay.recovered and not self.lacks
        if not (recovered and cursor.publisher):
            return Replay(entries, recovered)
        unseen = tuple(entry for entry in entries if not cursor.covers(entry))
        return Replay(unseen, recovered=True, had=cursor.covers)

    def records(self) -> list[Record]:
        """Return what was read."""
        return [entry for entry in super().__iter__() if isinstance(entry, Record)]

    def __iter__(self) -> Iterator[Entry]:
        return iter((*super().__iter__(), *self._handed()))

    def __len__(self) -> int:
        return super().__len__() + len(self._handed())


class Subscription:
    """One subscription to a feed.

    Args:
        feed: what it is to.
        local: has the messages of this process.
        deliver: is handed each entry.
        gap: is told what is lost.
        history: the size of the log.
    """

    def __init__(self, feed: Feed, local: Local, deliver: Subscriber, gap: GapHandler, history: int) -> None:
        self.log: Window = Window(history, lambda: local.handed(feed.room, self, feed.position))
        self.gap: GapHandler = gap
        self.size: int = history
        self.opened: trio.Event = trio.Event()
        """Set when it is handed what is said, from here or from the stream."""
        self.begun: bool = False
        """Whether it goes on with what is read from the stream."""
        self.since: float = 0.0
        """When it was opened."""
        self.first: int = 0
        """Messages of this process with greater numbers were published since it was opened."""
        self.had: dict[int, None] = {}
        """The numbers of those that it was handed and that have not been read, oldest first."""
        self._feed = feed
        self._deliver = deliver
        self._local = local
        self._newest = 0
        self._forgotten = 0

    def begin(self, records: Iterable[Record]) -> None:
        """Go on with what will be read, after entries that are given; it is open, if it was not before."""
        self.begun = True
        for record in records:
            self.log.append(record)
            self._has_had(record)
            self._local.read(self._feed.room, record)
        self._open()

    def open_alone(self) -> None:
        """Be opened without Redis, and go on from where the feed is; from now on, if nothing was read."""
        if self._feed.position is None:
            logger.warning("the room %r is opened without Redis: its history is missing", self._feed.room)
            self._open()
        else:
            self.begin(max((each.log.records() for each in self._feed.subscriptions), key=len))

    def _open(self) -> None:
        if not self.opened.is_set():
            self.first = self._local.newest
            self.since = trio.current_time()
            self.opened.set()

    def hand(self, record: Record, limit: int) -> None:
        """Be handed a message that was not read; `limit` is of how many such numbers are known again."""
        self.had[record.number] = None
        self._newest = record.number
        if len(self.had) > limit:
            self._forgotten = next(iter(self.had))
            del self.had[self._forgotten]
        self._deliver(record)

    def rename(self, old: int, new: int) -> None:
        """A message that it was handed has another number now."""
        if self.had.pop(old, 0) is None:
            self.had[new] = None
            self._newest = new

    def take(self, record: Record) -> None:
        """Be handed an entry that was read, unless it was handed that message before."""
        self.log.append(record)
        if self._has_had(record):
            return
        if self.had:
            cursor = Cursor(record.id, self._local.process, self._newest)
            record = attrs.evolve(record, id=str(cursor))
        self._deliver(record)

    def _has_had(self, record: Record) -> bool:
        """Say whether it was handed a message before, which is read now."""
        if record.publisher != self._local.process:
            return False
        known = record.number in self.had or record.number <= self._forgotten
        while self.had and next(iter(self.had)) <= record.number:
            del self.had[next(iter(self.had))]  # those before it are not in the stream, or were read
        if record.number >= self.log.lacks:
            self.log.lacks = 0
        return known


class Feed:
    """How far one room's stream has been read, and who hears it.

    Args:
        room: the room's name.
        local: is told what was read.
    """

    def __init__(self, room: str, local: Local) -> None:
        self.room: str = room
        self.subscriptions: list[Subscription] = []
        self.syncs: list[trio.Event] = []
        self.position: str | None = None
        """The id of the entry that was read last; None before it was opened."""
        self.verified: bool = False
        """Whether the stream was seen to hold that entry, or later ones, since the link was made."""
        self._local = local
        self._place: int | None = None
        self._publishers: dict[str, int] = {}

    def begin(self, records: Sequence[Record]) -> None:
        """Take the newest entries as those after which to go on."""
        self.position = records[-1].id if records else BEGINNING
        self._place = records[-1].place if records else 0
        self.verified = True
        for record in records:
            self.is_new(record)

    def take(self, records: Iterable[Record]) -> None:
        """Deliver entries, each of which follows the one before it in the stream."""
        for record in records:
            self._check(record.place)
            self.position, self._place = record.id, record.place
            if self.is_new(record):
                self._local.read(self.room, record)
                for subscription in self._begun():
                    subscription.take(record)

    def lose(self, missed: int | None) -> None:
        """Tell the subscribers that entries are lost."""
        for subscription in self._begun():
            subscription.log.break_off()
            subscription.gap(missed)

    def waiting(self, first: Subscription) -> list[Subscription]:
        """Return those that can begin now: the one that is first, and others that were opened without Redis."""
        early = [each for each in self.subscriptions if each.opened.is_set() and not each.begun]
        return early if first in early or first not in self.subscriptions else [*early, first]

    def _begun(self) -> list[Subscription]:
        return [each for each in self.subscriptions if each.begun]

    def begin_again(self, records: Sequence[Record]) -> None:
        """The stream does not reach to what was read last: Redis has lost data, nobody knows how much."""
        self.begin(records)
        self.lose(None)

    def _check(self, place: int) -> None:
        if self._place is not None and place != self._place + 1:
            self.lose(place - self._place - 1 if place > self._place else None)

    def is_new(self, record: Record) -> bool:
        """Say whether a message was not read before: it may be in the stream twice if Redis lost data between."""
        known = self._publishers.pop(record.publisher, 0)
        self._publishers[record.publisher] = max(known, record.number)
        if len(self._publishers) > _PUBLISHERS:
            del self._publishers[next(iter(self._publishers))]
        return record.number > known


def order(identifier: str) -> tuple[int, ...]:
    """Return what ids of entries are compared by."""
    return tuple(int(part) for part in identifier.split("-"))
