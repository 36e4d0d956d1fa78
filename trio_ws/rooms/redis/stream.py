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

from trio_ws.rooms.backplane import Entry, GapHandler, Log, Replay, SeenAhead
from trio_ws.rooms.redis.heads import Head, order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trio_ws.rooms.backplane import Subscriber
    from trio_ws.rooms.redis.local_delivery import LocalDelivery

__all__ = ["BEGINNING", "Mark", "ReplayLog", "StreamEntry", "StreamPosition", "StreamState", "StreamSubscription"]

logger: Final = logging.getLogger("trio_ws")

BEGINNING: Final = "0-0"
"""The id before that of a stream's first entry."""
_PUBLISHERS: Final = 1024
"""Processes whose messages a feed knows again."""
_MARKS: Final = 16
"""What an id has besides that of an entry, at most: what a client says is looked at, not believed."""
_MARK: Final = 32
"""Characters of one, at most: a process has 16, and a number that takes as many is never reached."""


@attrs.frozen(eq=False)
class StreamEntry(Entry):
    """An entry of a stream, as it is in Redis."""

    place: int = 0
    """Its number in the stream: one more than that of the entry before it."""
    publisher: str = ""
    """The process that it is from."""
    number: int = 0
    """The publisher's own number for it."""
    epoch: str = ""
    """That of the stream when it was appended; empty if it is not known."""


@attrs.frozen
class Mark:
    """An entry that says that Redis has lost entries, before it or in its place: another epoch begins."""

    id: str
    place: int
    epoch: str


@attrs.frozen
class StreamPosition:
    """What a member has had: the stream up to an entry, and maybe some of what comes behind that."""

    position: str
    had: Mapping[str, int] = attrs.field(factory=dict)
    """Publishers, and the greatest number of each of which the member has had the messages up to that."""

    @classmethod
    def parse(cls, text: str) -> StreamPosition:
        """Read what `str` has made; any other text is the id of an entry that no stream has."""
        position, *marks = text.split("~", _MARKS)
        had = {publisher: number for publisher, _, number in (mark.rpartition("-") for mark in marks)}
        if not all(_is_mark(publisher, number) for publisher, number in had.items()):
            return cls(text)
        return cls(position, {publisher: int(number) for publisher, number in had.items()})

    def __str__(self) -> str:
        return "~".join([self.position, *(f"{publisher}-{number}" for publisher, number in self.had.items())])


def _is_mark(publisher: str, number: str) -> bool:
    return len(publisher) + len(number) <= _MARK and publisher.isascii() and publisher.isalnum() and number.isdecimal()


class SeenElsewhere(SeenAhead):
    """What a member has had that came back with a cursor.

    Args:
        had: the cursor's.
    """

    def __init__(self, had: Mapping[str, int]) -> None:
        self._had = {**had}

    @property
    def over(self) -> bool:
        """See `SeenAhead.over`."""
        return not self._had

    def take(self, entry: Entry) -> Entry | None:
        """See `SeenAhead.take`; the member is told an id that says what else it has had."""
        assert isinstance(entry, StreamEntry), "nothing else is in a stream"
        last = self._had.get(entry.publisher, 0)
        if entry.place and entry.number >= last:
            self.forget(entry.publisher)
        if entry.number <= last:
            return None
        if not self._had:
            return entry
        known = StreamPosition.parse(entry.id)
        return attrs.evolve(entry, id=str(StreamPosition(known.position, {**self._had, **known.had})))

    def forget(self, publisher: str) -> None:
        """None of a publisher's messages that it has had is still to come."""
        self._had.pop(publisher, None)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter([*self._had.items()])


