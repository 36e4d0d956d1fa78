"""Handshake: the half of `WebSocket` that is there before the answer: the request, and accept or reject."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from trio_ws.codes import CloseCode
from trio_ws.config import Timeouts
from trio_ws.connection.channel import disconnect_of
from trio_ws.errors import HeaderSource, LocalProtocolError, WebSocketDisconnect
from trio_ws.headers import header_pairs
from trio_ws.runtime.log import ConnectionLog
from trio_ws.websocket.close_code import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence

    from trio_ws.connection.channel import Channel, PendingHandshake
    from trio_ws.headers import Headers
    from trio_ws.http.request import Address, Request
    from trio_ws.http.url import URL, QueryParameters

__all__ = ["Handshake"]


CLEANUP_TIMEOUT = Timeouts().cleanup_timeout
"""Seconds; until the one who runs the connection says otherwise."""


class Handshake:
    """A request for a WebSocket, and its answer. You get it as a `WebSocket`; it is never made by hand."""

    __slots__ = (
        "_channel",
        "_cleanup_timeout",
        "_cleanup_until",
        "_gate",
        "_log",
        "_offers",
        "_on_accept",
        "_on_answer",
        "_rejected",
        "_scope",
        "_session",
        "request",
        "response_headers",
        "subprotocol",
    )

    request: Request
    """What the client asked for."""
    subprotocol: str | None
    """The subprotocol that was agreed on; None before the answer, or if there is none."""
    response_headers: Headers | None
    """On a client the headers of the server's 101; on a server None."""

    def __init__(self, request: Request, *, subprotocols: Sequence[str] = (), log: ConnectionLog | None = None) -> None:
        self.request = request
        self.subprotocol = None
        self.response_headers = None
        self._offers = tuple(subprotocols)
        self._log = log or ConnectionLog(0, request.client)
        self._cleanup_timeout = CLEANUP_TIMEOUT
        self._cleanup_until = math.inf
        self._gate: PendingHandshake | None = None
        self._channel: Channel | None = None
        self._on_accept: Callable[[], None] | None = None
        self._on_answer: Callable[[], Iterable[tuple[str, str]]] | None = None
        self._rejected = False
        self._session: MutableMapping[str, Any] | None = None
        self._scope: trio.CancelScope | None = None

    @property
    def url(self) -> URL:
        """The full URL of the request."""
        return self.request.url

    @property
    def headers(self) -> Headers:
        """The headers of the request, immutable and case-insensitive."""
        return self.request.headers

    @property
    def query_parameters(self) -> QueryParameters:
        """The query of the request, immutable and dictionary-like."""
        return self.request.query_parameters

    @property
    def path_parameters(self) -> Mapping[str, Any]:
        """What the route took from the path."""
        return self.request.path_parameters

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the request."""
        return self.request.cookies

    @property
    def client(self) -> Address:
        """The address of the peer: host and port, the path of a Unix socket, or None."""
        return self.request.client

    @property
    def number(self) -> int:
        """The number of the connection within its server, as it stands in log records and task names; else 0."""
        return self._log.number

    @property
    def accepted(self) -> bool:
        """Whether the handshake was answered with yes; it stays so after the connection has ended."""
        return self._channel is not None

    @property
    def session(self) -> MutableMapping[str, Any]:
        """The client's session: to be changed before the handshake is answered, read-only after.

        Raises:
            LocalProtocolError: the application has no sessions.
        """
        if self._session is None:
            raise LocalProtocolError("there are no sessions here: give the application sessions=Sessions(secret_key)")
        return self._session

    async def accept(self, subprotocol: str | None = None, headers: HeaderSource = ()) -> None:
        """Answer the handshake with 101 (RFC 6455 4.2.2). Routes do so themselves, but for `auto_accept=False`.

        Args:
            subprotocol: one that the client offers. If None, the first of the route's `subprotocols` that it offers.
            headers: further headers of the answer.

        Raises:
            LocalProtocolError: the handshake was answered before, or the subprotocol was not offered.
            ValueError: a header cannot be sent, or is one that the handshake sets itself.
            WebSocketDisconnect: the client has left.
            trio.Cancelled: nothing was sent.
        """
        gate = self._open_gate("accept()")
        if subprotocol is None:
            subprotocol = next((mine for mine in self._offers if mine in self.request.subprotocols), None)
        self._channel = await gate.accept(subprotocol, self._with_own(headers))
        self.subprotocol = subprotocol
        if self._on_accept is not None:
            self._on_accept()

    async def reject(self, status: int = 403, headers: HeaderSource = (), body: bytes = b"") -> None:
        """Answer the handshake with an HTTP status; the handler ends here, silently.

        Args:
            status: 300 to 599.
            headers: further headers of the answer.
            body: what the answer says.

        Raises:
            LocalProtocolError: the handshake was answered before.
            ValueError: the status is out of range, or a header cannot be sent.
            trio.Cancelled: the handler's own scope is cancelled as soon as the answer is on its way.
        """
        if not 300 <= status <= 599:
            raise ValueError(f"a handshake is rejected with an HTTP status from 300 to 599, not {status}")
        gate = self._open_gate("reject()")
        await gate.reject(status, self._with_own(headers), body)
        self._rejected = True
        if self._scope is not None:
            self._scope.cancel(reason=f"handshake rejected with {status}")
        await trio.lowlevel.checkpoint()

    def _with_own(self, headers: HeaderSource) -> HeaderSource:
        """Return `headers` and those that the application adds to every answer."""
        if self._on_answer is None:
            return headers
        return [*header_pairs(headers), *self._on_answer()]

    def _open_gate(self, what: str) -> PendingHandshake:
        if self._gate is None:
            raise LocalProtocolError(f"{what} on a connection that this side has opened")
        if self._channel is not None:
            raise LocalProtocolError(
                f"{what} on an accepted connection: the route accepts by itself unless auto_accept=False"
            )
        if self._rejected:
            raise LocalProtocolError(f"{what} after the handshake was rejected")
        return self._gate

    def _open_channel(self) -> Channel:
        if self._channel is not None:
            return self._channel
        if self._rejected:
            raise disconnect_of(self._gate, CloseCode.ABNORMAL_CLOSURE, "handshake rejected")
        raise LocalProtocolError("the connection is not accepted yet: call accept(), or use 'async with ws'")

    def _owns(self, error: BaseException) -> bool:
        """Say whether an error, or all of a group, tells of the end of this connection, not of another's."""
        origin = self._gate if self._channel is None else self._channel.origin
        return origin is not None and all(
            isinstance(leaf, WebSocketDisconnect) and leaf.origin is origin for leaf in leaves(error)
        )

    def _cleanup_deadline(self) -> float:
        """Return when clean-up that begins now must be done; that of a cancelled handler has one deadline."""
        deadline = trio.current_time() + self._cleanup_timeout
        if self._scope is not None and self._scope.cancel_called:
            deadline = self._cleanup_until = min(self._cleanup_until, deadline)
        return deadline

    def _note_cut_off(self) -> None:
        self._log.warning(
            "clean-up in %s took longer than cleanup_timeout, %g s: it was cancelled", self._cleanup_timeout
        )
