"""The parts of a connection that are its request's, or an application's, and need no answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs

from trio_ws.addresses import named
from trio_ws.errors import LocalProtocolError
from trio_ws.native.choice import FaceState
from trio_ws.transport.listeners import get_own_address, get_peer
from trio_ws.websocket.context import ConnectionContext

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from trio_ws.addresses import NamedAddress
    from trio_ws.headers import Headers
    from trio_ws.http.request import Request
    from trio_ws.http.url import URL, QueryParameters

__all__ = ["RequestView"]


class RequestView(FaceState):
    """A request for a WebSocket, with its addresses and the application's data."""

    __slots__ = ()

    def __init__(self, context: ConnectionContext) -> None:
        self.context: ConnectionContext = context
        """The library's state of this connection. It is not for applications, and may change in any release."""

    # --- the request ---------------------------------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The client's request."""
        return self.context.request

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
    def query_params(self) -> QueryParameters:
        """The query of the request, by the name that Starlette's documents use."""
        return self.request.query_parameters

    @property
    def path_parameters(self) -> Mapping[str, Any]:
        """The values that the route took from the path."""
        return self.request.path_parameters

    @property
    def path_params(self) -> Mapping[str, Any]:
        """The values from the path, by the name that Starlette's documents use."""
        return self.request.path_parameters

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the request."""
        return self.request.cookies

    # --- addresses -----------------------------------------------------------------------------------------------

    @property
    def client(self) -> NamedAddress:
        """The address of the peer: `host` and `port`, the path of a Unix socket, or None."""
        return self.request.client

    @property
    def local_address(self) -> NamedAddress:
        """The address of this side's socket: host and port, or the path of a Unix socket.

        None without a socket, as in memory or under an ASGI server, and once the socket is closed.
        """
        sock = self.context.sock
        return None if sock is None else named(get_own_address(sock))

    @property
    def remote_address(self) -> NamedAddress:
        """The address of the other side's socket, on either side: a proxy's, if there is one in between.

        None without a socket, as in memory or under an ASGI server, and once the socket is closed.
        """
        sock = self.context.sock
        return None if sock is None else named(get_peer(sock))

    @property
    def number(self) -> int:
        """The number of the connection within its server, as it stands in log records and task names; else 0."""
        return self.context.log.number

    # --- the application -----------------------------------------------------------------------------------------

    @property
    def session(self) -> MutableMapping[str, Any]:
        """The client's session, which can be changed before the handshake is answered, and only be read after.

        Raises:
            LocalProtocolError: the application has no sessions.
        """
        if self.context.session is None:
            raise LocalProtocolError("there are no sessions here: give the application sessions=Sessions(secret_key)")
        return self.context.session

    @property
    def state(self) -> SimpleNamespace:
        """Yours: attributes of this connection, for its guards, dependencies, handler and callbacks.

        It is made when it is first used. `app.state` is that of all connections.
        """
        if self.context.state is None:
            self.context.state = SimpleNamespace()
        return self.context.state

    @property
    def app(self) -> Any:
        """The `App` of the route, until the handler has ended.

        Raises:
            LocalProtocolError: there is no application behind this connection.
        """
        if self.context.invocation is None:
            raise LocalProtocolError("there is no App behind this connection, or its handler has ended")
        return self.context.invocation.app

    def url_for(self, name: str, /, **parameters: Any) -> URL:
        """Return the full URL of a route, with the scheme and host of this request.

        Args:
            name: the route's `name=`, else the name of its function.
            parameters: values of the path's parameters.

        Raises:
            LocalProtocolError: there is no application behind this connection.
            LookupError: there is no such route.
            ValueError: a parameter is missing, is not of the path, or does not fit.
        """
        return attrs.evolve(self.url, raw_path=self.app.url_for(name, **parameters), query="")
