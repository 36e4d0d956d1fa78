"""The suite's own opening handshakes (RFC 6455 4): heads of requests and responses, valid or not."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Final

import attrs

from trio_ws.conformance.finding import Finding

__all__ = [
    "HEAD_END",
    "KEY",
    "PLAIN_REQUEST",
    "PLAIN_RESPONSE",
    "OpeningHead",
    "OpeningRequest",
    "OpeningResponse",
    "accept_token",
    "request",
    "response",
]

KEY: Final = base64.b64encode(b"conformance test").decode()
HEAD_END: Final = b"\r\n\r\n"
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUS_LINE: Final = re.compile(r"HTTP/1\.[01] (\d{3})(?: .*)?")

_REQUEST_HEADERS: Final = {
    "Host": "Host: {host}",
    "Upgrade": "Upgrade: websocket",
    "Connection": "Connection: Upgrade",
    "Sec-WebSocket-Key": f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version": "Sec-WebSocket-Version: 13",
}
_RESPONSE_HEADERS: Final = {
    "Upgrade": "Upgrade: websocket",
    "Connection": "Connection: Upgrade",
    "Sec-WebSocket-Accept": "Sec-WebSocket-Accept: {token}",
}


def accept_token(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 4.2.2)."""
    return base64.b64encode(hashlib.sha1((key + _GUID).encode("latin-1"), usedforsecurity=False).digest()).decode()


def _changed(lines: Mapping[str, str], change: Mapping[str, str | None], add: tuple[str, ...]) -> tuple[str, ...]:
    unknown = set(change) - set(lines)
    if unknown:
        raise ValueError(f"not among the headers of the handshake: {sorted(unknown)}")
    kept = [change.get(name, line) for name, line in lines.items()]
    return (*(line for line in kept if line is not None), *add)


@attrs.frozen
class OpeningRequest:
    """The head of a request, as the suite sends it to a server under test.

    Args:
        lines: the request line and the headers; {target} and {host} are filled in.
        newline: ends each line.
        chop: octets of each write, 0 for one write.
        after: bytes right behind the head, in the same write.
        key: the Sec-WebSocket-Key that the answer has to match.
        complete: whether the empty line that ends the head is sent.
        raw: sent in place of all that.
    """

    lines: tuple[str, ...]
    newline: str = "\r\n"
    chop: int = 0
    after: bytes = b""
    key: str = KEY
    complete: bool = True
    raw: bytes | None = None

    def encode(self, host: str, target: str, extra: tuple[str, ...]) -> bytes:
        """Return the bytes; `extra` are further header lines, which the user of the suite wants."""
        if self.raw is not None:
            return self.raw
        lines = [line.replace("{host}", host).replace("{target}", target) for line in self.lines]
        head = self.newline.join([*lines, *extra, *([""] if self.complete else [])]) + self.newline
        return head.encode("latin-1") + self.after


@attrs.frozen
class OpeningResponse:
    """The head of a response, as the suite sends it to a client under test.

    Args:
        lines: the status line and the headers; {token} is filled in, {swapped} is it with its cases exchanged.
        newline: ends each line.
        chop: octets of each write, 0 for one write.
        after: bytes right behind the head, in the same write.
        delay: whether there is a moment before the response, in which the client must wait.
        complete: whether the empty line that ends the head is sent; if not, the suite ends its side behind it.
    """

    lines: tuple[str, ...]
    newline: str = "\r\n"
    chop: int = 0
    after: bytes = b""
    delay: bool = False
    complete: bool = True

    def encode(self, key: str, extra: tuple[str, ...]) -> bytes:
        """Return the bytes in answer to a key."""
        token = accept_token(key)
        lines = [line.replace("{token}", token).replace("{swapped}", token.swapcase()) for line in self.lines]
        head = self.newline.join([*lines, *extra, *([""] if self.complete else [])]) + self.newline
        return head.encode("latin-1") + self.after


def request(
    line: str = "GET {target} HTTP/1.1",
    *,
    change: Mapping[str, str | None] | None = None,
    add: tuple[str, ...] = (),
    newline: str = "\r\n",
    chop: int = 0,
    after: bytes = b"",
    key: str = KEY,
    complete: bool = True,
) -> OpeningRequest:
    """Return a request that differs from a valid one.

    Args:
        line: the request line.
        change: whole lines in place of those of a header, by its name; None leaves it out.
        add: lines of further headers.
        newline: ends each line.
        chop: octets of each write, 0 for one write.
        after: bytes behind the head.
        key: the Sec-WebSocket-Key that the answer has to match.
        complete: whether the empty line that ends the head is sent.
    """
    lines = (line, *_changed(_REQUEST_HEADERS, change or {}, add))
    return OpeningRequest(lines, newline, chop, after, key, complete)


def response(
    line: str = "HTTP/1.1 101 Switching Protocols",
    *,
    change: Mapping[str, str | None] | None = None,
    add: tuple[str, ...] = (),
    newline: str = "\r\n",
    chop: int = 0,
    after: bytes = b"",
    delay: bool = False,
    complete: bool = True,
) -> OpeningResponse:
    """Return a response that differs from a valid one; the arguments are those of `request`."""
    lines = (line, *_changed(_RESPONSE_HEADERS, change or {}, add))
    return OpeningResponse(lines, newline, chop, after, delay, complete)


PLAIN_REQUEST: Final = request()
PLAIN_RESPONSE: Final = response()


@attrs.frozen
class OpeningHead:
    """The head of a request or response of the implementation under test.

    Args:
        line: the first line.
        fields: names in lower case, and values without white space around them, in order.
    """

    line: str
    fields: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, raw: bytes) -> OpeningHead:
        """Parse the bytes up to the empty line.

        Raises:
            Finding: a line is no header.
        """
        line, *rest = raw.decode("latin-1").split("\r\n")
        fields = []
        for each in rest:
            name, colon, value = each.partition(":")
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise Finding("RFC 9112 5", f"no header: {each!r}")
            fields.append((name.lower(), value.strip(" \t")))
        return cls(line, tuple(fields))

    @property
    def status(self) -> int:
        """The status of a response.

        Raises:
            Finding: the first line is no status line.
        """
        match = _STATUS_LINE.fullmatch(self.line)
        if match is None:
            raise Finding("RFC 9112 4", f"no status line: {self.line[:80]!r}")
        return int(match[1])

    def all(self, name: str) -> list[str]:
        """Return the values of a header."""
        return [value for each, value in self.fields if each == name]

    def one(self, name: str) -> str:
        """Return the value of a header, several joined by commas; "" if there is none."""
        return ", ".join(self.all(name))

    def elements(self, name: str) -> list[str]:
        """Return the elements of a header that is a list, in lower case."""
        return [each.strip().lower() for each in self.one(name).split(",") if each.strip()]
