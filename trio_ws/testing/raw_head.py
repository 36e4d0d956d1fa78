"""Heads of HTTP/1.1 messages for opening handshakes, as values and as bytes, legal or not."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

import attrs

from trio_ws.headers import Headers, HeaderSource, header_pairs

__all__ = [
    "HANDSHAKE_KEY",
    "HEAD_END",
    "InvalidHead",
    "RawRequest",
    "RawResponse",
    "accept_token",
    "request_bytes",
    "response_bytes",
]

HANDSHAKE_KEY: Final = base64.b64encode(b"the sample nonce").decode()
"""The Sec-WebSocket-Key of RFC 6455 1.3."""
HEAD_END: Final = b"\r\n\r\n"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 1.3."""


class InvalidHead(Exception):  # noqa: N818 - a finding about the other side, not an error of the test
    """The other side sent something that is no head of an HTTP/1.1 request or response.

    Example:
        with pytest.raises(InvalidHead, match="SSH-2.0"):
            RawResponse.parse(b"SSH-2.0-OpenSSH\\r\\n\\r\\n")
    """


@attrs.frozen
class RawRequest:
    """The head of a request, as a raw server received it.

    Example:
        request = await peer.receive_request()
        assert request.headers["sec-websocket-version"] == "13"
    """

    line: str
    """The first line, such as "GET /chat HTTP/1.1"."""
    headers: Headers
    """The headers, in their order."""
    raw: bytes = attrs.field(repr=False)
    """The head as it arrived, with the empty line at its end."""

    @property
    def method(self) -> str:
        """The method, "" if there is none."""
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        """The target: path and query as a rule."""
        return "".join(self.line.split(" ")[1:2])

    @classmethod
    def parse(cls, raw: bytes) -> RawRequest:
        """Return the request of a head.

        Raises:
            InvalidHead: it is none.
        """
        return cls(*_split(raw), raw)


@attrs.frozen
class RawResponse:
    """The head of a response, as a raw client received it.

    Example:
        response = await peer.receive_response()
        assert (response.status, response.headers["upgrade"]) == (101, "websocket")
    """

    status: int
    """The status."""
    line: str
    """The first line, such as "HTTP/1.1 101 Switching Protocols"."""
    headers: Headers
    """The headers, in their order."""
    raw: bytes = attrs.field(repr=False)
    """The head as it arrived, with the empty line at its end."""

    @classmethod
    def parse(cls, raw: bytes) -> RawResponse:
        """Return the response of a head.

        Raises:
            InvalidHead: it is none.
        """
        line, headers = _split(raw)
        version, _, rest = line.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit()):
            raise InvalidHead(f"the first line of a response has a version and a status, not {line!r}")
        return cls(int(status), line, headers, raw)


def _split(raw: bytes) -> tuple[str, Headers]:
    line, *fields = raw.removesuffix(HEAD_END).decode("latin-1").split("\r\n")
    pairs = [field.partition(":") for field in fields]
    wrong = [field for field, (_, colon, _) in zip(fields, pairs, strict=True) if not colon]
    if wrong:
        raise InvalidHead(f"a header has a colon: {wrong[0]!r}")
    return line, Headers([(name, value.strip()) for name, _, value in pairs])


def accept_token(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 4.2.2).

    Example:
        accept_token("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    """
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def _head(line: str | bytes, fields: Iterable[tuple[str, str]]) -> bytes:
    first = line if isinstance(line, bytes) else line.encode("latin-1")
    return b"\r\n".join([first, *(f"{name}: {value}".encode("latin-1") for name, value in fields), b"", b""])


def request_bytes(
    target: str = "/",
    headers: HeaderSource = (),
    *,
    host: str = "localhost",
    without: Iterable[str] = (),
    line: str | bytes | None = None,
) -> bytes:
    """Return the head of a request for a WebSocket. Nothing is checked.

    Args:
        target: path and query.
        headers: further headers, after those of the handshake; values may hold anything.
        host: the Host header.
        without: names of headers of the handshake to leave out.
        line: another first line.

    Example:
        request_bytes("/chat", {"Upgrade": "spdy"}, without=["Upgrade"])
    """
    absent = {name.lower() for name in without}
    good = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": HANDSHAKE_KEY,
        "Sec-WebSocket-Version": "13",
    }
    fields = [(name, value) for name, value in good.items() if name.lower() not in absent]
    return _head(f"GET {target} HTTP/1.1" if line is None else line, [*fields, *header_pairs(headers)])


def response_bytes(
    key: str | None = None,
    headers: HeaderSource = (),
    *,
    status: int = 101,
    without: Iterable[str] = (),
    line: str | bytes | None = None,
    body: bytes = b"",
) -> bytes:
    """Return a response. Nothing is checked.

    Args:
        key: the Sec-WebSocket-Key of the request; None for a response without handshake headers.
        headers: further headers.
        status: the HTTP status.
        without: names of headers to leave out.
        line: another first line.
        body: sent after the head, with a Content-Length if the status is not 101.

    Example:
        response_bytes(request.headers["sec-websocket-key"], {"Sec-WebSocket-Protocol": "chat"})
    """
    absent = {name.lower() for name in without}
    good = {}
    if key is not None:
        good = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_token(key)}
    if status != 101:
        good["Content-Length"] = str(len(body))
    fields = [(name, value) for name, value in good.items() if name.lower() not in absent]
    reason = "Switching Protocols" if status == 101 else "Test"
    return _head(f"HTTP/1.1 {status} {reason}" if line is None else line, [*fields, *header_pairs(headers)]) + body
