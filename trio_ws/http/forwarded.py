"""The client's address behind trusted proxies.

Only `X-Forwarded-For` and `X-Forwarded-Proto` are read. `Forwarded` (RFC 7239) has the same contents, but most proxies
pass on a client's own: to read both would let clients choose their address.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, TypeAlias

from trio_ws.addresses import Address
from trio_ws.headers import Headers
from trio_ws.http.head import elements
from trio_ws.options import list_of

__all__ = ["TrustedProxies", "forwarded", "parse_trusted_proxies"]

TrustedProxies: TypeAlias = "tuple[IPv4Network | IPv6Network | Literal['unix'], ...]"
"""Networks whose proxies send correct headers; "unix" for all requests over a Unix socket."""

MAX_PROXIES = 32
"""Addresses that are looked at: no request passes more proxies, and a client may write thousands of trusted ones."""
_MAX_PORT_DIGITS = 5
_MAX_ADDRESS = 45
"""Characters of the longest IP address: an IPv6 one that ends with an IPv4 one."""

_SECURE = {"https": True, "wss": True, "http": False, "ws": False}


def parse_trusted_proxies(value: Iterable[str]) -> TrustedProxies:
    """Parse `trusted_proxies=`: addresses, networks (`10.0.0.0/8`), or "unix".

    Raises:
        TypeError: a single one was given where a list of them is expected, or one is no text.
        ValueError: one of them is no address and no network.
    """
    listed = list_of("trusted_proxies", value, "addresses and networks")
    return tuple("unix" if each == "unix" else _network(each) for each in listed)


def _network(text: object) -> IPv4Network | IPv6Network:
    if not isinstance(text, (str, IPv4Network, IPv6Network, IPv4Address, IPv6Address)):
        raise TypeError(f'trusted_proxies takes addresses, networks and "unix", not {text!r}')
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f'trusted_proxies takes addresses, networks and "unix", not {text!r}: {error}') from None


def forwarded(headers: Headers, peer: Address, secure: bool, trusted: TrustedProxies) -> tuple[Address, bool]:
    """Return the client's address, and whether it used TLS.

    Both are the network connection's own unless the peer is a trusted proxy. The list of addresses is read from its
    end, where our proxy has written, up to the first one that is no trusted proxy: all before it is the client's own
    claim. An unknown port is 0.

    Args:
        headers: of the request.
        peer: the other end of the network connection.
        secure: whether that connection is TLS.
        trusted: the proxies whose headers are used.
    """
    if not trusted or not _trusts(peer, trusted):
        return peer, secure
    client = peer
    for entry in reversed(elements(headers.get_list("x-forwarded-for"))[-MAX_PROXIES:]):
        address = _address(entry)
        if address is None:  # "unknown", or malformed: the last valid one is the best we have
            break
        client = address
        if not _trusts(client, trusted):
            break
    schemes = elements(headers.get_list("x-forwarded-proto"))
    return client, _SECURE.get(schemes[-1].lower(), secure) if schemes else secure


def _trusts(address: Address, trusted: TrustedProxies) -> bool:
    if isinstance(address, str):
        return "unix" in trusted
    if address is None:
        return False
    host = _ip(address[0].partition("%")[0])  # a link-local peer's has a zone
    return host is not None and any(each != "unix" and host in each for each in trusted)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, one of IPv4 in its own form.

    It may be written as one of IPv6 (RFC 4291 2.5.5.2). One with a zone (RFC 4007 11) is none: a zone is any text, and
    means something on the sender's machine only.
    """
    if len(text) > _MAX_ADDRESS or "%" in text:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _address(entry: str) -> tuple[str, int] | None:
    """Return the address in one entry, with or without a port.

    Forms are `192.0.2.1:80`, `2001:db8::1` and `[2001:db8::1]:80`.
    """
    host, port = entry, ""
    if entry.startswith("["):
        host, bracket, port = entry[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif entry.count(":") == 1:
        host, _, port = entry.partition(":")
    address, number = _ip(host), _port(port)
    return None if address is None or number is None else (str(address), number)


def _port(digits: str) -> int | None:
    """Return a port, 0 for `""`, None if it is malformed.

    Digits are counted before they are converted.
    """
    if len(digits) > _MAX_PORT_DIGITS or not (digits.isascii() and (digits or "0").isdecimal()):
        return None
    port = int(digits or 0)
    return port if port <= 65535 else None