class ReplayLog(Log):
    """The log of one subscription: what was read, and after that what it was handed and is still to be read.

    Args:
        size: how many entries are held of those that were read.
        handed: returns the others.
        comes: says whether a publisher's message with that number is still to come.
    """

    __slots__ = ("_comes", "_handed", "lacks")

    lacks: int
    """The publisher's number of a message that was handed on, is to be read, and is not held; 0 for none."""

    def __init__(
        self, size: int, handed: Callable[[], Sequence[StreamEntry]], comes: Callable[[str, int], bool]
    ) -> None:
        super().__init__(size)
        self._handed = handed
        self._comes = comes
        self.lacks = 0

    def since(self, after: str) -> Replay:
        """See `Log.since`; `after` may be what a member was told of a message that was not in the stream yet."""
        cursor = StreamPosition.parse(after)
        replay = super().since(cursor.position)
        entries = (*replay.entries, *self._handed())
        recovered = replay.recovered and not self.lacks
        if not (recovered and cursor.had):
            return Replay(entries, recovered)
        ahead = SeenElsewhere(cursor.had)
        unseen = tuple(taken for entry in entries if (taken := ahead.take(entry)) is not None)
        for publisher, number in ahead:
            if not self._comes(publisher, number):
                ahead.forget(publisher)
        return Replay(unseen, recovered=True, ahead=None if ahead.over else ahead)

    def records(self) -> list[StreamEntry]:
        """Return what was read."""
        return [entry for entry in super().__iter__() if isinstance(entry, StreamEntry)]

    def __iter__(self) -> Iterator[Entry]:
        return iter((*super().__iter__(), *self._handed()))

    def __len__(self) -> int:
        return super().__len__() + len(self._handed())


class StreamSubscription:
    """One subscription to a feed.

    Args:
        feed: what it is to.
        local: has the messages of this process.
        deliver: is handed each entry.
        gap: is told what is lost.
        history: the size of the log.
    """

    def __init__(
        self, feed: StreamState, local: LocalDelivery, deliver: Subscriber, gap: GapHandler, history: int
    ) -> None:
        self.log: ReplayLog = ReplayLog(history, lambda: local.handed(feed.room, self, feed.position), self._comes)
        self.room: str = feed.room
        self.gap: GapHandler = gap
        self.size: int = history
        self.opened: trio.Event = trio.Event()
        """Set when it is handed what is said, from here or from the stream."""
        self.begun: bool = False
        """Whether it goes on with what is read from the stream."""
        self.since: float = 0.0
        """When it was opened without Redis."""
        self.first: int = 0
        """Messages of this process with greater numbers are not in what it has begun with."""
        self.had: dict[int, None] = {}
        """The numbers of those that it was handed and that have not been read, oldest first."""
        self._feed = feed
        self._deliver = deliver
        self._local = local
        self._newest = 0  # none of this process's messages before that is still to be heard
        self._forgotten = 0

    def begin(self, entries: Iterable[StreamEntry | Mark]) -> None:
        """Go on with what will be read, after entries that are given; it is open, if it was not before."""
        self.begun = True
        for entry in entries:
            if isinstance(entry, Mark):
                self.log.break_off(entry.id)
                continue
            self.log.append(entry)
            self._has_had(entry)
            self._local.read(self.room, entry)
        if not self.opened.is_set():
            self.first = self._local.newest
            self.opened.set()

    def open_alone(self) -> None:
        """Be opened without Redis, and go on from where the feed is; from now on, if nothing was read."""
        self.since = trio.current_time()
        self._newest = self._local.newest  # but for those that it will be handed at once
        self.opened.set()
        if self._feed.position is None:
            logger.warning("the room %r is opened without Redis: its history is missing", self.room)
        else:
            longest = max([each.log.records() for each in self._feed.subscriptions], key=len)
            self.begin(longest)

    def hand(self, record: StreamEntry, limit: int) -> None:
        """Be handed a message that was not read; `limit` is of how many such numbers are known again."""
        self.had[record.number] = None
        self._newest = max(self._newest, record.number)
        if len(self.had) > limit:
            self._forgotten = next(iter(self.had))
            del self.had[self._forgotten]
        self._deliver(record)

    def rename(self, old: int, new: int) -> None:
        """A message that it was handed has another number now."""
        if self.had.pop(old, 0) is None:
            self.had[new] = None
            self._newest = new

    def take(self, record: StreamEntry) -> None:
        """Be handed an entry that was read, unless it was handed that message before."""
        self.log.append(record)
        if self._has_had(record):
            return
        if self.had:
            cursor = StreamPosition(record.id, {self._local.process: self._newest})
            record = attrs.evolve(record, id=str(cursor))
        self._deliver(record)

    def _comes(self, publisher: str, number: int) -> bool:
        """Say whether it may be handed a message by what is read from now on."""
        if publisher == self._local.process and number in self.had:
            return False
        return self._feed.is_ahead(publisher, number)

    def _has_had(self, record: StreamEntry) -> bool:
        """Say whether it was handed a message before, which is read now."""
        if record.publisher != self._local.process:
            return False
        known = record.number in self.had or record.number <= self._forgotten
        known = known or record.number < self._newest  # it would be out of order: it is from before, or was given up
        while self.had and next(iter(self.had)) <= record.number:
            del self.had[next(iter(self.had))]  # those before it are not in the stream, or were read
        if record.number >= self.log.lacks:
            self.log.lacks = 0
        return known


