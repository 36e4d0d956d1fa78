"""Requests and responses of the opening handshake as values, valid or not (RFC 6455 4)."""

from __future__ import annotations

from typing import Final

import attrs

from trio_ws.testing.raw_head import HANDSHAKE_KEY, accept_token

__all__ = ["ACCEPT", "HandshakeRequest", "HandshakeResponse"]

ACCEPT: Final = "{accept}"
"""In a header's value: the accept token for the request's key."""


@attrs.frozen(kw_only=True)
class HandshakeRequest:
    """A client's request, with headers as they are written.

    Example:
        request = HandshakeRequest(target="/echo")
        assert request.encode().startswith(b"GET /echo HTTP/1.1\\r\\nHost: testserver\\r\\n")
        assert request.with_header("Sec-WebSocket-Version", "8").get("sec-websocket-version") == "8"

    Args:
        method: the method.
        target: path and query.
        version: the version of HTTP.
        headers: names and values, in their order.
        status: the status of a server's answer: 101 if the request is valid.
        rule: the broken rule, in words; `""` if the request is valid.
    """

    method: str = "GET"
    target: str = "/"
    version: str = "HTTP/1.1"
    headers: tuple[tuple[str, str], ...] = (
        ("Host", "testserver"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", HANDSHAKE_KEY),
        ("Sec-WebSocket-Version", "13"),
    )
    status: int = 101
    rule: str = ""

    @property
    def valid(self) -> bool:
        """True if no rule is broken."""
        return not self.rule

    def get(self, name: str) -> str | None:
        """Return the value of the first header of that name, or None."""
        return _first(self.headers, name)

    def with_header(self, name: str, *values: str) -> HandshakeRequest:
        """Return the request with these values of a header instead of those it had, if any."""
        return attrs.evolve(self, headers=_replaced(self.headers, name, values))

    def encode(self) -> bytes:
        """Return the bytes of the request."""
        return _head(f"{self.method} {self.target} {self.version}", self.headers)


@attrs.frozen(kw_only=True)
class HandshakeResponse:
    """A server's response, with headers as they are written.

    Example:
        response = HandshakeResponse()
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in response.encode("dGhlIHNhbXBsZSBub25jZQ==")

    Args:
        status: the status code; 101 accepts.
        reason: the text behind the code.
        version: the version of HTTP.
        headers: names and values, in their order; `ACCEPT` in a value is the accept token.
        rule: the broken rule, in words; `""` if the response is valid.
    """

    status: int = 101
    reason: str = "Switching Protocols"
    version: str = "HTTP/1.1"
    headers: tuple[tuple[str, str], ...] = (
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", ACCEPT),
    )
    rule: str = ""

    @property
    def valid(self) -> bool:
        """True if no rule is broken."""
        return not self.rule

    def get(self, name: str) -> str | None:
        """Return the value of the first header of that name, or None."""
        return _first(self.headers, name)

    def with_header(self, name: str, *values: str) -> HandshakeResponse:
        """Return the response with these values of a header instead of those it had, if any."""
        return attrs.evolve(self, headers=_replaced(self.headers, name, values))

    def encode(self, key: str) -> bytes:
        """Return the bytes of the response to a request.

        Args:
            key: the Sec-WebSocket-Key of the request.
        """
        token = accept_token(key)
        headers = tuple((name, value.replace(ACCEPT, token)) for name, value in self.headers)
        return _head(f"{self.version} {self.status} {self.reason}", headers)


def _first(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    return next((value for each, value in headers if each.lower() == name.lower()), None)


def _replaced(headers: tuple[tuple[str, str], ...], name: str, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    kept = tuple(pair for pair in headers if pair[0].lower() != name.lower())
    return (*kept, *((name, value) for value in values))


def _head(start: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
