"""Rooms from outside for blocking code, such as a web application or a job without Trio."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self

import trio

from trio_ws.codes import EXPIRED_CODE, REVOKED, CloseCode
from trio_ws.rooms.checks import check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from trio_ws.rooms.backplane import Presence
    from trio_ws.rooms.everywhere import RoomMessage
    from trio_ws.rooms.watch import RoomWatch
    from trio_ws.runtime.loop_thread import LoopThread

__all__ = ["AsyncRoomsClient", "BlockingRoomWatch", "BlockingRoomsClient"]


class AsyncRoomsClient(Protocol):
    """The methods of a `RoomsClient` that its blocking form calls."""

    async def publish(
        self, room: str, message: Any, *, exclude: str | Iterable[str] | None = None, key: str | None = None
    ) -> str:
        """Send a message to every member of a room."""

    async def broadcast(self, message: Any) -> str:
        """Send a message to all connections."""

    async def revoke(self, user: str | int | UUID, *, code: int, reason: str) -> str:
        """Close all connections of a user."""

    async def disconnect(self, room: str, member_id: str, *, code: int, reason: str) -> None:
        """Close the connection of one member."""

    async def close_room(self, room: str, *, code: int, reason: str) -> None:
        """Close the connections of all members."""

    async def total(self, room: str) -> int:
        """Return the number of members."""

    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Return the members."""

    async def history(
        self, room: str, *, after: str | datetime | None, before: str | datetime | None, limit: int
    ) -> list[RoomMessage]:
        """Return messages that are kept."""

    def watch(
        self, room: str, *, since: str | None, history: int, on_gap: Callable[[int | None], None] | None
    ) -> RoomWatch:
        """Receive a room's messages."""


class BlockingRoomWatch:
    """A room's messages, in the order of the room: an iterator, made by `BlockingRoomsClient.watch`.

    Args:
        watch: the async one, entered.
        loop: runs it.
        timeout: seconds without a message after which the iteration ends; None to wait for ever.
    """

    def __init__(self, watch: RoomWatch, loop: LoopThread, timeout: float | None) -> None:
        self._watch = watch
        self._loop = loop
        self._timeout = math.inf if timeout is None else timeout

    @property
    def recovered(self) -> bool | None:
        """Whether no message after `since` is missing; None if it was not given."""
        return self._watch.recovered

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RoomMessage:
        found = self._loop.run(self._next)
        if found is None:
            raise StopIteration
        return found

    async def _next(self) -> RoomMessage | None:
        with trio.move_on_after(self._timeout):
            return await anext(self._watch)
        return None


class BlockingRoomsClient:
    """A `RoomsClient` with blocking methods: `with connect_backplane("redis://...") as rooms`.

    Any thread of the process may call them, also several at once; each call waits for Redis for the `timeout` of
    `connect_backplane`. They raise the errors of `RoomsClient`, and `LocalProtocolError` once the block has ended, and
    in a process that was forked off within it: connect in each process.

    Args:
        client: the async one.
        loop: runs it, in a thread of its own.

    Example:
        with connect_backplane("redis://localhost") as rooms:
            rooms.publish("board:1", {"task": "done"})
    """

    def __init__(self, client: AsyncRoomsClient, loop: LoopThread) -> None:
        self._client = client
        self._loop = loop

    def publish(
        self, room: str, message: Any, *, exclude: str | Iterable[str] | None = None, key: str | None = None
    ) -> str:
        """Send a message to every member of a room in all processes; see `RoomsClient.publish`."""
        return self._loop.run(partial(self._client.publish, room, message, exclude=exclude, key=key))

    def broadcast(self, message: Any) -> str:
        """Send a message to all connections of the applications; see `RoomsClient.broadcast`."""
        return self._loop.run(self._client.broadcast, message)

    def revoke(self, user: str | int | UUID, *, code: int = EXPIRED_CODE, reason: str = REVOKED) -> str:
        """Close all connections of a user, in all processes; see `RoomsClient.revoke`."""
        return self._loop.run(partial(self._client.revoke, user, code=code, reason=reason))

    def disconnect(
        self, room: str, member_id: str, *, code: int = CloseCode.POLICY_VIOLATION, reason: str = ""
    ) -> None:
        """Close the connection of one member of a room; see `Room.disconnect`."""
        self._loop.run(partial(self._client.disconnect, room, member_id, code=code, reason=reason))

    def close_room(self, room: str, *, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connections of all members of a room; see `Room.close`."""
        self._loop.run(partial(self._client.close_room, room, code=code, reason=reason))

    def total(self, room: str) -> int:
        """Return the number of a room's members in all processes; see `Room.total`."""
        return self._loop.run(self._client.total, room)

    def presence(self, room: str) -> tuple[Presence, ...]:
        """Return a room's members in all processes; see `Room.presence`."""
        return self._loop.run(self._client.presence, room)

    def history(
        self,
        room: str,
        *,
        after: str | datetime | None = None,
        before: str | datetime | None = None,
        limit: int = 100,
    ) -> list[RoomMessage]:
        """Return messages of a room that are kept, oldest first; see `Room.history`."""
        return self._loop.run(partial(self._client.history, room, after=after, before=before, limit=limit))

    @contextmanager
    def watch(
        self,
        room: str,
        *,
        since: str | None = None,
        history: int = 0,
        on_gap: Callable[[int | None], None] | None = None,
        timeout: float | None = None,
    ) -> Generator[BlockingRoomWatch, None, None]:
        """Receive a room's messages: `with rooms.watch("board:1") as messages`, then `for message in messages`.

        Args:
            room: the room's name.
            since: as of `RoomsClient.watch`; likewise the next two.
            history: see `since`.
            on_gap: see `since`; it is called in another thread.
            timeout: seconds without a message after which the iteration ends; None to wait for ever.

        Raises:
            BackplaneUnavailable: the backplane is away, and the time to wait for it is over.
            TypeError: an argument has another type.
            ValueError: an argument is out of range.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        with self._loop.hold(self._client.watch(room, since=since, history=history, on_gap=on_gap)) as watch:
            yield BlockingRoomWatch(watch, self._loop, timeout)
