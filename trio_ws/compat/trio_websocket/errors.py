"""The exceptions of trio-websocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_ws.compat.trio_websocket.values import CloseReason

__all__ = [
    "ConnectionClosed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "HandshakeError",
]


class HandshakeError(Exception):
    """A connection could not be opened, or not be closed in time."""


class ConnectionTimeout(HandshakeError):  # noqa: N818 - the name is the other library's
    """The server did not answer within `connect_timeout`."""


class DisconnectionTimeout(HandshakeError):  # noqa: N818 - the name is the other library's
    """The server did not answer the close frame within `disconnect_timeout`."""


class ConnectionClosed(Exception):  # noqa: N818 - the name is the other library's
    """A call on a connection that has ended, or is about to.

    Args:
        reason: how it ended.
    """

    def __init__(self, reason: CloseReason | None) -> None:
        super().__init__(reason)
        self.reason: CloseReason | None = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}<{self.reason}>"


class ConnectionRejected(HandshakeError):  # noqa: N818 - the name is the other library's
    """The server answered the handshake with another status than 101.

    Args:
        status_code: the HTTP status.
        headers: of the answer, as pairs of bytes, the names in lower case.
        body: of the answer.
    """

    def __init__(self, status_code: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes | None) -> None:
        super().__init__(status_code, headers, body)
        self.status_code: int = status_code
        self.headers: tuple[tuple[bytes, bytes], ...] = headers
        self.body: bytes | None = body

    def __repr__(self) -> str:
        return f"{type(self).__name__}<status_code={self.status_code}>"
