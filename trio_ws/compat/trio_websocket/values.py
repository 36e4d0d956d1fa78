"""Endpoints and close reasons, and the default options."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from wsproto.frame_protocol import CloseReason as Names

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from trio_ws.addresses import Address

__all__ = [
    "MAX_MESSAGE_SIZE",
    "MESSAGE_QUEUE_SIZE",
    "RECEIVE_BYTES",
    "TIMEOUT",
    "CloseReason",
    "Endpoint",
    "endpoint_of",
]

TIMEOUT: Final = 60.0
"""Seconds, the default of `connect_timeout` and `disconnect_timeout`, as in trio-websocket."""
MESSAGE_QUEUE_SIZE: Final = 1
"""Messages, the default of `message_queue_size`, as in trio-websocket."""
MAX_MESSAGE_SIZE: Final = 2**20
"""Bytes, the default of `max_message_size`, as in trio-websocket."""
RECEIVE_BYTES: Final = 4 * 2**10
"""Bytes, the default of `receive_buffer_size`, as in trio-websocket."""

# RFC 6455 7.4.2
_RANGES = ((1000, 3000, "RFC_RESERVED"), (3000, 4000, "IANA_RESERVED"), (4000, 5000, "PRIVATE_RESERVED"))


class Endpoint:
    """The address of one side of a connection, or of a listener.

    Args:
        address: an IP address.
        port: a TCP port.
        is_ssl: whether TLS is spoken there.

    Attributes:
        address: the IP address, as an object of `ipaddress`.
        port: the TCP port.
        is_ssl: whether TLS is spoken there.

    Raises:
        ValueError: it is no IP address.
    """

    def __init__(self, address: str | int, port: int, is_ssl: bool) -> None:
        self.address: IPv4Address | IPv6Address = ip_address(address)
        self.port: int = port
        self.is_ssl: bool = is_ssl

    @property
    def url(self) -> str:
        """The URL of the endpoint, without the port that its scheme has by default."""
        scheme, default = ("wss", 443) if self.is_ssl else ("ws", 80)
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{scheme}://{host}" if self.port == default else f"{scheme}://{host}:{self.port}"

    def __repr__(self) -> str:
        return f'Endpoint(address="{self.address}", port={self.port}, is_ssl={self.is_ssl})'


def endpoint_of(address: Address, *, secure: bool, otherwise: object) -> Endpoint | str:
    """Return the endpoint of a socket's address.

    Args:
        address: host and port, the path of a Unix socket, or None.
        secure: whether TLS is spoken there.
        otherwise: its `repr` is returned if there is no address.
    """
    if isinstance(address, tuple):
        return Endpoint(address[0], address[1], secure)
    return address or repr(otherwise)


class CloseReason:
    """The code of a close frame, the name of the code, and the reason.

    Args:
        code: the close code.
        reason: the reason, None if there is none.
    """

    def __init__(self, code: int, reason: str | None) -> None:
        self._code = code
        self._reason = reason

    @property
    def code(self) -> int:
        """The close code; 1005 if there was none, 1006 if there was no close frame."""
        return self._code

    @property
    def name(self) -> str:
        """The name of the code, or of the range that it is in (RFC 6455 7.4)."""
        try:
            return Names(self._code).name
        except ValueError:
            names = [name for first, end, name in _RANGES if first <= self._code < end]
            return names[0] if names else "INVALID_CODE"

    @property
    def reason(self) -> str | None:
        """The reason, None if there is none."""
        return self._reason

    def __repr__(self) -> str:
        return f"CloseReason<code={self.code}, name={self.name}, reason={self.reason}>"
