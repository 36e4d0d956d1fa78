"""Chapter 21, the opening handshake of a client: its request, and responses that it must accept or refuse."""

from __future__ import annotations

import attrs

from trio_ws.conformance.case import Case, Chapter, Level
from trio_ws.conformance.frames import HELLO
from trio_ws.conformance.opening import OpeningResponse, accept_token, response
from trio_ws.conformance.steps import send

__all__ = ["CHAPTER"]

_CLIENT = "RFC 6455 4.1"
_OTHER_TOKEN = accept_token("dGhlIHNhbXBsZSBub25jZQ==")

# What is looked at in the request, the section, and the name of the check.
_REQUESTS: list[tuple[str, str, str, Level]] = [
    ("GET with HTTP/1.1", _CLIENT, "GET", Level.MUST),
    ("the target is a path without a fragment", _CLIENT, "target", Level.MUST),
    ("one Host", _CLIENT, "Host", Level.MUST),
    ("Host is the first header", "RFC 9110 7.2", "Host first", Level.SHOULD),
    ("Upgrade: websocket", _CLIENT, "Upgrade", Level.MUST),
    ("Connection: Upgrade", _CLIENT, "Connection", Level.MUST),
    ("the key is 16 bytes in base64", _CLIENT, "key", Level.MUST),
    ("the key is not one of an earlier connection", _CLIENT, "fresh key", Level.MUST),
    ("Sec-WebSocket-Version: 13", _CLIENT, "version", Level.MUST),
    ("no Sec-WebSocket-Accept", "RFC 6455 11.3.3", "no accept", Level.MUST),
    ("no body", "RFC 9110 9.3.1", "no body", Level.MUST),
    ("subprotocols are tokens, each once", _CLIENT, "subprotocols", Level.MUST),
    ("the offered extensions follow their grammar", "RFC 6455 9.1", "extensions", Level.MUST),
]


def _changed(name: str, line: str | None) -> OpeningResponse:
    return response(change={name: line})


# What differs from a plain response, the section, and the response: the client goes on and echoes.
_ACCEPTED: list[tuple[str, str, OpeningResponse, Level]] = [
    ("a plain response, after a moment of silence", _CLIENT, response(delay=True), Level.MUST),
    (
        "names of headers in lower case",
        "RFC 9110 5.1",
        response(
            change={
                "Upgrade": "upgrade: websocket",
                "Connection": "connection: Upgrade",
                "Sec-WebSocket-Accept": "sec-websocket-accept: {token}",
            }
        ),
        Level.MUST,
    ),
    ("Upgrade: WebSocket", _CLIENT, _changed("Upgrade", "Upgrade: WebSocket"), Level.MUST),
    ("Connection: upgrade", _CLIENT, _changed("Connection", "Connection: upgrade"), Level.MUST),
    ("Connection: keep-alive, Upgrade", _CLIENT, _changed("Connection", "Connection: keep-alive, Upgrade"), Level.MUST),
    (
        "spaces around the accept token",
        _CLIENT,
        _changed("Sec-WebSocket-Accept", "Sec-WebSocket-Accept:   {token}  "),
        Level.MUST,
    ),
    ("another reason phrase", "RFC 9112 4", response("HTTP/1.1 101 Web Socket Protocol Handshake"), Level.MUST),
    ("no reason phrase", "RFC 9112 4", response("HTTP/1.1 101 "), Level.MUST),
    (
        "a header that nobody knows",
        "RFC 9110 5.1",
        response(add=("X-Conformance: x", "Server: conformance")),
        Level.MUST,
    ),
    ("80 headers", "RFC 9112 5", response(add=tuple(f"Set-Cookie: c{number}=x" for number in range(77))), Level.SHOULD),
    ("octet by octet", "RFC 9112 2.2", response(chop=1), Level.MUST),
    (
        "103 Early Hints before the response",
        "RFC 9110 15.2",
        response("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 101 Switching Protocols"),
        Level.SHOULD,
    ),
]

