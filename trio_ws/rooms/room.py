"""A room of connections that receive the same messages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import attrs
import trio

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.errors import LocalProtocolError
from trio_ws.rooms.backplane import Presence
from trio_ws.rooms.callbacks import PRESENCE_ARGUMENTS, RoomCallbacks, RoomFunctions, add_leader, register
from trio_ws.rooms.checks import check_websocket, to_websockets
from trio_ws.rooms.delivery import Delivery
from trio_ws.rooms.everywhere import Everywhere
from trio_ws.rooms.info import presence_info
from trio_ws.rooms.keeper import HistoryKeeper
from trio_ws.rooms.leadership import start_leaders
from trio_ws.rooms.member_queue import MemberQueue
from trio_ws.rooms.place import Place
from trio_ws.rooms.presence_watch import PresenceDiff, PresenceWatch
from trio_ws.rooms.session import CurrentSession, RoomSession
from trio_ws.rooms.stamps import Stamper
from trio_ws.rooms.topics import checked_key, topic_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from trio_ws.rooms.backplane import Entry
    from trio_ws.rooms.interfaces import RoomRegistry
    from trio_ws.rooms.options import RoomOptions
    from trio_ws.rooms.patterns import RoomDefaults
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Callback", "GapCallback", "Member", "Membership", "Room", "move_room"]

logger: Final = logging.getLogger("trio_ws")

Callback: TypeAlias = "Callable[[Member, int], Awaitable[object] | object]"
"""Called with the member and the room's number of members right after it joined or left."""
GapCallback: TypeAlias = "Callable[[Room, int | None], Awaitable[object] | object]"
"""Called with the room and the number of messages that are lost; None if unknown."""
PresenceCallback: TypeAlias = "Callable[[Room, PresenceDiff], Awaitable[object] | object]"
"""Called with the room and the members that have come and gone, in all processes."""
AnyCallback = TypeVar("AnyCallback", bound=Callback)
AnyGapCallback = TypeVar("AnyGapCallback", bound=GapCallback)
AnyPresenceCallback = TypeVar("AnyPresenceCallback", bound=PresenceCallback)
Leader = TypeVar("Leader", bound=Callable[..., Awaitable[object]])


@attrs.frozen(eq=False)
class Member:
    """A connection in a room."""

    websocket: WebSocket  #: The member's connection.
    info: Mapping[str, Any]
    """The info that was given to `join`."""
    room: Room = attrs.field(repr=False)  #: The room.
    id: str
    """Unique among all members of all rooms, in all processes; a connection that joins again gets another."""


