"""The host names that a server answers to.

It is the defence against DNS rebinding: a page's own name may resolve to any address.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TypeAlias

import attrs

from trio_ws.headers import Headers
from trio_ws.http.head import MalformedRequest, excerpt
from trio_ws.http.url import ascii_host, split_host
from trio_ws.options import list_of

__all__ = ["Hosts", "check_host", "parse_hosts"]

Hosts: TypeAlias = "tuple[_Host, ...] | None"
"""What `hosts=` means: None for every host."""

_FORM = 'hosts takes names as they stand in a Host header, such as "example.org", "*.example.org" or "[::1]:8000"'


@attrs.frozen(eq=False, repr=False)
class _Host:
    """One host of `hosts=`."""

    name: str
    """In lower case and ASCII, without a dot at its end; of `*.example.org` the part from the dot on."""
    port: int | None
    """None for every port."""

    @property
    def authority(self) -> str:
        """The value of a Host header for it; `""` for a wildcard."""
        if self.name.startswith("."):
            return ""
        return self.name if self.port is None else f"{self.name}:{self.port}"

    def matches(self, name: str, port: int) -> bool:
        """Return whether a request is for this host."""
        if self.port not in (None, port):
            return False
        if self.name.startswith("."):
            return name.endswith(self.name) and not name.startswith(".")
        return name == self.name


def parse_hosts(value: Iterable[str] | None) -> Hosts:
    """Parse `hosts=`.

    Raises:
        TypeError: a single host was given where a list of them is expected, or a host is not a str.
        ValueError: one of them is no host, or there is none.
    """
    if value is None:
        return None
    hosts = tuple(map(_read, list_of("hosts", value, "hosts")))
    if not hosts:
        raise ValueError("hosts=[] would refuse every request: list the names that the server is reached by")
    return hosts


def _read(text: object) -> _Host:
    if not isinstance(text, str):
        raise TypeError(f"{_FORM}; not {text!r}")
    wildcard = text.startswith("*.")
    try:
        name, port = split_host(ascii_host(text.removeprefix("*.")))
        if wildcard and _is_address(name):
            raise ValueError("an address has no names below it")
    except ValueError as error:
        hint = "; leave hosts out to serve every host" if text == "*" else ""
        raise ValueError(f"{_FORM}, not {text!r}: {error}{hint}") from None
    name = name.removesuffix(".")
    return _Host(f".{name}" if wildcard else name, port)


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def check_host(headers: Headers, hosts: Hosts, *, secure: bool) -> None:
    """Refuse a request for a host that is not in `hosts=`.

    Args:
        headers: of the request, its Host checked.
        hosts: those that are served.
        secure: whether the request came over TLS: the default port is 443 then, else 80.

    Raises:
        MalformedRequest: 421 (RFC 9110 15.5.20).
    """
    if hosts is None:
        return
    text = headers.get("host", "")
    try:
        name, port = split_host(text)
    except ValueError:  # an empty one
        name, port = "", None
    name = name.removesuffix(".")
    if not any(host.matches(name, port or (443 if secure else 80)) for host in hosts):
        raise MalformedRequest(421, f"host {excerpt(text)} is not served here")
