"""Room: connections that hear the same messages, by name. `registry` makes rooms; messages travel over a backplane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from inspect import signature
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import attrs
import trio

from trio_ws.errors import LocalProtocolError
from trio_ws.prepared import Prepared
from trio_ws.rooms.callbacks import Callback, Callbacks
from trio_ws.rooms.seat import Member, Policy, Seat
from trio_ws.rooms.session import Session
from trio_ws.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from trio_ws.rooms.backplane import Entry
    from trio_ws.rooms.registry import Rooms

__all__ = ["Joining", "Room", "RoomOptions", "some_of"]

AnyCallback = TypeVar("AnyCallback", bound=Callback)


def _policy(_: object, attribute: attrs.Attribute[Policy], value: Policy) -> None:
    if value not in get_args(Policy):
        raise ValueError(f"{attribute.name} must be one of {', '.join(get_args(Policy))}, not {value!r}")


@attrs.frozen(kw_only=True)
class RoomOptions:
    """How a room treats its members."""

    history: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    policy: Policy = attrs.field(default="disconnect", validator=_policy)
    backlog: int = attrs.field(default=1024 * 1024, validator=attrs.validators.ge(1))


class Room:
    """A room; `Rooms.room(name)` gives it. It is open while it has members.

    A connection is a member from `join` to the end of that block, which the disconnect rule makes soon after its peer
    has left. A member that has ended gets nothing and disturbs nobody.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_joiners",
        "_on_join",
        "_on_leave",
        "_opening",
        "_publishers",
        "_rooms",
        "_seats",
        "_session",
        "name",
        "options",
    )

    name: str
    options: RoomOptions

    def __init__(self, rooms: Rooms, name: str, options: RoomOptions) -> None:
        self.name = name
        self.options = options
        self._rooms = rooms
        self._seats: dict[WebSocket, Seat] = {}
        self._session: Session | None = None
        self._opening: trio.Event | None = None
        self._joiners = 0  # tasks within join(), not members yet
        self._publishers = 0  # tasks within publish()
        self._on_join: list[Callback] = []
        self._on_leave: list[Callback] = []
        self._callbacks = Callbacks(repr(self), rooms.callback_timeout)

    # --- who is there --------------------------------------------------------------------------------------------

    @property
    def members(self) -> list[Member]:
        """Who is in the room now, in the order in which they joined."""
        return [seat.member for seat in self._seats.values()]

    @property
    def count(self) -> int:
        """How many are in the room now. It changes in the same step as a join or leave takes effect."""
        return len(self._seats)

    def join(self, websocket: WebSocket, /, **info: Any) -> Joining:
        """Be a member for a block: `async with room.join(ws, user="Ann") as room`.

        The newcomer is handed the room's history, then everything that is published, with nothing missing or doubled
        between. Leaving happens on every way out of the block, and waits for nothing; what still waits for a slow
        member then is dropped. A connection that joins again within the block stays one member until the outermost
        block ends.

        Args:
            websocket: an accepted connection.
            info: anything about the member, for `members` and the callbacks.

        Raises:
            LocalProtocolError: on entering: the connection is not accepted, or the rooms are not running.
            ValueError: on entering: it is a member already, with other info.
            trio.Cancelled: on entering: it has not joined.
        """
        return Joining(self, websocket, info)

    def on_join(self, callback: AnyCallback) -> AnyCallback:
        """Call `callback(member, count)` after each join: a decorator.

        Callbacks, functions or async functions, run in a task of the rooms', in order, one at a time, once for each
        join and leave of a connection, each for at most `callback_timeout`. `count` is the number of members right
        after the join or leave. Their errors are logged. To register a callback again changes nothing.

        Raises:
            TypeError: it cannot be called with two arguments.
        """
        return _register(callback, self._on_join)

    def on_leave(self, callback: AnyCallback) -> AnyCallback:
        """Call `callback(member, count)` after each leave, however it came about: a decorator. See `on_join`."""
        return _register(callback, self._on_leave)

    async def _enter(self, websocket: WebSocket, info: Mapping[str, Any]) -> None:
        self._joiners += 1
        self._rooms.keep(self)
        try:
            await trio.lowlevel.checkpoint()
            while self._session is None or self._session.ended:
                await self._open()
            self._sit_down(websocket, info, self._session)
        finally:
            self._joiners -= 1
            self._close_if_empty()

    def _sit_down(self, websocket: WebSocket, info: Mapping[str, Any], session: Session) -> None:
        seat = self._seats.get(websocket)
        if seat is not None:
            if info and info != seat.member.info:
                raise ValueError(f"the connection is in {self!r} already, with {dict(seat.member.info)!r}")
            seat.depth += 1
            return
        channel = websocket._open_channel()
        member = Member(websocket, MappingProxyType(dict(info)), self, self._rooms.next_member_id())
        self._seats[websocket] = seat = Seat(member, channel, self.options.policy, self.options.backlog)
        seat.hand(session.log)
        self._callbacks.add(self._on_join, member, self.count, self._rooms.calling)

    def _leave(self, websocket: WebSocket) -> None:
        seat = self._seats[websocket]
        seat.depth -= 1
        if not seat.depth:
            del self._seats[websocket]
            seat.clear()
            self._callbacks.add(self._on_leave, seat.member, self.count, self._rooms.calling)
            self._close_if_empty()

    # --- what is said --------------------------------------------------------------------------------------------

    async def publish(self, message: Any, *, exclude: WebSocket | Iterable[WebSocket] | None = None) -> str:
        """Send a message to every member, from anywhere. It never waits for a member, but it is a checkpoint.

        All members get the messages of a room in one order. One whose connection has no room for a message gets it
        later; when more than the room's `backlog` waits for it, the room's `policy` decides. Nobody gets a message
        that is published while the room has no members.

        Args:
            message: `str` is sent as text, bytes as binary, everything else as compact JSON in a text message,
                whatever the members' own `send_type` is. It is encoded once.
            exclude: members that shall not get it.

        Returns:
            The id of the message in the room's stream.

        Raises:
            TypeError: it cannot be encoded; likewise ValueError.
            trio.Cancelled: nobody got it.
        """
        prepared = Prepared(message)
        seats = (self._seats.get(websocket) for websocket in some_of(exclude))
        excluded = frozenset(seat.member.id for seat in seats if seat is not None)
        self._publishers += 1
        try:
            return await self._rooms.backplane.publish(self.name, prepared, excluded)
        finally:
            self._publishers -= 1

    def _deliver(self, entry: Entry) -> None:
        message, exclude = entry.message, entry.exclude
        hold = self._publishers > 1  # what many say at once leaves in few system calls
        for seat in self._seats.values():
            if exclude and seat.member.id in exclude:
                continue
            if seat.backlog or not seat.channel.offer(message, hold=hold):
                seat.keep(message)

    # --- what runs in it -----------------------------------------------------------------------------------------

    @property
    def nursery(self) -> trio.Nursery:
        """The room's own nursery: its tasks run while the room has members, and are cancelled when the last leaves.

        An error in one of them is logged, and cancels the others as in any nursery; another nursery takes its place.

        Raises:
            LocalProtocolError: the room has no members.
        """
        if self._session is None or self._session.ended:
            raise LocalProtocolError(f"{self!r} has a nursery only while it has members")
        return self._session.nursery

    def start_soon(self, function: Callable[..., Awaitable[object]], *arguments: Any, name: object = None) -> None:
        """Start a task in the room's nursery; see `nursery`."""
        self.nursery.start_soon(function, *arguments, name=name)

    async def _open(self) -> None:
        """Begin a session, or wait until another task has tried to."""
        if self._opening is not None:
            await self._opening.wait()
            return
        self._opening = trio.Event()
        session = Session(repr(self), self._deliver)
        rooms, history = self._rooms, self.options.history
        try:
            self._session = await rooms.nursery.start(
                session.listen, rooms.backplane, self.name, history, rooms.nursery, name=repr(self)
            )
        except BaseException:
            session.end()
            raise
        finally:
            self._opening.set()
            self._opening = None

    def _close_if_empty(self) -> None:
        if not self._seats and not self._joiners:
            if self._session is not None:
                self._session.end()
                self._session = None
            self._rooms.let_go(self)

    def __repr__(self) -> str:
        return f"<Room {self.name!r}>"


class Joining:
    """`async with` it: joins a room for a block. Made by `Room.join`."""

    __slots__ = ("_info", "_room", "_websocket")

    def __init__(self, room: Room, websocket: WebSocket, info: Mapping[str, Any]) -> None:
        self._room = room
        self._websocket = websocket
        self._info = info

    async def __aenter__(self) -> Room:
        await self._room._enter(self._websocket, self._info)
        return self._room

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room._leave(self._websocket)


def some_of(websockets: WebSocket | Iterable[WebSocket] | None) -> Iterable[WebSocket]:
    """Return what `exclude=` means: one connection, several, or none."""
    if websockets is None:
        return ()
    return (websockets,) if isinstance(websockets, WebSocket) else websockets


def _register(callback: AnyCallback, callbacks: list[Callback]) -> AnyCallback:
    try:
        signature(callback).bind(None, 0)
    except TypeError:
        problem = f"a room calls {callback!r} with two arguments, the member and the count: make it take them"
        raise TypeError(problem) from None
    if callback not in callbacks:
        callbacks.append(callback)
    return callback
