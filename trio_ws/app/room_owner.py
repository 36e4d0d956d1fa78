"""`RoomOwner`, the base of `App` with its rooms and its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from trio_ws.codes import EXPIRED_CODE, REVOKED

if TYPE_CHECKING:
    from uuid import UUID

    from trio_ws.app.connections import ConnectionManager
    from trio_ws.app.publish_keys import PublishKey
    from trio_ws.app.services import AppServices
    from trio_ws.rooms import Room
    from trio_ws.rooms.member_queue import Policy
    from trio_ws.rooms.options import Stamp
    from trio_ws.rooms.patterns import Functions

__all__ = ["RoomOwner"]

F = TypeVar("F", bound=Callable[..., Any])

_MAX_BODY: Final = 64 * 1024
"""Bytes; a client without a key can make the server hold as many."""
_TOLERANCE: Final = 300.0
"""Seconds, as in the libraries of Standard Webhooks."""


class RoomOwner:
    """The rooms of an application, once its subclass has made its services."""

    services: AppServices
    """Its options and shared parts."""

    @property
    def connections(self) -> ConnectionManager:
        """The application's connections in this process."""
        return self.services.connections

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
        """Return the room with a name.

        It is the same object as long as it has members, its `history_ttl` lasts, or the application holds a reference
        to it. Otherwise the room is forgotten, with its options, callbacks and history.

        Args:
            name: any text of at most 8,192 bytes of UTF-8, without lone surrogates.
            history: how many of the latest messages a new member receives; 0 if never given. They last while there are
                members; with Redis, longer.
            history_ttl: seconds that messages for new members, and for members that come back, are kept after the last
                member has left; what is published meanwhile is kept, too. None: with Redis, its `retention`, else 0.
            resume: how many of the latest messages are held for members that come back with `join(since=id)`; as many
                as `history` if never given, or less. Every process with members in the room holds them.
            stamp: `stamp(id, message)` makes the message for members, so that they have the ids to come back with. Its
                argument is text or bytes, as it was encoded; its result is encoded as by `publish`.
            policy: the action for a member for which too much waits: "disconnect" (with 1013), if never given,
                "drop_oldest" or "drop_newest".
            backlog: bytes that may wait for a member beside its outbox before that is too much, 256 being added for
                each message; 1 MiB if never given.

        Raises:
            TypeError: the name, or an option, has another type.
            ValueError: no room can have that name; it exists with other options; or an option is out of range.
        """
        return self.services.rooms.room(
            name,
            history=history,
            history_ttl=history_ttl,
            resume=resume,
            stamp=stamp,
            policy=policy,
            backlog=backlog,
        )

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
        """Set options and callbacks of all rooms whose names fit a pattern: `"board:*"`.

        Call it before such a room is named. If several patterns fit, the options of the later one take precedence, and
        all callbacks are called; options that are given to `room` take precedence over all.

        Args:
            pattern: a name, with `*` for any text, also for none.
            history: as of `room`; so are the next five.
            history_ttl: as of `room`.
            resume: as of `room`.
            stamp: as of `room`.
            policy: as of `room`.
            backlog: as of `room`.
            on_join: one function or several, as `Room.on_join` takes them; likewise the others.
            on_leave: as of `Room`.
            on_gap: as of `Room`.
            on_presence: as of `Room`.
            leader: as of `Room`.

        Raises:
            LocalProtocolError: a room exists whose name fits.
            TypeError: the pattern, or an option, has another type; or a function cannot be called as it will be.
            ValueError: the pattern has other options already, or an option is out of range.
        """
        self.services.rooms.room_options(
            pattern,
            history=history,
            history_ttl=history_ttl,
            resume=resume,
            stamp=stamp,
            policy=policy,
            backlog=backlog,
            on_join=on_join,
            on_leave=on_leave,
            on_gap=on_gap,
            on_presence=on_presence,
            leader=leader,
        )

    def room_guard(self, pattern: str) -> Callable[[F], F]:
        """Ask a function before a connection joins a room whose name fits a pattern: a decorator.

        It is asked by `Room.join`, by `WebSocket.join`, and for `rooms=` of a route before the handshake is answered.
        It returns True or False; False, and an error that it raises, refuse the join. All guards that fit are asked.
        Connections that this application has opened as a client are not.

        Its parameters are filled as a handler's: the connection, `room` (a `Room`), the query, headers, cookies and
        dependencies, whose values are those of the connection. Contexts that only it depends on are left at once.

        Args:
            pattern: as of `room_options`.

        Raises:
            LocalProtocolError: a room exists whose name fits.
            RegistrationError: a parameter of the function has no source.
            TypeError: the pattern is no text.
            ValueError: no name fits the pattern.
        """

        from trio_ws.app.room_guards import plan_room_guard  # noqa: PLC0415 - few applications have them

        def register(function: F) -> F:
            self.services.rooms.room_guard(pattern, plan_room_guard(function, pattern))
            return function

        return register

    async def revoke(self, user: str | int | UUID, *, code: int = EXPIRED_CODE, reason: str = REVOKED) -> None:
        """Close all connections of a user, in all processes.

        Those are connections whose `Credentials` have that user: all that are open now, and those whose handshake is
        not answered yet, which is refused with 401. Credentials with a later `issued_at` are not concerned. A client
        that connects afterwards is a matter of the guards: withdraw the user's rights first, then revoke.

        Other processes carry it out as soon as they receive it, within milliseconds; a process without a connection to
        Redis when that is back. If revocations are lost by then, it closes the connections of all users with 1012, so
        that guards check them again.

        Args:
            user: as in `Credentials`.
            code: the close code.
            reason: the close reason, at most 123 bytes of UTF-8.

        Raises:
            BackplaneError: as `Room.publish` raises it: it may not have reached all processes. Call it again.
            TypeError: the user is no text, whole number or UUID; likewise code and reason.
            ValueError: there can be no such user, or the code may not be sent.
            trio.Cancelled: nothing was revoked; with Redis, unless it was on its way.
        """
        await self.connections.revoke(user, code, reason)

    def publish_endpoint(
        self,
        path: str,
        *,
        keys: Iterable[PublishKey | str],
        max_body: int = _MAX_BODY,
        tolerance: float = _TOLERANCE,
    ) -> None:
        """Let other programs publish to rooms by POSTs for `path`; there is no such path otherwise.

        A body is JSON: `{"room": "board:1", "message": {"done": true}}`; `docs/outside.md` has all fields and answers.
        It is for servers, not for browsers, and the guards of rooms are not asked: a key decides.

        Args:
            path: begins with a slash.
            keys: at least one `PublishKey`, or secret that may publish to all rooms.
            max_body: bytes of one request, at most.
            tolerance: seconds that the time of a signed request may differ from that of this machine. A request that is
                sent again in that time publishes nothing, as long as the backplane remembers keys of messages.

        Raises:
            TypeError: an option has another type.
            ValueError: the path is taken, or an option makes no sense.

        Example:
            app.publish_endpoint("/publish", keys=[os.environ["PUBLISH_KEY"]])
        """
        from trio_ws.app.publish_endpoint import PublishEndpoint  # noqa: PLC0415 - few need it

        self.services.pages.add_endpoint(path, PublishEndpoint(self.services, keys, max_body, tolerance))

    async def broadcast(self, message: Any) -> None:
        """Send a message to all connections, without waiting for them.

        All connections, in all processes, receive these messages in one order; a full outbox is closed with 1013.

        Args:
            message: `str` is sent as text, bytes as binary, everything else as compact JSON in a text message.

        Raises:
            BackplaneError: as `Room.publish` raises it.
            TypeError: it cannot be encoded; likewise ValueError.
            trio.Cancelled: the message was not sent; with Redis, unless it was on its way.
        """
        await self.connections.broadcast(message)
