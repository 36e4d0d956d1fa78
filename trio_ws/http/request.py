"""The immutable request of a client."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

from trio_ws.addresses import Address, NamedAddress, named
from trio_ws.headers import Headers, parse_cookies
from trio_ws.http.url import URL, QueryParameters

__all__ = ["Request", "current_root_path"]

current_root_path: Final[ContextVar[str]] = ContextVar("current_root_path", default="")
"""The `root_path` of the request that the current task, or thread, works on."""

_NONE: Mapping[str, Any] = MappingProxyType({})
"""The path parameters, or cookies, of every request without any."""
_NO_QUERY = QueryParameters()
"""The query of every request without one."""


class Request:
    """An HTTP request, with the parts that a WebSocket server uses.

    Args:
        method: "GET" or "HEAD".
        target: path and query, percent-encoded, below `root_path`.
        headers: as received.
        client: the address of the peer.
        secure: whether it came over TLS.
        subprotocols: those that the client offers, its favourite first.
        path_parameters: taken from the path by the route, converted.
        root_path: where an ASGI server or application has mounted the application, percent-encoded; "" at the root.
    """

    __slots__ = (
        "_address",
        "_cookies",
        "_query",
        "_url",
        "headers",
        "method",
        "path_parameters",
        "root_path",
        "secure",
        "subprotocols",
        "target",
    )

    def __init__(
        self,
        *,
        method: str = "GET",
        target: str,
        headers: Headers,
        client: Address = None,
        secure: bool = False,
        subprotocols: tuple[str, ...] = (),
        path_parameters: Mapping[str, Any] | None = None,
        root_path: str = "",
    ) -> None:
        self.method: str = method
        self.target: str = target
        self.headers: Headers = headers
        """Immutable and case-insensitive."""
        self._address = client
        self.secure: bool = secure
        self.subprotocols: tuple[str, ...] = subprotocols
        self.path_parameters: Mapping[str, Any] = MappingProxyType(dict(path_parameters)) if path_parameters else _NONE
        """The parameters that the route found in the path."""
        self.root_path: str = root_path
        self._url: URL | None = None
        self._query: QueryParameters | None = None
        self._cookies: Mapping[str, str] | None = None

    @property
    def url(self) -> URL:
        """The full URL of the request.

        It is made from its Host header (`localhost` without one), `root_path` and target.
        """
        if self._url is None:
            host = self.headers.get("host") or "localhost"
            self._url = URL.of_request(host, self.root_path + self.target, secure=self.secure)
        return self._url

    @property
    def client(self) -> NamedAddress:
        """The address of the peer: host and port, the path of a Unix socket, or None."""
        return named(self._address)

    @property
    def raw_path(self) -> str:
        """The path below `root_path`, percent-encoded, as routes match it."""
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        """The path below `root_path`, decoded."""
        return unquote(self.raw_path)

    @property
    def query_parameters(self) -> QueryParameters:
        """The query, immutable and dictionary-like; the last of repeated values counts."""
        if self._query is None:
            query = self.target.partition("?")[2]
            self._query = QueryParameters(query) if query else _NO_QUERY
        return self._query

    @property
    def query_params(self) -> QueryParameters:
        """The query, by the name that Starlette's documents use."""
        return self.query_parameters

    @property
    def path_params(self) -> Mapping[str, Any]:
        """The path parameters, by the name that Starlette's documents use."""
        return self.path_parameters

    @property
    def params(self) -> Mapping[str, Any]:
        """The path parameters, by the name that Cello's documents use."""
        return self.path_parameters

    @property
    def cookies(self) -> dict[str, str]:
        """The request's cookies, decoded, as a new dictionary."""
        return dict(self.parsed_cookies)

    @property
    def parsed_cookies(self) -> Mapping[str, str]:
        """The request's cookies, decoded and parsed once."""
        if self._cookies is None:
            values = self.headers.get_list("cookie")
            self._cookies = MappingProxyType(parse_cookies(values)) if values else _NONE
        return self._cookies

    def with_path_parameters(self, parameters: Mapping[str, Any]) -> Request:
        """Return a copy of the request with a route's path parameters."""
        request = Request(
            method=self.method,
            target=self.target,
            headers=self.headers,
            client=self._address,
            secure=self.secure,
            subprotocols=self.subprotocols,
            path_parameters=parameters,
            root_path=self.root_path,
        )
        request._url, request._query, request._cookies = self._url, self._query, self._cookies
        return request

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"
