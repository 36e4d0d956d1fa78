"""Room: connections that hear the same messages, by name. `registry` makes rooms; messages travel over a backplane."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

import trio

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.errors import BackplaneUnavailable, LocalProtocolError
from trio_ws.rooms.backplane import Presence
from trio_ws.rooms.callbacks import Callback, GapCallback, RoomCallbacks, register
from trio_ws.rooms.checks import check_websocket, some_of
from trio_ws.rooms.member import Member, MemberQueue
from trio_ws.rooms.session import RoomSession
from trio_ws.rooms.topics import topic_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from trio_ws.rooms.backplane import Entry, SeenAhead
    from trio_ws.rooms.options import RoomOptions
    from trio_ws.rooms.registry import Rooms
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Membership", "Room"]

logger: Final = logging.getLogger("trio_ws")

AnyCallback = TypeVar("AnyCallback", bound=Callback)
AnyGapCallback = TypeVar("AnyGapCallback", bound=GapCallback)


class Room:
    """A room; `Rooms.room(name)` gives it. It is open while it has members.

    A connection is a member from `join` to the end of that block, which the disconnect rule makes soon after its peer
    has left. A member that has ended gets nothing and disturbs nobody.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_joiners",
        "_on_gap",
        "_on_join",
        "_on_leave",
        "_opening",
        "_publishers",
        "_returned",
        "_rooms",
        "_seats",
        "_session",
        "_stamped",
        "_topic",
        "name",
        "options",
    )

    name: str
    options: RoomOptions

    def __init__(self, rooms: Rooms, name: str, options: RoomOptions) -> None:
        self.name = name
        self.options = options
        self._topic = topic_of(name)
        self._rooms = rooms
        self._seats: dict[WebSocket, MemberQueue] = {}
        self._returned: dict[MemberQueue, SeenAhead] = {}  # those that have had some of what is to come
        self._session: RoomSession | None = None
        self._opening: trio.Event | None = None
        self._joiners = 0  # tasks within join(), not members yet
        self._publishers = 0  # tasks within publish()
        self._on_join: list[Callback] = []
        self._on_leave: list[Callback] = []
        self._on_gap: list[GapCallback] = []
        self._stamped: WeakKeyDictionary[Entry, PreparedMessage] = WeakKeyDictionary()
        self._callbacks = RoomCallbacks(repr(self), rooms.callback_timeout)

    # --- who is there --------------------------------------------------------------------------------------------

    @property
    def members(self) -> list[Member]:
        """Who is in the room now, in this process, in the order in which they joined. See `presence`."""
        return [seat.member for seat in self._seats.values()]

    @property
    def count(self) -> int:
        """How many are in the room now, in this process. It changes in the step in which a join or leave does."""
        return len(self._seats)

    async def presence(self) -> tuple[Presence, ...]:
        """Return who is in the room, in all processes: one question to the backplane.

        A join or leave in another process may show a moment later; members of a process that died, or that is cut off,
        are gone after the backplane's `presence_timeout` only.

        Raises:
            BackplaneUnavailable: the backplane is away, and the time to wait for it is over. `members` has those of
                this process.
            trio.Cancelled: nothing has happened.
        """
        return await self._rooms.backplane.presence(self._topic)

    def join(self, websocket: WebSocket, /, *, since: str | None = None, **info: Any) -> Membership:
        """Be a member for a block: `async with room.join(ws, user="Ann") as room`.

        The newcomer is handed the room's history, then everything that is published, with nothing missing or doubled
        between. Leaving happens on every way out of the block, and waits for nothing; what still waits for a slow
        member then is dropped. A connection that joins again within the block stays one member until the outermost
        block ends.

        With `since`, the newcomer gets what followed that message instead of the history. `recovered` of the
        `Membership` that `join` returns is True if that is all of it:

            joining = room.join(ws, since=last_seen)
            async with joining as room:
                await ws.send_json({"recovered": joining.recovered})

        Args:
            websocket: an accepted connection.
            since: the id of the last message that the peer has seen; None for one that begins. An id is what `publish`
                returns, and what the room's `stamp` puts into messages. Any text will do: one that is no id has just
                not recovered.
            info: anything about the member, for `members`, `presence` and the callbacks.

        Raises:
            BackplaneUnavailable: on entering: the room is not open in this process, the backplane is away, and a room
                may not be opened without it.
            LocalProtocolError: on entering: the connection is not accepted, or the rooms are not running.
            MessageTooLarge: on entering: the info is larger than the backplane carries.
            TypeError: `websocket` is no `WebSocket`, or `since` is no text. On entering: the info is not JSON, and
                other processes shall be told of it; likewise ValueError.
            ValueError: on entering: it is a member already, with other info.
            trio.Cancelled: on entering: it has not joined.
        """
        check_websocket(websocket)
        if not (since is None or isinstance(since, str)):
            raise TypeError(f"since is the id of a message, a text, not {type(since).__name__}: {since!r:.80}")
        return Membership(self, websocket, info, since)

    def on_join(self, callback: AnyCallback) -> AnyCallback:
        """Call `callback(member, count)` after each join: a decorator.

        Callbacks, `async` or plain ones that do not block, run in a task of the rooms', in order, one at a time, once
        for each join and leave of a connection, each for at most `callback_timeout`. `count` is how many are in it
        right after the join or leave. Their errors are logged. To register a callback again changes nothing.

        Raises:
            TypeError: it cannot be called with two arguments.
        """
        return register(callback, self._on_join)

    def on_leave(self, callback: AnyCallback) -> AnyCallback:
        """Call `callback(member, count)` after each leave, however it came about: a decorator. See `on_join`."""
        return register(callback, self._on_leave)

    def on_gap(self, callback: AnyGapCallback) -> AnyGapCallback:
        """Call `callback(room, missed)` when messages are lost that this process should have had: a decorator.

        It happens where a backplane connects processes: this one had lost its link for so long that what it missed is
        not kept any more, or Redis came back with older data, which all processes are told. `missed` is how many
        messages it was, None if nobody knows. What is said before the gap was delivered, what is said after it will be.
        The log has a warning each time. Otherwise like `on_join`.

        Raises:
            TypeError: it cannot be called with two arguments.
        """
        return register(callback, self._on_gap, "the room and the number of lost messages")

    async def _enter(self, websocket: WebSocket, info: Mapping[str, Any], since: str | None) -> bool | None:
        self._joiners += 1
        self._rooms.keep(self)
        try:
            await trio.lowlevel.checkpoint()
            session = await self._opened()
            if since is not None and not session.log.since(since).recovered:
                await self._catch_up()
                session = await self._opened()
            return self._sit_down(websocket, info, since, session)
        finally:
            self._joiners -= 1
            self._close_if_empty()

    async def _opened(self) -> RoomSession:
        while self._session is None or self._session.ended:
            await self._open()
        return self._session

    async def _catch_up(self) -> None:
        """Wait for what other processes have: their member may have seen what is still on its way to this one."""
        try:
            await self._rooms.backplane.sync(self._topic)
        except BackplaneUnavailable as error:
            logger.warning("%r cannot say what a member has missed: %s", self, error)

    def _sit_down(
        self, websocket: WebSocket, info: Mapping[str, Any], since: str | None, session: RoomSession
    ) -> bool | None:
        seat = self._seats.get(websocket)
        if seat is not None:
            if info and info != seat.member.info:
                raise ValueError(f"the connection is in {self!r} already, with {dict(seat.member.info)!r}")
            seat.depth += 1
            return None if since is None else False  # it is handed nothing, whatever it lacks
        channel = websocket._open_channel()
        member = Member(websocket, MappingProxyType(dict(info)), self, self._rooms.next_member_id())
        replay = None if since is None else session.log.since(since)
        self._rooms.backplane.enter(self._topic, Presence(member.id, member.info))  # which may refuse
        self._seats[websocket] = seat = MemberQueue(member, channel, self.options.policy, self.options.backlog)
        if replay is None:
            recovered, history = None, tuple(session.log)[max(0, len(session.log) - self.options.history) :]
        else:
            recovered, history = replay.recovered, replay.entries
            if replay.ahead is not None:
                self._returned[seat] = replay.ahead
        seat.hand(message for entry in history if (message := self._stamp(entry)) is not None)
        self._callbacks.add(self._on_join, self._rooms.calling, member, self.count)
        return recovered

    def _leave(self, websocket: WebSocket) -> None:
        seat = self._seats[websocket]
        seat.depth -= 1
        if not seat.depth:
            del self._seats[websocket]
            self._returned.pop(seat, None)
            seat.clear()
            self._rooms.backplane.leave(self._topic, seat.member.id)
            self._callbacks.add(self._on_leave, self._rooms.calling, seat.member, self.count)
            self._close_if_empty()

    # --- what is said --------------------------------------------------------------------------------------------

    async def publish(self, message: Any, *, exclude: WebSocket | Iterable[WebSocket] | None = None) -> str:
        """Send a message to every member, in all processes. It never waits for a member, but it is a checkpoint.

        It returns when the message is certain to be in the room's stream: with Redis, when Redis has said so. All
        members get the messages of a room in one order; only while Redis is away those of this process get what is
        published here at once. One whose connection has no room for a message gets it later; when more than the room's
        `backlog` waits for it, the room's `policy` decides. Nobody gets a message that is published while the room has
        no members.

        Args:
            message: `str` is sent as text, bytes as binary, everything else as compact JSON in a text message,
                whatever the members' own `send_type` is. It is encoded once.
            exclude: members that shall not get it.

        Returns:
            The id of the message in the room's stream.

        Raises:
            BackplaneUnavailable: the backplane is away, and the time to wait for it is over. `local` of the error says
                whether members in this process have had the message.
            BackplaneFull: the backplane has no memory left.
            MessageTooLarge: it is larger than the backplane carries.
            TypeError: it cannot be encoded; likewise ValueError. Or `exclude` names what is no `WebSocket`.
            trio.Cancelled: nobody got it; with Redis, unless it was on its way. What members of this process have had
                while Redis was away is put into the stream all the same, within the time that was left to wait.
        """
        prepared = PreparedMessage(message)
        seats = (self._seats.get(websocket) for websocket in some_of(exclude))
        excluded = frozenset(seat.member.id for seat in seats if seat is not None)
        self._publishers += 1
        try:
            if self.options.stamp is None:
                await prepared.deflate(seat.channel.writer for seat in self._seats.values())
            return await self._rooms.backplane.publish(self._topic, prepared, excluded)
        finally:
            self._publishers -= 1

    def _deliver(self, entry: Entry) -> None:
        common, exclude, returned = self._stamp(entry), entry.exclude, self._returned
        if common is None:
            return
        hold = entry.more or self._publishers > 1  # what many say at once leaves in few system calls
        for seat in self._seats.values():
            if exclude and seat.member.id in exclude:
                continue
            message = self._stamp_for(seat, entry) if returned and seat in returned else common
            if message is None:
                continue
            if seat.backlog or not seat.channel.writer.offer(message, hold=hold):
                seat.keep(message)

    def _stamp_for(self, seat: MemberQueue, entry: Entry) -> PreparedMessage | None:
        """Return what a member is sent that has come back from elsewhere; None if it has had that there."""
        ahead = self._returned[seat]
        taken = ahead.take(entry)
        if ahead.over:
            del self._returned[seat]
        return None if taken is None else self._stamp(taken)

    def _stamp(self, entry: Entry) -> PreparedMessage | None:
        """Return what members are sent for an entry; None if the application's `stamp` fails, which is logged."""
        stamp = self.options.stamp
        if stamp is None:
            return entry.message
        message = self._stamped.get(entry)
        if message is None:
            try:
                message = self._stamped[entry] = PreparedMessage(stamp(entry.id, entry.message.data))
            except Exception:
                logger.exception("error in the stamp of %r: nobody is sent the message %s", self, entry.id)
        return message

    def _miss(self, missed: int | None) -> None:
        logger.warning("%r has lost messages: %s", self, "nobody knows how many" if missed is None else missed)
        self._callbacks.add(self._on_gap, self._rooms.calling, self, missed)

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
        session = RoomSession(repr(self), self._deliver, self._miss)
        rooms, history = self._rooms, max(self.options.history, self.options.resume)
        try:
            self._session = await rooms.nursery.start(
                session.listen, rooms.backplane, self._topic, history, rooms.nursery, name=repr(self)
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


class Membership:
    """`async with` it: joins a room for a block. Made by `Room.join`."""

    __slots__ = ("_info", "_room", "_since", "_websocket", "recovered")

    recovered: bool | None
    """Within the block: whether the member has got all that followed `since`; None if it was not given."""

    def __init__(self, room: Room, websocket: WebSocket, info: Mapping[str, Any], since: str | None) -> None:
        self._room = room
        self._websocket = websocket
        self._info = info
        self._since = since
        self.recovered = None

    async def __aenter__(self) -> Room:
        self.recovered = await self._room._enter(self._websocket, self._info, self._since)
        return self._room

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room._leave(self._websocket)
