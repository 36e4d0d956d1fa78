"""The messages of a room as they are published, for a program without members."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Self

import trio

from trio_ws.errors import LocalProtocolError
from trio_ws.rooms.everywhere import RoomMessage, message_of
from trio_ws.rooms.member_queue import ENTRY_BYTES
from trio_ws.rooms.topics import topic_of
from trio_ws.runtime.wakeup import AutoResetEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from trio_ws.rooms.backplane import Backplane, Entry, Log

__all__ = ["MOST_HISTORY", "RoomWatch"]

logger: Final = logging.getLogger("trio_ws")

MOST_HISTORY: Final = 1000
"""Messages from before the beginning, as many as Redis holds by default."""
_BACKLOG: Final = 16 * 1024 * 1024
"""Bytes of messages that wait to be received; beyond that they are lost."""


class RoomWatch:
    """A subscription to a room for a block, made by `RoomsClient.watch`; an async iterator within the block.

    One task receives. If it is slow, messages of 16 MiB wait for it; beyond that they are dropped, which is a gap.

    Args:
        backplane: carries the messages.
        room: the room's name.
        since: begin after the message with this id.
        history: begin with so many of the latest messages.
        on_gap: called with the number of lost messages.
    """

    recovered: bool | None
    """Within the block: whether no message after `since` is missing; None if it was not given."""

    def __init__(
        self,
        backplane: Backplane,
        room: str,
        *,
        since: str | None,
        history: int,
        on_gap: Callable[[int | None], None] | None,
    ) -> None:
        if not (since is None or isinstance(since, str)):
            raise TypeError(f"since is the id of a message, a text, not {type(since).__name__}: {since!r:.80}")
        if isinstance(history, bool) or not isinstance(history, int):
            raise TypeError(f"history is a whole number, not {history!r:.80}")
        if not 0 <= history <= MOST_HISTORY:
            raise ValueError(f"history must be from 0 to {MOST_HISTORY}, not {history}")
        self.recovered = None
        self._backplane = backplane
        self._room = room
        self._since = since
        self._history = history
        self._on_gap: Callable[[int | None], None] = on_gap or self._warn
        self._waiting: deque[RoomMessage | int | None] = deque()  # with gaps in their places
        self._size = 0
        self._wakeup = AutoResetEvent()
        self._subscription: AbstractAsyncContextManager[Log] | None = None
        self._begun = False  # before, the log alone has what comes
        self._receiving = False

    async def __aenter__(self) -> Self:
        if self._subscription is not None:
            raise LocalProtocolError("the room is being watched: call watch() for another subscription")
        size = self._history if self._since is None else MOST_HISTORY
        subscription = self._backplane.subscribe(topic_of(self._room), self._deliver, history=size, gap=self._lose)
        log = await subscription.__aenter__()
        self._subscription = subscription
        self._begin(log)
        return self

    def _begin(self, log: Log) -> None:
        """Queue earlier messages before those that have come since the subscription began."""
        entries = tuple(log)
        if self._since is not None:
            replay = log.since(self._since)
            entries, self.recovered = replay.entries, replay.recovered
            if not replay.recovered:
                self._waiting.append(None)
        self._begun = True
        for entry in entries:
            self._deliver(entry)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        subscription, self._subscription = self._subscription, None
        self._wakeup.wake()  # a task that receives all the same
        return None if subscription is None else await subscription.__aexit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RoomMessage:
        """Return the next message.

        Raises:
            LocalProtocolError: outside of the block.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: no message is lost.
        """
        self._check_within()
        if self._receiving:
            raise trio.BusyResourceError(f"another task receives from {self!r}")
        self._receiving = True
        try:
            return await self._next()
        finally:
            self._receiving = False

    def _check_within(self) -> None:
        if self._subscription is None:
            raise LocalProtocolError("the room is watched within `async with rooms.watch(...) as messages`")

    async def _next(self) -> RoomMessage:
        await trio.lowlevel.checkpoint()
        while True:
            while not self._waiting:
                await self._wakeup.sleep()
                self._check_within()
            found = self._waiting.popleft()
            if isinstance(found, RoomMessage):
                self._size -= _size(found)
                return found
            self._on_gap(found)

    def _deliver(self, entry: Entry) -> None:
        if entry.order or not self._begun:
            return
        message = message_of(entry)
        self._size += _size(message)
        self._waiting.append(message)
        if self._size > _BACKLOG:
            self._drop()
        self._wakeup.wake()

    def _drop(self) -> None:
        """Drop all messages that wait, but the newest."""
        newest = self._waiting.pop()
        missed: int | None = 0
        for each in self._waiting:
            lost = 1 if isinstance(each, RoomMessage) else each
            missed = None if lost is None or missed is None else missed + lost
        self._waiting = deque((missed, newest) if self._waiting else (newest,))
        self._size = _size(newest) if isinstance(newest, RoomMessage) else 0

    def _lose(self, missed: int | None) -> None:
        if self._begun:
            self._waiting.append(missed)
            self._wakeup.wake()

    def _warn(self, missed: int | None) -> None:
        logger.warning("%r has lost messages: %s", self, "unknown number" if missed is None else missed)

    def __repr__(self) -> str:
        return f"<RoomWatch {self._room!r}>"


def _size(message: RoomMessage) -> int:
    return len(message.message) + ENTRY_BYTES
