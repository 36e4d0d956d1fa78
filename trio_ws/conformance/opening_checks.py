"""Checks of the opening handshake of the implementation under test, each with its section."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import Final

from trio_ws.conformance import deflate
from trio_ws.conformance.finding import Finding
from trio_ws.conformance.opening import OpeningHead, accept_token

__all__ = ["REQUEST_CHECKS", "RESPONSE_CHECKS", "agreed_deflate", "check_response", "key_of"]


def _require(condition: bool, section: str, text: str) -> None:
    if not condition:
        raise Finding(section, text)


# --- responses of a server ----------------------------------------------------------------------------------------


def check_response(head: OpeningHead, key: str, offered_extensions: Sequence[str], subprotocols: Sequence[str]) -> None:
    """Check a 101 response by what a client must check (RFC 6455 4.1).

    Args:
        head: the response.
        key: the Sec-WebSocket-Key of the request.
        offered_extensions: the names that the request offered.
        subprotocols: likewise.

    Raises:
        Finding: a client would have to fail the connection.
    """
    _require(head.one("upgrade").lower() == "websocket", "RFC 6455 4.2.2", f"Upgrade: {head.one('upgrade')!r}")
    _require("upgrade" in head.elements("connection"), "RFC 6455 4.2.2", f"Connection: {head.one('connection')!r}")
    tokens = head.all("sec-websocket-accept")
    _require(tokens == [accept_token(key)], "RFC 6455 4.2.2", f"Sec-WebSocket-Accept: {tokens}, for the key {key}")
    agreed = head.all("sec-websocket-protocol")
    _require(
        len(agreed) < 2 and set(agreed) <= set(subprotocols),
        "RFC 6455 4.2.2",
        f"Sec-WebSocket-Protocol: {agreed}, but {list(subprotocols)} are offered",
    )
    names = [name for name, _ in deflate.parse_extensions(head.one("sec-websocket-extensions"))]
    _require(set(names) <= set(offered_extensions), "RFC 6455 9.1", f"extensions that are not offered: {names}")
    _require(len(set(names)) == len(names), "RFC 7692 5.1", f"an extension is accepted twice: {names}")


def agreed_deflate(head: OpeningHead) -> deflate.Parameters | None:
    """Return the parameters of permessage-deflate in a response that `check_response` passed."""
    return dict(deflate.parse_extensions(head.one("sec-websocket-extensions"))).get(deflate.NAME)


def _no_content(head: OpeningHead) -> None:
    for name in ("content-length", "transfer-encoding"):
        _require(not head.all(name), "RFC 9110 8.6", f"a 101 response has {name}: {head.one(name)!r}")


def _version_11(head: OpeningHead) -> None:
    _require(head.line.startswith("HTTP/1.1 "), "RFC 9110 6.2", f"the response is {head.line!r}, not HTTP/1.1")


def _names_versions(head: OpeningHead) -> None:
    _require("13" in head.elements("sec-websocket-version"), "RFC 6455 4.4", "the response does not name version 13")


def _allow(head: OpeningHead) -> None:
    _require(head.status != 405 or bool(head.all("allow")), "RFC 9110 15.5.6", "the 405 response has no Allow header")


RESPONSE_CHECKS: Final[dict[str, Callable[[OpeningHead], None]]] = {
    "no content": _no_content,
    "HTTP/1.1": _version_11,
    "names versions": _names_versions,
    "allow": _allow,
}
"""Further checks, which cases ask for by name."""


# --- requests of a client -----------------------------------------------------------------------------------------


def key_of(head: OpeningHead) -> str:
    """Return the Sec-WebSocket-Key of a request.

    Raises:
        Finding: there is none, or it is repeated; nothing can be answered.
    """
    keys = head.all("sec-websocket-key")
    _require(len(keys) == 1, "RFC 6455 4.1", f"Sec-WebSocket-Key: {keys}")
    return keys[0]


def _get(head: OpeningHead) -> None:
    parts = head.line.split(" ")
    _require(len(parts) == 3 and parts[0] == "GET", "RFC 6455 4.1", f"no GET: {head.line[:80]!r}")
    _require(parts[2] == "HTTP/1.1", "RFC 6455 4.1", f"not HTTP/1.1: {head.line[:80]!r}")


def _target(head: OpeningHead) -> None:
    target = head.line.split(" ")[1]
    _require(target.startswith("/") and "#" not in target, "RFC 6455 4.1", f"the target is {target[:80]!r}")


def _host(head: OpeningHead) -> None:
    hosts = head.all("host")
    _require(len(hosts) == 1 and bool(hosts[0]), "RFC 6455 4.1", f"Host: {hosts}")


def _host_first(head: OpeningHead) -> None:
    _require(head.fields[0][0] == "host", "RFC 9110 7.2", f"the first header is {head.fields[0][0]}, not Host")


def _upgrade(head: OpeningHead) -> None:
    _require("websocket" in head.elements("upgrade"), "RFC 6455 4.1", f"Upgrade: {head.all('upgrade')}")


def _connection(head: OpeningHead) -> None:
    _require("upgrade" in head.elements("connection"), "RFC 6455 4.1", f"Connection: {head.all('connection')}")


def _key(head: OpeningHead) -> None:
    key = key_of(head)
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        size = -1
    _require(size == 16, "RFC 6455 4.1", f"the key is not 16 bytes in base64: {key[:60]!r}")
    _require(
        base64.b64encode(base64.b64decode(key)).decode() == key, "RFC 6455 4.1", f"the key is not canonical: {key!r}"
    )


def _version(head: OpeningHead) -> None:
    versions = head.all("sec-websocket-version")
    _require(versions == ["13"], "RFC 6455 4.1", f"Sec-WebSocket-Version: {versions}")


def _no_accept(head: OpeningHead) -> None:
    _require(not head.all("sec-websocket-accept"), "RFC 6455 11.3.3", "a request has Sec-WebSocket-Accept")


def _no_body(head: OpeningHead) -> None:
    framing = head.all("content-length") + head.all("transfer-encoding")
    _require(not framing or framing == ["0"], "RFC 9110 9.3.1", f"the request has a body: {framing}")


def _subprotocols(head: OpeningHead) -> None:
    names = [each.strip() for each in head.one("sec-websocket-protocol").split(",") if each.strip()]
    tokens = all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name in names)
    some = bool(names) or not head.all("sec-websocket-protocol")
    _require(some and tokens and len(set(names)) == len(names), "RFC 6455 4.1", f"Sec-WebSocket-Protocol: {names}")


def _extensions(head: OpeningHead) -> None:
    for name, parameters in deflate.parse_extensions(head.one("sec-websocket-extensions")):
        if name == deflate.NAME:
            deflate.check_offer(parameters)


REQUEST_CHECKS: Final[dict[str, Callable[[OpeningHead], None]]] = {
    "GET": _get,
    "target": _target,
    "Host": _host,
    "Host first": _host_first,
    "Upgrade": _upgrade,
    "Connection": _connection,
    "key": _key,
    "version": _version,
    "no accept": _no_accept,
    "no body": _no_body,
    "subprotocols": _subprotocols,
    "extensions": _extensions,
}
"""Checks of a client's request, which cases ask for by name."""
