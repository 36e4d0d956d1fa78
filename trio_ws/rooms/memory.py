"""The backplane within one process: a room's stream is there while somebody subscribes to it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import attrs
import trio

from trio_ws.rooms.backplane import Backplane, Entry, Log

if TYPE_CHECKING:
    from trio_ws.prepared import Prepared
    from trio_ws.rooms.backplane import Subscriber

__all__ = ["MemoryBackplane"]


@attrs.frozen(eq=False)
class _Subscription:
    log: Log
    deliver: Subscriber


class MemoryBackplane(Backplane):
    """Carries messages between the rooms of one process; several `Rooms` may share it.

    It keeps nothing of a room that nobody subscribes to.
    """

    __slots__ = ("_epoch", "_numbers", "_subscriptions")

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)  # an id from before a restart is nobody's now
        self._numbers = count(1)
        self._subscriptions: dict[str, list[_Subscription]] = {}

    async def publish(self, room: str, message: Prepared, exclude: frozenset[str]) -> str:
        """Hand a message to the room's subscribers, after a checkpoint and without waiting."""
        await trio.lowlevel.checkpoint()
        entry = Entry(f"{self._epoch}-{next(self._numbers)}", message, exclude)
        for subscription in tuple(self._subscriptions.get(room, ())):
            subscription.log.append(entry)
            subscription.deliver(entry)
        return entry.id

    @asynccontextmanager
    async def subscribe(self, room: str, deliver: Subscriber, *, history: int) -> AsyncGenerator[Log, None]:
        """Subscribe to a room; the log begins with what the longest log of the other subscribers holds."""
        log = Log(history)
        subscriptions = self._subscriptions.setdefault(room, [])
        for entry in max((each.log for each in subscriptions), key=len, default=()):
            log.append(entry)
        subscription = _Subscription(log, deliver)
        subscriptions.append(subscription)
        try:
            yield log
        finally:
            subscriptions.remove(subscription)
            if not subscriptions:
                del self._subscriptions[room]
