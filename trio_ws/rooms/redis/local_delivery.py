"""Local: hands messages of this process to its own members when Redis is away, or takes too long.

A message is held from when it gets its number to when it is read from the stream, or is certain not to come there.
Within a room what is handed on is handed on in the order of the numbers, so no message overtakes another one of its
publisher. A subscription notes the numbers that it was handed, and skips these messages when they are read.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.rooms.redis.heads import order
from trio_ws.rooms.redis.options import Bell
from trio_ws.rooms.redis.stream import BEGINNING, StreamEntry, StreamPosition

if TYPE_CHECKING:
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.redis.options import Options
    from trio_ws.rooms.redis.stream import StreamState, StreamSubscription

__all__ = ["LocalDelivery", "PendingPublish"]

logger: Final = logging.getLogger("trio_ws")


@attrs.define(eq=False)
class PendingPublish:
    """A message of this process, on its way into the stream and back."""

    room: str
    message: PreparedMessage
    exclude: frozenset[str]
    number: int = 0
    """The publisher's number for it; 0 before it has one."""
    due: float = math.inf
    """When to hand it on."""
    id: str | None = None
    """Its id in the stream, once Redis has said it."""
    heard: bool = False
    """Whether members here have had it."""
    uncertain: bool = False
    """Whether its publisher gave up after it was sent: it may be in the stream, or come there."""


