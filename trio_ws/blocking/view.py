"""The parts of `BlockingWebSocket` that do not wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from types import SimpleNamespace

    from trio_ws.addresses import NamedAddress
    from trio_ws.headers import Headers
    from trio_ws.http.request import Request
    from trio_ws.http.url import URL, QueryParameters
    from trio_ws.websocket.credentials import Credentials
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["BlockingView"]


class BlockingView:
    """A connection's request and state, as plain handlers see them."""

    __slots__ = ("_websocket",)

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    # --- the request ---------------------------------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The request of the handshake."""
        return self._websocket.request

    @property
    def url(self) -> URL:
        """The full URL of the request."""
        return self._websocket.url

    @property
    def headers(self) -> Headers:
        """The headers of the request."""
        return self._websocket.headers

    @property
    def query_parameters(self) -> QueryParameters:
        """The query of the request."""
        return self._websocket.query_parameters

    @property
    def path_parameters(self) -> Mapping[str, Any]:
        """The parameters from the route's path."""
        return self._websocket.path_parameters

    query_params = query_parameters
    path_params = path_parameters

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies of the request."""
        return self._websocket.cookies

    @property
    def client(self) -> NamedAddress:
        """The address of the peer."""
        return self._websocket.client

    @property
    def session(self) -> MutableMapping[str, Any]:
        """The client's session."""
        return self._websocket.session

    @property
    def state(self) -> SimpleNamespace:
        """Yours: attributes of this connection."""
        return self._websocket.state

    @property
    def app(self) -> Any:
        """The `App` of the route, until the handler has ended."""
        return self._websocket.app

    def url_for(self, name: str, /, **parameters: Any) -> URL:
        """Return the full URL of a route."""
        return self._websocket.url_for(name, **parameters)

    @property
    def accepted(self) -> bool:
        """Whether the handshake was answered with yes."""
        return self._websocket.accepted

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on."""
        return self._websocket.subprotocol

    @property
    def connected(self) -> bool:
        """Whether messages may be sent."""
        return self._websocket.connected

    @property
    def close_code(self) -> int | None:
        """Code of the first close frame; None while the connection is open."""
        return self._websocket.close_code

    @property
    def close_reason(self) -> str | None:
        """Reason of the first close frame; None while the connection is open."""
        return self._websocket.close_reason

    @property
    def credentials(self) -> Credentials | None:
        """The credentials by which the connection is open; None without any."""
        return self._websocket.credentials
