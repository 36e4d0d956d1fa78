"""Feeds: what subscribers have of the streams, and the one task that reads them.

A channel for each room says that its stream has grown; what is delivered is always read from the stream, after the
entry that was read last. So a message on the channel that is lost costs a moment (`poll_interval`), and a link that is
lost costs nothing that the stream still holds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.errors import BackplaneUnavailable
from trio_ws.rooms.backplane import guarded
from trio_ws.rooms.redis.client import tidy
from trio_ws.rooms.redis.heads import before, generation, order
from trio_ws.rooms.redis.options import Bell
from trio_ws.rooms.redis.queries import Queries, Query
from trio_ws.rooms.redis.records import Records
from trio_ws.rooms.redis.scripts import CONFIRM
from trio_ws.rooms.redis.stream import BEGINNING, Mark, StreamEntry, StreamState, StreamSubscription

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import GapHandler, Log, Subscriber
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.heads import StreamHeads
    from trio_ws.rooms.redis.local_delivery import LocalDelivery
    from trio_ws.rooms.redis.options import Options

__all__ = ["StreamReader", "content"]

logger: Final = logging.getLogger("trio_ws")

_AT_ONCE: Final = 8
"""Rooms that are read in one go."""
_PAGE: Final = 64
_PAGES: Final = 16
"""Pages of so many entries at least in which history is looked for among what is not ours: as far as scripts look."""
_NUMBER: Final = re.compile(rb"[0-9]{1,16}")
_PLACE: Final = re.compile(rb"[0-9]{1,15}")
_PUBLISHER: Final = re.compile(rb"[0-9a-f]{1,32}")
_RESOLUTION: Final = 2
"""Milliseconds before a room was opened without Redis that count as after it: ids of entries have whole ones."""
_DRIFT: Final = 0.001
"""Part of the time since then that does, too: a clock that is adjusted runs faster or slower by half of that."""
_CONFIRMED: Final = 64
"""Rooms that are confirmed in one go, which reads nothing of them."""
_COUNT: Final = 16
"""Entries of each that are. Both bound what may be in memory: 8 x 16 messages of the greatest size."""


def content(message: PreparedMessage) -> bytes:
    """Return a message as an entry has it: a letter for its kind, and its bytes."""
    data = message.data
    return b"t" + data.encode() if isinstance(data, str) else b"b" + data


def _entry(identifier: bytes, fields: dict[bytes, bytes], more: bool) -> StreamEntry | Mark:
    """Return an entry; raise KeyError or ValueError for one that is not ours, by the rule of the scripts."""
    place, publisher, third = [*fields][:3]  # raises
    if (place, publisher) != (b"n", b"p") or third not in (b"e", b"s") or not _PLACE.fullmatch(fields[place]):
        raise ValueError("no entry of ours")
    epoch = fields[third].decode() if third == b"e" else ""
    generation(epoch)  # raises
    if third == b"e" and not epoch:
        raise ValueError("no epoch of ours")
    if fields[b"p"] or b"d" in fields:
        return _record(identifier, fields, epoch, more)
    if not epoch:
        raise ValueError("no mark of ours")
    return Mark(identifier.decode(), int(fields[place]), epoch)


def _record(identifier: bytes, fields: dict[bytes, bytes], epoch: str, more: bool) -> StreamEntry:
    kind, data = fields[b"d"][:1], fields[b"d"][1:]
    if kind not in (b"t", b"b"):
        raise ValueError("no kind of message has that letter")
    message = PreparedMessage(data.decode() if kind == b"t" else data)
    exclude = frozenset(fields[b"x"].decode().split())
    if not _PUBLISHER.fullmatch(fields[b"p"]):
        raise ValueError("no process has that name")
    origin = fields[b"p"].decode(), _number(fields[b"s"]), epoch
    return StreamEntry(identifier.decode(), message, exclude, more, int(fields[b"n"]), *origin)


def _number(text: bytes) -> int:
    """Return a number of an entry: more digits than Redis counts exactly are not ours."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a number of ours")
    return int(text)


