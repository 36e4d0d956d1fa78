"""Chapter 20, opening requests that a server must accept or refuse (RFC 6455 4.2)."""

from __future__ import annotations

import attrs

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import HELLO
from trio_ws.conformance.opening import OpeningRequest, request
from trio_ws.conformance.steps import send

__all__ = ["CHAPTER"]

_SERVER = "RFC 6455 4.2.1"
_EXAMPLE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 1.3."""
_SIGNS_KEY = "+/+/+/+/+/+/+/+/+/+/+w=="
"""A key with the characters of base64 that are no letters or digits."""


def _with_key(key: str) -> OpeningRequest:
    return request(change={"Sec-WebSocket-Key": f"Sec-WebSocket-Key: {key}"}, key=key)


def _renamed(lower: bool) -> OpeningRequest:
    """Return the plain request with the names of its headers in one case."""
    first, *fields = request().lines
    pairs = [field.partition(":") for field in fields]
    names = [f"{(name.lower() if lower else name.upper())}:{value}" for name, _, value in pairs]
    return attrs.evolve(request(), lines=(first, *names))


def _changed(name: str, line: str | None) -> OpeningRequest:
    return request(change={name: line})


# What differs from a plain request, the section, and the request: the server accepts it and echoes.
_ACCEPTED: list[tuple[str, str, OpeningRequest, Level]] = [
    ("a plain request", "RFC 6455 4.2.2", request(), Level.MUST),
    ("the key of the RFC's example", "RFC 6455 1.3", _with_key(_EXAMPLE_KEY), Level.MUST),
    ("a key with + and /", _SERVER, _with_key(_SIGNS_KEY), Level.MUST),
    ("names of headers in lower case", "RFC 9110 5.1", _renamed(lower=True), Level.MUST),
    ("names of headers in upper case", "RFC 9110 5.1", _renamed(lower=False), Level.MUST),
    ("Upgrade: WebSocket", _SERVER, _changed("Upgrade", "Upgrade: WebSocket"), Level.MUST),
    ("Upgrade: websocket, h2c", _SERVER, _changed("Upgrade", "Upgrade: websocket, h2c"), Level.SHOULD),
    ("Connection: keep-alive, Upgrade", _SERVER, _changed("Connection", "Connection: keep-alive, Upgrade"), Level.MUST),
    ("Connection: upgrade", _SERVER, _changed("Connection", "Connection: upgrade"), Level.MUST),
    ("Connection: Upgrade,", "RFC 9110 5.6.1", _changed("Connection", "Connection: Upgrade,"), Level.MUST),
    ("Connection in two headers", "RFC 9110 5.3", request(add=("Connection: keep-alive",)), Level.MUST),
    ("no space behind a colon", "RFC 9112 5", _changed("Upgrade", "Upgrade:websocket"), Level.MUST),
    ("tabs and spaces around a value", "RFC 9112 5", _changed("Upgrade", "Upgrade: \t websocket \t "), Level.MUST),
    ("a header that nobody knows", _SERVER, request(add=("X-Conformance: \x21 ~ ; = ,",)), Level.MUST),
    ("a header without a value", "RFC 9110 5.5", request(add=("X-Conformance:",)), Level.MUST),
    ("a header value in Latin-1", "RFC 9110 5.5", request(add=("X-Conformance: Gr\xfc\xdfe",)), Level.SHOULD),
    ("a subprotocol", _SERVER, request(add=("Sec-WebSocket-Protocol: conformance.test",)), Level.SHOULD),
    (
        "subprotocols in two headers",
        "RFC 6455 11.3.4",
        request(add=("Sec-WebSocket-Protocol: one.test", "Sec-WebSocket-Protocol: two.test, three.test")),
        Level.SHOULD,
    ),
    (
        "an extension that nobody knows",
        "RFC 6455 9.1",
        request(add=("Sec-WebSocket-Extensions: x-conformance; a=1; b",)),
        Level.MUST,
    ),
    ("an absolute target", "RFC 9112 3.2.2", request("GET http://{host}{target} HTTP/1.1"), Level.MUST),
    ("an empty line before the request", "RFC 9112 2.2", request("\r\nGET {target} HTTP/1.1"), Level.SHOULD),
    ("octet by octet", "RFC 9112 2.2", request(chop=1), Level.MUST),
    ("100 headers", "RFC 9112 5", request(add=tuple(f"X-{number}: x" for number in range(80))), Level.SHOULD),
    ("a header of 4 KiB", "RFC 9110 5.4", request(add=("Cookie: a=" + "x" * 4000,)), Level.SHOULD),
]

# What is wrong, the section, and the request: the server answers with an HTTP error, or ends.
_REFUSED: list[tuple[str, str, OpeningRequest, Level]] = [
    ("POST", _SERVER, request("POST {target} HTTP/1.1"), Level.MUST),
    ("HEAD", _SERVER, request("HEAD {target} HTTP/1.1"), Level.MUST),
    ("get in lower case", "RFC 9110 9.1", request("get {target} HTTP/1.1"), Level.MUST),
    ("HTTP/1.0", _SERVER, request("GET {target} HTTP/1.0"), Level.MUST),
    ("no Host", _SERVER, _changed("Host", None), Level.MUST),
    ("two Hosts", "RFC 9112 3.2", request(add=("Host: {host}",)), Level.MUST),
    ("two different Hosts", "RFC 9112 3.2", request(add=("Host: other.test",)), Level.MUST),
    ("a Host with a path", "RFC 9112 3.2", _changed("Host", "Host: {host}/path"), Level.MUST),
    ("no Upgrade", _SERVER, _changed("Upgrade", None), Level.MUST),
    ("Upgrade: h2c", _SERVER, _changed("Upgrade", "Upgrade: h2c"), Level.MUST),
    ("Upgrade: websockets", _SERVER, _changed("Upgrade", "Upgrade: websockets"), Level.MUST),
    ("an empty Upgrade", _SERVER, _changed("Upgrade", "Upgrade:"), Level.MUST),
    ("no Connection", _SERVER, _changed("Connection", None), Level.MUST),
    ("Connection: keep-alive", _SERVER, _changed("Connection", "Connection: keep-alive"), Level.MUST),
    ("Connection: Upgrades", _SERVER, _changed("Connection", "Connection: Upgrades"), Level.MUST),
    ("no Sec-WebSocket-Key", _SERVER, _changed("Sec-WebSocket-Key", None), Level.MUST),
    ("an empty key", _SERVER, _with_key(""), Level.MUST),
    ("a key that is no base64", _SERVER, _with_key("this is no key at all!!!"), Level.MUST),
    ("a key of 15 bytes", _SERVER, _with_key("Y29uZm9ybWFuY2UgdGVz"), Level.MUST),
    ("a key of 17 bytes", _SERVER, _with_key("Y29uZm9ybWFuY2UgdGVzdDE="), Level.MUST),
    ("a key without its padding", _SERVER, _with_key("Y29uZm9ybWFuY2UgdGVzdA"), Level.MUST),
    ("two keys", "RFC 6455 11.3.1", request(add=(f"Sec-WebSocket-Key: {_EXAMPLE_KEY}",)), Level.MUST),
    ("no version", _SERVER, _changed("Sec-WebSocket-Version", None), Level.MUST),
    ("an empty version", _SERVER, _changed("Sec-WebSocket-Version", "Sec-WebSocket-Version:"), Level.MUST),
    ("version 8", _SERVER, _changed("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), Level.MUST),
    ("version 14", _SERVER, _changed("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14"), Level.MUST),
    ("version 013", _SERVER, _changed("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"), Level.MUST),
    ("version x", _SERVER, _changed("Sec-WebSocket-Version", "Sec-WebSocket-Version: x"), Level.MUST),
    ("versions 13 and 8", "RFC 6455 11.3.5", request(add=("Sec-WebSocket-Version: 8",)), Level.MUST),
]

# What is looked at in the response, the section, the name of the check, and the request.
_RESPONSES: list[tuple[str, str, str, OpeningRequest, Level]] = [
    ("101 has no content", "RFC 9110 8.6", "no content", request(), Level.MUST),
    ("101 comes with HTTP/1.1", "RFC 9110 6.2", "HTTP/1.1", request(), Level.SHOULD),
]


def _cases() -> list[Case]:
    accepted = [
        Case(f"20.1.{number}", what, [send(HELLO)], [HELLO], section=section, level=level, request=asked)
        for number, (what, section, asked, level) in enumerate(_ACCEPTED, start=1)
    ]
    refused = [
        Case(f"20.2.{number}", what, section=section, level=level, request=asked, opening="refused")
        for number, (what, section, asked, level) in enumerate(_REFUSED, start=1)
    ]
    looked_at = [
        Case(f"20.3.{number}", what, [send(HELLO)], [HELLO], section=section, level=level, request=asked, check=check)
        for number, (what, section, check, asked, level) in enumerate(_RESPONSES, start=1)
    ]
    versions = Case(
        "20.3.3",
        "the refusal of version 8 names version 13",
        section="RFC 6455 4.4",
        request=_changed("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
        opening="refused",
        check="names versions",
    )
    allow = Case(
        "20.3.4",
        "405 in answer to POST has Allow",
        section="RFC 9110 15.5.6",
        request=request("POST {target} HTTP/1.1"),
        opening="refused",
        check="allow",
    )
    return [attrs.evolve(case, side="server") for case in [*accepted, *refused, *looked_at, versions, allow]]


CHAPTER = Chapter.of("20", "Opening handshake: requests", _SERVER, _cases())
