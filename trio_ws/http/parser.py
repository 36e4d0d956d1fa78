"""The parser and the checks of an HTTP request on the server.

The upgrade to a WebSocket is in `protocol.server_handshake`, answers are in `response`.
"""

from __future__ import annotations

import re
from typing import cast

import attrs

from trio_ws.config import Limits
from trio_ws.headers import Headers
from trio_ws.http.head import HeadParser, MalformedHead, MalformedRequest, elements, excerpt
from trio_ws.http.url import split_host

__all__ = ["RequestHead", "RequestParser", "check_http", "in_origin_form", "is_path", "is_upgrade"]

# A method is a token (RFC 9110 9.1); the longest registered one has 17 letters. An empty line may lead.
_PLAUSIBLE = re.compile(rb"(?:\r?\n)?(?:\Z|[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}(?: |\Z))|\r\Z")
# RFC 9112 3.2.2: servers must accept the absolute form, which is for proxies, too.
_ABSOLUTE_FORM = re.compile(r"(?:https?|wss?)://([^/?#]*)(.*)", re.IGNORECASE)
_ORIGIN_FORM = re.compile(r"/[\x21\x22\x24-\x7e]*")
# A GET as all browsers and clients send it. Nothing in it can be read in two ways, and no part is tried twice.
_COMMON_REQUEST = re.compile(
    r"GET (/[\x21\x22\x24-\x7e]*+) HTTP/1\.1\r\n"
    r"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++: (?! )[\x20-\x7e]++(?<! )\r\n)++)\r\n"
)
_FIELD = re.compile(r"([^:]++): ([^\r]++)\r\n")
_FRAMING = ("content-length", "transfer-encoding")


@attrs.frozen
class RequestHead:
    """A request's head as h11 read it, which may yet be refused."""

    method: str
    target: str
    """The request target in ASCII, percent-encoded as received; of the absolute form path and query. Its host is in
    `headers` then, in place of Host."""
    http_version: str
    """`"1.1"`, for example."""
    headers: Headers


class RequestParser:
    """A parser of one request head.

    Limits are checked before h11 sees a byte, however the head is cut. An ordinary head in one piece, as nearly every
    one is, is read without h11, in a tenth of the time; a test compares the two.
    """

    __slots__ = ("_head_parser", "_limits", "leftover")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._head_parser: HeadParser | None = None  # made when the fast path does not match
        self.leftover: bytes = b""
        """The bytes after the head, which belong to frames."""

    def feed(self, data: bytes | bytearray | memoryview) -> RequestHead | None:
        """Parse more bytes and return the head when it is complete.

        After a head, and after an error, do not feed it again.

        Raises:
            MalformedRequest: 414 or 431 for too large a head, 400 for what is no HTTP request. Nothing else is
                raised.
        """
        if self._head_parser is None:
            read = _parse_common_request(data, self._limits)
            if read is not None:
                head, size = read
                self.leftover = bytes(data[size:])
                return head
            self._head_parser = HeadParser(_plausible, self._limits)
        try:
            whole = self._head_parser.feed(data)
        except MalformedHead as error:
            raise MalformedRequest(error.status, error.message) from None
        if whole is None:
            return None
        self.leftover = self._head_parser.leftover
        return _read(whole)


def _parse_common_request(data: bytes | bytearray | memoryview, limits: Limits) -> tuple[RequestHead, int] | None:
    """Return the head at the beginning of `data` and its size.

    None if it has to be read by h11.
    """
    # A head that is no longer than one line may be has no line that is too long.
    most = min(limits.max_request_line, limits.max_header_size, limits.max_head_size)
    match = _COMMON_REQUEST.match(str(data[:most], "latin-1"))
    if match is None:
        return None
    pairs = _FIELD.findall(match[2])
    headers = Headers.of_text(pairs)
    if headers.count("host") != 1 or len(pairs) > limits.max_headers or any(map(headers.count, _FRAMING)):
        return None
    return RequestHead(method="GET", target=match[1], http_version="1.1", headers=headers), match.end()