class LocalDelivery:
    """What this process has published and not read; see the module.

    Args:
        options: the backplane's.
        process: names this process among all.
        feeds: those of this process, by the names of rooms.
    """

    def __init__(self, options: Options, process: str, feeds: Mapping[str, StreamState]) -> None:
        self.process: str = process
        self.newest: int = 0
        """The greatest number so far."""
        self._active = options.local_after is not None
        self._after = options.local_after or 0.0
        self._most = options.max_waiting
        self._feeds = feeds
        self._rooms: dict[str, dict[int, PendingPublish]] = {}  # in the order of the numbers
        self._clock: dict[PendingPublish, None] = {}  # those that are not due, oldest first
        self._unread: dict[PendingPublish, None] = {}  # those that are in the stream, or may be, oldest first
        self._again: set[str] = set()  # rooms with something that is due
        self._blocked: set[str] = set()  # rooms in which something that is due has to wait for another message
        self._opening: dict[StreamSubscription, float] = {}  # and when to open them without Redis
        self._linked = False
        self._wakes = math.inf  # when the task looks again, if nobody rings
        self._bell = Bell()
        self._scope = trio.CancelScope(shield=True)

    # --- what publishing tells -----------------------------------------------------------------------------------

    def own(self, room: str, message: PreparedMessage, exclude: frozenset[str]) -> PendingPublish | None:
        """Return what stands here for a message that is to be published; None if all wait for the one order."""
        return PendingPublish(room, message, exclude) if self._active else None

    def numbered(self, own: PendingPublish, number: int) -> None:
        """A message has a number, or another one."""
        if own.number:
            self._renumber(own, number)
        own.number = self.newest = number
        self._rooms.setdefault(own.room, {})[number] = own
        if own.due:
            own.due = trio.current_time() + self._after
            self._clock[own] = None
        else:
            self._again.add(own.room)
        if not self._linked or own.due < self._wakes:
            self._bell.ring()

    def _renumber(self, own: PendingPublish, number: int) -> None:
        """Redis has refused it, and has accepted later ones: if it was handed on, these have to be too, before it."""
        for later in [*self._rooms[own.room].values()] if own.heard else ():
            self._make_due(later)
        self._hand(own.room)
        self._forget(own)
        for subscription in self._subscriptions(own.room):
            subscription.rename(own.number, number)

    def accepted(self, own: PendingPublish, identifier: str) -> None:
        """Redis has told a message's id."""
        if not self._holds(own):
            return  # it was read already
        own.id, own.uncertain = identifier, False
        feed = self._feeds.get(own.room)
        if feed is None or not feed.will_read(identifier):
            self._forget(own)
            return
        self._await_reading(own)
        self._unblock(own.room)  # it is known to be behind what any subscription has begun with

    def _holds(self, own: PendingPublish) -> bool:
        return self._rooms.get(own.room, {}).get(own.number) is own

    def _await_reading(self, own: PendingPublish) -> None:
        self._unread[own] = None
        if len(self._unread) > self._most:
            self._shed(next(iter(self._unread)))

    def _shed(self, own: PendingPublish) -> None:
        """Drop the oldest message that is to be read: reading is far behind."""
        if own.uncertain:
            self._forget(own)
            return
        self._make_due(own)
        self._hand(own.room)
        self._forget(own)
        for subscription in self._subscriptions(own.room):
            if own.number in subscription.had:
                subscription.log.lacks = own.number

    def given_up(self, own: PendingPublish, *, sent: bool) -> None:
        """Stop publishing a message. Unless it was `sent`, it is not in the stream, and will not be.

        One that was sent keeps its place: it may be read later, and members shall not have it after a later one.
        """
        if not (sent and own.room in self._feeds):
            self._forget(own)
        elif self._holds(own):
            own.uncertain = True
            self._await_reading(own)
            self._unblock(own.room)
            if not own.due or own.due <= trio.current_time():  # no timer was run meanwhile: the process was frozen
                self._make_due(own)
                self._hand(own.room)
        for subscription in () if sent else self._subscriptions(own.room):
            subscription.had.pop(own.number, None)

    def refused(self, own: PendingPublish) -> None:
        """Stop publishing a message that Redis has refused; its number stays known to those that were handed it."""
        self._forget(own)

    # --- what reading tells --------------------------------------------------------------------------------------

    def read(self, room: str, record: StreamEntry) -> None:
        """An entry of a room's stream was read."""
        if record.publisher != self.process or room not in self._rooms:
            return
        for own in [*takewhile(lambda own: own.number <= record.number, self._rooms[room].values())]:
            if own.number == record.number:
                own.heard = True
                self._forget(own)
            elif own.uncertain:
                self._forget(own)  # numbers grow within a stream: it is not there

    @contextmanager
    def expects(self, subscription: StreamSubscription) -> Iterator[None]:
        """Within it a subscription is to be opened: by whoever reads, but without Redis if there is none."""
        if self._active:
            self._opening[subscription] = trio.current_time() + self._after
            self._bell.ring()
        try:
            yield
        finally:
            self._opening.pop(subscription, None)

    def passed(self, room: str) -> None:
        """A room was read on, or is read no more: what Redis has lost before that will not be read."""
        if room not in self._rooms:
            return
        feed = self._feeds.get(room)
        for own in [*self._rooms[room].values()]:
            if feed is None:
                if own.id is not None or own.uncertain:
                    self._forget(own)
            elif own.uncertain:
                continue
            elif own.id is None or order(own.id) > order(feed.position or BEGINNING):
                break
            else:
                self._forget(own)

    def handed(self, room: str, subscription: StreamSubscription, position: str | None) -> list[StreamEntry]:
        """Return what a subscription was handed and has not read yet, without what was given up."""
        mine = self._rooms.get(room, {}).values() if subscription.had else ()
        return [self._record(own, position) for own in mine if own.number in subscription.had and not own.uncertain]

    # --- handing on ----------------------------------------------------------------------------------------------

    def link(self, *, there: bool) -> None:
        """There is a link to Redis now, or there is none: then nothing waits for it."""
        self._linked = there
        self._again.update(self._rooms)
        self._bell.ring()

    async def run(self) -> None:
        """Hand on what is due, until `end`."""
        with self._scope:
            while True:
                self._wakes = self._turn()
                await self._bell.wait(self._wakes - trio.current_time())

    def end(self) -> None:
        """End `run`."""
        self._scope.cancel(reason="the backplane ends")

    def _turn(self) -> float:
        """Hand on what is due now; return when something will be."""
        now = trio.current_time()
        while self._clock:
            own = next(iter(self._clock))
            if self._linked and own.due > now:
                break
            self._make_due(own)
        due = [*self._open(now), *(own.due for own in islice(self._clock, 1))]
        for room in [*self._again]:
            self._hand(room)
        return min(due, default=math.inf)

    def _open(self, now: float) -> Collection[float]:
        """Open what cannot be opened otherwise; return when there will be more to open."""
        if self._linked:
            return ()
        for subscription in [each for each, due in self._opening.items() if due <= now]:
            del self._opening[subscription]
            subscription.open_alone()
            self._again.add(subscription.room)
        return self._opening.values()

    def _make_due(self, own: PendingPublish) -> None:
        own.due = 0
        self._clock.pop(own, None)
        self._again.add(own.room)

    def _hand(self, room: str) -> None:
        """Hand on what is due in a room."""
        self._again.discard(room)
        for subscription in self._subscriptions(room):
            ready = [*self._ready(room, subscription)]
            for place, own in enumerate(ready, 1):
                own.heard = True
                record = self._record(own, self._feeds[room].position, more=place < len(ready))
                try:
                    subscription.hand(record, 4 * self._most)
                except Exception:
                    logger.exception("error in what hears the room %r", room)

    def _ready(self, room: str, subscription: StreamSubscription) -> Iterator[PendingPublish]:
        for own in self._rooms.get(room, {}).values():
            if own.number in subscription.had:
                continue
            if own.due:
                return
            if own.number <= subscription.first and own.id is None:
                # It may be in the stream before what the subscription has begun with.
                if own.uncertain:
                    continue
                self._blocked.add(room)
                return
            yield own

    def _unblock(self, room: str) -> None:
        if room in self._blocked:
            self._blocked.discard(room)
            self._again.add(room)
            self._bell.ring()

    def _record(self, own: PendingPublish, position: str | None, *, more: bool = False) -> StreamEntry:
        cursor = StreamPosition(position or BEGINNING, {self.process: own.number})
        return StreamEntry(str(cursor), own.message, own.exclude, more, 0, self.process, own.number)

    def _subscriptions(self, room: str) -> list[StreamSubscription]:
        feed = self._feeds.get(room)
        return [] if feed is None else [each for each in feed.subscriptions if each.opened.is_set()]

    def _forget(self, own: PendingPublish) -> None:
        mine = self._rooms.get(own.room, {})
        if mine.pop(own.number, None) is not None and not mine:
            del self._rooms[own.room]
        self._clock.pop(own, None)
        self._unread.pop(own, None)
        self._unblock(own.room)
