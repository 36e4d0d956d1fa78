"""The 101 response with a subprotocol, an extension or headers of its own, as wsproto writes it.

It is imported when the first one is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from wsproto.connection import ConnectionType
from wsproto.events import AcceptConnection
from wsproto.extensions import Extension
from wsproto.handshake import H11Handshake

__all__ = ["NegotiatedExtension", "switching_protocols"]

_VERSION = b"13"


def switching_protocols(
    key: bytes,
    offered: Sequence[str],
    *,
    subprotocol: str | None,
    extensions: str | None,
    headers: list[tuple[bytes, bytes]],
) -> bytes:
    """Return the 101 response to a request that was checked (RFC 6455 4.2.2).

    Args:
        key: the value of Sec-WebSocket-Key.
        offered: the client's subprotocols.
        subprotocol: one of them, or None for none.
        extensions: the one extension that was agreed on with its parameters, as in the header, or None.
        headers: further headers of the response, checked.
    """
    agreed = [] if extensions is None else [NegotiatedExtension(extensions)]
    handshake = H11Handshake(ConnectionType.SERVER)
    handshake.initiate_upgrade_connection(_plain_request(key, offered, agreed), "/")
    return handshake.send(AcceptConnection(subprotocol=subprotocol, extensions=list(agreed), extra_headers=headers))


def _plain_request(
    key: bytes, offered: Sequence[str], agreed: Sequence[NegotiatedExtension]
) -> list[tuple[bytes, bytes]]:
    """Return the request with only the headers that wsproto needs: others cannot make it fail."""
    request = [
        (b"Host", b"x"),
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Version", _VERSION),
        (b"Sec-WebSocket-Key", key),
    ]
    if offered:
        request.append((b"Sec-WebSocket-Protocol", ", ".join(offered).encode()))
    request += [(b"Sec-WebSocket-Extensions", extension.name.encode()) for extension in agreed]
    return request


class NegotiatedExtension(Extension):
    """An entry of Sec-WebSocket-Extensions for wsproto to write; our codec implements the extension.

    Args:
        value: the name of an extension and its parameters, as in the header.
    """

    def __init__(self, value: str) -> None:
        name, _, parameters = value.partition(";")
        self.name: str = name.strip()
        self._parameters = parameters.strip() or True

    def offer(self) -> bool | str:
        """Return the parameters for a client's request."""
        return self._parameters

    def accept(self, offer: str) -> bool | str | None:
        """Return the parameters for a server's answer."""
        return self._parameters
