"""Chapter 29, oddities of HTTP/1.1 in front of a WebSocket (RFC 9110, RFC 9112)."""

from __future__ import annotations

import attrs

from trio_ws.conformance.case import Case, Chapter, Level, Opening
from trio_ws.conformance.frames import HELLO
from trio_ws.conformance.opening import OpeningRequest, OpeningResponse, request, response
from trio_ws.conformance.outcomes import Outcome, fails
from trio_ws.conformance.steps import send

__all__ = ["CHAPTER"]

_RAW = "RFC 9112 2.2"


def _raw(data: bytes) -> OpeningRequest:
    return attrs.evolve(request(), raw=data)


# What is odd, the section, the request, and what may become of it.
_REQUESTS: list[tuple[str, str, OpeningRequest, Opening, Level]] = [
    ("a space before a colon", "RFC 9112 5.1", request(add=("X-Conformance : x",)), "refused", Level.MUST),
    ("a header without a colon", "RFC 9112 5", request(add=("conformance",)), "refused", Level.MUST),
    ("a header without a name", "RFC 9112 5", request(add=(": x",)), "refused", Level.MUST),
    ("a space within a header's name", "RFC 9112 5", request(add=("X Conformance: x",)), "refused", Level.MUST),
    ("a control character in a name", "RFC 9110 5.1", request(add=("X\x01: x",)), "refused", Level.MUST),
    ("NUL in a value", "RFC 9110 5.5", request(add=("X-Conformance: a\0b",)), "refused", Level.MUST),
    ("CR in a value", "RFC 9112 2.2", request(add=("X-Conformance: a\rb",)), "either", Level.MUST),
    ("a folded header", "RFC 9112 5.2", request(add=("X-Conformance: a\r\n b",)), "either", Level.MUST),
    (
        "a space before the first header",
        "RFC 9112 2.2",
        request("GET {target} HTTP/1.1\r\n X: x"),
        "either",
        Level.MUST,
    ),
    ("lines that end with LF", "RFC 9112 2.2", request(newline="\n"), "either", Level.SHOULD),
    ("no version", "RFC 9112 3", request("GET {target}"), "refused", Level.MUST),
    ("two spaces in the request line", "RFC 9112 3", request("GET  {target} HTTP/1.1"), "either", Level.SHOULD),
    ("a space within the target", "RFC 9112 3.2", request("GET {target} x HTTP/1.1"), "refused", Level.SHOULD),
    ("http/1.1 in lower case", "RFC 9112 2.3", request("GET {target} http/1.1"), "refused", Level.SHOULD),
    ("HTTP/1.2", "RFC 9110 2.5", request("GET {target} HTTP/1.2"), "either", Level.SHOULD),
    ("HTTP/3.0", "RFC 9110 15.6.6", request("GET {target} HTTP/3.0"), "refused", Level.SHOULD),
    (
        "a body with Content-Length",
        "RFC 9110 9.3.1",
        request(add=("Content-Length: 5",), after=b"12345"),
        "either",
        Level.SHOULD,
    ),
    ("Content-Length: -1", "RFC 9112 6.3", request(add=("Content-Length: -1",)), "either", Level.SHOULD),
    (
        "two different Content-Lengths",
        "RFC 9112 6.3",
        request(add=("Content-Length: 0", "Content-Length: 5")),
        "refused",
        Level.MUST,
    ),
    (
        "a chunked body",
        "RFC 9112 6.1",
        request(add=("Transfer-Encoding: chunked",), after=b"0\r\n\r\n"),
        "either",
        Level.SHOULD,
    ),
    (
        "Transfer-Encoding beside Content-Length",
        "RFC 9112 6.1",
        request(add=("Transfer-Encoding: chunked", "Content-Length: 5"), after=b"0\r\n\r\n"),
        "either",
        Level.SHOULD,
    ),
    (
        "a target of 64 KiB",
        "RFC 9112 3",
        request("GET {target}?" + "x" * 65_536 + " HTTP/1.1"),
        "either",
        Level.HARDENING,
    ),
    ("a header of 256 KiB", "RFC 9110 5.4", request(add=("X: " + "x" * 262_144,)), "refused", Level.HARDENING),
    ("a header's name of 64 KiB", "RFC 9110 5.4", request(add=("X" * 65_536 + ": x",)), "refused", Level.HARDENING),
    ("10,000 headers", "RFC 9110 5.4", request(add=("X: x",) * 10_000), "refused", Level.HARDENING),
    ("a TLS handshake", _RAW, _raw(bytes.fromhex("16030100c8010000c40303") + bytes(190)), "refused", Level.HARDENING),
    ("bytes that are no HTTP", _RAW, _raw(b"\0\xff\xfe" * 40 + b"\r\n\r\n"), "refused", Level.HARDENING),
    (
        "a frame without a request",
        _RAW,
        _raw(bytes.fromhex("818500000000") + b"Hello\r\n\r\n"),
        "refused",
        Level.HARDENING,
    ),
    (
        "two requests at once",
        "RFC 9110 7.8",
        request(after=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        "either",
        Level.HARDENING,
    ),
]

# What is odd, the section, the response, and what a client may make of it.
_RESPONSES: list[tuple[str, str, OpeningResponse, Opening, Level]] = [
    ("Content-Length: 0", "RFC 9110 8.6", response(add=("Content-Length: 0",)), "either", Level.SHOULD),
    (
        "Transfer-Encoding: chunked",
        "RFC 9112 6.1",
        response(add=("Transfer-Encoding: chunked",)),
        "either",
        Level.SHOULD,
    ),
    ("a space before a colon", "RFC 9112 5.1", response(add=("X-Conformance : x",)), "either", Level.SHOULD),
    ("a folded header", "RFC 9112 5.2", response(add=("X-Conformance: a\r\n b",)), "either", Level.SHOULD),
    ("NUL in a value", "RFC 9110 5.5", response(add=("X-Conformance: a\0b",)), "either", Level.SHOULD),
    ("lines that end with LF", "RFC 9112 2.2", response(newline="\n"), "either", Level.SHOULD),
    ("a header without a colon", "RFC 9112 5", response(add=("conformance",)), "refused", Level.SHOULD),
    ("a header of 4 MiB", "RFC 9110 5.4", response(add=("X: " + "x" * (4 << 20),)), "refused", Level.HARDENING),
    ("bytes that are no HTTP", "RFC 9112 4", response("\0\xff\xfe\x01"), "refused", Level.HARDENING),
    (
        "a redirect to nowhere",
        "RFC 9110 15.4",
        response("HTTP/1.1 302 Found", add=("Content-Length: 0",)),
        "refused",
        Level.SHOULD,
    ),
]


def _cases() -> list[Case]:
    requests = [
        Case(
            f"29.1.{n}",
            what,
            [send(HELLO)],
            [HELLO],
            section=section,
            level=level,
            request=odd,
            opening=opening,
            also=(Outcome(fails(1002), ()),) if odd.after else (),
            side="server",
        )
        for n, (what, section, odd, opening, level) in enumerate(_REQUESTS, start=1)
    ]
    responses = [
        Case(
            f"29.2.{n}",
            what,
            [send(HELLO)],
            [HELLO],
            section=section,
            level=level,
            response=odd,
            opening=opening,
            side="client",
        )
        for n, (what, section, odd, opening, level) in enumerate(_RESPONSES, start=1)
    ]
    return [*requests, *responses]


CHAPTER = Chapter.of("29", "HTTP/1.1 oddities", "RFC 9112 2.2", _cases())
