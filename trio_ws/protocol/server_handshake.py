"""The server's side of the opening handshake (RFC 6455 4.2): `read_upgrade` checks, `accept` answers.

The client's side is in `offer`. wsproto writes the 101, but for the plain one, which is nearly all of them; it is fed
with what was checked here, because its own reading of headers fails on bytes outside ASCII, keeps the last of repeated
headers and ignores a bad key.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from hashlib import sha1

import attrs

from trio_ws.errors import HeaderSource, LocalProtocolError
from trio_ws.headers import Headers, is_token
from trio_ws.http.head import MalformedRequest, elements, excerpt, not_plain
from trio_ws.http.parser import RequestHead, is_path
from trio_ws.http.response import extra_headers

__all__ = ["OWNED_HEADERS", "Upgrade", "accept", "parse_common_request", "read_upgrade"]

OWNED_HEADERS = frozenset(
    {
        b"connection",
        b"content-length",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""The headers that the handshake sets itself, on both sides."""

_VERSION = "13"
ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3
_PLAIN_ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
)
"""What wsproto would write, in a hundredth of the time; a test compares the two."""
# 16 bytes in base64. Of the last character's six bits two are used, and the others may be set: RFC 4648 3.5 lets
# decoders ignore them. The key that RFC 6455 4.1 prints has them set, and so have those of small devices.
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
# What a request says once. Two Origins, say, leave open which of them the policy is about.
_SINGLE = ("sec-websocket-key", "sec-websocket-version", "origin")
# What the ordinary request says: browsers, and libraries.
_UPGRADES = frozenset({"websocket", "WebSocket"})
_CONNECTIONS = frozenset({"Upgrade", "upgrade", "keep-alive, Upgrade"})
_HOST = re.compile(r"[A-Za-z0-9._-]{1,100}(?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?")
_SPECIAL = frozenset({"content-length", "sec-websocket-protocol", "transfer-encoding"})
_TELL_VERSION = (("Sec-WebSocket-Version", _VERSION), ("Upgrade", "websocket"))


@attrs.frozen
class Upgrade:
    """A well-formed request for a WebSocket."""

    key: bytes
    """The Sec-WebSocket-Key as it came."""
    subprotocols: tuple[str, ...]
    """What the client offers, its favourite first."""
    extensions: str
    """The values of Sec-WebSocket-Extensions joined by commas, in ASCII, not yet parsed; `""` for none."""
    head: RequestHead


def read_upgrade(head: RequestHead) -> Upgrade:
    """Check what RFC 6455 4.2.1 demands of a request, beyond what `check_http` demands of all requests.

    Raises:
        MalformedRequest: 426 for another version than 13, 405 for another method than GET, 400 for everything else:
            HTTP/1.0; Upgrade without `websocket`; Connection without `upgrade`; a key that is missing or not
            16 bytes of base64; Key, Version or Origin missing or repeated where there must be one; a
            subprotocol that is no token or is named twice; bytes outside ASCII in a Sec-WebSocket header.
    """
    headers = head.headers
    if head.method != "GET":
        raise MalformedRequest(405, "the request for a WebSocket must be a GET", (("Allow", "GET"),))
    if head.http_version != "1.1":
        raise MalformedRequest(400, "the request for a WebSocket must be HTTP/1.1")
    _check_single(headers)
    _check_plain(headers)
    _check_version(headers)
    _check_switch(headers)
    key = headers.get("sec-websocket-key", "")
    if not _KEY.fullmatch(key):
        raise MalformedRequest(400, f"Sec-WebSocket-Key must be 16 bytes in base64, not {excerpt(key)}")
    return Upgrade(
        key=key.encode("ascii"),
        subprotocols=_subprotocols(headers),
        extensions=", ".join(headers.get_list("sec-websocket-extensions")),
        head=head,
    )