# What is wrong, the section, and the response: the client ends the connection and answers no frame.
_REFUSED: list[tuple[str, str, OpeningResponse, Level]] = [
    ("status 200", _CLIENT, response("HTTP/1.1 200 OK", add=("Content-Length: 0",)), Level.MUST),
    ("status 404", _CLIENT, response("HTTP/1.1 404 Not Found", add=("Content-Length: 0",)), Level.MUST),
    ("status 503 without a body", _CLIENT, response("HTTP/1.1 503 Service Unavailable"), Level.MUST),
    ("no Upgrade", _CLIENT, _changed("Upgrade", None), Level.MUST),
    ("Upgrade: h2c", _CLIENT, _changed("Upgrade", "Upgrade: h2c"), Level.MUST),
    ("Upgrade: websocket2", _CLIENT, _changed("Upgrade", "Upgrade: websocket2"), Level.MUST),
    ("no Connection", _CLIENT, _changed("Connection", None), Level.MUST),
    ("Connection: close", _CLIENT, _changed("Connection", "Connection: close"), Level.MUST),
    ("no accept token", _CLIENT, _changed("Sec-WebSocket-Accept", None), Level.MUST),
    ("an empty accept token", _CLIENT, _changed("Sec-WebSocket-Accept", "Sec-WebSocket-Accept:"), Level.MUST),
    (
        "the accept token of another key",
        _CLIENT,
        _changed("Sec-WebSocket-Accept", f"Sec-WebSocket-Accept: {_OTHER_TOKEN}"),
        Level.MUST,
    ),
    (
        "an accept token and more",
        _CLIENT,
        _changed("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: {token}x"),
        Level.MUST,
    ),
    (
        "two accept tokens",
        "RFC 6455 11.3.3",
        response(add=(f"Sec-WebSocket-Accept: {_OTHER_TOKEN}",)),
        Level.MUST,
    ),
    (
        "an extension that is not offered",
        _CLIENT,
        response(add=("Sec-WebSocket-Extensions: x-conformance",)),
        Level.MUST,
    ),
    (
        "a subprotocol that is not offered",
        _CLIENT,
        response(add=("Sec-WebSocket-Protocol: x-conformance",)),
        Level.MUST,
    ),
    ("HTTP/1.0", "RFC 9110 7.8", response("HTTP/1.0 101 Switching Protocols"), Level.SHOULD),
    ("HTTP/2.0", "RFC 9112 2.3", response("HTTP/2.0 101 Switching Protocols"), Level.SHOULD),
    ("no status line", "RFC 9112 4", response("101 Switching Protocols"), Level.MUST),
    ("a head that ends within a header", "RFC 9112 8", response(complete=False), Level.MUST),
    (
        "the accept token in capitals for small letters, and the reverse",
        _CLIENT,
        _changed("Sec-WebSocket-Accept", "Sec-WebSocket-Accept: {swapped}"),
        Level.MUST,
    ),
]


def _cases() -> list[Case]:
    requests = [
        Case(f"21.1.{number}", what, [send(HELLO)], [HELLO], section=section, level=level, check=check)
        for number, (what, section, check, level) in enumerate(_REQUESTS, start=1)
    ]
    accepted = [
        Case(f"21.2.{number}", what, [send(HELLO)], [HELLO], section=section, level=level, response=given)
        for number, (what, section, given, level) in enumerate(_ACCEPTED, start=1)
    ]
    early = Case(
        f"21.2.{len(accepted) + 1}",
        "a message in the same write as the response",
        answers=[HELLO],
        section="RFC 6455 4.2.2",
        response=response(after=HELLO.encode()),
    )
    refused = [
        Case(f"21.3.{number}", what, section=section, level=level, response=given, opening="refused")
        for number, (what, section, given, level) in enumerate(_REFUSED, start=1)
    ]
    return [attrs.evolve(case, side="client") for case in [*requests, *accepted, early, *refused]]


CHAPTER = Chapter.of("21", "Opening handshake: responses", _CLIENT, _cases())
