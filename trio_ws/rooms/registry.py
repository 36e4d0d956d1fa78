"""The registry of rooms by name, and the tasks of rooms."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import trio

from trio_ws.connection.serialization import to_json
from trio_ws.errors import LocalProtocolError
from trio_ws.rooms.backplane import Backplane
from trio_ws.rooms.callbacks import RoomGuard
from trio_ws.rooms.checks import check_seconds
from trio_ws.rooms.options import RoomOptions
from trio_ws.rooms.patterns import Functions, RoomPatterns, guard_pattern, make_pattern
from trio_ws.rooms.room import Room, move_room
from trio_ws.rooms.spread import BackplaneOption, to_backplane
from trio_ws.rooms.topics import check_name

if TYPE_CHECKING:
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.rooms.member_queue import Policy
    from trio_ws.rooms.options import Stamp

__all__ = ["Rooms"]


class Rooms:
    """All rooms of an application.

    Iterating over it yields the rooms that have members. Rooms can be named at any time, joined only within `running`.

    Args:
        backplane: carries the messages; None for one within this process, a URL for one on Redis.
        callback_timeout: seconds that one `on_join` or `on_leave` may take, and all that are due at the end.
        encode_json: encodes messages and infos of members.

    Raises:
        TypeError: an option has another type.
        ValueError: an option makes no sense.
    """

    def __init__(
        self,
        backplane: BackplaneOption = None,
        *,
        callback_timeout: float = 5.0,
        encode_json: ToJSON = to_json,
    ) -> None:
        self.backplane: Backplane = to_backplane(backplane)
        self.encode_json: ToJSON = encode_json
        check_seconds("callback_timeout", callback_timeout)
        self.callback_timeout = callback_timeout
        self.callback_nursery: trio.Nursery | None = None
        """Runs callbacks; None when the rooms do not run."""
        self._nursery: trio.Nursery | None = None
        self._known: WeakValueDictionary[str, Room] = WeakValueDictionary()
        self._open: dict[str, Room] = {}
        self._patterns = RoomPatterns()
        self._process = secrets.token_hex(4)
        self._numbers = count(1)

    def use_backplane(self, backplane: BackplaneOption) -> None:
        """Exchange the backplane.

        Raises:
            LocalProtocolError: the rooms are running.
            TypeError: it is no backplane.
        """
        if self.callback_nursery is not None:
            raise LocalProtocolError("the rooms are running: their backplane cannot be exchanged")
        self.backplane = to_backplane(backplane)

    def room(
        self,
        name: str,
        *,
        history: int | None = None,
        history_ttl: float | None = None,
        resume: int | None = None,
        stamp: Stamp | None = None,
        policy: Policy | None = None,
        backlog: int | None = None,
    ) -> Room:
        """Return the room with a name; see `App.room` for the arguments and errors."""
        given: dict[str, Any] = {
            "history": history,
            "history_ttl": history_ttl,
            "resume": resume,
            "stamp": stamp,
            "policy": policy,
            "backlog": backlog,
        }
        given = {option: value for option, value in given.items() if value is not None}
        room = self._known.get(name) if isinstance(name, str) else None
        if room is None:
            check_name(name)
            defaults = self._patterns.defaults_for(name)
            room = self._known[name] = Room(self, name, RoomOptions(**{**defaults.options, **given}), defaults)
            return room
        for option, value in given.items():
            if getattr(room.options, option) != value:
                has = getattr(room.options, option)
                raise ValueError(f"{room!r} exists with {option}={has!r}, it cannot have {option}={value!r} too")
        return room

    def room_options(
        self,
        pattern: str,
        *,
        history: int | None = None,
        history_ttl: float | None = None,
        resume: int | None = None,
        stamp: Stamp | None = None,
        policy: Policy | None = None,
        backlog: int | None = None,
        on_join: Functions = (),
        on_leave: Functions = (),
        on_gap: Functions = (),
        on_presence: Functions = (),
        leader: Functions = (),
    ) -> None:
        """Set options and callbacks of all rooms of a pattern; see `App.room_options`."""
        given = {
            "history": history,
            "history_ttl": history_ttl,
            "resume": resume,
            "stamp": stamp,
            "policy": policy,
            "backlog": backlog,
        }
        made = make_pattern(
            pattern, given, on_join=on_join, on_leave=on_leave, on_gap=on_gap, on_presence=on_presence, leader=leader
        )
        self._patterns.add(made, self._known)

    def room_guard(self, pattern: str, guard: RoomGuard) -> None:
        """Ask a function before a connection joins a room of a pattern.

        Args:
            pattern: as of `room_options`.
            guard: called with the room and the connection; raises an error to refuse it.

        Raises:
            LocalProtocolError: a room exists whose name fits.
            TypeError: the pattern is no text.
            ValueError: no name fits the pattern.
        """
        self._patterns.add_guard(guard_pattern(pattern, guard), self._known)

    def adopt(self, other: Rooms) -> tuple[list[Room], RoomPatterns]:
        """Take over the rooms and patterns of another registry, which does not run; return them.

        Raises:
            ValueError: a room of that name exists here, and is another one.
        """
        for name, room in list(other._known.items()):
            if self._known.setdefault(name, room) is not room:
                raise ValueError(f"{room!r} exists twice: name it in one application, or hold it in neither")
            move_room(room, self)
        return list(other._known.values()), self._patterns.adopt(other._patterns)

    def take_back(self, rooms: Iterable[Room], patterns: RoomPatterns, host: Rooms) -> None:
        """Take back rooms and patterns from another registry, which has adopted them and has ended."""
        for room in rooms:
            move_room(room, self).forget(room)
            self._known[room.name] = room
        host._patterns.drop(patterns)

    def forget(self, room: Room) -> None:
        """Drop a room, which belongs to another registry now."""
        self._known.pop(room.name, None)

    def __iter__(self) -> Iterator[Room]:
        return iter([room for room in self._open.values() if room.count])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    # --- running -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run the rooms while the block runs: serve connections within it.

        When the block is cancelled, the rooms run until it has ended, so that members can leave in order. Then the
        rooms' tasks are cancelled, and callbacks that are due have `callback_timeout`.

        Raises:
            LocalProtocolError: they are running.
        """
        if self.callback_nursery is not None:
            raise LocalProtocolError("the rooms are running already")
        ready, over = trio.Event(), trio.Event()
        failure: BaseException | None = None
        async with self.backplane.running(), trio.open_nursery() as outer:
            outer.start_soon(self._run, ready, over)
            try:
                await ready.wait()
                yield
            except BaseException as error:
                failure = error  # raised as it is, not in the nursery's group
            over.set()
        if failure is not None:
            raise failure

    async def _run(self, ready: trio.Event, over: trio.Event) -> None:
        try:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as self.callback_nursery:
                    async with trio.open_nursery() as self._nursery:
                        ready.set()
                        await over.wait()
                        self._nursery.cancel_scope.cancel(reason="the rooms have ended")
                    self._nursery = None
                    self.callback_nursery.cancel_scope.deadline = trio.current_time() + self.callback_timeout
        finally:
            self._nursery = self.callback_nursery = None

    @property
    def nursery(self) -> trio.Nursery:
        """Runs the rooms' sessions.

        Raises:
            LocalProtocolError: the rooms do not run.
        """
        if self._nursery is None:
            raise LocalProtocolError("rooms can be joined only while they run: within 'async with rooms.running()'")
        return self._nursery

    # --- for rooms -----------------------------------------------------------------------------------------------

    def hold(self, room: Room) -> None:
        """Hold a room, as it has or will have members."""
        self._open[room.name] = room

    def release(self, room: Room) -> None:
        """Hold an empty room no longer."""
        self._open.pop(room.name, None)

    def next_member_id(self) -> str:
        """Return a new id for a member, unique in all processes."""
        return f"{self._process}-{next(self._numbers)}"
