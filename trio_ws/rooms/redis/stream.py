"""The state of one room's stream in this process, and its subscriptions.

A message of this process may be delivered to a subscription before it is read: see `local_delivery`. It is recognised
by its number when it is read, and not delivered again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import attrs
import trio

from trio_ws.rooms.redis.entries import LossMarker, News, StreamEntry
from trio_ws.rooms.redis.ids import BEGINNING, StreamHead, id_key
from trio_ws.rooms.redis.replay import ReplayLog, StreamPosition

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import GapHandler, Subscriber

__all__ = ["OwnMessages", "StreamState", "StreamSubscription"]

logger: Final = logging.getLogger("trio_ws")

_PUBLISHERS: Final = 1024
"""Processes whose messages a stream recognises."""


class OwnMessages(Protocol):
    """The unread messages of this process, as streams need them."""

    @property
    def process(self) -> str:
        """Names this process among all."""

    @property
    def newest_number(self) -> int:
        """The greatest number that this process has given to a message."""

    def on_read(self, room: str, entry: StreamEntry) -> None:
        """Take note of an entry that was read."""

    def early_entries(self, room: str, subscription: StreamSubscription, last_id: str | None) -> list[StreamEntry]:
        """Return the unread entries that a subscription was delivered early.

        Args:
            room: the room's name.
            subscription: one to the room.
            last_id: the id of the entry that was read last; None if there was none.
        """


def _ignore() -> None:
    """Do nothing."""


class StreamSubscription:
    """One subscription to a room's stream.

    Args:
        stream: the stream.
        own: the messages of this process.
        deliver: called with each entry.
        gap: called when entries are lost.
        history: the size of the log.
    """

    def __init__(
        self, stream: StreamState, own: OwnMessages, deliver: Subscriber, gap: GapHandler, history: int
    ) -> None:
        self.log: ReplayLog = ReplayLog(
            history, lambda: own.early_entries(stream.room, self, stream.last_id), self._is_unread
        )
        self.room: str = stream.room
        self.gap: GapHandler = gap
        self.size: int = history
        self.is_open: bool = False
        """Whether entries are delivered to it, from this process or from the stream."""
        self.on_open: Callable[[], None] = _ignore
        """Called once when it is open."""
        self.expires_at: float = math.inf
        """Trio's time from which on it is not waited for any longer."""
        self.begun: bool = False
        """Whether entries read from the stream are delivered to it."""
        self.opened_at: float = 0.0
        """Trio's time at which it was opened without Redis."""
        self.first_number: int = 0
        """Messages of this process with greater numbers are not among the entries that it began with."""
        self.delivered_early: dict[int, None] = {}
        """Numbers of the messages that it was delivered early and that are unread, oldest first."""
        self._stream = stream
        self._deliver = deliver
        self._own = own
        self._newest_delivered = 0  # of this process's messages, none with a smaller number is still to be delivered
        self._newest_forgotten = 0

    def begin(self, entries: Iterable[StreamEntry | LossMarker]) -> None:
        """Continue with entries read from the stream, after the given ones.

        It is open from now on, if it was not before.
        """
        self.begun = True
        for entry in entries:
            if isinstance(entry, LossMarker):
                self.log.break_off(entry.id)
                continue
            self.log.append(entry)
            self._was_delivered(entry)
            self._own.on_read(self.room, entry)
        if not self.is_open:
            self.first_number = self._own.newest_number
            self._open()

    @property
    def is_expired(self) -> bool:
        """Whether it is not waited for any longer."""
        return trio.current_time() >= self.expires_at

    def _open(self) -> None:
        if not self.is_open:
            self.is_open = True
            self.on_open()

    def open_alone(self) -> None:
        """Open without Redis, at the position of the stream's other subscriptions."""
        self.opened_at = trio.current_time()
        self._newest_delivered = self._own.newest_number  # but for those that it will be delivered at once
        self._open()
        if self._stream.last_id is None:
            logger.warning("room %r is opened without Redis, its history is missing", self.room)
        else:
            longest = max([each.log.read_entries() for each in self._stream.subscriptions], key=len)
            self.begin(longest)

    def deliver_early(self, entry: StreamEntry, limit: int) -> None:
        """Deliver a message of this process that is unread.

        Args:
            entry: the message.
            limit: the number of such messages that are recognised when they are read.
        """
        self.delivered_early[entry.number] = None
        self._newest_delivered = max(self._newest_delivered, entry.number)
        if len(self.delivered_early) > limit:
            self._newest_forgotten = next(iter(self.delivered_early))
            del self.delivered_early[self._newest_forgotten]
        self._deliver(entry)

    def renumber(self, old: int, new: int) -> None:
        """Recognise a message by another number, if it was delivered early."""
        if self.delivered_early.pop(old, 0) is None:
            self.delivered_early[new] = None
            self._newest_delivered = new

    def deliver_read(self, entry: StreamEntry) -> None:
        """Deliver an entry that was read, unless it was delivered early."""
        self.log.append(entry)
        if self._was_delivered(entry):
            return
        if self.delivered_early:
            position = StreamPosition(entry.id, {self._own.process: self._newest_delivered})
            entry = attrs.evolve(entry, id=str(position))
        self._deliver(entry)

    def _is_unread(self, publisher: str, number: int) -> bool:
        """Return whether reading may still deliver a message."""
        if publisher == self._own.process and number in self.delivered_early:
            return False
        return self._stream.is_unread(publisher, number)

    def _was_delivered(self, entry: StreamEntry) -> bool:
        """Return whether a message that is read now was delivered before."""
        if entry.publisher != self._own.process:
            return False
        known = entry.number in self.delivered_early or entry.number <= self._newest_forgotten
        known = known or entry.number < self._newest_delivered  # out of order: from before, or abandoned
        while self.delivered_early and next(iter(self.delivered_early)) <= entry.number:
            del self.delivered_early[next(iter(self.delivered_early))]  # earlier ones were read, or are not there
        if entry.number >= self.log.missing_number:
            self.log.missing_number = 0
        return known