class StreamState:
    """How far one room's stream has been read, and who hears it.

    Args:
        room: the room's name.
        local: is told what was read.
    """

    def __init__(self, room: str, local: LocalDelivery) -> None:
        self.room: str = room
        self.subscriptions: list[StreamSubscription] = []
        self.syncs: list[trio.Event] = []
        self.position: str | None = None
        """The id of the entry that was read last; None before it was opened."""
        self.verified: bool = False
        """Whether the stream was seen to be the one that was read, since the link was made."""
        self.called: bool = False
        """Whether there were news of the stream since something was read from it."""
        self.epoch: str = ""
        """That of the entry that was read last."""
        self._local = local
        self._place: int | None = 0
        self._publishers: dict[str, int] = {}

    @property
    def head(self) -> Head:
        """The entry that was read last."""
        return Head() if self.position is None or self.position == BEGINNING else Head(self.position, self.epoch)

    def begin(self, entries: Sequence[StreamEntry | Mark], newest: str = BEGINNING) -> None:
        """Take the newest entries as those after which to go on; `newest` is the id of the last one, ours or not."""
        self.position, self._place = BEGINNING, 0
        self.verified = True
        for entry in entries:
            self._pass(entry)
            if isinstance(entry, StreamEntry):
                self.is_new(entry)
        self.position = newest

    def take(self, entries: Iterable[StreamEntry | Mark]) -> None:
        """Deliver entries, each of which follows the one before it in the stream."""
        for entry in entries:
            self._check(entry)
            self._pass(entry)
            if isinstance(entry, Mark):
                continue
            new = self.is_new(entry)
            if new:
                self._local.read(self.room, entry)
            for subscription in self._begun():
                if new:
                    subscription.take(entry)
                else:
                    subscription.log.break_off(entry.id)  # heard here before Redis lost it, and not everywhere

    def _pass(self, entry: StreamEntry | Mark) -> None:
        self.position, self._place, self.epoch = entry.id, entry.place, entry.epoch or self.epoch

    def lose(self, missed: int | None, mark: str | None = None) -> None:
        """Tell the subscribers that entries are lost; the id of a `mark` may stand in their place."""
        for subscription in self._begun():
            subscription.log.break_off(mark)
            subscription.gap(missed)

    def waiting(self, first: StreamSubscription) -> list[StreamSubscription]:
        """Return those that can begin now: the one that is first, and others that were opened without Redis."""
        return [each for each in self.subscriptions if not each.begun and (each is first or each.opened.is_set())]

    def _begun(self) -> list[StreamSubscription]:
        return [each for each in self.subscriptions if each.begun]

    def begin_again(self, position: str, place: int, epoch: str) -> None:
        """Go on from elsewhere: the stream does not reach to what was read last, and it is unknown what is lost."""
        self.position, self._place, self.epoch = position, place, epoch
        self.lose(None, position)

    def _check(self, entry: StreamEntry | Mark) -> None:
        """See that nothing is lost before an entry."""
        mark = entry.id if isinstance(entry, Mark) else None
        if entry.epoch and entry.epoch != self.epoch and (self.epoch or mark):
            self.lose(None, mark)
        elif self._place is not None and entry.place != self._place + 1:
            self.lose(entry.place - self._place - 1 if entry.place > self._place else None, mark)

    def will_read(self, identifier: str) -> bool:
        """Say whether an entry with that id is read for a subscription that is open now."""
        if self.position is None:
            return any(each.opened.is_set() for each in self.subscriptions)
        return order(identifier) > order(self.position)

    def is_ahead(self, publisher: str, number: int) -> bool:
        """Say whether a publisher's message with that number was not read yet, nor one after it."""
        return number > self._publishers.get(publisher, 0)

    def is_new(self, record: StreamEntry) -> bool:
        """Say whether a message was not read before: it may be in the stream twice if Redis lost data between."""
        known = self._publishers.pop(record.publisher, 0)
        self._publishers[record.publisher] = max(known, record.number)
        if len(self._publishers) > _PUBLISHERS:
            del self._publishers[next(iter(self._publishers))]
        return record.number > known