def parse_common_request(head: RequestHead) -> Upgrade | None:
    """Return the upgrade that a request is, if it is as nearly all are; None if it is to be looked at more closely.

    Then `check_http`, `is_upgrade` and `read_upgrade` say what it is, with this result if they let it pass.
    """
    fields = head.headers.once()
    if fields is None or head.method != "GET" or head.http_version != "1.1" or not is_path(head.target):
        return None
    get = fields.get
    key, host = get("sec-websocket-key", ""), get("host", "")
    if (
        get("sec-websocket-version") != _VERSION
        or get("upgrade") not in _UPGRADES
        or get("connection") not in _CONNECTIONS
        or not _KEY.fullmatch(key)
        or not _HOST.fullmatch(host)
        or not _SPECIAL.isdisjoint(fields)
    ):
        return None
    values = "".join(fields.values())
    if not (values.isascii() and values.isprintable()):
        return None
    extensions = get("sec-websocket-extensions", "")
    return Upgrade(key=key.encode("ascii"), subprotocols=(), extensions=extensions, head=head)


def _check_plain(headers: Headers) -> None:
    name = not_plain(headers)
    if name is not None:
        raise MalformedRequest(400, f"header {excerpt(name)} has characters outside printable ASCII")


def _check_single(headers: Headers) -> None:
    for name in _SINGLE:
        if headers.count(name) > 1:
            raise MalformedRequest(400, f"header {excerpt(name)} occurs more than once")


def _check_version(headers: Headers) -> None:
    version = headers.get("sec-websocket-version")
    if version is None:
        raise MalformedRequest(400, "Sec-WebSocket-Version is missing")
    if version != _VERSION:
        raise MalformedRequest(426, f"Sec-WebSocket-Version must be {_VERSION}, not {excerpt(version)}", _TELL_VERSION)


def _check_switch(headers: Headers) -> None:
    for name, wanted in (("upgrade", "websocket"), ("connection", "upgrade")):
        if wanted not in [element.lower() for element in elements(headers.get_list(name))]:
            raise MalformedRequest(400, f"header {name.title()} must name {wanted!r}")


def _subprotocols(headers: Headers) -> tuple[str, ...]:
    offered = tuple(elements(headers.get_list("sec-websocket-protocol")))
    for name in offered:
        if not is_token(name):
            raise MalformedRequest(400, f"Sec-WebSocket-Protocol names {excerpt(name)}, which is not a token")
    if len(set(offered)) < len(offered):
        raise MalformedRequest(400, "Sec-WebSocket-Protocol names a subprotocol twice")
    return offered


def accept(
    upgrade: Upgrade,
    *,
    subprotocol: str | None,
    extensions: str | None,
    headers: HeaderSource = (),
) -> bytes:
    """Return the 101 response (RFC 6455 4.2.2) to a request that `read_upgrade` passed.

    Args:
        upgrade: the request.
        subprotocol: one of those offered, or None for none.
        extensions: the one extension that was agreed on with its parameters, as in the header, or None.
        headers: further headers of the response.

    Raises:
        LocalProtocolError: the subprotocol was not offered.
        ValueError: a header cannot be sent, or is one that the handshake sets itself.
    """
    extra = extra_headers(headers, OWNED_HEADERS) if headers else []
    if subprotocol is not None and subprotocol not in upgrade.subprotocols:
        raise LocalProtocolError(
            f"subprotocol {subprotocol!r} was not offered: the client offered {list(upgrade.subprotocols)}"
        )
    if subprotocol is None and extensions is None and not extra:
        return _PLAIN_ANSWER % b2a_base64(
            sha1(upgrade.key + ACCEPT_GUID, usedforsecurity=False).digest(), newline=False
        )
    from trio_ws.protocol.switching import switching_protocols  # noqa: PLC0415 - wsproto's import takes long

    return switching_protocols(
        upgrade.key, upgrade.subprotocols, subprotocol=subprotocol, extensions=extensions, headers=extra
    )
