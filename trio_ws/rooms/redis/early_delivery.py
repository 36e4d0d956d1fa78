"""Early delivery of this process's messages to its own members.

It happens when Redis is away or slow. Within a room messages are delivered in the order of their numbers, so no message
overtakes another one of its publisher.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.rooms.redis.entries import StreamEntry
from trio_ws.rooms.redis.ids import BEGINNING
from trio_ws.rooms.redis.replay import StreamPosition
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from trio_ws.rooms.redis.options import Options
    from trio_ws.rooms.redis.pending import PendingPublish, PendingQueue
    from trio_ws.rooms.redis.stream import StreamState, StreamSubscription

__all__ = ["EarlyDelivery"]

logger: Final = logging.getLogger("trio_ws")


class EarlyDelivery:
    """Delivers pending messages that are due, and opens subscriptions without Redis.

    Args:
        options: the backplane's.
        process: names this process among all.
        streams: the streams that this process reads, by the names of rooms.
        queue: the pending messages.
    """

    def __init__(self, options: Options, process: str, streams: Mapping[str, StreamState], queue: PendingQueue) -> None:
        self.delay: float = options.local_after or 0.0
        """Seconds after which a message is delivered early while there is a connection."""
        self.connected: bool = False
        """Whether there is a connection to Redis."""
        self._active = options.local_after is not None
        self._process = process
        self._limit = 4 * options.max_waiting
        self._streams = streams
        self._queue = queue
        self._due_rooms: set[str] = set()  # rooms with a message that is due
        self._blocked_rooms: set[str] = set()  # rooms in which a message that is due has to wait for another one
        self._opening: dict[StreamSubscription, float] = {}  # and when to open them without Redis
        self._next_wake = math.inf
        self._wakeup = AutoResetEvent()
        self._scope = trio.CancelScope(shield=True)

    # --- the task ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver messages when they are due, until `end`."""
        with self._scope:
            while True:
                self._next_wake = self.step()
                with trio.move_on_after(max(0, self._next_wake - trio.current_time())):
                    await self._wakeup.sleep()

    def end(self) -> None:
        """End `run`."""
        self._scope.cancel(reason="the backplane ends")

    def step(self) -> float:
        """Deliver the messages that are due; return when others will be."""
        now = trio.current_time()
        while (pending := self._queue.next_timed) and (not self.connected or pending.deliver_at <= now):
            self.make_due(pending)
        times = self._open_alone(now)
        if pending := self._queue.next_timed:
            times.append(pending.deliver_at)
        for room in [*self._due_rooms]:
            self.deliver(room)
        return min(times, default=math.inf)

    def _open_alone(self, now: float) -> list[float]:
        """Open subscriptions without Redis when due; return when others will be."""
        if self.connected:
            return []
        for subscription in [each for each, open_at in self._opening.items() if open_at <= now]:
            del self._opening[subscription]
            subscription.open_alone()
            self._due_rooms.add(subscription.room)
        return [*self._opening.values()]

    def set_connected(self, *, connected: bool) -> None:
        """Note whether there is a connection; without one, every message is due."""
        self.connected = connected
        self._due_rooms.update(self._queue.rooms)
        self._wakeup.wake()

    def add_opening(self, subscription: StreamSubscription, now: float) -> None:
        """Open a subscription without Redis when `delay` has passed, until `remove_opening`."""
        if self._active:
            self._opening[subscription] = now + self.delay
            if not self.connected:
                self._wakeup.wake()

    def remove_opening(self, subscription: StreamSubscription) -> None:
        """Open a subscription by itself no more."""
        self._opening.pop(subscription, None)

    # --- messages ------------------------------------------------------------------------------------------------

    def schedule(self, pending: PendingPublish, now: float) -> None:
        """Deliver a message after `delay`, or soon if it is due already; one with a key is never due by itself."""
        if pending.keyed and pending.deliver_at:
            return
        if pending.deliver_at:
            self._queue.set_timer(pending, now + self.delay)
        else:
            self._due_rooms.add(pending.room)
        if not self.connected or pending.deliver_at < self._next_wake:
            self._wakeup.wake()

    def make_due(self, pending: PendingPublish) -> None:
        """Let a message be delivered with the next delivery in its room."""
        self._queue.make_due(pending)
        self._due_rooms.add(pending.room)

    def unblock(self, room: str) -> None:
        """Deliver soon what waited for another message, which is settled now."""
        if room in self._blocked_rooms:
            self._blocked_rooms.discard(room)
            self._due_rooms.add(room)
            self._wakeup.wake()

    def deliver(self, room: str) -> None:
        """Deliver the messages of a room that are due."""
        self._due_rooms.discard(room)
        for subscription in self.open_subscriptions(room):
            due = [*self._due(room, subscription)]
            for index, pending in enumerate(due, 1):
                pending.delivered = True
                entry = self._entry(pending, self._streams[room].last_id, more=index < len(due))
                try:
                    subscription.deliver_early(entry, self._limit)
                except Exception:
                    logger.exception("error in a subscriber of room %r", room)

    def _due(self, room: str, subscription: StreamSubscription) -> Iterator[PendingPublish]:
        for pending in self._queue.in_room(room):
            if pending.number in subscription.delivered_early:
                continue
            if pending.deliver_at:
                if pending.keyed:
                    self._blocked_rooms.add(room)
                return
            if pending.number <= subscription.first_number and pending.id is None:
                # It may be in the stream before what the subscription has begun with.
                if pending.uncertain:
                    continue
                self._blocked_rooms.add(room)
                return
            yield pending

    def entries(self, room: str, subscription: StreamSubscription, last_id: str | None) -> list[StreamEntry]:
        """Return the entries that a subscription was delivered early, without uncertain ones."""
        if not subscription.delivered_early:
            return []
        return [
            self._entry(pending, last_id)
            for pending in self._queue.in_room(room)
            if pending.number in subscription.delivered_early and not pending.uncertain
        ]

    def _entry(self, pending: PendingPublish, last_id: str | None, *, more: bool = False) -> StreamEntry:
        position = str(StreamPosition(last_id or BEGINNING, {self._process: pending.number}))
        return StreamEntry(
            position,
            pending.message,
            pending.exclude,
            more,
            sequence=0,
            publisher=self._process,
            number=pending.number,
            order=pending.order,
        )

    def open_subscriptions(self, room: str) -> list[StreamSubscription]:
        """Return a room's subscriptions that are open."""
        stream = self._streams.get(room)
        return [] if stream is None else [each for each in stream.subscriptions if each.is_open]
