"""The task that reads streams for their subscriptions.

Each room has a channel for notifications that its stream has grown; entries are always read from the stream, after the
entry that was read last. So a lost notification costs a moment (`poll_interval`), and a broken connection costs nothing
that the stream still holds.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.errors import BackplaneUnavailable
from trio_ws.rooms.backplane import guarded
from trio_ws.rooms.redis.client import drop_empty_waiters
from trio_ws.rooms.redis.entries import LossMarker, StreamEntry, parse_entry, parse_news
from trio_ws.rooms.redis.faults import OngoingFaults
from trio_ws.rooms.redis.ids import BEGINNING, id_key, previous_id
from trio_ws.rooms.redis.queries import Query, QueryRunner
from trio_ws.rooms.redis.scripts import CONFIRM, PRESENCE_CHANGED
from trio_ws.rooms.redis.stream import StreamState, StreamSubscription
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import GapHandler, Log, Subscriber
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.heads import StreamHeads
    from trio_ws.rooms.redis.local_delivery import LocalDelivery
    from trio_ws.rooms.redis.options import Options

__all__ = ["StreamReader"]

logger: Final = logging.getLogger("trio_ws")

_BATCH: Final = 8
"""Rooms that are read together."""
_PAGE: Final = 64
_PAGES: Final = 16
"""Pages of at least so many entries in which history is searched among foreign entries: as far as scripts look."""
_RESOLUTION: Final = 2
"""Milliseconds before a room was opened without Redis that count as after it: ids of entries have whole ones."""
_DRIFT: Final = 0.001
"""Part of the time since then that does, too: a clock that is adjusted runs faster or slower by half of that."""
_CONFIRM_BATCH: Final = 64
"""Rooms that are confirmed together, which reads nothing of them."""
_ENTRIES: Final = 16
"""Entries of each room that are read together: at most 8 x 16 messages of the greatest size are in memory."""


class StreamReader:
    """Reads the streams of all rooms that have subscriptions.

    Args:
        options: the backplane's.
        streams: where to put them, by the names of rooms.
        local: follows the messages of this process.
        heads: the heads of all streams.
    """

    def __init__(
        self,
        options: Options,
        streams: dict[str, StreamState],
        local: LocalDelivery,
        heads: StreamHeads,
        on_presence: Callable[[str], None],
    ) -> None:
        self._options = options
        self._keys = options.keys
        self._streams = streams
        self._local = local
        self._heads = heads
        self._on_presence = on_presence
        self._unconfirmed: list[str] = []  # rooms that are not read here and may have lost data
        self._channels: dict[bytes, str] = {}  # subscribed channels, and their rooms
        self._to_read: dict[str, None] = {}  # rooms to read, in the order in which they are due
        self._opening: dict[StreamSubscription, StreamState] = {}
        self._channels_stale = False  # rooms have come or gone since channels were subscribed to
        self._query_runner = QueryRunner(options.command_timeout)
        self._foreign_entries = OngoingFaults()
        self._wakeup = AutoResetEvent()
        self._poll_at = self._prolong_at = 0.0

    # --- for subscribers -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler
    ) -> AsyncGenerator[Log, None]:
        """Subscribe to a room's stream; see `Backplane.subscribe`."""
        stream = self._streams.setdefault(room, StreamState(room, self._local))
        subscription = StreamSubscription(stream, self._local, guarded(deliver, room), guarded(gap, room), history)
        stream.subscriptions.append(subscription)
        self._opening[subscription] = stream
        self._channels_stale = True
        self._wakeup.wake()
        try:
            with self._local.early.opening(subscription):
                await self._within_timeout(subscription.opened, f"room {room!r} could not be opened")
            yield subscription.log
        finally:
            self._opening.pop(subscription, None)
            stream.subscriptions.remove(subscription)
            if not stream.subscriptions:
                del self._streams[room]
                self._local.drop_passed(room)
                self._channels_stale = True
                self._wakeup.wake()

    async def sync(self, room: str) -> None:
        """Wait until a room's stream was read; see `Backplane.sync`."""
        stream = self._streams.get(room)
        if stream is None:
            await trio.lowlevel.checkpoint()
            return
        done = trio.Event()
        stream.syncs.append(done)
        self._schedule(room)
        try:
            await self._within_timeout(done, f"the messages of room {room!r} could not be read")
        finally:
            stream.syncs.remove(done)

    async def _within_timeout(self, event: trio.Event, problem: str) -> None:
        timeout = self._options.publish_timeout
        with trio.move_on_after(timeout):
            await event.wait()
            return
        raise BackplaneUnavailable(f"{problem}: Redis has not answered for {timeout:g} s (publish_timeout)")

    def _schedule(self, room: str) -> None:
        self._to_read[room] = None
        self._wakeup.wake()

    # --- over one connection -------------------------------------------------------------------------------------

    async def listen(self, pubsub: Any) -> None:
        """Receive notifications, until the connection breaks."""
        while True:
            message = await pubsub.get_message()
            room = self._channels.get(message["channel"]) if message is not None else None
            if room is not None and message["data"] == PRESENCE_CHANGED:
                self._on_presence(room)
            elif room in self._streams:
                self._on_news(self._streams[room], message["data"])

    def _on_news(self, stream: StreamState, data: bytes) -> None:
        """Deliver the entries of a notification, or schedule reading."""
        try:
            entries = parse_news(data)
        except (KeyError, ValueError):
            entries = []
        if entries and stream.deliver_news(entries):
            self._after_reading(stream)
        else:
            stream.notified = True
            self._schedule(stream.room)

    def _after_reading(self, stream: StreamState) -> None:
        stream.notified = False
        self._heads.note(stream.room, stream.last_id or BEGINNING, stream.epoch)
        self._local.drop_passed(stream.room)

    async def run(self, client: Client, pubsub: Any) -> None:
        """Read streams, until the connection breaks.

        Raises:
            Exception: the connection broke. Over the next one, reading continues where it was.
        """
        self._channels, self._channels_stale = {}, True
        self._prolong_at = trio.current_time()  # the last connection may have been too short for it
        for stream in self._streams.values():
            stream.verified = False
        self._unconfirmed = [*self._heads.unread_rooms()]
        self._poll()
        while True:
            await self._update_channels(pubsub)
            await self._open_subscriptions(client)
            await self._read_next(client)
            await self._prolong(client)
            await self._confirm_next(client)
            if trio.current_time() >= self._poll_at:
                self._poll()
            if not (self._to_read or self._opening or self._unconfirmed or self._channels_stale):
                with trio.move_on_at(min(self._poll_at, self._prolong_at)):
                    await self._wakeup.sleep()

    def _poll(self) -> None:
        """Schedule all rooms, as notifications may be lost.

        A stream with a notification and nothing to read may have begun anew, before the entry that was read last.
        """
        for stream in self._streams.values():
            stream.verified, stream.notified = stream.verified and not stream.notified, False
        self._to_read.update(dict.fromkeys(self._streams))
        self._poll_at = trio.current_time() + self._options.poll_interval

    async def _update_channels(self, pubsub: Any) -> None:
        """Subscribe to exactly the channels of the rooms that are read."""
        if not self._channels_stale:
            return
        self._channels_stale = False
        wanted = {self._keys.news(room).encode(): room for room in self._streams}
        new = [channel for channel in wanted if channel not in self._channels]
        old = [channel for channel in self._channels if channel not in wanted]
        with trio.fail_after(self._options.command_timeout):
            if new:
                await pubsub.subscribe(*new)
            if old:
                await pubsub.unsubscribe(*old)
        drop_empty_waiters(pubsub, (*new, *old))
        for channel in old:
            del self._channels[channel]
        for channel in new:
            self._channels[channel] = wanted[channel]
            self._schedule(wanted[channel])

    async def _open_subscriptions(self, client: Client) -> None:
        """Open subscriptions that cannot miss a later entry any more."""
        self._opening = {each: stream for each, stream in self._opening.items() if not each.begun}
        due: dict[StreamState, StreamSubscription] = {}
        for subscription, stream in self._opening.items():
            if len(due) < _BATCH and self._keys.news(stream.room).encode() in self._channels:
                due.setdefault(stream, subscription)  # one at a time for each: the first one decides where it begins
        times = await self._confirm(client, [stream for stream in due if stream.last_id is None])
        ends = [await self._end(client, stream, each, times.get(stream, 0)) for stream, each in due.items()]
        queries = [
            Query(stream.room, "xrevrange", self._keys.stream(stream.room), end, "-", count=each.size + 1)
            for end, (stream, each) in zip(ends, due.items(), strict=True)
        ]
        answers = await self._query_runner.run(client, queries)
        for (stream, subscription), found in zip(due.items(), answers, strict=True):
            entries = await self._history(client, stream.room, subscription.size + 1, found)
            if stream.last_id is None:
                stream.begin(entries, found[0].identifier.decode() if found else BEGINNING)
            seen = StreamState(stream.room, self._local)
            known = [entry for entry in entries if isinstance(entry, LossMarker) or seen.note_number(entry)]
            for each in stream.ready_to_begin(subscription):  # it may be gone, if it was cancelled meanwhile
                each.begin(known)
                del self._opening[each]
            self._to_read[stream.room] = None

    async def _history(
        self, client: Client, room: str, size: int, page: Sequence[Any]
    ) -> list[StreamEntry | LossMarker]:
        """Return the newest entries of a room that are ours, oldest first.

        Args:
            client: to read the entries before the page.
            room: the room's name.
            size: the number of entries that the page was to have.
            page: the newest entries, ours or not, newest first.
        """
        found = list(self._entries(room, page[::-1]))
        asked, more = size, max(size, _PAGE)
        for _ in range(_PAGES):
            if len(found) >= size or len(page) < asked:
                break
            end = previous_id(page[-1].identifier.decode())
            query = Query(room, "xrevrange", self._keys.stream(room), end, "-", count=more)
            (page,) = await self._query_runner.run(client, [query])
            found = [*self._entries(room, page[::-1]), *found][-size:]
            asked = more
        return found

    async def _end(self, client: Client, stream: StreamState, subscription: StreamSubscription, now: float) -> str:
        """Return the id up to which entries are from before a subscription.

        Args:
            client: to read the entries up to now.
            stream: the stream.
            subscription: one that has not begun.
            now: the time of Redis in ms; used if the subscription was opened without Redis.
        """
        if stream.last_id is not None:
            await self._catch_up(client, stream)  # earlier messages are not for a new member
            return stream.last_id
        if not subscription.opened.is_set():
            return "+"
        elapsed = 1000 * (trio.current_time() - subscription.opened_at)
        return str(max(0, int(now - elapsed * (1 + _DRIFT)) - _RESOLUTION))

    async def _read_next(self, client: Client) -> None:
        rooms = [room for room in self._to_read if room in self._streams][:_BATCH]
        self._to_read = {room: None for room in self._to_read if room in self._streams and room not in rooms}
        streams = [self._streams[room] for room in rooms if self._streams[room].last_id is not None]
        if not streams:
            return
        try:
            await self._read_entries(client, streams)
        except BaseException:
            self._to_read.update(dict.fromkeys(rooms))
            raise

    async def _catch_up(self, client: Client, stream: StreamState) -> None:
        while await self._read_entries(client, [stream]):
            await self._prolong(client)

    async def _read_entries(self, client: Client, streams: Sequence[StreamState]) -> bool:
        """Deliver the next entries; return whether more may be scheduled."""
        await self._verify(client, [stream for stream in streams if not stream.verified])
        for stream in streams:
            self._to_read.pop(stream.room, None)
        syncs = [stream.syncs[:] for stream in streams]
        positions = [stream.last_id for stream in streams]
        queries = [
            Query(stream.room, "xread", {self._keys.stream(stream.room): stream.last_id}, count=_ENTRIES)
            for stream in streams
        ]
        answers = await self._query_runner.run(client, queries)
        more = False
        for stream, answer, done, begun in zip(streams, answers, syncs, positions, strict=True):
            entries = [entry for found in dict(answer or ()).values() for entry in found]
            full = len(entries) == _ENTRIES
            if stream.last_id != begun and stream.last_id is not None:  # notifications had entries meanwhile
                entries = [each for each in entries if id_key(each.identifier.decode()) > id_key(stream.last_id)]
            stream.deliver(self._entries(stream.room, entries))
            if entries:
                stream.last_id = entries[-1].identifier.decode()  # also if the last one is not ours
                self._after_reading(stream)
            else:
                self._local.drop_passed(stream.room)
            if full:
                self._to_read[stream.room] = None
                more = True
            else:
                for event in done:
                    event.set()
        return more

    async def _verify(self, client: Client, streams: Sequence[StreamState]) -> None:
        """Check that streams are those that were read before."""
        await self._confirm(client, streams)
        for stream in streams:
            stream.verified = True

    async def _confirm(self, client: Client, streams: Sequence[StreamState]) -> dict[StreamState, float]:
        """Mark streams that have lost data, and prolong their life.

        Returns:
            The time of Redis at each, in ms.
        """
        positions = {stream: stream.last_id for stream in streams}
        answers = await self._query_runner.run(client, [self._confirmation(stream.room, stream) for stream in streams])
        known = {stream: answer for stream, answer in zip(streams, answers, strict=True) if answer}
        for stream, (_, newest, sequence, epoch) in known.items():
            before = positions[stream]
            if before is not None and id_key(newest.decode()) < id_key(before):
                stream.restart(newest.decode(), int(sequence), epoch.decode())
        return {stream: float(known[stream][0]) if stream in known else 0.0 for stream in streams}

    async def _confirm_next(self, client: Client) -> None:
        """Confirm some of the streams that are not read here."""
        rooms, self._unconfirmed = self._unconfirmed[:_CONFIRM_BATCH], self._unconfirmed[_CONFIRM_BATCH:]
        queries = [self._confirmation(room) for room in rooms if room not in self._streams]
        await self._query_runner.run(client, queries)

    def _confirmation(self, room: str, stream: StreamState | None = None) -> Query:
        milliseconds, head = int(self._options.retention * 1000), self._heads.head_of(room)
        use = "" if stream is None else "opened" if stream.last_id is None else "held"
        arguments = [milliseconds, self._keys.news(room), *head.arguments, use]
        return Query(room, "eval", CONFIRM, keys=[self._keys.stream(room)], args=arguments)

    async def _prolong(self, client: Client) -> None:
        """Prolong the life of quiet streams, when it is time."""
        if trio.current_time() < self._prolong_at:
            return
        self._prolong_at = trio.current_time() + self._options.retention / 4
        streams = [stream for stream in self._streams.values() if stream.last_id is not None]
        for start in range(0, len(streams), _CONFIRM_BATCH):
            await self._verify(client, streams[start : start + _CONFIRM_BATCH])

    def _entries(self, room: str, entries: Sequence[Any]) -> Iterable[StreamEntry | LossMarker]:
        for left, entry in zip(range(len(entries) - 1, -1, -1), entries, strict=True):
            try:
                yield parse_entry(entry.identifier, entry.field_values, more=left > 0)
            except (KeyError, ValueError):
                if self._foreign_entries.begins((room, entry.identifier)):
                    logger.warning("room %r has an entry that is not ours, skipping it: %r", room, entry.identifier)
