"""Publishing to rooms from programs that have no members in them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from trio_ws.codes import EXPIRED_CODE, REVOKED, CloseCode
from trio_ws.connection.encoders import JSONOption, ToJSON, encoder_from
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.errors import LocalProtocolError
from trio_ws.rooms.backplane import Backplane
from trio_ws.rooms.blocking import BlockingRoomsClient
from trio_ws.rooms.checks import check_seconds
from trio_ws.rooms.registry import Rooms
from trio_ws.rooms.revocation import Revocation
from trio_ws.rooms.spread import SpreadBackplane, named_backplanes
from trio_ws.rooms.topics import BROADCAST, REVOCATIONS, check_member, check_name, checked_key, topic_of
from trio_ws.rooms.watch import RoomWatch
from trio_ws.runtime.in_trio import check_in_trio
from trio_ws.runtime.loop_thread import LoopThread

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from types import TracebackType
    from uuid import UUID

    from trio_ws.rooms.backplane import Presence
    from trio_ws.rooms.everywhere import RoomMessage

__all__ = ["BackplaneConnection", "RoomsClient", "connect_backplane"]

_COMMAND_TIMEOUT: Final = 5.0
"""Seconds, as the default of `RedisBackplane`."""


class RoomsClient:
    """The rooms of applications on one backplane, without members here.

    It may be used by any number of tasks at once.

    Args:
        backplane: carries the messages; it runs.
        encode_json: encodes them.
    """

    def __init__(self, backplane: Backplane, encode_json: ToJSON) -> None:
        self._backplane = backplane
        self._encode_json = encode_json
        self._rooms = Rooms(backplane)

    async def publish(
        self, room: str, message: Any, *, exclude: str | Iterable[str] | None = None, key: str | None = None
    ) -> str:
        """Send a message to every member of a room in all processes; return its id.

        Args:
            room: the room's name.
            message: as `Room.publish` takes it.
            exclude: the id of a member that does not receive it, or several.
            key: as of `Room.publish`: a publisher that tries again with it publishes once.

        Raises:
            BackplaneError: as `Room.publish` raises it.
            MessageTooLarge: it is larger than the backplane carries.
            TypeError: it cannot be encoded, or an argument has another type; likewise ValueError.
            trio.Cancelled: it is not published, unless it was on its way.
        """
        check_name(room)
        prepared, members = PreparedMessage(message, self._encode_json), _member_ids(exclude)
        keyed: dict[str, Any] = {} if key is None else {"key": checked_key(key)}
        return await self._backplane.publish(topic_of(room), prepared, members, **keyed)

    async def broadcast(self, message: Any) -> str:
        """Send a message to all connections of the applications, as `App.broadcast`; return its id.

        Args:
            message: as `publish` takes it.

        Raises:
            BackplaneError: as of `publish`.
            MessageTooLarge: it is larger than the backplane carries.
            TypeError: it cannot be encoded; likewise ValueError.
            trio.Cancelled: as of `publish`.
        """
        return await self._backplane.publish(BROADCAST, PreparedMessage(message, self._encode_json), frozenset())

    async def revoke(self, user: str | int | UUID, *, code: int = EXPIRED_CODE, reason: str = REVOKED) -> str:
        """Close all connections of a user, in all processes, as `App.revoke`; return the id of the order.

        It returns when the order is in Redis, not when it is carried out, which is soon.

        Args:
            user: as in `Credentials`.
            code: the close code.
            reason: the close reason, at most 123 bytes of UTF-8.

        Raises:
            BackplaneError: as of `publish`.
            TypeError: the user is no text, whole number or UUID; likewise code and reason.
            ValueError: there can be no such user, or the code may not be sent.
            trio.Cancelled: as of `publish`.
        """
        return await self._backplane.publish(REVOCATIONS, Revocation.of(user, code, reason).message, frozenset())

    async def disconnect(
        self, room: str, member_id: str, *, code: int = CloseCode.POLICY_VIOLATION, reason: str = ""
    ) -> None:
        """Close the connection of one member of a room; see `Room.disconnect`."""
        await self._rooms.room(room).disconnect(member_id, code=code, reason=reason)

    async def close_room(self, room: str, *, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connections of all members of a room; see `Room.close`."""
        await self._rooms.room(room).close(code=code, reason=reason)

    async def total(self, room: str) -> int:
        """Return the number of a room's members in all processes; see `Room.total`."""
        return await self._rooms.room(room).total()

    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Return a room's members in all processes; see `Room.presence`."""
        return await self._rooms.room(room).presence()

    async def history(
        self,
        room: str,
        *,
        after: str | datetime | None = None,
        before: str | datetime | None = None,
        limit: int = 100,
    ) -> list[RoomMessage]:
        """Return messages of a room that are kept, oldest first; see `Room.history`."""
        return await self._rooms.room(room).history(after=after, before=before, limit=limit)

    def watch(
        self,
        room: str,
        *,
        since: str | None = None,
        history: int = 0,
        on_gap: Callable[[int | None], None] | None = None,
    ) -> RoomWatch:
        """Receive a room's messages: `async with rooms.watch("board:1") as messages`, then `async for`.

        Args:
            room: the room's name.
            since: begin after the message with this id; a part of the messages may be lost then.
            history: begin with so many of the latest messages that are kept, if `since` is not given.
            on_gap: called with the number of messages that are lost before the next one, None if it is unknown; by
                default a warning is logged.

        Raises:
            TypeError: an argument has another type.
            ValueError: no room can have that name, or `history` is out of range.
        """
        check_name(room)
        return RoomWatch(self._backplane, room, since=since, history=history, on_gap=on_gap)