class Room(Everywhere):
    """A room, which `Rooms.room(name)` returns; it is open while it has members.

    A connection is a member from `join` to the end of that block, which the disconnect rule makes soon after its peer
    has gone. A member whose connection is closed receives nothing and disturbs no other.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_delivery",
        "_functions",
        "_joiners",
        "_keeper",
        "_members",
        "_place",
        "_publishers",
        "_session",
        "_stamper",
        "name",
        "options",
    )

    name: str  #: The name that was given to `App.room`.
    options: RoomOptions  #: Its options, and defaults for those that were not given.

    def __init__(
        self, registry: RoomRegistry, name: str, options: RoomOptions, defaults: RoomDefaults | None = None
    ) -> None:
        self._place = Place(registry, topic_of(name))
        super().__init__(self._place)
        self.name = name
        self.options = options
        self._members: dict[WebSocket, Member] = {}
        self._session = CurrentSession()
        self._keeper = HistoryKeeper(options.history_ttl)
        self._joiners = 0  # tasks within join(), not members yet
        self._publishers = 0  # tasks within publish()
        self._functions = RoomFunctions.of(defaults)
        self._stamper = Stamper(repr(self), options.stamp, registry.encode_json)
        self._delivery = Delivery(self._stamper)
        self._callbacks = RoomCallbacks(repr(self), registry.callback_timeout)

    @property
    def members(self) -> list[Member]:
        """The members in this process, in the order of joining; see `presence`."""
        return list(self._members.values())

    @property
    def count(self) -> int:
        """The number of members in this process, exact at every step; see `total`."""
        return len(self._members)

    def join(self, websocket: WebSocket, /, *, since: str | None = None, **info: Any) -> Membership:
        """Join for a block: `async with room.join(ws, user="Ann") as room`.

        The new member receives the room's history, then everything that is published, with nothing missing or doubled
        between. Leaving happens on every way out of the block, and waits for nothing; messages that still wait for a
        slow member then are dropped. A connection that joins again within the block stays one member until the
        outermost block ends.

        With `since`, the new member receives the messages after that one instead of the history. Within the block,
        `recovered` of the `Membership` that `join` returns is True if none of them is missing.

        Args:
            websocket: an accepted connection.
            since: the id of the last message that the peer has seen; None for a peer that begins. `publish` returns
                ids, and the room's `stamp` puts them into messages. With any other text, `recovered` is False.
            info: anything about the member, for `members`, `presence` and the callbacks. `presence` returns values as
                JSON has them, of a model for instance a dictionary.

        Raises:
            BackplaneUnavailable: on entering: the backplane is away, and a room that opens here needs it.
            LocalProtocolError: on entering: the connection is not accepted, or the rooms are not running.
            RoomForbidden: on entering: a guard of the room has refused it; likewise what the guard raises.
            MessageTooLarge: on entering: the info is larger than the backplane carries.
            TypeError: `websocket` is no `WebSocket`, `since` no text. On entering: the info is no JSON (or ValueError).
            ValueError: on entering: it is a member already, with other info.
            trio.Cancelled: on entering: it has not joined.
        """
        check_websocket(websocket)
        if not (since is None or isinstance(since, str)):
            raise TypeError(f"since is the id of a message, a text, not {type(since).__name__}: {since!r:.80}")
        return Membership(self, websocket, info, since)

    def on_join(self, callback: AnyCallback) -> AnyCallback:
        """Call `callback(member, count)` after each join: a decorator.

        Callbacks, `async` or plain ones that do not block, run in a task of the rooms, in order, one at a time, once
        for each join and leave of a connection, each for at most `callback_timeout`. `count` is the number of members
        right after it. Errors are logged. To register a callback again changes nothing; a handler would add a function
        of its own for each connection, so use `App.room_options` there.

        Raises:
            LocalProtocolError: the same function is registered, as another object.
            TypeError: it cannot be called with two arguments.
        """
        return register(callback, self._functions.on_join)

    def on_leave(self, callback: AnyCallback) -> AnyCallback:
        """Call `callback(member, count)` after each leave: a decorator; see `on_join`."""
        return register(callback, self._functions.on_leave)

    def on_gap(self, callback: AnyGapCallback) -> AnyGapCallback:
        """Call `callback(room, missed)` when this process has lost messages: a decorator.

        It had lost its connection to the backplane for so long that they are not kept any more, or Redis came back with
        older data, which is reported in all processes. `missed` is their number, None if unknown; messages before and
        after are delivered. The log has a warning each time. Otherwise like `on_join`.

        Raises:
            TypeError: it cannot be called with two arguments.
        """
        return register(callback, self._functions.on_gap, "the room and the number of lost messages")

    def on_presence(self, callback: AnyPresenceCallback) -> AnyPresenceCallback:
        """Call `callback(room, diff)` when members have come or gone in any process: a decorator.

        It is called in each process with members in the room, with a `PresenceDiff`, within moments; for a process that
        was killed, after its `presence_timeout`. Members elsewhere that are there when the room opens here are no
        change: `presence` has them. Otherwise like `on_join`.

        Raises:
            LocalProtocolError: the same function is registered, as another object.
            TypeError: it cannot be called with two arguments.
        """
        first, session = not self._functions.on_presence, self._session.session
        register(callback, self._functions.on_presence, PRESENCE_ARGUMENTS)
        if first and session is not None:
            self._watch(session)
        return callback

    def _watch(self, session: RoomSession) -> None:
        watch = PresenceWatch(self._place, self._members, self._callbacks, self._functions.on_presence)
        session.leading.start_soon(watch.run, self, name=f"presence of {self!r}")

    async def _enter(self, websocket: WebSocket, info: Mapping[str, Any], since: str | None) -> bool | None:
        self._joiners += 1
        self._place.registry.hold(self)
        try:
            await trio.lowlevel.checkpoint()
            if websocket not in self._members:
                await self.admit(websocket)
            session = await self._session.get(self._open_session)
            if since is not None and not session.log.since(since).recovered:
                await self._place.catch_up(self)
                session = await self._session.get(self._open_session)
            return self._add_member(websocket, info, since, session)
        finally:
            self._joiners -= 1
            self._close_if_empty()

    async def admit(self, websocket: WebSocket) -> None:
        """Ask the guards of the room, as `join` does; it raises the same errors."""
        for guard in self._functions.guards:
            await guard(self, websocket)

    def _add_member(
        self, websocket: WebSocket, info: Mapping[str, Any], since: str | None, session: RoomSession
    ) -> bool | None:
        known = self._members.get(websocket)
        if known is not None:
            if info and info != known.info:
                raise ValueError(f"the connection is in {self!r} already, with {dict(known.info)!r}")
            self._delivery[websocket].join_count += 1
            return None if since is None else False  # it receives nothing, whatever it has missed
        channel = websocket.context.open_channel()
        member = Member(websocket, MappingProxyType(dict(info)), self, self._place.registry.next_member_id())
        replay = session.replay(since, self.options.history)
        presence = Presence(member.id, presence_info(member.info, self._place.registry.encode_json))
        self._place.registry.backplane.enter(self._place.topic, presence)  # which may refuse
        queue = MemberQueue(member.id, channel, self.options.policy, self.options.backlog)
        self._members[websocket] = member
        self._delivery.add(websocket, queue, replay.ahead)
        queue.replay(message for entry in replay.entries if (message := self._stamper.message_for(entry)) is not None)
        self._callbacks.add(self._functions.on_join, self._place.registry.callback_nursery, member, self.count)
        return None if since is None else replay.recovered

    def _leave(self, websocket: WebSocket) -> None:
        queue = self._delivery[websocket]
        queue.join_count -= 1
        if not queue.join_count:
            member = self._members.pop(websocket)
            self._delivery.remove(websocket)
            self._place.registry.backplane.leave(self._place.topic, member.id)
            self._callbacks.add(self._functions.on_leave, self._place.registry.callback_nursery, member, self.count)
            self._close_if_empty()

    async def publish(
        self, message: Any, *, exclude: WebSocket | Iterable[WebSocket] | None = None, key: str | None = None
    ) -> str:
        """Send a message to every member in all processes; return its id.

        It never waits for a member, but it is a checkpoint. It returns when the message is certain to be in the room's
        stream: with Redis, after its answer. All members receive the messages of a room in one order; only while Redis
        is away those of this process receive messages that are published here at once. A member whose connection has no
        room for a message receives it later; if more than `backlog` waits for it, the room's `policy` decides.

        Args:
            message: `str` is sent as text, bytes as binary, everything else as compact JSON in a text message,
                whatever the members' own `send_type` is. It is encoded once.
            exclude: members that do not receive it.
            key: names the message: if one was published in the room with it in the last hour (with Redis, `retention`),
                by any process, nothing is published, and its id returned. So a publisher may try again.

        Raises:
            BackplaneUnavailable: the backplane is away, and the time to wait for it is over. `local` of the error is
                True if members in this process have received the message.
            BackplaneFull: the backplane has no memory left.
            MessageTooLarge: it is larger than the backplane carries.
            TypeError: it cannot be encoded; likewise ValueError. Or `exclude` names what is no `WebSocket`.
            trio.Cancelled: no member receives it; with Redis, unless it was on its way, or members of this process have
                received it while Redis was away.
        """
        prepared = PreparedMessage(message, self._place.registry.encode_json)
        excluded = [self._members.get(websocket) for websocket in to_websockets(exclude)]
        member_ids = frozenset(member.id for member in excluded if member is not None)
        self._publishers += 1
        try:
            if self.options.stamp is None:
                await prepared.deflate(queue.channel.writer for queue in self._delivery)
            keyed: dict[str, Any] = {} if key is None else {"key": checked_key(key)}
            return await self._place.registry.backplane.publish(self._place.topic, prepared, member_ids, **keyed)
        finally:
            self._publishers -= 1

    def _deliver(self, entry: Entry) -> None:
        self._delivery.deliver(entry, hold=entry.more or self._publishers > 1)

    def _report_gap(self, missed: int | None) -> None:
        logger.warning("%r has lost messages: %s", self, "unknown number" if missed is None else missed)
        self._callbacks.add(self._functions.on_gap, self._place.registry.callback_nursery, self, missed)

    @property
    def nursery(self) -> trio.Nursery:
        """The room's own nursery, for tasks that run while it has members.

        They end with the last member. An error in one is logged, and cancels the others; another nursery follows.

        Raises:
            LocalProtocolError: the room has no members.
        """
        session = self._session.session
        if session is None:
            raise LocalProtocolError(f"{self!r} has a nursery only while it has members")
        return session.nursery

    def start_soon(self, function: Callable[..., Awaitable[object]], *arguments: Any, name: object = None) -> None:
        """Start a task in the room's nursery; see `nursery`."""
        self.nursery.start_soon(function, *arguments, name=name)

    def leader(self, function: Leader) -> Leader:
        """Run `function(room)` in one of the processes that have members in the room: a decorator.

        It is cancelled when its process has no members left; then another process runs it. An error is logged, and it
        runs again, with growing pauses. If it returns, it is done while its process has members. A process that is
        gone without a word, or cannot reach the backplane, is replaced after 10 seconds.

        Args:
            function: `async`; processes tell leaders of one room apart by its module and name.

        Raises:
            LocalProtocolError: another leader of the room has that name.
            TypeError: it is not `async`, or cannot be called with the room.
        """
        session = self._session.session
        if add_leader(function, self._functions.leaders) and session is not None:
            start_leaders(session.leading, self._place, self, [function])
        return function

    async def _open_session(self) -> RoomSession:
        session = RoomSession(repr(self), self._deliver, self._report_gap)
        place, size = self._place, max(self.options.history, self.options.resume)
        nursery, backplane = place.registry.nursery, place.registry.backplane
        try:
            await nursery.start(session.run, backplane, place.topic, size, nursery, name=repr(self))
            await self._keeper.hold(nursery, backplane, place.topic, size)
        except BaseException:
            session.end()
            raise
        start_leaders(session.leading, self._place, self, self._functions.leaders)
        if self._functions.on_presence:
            self._watch(session)
        return session

    def _close_if_empty(self) -> None:
        if not self._members and not self._joiners:
            self._session.end()
            if not self._keeper.linger(self._close_if_empty):
                self._place.registry.release(self)

    def __repr__(self) -> str:
        return f"<Room {self.name!r}>"


class Membership:
    """A connection's stay in a room for a block, made by `Room.join`."""

    __slots__ = ("_info", "_since", "recovered", "room", "websocket")

    room: Room  #: The room.
    websocket: WebSocket  #: The connection.
    recovered: bool | None
    """Within the block: whether the member receives all messages after `since`; None if it was not given."""

    def __init__(self, room: Room, websocket: WebSocket, info: Mapping[str, Any], since: str | None) -> None:
        self.room = room
        self.websocket = websocket
        self._info = info
        self._since = since
        self.recovered = None

    async def __aenter__(self) -> Room:
        self.recovered = await self.room._enter(self.websocket, self._info, self._since)
        return self.room

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.room._leave(self.websocket)


def move_room(room: Room, registry: RoomRegistry) -> RoomRegistry:
    """Let a room without members belong to another registry; return the previous one."""
    previous, room._place.registry = room._place.registry, registry
    room._stamper.encode_json = registry.encode_json
    return previous
