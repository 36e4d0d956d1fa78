"""Network addresses of peers."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

__all__ = ["Address", "NamedAddress", "SocketAddress", "named"]

Address: TypeAlias = "tuple[str, int] | str | None"
"""Host and port of a TCP peer, the path of a Unix one, None where there is no network."""


class SocketAddress(NamedTuple):
    """The address of a TCP peer, as a tuple of host and port with names."""

    host: str
    """The IP address as text, of IPv6 without brackets."""
    port: int
    """The port; 0 if a proxy has not reported it."""


NamedAddress: TypeAlias = "SocketAddress | str | None"
"""Host and port of a TCP peer, by index or by name; the path of a Unix one; None where there is no network."""


def named(address: Address) -> NamedAddress:
    """Return an address whose parts have names; one that has them is returned as it is."""
    return SocketAddress(*address) if type(address) is tuple else address  # type: ignore[return-value]
