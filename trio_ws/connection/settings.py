"""The settings of the connections of a server or a client, which a route may override."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import attrs

from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.encoders import ToJSON, encoder_from
from trio_ws.http.forwarded import TrustedProxies, parse_trusted_proxies
from trio_ws.http.hosts import Hosts, parse_hosts
from trio_ws.http.origin import listed_origin
from trio_ws.options import list_of, of_kind

__all__ = ["Origins", "Settings", "compression_of", "origins_of"]

Origins: TypeAlias = "Iterable[str] | Literal['*'] | None"
"""Who may connect from a browser: None for pages of the same origin, "*" for all, or those origins beside it."""


def compression_of(value: Compression | bool | None) -> Compression | None:
    """Return the checked value of `compression=`: True for the defaults, False and None for none.

    Raises:
        TypeError: it is nothing of these.
    """
    if value is None or isinstance(value, Compression):
        return value
    if not isinstance(value, bool):
        raise TypeError(f"compression takes a Compression, True or False, not {value!r}")
    return Compression() if value else None


def origins_of(value: Origins) -> tuple[str, ...] | Literal["*"] | None:
    """Return the checked value of `origins=`.

    Raises:
        TypeError: a single origin was given where a list of them is expected, or one of them is not a str.
        ValueError: no request has such an origin.
    """
    if value is None or value == "*":
        return value
    return tuple(map(listed_origin, list_of("origins", value, 'origins, None or "*"')))


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a server or a client."""

    limits: Limits = attrs.field(factory=Limits, validator=of_kind(Limits))
    timeouts: Timeouts = attrs.field(factory=Timeouts, validator=of_kind(Timeouts))
    compression: Compression | None = attrs.field(default=None, converter=compression_of)
    origins: tuple[str, ...] | Literal["*"] | None = attrs.field(default=None, converter=origins_of)
    hosts: Hosts = attrs.field(default=None, converter=parse_hosts)
    """The hosts that requests may be for; None for every host."""
    trusted_proxies: TrustedProxies = attrs.field(default=(), converter=parse_trusted_proxies)
    """Who is believed what it says of the client in `X-Forwarded-For` and `X-Forwarded-Proto`."""
    json: ToJSON = attrs.field(default=None, converter=encoder_from)
    """Encodes all JSON that is sent."""
