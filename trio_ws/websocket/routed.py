"""The part of `WebSocket` that an application's route provides: callbacks, and rooms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

import trio

from trio_ws.errors import LocalProtocolError
from trio_ws.websocket.authenticated import Authenticated

if TYPE_CHECKING:
    from trio_ws.connection.serialization import ValueType
    from trio_ws.websocket.context import Invocation

__all__ = ["Routed"]

R_co = TypeVar("R_co", covariant=True)


class Stay(Protocol[R_co]):
    """A stay in a room, as `Room.join` returns it."""

    @property
    def room(self) -> R_co:
        """The room."""


class Joined(Protocol[R_co]):
    """A room."""

    def join(self, websocket: Any, /, *, since: str | None = None, **info: Any) -> Stay[R_co]:
        """Return a stay in the room, which begins when it is entered."""


class Routed(Authenticated):
    """A connection that an application's route may stand behind."""

    __slots__ = ()

    async def accept_callback(
        self,
        *,
        on_receive: Callable[..., Any],
        on_connect: Callable[..., Any] | None = None,
        on_disconnect: Callable[..., Any] | None = None,
        encoding: ValueType = "json",
        on_invalid: Literal["reply", "close"] | Callable[..., Any] = "reply",
        concurrency: int = 1,
        reference: str | None = None,
    ) -> None:
        """Accept the connection unless it is accepted, and call back until it ends. It follows Cafeto.

        Args:
            on_receive: called with each message, validated by its parameter's annotation; returns the reply.
            on_connect: called after the handshake was answered.
            on_disconnect: called exactly once when the connection is over.
            encoding: how messages are decoded, "json", "text" or "bytes".
            on_invalid: what happens to an invalid message, as `App.listener` has it.
            concurrency: how many messages are processed at once; replies keep their order.
            reference: the member of requests that replies repeat, as `App.listener` has it.

        Raises:
            LocalProtocolError: there is no application behind this connection.
            RegistrationError: a callback's parameters cannot be provided.
            WebSocketDisconnect: the connection ended with a code that is not caught.
        """
        await self._invocation("accept_callback()").listen(
            on_receive,
            on_connect,
            on_disconnect,
            encoding=encoding,
            on_invalid=on_invalid,
            concurrency=concurrency,
            reference=reference,
        )

    @overload
    async def join(self, room: Joined[R_co], /, *, since: str | None = None, **info: Any) -> R_co: ...
    @overload
    async def join(self, room: Stay[R_co], /) -> R_co: ...
    @overload
    async def join(self, room: str, /, *, since: str | None = None, **info: Any) -> Any: ...
    async def join(self, room: Any, /, *, since: str | None = None, **info: Any) -> Any:
        """Join a room until the handler has ended, and return it; `async with room.join(ws)` does for a block.

        The connection leaves on every way out, before its dependencies are left and `on_disconnect` runs. If it is in
        the room by an earlier call or the route's `rooms=`, nothing changes.

        Args:
            room: a room, its name, or the result of `room.join(ws, ...)`, which has `recovered` afterwards.
            since: the id of the last message that the peer has seen, as `Room.join` has it.
            info: anything about the member.

        Raises:
            BackplaneUnavailable: the room is not open in this process, and the backplane is away.
            LocalProtocolError: there is no application behind this connection, it is not accepted, or the handler has
                ended.
            TypeError: it is no room; or as `Room.join` raises it.
            ValueError: no room can have that name, or the connection is in it with other info.
            trio.Cancelled: it has not joined.
        """
        return await self._invocation("join()").join(room, since, info)

    async def leave(self, room: Any, /) -> None:
        """Leave a room that `join` or the route's `rooms=` has joined; do nothing otherwise.

        Args:
            room: the room, or its name.

        Raises:
            LocalProtocolError: there is no application behind this connection.
            trio.Cancelled: after it has left.
        """
        await self._invocation("leave()").leave(room)
        await trio.lowlevel.checkpoint()

    def _invocation(self, method: str) -> Invocation:
        if self.context.invocation is None:
            raise LocalProtocolError(f"{method} needs an App behind the connection, whose handler has not ended")
        return self.context.invocation
