"""The head of an HTTP message, its end and its bounds.

Both sides of the opening handshake use it before h11 sees a byte. The contents of a head are read in `parser` and
`protocol.client_handshake`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from trio_ws.config import Limits
from trio_ws.headers import Headers

__all__ = [
    "HeadParser",
    "MalformedHead",
    "MalformedRequest",
    "ShuttingDown",
    "check_sizes",
    "elements",
    "excerpt",
    "not_plain",
]

_MAX_EXCERPT = 80
_CR = 0x0D
_PLAIN = re.compile(r"[\t\x20-\x7e]*")


class MalformedRequest(Exception):  # noqa: N818 - the name of status 400
    """The error of a request that is answered with an HTTP error.

    Afterwards the connection ends.

    Attributes:
        status: the HTTP status to answer with.
        message: the fault, in printable ASCII, the peer's text in it escaped and cut: safe to log and to send.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.headers = headers


class ShuttingDown(MalformedRequest):
    """The error of a request that a server gets, or has not answered, while it shuts down.

    Another server, or this one's successor, may have the address already: the client may try again after a second.
    """

    def __init__(self) -> None:
        super().__init__(503, "the server is shutting down", (("Retry-After", "1"),))


class MalformedHead(Exception):  # noqa: N818 - readers of the head translate it
    """The error of a head that is not read any further.

    Attributes:
        status: the HTTP status to answer with, 400, 414 or 431.
        message: the fault, in ASCII, without any text of the peer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class HeadParser:
    """A parser that finds the end of one head, as h11 does.

    The end is the first empty line, where lines end in LF or in CR LF. Every byte is searched once, however the head is
    cut, and the result does not depend on the cuts.

    Args:
        plausible: returns whether the first bytes (at most 40) can begin a head, so that other protocols are
            refused at their first byte and not by a timeout.
        limits: bounds of lines, their number and the whole.
    """

    __slots__ = ("_begin", "_buffer", "_headers", "_limits", "_line", "_plausible", "_searched", "leftover")

    def __init__(self, plausible: Callable[[bytes], bool], limits: Limits) -> None:
        self._plausible = plausible
        self._limits = limits
        self._buffer = bytearray()
        self._begin = 0  # where the head begins: after one empty line, if there is one
        self._line = 0  # where the current line begins
        self._searched = 0  # no line ends between self._line and here
        self._headers = -1  # complete header lines; -1 until the first line is complete
        self.leftover: bytes = b""
        """The bytes after the head."""

    def feed(self, data: bytes | bytearray | memoryview) -> bytes | None:
        """Parse more bytes and return the head when it is complete.

        The head includes its empty line. It is None before.

        Raises:
            MalformedHead: it is too large, folded (RFC 9112 5.2), or no HTTP at all. Do not feed it again.
        """
        self._buffer += data
        if self._headers < 0 and not self._plausible(bytes(self._buffer[:40])):
            raise MalformedHead(400, _not_http(bytes(self._buffer[:2])))
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            if self._ends_head(end):
                self.leftover = bytes(self._buffer[end + 1 :])
                return bytes(self._buffer[self._begin : end + 1])
            self._line = self._searched = end + 1
        self._searched = len(self._buffer)
        self._check_size(self._searched)
        return None

    def _ends_head(self, end: int) -> bool:
        """Take one line; return whether it is the empty last one.

        Args:
            end: the position of its LF.
        """
        self._check_size(end)
        if self._length(end) == 0:
            if self._headers >= 0:
                return True
            # RFC 9112 2.2: one empty line before a request is ignored. More are not plausible.
            self._begin = end + 1
            return False
        if self._headers >= 0 and self._buffer[self._line] in b" \t":
            raise MalformedHead(400, "a header is folded over several lines")
        self._headers += 1
        if self._headers > self._limits.max_headers:
            raise MalformedHead(431, _too_many(self._limits))
        return False

    def _length(self, end: int) -> int:
        """Return the current line's length without CR, if it ends before `end`."""
        has_return = end > self._line and self._buffer[end - 1] == _CR
        return end - self._line - has_return

    def _check_size(self, end: int) -> None:
        """Check the sizes of the current line and of the head.

        Args:
            end: the line reaches to it at least, and the head has one byte more.
        """
        limits = self._limits
        if self._headers < 0:
            if self._length(end) > min(limits.max_request_line, limits.max_head_size):
                raise MalformedHead(414, _too_long(limits))
        elif self._length(end) > limits.max_header_size or end >= limits.max_head_size:
            raise MalformedHead(431, _too_large(limits))


def check_sizes(first_line: int, headers: Iterable[tuple[bytes, bytes]], limits: Limits) -> None:
    """Check a head that another parser has read, as `HeadParser` does.

    Args:
        first_line: the length of the first line, without its end.
        headers: names and values; each would be a line of HTTP/1.1.
        limits: bounds of lines, their number and the whole.

    Raises:
        MalformedRequest: 414 or 431.
    """
    lines = [len(name) + len(": ") + len(value) for name, value in headers]
    size = sum(lines) + first_line + len("\r\n") * (len(lines) + 2)
    if first_line > min(limits.max_request_line, limits.max_head_size):
        raise MalformedRequest(414, _too_long(limits))
    if len(lines) > limits.max_headers:
        raise MalformedRequest(431, _too_many(limits))
    if max(lines, default=0) > limits.max_header_size or size > limits.max_head_size:
        raise MalformedRequest(431, _too_large(limits))


def _too_long(limits: Limits) -> str:
    return f"the first line has more than {limits.max_request_line} bytes"


def _too_many(limits: Limits) -> str:
    return f"more than {limits.max_headers} headers"


def _too_large(limits: Limits) -> str:
    return f"the head is too large: {limits.max_header_size} bytes a line and {limits.max_head_size} in all are allowed"


def excerpt(text: str) -> str:
    """Return the beginning of a peer's text, quoted, in printable ASCII.

    It is safe to log and to send back.
    """
    return ascii(text) if len(text) <= _MAX_EXCERPT else f"{text[:_MAX_EXCERPT]!a}..."


def elements(values: Iterable[str]) -> list[str]:
    """Return the elements of a list header (RFC 9110 5.6.1).

    Args:
        values: all its values; empty elements are skipped.
    """
    return [element for value in values for piece in value.split(",") if (element := piece.strip(" \t"))]


def not_plain(headers: Headers) -> str | None:
    """Return the name of a Sec-WebSocket header with unprintable characters.

    None if all are printable ASCII.
    """
    for name, value in headers.pairs:
        if name.startswith("sec-websocket-") and not _PLAIN.fullmatch(value):
            return name
    return None


def _not_http(beginning: bytes) -> str:
    """Return the message for bytes that are no HTTP, with the fix if they are records of TLS (RFC 8446 5.1).

    The first byte, a record's type, decides, since no more may have come.
    """
    match beginning[:1]:
        case b"\x16":
            return "this is TLS on a port without TLS: the client's URL is wss:// where ws:// is meant"
        case b"\x15":
            return "this is TLS: the server's port has TLS, write wss:// in place of ws://"
        case _:
            return "this is not HTTP/1.1"
