"""The state of one connection that `WebSocket` shares with the parts that run it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, Protocol

import trio

from trio_ws.codes import CloseCode, check_close
from trio_ws.config import Timeouts
from trio_ws.connection.channel import HANDSHAKE_OVER, disconnect_of
from trio_ws.connection.serialization import to_json
from trio_ws.errors import LocalProtocolError, WebSocketDisconnect
from trio_ws.headers import header_pairs
from trio_ws.native.choice import ContextState
from trio_ws.runtime.log import ConnectionLog
from trio_ws.websocket.close_code import (
    NORMAL_CLOSE_CODES,
    CaughtCodes,
    CloseDecision,
    close_decision_for,
    is_normal_close_code,
    leaves,
)
from trio_ws.websocket.expiry import Expiry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
    from types import SimpleNamespace

    from trio_ws.connection.channel import Channel, PendingHandshake
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.errors import HeaderSource
    from trio_ws.headers import Headers
    from trio_ws.http.request import Request
    from trio_ws.protocol.endpoint import CloseInfo
    from trio_ws.runtime.timers import Timers
    from trio_ws.transport.socket_options import AnySocket
    from trio_ws.websocket.credentials import Credentials

__all__ = ["ConnectionContext", "Invocation"]

CLEANUP_TIMEOUT = Timeouts().cleanup_timeout
"""Seconds; the default until the connection's runner sets its own."""


class Invocation(Protocol):
    """The run of an application's route for one connection."""

    @property
    def app(self) -> Any:
        """The application of the route."""

    async def listen(
        self,
        on_receive: Callable[..., Any],
        on_connect: Callable[..., Any] | None,
        on_disconnect: Callable[..., Any] | None,
        **options: Any,
    ) -> None:
        """Implement `WebSocket.accept_callback`."""

    async def join(self, room: Any, since: str | None, info: Mapping[str, Any]) -> Any:
        """Implement `WebSocket.join`."""

    async def leave(self, room: Any) -> None:
        """Leave a room."""

    def register(self, credentials: Credentials, since: int | None) -> tuple[int, str] | None:
        """Register the user of the connection; return code and reason if that is revoked already."""