class StreamReader:
    """All feeds of a backplane; see the module.

    Args:
        options: the backplane's.
        feeds: where to put them, by the names of rooms.
        local: has what this process has published.
        heads: those of all streams.
    """

    def __init__(
        self, options: Options, feeds: dict[str, StreamState], local: LocalDelivery, heads: StreamHeads
    ) -> None:
        self._options = options
        self._keys = options.keys
        self._feeds = feeds
        self._local = local
        self._heads = heads
        self._unconfirmed: list[str] = []  # rooms of which nothing is read, and that may have lost data
        self._channels: dict[bytes, str] = {}  # those that are subscribed to, and the rooms they tell of
        self._news: dict[str, None] = {}  # rooms to read, in the order in which they are due
        self._opening: dict[StreamSubscription, StreamState] = {}
        self._changed = False  # rooms have come or gone since the channels were tuned
        self._queries = Queries(options.command_timeout)
        self._foreign = Records()
        self._bell = Bell()
        self._poll_due = self._touch_due = 0.0

    # --- for subscribers -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler
    ) -> AsyncGenerator[Log, None]:
        """See `Backplane.subscribe`."""
        feed = self._feeds.setdefault(room, StreamState(room, self._local))
        subscription = StreamSubscription(feed, self._local, guarded(deliver, room), guarded(gap, room), history)
        feed.subscriptions.append(subscription)
        self._opening[subscription] = feed
        self._changed = True
        self._bell.ring()
        try:
            with self._local.expects(subscription):
                await self._within_timeout(subscription.opened, f"the room {room!r} could not be opened")
            yield subscription.log
        finally:
            self._opening.pop(subscription, None)
            feed.subscriptions.remove(subscription)
            if not feed.subscriptions:
                del self._feeds[room]
                self._local.passed(room)
                self._changed = True
                self._bell.ring()

    async def sync(self, room: str) -> None:
        """See `Backplane.sync`."""
        feed = self._feeds.get(room)
        if feed is None:
            await trio.lowlevel.checkpoint()
            return
        done = trio.Event()
        feed.syncs.append(done)
        self._mark(room)
        try:
            await self._within_timeout(done, f"the messages of the room {room!r} could not be read")
        finally:
            feed.syncs.remove(done)

    async def _within_timeout(self, event: trio.Event, problem: str) -> None:
        timeout = self._options.publish_timeout
        with trio.move_on_after(timeout):
            await event.wait()
            return
        raise BackplaneUnavailable(f"{problem}: Redis has not answered for {timeout:g} s (publish_timeout)")

    def _mark(self, room: str) -> None:
        self._news[room] = None
        self._bell.ring()

    # --- over one link -------------------------------------------------------------------------------------------

    async def listen(self, pubsub: Any) -> None:
        """Hear which streams have grown, until the link breaks."""
        while True:
            message = await pubsub.get_message()
            room = self._channels.get(message["channel"]) if message is not None else None
            if room is not None:
                self._mark(room)
                if room in self._feeds:
                    self._feeds[room].called = True

    async def run(self, client: Client, pubsub: Any) -> None:
        """Read, until the link breaks.

        Raises:
            Exception: the link broke. Over the next one, reading goes on where it was.
        """
        self._channels, self._changed = {}, True
        self._touch_due = trio.current_time()  # the link before this one may have been too short for it
        for feed in self._feeds.values():
            feed.verified = False
        self._unconfirmed = [*self._heads.elsewhere()]
        self._poll()
        while True:
            await self._tune(pubsub)
            await self._open(client)
            await self._read(client)
            await self._touch(client)
            await self._confirm_next(client)
            if trio.current_time() >= self._poll_due:
                self._poll()
            if not (self._news or self._opening or self._unconfirmed):
                await self._bell.wait(min(self._poll_due, self._touch_due) - trio.current_time())

    def _poll(self) -> None:
        """Let all rooms be read: a stream may have grown without our hearing of it.

        One of which there were news, and nothing to read, may have begun anew, before what was read of it.
        """
        for feed in self._feeds.values():
            feed.verified, feed.called = feed.verified and not feed.called, False
        self._news.update(dict.fromkeys(self._feeds))
        self._poll_due = trio.current_time() + self._options.poll_interval

    async def _tune(self, pubsub: Any) -> None:
        """Subscribe to the channels of rooms that have feeds now, and to no others."""
        if not self._changed:
            return
        self._changed = False
        wanted = {self._keys.news(room).encode(): room for room in self._feeds}
        new = [channel for channel in wanted if channel not in self._channels]
        old = [channel for channel in self._channels if channel not in wanted]
        with trio.fail_after(self._options.command_timeout):
            if new:
                await pubsub.subscribe(*new)
            if old:
                await pubsub.unsubscribe(*old)
        tidy(pubsub, (*new, *old))
        for channel in old:
            del self._channels[channel]
        for channel in new:
            self._channels[channel] = wanted[channel]
            self._mark(wanted[channel])

    async def _open(self, client: Client) -> None:
        """Open subscriptions: the log begins with what is there when nothing that comes can be missed any more."""
        self._opening = {each: feed for each, feed in self._opening.items() if not each.begun}
        due: dict[StreamState, StreamSubscription] = {}
        for subscription, feed in self._opening.items():
            if len(due) < _AT_ONCE and self._keys.news(feed.room).encode() in self._channels:
                due.setdefault(feed, subscription)  # one at a time for each: the first one decides where it begins
        times = await self._confirm(client, [feed for feed in due if feed.position is None])
        ends = [await self._end(client, feed, each, times.get(feed, 0)) for feed, each in due.items()]
        commands = [
            Query(feed.room, "xrevrange", self._keys.stream(feed.room), end, "-", count=each.size + 1)
            for end, (feed, each) in zip(ends, due.items(), strict=True)
        ]
        answers = await self._queries.ask(client, commands)
        for (feed, subscription), found in zip(due.items(), answers, strict=True):
            entries = await self._history(client, feed.room, subscription.size + 1, found)
            if feed.position is None:
                feed.begin(entries, found[0].identifier.decode() if found else BEGINNING)
            seen = StreamState(feed.room, self._local)
            known = [entry for entry in entries if isinstance(entry, Mark) or seen.is_new(entry)]
            for each in feed.waiting(subscription):  # it may be gone, if it was cancelled meanwhile
                each.begin(known)
                del self._opening[each]
            self._news[feed.room] = None

    async def _history(self, client: Client, room: str, size: int, page: Sequence[Any]) -> list[StreamEntry | Mark]:
        """Return the newest records of a room, oldest first: as many as `page` asked for, if some in it are not ours.

        Args:
            client: to ask for what is before the page.
            room: the room's name.
            size: entries of a page.
            page: the newest ones, newest first.
        """
        records = list(self._entries(room, page[::-1]))
        asked, more = size, max(size, _PAGE)
        for _ in range(_PAGES):
            if len(records) >= size or len(page) < asked:
                break
            end = before(page[-1].identifier.decode())
            query = Query(room, "xrevrange", self._keys.stream(room), end, "-", count=more)
            (page,) = await self._queries.ask(client, [query])
            records = [*self._entries(room, page[::-1]), *records][-size:]
            asked = more
        return records

    async def _end(self, client: Client, feed: StreamState, subscription: StreamSubscription, now: float) -> str:
        """Return the id up to which entries are from before a subscription; `now` is the end if it is opened alone."""
        if feed.position is not None:
            await self._catch_up(client, feed)  # what was said before is not for who comes now
            return feed.position
        if not subscription.opened.is_set():
            return "+"
        elapsed = 1000 * (trio.current_time() - subscription.since)
        return str(max(0, int(now - elapsed * (1 + _DRIFT)) - _RESOLUTION))

    async def _read(self, client: Client) -> None:
        rooms = [room for room in self._news if room in self._feeds][:_AT_ONCE]
        self._news = {room: None for room in self._news if room in self._feeds and room not in rooms}
        feeds = [self._feeds[room] for room in rooms if self._feeds[room].position is not None]
        if not feeds:
            return
        try:
            await self._read_on(client, feeds)
        except BaseException:
            self._news.update(dict.fromkeys(rooms))
            raise

    async def _catch_up(self, client: Client, feed: StreamState) -> None:
        while await self._read_on(client, [feed]):
            await self._touch(client)

    async def _read_on(self, client: Client, feeds: Sequence[StreamState]) -> bool:
        """Deliver the next entries of some feeds; say whether there may be more, which is news again then."""
        await self._verify(client, [feed for feed in feeds if not feed.verified])
        for feed in feeds:
            self._news.pop(feed.room, None)
        syncs = [feed.syncs[:] for feed in feeds]
        queries = [
            Query(feed.room, "xread", {self._keys.stream(feed.room): feed.position}, count=_COUNT) for feed in feeds
        ]
        answers = await self._queries.ask(client, queries)
        more = False
        for feed, answer, done in zip(feeds, answers, syncs, strict=True):
            entries = [entry for found in dict(answer or ()).values() for entry in found]
            feed.take(self._entries(feed.room, entries))
            if entries:
                feed.called = False
                feed.position = entries[-1].identifier.decode()  # also if the last one is not ours
                self._heads.note(feed.room, feed.position, feed.epoch)
            self._local.passed(feed.room)
            if len(entries) == _COUNT:
                self._news[feed.room] = None
                more = True
            else:
                for event in done:
                    event.set()
        return more

    async def _verify(self, client: Client, feeds: Sequence[StreamState]) -> None:
        """See that streams are those that were read before, above all over a new link."""
        await self._confirm(client, feeds)
        for feed in feeds:
            feed.verified = True

    async def _confirm(self, client: Client, feeds: Sequence[StreamState]) -> dict[StreamState, float]:
        """Have Redis mark streams that have lost data, and let them live on; return its time at each, in ms."""
        answers = await self._queries.ask(client, [self._confirmation(feed.room, feed) for feed in feeds])
        known = {feed: answer for feed, answer in zip(feeds, answers, strict=True) if answer}
        for feed, (_, newest, place, epoch) in known.items():
            if feed.position is not None and order(newest.decode()) < order(feed.position):
                feed.begin_again(newest.decode(), int(place), epoch.decode())
        return {feed: float(known[feed][0]) if feed in known else 0.0 for feed in feeds}

    async def _confirm_next(self, client: Client) -> None:
        """Have some of those streams confirmed of which nothing is read here."""
        rooms, self._unconfirmed = self._unconfirmed[:_CONFIRMED], self._unconfirmed[_CONFIRMED:]
        queries = [self._confirmation(room) for room in rooms if room not in self._feeds]
        await self._queries.ask(client, queries)

    def _confirmation(self, room: str, feed: StreamState | None = None) -> Query:
        milliseconds, head = int(self._options.retention * 1000), self._heads.of(room)
        use = "" if feed is None else "opened" if feed.position is None else "held"
        arguments = [milliseconds, self._keys.news(room), *head.arguments, use]
        return Query(room, "eval", CONFIRM, keys=[self._keys.stream(room)], args=arguments)

    async def _touch(self, client: Client) -> None:
        """Let streams live on that are quiet, and have subscribers, when it is time."""
        if trio.current_time() < self._touch_due:
            return
        self._touch_due = trio.current_time() + self._options.retention / 4
        feeds = [feed for feed in self._feeds.values() if feed.position is not None]
        for start in range(0, len(feeds), _CONFIRMED):
            await self._verify(client, feeds[start : start + _CONFIRMED])

    def _entries(self, room: str, entries: Sequence[Any]) -> Iterable[StreamEntry | Mark]:
        for left, entry in zip(range(len(entries) - 1, -1, -1), entries, strict=True):
            try:
                yield _entry(entry.identifier, entry.field_values, more=left > 0)
            except (KeyError, ValueError):
                if self._foreign.begins((room, entry.identifier)):
                    logger.warning(
                        "the room %r has an entry that is not ours, it is skipped: %r", room, entry.identifier
                    )
