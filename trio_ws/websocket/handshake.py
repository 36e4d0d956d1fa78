"""The half of `WebSocket` that is available before the handshake is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trio_ws.errors import HeaderSource, LocalProtocolError
from trio_ws.native.choice import FaceState
from trio_ws.transport.listeners import get_own_address, get_peer
from trio_ws.websocket.context import ConnectionContext

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from trio_ws.headers import Headers
    from trio_ws.http.request import Address, Request
    from trio_ws.http.url import URL, QueryParameters

__all__ = ["Handshake"]


class Handshake(FaceState):
    """A request for a WebSocket, and its answer. Handlers get it as a `WebSocket`."""

    __slots__ = ()

    def __init__(self, context: ConnectionContext) -> None:
        self.context: ConnectionContext = context
        """The library's state of this connection. It is not for applications, and may change in any release."""

    @property
    def request(self) -> Request:
        """The client's request."""
        return self.context.request

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol; None before the answer, or if there is none."""
        return self.context.subprotocol

    @property
    def response_headers(self) -> Headers | None:
        """On a client the headers of the server's 101; on a server None."""
        return self.context.response_headers

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
        """The values that the route took from the path."""
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
    def local_address(self) -> Address:
        """The address of this side's socket: host and port, or the path of a Unix socket.

        None without a socket, as in memory or under an ASGI server, and once the socket is closed.
        """
        sock = self.context.sock
        return None if sock is None else get_own_address(sock)

    @property
    def remote_address(self) -> Address:
        """The address of the other side's socket, on either side: a proxy's, if there is one in between.

        None without a socket, as in memory or under an ASGI server, and once the socket is closed.
        """
        sock = self.context.sock
        return None if sock is None else get_peer(sock)

    @property
    def number(self) -> int:
        """The number of the connection within its server, as it stands in log records and task names; else 0."""
        return self.context.log.number

    @property
    def accepted(self) -> bool:
        """Whether the handshake was accepted; it stays so after the connection has ended."""
        return self.context.channel is not None

    @property
    def session(self) -> MutableMapping[str, Any]:
        """The client's session, which can be changed before the handshake is answered, and only be read after.

        Raises:
            LocalProtocolError: the application has no sessions.
        """
        if self.context.session is None:
            raise LocalProtocolError("there are no sessions here: give the application sessions=Sessions(secret_key)")
        return self.context.session

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
        await self.context.accept(subprotocol, headers)

    async def reject(self, status: int = 403, headers: HeaderSource = (), body: bytes = b"") -> None:
        """Answer the handshake with an HTTP status; the handler ends here, silently.

        Args:
            status: 300 to 599.
            headers: further headers of the answer.
            body: the body of the answer.

        Raises:
            LocalProtocolError: the handshake was answered before.
            ValueError: the status is out of range, or a header cannot be sent.
            trio.Cancelled: the handler's own scope is cancelled as soon as the answer is on its way.
        """
        await self.context.reject(status, headers, body)
