"""Close codes, their names, and the ones allowed in close frames.

Nothing here refers to connections; exceptions are in `errors`, the states of the closing handshake in
`protocol.states`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "EXPIRED",
    "EXPIRED_CODE",
    "MAX_REASON_BYTES",
    "REVOKED",
    "CloseCode",
    "check_close",
    "is_normal_close",
    "is_wire_code",
]

MAX_REASON_BYTES = 123
"""RFC 6455 5.5: a control frame's payload is at most 125 bytes, two of which are the close code."""

EXPIRED_CODE: Final = 4401
"""The code of connections whose credentials have ended: HTTP's 401 in the range that is for applications."""
EXPIRED: Final = "credentials expired"
REVOKED: Final = "credentials revoked"


class CloseCode(IntEnum):
    """The close codes of RFC 6455 7.4.1 and its IANA registry.

    Codes from 3000 to 3999 are registered by libraries, 4000 to 4999 are the application's own; both are plain
    integers.
    """

    NORMAL_CLOSURE = 1000
    """The purpose of the connection is fulfilled."""
    GOING_AWAY = 1001
    """A server shuts down, or a browser leaves the page."""
    PROTOCOL_ERROR = 1002
    """The peer broke the protocol."""
    UNSUPPORTED_DATA = 1003
    """A message of a kind that the endpoint does not take, such as binary."""
    NO_STATUS_RECEIVED = 1005
    """Never on the wire: the peer's close frame held no code."""
    ABNORMAL_CLOSURE = 1006
    """Never on the wire: the connection ended without a close frame."""
    INVALID_PAYLOAD = 1007
    """A message with invalid contents, such as text that is no UTF-8."""
    POLICY_VIOLATION = 1008
    """A message that the endpoint does not allow."""
    MESSAGE_TOO_BIG = 1009
    """A message larger than the endpoint takes."""
    MANDATORY_EXTENSION = 1010
    """A client misses an extension in the server's answer."""
    INTERNAL_ERROR = 1011
    """An unexpected error of the server."""
    SERVICE_RESTART = 1012
    """The server restarts; clients may connect again."""
    TRY_AGAIN_LATER = 1013
    """The server is overloaded, or the client too slow."""
    BAD_GATEWAY = 1014
    """A gateway got an invalid answer from the server behind it."""
    TLS_HANDSHAKE = 1015
    """Never on the wire: TLS failed before the connection was open."""


_REGISTERED = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


def is_wire_code(code: int) -> bool:
    """Return whether `code` is allowed in a close frame.

    These are 1000 to 1003, 1007 to 1014 and 3000 to 4999 (RFC 6455 7.4.1 and 7.4.2, IANA registry).
    """
    return code in _REGISTERED or 3000 <= code <= 4999


def is_normal_close(code: int | None, caught: Collection[int]) -> bool:
    """Return whether a close code is in `caught`.

    1005 counts as 1000 (RFC 6455 7.1.5).

    Args:
        code: None while the connection is open.
        caught: close codes that count as a normal end.
    """
    return code in caught or (code == CloseCode.NO_STATUS_RECEIVED and CloseCode.NORMAL_CLOSURE in caught)


def check_close(code: int, reason: str) -> None:
    """Check that a code and a reason fit in a close frame.

    Args:
        code: a close code for which `is_wire_code` holds.
        reason: at most 123 bytes of UTF-8.

    Raises:
        TypeError: the code is no whole number, or the reason no text.
        ValueError: the code may not be sent, the reason is too long or cannot be encoded.
    """
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"a close code is a whole number such as 1000, not {code!r}: the reason comes second")
    if not isinstance(reason, str):
        raise TypeError(f"a close reason is text, not {reason!r}")
    if not is_wire_code(code):
        raise ValueError(
            f"close code {code} may not be sent: use 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455 7.4)"
        )
    size = len(reason.encode())
    if size > MAX_REASON_BYTES:
        raise ValueError(f"close reason is {size} bytes of UTF-8, at most {MAX_REASON_BYTES} fit in a close frame")