class StreamState:
    """The last read entry and the subscriptions of one room's stream.

    Args:
        room: the room's name.
        own: the messages of this process.
    """

    def __init__(self, room: str, own: OwnMessages) -> None:
        self.room: str = room
        self.subscriptions: list[StreamSubscription] = []
        self.syncs: list[trio.Event] = []
        """Set when everything that is in the stream now was read."""
        self.last_id: str | None = None
        """The id of the entry that was read last; None before the stream was opened."""
        self.verified: bool = False
        """Whether it was checked, since the connection was made, that Redis has the stream that was read."""
        self.notified: bool = False
        """Whether a notification came since something was read."""
        self.epoch: str = ""
        """The epoch of the entry that was read last."""
        self._own = own
        self._sequence: int | None = 0
        self._publishers: dict[str, int] = {}  # and the greatest number that was read

    @property
    def head(self) -> StreamHead:
        """The entry that was read last."""
        return (
            StreamHead() if self.last_id is None or self.last_id == BEGINNING else StreamHead(self.last_id, self.epoch)
        )

    def begin(self, entries: Sequence[StreamEntry | LossMarker], newest_id: str = BEGINNING) -> None:
        """Continue after the newest entries.

        Args:
            entries: those of ours, oldest first.
            newest_id: the id of the newest entry, ours or not.
        """
        self.last_id, self._sequence = BEGINNING, 0
        self.verified = True
        for entry in entries:
            self._advance(entry)
            if isinstance(entry, StreamEntry):
                self.note_number(entry)
        self.last_id = newest_id

    def deliver(self, entries: Iterable[StreamEntry | LossMarker]) -> None:
        """Deliver entries that follow the last one, in order."""
        begun = self._begun()
        for entry in entries:
            if entry.epoch != self.epoch or self._sequence is None or entry.sequence != self._sequence + 1:
                self._report_gap(entry)
            self._advance(entry)
            if isinstance(entry, LossMarker):
                continue
            new = self.note_number(entry)
            if new:
                self._own.on_read(self.room, entry)
            for subscription in begun:
                if new:
                    subscription.deliver_read(entry)
                else:
                    subscription.log.break_off(entry.id)  # delivered here before Redis lost it, and not everywhere

    def deliver_news(self, news: News) -> bool:
        """Deliver the entries of a notification, if they are the next; return whether nothing is to be read.

        They are not while a subscription is being opened, which must begin at one place.
        """
        before, entries = news
        if not (self.verified and self.last_id is not None and all(each.begun for each in self.subscriptions)):
            return False
        if before == self.last_id:
            known = 0
        else:
            last = id_key(self.last_id)
            known = sum([id_key(each.id) <= last for each in entries])
        if entries[0].epoch != self.epoch and (self.epoch or known):
            return False
        if known < len(entries) and (entries[known - 1].id if known else before) != self.last_id:
            return False  # there are others between, such as those of other programs
        self.deliver(entries[known:])
        return True

    def _advance(self, entry: StreamEntry | LossMarker) -> None:
        self.last_id, self._sequence, self.epoch = entry.id, entry.sequence, entry.epoch or self.epoch

    def lose(self, missed: int | None, marker_id: str | None = None) -> None:
        """Report lost entries to the subscriptions.

        Args:
            missed: the number of entries; None if unknown.
            marker_id: the id of the loss marker in their place, if there is one.
        """
        for subscription in self._begun():
            subscription.log.break_off(marker_id)
            subscription.gap(missed)

    def ready_to_begin(self, first: StreamSubscription) -> list[StreamSubscription]:
        """Return a subscription and those opened without Redis, if not begun."""
        return [each for each in self.subscriptions if not each.begun and (each is first or each.is_open)]

    def _begun(self) -> list[StreamSubscription]:
        return [each for each in self.subscriptions if each.begun]

    def restart(self, last_id: str, sequence: int, epoch: str) -> None:
        """Continue from an earlier entry, as the last one is lost."""
        self.last_id, self._sequence, self.epoch = last_id, sequence, epoch
        self.lose(None, last_id)

    def _report_gap(self, entry: StreamEntry | LossMarker) -> None:
        """Report entries that are missing before this one."""
        marker_id = entry.id if isinstance(entry, LossMarker) else None
        if entry.epoch and entry.epoch != self.epoch and (self.epoch or marker_id):
            self.lose(None, marker_id)
        elif self._sequence is not None and entry.sequence != self._sequence + 1:
            self.lose(entry.sequence - self._sequence - 1 if entry.sequence > self._sequence else None, marker_id)

    def will_read(self, entry_id: str) -> bool:
        """Return whether an open subscription will still read an entry."""
        if self.last_id is None:
            return any(each.is_open for each in self.subscriptions)
        return id_key(entry_id) > id_key(self.last_id)

    def is_unread(self, publisher: str, number: int) -> bool:
        """Return whether a publisher's message, and all later ones, are unread."""
        return number > self._publishers.get(publisher, 0)

    def note_number(self, entry: StreamEntry) -> bool:
        """Note that a message was read, and return whether it is new.

        It may be in the stream twice if Redis lost data between.
        """
        known = self._publishers.pop(entry.publisher, 0)
        self._publishers[entry.publisher] = max(known, entry.number)
        if len(self._publishers) > _PUBLISHERS:
            del self._publishers[next(iter(self._publishers))]
        return entry.number > known
