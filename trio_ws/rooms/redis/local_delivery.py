"""The states of this process's messages, from publishing to reading.

A message is held from the time it gets its number until it is read from the stream, or is certain not to get there. A
subscription notes the numbers that it was delivered early, and skips these messages when they are read.
`docs/internals/redis.md` shows the states of a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from trio_ws.rooms.redis.early_delivery import EarlyDelivery
from trio_ws.rooms.redis.ids import BEGINNING, id_key
from trio_ws.rooms.redis.pending import PendingPublish, PendingQueue

if TYPE_CHECKING:
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.redis.entries import StreamEntry
    from trio_ws.rooms.redis.options import Options
    from trio_ws.rooms.redis.stream import StreamState, StreamSubscription

__all__ = ["LocalDelivery"]


class LocalDelivery:
    """Follows the messages of this process through their states.

    Args:
        options: the backplane's.
        process: names this process among all.
        streams: the streams that this process reads, by the names of rooms.
    """

    def __init__(self, options: Options, process: str, streams: Mapping[str, StreamState]) -> None:
        self.process: str = process
        self.queue: PendingQueue = PendingQueue()
        self.early: EarlyDelivery = EarlyDelivery(options, process, streams, self.queue)
        self._active = options.local_after is not None
        self._limit = options.max_waiting
        self._streams = streams

    @property
    def newest_number(self) -> int:
        """The greatest number that was given to a message."""
        return self.queue.newest_number

    # --- events of publishing ------------------------------------------------------------------------------------

    def create(
        self, room: str, message: PreparedMessage, exclude: frozenset[str], *, keyed: bool = False, order: bool = False
    ) -> PendingPublish | None:
        """Return a pending message; None if nothing is delivered early."""
        return PendingPublish(room, message, exclude, keyed, order) if self._active else None

    def on_numbered(self, pending: PendingPublish, number: int, now: float) -> None:
        """Hold a message under its number, which may replace another one, from now on."""
        if pending.number:
            self._renumber(pending, number)
        self.queue.add(pending, number)
        self.early.schedule(pending, now)

    def _renumber(self, pending: PendingPublish, number: int) -> None:
        """Give a message another number, behind later ones that were accepted.

        If it was delivered early, the later ones have to be delivered before it gets its new place in the order.
        """
        for later in self.queue.in_room(pending.room) if pending.delivered else ():
            self.early.make_due(later)
        self.early.deliver(pending.room)
        self._remove(pending)
        for subscription in self.early.open_subscriptions(pending.room):
            subscription.renumber(pending.number, number)

    def on_accepted(self, pending: PendingPublish, entry_id: str) -> None:
        """Note the id of a message that Redis has acknowledged."""
        if pending not in self.queue:
            return  # it was read already
        pending.id, pending.uncertain = entry_id, False
        stream = self._streams.get(pending.room)
        if stream is None or not stream.will_read(entry_id):
            self._remove(pending)
            return
        self._await_reading(pending)
        self.early.unblock(pending.room)  # it is behind the entries that any subscription has begun with

    def _await_reading(self, pending: PendingPublish) -> None:
        self.queue.await_reading(pending)
        excess = self.queue.oldest_beyond(self._limit)
        if excess is not None:
            self._shed(excess)

    def _shed(self, pending: PendingPublish) -> None:
        """Drop the oldest message to be read, as reading is far behind."""
        if pending.uncertain:
            self._remove(pending)
            return
        self.early.make_due(pending)
        self.early.deliver(pending.room)
        self._remove(pending)
        for subscription in self.early.open_subscriptions(pending.room):
            if pending.number in subscription.delivered_early:
                subscription.log.missing_number = pending.number

    def on_abandoned(self, pending: PendingPublish, *, sent: bool) -> None:
        """Stop publishing a message.

        Args:
            pending: the message.
            sent: whether it may be in the stream, or get there. Then it keeps its place: it may be read later, and
                members must not receive it after a later one.
        """
        if not (sent and pending.room in self._streams):
            self._remove(pending)
        elif pending in self.queue:
            pending.uncertain = True
            self._await_reading(pending)
            self.early.unblock(pending.room)
            if not pending.deliver_at or pending.deliver_at <= trio.current_time():  # no timer ran: we were frozen
                self.early.make_due(pending)
                self.early.deliver(pending.room)
        for subscription in () if sent else self.early.open_subscriptions(pending.room):
            subscription.delivered_early.pop(pending.number, None)

    def on_known(self, pending: PendingPublish) -> None:
        """Drop a message that is in the stream already, with another number."""
        self._remove(pending)

    def on_refused(self, pending: PendingPublish) -> None:
        """Drop a message that Redis has refused."""  # subscriptions that received it recognise its number
        self._remove(pending)

    # --- events of reading ---------------------------------------------------------------------------------------

    def on_read(self, room: str, entry: StreamEntry) -> None:
        """Drop a message that was read, and earlier ones not there."""
        if entry.publisher != self.process:
            return
        if (first := self.queue.take_first(room, entry.number)) is not None:
            first.delivered = True
            self.early.unblock(room)
            return
        for pending in self.queue.up_to(room, entry.number):
            if pending.number == entry.number:
                pending.delivered = True
                self._remove(pending)
            elif pending.uncertain:
                self._remove(pending)  # numbers grow within a stream: it is not there

    def drop_passed(self, room: str) -> None:
        """Drop messages that will not be read any more."""
        stream = self._streams.get(room)
        for pending in self.queue.in_room(room):
            if stream is None:
                if pending.id is not None or pending.uncertain:
                    self._remove(pending)
            elif pending.uncertain:
                continue
            elif pending.id is None or id_key(pending.id) > id_key(stream.last_id or BEGINNING):
                break
            else:
                self._remove(pending)

    def early_entries(self, room: str, subscription: StreamSubscription, last_id: str | None) -> list[StreamEntry]:
        """Return the unread entries that a subscription was delivered early; see `OwnMessages`."""
        return self.early.entries(room, subscription, last_id)

    def _remove(self, pending: PendingPublish) -> None:
        self.queue.remove(pending)
        self.early.unblock(pending.room)
