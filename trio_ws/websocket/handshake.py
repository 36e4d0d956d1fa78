"""The half of `WebSocket` that is available before the handshake is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trio_ws.errors import HeaderSource
from trio_ws.headers import header_pairs, is_token
from trio_ws.options import list_of
from trio_ws.websocket.request_view import RequestView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_ws.headers import Headers

__all__ = ["DenialResponse", "Handshake", "parse_subprotocols"]


class DenialResponse(Protocol):
    """An HTTP response that is made as a whole, as Starlette's `Response` is."""

    status_code: int
    """300 to 599."""

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The headers of the answer."""

    @property
    def body(self) -> bytes | memoryview:
        """The body of the answer."""


class Handshake(RequestView):
    """A request for a WebSocket, and its answer. Handlers get it as a `WebSocket`."""

    __slots__ = ()

    @property
    def accepted(self) -> bool:
        """Whether the handshake was accepted; it stays so after the connection has ended."""
        return self.context.channel is not None

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol; None before the answer, or if there is none."""
        return self.context.subprotocol

    @property
    def response_headers(self) -> Headers | None:
        """On a client the headers of the server's 101; on a server None."""
        return self.context.response_headers

    async def accept(self, subprotocol: str | None = None, headers: HeaderSource = ()) -> None:
        """Answer the handshake with 101 (RFC 6455 4.2.2). Routes do so themselves, but for `auto_accept=False`.

        Args:
            subprotocol: one that the client offers. If None, the first of the route's `subprotocols` that it offers.
            headers: further headers of the answer.

        Raises:
            LocalProtocolError: the handshake was answered before, or the subprotocol was not offered.
            ValueError: a header cannot be sent, or is one that the handshake sets itself.
            WebSocketDisconnect: the client has left.
            trio.Cancelled: nothing was sent.
        """
        await self.context.accept(subprotocol, headers)

    async def reject(self, status: int = 403, headers: HeaderSource = (), body: bytes = b"") -> None:
        """Answer the handshake with an HTTP status; the handler ends here, silently.

        Args:
            status: 300 to 599.
            headers: further headers of the answer.
            body: the body of the answer.

        Raises:
            LocalProtocolError: the handshake was answered before.
            ValueError: the status is out of range, or a header cannot be sent.
            trio.Cancelled: the handler's own scope is cancelled as soon as the answer is on its way.
        """
        await self.context.reject(status, headers, body)

    async def send_denial_response(self, response: DenialResponse) -> None:
        """Answer the handshake with a response of Starlette's; the handler goes on, as there.

        Args:
            response: one that is made as a whole; a stream or a file has no `body`.

        Raises:
            LocalProtocolError: the handshake was answered before.
            TypeError: it has no body.
            ValueError: the status is out of range, or a header cannot be sent.
            trio.Cancelled: the answer may be on its way.
        """
        body = getattr(response, "body", None)
        if not isinstance(body, bytes | memoryview):
            raise TypeError(f"send_denial_response() takes a response with a whole body, not {type(response).__name__}")
        headers = [pair for pair in header_pairs(response.raw_headers) if pair[0].lower() != "content-length"]
        await self.context.reject(response.status_code, headers, bytes(body), leave=False)


def parse_subprotocols(value: Iterable[str]) -> tuple[str, ...]:
    """Check `subprotocols=` and return it as a tuple.

    Raises:
        TypeError: a single one was given where a list of them is expected, or one is not a str.
        ValueError: one is not a token (RFC 6455 4.1), or is listed twice.
    """
    names = tuple(list_of("subprotocols", value, "names"))
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"subprotocols takes a list of names, not of {name!r}")
        if not is_token(name):
            raise ValueError(f"subprotocol {name!r} is not a token (RFC 6455 4.1)")
    if len(set(names)) < len(names):
        raise ValueError(f"a subprotocol is listed twice: {list(names)}")
    return names
