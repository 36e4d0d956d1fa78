"""The task that reads streams for their subscriptions.

Each room has a channel for notifications that its stream has grown; entries are always read from the stream, after the
entry that was read last. So a lost notification costs a moment (`poll_interval`), and a broken connection costs nothing
that the stream still holds.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.errors import BackplaneUnavailable
from trio_ws.rooms.backplane import guarded
from trio_ws.rooms.redis.callers import WaitingCallers
from trio_ws.rooms.redis.calls import run_scripts
from trio_ws.rooms.redis.client import is_cluster, is_connection_error, is_transient
from trio_ws.rooms.redis.command import ScriptCall
from trio_ws.rooms.redis.confirming import BATCH, StreamConfirmer
from trio_ws.rooms.redis.entries import LossMarker, News, StreamEntry, parse_entry, parse_news
from trio_ws.rooms.redis.faults import OngoingFaults
from trio_ws.rooms.redis.ids import BEGINNING, id_key
from trio_ws.rooms.redis.opening import StreamOpener
from trio_ws.rooms.redis.pairs import PairsEncoder
from trio_ws.rooms.redis.queries import Query, QueryRunner
from trio_ws.rooms.redis.scripts import MOVED, PRESENCE_CHANGED
from trio_ws.rooms.redis.stream import StreamState, StreamSubscription
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import GapHandler, Log, Subscriber
    from trio_ws.rooms.redis.channels import Channels
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.heads import StreamHeads
    from trio_ws.rooms.redis.local_delivery import LocalDelivery
    from trio_ws.rooms.redis.options import Options

__all__ = ["StreamReader"]

logger: Final = logging.getLogger("trio_ws")

_BATCH: Final = 8
"""Rooms that are read together."""
_POLLED: Final = 1000
"""Rooms that are polled together, so that Redis serves others in between: it takes a microsecond for each."""
_ENTRIES: Final = 16
"""Entries of each room that are read together: at most 8 x 16 messages of the greatest size are in memory."""


class StreamReader:
    """Reads the streams of all rooms that have subscriptions.

    Args:
        options: the backplane's.
        streams: where to put them, by the names of rooms.
        local: follows the messages of this process.
        heads: the heads of all streams.
        on_presence: called with rooms of which members have come or gone.
        callers: the tasks that wait for something.
    """

    def __init__(
        self,
        options: Options,
        streams: dict[str, StreamState],
        local: LocalDelivery,
        heads: StreamHeads,
        on_presence: Callable[[str], None],
        *,
        callers: WaitingCallers | None = None,
    ) -> None:
        self._options = options
        self._keys = options.keys
        self._streams = streams
        self._local = local
        self._heads = heads
        self._callers = callers or WaitingCallers()
        self._on_presence = on_presence
        self._channels: dict[bytes, str] = {}  # subscribed channels, and their rooms
        self._to_read: dict[str, None] = {}  # rooms to read, in the order in which they are due
        self._acknowledged: set[str] = set()  # rooms of these
        self._subscribed: set[str] = set()  # rooms of these, as Redis has it when it runs what is sent now
        self._called: set[str] = set()  # rooms to which a call is under way
        self._own_name = local.process.encode()
        self._channels_stale = False  # rooms have come or gone since channels were subscribed to
        self._query_runner = QueryRunner(options.command_timeout)
        self._confirmer = StreamConfirmer(options, streams, heads, self._query_runner)
        self._opener = StreamOpener(
            self._keys, local, self._query_runner, self._confirmer, self._entries, self._catch_up
        )
        self._ids = PairsEncoder(self._keys)
        self._foreign_entries = OngoingFaults()
        self._wakeup = AutoResetEvent()
        self._poll_at = 0.0
        self._verify_due = False

    # --- for subscribers -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler
    ) -> AsyncGenerator[Log, None]:
        """Subscribe to a room's stream; see `Backplane.subscribe`."""
        now, early = trio.current_time(), self._local.early
        stream = self._streams.get(room)
        if stream is None:
            stream = self._streams[room] = StreamState(room, self._local)
        subscription = StreamSubscription(stream, self._local, guarded(deliver, room), guarded(gap, room), history)
        stream.subscriptions.append(subscription)
        subscription.expires_at = now + self._options.publish_timeout
        subscription.on_open = partial(self._callers.wake, subscription)
        early.add_opening(subscription, now)
        self._opener.add(subscription, stream)
        self._channels_stale = True
        self._wakeup.wake()
        try:
            await self._callers.wait(subscription)
            early.remove_opening(subscription)
            if not (subscription.is_open or subscription.is_expired):
                raise BackplaneUnavailable(f"room {room!r} could not be opened: the application has ended")
            if not subscription.is_open:
                raise self._timeout_error(f"room {room!r} could not be opened")
            yield subscription.log
        finally:
            early.remove_opening(subscription)
            self._opener.remove(subscription)
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
        raise self._timeout_error(problem)

    def _timeout_error(self, problem: str) -> BackplaneUnavailable:
        timeout = self._options.publish_timeout
        return BackplaneUnavailable(f"{problem}: Redis has not answered for {timeout:g} s (publish_timeout)")

    def _schedule(self, room: str) -> None:
        self._to_read[room] = None
        self._wakeup.wake()

    # --- over one connection -------------------------------------------------------------------------------------

    def on_message(self, channel: bytes, data: bytes) -> None:
        """Take a notification."""
        room = self._channels.get(channel)
        if room is None:
            return
        if data == PRESENCE_CHANGED:
            self._on_presence(room)
        elif room in self._streams:
            self._on_news(self._streams[room], data)

    def begin_call(self, room: str) -> bool:
        """Return whether Redis would notify this process; see `OwnNews`."""
        self._called.add(room)
        return room in self._subscribed

    def on_appended(self, room: str, news: News | None) -> bool:
        """Deliver the entries that a call of this process has appended, or schedule reading; see `OwnNews`."""
        self._called.discard(room)
        stream = self._streams.get(room)
        if stream is None:
            return False
        if news is not None and stream.deliver_news(news):
            self._after_reading(stream)
            return True
        self._schedule(room)
        return False

    def _on_news(self, stream: StreamState, data: bytes) -> None:
        """Deliver the entries of a notification, or schedule reading."""
        if stream.room in self._called and data.split(b" ", 3)[2:3] == [self._own_name]:
            stream.notified = True  # the answer to the call has the same entries, or they are read after it
            return
        try:
            news = parse_news(data, self._local.process, self._local.queue.rooms.get(stream.room, {}))
        except ValueError:
            news = None
        if news is not None and stream.deliver_news(news):
            self._after_reading(stream)
        else:
            stream.notified = True
            self._schedule(stream.room)

    def _after_reading(self, stream: StreamState) -> None:
        stream.notified = False
        self._heads.note(stream.room, stream.last_id or BEGINNING, stream.epoch)
        self._local.drop_passed(stream.room)

    async def run(self, client: Client, channels: Channels) -> None:
        """Read streams, until the connection breaks.

        Raises:
            Exception: the connection broke. Over the next one, reading continues where it was.
        """
        self._channels, self._channels_stale = {}, True
        self._confirmer.on_connection()
        self._to_read.update(dict.fromkeys(self._streams))
        self._verify_due = True
        self._poll_at = trio.current_time() + self._options.poll_interval
        try:
            await self._run(client, channels)
        finally:
            self._subscribed, self._acknowledged, self._called = set(), set(), set()

    async def _run(self, client: Client, channels: Channels) -> None:
        while True:
            await self._update_channels(channels)
            self._to_read.update(dict.fromkeys(await self._opener.open_next(client, self._acknowledged)))
            await self._read_next(client)
            await self._confirmer.prolong(client)
            await self._confirmer.confirm_next(client)
            if trio.current_time() >= self._poll_at:
                await self._poll(client)
            if not (self._to_read or self._channels_stale) and self._opener.is_done and self._confirmer.is_done:
                with trio.move_on_at(min(self._poll_at, self._confirmer.prolong_at)):
                    await self._wakeup.sleep()

    async def _poll(self, client: Client) -> None:
        """Schedule the rooms that have entries to read, as notifications may be lost.

        A stream with a notification and nothing to read may have begun anew, before the entry that was read last.
        """
        self._poll_at = trio.current_time() + self._options.poll_interval
        alone, quiet = is_cluster(client), []
        for stream in self._streams.values():
            if stream.verified and not stream.notified and not alone:
                quiet.append(stream)
                continue
            if stream.notified:
                stream.verified, stream.notified, self._verify_due = False, False, True
            self._to_read[stream.room] = None
        for start in range(0, len(quiet), _POLLED):
            await self._poll_quiet(client, quiet[start : start + _POLLED], start)
        self._ids.forget(len(quiet))

    async def _poll_quiet(self, client: Client, streams: Sequence[StreamState], place: int) -> None:
        """Schedule those of the rooms that have entries to read, with one call for all."""
        ids = self._ids.encode(place, [part for each in streams for part in (each.room, each.last_id)])
        call = ScriptCall("", MOVED, (), (self._keys.before_tag, ids))
        with trio.fail_after(self._options.command_timeout):
            (answer,) = await run_scripts(client, [call])
        if is_connection_error(answer) or is_transient(answer):
            raise answer
        if isinstance(answer, Exception):
            answer = [(2 * index + 1, 1) for index in range(len(streams))]
        moved = {streams[place // 2].room: None for place, _ in answer}
        self._to_read.update(moved)
        self._query_runner.note_readable(stream.room for stream in streams if stream.room not in moved)

    async def _update_channels(self, channels: Channels) -> None:
        """Subscribe to exactly the channels of the rooms that are read."""
        if not self._channels_stale:
            return
        self._channels_stale = False
        wanted = {self._keys.news(room).encode(): room for room in self._streams}
        new = [channel for channel in wanted if channel not in self._channels]
        old = [channel for channel in self._channels if channel not in wanted]
        with trio.fail_after(self._options.command_timeout):
            if new:
                self._subscribed.update(wanted[channel] for channel in new)
                await channels.subscribe(*new)
            if old:
                self._subscribed.difference_update(self._channels[channel] for channel in old)
                await channels.unsubscribe(*old)
        for channel in old:
            self._acknowledged.discard(self._channels.pop(channel))
        for channel in new:
            self._channels[channel] = wanted[channel]
            self._acknowledged.add(wanted[channel])
            stream = self._streams.get(wanted[channel])
            if stream is not None and stream.last_id is not None:
                self._to_read[stream.room] = None

    async def _read_next(self, client: Client) -> None:
        if self._verify_due:
            await self._verify_all(client)
        rooms = [*islice(self._to_read, _BATCH)]
        for room in rooms:
            del self._to_read[room]
        streams = [stream for room in rooms if (stream := self._streams.get(room)) and stream.last_id is not None]
        if not streams:
            return
        try:
            await self._read_entries(client, streams)
        except BaseException:
            self._to_read.update(dict.fromkeys(rooms))
            raise

    async def _verify_all(self, client: Client) -> None:
        """Verify many streams that are to be read, of which few have entries to read."""
        streams = [stream for room in self._to_read if (stream := self._streams.get(room))]
        unverified = [stream for stream in streams if not stream.verified and stream.last_id is not None]
        for start in range(0, len(unverified), BATCH):
            for stream in await self._confirmer.verify(client, unverified[start : start + BATCH]):
                if not stream.syncs and not stream.notified:
                    self._to_read.pop(stream.room, None)
                    self._local.drop_passed(stream.room)
        self._verify_due = False

    async def _catch_up(self, client: Client, stream: StreamState) -> None:
        while await self._read_entries(client, [stream]):
            await self._confirmer.prolong(client)

    async def _read_entries(self, client: Client, streams: Sequence[StreamState]) -> bool:
        """Deliver the next entries; return whether more may be scheduled."""
        unverified = [stream for stream in streams if not stream.verified]
        if unverified:
            await self._confirmer.verify(client, unverified)
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

    def _entries(self, room: str, entries: Sequence[Any]) -> Iterable[StreamEntry | LossMarker]:
        for left, entry in zip(range(len(entries) - 1, -1, -1), entries, strict=True):
            try:
                yield parse_entry(entry.identifier, entry.field_values, more=left > 0)
            except (KeyError, ValueError):
                if self._foreign_entries.begins((room, entry.identifier)):
                    logger.warning("room %r has an entry that is not ours, skipping it: %r", room, entry.identifier)
