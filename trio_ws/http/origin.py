"""The policy for Origin headers (RFC 6454) of pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Literal, TypeAlias

from trio_ws.headers import Headers
from trio_ws.http.head import MalformedRequest
from trio_ws.http.url import ascii_host, split_host

__all__ = ["Origin", "Origins", "check_origin", "listed_origin", "origin_allowed", "page_origin"]

Origins: TypeAlias = Sequence[str] | Literal["*"] | None
"""What `origins=` takes: origins like `"https://example.org"`, `"*"` for all, None for the server's own."""

Origin: TypeAlias = tuple[str, str, int | None]
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]*)")
# "null" (RFC 6454 7.1), which many pages share, and what applications in a web view send, such as "file://" and "app://.":
# their hosts need not be domain names.
_APPLICATION = re.compile(r"null|(?!(?i:https?|wss?):)[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = "localhost"
_WRONG = "it has a scheme, a host and perhaps a port, and no patterns"


def origin_allowed(origin: str, host: str, secure: bool, allowed: Origins) -> bool:
    """Return whether a request with this Origin header is allowed.

    A request without the header does not come from a page.

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
        return _APPLICATION.fullmatch(origin) is not None and origin in (allowed or ())
    return _same_origin(theirs, host, secure) or theirs in map(_parse, allowed or ())


def check_origin(headers: Headers, allowed: Origins, *, secure: bool) -> None:
    """Refuse a request from a page of another origin.

    Its Origin header occurs once at most.

    Raises:
        MalformedRequest: 403.
    """
    origin = headers.get("origin")
    host = headers.get("host", "")
    if origin is not None and not origin_allowed(origin, host, secure, allowed):
        raise MalformedRequest(
            403, f"origin {origin[:200]!a} is not the origin of host {host[:200]!a}, nor in origins="
        )


def page_origin(text: object, option: str) -> Origin:
    """Parse an origin in an option: scheme, ASCII host, and port.

    Raises:
        TypeError: it is not a str.
        ValueError: it is not the origin of a page. The message shows the right form, with the option's name.
    """
    form = f'{option} lists origins such as "https://example.org" or "http://localhost:3000"'
    if not isinstance(text, str):
        raise TypeError(f"{form}, not {text!r}")
    scheme, separator, authority = text.partition("://")
    host_port = authority.rstrip("/")
    if not separator:
        raise ValueError(f'{form}, not {text!r}: the scheme is missing, as in "https://{text}"')
    if scheme.lower() in ("ws", "wss"):
        raise ValueError(f'{form}, not {text!r}: a page is at "{scheme.lower().replace("ws", "http")}://{host_port}"')
    if host_port != authority or any(sign in host_port for sign in "/?#"):
        host_port = re.split("[/?#]", host_port, maxsplit=1)[0]
        raise ValueError(f'{form}, not {text!r}: it ends after host and port, as in "{scheme}://{host_port}"')
    try:
        origin = _parse(f"{scheme}://{ascii_host(host_port)}")
    except ValueError as error:
        raise ValueError(f"{form}, not {text!r}: {error}") from None
    if origin is None:
        raise ValueError(f"{form}, not {text!r}: {_WRONG}")
    return origin


def listed_origin(text: object) -> str:
    """Parse an origin in `origins=`, for `origin_allowed`.

    Raises:
        TypeError: it is not a str.
        ValueError: no request has such an origin.
    """
    if text == "*":
        raise ValueError('origins lists origins: write origins="*", without brackets, to allow all')
    if isinstance(text, str) and _APPLICATION.fullmatch(text):
        return text.lower()
    scheme, host, port = page_origin(text, "origins")
    return f"{scheme}://{host}" if port is None else f"{scheme}://{host}:{port}"


def _same_origin(theirs: Origin, host: str, secure: bool) -> bool:
    scheme = "https" if secure or theirs[0] == "https" else "http"
    ours = _parse(f"{scheme}://{host}")
    return ours is not None and _one_loopback(theirs) == _one_loopback(ours)


def _one_loopback(origin: Origin) -> Origin:
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


def _parse(origin: str) -> Origin | None:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return None
    scheme, authority = match.groups()
    try:
        host, port = split_host(authority)
    except ValueError:
        return None
    return (scheme, host, port or _DEFAULT_PORTS.get(scheme))
