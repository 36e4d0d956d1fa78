"""A plain HTTP request over a stream."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import h11
import trio

from trio_ws.errors import ConnectError
from trio_ws.headers import Headers, header_pairs, validate_headers

if TYPE_CHECKING:
    from trio_ws.errors import HeaderSource
    from trio_ws.http.url import URL

__all__ = ["TestResponse", "fetch"]

READ_BYTES = 64 * 1024


@attrs.frozen(kw_only=True)
class TestResponse:
    """A response to a plain HTTP request.

    Example:
        async with app.test_client() as client:
            page = await client.get("/hello")
            assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    """

    __test__ = False

    status: int
    """The HTTP status."""
    headers: Headers
    """The headers, in their order."""
    body: bytes
    """The bytes of the body."""

    @property
    def text(self) -> str:
        """The body, decoded as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body, parsed as JSON."""
        return json.loads(self.body)


async def fetch(stream: trio.abc.Stream, url: URL, headers: HeaderSource, *, body: bytes | None = None) -> TestResponse:
    """Send a request for `url` over `stream`, return the response and close the stream.

    Args:
        stream: connected to the server.
        url: the URL of the request.
        headers: request headers other than Host and Content-Length.
        body: of a POST; None for a GET.

    Raises:
        ConnectError: the connection ended before the response was complete, or the response is not HTTP.
        ValueError: a header is invalid.
    """
    connection = h11.Connection(h11.CLIENT)
    fields = [(b"Host", url.netloc.encode()), *validate_headers(header_pairs(headers))]
    method = "GET" if body is None else "POST"
    if body is not None:
        fields.append((b"Content-Length", b"%d" % len(body)))
    content = [h11.Data(data=body)] if body else []
    events = (h11.Request(method=method, target=url.target, headers=fields), *content, h11.EndOfMessage())
    request = b"".join(connection.send(event) or b"" for event in events)
    async with stream:
        try:
            await stream.send_all(request)
            return await _answer(stream, connection)
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise ConnectError("handshake", f"incomplete response: {error}") from error


async def _answer(stream: trio.abc.Stream, connection: h11.Connection) -> TestResponse:
    head = await _next_event(stream, connection)
    while not isinstance(head, h11.Response):  # a 1xx precedes the response (RFC 9110 15.2)
        head = await _next_event(stream, connection)
    body = b""
    while isinstance(event := await _next_event(stream, connection), h11.Data):
        body += event.data
    return TestResponse(status=head.status_code, headers=Headers(head.headers.raw_items()), body=body)


async def _next_event(stream: trio.abc.Stream, connection: h11.Connection) -> object:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some(READ_BYTES)))
    return event