def _plausible(beginning: bytes) -> bool:
    return _PLAUSIBLE.match(beginning) is not None


def _read(head: bytes) -> RequestHead:
    import h11  # noqa: PLC0415 - its import takes long

    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        # A whole head is a request or an error.
        request = cast("h11.Request", connection.next_event())
    except h11.RemoteProtocolError as error:
        error.__traceback__ = None  # it refers to a frame of h11's, which refers to the error: a cycle with all callers
        raise MalformedRequest(400, f"malformed request: {excerpt(str(error))}") from None
    read = RequestHead(
        method=request.method.decode("ascii"),
        target=request.target.decode("ascii"),
        http_version=request.http_version.decode("ascii"),
        headers=Headers(request.headers),
    )
    return in_origin_form(read)


def in_origin_form(head: RequestHead) -> RequestHead:
    """Convert a target in absolute form to a path and Host (RFC 9112 3.2.2).

    Raises:
        MalformedRequest: the target has no valid host, or the Host header itself is malformed (RFC 9112 3.2).
    """
    match = _ABSOLUTE_FORM.fullmatch(head.target)
    if match is None:
        return head
    authority, rest = match.groups()
    _check_host(head)
    if not authority:
        raise MalformedRequest(400, f"the request target {excerpt(head.target)} has no host")
    fields = [(name, value) for name, value in head.headers.pairs if name != "host"]
    return attrs.evolve(
        head,
        target=rest if rest.startswith("/") else f"/{rest}",
        headers=Headers([("host", authority), *fields]),
    )


def is_path(target: str) -> bool:
    """Return whether a request target is a path (RFC 9112 3.2.1).

    It may have a query, but no fragment.
    """
    return _ORIGIN_FORM.fullmatch(target) is not None


def check_http(head: RequestHead, *, takes_body: bool = False) -> None:
    """Refuse a request that is never answered with a 101, a page or by an endpoint.

    Args:
        head: of the request.
        takes_body: whether an endpoint answers it, which takes any method and a body.

    Raises:
        MalformedRequest: 405 for a method other than GET and HEAD; 400 for an HTTP version other than 1.0 and 1.1,
            a missing, repeated or malformed Host (RFC 9112 3.2; an empty one is valid), a body (pages take none), or
            a target that is not a path.
    """
    if head.http_version not in ("1.0", "1.1"):
        raise MalformedRequest(400, f"HTTP version {excerpt(head.http_version)} is not supported")
    if head.method not in ("GET", "HEAD") and not takes_body:
        raise MalformedRequest(405, f"method {excerpt(head.method)} is not allowed", (("Allow", "GET"),))
    _check_host(head)
    has_body = "transfer-encoding" in head.headers or head.headers.get("content-length", "").strip("0")
    if has_body and not takes_body:
        raise MalformedRequest(400, "a request with a body is not accepted")
    if not is_path(head.target):
        raise MalformedRequest(400, f"the request target {excerpt(head.target)} is not a path")


def _check_host(head: RequestHead) -> None:
    hosts = head.headers.get_list("host")
    if len(hosts) > 1 or (not hosts and head.http_version == "1.1"):
        raise MalformedRequest(400, "a request needs one Host header")
    for host in filter(None, hosts):  # an empty one stands for a target without a host (RFC 9112 3.2)
        try:
            split_host(host)
        except ValueError as error:
            raise MalformedRequest(400, f"bad Host header {excerpt(host)}: {error}") from None


def is_upgrade(head: RequestHead) -> bool:
    """Return whether a request is for a WebSocket, well-formed or not.

    Otherwise it is for a page.
    """
    headers = head.headers
    return (
        "sec-websocket-key" in headers
        or "sec-websocket-version" in headers
        or "websocket" in [protocol.lower() for protocol in elements(headers.get_list("upgrade"))]
    )
