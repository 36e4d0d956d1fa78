"""Rooms that a connection is in until its handler has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_ws.errors import LocalProtocolError
from trio_ws.rooms.room import Membership, Room

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_ws.app.room_sources import Joined
    from trio_ws.rooms.registry import Rooms
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Stays"]


class Stays:
    """The rooms of one connection, besides those that it joins for a block.

    Args:
        websocket: the connection.
        rooms: finds the rooms of names.
    """

    __slots__ = ("_expected", "_memberships", "_over", "_rooms", "_websocket")

    def __init__(self, websocket: WebSocket, rooms: Rooms) -> None:
        self._websocket = websocket
        self._rooms = rooms
        self._expected: dict[Room, Room | Membership] = {}  # admitted before the answer, to be joined after it
        self._memberships: dict[Room, Membership] = {}
        self._over = False

    async def expect(self, given: Joined) -> None:
        """Ask the guards of a room that is joined once the handshake is answered.

        Raises:
            RoomForbidden: a guard refuses; likewise what it raises.
        """
        found = self._rooms.room(given) if isinstance(given, str) else given
        room = found.room if isinstance(found, Membership) else found
        await room.admit(self._websocket)
        self._expected[room] = found

    async def join_expected(self) -> None:
        """Join the rooms that were admitted before the answer."""
        for found in self._expected.values():
            await self.join(found, None, {})
        self._expected.clear()

    def is_expected(self, room: Room) -> bool:
        """Return True if the room's guards were asked before the answer."""
        return room in self._expected

    async def join(self, given: Joined, since: str | None, info: Mapping[str, Any]) -> tuple[Room, bool]:
        """Join a room unless the connection is in it; return it, and whether that was new.

        Args:
            given: the room, its name, or a membership of this connection.
            since: as of `Room.join`.
            info: as of `Room.join`.

        Raises:
            Exception: as `Room.join` raises it.
            LocalProtocolError: the handler has ended.
            TypeError: it is no room; or it is a membership, with arguments of its own or of another connection.
        """
        membership = self._membership(given, since, info)
        room = await membership.__aenter__()
        if self._over or room in self._memberships:
            await membership.__aexit__(None, None, None)
        if self._over:
            raise LocalProtocolError("the handler has ended: the connection joins no room any more")
        if room in self._memberships:
            return room, False
        self._memberships[room] = membership
        return room, True

    def _membership(self, given: Joined, since: str | None, info: Mapping[str, Any]) -> Membership:
        if isinstance(given, Membership):
            if given.websocket is not self._websocket or since is not None or info:
                raise TypeError(
                    "join() takes what room.join(ws, ...) of this connection returns, without more arguments"
                )
            return given
        room = self._rooms.room(given) if isinstance(given, str) else given
        if not isinstance(room, Room):
            raise TypeError(f"join() takes a Room or its name, not {type(room).__name__}: {room!r:.80}")
        return room.join(self._websocket, since=since, **info)

    async def leave(self, given: Room | str) -> None:
        """Leave a room that was joined here; do nothing if the connection is not in it. It is no checkpoint."""
        for room in self._memberships:
            if given in (room, room.name):
                await self._memberships.pop(room).__aexit__(None, None, None)
                return

    async def leave_all(self) -> None:
        """Leave all rooms, the latest first, and join no more. It is no checkpoint."""
        self._over = True
        while self._memberships:
            _, membership = self._memberships.popitem()
            await membership.__aexit__(None, None, None)