class ConnectionContext(ContextState):
    """One connection's parts, options and progress, on either side.

    The server's handler runner, the client, ASGI, the application layer and rooms work on it; handlers have the
    `WebSocket`. It is a `connection.channel.Iteration`, too.

    Args:
        request: the request for the WebSocket.
        caught_close_codes: close codes that count as a normal end.
        subprotocols: those of the route, the favourite first.
        log: takes the connection's records; None for one without a number.
        encode_json: encodes what is sent as JSON.
    """

    __slots__ = (
        "_cleanup_until",
        "_expiry",
        "_own_act",
        "answer_headers",
        "cancel_scope",
        "caught_close_codes",
        "cleanup_timeout",
        "close_code_of",
        "disconnect_callbacks",
        "encode_json",
        "handshake",
        "invocation",
        "log",
        "nursery",
        "on_accept",
        "reported",
        "request",
        "response_headers",
        "session",
        "state",
        "subprotocol",
        "subprotocols",
    )

    def __init__(
        self,
        request: Request,
        *,
        caught_close_codes: CaughtCodes = NORMAL_CLOSE_CODES,
        subprotocols: Sequence[str] = (),
        log: ConnectionLog | None = None,
        encode_json: ToJSON = to_json,
    ) -> None:
        self.request: Request = request
        self.caught_close_codes: CaughtCodes = caught_close_codes
        self.subprotocols: tuple[str, ...] = tuple(subprotocols)
        self.log: ConnectionLog = log or ConnectionLog(0, request.client)
        self.encode_json: ToJSON = encode_json
        self.handshake: PendingHandshake | None = None
        """Takes the answer to the handshake, once; None on a client."""
        self.channel: Channel | None = None
        """The open connection, or a wrapper around it; None before the handshake is accepted."""
        self.subprotocol: str | None = None
        """The negotiated subprotocol."""
        self.response_headers: Headers | None = None
        """Headers of the server's 101; None on a server."""
        self.nursery: trio.Nursery | None = None
        """The nursery of the handler's tasks, while it is open; cancelled with the handler."""
        self.nursery_used: bool = False
        """Whether the handler has asked for the nursery, and may have started tasks in it."""
        self.cancel_scope: trio.CancelScope | None = None
        """The handler's scope; None on a client, whose scope is the block's."""
        self.cleanup_timeout: float = CLEANUP_TIMEOUT
        """Seconds for clean-up of a cancelled handler."""
        self.on_accept: Callable[[], None] | None = None
        """Called once the handshake is accepted."""
        self.answer_headers: Callable[[], Iterable[tuple[str, str]]] | None = None
        """Returns the application's headers for any answer to the handshake."""
        self.close_code_of: Callable[[BaseException], int | None] | None = None
        """Maps a handler's error to a close code, None for the default one."""
        self.disconnect_callbacks: tuple[Callable[..., Awaitable[object]], ...] = ()
        """Called in this order with the `WebSocket` and its close code after an accepted connection has ended."""
        self.invocation: Invocation | None = None
        """The application's side of the connection; None without an application."""
        self.session: MutableMapping[str, Any] | None = None
        """The client's session; None without sessions."""
        self.state: SimpleNamespace | None = None
        """The namespace behind `WebSocket.state`; None until it is first used."""
        self.reported: Literal["connect", "close"] | None = None
        """Latest event that `receive_event` or `recv` has returned as such: the request, then the end."""
        self.handler_finished: bool = False
        """Whether the handler has returned, so that the runner closes the connection."""
        self._cleanup_until = math.inf
        self._own_act: Literal["close", "reject"] | None = None
        self._expiry: Expiry | Timers | None = None  # the timers of a server, until there are credentials

    # --- handshake -----------------------------------------------------------------------------------------------

    @property
    def rejected(self) -> bool:
        """Whether the handler has rejected the handshake."""
        return self._own_act == "reject"

    async def accept(self, subprotocol: str | None = None, headers: HeaderSource = ()) -> None:
        """Answer the handshake with 101; see `WebSocket.accept`."""
        handshake = self._pending_handshake("accept()")
        if (expiry := self.expiry) is not None:
            expiry.check()
        if subprotocol is None:
            subprotocol = next((mine for mine in self.subprotocols if mine in self.request.subprotocols), None)
        self.channel = await handshake.accept(subprotocol, self._with_answer_headers(headers))
        self.handshake = HANDSHAKE_OVER
        self.subprotocol = subprotocol
        if self.on_accept is not None:
            self.on_accept()
        if (expiry := self.expiry) is not None:
            expiry.begin()

    async def reject(
        self, status: int = 403, headers: HeaderSource = (), body: bytes = b"", *, leave: bool = True
    ) -> None:
        """Answer the handshake with an HTTP status; see `WebSocket.reject`. Without `leave` the handler goes on."""
        if not 300 <= status <= 599:
            raise ValueError(f"a handshake is rejected with an HTTP status from 300 to 599, not {status}")
        handshake = self._pending_handshake("reject()")
        await handshake.reject(status, self._with_answer_headers(headers), body)
        self._own_act = "reject"
        if leave and self.cancel_scope is not None:
            self.cancel_scope.cancel(reason=f"handshake rejected with {status}")
        await trio.lowlevel.checkpoint()

    def _with_answer_headers(self, headers: HeaderSource) -> HeaderSource:
        if self.answer_headers is None:
            return headers
        return [*header_pairs(headers), *self.answer_headers()]

    def _pending_handshake(self, method: str) -> PendingHandshake:
        if self.handshake is None:
            raise LocalProtocolError(f"{method} on a connection that this side has opened")
        if self.channel is not None:
            raise LocalProtocolError(
                f"{method} on an accepted connection: the route accepts by itself unless auto_accept=False"
            )
        if self.rejected:
            raise LocalProtocolError(f"{method} after the handshake was rejected")
        return self.handshake

    def open_channel(self) -> Channel:
        """Return the channel of an accepted connection.

        Raises:
            LocalProtocolError: the handshake is not answered yet.
            WebSocketDisconnect: the handshake was rejected.
        """
        if self.channel is not None:
            return self.channel
        if self.rejected:
            raise disconnect_of(self.handshake, CloseCode.ABNORMAL_CLOSURE, "handshake rejected")
        raise LocalProtocolError("the connection is not accepted yet: call accept(), or use 'async with ws'")

    # --- credentials ---------------------------------------------------------------------------------------------

    @property
    def expiry(self) -> Expiry | None:
        """The credentials, and the time at which they expire; None without any."""
        return self._expiry if isinstance(self._expiry, Expiry) else None

    def set_timers(self, timers: Timers) -> None:
        """Set the timers of a server, for the time of credentials."""
        self._expiry = timers

    def use_credentials(self, websocket: Any, credentials: Credentials, since: int | None = None) -> None:
        """Take the credentials by which a server's connection is open from now on.

        Args:
            websocket: the connection of this context.
            credentials: those.
            since: revocations of the application before their check; None for those before the handshake.

        Raises:
            AnotherUser: they are of another user than those before.
            LocalProtocolError: this side has opened the connection.
            Reject: the handshake is not answered yet, and they have expired, or were revoked meanwhile.
            TypeError: the warning cannot be encoded; likewise ValueError.
            WebSocketDisconnect: the connection has ended.
        """
        from trio_ws.websocket.credentials import of_same_user  # noqa: PLC0415 - many connections have none

        if self._expiry is None:
            raise LocalProtocolError("credentials are of connections to a server, and this side has opened this one")
        if self.rejected:
            self.open_channel()
        if self.channel is not None and self.close_info is not None:
            raise self._own_end(self.channel, self.close_info)
        if not (credentials.warning is None or isinstance(credentials.warning, str | bytes)):
            self.encode_json(credentials.warning)  # raises here, not when it is due
        credentials = of_same_user(credentials, None if self.expiry is None else self.expiry.credentials)
        if not isinstance(self._expiry, Expiry):
            self._expiry = Expiry(self, websocket, self._expiry, credentials)
        revoked = None if self.invocation is None else self.invocation.register(credentials, since)
        if revoked is not None:
            self._expiry.end(*revoked)
        self._expiry.use(credentials)

    @staticmethod
    def _own_end(channel: Channel, info: CloseInfo) -> WebSocketDisconnect:
        if channel.closing.observer is not None:
            channel.closing.observer.on_end_raised()
        return disconnect_of(channel.origin, info.code, info.reason)

    @property
    def sock(self) -> AnySocket | None:
        """The socket below the connection, None without one and once it is closed."""
        below = self.channel or self.handshake
        return None if below is None else below.sock

    # --- closing -------------------------------------------------------------------------------------------------

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended, with code, reason and the closing side; None while it is open."""
        return None if self.channel is None else self.channel.close_info

    async def close(self, code: int, reason: str) -> None:
        """Close the connection, and wait for the peer's answer; see `WebSocket.close`."""
        channel = self.open_channel()
        await trio.lowlevel.checkpoint_if_cancelled()  # before it counts as called
        if self._own_act == "close" and not self.handler_finished:
            raise LocalProtocolError("close() was called before: ensure_closed() closes whatever the state")
        if channel.close_info is None:
            check_close(code, reason)
            self._own_act = "close"
        else:
            code = CloseCode.NORMAL_CLOSURE
        await channel.closing.close(int(code), reason)

    async def wait_closed(self) -> None:
        """Wait for the end of the connection; see `WebSocket.wait_closed`."""
        closing = self.open_channel().closing
        await trio.lowlevel.checkpoint_if_cancelled()
        await closing.wait_ended()
        if closing.observer is not None:
            closing.observer.on_end_raised()

    def decide_close(self, error: Exception | None) -> CloseDecision:
        """Return the close frame for a handler's error, None for a return."""
        return close_decision_for(error, is_own=self.is_own_disconnect, close_code_of=self._mapped_code)

    def _mapped_code(self, error: BaseException) -> int | None:
        """Call `close_code_of`, and log its own errors."""
        if self.close_code_of is None:
            return None
        try:
            return self.close_code_of(error)
        except Exception:
            self.log.exception("error in close_code_of for %s")
            return None

    def is_own_disconnect(self, error: BaseException) -> bool:
        """Return True if an error, or each of a group, is a disconnect of this connection."""
        origin = self.handshake if self.channel is None else self.channel.origin
        return origin is not None and all(
            isinstance(leaf, WebSocketDisconnect) and leaf.origin is origin for leaf in leaves(error)
        )

    def is_normal_end(self, error: BaseException) -> bool:
        """Return True if an error, or each of a group, is this connection's disconnect with a caught code."""
        return self.is_own_disconnect(error) and all(
            self.is_normal_close(leaf.code) for leaf in leaves(error) if isinstance(leaf, WebSocketDisconnect)
        )

    def is_normal_close(self, code: int) -> bool:
        """Return True if a close code counts as a normal end."""
        info = self.close_info
        return is_normal_close_code(code, self.caught_close_codes, uncertain=info is not None and info.by == "unknown")

    def cleanup_deadline(self) -> float:
        """Return the deadline of clean-up that begins now; a cancelled handler's stays the same."""
        deadline = trio.current_time() + self.cleanup_timeout
        if self.cancel_scope is not None and self.cancel_scope.cancel_called:
            deadline = self._cleanup_until = min(self._cleanup_until, deadline)
        return deadline

    def log_cleanup_timeout(self) -> None:
        """Log that clean-up took longer than `cleanup_timeout`."""
        connection_log, seconds = self.log, self.cleanup_timeout
        connection_log.warning("clean-up in %s took longer than cleanup_timeout, %g s: it was cancelled", seconds)
