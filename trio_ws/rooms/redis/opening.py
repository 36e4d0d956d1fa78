"""Opening subscriptions to streams, many together.

A subscription begins with the newest entries of its stream, once the process is subscribed to the room's channel, so
that it misses no later entry.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from trio_ws.rooms.redis.entries import LossMarker, StreamEntry
from trio_ws.rooms.redis.ids import BEGINNING, previous_id
from trio_ws.rooms.redis.queries import Query, QueryRunner
from trio_ws.rooms.redis.stream import OwnMessages, StreamState, StreamSubscription

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client
    from trio_ws.rooms.redis.confirming import StreamConfirmer
    from trio_ws.rooms.redis.scripts import Keys

__all__ = ["StreamOpener"]

_BATCH: Final = 8
"""Rooms that are opened together where some were open before."""
_NEW_BATCH: Final = 512
"""Rooms that are opened together, else."""
_PAGE: Final = 64
_PAGES: Final = 16
"""Pages of at least so many entries in which history is searched among foreign entries: as far as scripts look."""
_RESOLUTION: Final = 2
"""Milliseconds before a room was opened without Redis that count as after it: ids of entries have whole ones."""
_DRIFT: Final = 0.001
"""Part of the time since then that does, too: a clock that is adjusted runs faster or slower by half of that."""


class StreamCatchUp(Protocol):
    """Reads all that is in a stream."""

    async def __call__(self, client: Client, stream: StreamState) -> None:
        """Deliver the entries behind the one that was read last."""


@attrs.define(eq=False)
class StreamOpener:
    """Opens subscriptions."""

    _keys: Keys
    """The names of keys."""
    _own: OwnMessages
    """The messages of this process."""
    _runner: QueryRunner
    _confirmer: StreamConfirmer
    _entries_of: Callable[[str, Sequence[Any]], Iterable[StreamEntry | LossMarker]]
    """Parses a room's entries, and leaves those out that are not ours."""
    _catch_up: StreamCatchUp
    """Reads a stream to its end."""
    _opening: dict[StreamSubscription, StreamState] = attrs.field(factory=dict, init=False)

    @property
    def is_done(self) -> bool:
        """Whether no subscription is to be opened."""
        return not self._opening

    def add(self, subscription: StreamSubscription, stream: StreamState) -> None:
        """Let a subscription be opened."""
        self._opening[subscription] = stream

    def remove(self, subscription: StreamSubscription) -> None:
        """Open a subscription no more, if it is not open."""
        self._opening.pop(subscription, None)

    async def open_next(self, client: Client, subscribed: Container[str]) -> Iterable[str]:
        """Open some subscriptions; return the rooms that are to be read then.

        Args:
            client: asks Redis.
            subscribed: the rooms whose channels are subscribed to.
        """
        new: dict[StreamState, StreamSubscription] = {}
        others: dict[StreamState, StreamSubscription] = {}
        done: list[StreamSubscription] = []
        for subscription, stream in self._opening.items():
            if len(new) >= _NEW_BATCH and len(others) >= _BATCH:
                break
            if subscription.begun:
                done.append(subscription)
                continue
            if stream.room not in subscribed:
                continue
            is_new = stream.last_id is None and len(stream.subscriptions) == 1 and not subscription.is_open
            due, most = (new, _NEW_BATCH) if is_new else (others, _BATCH)
            if len(due) < most:
                due.setdefault(stream, subscription)  # one at a time for each: the first one decides where it begins
        for subscription in done:
            del self._opening[subscription]
        await self._open_new(client, new)
        await self._open_others(client, others)
        return [stream.room for stream in others]

    async def _open_new(self, client: Client, due: Mapping[StreamState, StreamSubscription]) -> None:
        """Open streams that no subscription has read."""
        sizes = [subscription.size + 1 for subscription in due.values()]
        known = await self._confirmer.confirm(client, [*due], *sizes)
        for stream, subscription in due.items():
            found = known.get(stream)
            page = () if found is None else found.page
            if page is None:
                query = self._page_query(stream.room, "+", subscription.size + 1)
                (page,) = await self._runner.run(client, [query])
            await self._begin(client, stream, subscription, page or ())

    async def _open_others(self, client: Client, due: Mapping[StreamState, StreamSubscription]) -> None:
        known = await self._confirmer.confirm(client, [stream for stream in due if stream.last_id is None])
        times = {stream: found.time for stream, found in known.items()}
        ends = [await self._end(client, stream, each, times.get(stream, 0)) for stream, each in due.items()]
        queries = [
            self._page_query(stream.room, end, each.size + 1)
            for end, (stream, each) in zip(ends, due.items(), strict=True)
        ]
        answers = await self._runner.run(client, queries)
        for (stream, subscription), found in zip(due.items(), answers, strict=True):
            await self._begin(client, stream, subscription, found)

    def _page_query(self, room: str, end: str, size: int) -> Query:
        return Query(room, "xrevrange", self._keys.stream(room), end, "-", count=size)

    async def _begin(
        self, client: Client, stream: StreamState, subscription: StreamSubscription, page: Sequence[Any]
    ) -> None:
        """Begin with the newest entries of a stream, given newest first."""
        entries = await self._history(client, stream.room, subscription.size + 1, page)
        if stream.last_id is None:
            stream.begin(entries, page[0].identifier.decode() if page else BEGINNING)
        seen = StreamState(stream.room, self._own)
        known = [entry for entry in entries if isinstance(entry, LossMarker) or seen.note_number(entry)]
        for each in stream.ready_to_begin(subscription):  # it may be gone, if it was cancelled meanwhile
            each.begin(known)
            self._opening.pop(each, None)

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
        found = list(self._entries_of(room, page[::-1]))
        asked, more = size, max(size, _PAGE)
        for _ in range(_PAGES):
            if len(found) >= size or len(page) < asked:
                break
            query = self._page_query(room, previous_id(page[-1].identifier.decode()), more)
            (page,) = await self._runner.run(client, [query])
            found = [*self._entries_of(room, page[::-1]), *found][-size:]
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
        if not subscription.is_open:
            return "+"
        elapsed = 1000 * (trio.current_time() - subscription.opened_at)
        return str(max(0, int(now - elapsed * (1 + _DRIFT)) - _RESOLUTION))
