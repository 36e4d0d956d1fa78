"""The backplane within one process."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.rooms.backplane import Backplane, Entry, GapHandler, Log, guarded, ignore_gap
from trio_ws.runtime.token_bucket import TokenBucket

if TYPE_CHECKING:
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.backplane import Presence, Subscriber
    from trio_ws.runtime.token_bucket import Allowance

__all__ = ["MemoryBackplane"]

_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")
_MOST_ACCOUNTS: Final = 10_000
"""Accounts from which on those whose tokens are all back are dropped before another is opened."""
_KEY_SECONDS: Final = 3600.0
"""As the default of `retention` with Redis."""
_MOST_KEYS: Final = 100_000


class _KnownKeys:
    """The keys of messages that were published in the last hour, and the ids of their entries."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, float]] = {}  # and until when, the oldest first

    def get(self, key: tuple[str, str]) -> str | None:
        identifier, until = self._known.get(key, ("", 0.0))
        return identifier if until > trio.current_time() else None

    def add(self, key: tuple[str, str], identifier: str) -> None:
        now = trio.current_time()
        self._known.pop(key, None)
        self._known[key] = identifier, now + _KEY_SECONDS
        while len(self._known) > _MOST_KEYS or next(iter(self._known.values()))[1] <= now:
            del self._known[next(iter(self._known))]


@attrs.frozen(eq=False, repr=False)
class _Subscription:
    log: Log
    deliver: Subscriber


class MemoryBackplane(Backplane):
    """A backplane within one process, which several `Rooms` may share.

    A room's stream exists while it has subscribers.
    """

    __slots__ = ("_accounts", "_changes", "_epoch", "_keys", "_leases", "_numbers", "_present", "_subscriptions")

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)  # an id from before a restart is unknown now
        self._numbers = count(1)
        self._subscriptions: dict[str, list[_Subscription]] = {}
        self._present: dict[str, dict[str, Presence]] = {}
        self._accounts: dict[str, TokenBucket] = {}
        self._keys: _KnownKeys = _KnownKeys()
        self._changes: dict[str, trio.Event] = {}  # to be set when the presence of a room changes
        self._leases: dict[tuple[str, str], tuple[str, float]] = {}  # holders and times of expiry

    async def publish(
        self, room: str, message: PreparedMessage, exclude: frozenset[str], *, key: str = "", order: bool = False
    ) -> str:
        """Deliver a message to the room's subscribers, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        if key and (known := self._keys.get((room, key))) is not None:
            return known
        entry = Entry(f"{self._epoch}-{next(self._numbers)}", message, exclude, time=round(time.time(), 3), order=order)
        for subscription in tuple(self._subscriptions.get(room, ())):
            subscription.log.append(entry)
            subscription.deliver(entry)
        if key:
            self._keys.add((room, key), entry.id)
        return entry.id

    @asynccontextmanager
    async def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler = ignore_gap
    ) -> AsyncGenerator[Log, None]:
        """Subscribe to a room.

        The log begins with the longest log of the other subscribers. Nothing is lost here, so `gap` is never called.
        """
        log = Log(history)
        subscriptions = self._subscriptions.setdefault(room, [])
        for entry in max((each.log for each in subscriptions), key=len, default=()):
            log.append(entry)
        subscription = _Subscription(log, guarded(deliver, room))
        subscriptions.append(subscription)
        try:
            yield log
        finally:
            subscriptions.remove(subscription)
            if not subscriptions:
                del self._subscriptions[room]

    async def sync(self, room: str) -> None:
        """Return after a checkpoint, as messages are delivered at once."""
        await trio.lowlevel.checkpoint()

    async def spend(self, account: str, allowance: Allowance, size: int, *, in_debt: bool) -> float:
        """Spend from an account of all that share this backplane, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        if account not in self._accounts and len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts = {name: each for name, each in self._accounts.items() if not each.is_full(now)}
        return self._accounts.setdefault(account, TokenBucket(allowance)).spend(now, size, in_debt=in_debt)

    def enter(self, room: str, member: Presence) -> None:
        """Add a member."""
        self._present.setdefault(room, {})[member.id] = member
        self._signal(room)

    def leave(self, room: str, member: str) -> None:
        """Remove a member."""
        present = self._present[room]
        del present[member]
        if not present:
            del self._present[room]
        self._signal(room)

    def presence_change(self, room: str) -> trio.Event:
        """Return an event that the next join or leave sets."""
        return self._changes.setdefault(room, trio.Event())

    def _signal(self, room: str) -> None:
        if room in self._changes:
            self._changes.pop(room).set()

    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Return the members of a room, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        return tuple(self._present.get(room, {}).values())

    async def lease(self, room: str, name: str, holder: str, seconds: float) -> bool:
        """Take or keep a place, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        current, expires_at = self._leases.get((room, name), (holder, now))
        if current != holder and expires_at > now:
            return False
        self._leases[room, name] = holder, now + seconds
        return True

    async def release(self, room: str, name: str, holder: str) -> None:
        """Give a place back, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        if self._leases.get((room, name), ("", 0.0))[0] == holder:
            del self._leases[room, name]

    async def history(
        self, room: str, after: str | float | None, before: str | float | None, limit: int
    ) -> Sequence[Entry]:
        """Return entries of the longest log of a room, after a checkpoint."""
        await trio.lowlevel.checkpoint()
        is_later, is_later_than_end = self._is_later(after), self._is_later(before)
        kept = max((each.log for each in self._subscriptions.get(room, ())), key=len, default=())
        found = [
            entry
            for entry in kept
            if not entry.order
            and (after is None or is_later(entry) > 0)
            and (before is None or is_later_than_end(entry) < 0)
        ]
        return found[-limit:] if after is None else found[:limit]

    def _is_later(self, bound: str | float | None) -> Callable[[Entry], float]:
        """Return a function: its result is above 0 for entries behind a bound, below 0 for those before it."""
        if bound is None:
            return lambda _: 0
        if not isinstance(bound, str):
            return lambda entry: entry.time - bound
        match = _ID.fullmatch(bound)
        if match is None:
            raise ValueError(f"no id of a message: {bound!r:.80}")
        number = int(match[2]) if match[1] == self._epoch else 0  # of an earlier run: before all that is kept
        return lambda entry: int(entry.id.rpartition("-")[2]) - number
