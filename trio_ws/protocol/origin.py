"""The origin policy: may a page of this origin (RFC 6454) open a WebSocket here? Nothing else is in here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Literal, TypeAlias

from trio_ws.headers import Headers
from trio_ws.protocol.request import BadRequest
from trio_ws.url import split_host

__all__ = ["Origins", "check_origin", "origin_allowed"]

Origins: TypeAlias = Sequence[str] | Literal["*"] | None
"""What `origins=` takes: origins like `"https://example.org"`, `"*"` for all, None for the server's own."""

_Origin: TypeAlias = tuple[str, str, int | None]
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)")
# "null" (RFC 6454 7.1), which many pages share, and "file://", which applications in a web view send, with its kind.
_WITHOUT_HOST = re.compile(r"null|(?!https?:)[A-Za-z][A-Za-z0-9+.-]*://")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = "localhost"


def origin_allowed(origin: str, host: str, secure: bool, allowed: Origins) -> bool:
    """Decide about a request that has an Origin header; one without it does not come from a page.

    The server's own origin is always allowed; `localhost`, 127.0.0.0/8 and ::1 on one port are one origin.
    Behind a proxy that ends TLS we see a plain request of an https page, so an https origin is compared with
    the Host header as if that had come over TLS: the name must be the same, and the port too, 443 where none
    is given. The reverse, an http page on a TLS connection, is another origin.

    Args:
        origin: the Origin header.
        host: the Host header.
        secure: whether the request came over TLS.
        allowed: further origins, compared without regard to case and with their default ports; `"*"` for all.

    Returns:
        Whether it is allowed; a malformed origin or host is not, unless all are.
    """
    if allowed == "*":
        return True
    theirs = _parse(origin)
    if theirs is None:
        # An origin without a host is no server's, but may be allowed as it is.
        return _WITHOUT_HOST.fullmatch(origin) is not None and origin in (allowed or ())
    return _same_origin(theirs, host, secure) or theirs in map(_parse, allowed or ())


def check_origin(headers: Headers, allowed: Origins, *, secure: bool) -> None:
    """Refuse a request from a page of an origin that is not allowed; its Origin occurs once at most.

    Raises:
        BadRequest: 403.
    """
    origin = headers.get("origin")
    host = headers.get("host", "")
    if origin is not None and not origin_allowed(origin, host, secure, allowed):
        raise BadRequest(403, f"origin {origin[:200]!a} is not the origin of host {host[:200]!a}, nor in origins=")


def _same_origin(theirs: _Origin, host: str, secure: bool) -> bool:
    scheme = "https" if secure or theirs[0] == "https" else "http"
    ours = _parse(f"{scheme}://{host}")
    return ours is not None and _one_loopback(theirs) == _one_loopback(ours)


def _one_loopback(origin: _Origin) -> _Origin:
    scheme, host, port = origin
    return (scheme, _LOOPBACK if _is_loopback(host) else host, port)


def _is_loopback(host: str) -> bool:
    if host == _LOOPBACK:
        return True
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    # In Python before 3.13 an IPv4 address in IPv6 form (RFC 4291 2.5.5.2) is no loopback address by itself.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _parse(origin: str) -> _Origin | None:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, authority = match.groups()
    try:
        host, port = split_host(authority)
    except ValueError:
        return None
    return (scheme, host, port or _DEFAULT_PORTS.get(scheme))
