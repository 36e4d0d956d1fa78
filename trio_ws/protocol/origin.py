"""The origin policy: may a page of this origin (RFC 6454) open a WebSocket here? Nothing else is in here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import Literal, TypeAlias

from trio_ws.url import split_host

__all__ = ["Origins", "is_origin", "origin_allowed"]

Origins: TypeAlias = Sequence[str] | Literal["*"] | None
"""What `origins=` takes: origins like `"https://example.org"`, `"*"` for all, None for the server's own."""

_Origin: TypeAlias = tuple[str, str, int | None]
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)")
_HOSTLESS = re.compile(r"[a-z][a-z0-9+.-]*://")
# Browsers write names in ASCII ("xn--"), and IPv6 addresses in brackets.
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
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
        # "null" (RFC 6454 7.1), which many pages share, is no server's origin, but may be allowed by name.
        return origin == "null" and "null" in (allowed or ())
    return _same_origin(theirs, host, secure) or theirs in map(_parse, allowed or ())


def is_origin(text: str) -> bool:
    """Return whether a text can be the value of an Origin header (RFC 6454 7), and so be allowed by name."""
    scheme = text.lower().partition(":")[0]
    if scheme in ("ws", "wss"):  # a page's scheme is that of HTTP
        return False
    if text == "null" or (scheme not in _DEFAULT_PORTS and _HOSTLESS.fullmatch(text.lower())):
        return True
    parsed = _parse(text)
    return parsed is not None and not text.endswith(":") and _HOST.fullmatch(parsed[1]) is not None


def _same_origin(theirs: _Origin, host: str, secure: bool) -> bool:
    scheme = "https" if secure or theirs[0] == "https" else "http"
    ours = _parse(f"{scheme}://{host}")
    return ours is not None and _one_loopback(theirs) == _one_loopback(ours)


def _one_loopback(origin: _Origin) -> _Origin:
    scheme, host, port = origin
    return (scheme, _LOOPBACK if _is_loopback(host) else host, port)


def _is_loopback(host: str) -> bool:
    try:
        return host in (_LOOPBACK, "[::1]") or IPv4Address(host).is_loopback
    except AddressValueError:
        return False


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