class BackplaneConnection:
    """A connection to a backplane for a block, made by `connect_backplane`.

    `async with` returns a `RoomsClient`, `with` a `BlockingRoomsClient`. At the end of the block the connection to
    Redis is closed.

    Args:
        backplane: carries the messages.
        encode_json: encodes them.
    """

    def __init__(self, backplane: Backplane, encode_json: ToJSON) -> None:
        self._backplane = backplane
        self._encode_json = encode_json
        self._running: AbstractAsyncContextManager[None] | None = None
        self._stack = ExitStack()

    async def __aenter__(self) -> RoomsClient:
        check_in_trio("connect_backplane()")
        if self._running is not None:
            raise LocalProtocolError("the connection is in use: call connect_backplane() for another one")
        running = self._backplane.running()
        await running.__aenter__()
        self._running = running
        return RoomsClient(self._backplane, self._encode_json)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        running, self._running = self._running, None
        return None if running is None else await running.__aexit__(kind, error, trace)

    def __enter__(self) -> BlockingRoomsClient:
        with ExitStack() as stack:
            loop = stack.enter_context(LoopThread("trio_ws rooms"))
            client = stack.enter_context(loop.hold(self))
            self._stack = stack.pop_all()
        return BlockingRoomsClient(client, loop)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)


def connect_backplane(
    redis: str | Sequence[str] | Backplane,
    *,
    prefix: str | None = None,
    timeout: float = 10.0,
    json: JSONOption = None,
    ssl_context: ssl.SSLContext | None = None,
) -> BackplaneConnection:
    """Connect to the backplane of applications that run elsewhere, to publish to their rooms.

    `async with connect_backplane("redis://...") as rooms` in Trio, `with connect_backplane("redis://...") as rooms` in
    blocking code: then `rooms` has blocking methods, for any thread of the process.

    Args:
        redis: the URL, or list of URLs, of the applications' `backplane=`, or a `Backplane` of your own, which is not
            running.
        prefix: the applications' `prefix`, the beginning of all keys in Redis.
        timeout: seconds for which a call, and the beginning of the block, wait for Redis.
        json: the encoder of messages, as `App(json=...)`.
        ssl_context: for TLS, as of `RedisBackplane`.

    Raises:
        BackplaneUnavailable: (entering) there is no Redis.
        BackplaneRefused: (entering) Redis does not accept the name, the password, or our commands.
        LocalProtocolError: (entering) the connection, or the backplane, is in use.
        ImportError: coredis, or the package that `json` names, is not installed.
        RuntimeError: (entering) `async with` is for Trio, and `with` for threads that run no Trio loop.
        TypeError: an option has another type, or is given beside a `Backplane`.
        ValueError: the URL or an option makes no sense.

    Example:
        async with connect_backplane("redis://localhost") as rooms:
            await rooms.publish("board:1", {"task": "done"})
    """
    check_seconds("timeout", timeout)
    return BackplaneConnection(_backplane(redis, prefix, timeout, ssl_context), encoder_from(json))


def _backplane(
    given: str | Sequence[str] | Backplane, prefix: str | None, timeout: float, ssl_context: ssl.SSLContext | None
) -> Backplane:
    if isinstance(given, Backplane):
        if prefix is not None or ssl_context is not None:
            raise TypeError("a Backplane has its own prefix and ssl_context: give them to it")
        return given
    if isinstance(given, list | tuple):
        each = {name: _backplane(url, prefix, timeout, ssl_context) for name, url in named_backplanes(given).items()}
        return SpreadBackplane(each)
    if not isinstance(given, str):
        raise TypeError(f"connect_backplane() takes the URL of a Redis, several, or a Backplane, not {given!r:.80}")
    from trio_ws.rooms.redis import RedisBackplane  # noqa: PLC0415 - an extra

    named: dict[str, Any] = {} if prefix is None else {"prefix": prefix}
    return RedisBackplane(
        given,
        ssl_context=ssl_context,
        publish_timeout=timeout,
        command_timeout=min(timeout, _COMMAND_TIMEOUT),
        local_after=None,
        **named,
    )


def _member_ids(given: str | Iterable[str] | None) -> frozenset[str]:
    if given is None:
        return frozenset()
    members = (given,) if isinstance(given, str) else tuple(given)
    for member in members:
        check_member(member)
    return frozenset(members)
