"""Whole HTTP responses for pages, refusals and errors.

The 101 that opens a WebSocket is in `protocol.server_handshake`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_ws.errors import HeaderSource
from trio_ws.headers import header_pairs, validate_headers

if TYPE_CHECKING:
    import h11

__all__ = ["extra_headers", "response"]

# These frame the message or switch the protocol; a second, different one would make it ambiguous.
_OURS = frozenset({b"connection", b"content-length", b"transfer-encoding"})
_BODILESS = frozenset({204, 304})  # RFC 9110 6.4.1
_REQUESTS = {
    head_only: f"{'HEAD' if head_only else 'GET'} / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    for head_only in (False, True)
}


def extra_headers(source: HeaderSource, owned: frozenset[bytes]) -> list[tuple[bytes, bytes]]:
    """Validate a user's headers for a message with some of its own.

    Args:
        source: a mapping, or pairs.
        owned: names in lower case that are refused.

    Raises:
        ValueError: a header cannot be sent, or is one of `owned`; the message names it.
    """
    headers = validate_headers(header_pairs(source))
    for name, _ in headers:
        if name.lower() in owned:
            raise ValueError(f"header {name.decode()!r} is set by the library")
    return headers


def response(
    status: int,
    headers: HeaderSource = (),
    body: bytes = b"",
    *,
    head_only: bool = False,
    length: int | None = None,
) -> bytes:
    """Return a whole HTTP/1.1 response that closes the connection.

    Args:
        status: 200 to 599.
        headers: all but Connection, Content-Length and Transfer-Encoding, which are set here.
        body: the bytes after the head.
        head_only: it answers a HEAD request: Content-Length is that of the body, which is not sent.
        length: of a body that is sent later: only the head is returned.

    Raises:
        ValueError: the status is out of range, a header cannot be sent, or the status allows no body (204,
            304).
    """
    import h11  # noqa: PLC0415 - its import takes long

    if not 200 <= status <= 599:
        raise ValueError(f"a response has a status from 200 to 599, not {status}")
    if (body or length) and status in _BODILESS:
        raise ValueError(f"a response with status {status} has no body")
    fields = extra_headers(headers, _OURS)
    if status not in _BODILESS:
        fields.append((b"Content-Length", b"%d" % (len(body) if length is None else length)))
    # RFC 9110 7.8: a message with Upgrade (a 426 must have it) names it in Connection.
    upgrade = any(name.lower() == b"upgrade" for name, _ in fields)
    fields.append((b"Connection", b"close, Upgrade" if upgrade else b"close"))
    # h11 frames a response by the request that it answers.
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(_REQUESTS[head_only])
    connection.next_event()
    events: list[h11.Event] = [h11.Response(status_code=status, headers=fields, reason=_reason(status))]
    if body and not head_only:
        events.append(h11.Data(data=body))  # its end has no bytes: the length is known
    return b"".join(connection.send(event) or b"" for event in events)


def _reason(status: int) -> str:
    from http import HTTPStatus  # noqa: PLC0415 - its import takes long

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
