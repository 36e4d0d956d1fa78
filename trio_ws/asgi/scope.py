"""Conversion and checks of an ASGI scope, and the types of ASGI 3.0."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, unquote

import attrs
from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import server_extensions_handshake

from trio_ws.addresses import SocketAddress
from trio_ws.handler.post_endpoint import find_endpoint
from trio_ws.headers import Headers, is_token
from trio_ws.http import origin
from trio_ws.http.forwarded import forwarded
from trio_ws.http.head import MalformedRequest, check_sizes
from trio_ws.http.hosts import check_host
from trio_ws.http.parser import RequestHead, check_http, in_origin_form
from trio_ws.http.request import Request
from trio_ws.protocol.negotiation import ExtensionSyntaxError, parse_extensions

if TYPE_CHECKING:
    from trio_ws.addresses import Address
    from trio_ws.connection.settings import Settings

__all__ = [
    "Application",
    "Event",
    "Receive",
    "Scope",
    "Send",
    "check_offers",
    "check_origin",
    "read_request",
    "root_path_of",
]

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI 3 application."""

_SAFE: Final = "/:@!$&'()*+,;=~-._"
"""Characters that are not percent-encoded in a path (RFC 3986 3.3)."""


def read_request(scope: Scope, settings: Settings, responder: object = None) -> Request:
    """Return the request of an `http` or `websocket` scope.

    Its target is relative to the `root_path`; headers of `trusted_proxies` determine client and scheme.

    Args:
        scope: of the request.
        settings: the server's settings.
        responder: its endpoints are allowed other methods than GET and HEAD.

    Raises:
        MalformedRequest: the Host, path or method is invalid; 421 for a host that is not served; 414 or 431 for a head
            beyond the limits.
    """
    query: bytes = scope.get("query_string", b"")
    head = in_origin_form(
        RequestHead(
            method=scope.get("method", "GET"),
            target=_path(scope),
            http_version="1.1",
            headers=Headers(scope["headers"]),
        )
    )
    line = f"{head.method} {head.target}{'?' * bool(query)} HTTP/1.1"
    check_sizes(len(line) + len(query), scope["headers"], settings.limits)
    root_path, target = _below_root(head.target, scope)
    endpoint = find_endpoint(responder, head.method, target)
    if query:
        target = f"{target}?{query.decode('latin-1')}"
    headers = head.headers
    # The ASGI server has read the body's framing; all other checks are those of our own server.
    plain = Headers([(name, value) for name, value in headers.pairs if name not in _FRAMING])
    version = "1.0" if scope.get("http_version") == "1.0" else "1.1"  # the rules of 1.1 hold for HTTP/2
    checked = attrs.evolve(head, target=target, headers=plain, http_version=version)
    check_http(checked, takes_body=endpoint is not None)
    secure = scope.get("scheme") in ("https", "wss")
    client, secure = forwarded(headers, _client(scope), secure, settings.trusted_proxies)
    check_host(headers, settings.hosts, secure=secure)
    return Request(
        method=head.method,
        target=target,
        headers=headers,
        client=client,
        secure=secure,
        subprotocols=tuple(scope.get("subprotocols", ())),
        root_path=root_path,
    )


_FRAMING: Final = ("content-length", "transfer-encoding")


def root_path_of(scope: Scope) -> str:
    """Return the mount point, percent-encoded, without a slash at the end; "" at the root.

    It begins with exactly one slash. A mount with parameters takes its path from the client, and "//host" at the
    beginning of a Location or of `url_for` would be another host.
    """
    root = scope.get("root_path", "").strip("/")
    return f"/{quote(root, _SAFE)}" if root else ""


def _path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    path: str = quote(scope["path"], _SAFE) if raw is None else raw.decode("latin-1")
    return path


def _below_root(path: str, scope: Scope) -> tuple[str, str]:
    """Return the `root_path` and the path below it.

    Some servers and proxies remove the `root_path` from the path, others do not.
    """
    root = root_path_of(scope)
    segments = path.split("/")
    depth = root.count("/") + 1
    if root and unquote("/".join(segments[:depth])) == unquote(root):  # "%c3" and "%C3" are the same
        return root, "/" + "/".join(segments[depth:])
    return root, path


def _client(scope: Scope) -> Address:
    client = scope.get("client")
    return None if client is None else SocketAddress(str(client[0]), int(client[1]))


def check_origin(request: Request, settings: Settings) -> None:
    """Check the Origin header against `Settings.origins`.

    Raises:
        MalformedRequest: 403 for an origin that is not allowed, 400 for more than one.
    """
    if request.headers.count("origin") > 1:
        raise MalformedRequest(400, "header 'origin' occurs more than once")
    origin.check_origin(request.headers, settings.origins, secure=request.secure)


def check_offers(request: Request) -> None:
    """Check subprotocols and extensions, since a server with wsproto fails at bad ones.

    Raises:
        MalformedRequest: 400 for invalid or repeated subprotocols, and for malformed extensions.
    """
    offered = request.subprotocols
    if not all(map(is_token, offered)) or len(set(offered)) < len(offered):
        raise MalformedRequest(400, "Sec-WebSocket-Protocol must name tokens, each once")
    extensions = request.headers.get_list("sec-websocket-extensions")
    try:
        for value in extensions:
            parse_extensions(value)
            server_extensions_handshake(value.split(","), [PerMessageDeflate()])
    except (ExtensionSyntaxError, ValueError, IndexError) as error:
        raise MalformedRequest(400, f"bad Sec-WebSocket-Extensions: {str(error)!a}") from None
