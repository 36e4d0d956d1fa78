"""Settings: what holds for every connection of a server or a client unless a route says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

from trio_ws.checks import check_number, check_text, list_of
from trio_ws.codes import CloseCode, is_wire_code
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.headers import is_token
from trio_ws.protocol.forwarded import TrustedProxies, proxies_of
from trio_ws.protocol.origin import is_origin

if TYPE_CHECKING:
    from trio_ws.websocket import CaughtCodes

__all__ = ["Origins", "Settings", "close_codes_of", "compression_of", "of_kind", "origins_of", "subprotocols_of"]

Origins: TypeAlias = "Iterable[str] | Literal['*'] | None"
"""Who may connect from a browser: None for pages of the same origin, "*" for all, or those origins beside it."""


def compression_of(value: Compression | bool | None) -> Compression | None:
    """Return what `compression=` means: True for the defaults, False and None for no compression.

    Raises:
        TypeError: it is nothing of these.
    """
    if value is None or isinstance(value, Compression):
        return value
    if not isinstance(value, bool):
        raise TypeError(f"compression takes a Compression, True or False, not {value!r}")
    return Compression() if value else None


def of_kind(kind: type[Any], *, optional: bool = False) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Return a validator of attrs: a value is a `kind`, or None if it is optional, else it is a `TypeError`."""

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not (isinstance(value, kind) or (optional and value is None)):
            place = next((name for name, other in _PLACES.items() if type(value) is other), "")
            hint = f": that is {place}=" if place else ""
            raise TypeError(f"{attribute.name} takes {kind.__name__}(...), not {value!r}{hint}")

    return check


_PLACES: Final = {"limits": Limits, "timeouts": Timeouts, "compression": Compression}


def origins_of(value: Origins) -> tuple[str, ...] | Literal["*"] | None:
    """Return what `origins=` means.

    Raises:
        TypeError: a single origin was given where a list of them is expected, or one of them is no text.
        ValueError: one of them is none that a browser sends.
    """
    if value is None or value == "*":
        return value
    if isinstance(value, str):
        raise TypeError(f'origins takes a list of origins, None or "*": write origins=[{value!r}]')
    if not isinstance(value, Iterable):
        raise TypeError(f'origins takes a list of origins, None or "*", not {value!r}')
    return tuple(map(_origin, value))


def _origin(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"an origin is text such as 'https://example.org', not {text!r}")
    if text == "*":
        raise ValueError('"*" stands alone, for all origins: write origins="*"')
    if not is_origin(text):
        raise ValueError(
            f"no browser sends the origin {text!r}: an origin is a scheme and a host, perhaps with a port, and nothing "
            "behind, such as 'https://example.org'"
        )
    return text


def close_codes_of(codes: CaughtCodes) -> CaughtCodes:
    """Return what `caught_close_codes=` means.

    Raises:
        TypeError: it is neither a list of numbers nor the built-in `all`.
        ValueError: no connection ends with one of the codes.
    """
    if codes is all:
        return codes
    if isinstance(codes, str | Mapping) or not isinstance(codes, Collection):
        raise TypeError(f"caught_close_codes takes a list of codes, or the built-in all, not {codes!r}")
    for code in codes:
        check_number("a code in caught_close_codes", code, 1000, 4999)
        if not is_wire_code(code) and code not in (CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE):
            raise ValueError(f"no connection ends with {code}, which is in caught_close_codes")
    return codes


def subprotocols_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return what `subprotocols=` means.

    Raises:
        TypeError: a single name was given where a list of them is expected, or one is no text.
        ValueError: a name is no token (RFC 6455 4.1).
    """
    names = tuple(list_of("subprotocols", names, "names"))
    for name in names:
        check_text("a name in subprotocols", name)
        if not is_token(name):
            raise ValueError(f"{name!r} cannot be the name of a subprotocol: it must be a token (RFC 6455 4.1)")
    return names


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a server or a client."""

    limits: Limits = attrs.field(factory=Limits, validator=of_kind(Limits))
    timeouts: Timeouts = attrs.field(factory=Timeouts, validator=of_kind(Timeouts))
    compression: Compression | None = attrs.field(default=None, converter=compression_of)
    origins: tuple[str, ...] | Literal["*"] | None = attrs.field(default=None, converter=origins_of)
    trusted_proxies: TrustedProxies = attrs.field(default=(), converter=proxies_of)
    """Who is believed what it says of the client in `X-Forwarded-For` and `X-Forwarded-Proto`."""
