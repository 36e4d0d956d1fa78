"""One plain HTTP call of an ASGI server."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.asgi.handshake import answer_headers
from trio_ws.asgi.scope import read_request
from trio_ws.handler.post_endpoint import find_endpoint
from trio_ws.handler.service import Response, Streamed
from trio_ws.http.head import MalformedRequest

if TYPE_CHECKING:
    from trio_ws.asgi.scope import Receive, Scope, Send
    from trio_ws.connection.settings import Settings
    from trio_ws.handler.post_endpoint import PostEndpoint
    from trio_ws.http.request import Request
    from trio_ws.server.context import Responder

__all__ = ["HTTPCall"]

logger: Final = logging.getLogger("trio_ws")

_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_UPGRADE: Final = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))


class HTTPCall:
    """One HTTP request, answered with a page of the responder.

    Args:
        responder: makes the page.
        settings: the server's settings.
        scope: the request's scope.
        receive: the ASGI server's callable.
        send: the ASGI server's callable.
    """

    def __init__(self, responder: Responder, settings: Settings, scope: Scope, receive: Receive, send: Send) -> None:
        self._responder = responder
        self._settings = settings
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_read = trio.Event()
        self._body_known = trio.Event()  # it is read, or too large
        self._body = bytearray()
        self._max_body = 0
        self._ending = False

    async def run(self) -> None:
        """Answer the request, unless the client disconnects before."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            deadline = trio.current_time() + self._settings.timeouts.open_timeout
            answer = await self._answer(deadline)
            with trio.move_on_at(deadline):
                # The body is not used, but hypercorn fails if it arrives after the answer over HTTP/2.
                await self._body_read.wait()
            await self._send_answer(answer)
            nursery.cancel_scope.cancel(reason="the page is answered")

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Read the request's body, and cancel `scope` if the client disconnects before the last part is sent.

        hypercorn may report a disconnect within the call of `send` for the last part; that one is ignored.
        """
        while True:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                if not self._ending:
                    scope.cancel(reason="client disconnected")
                return
            if self._max_body and len(self._body) <= self._max_body:  # else it is not used
                self._body += event.get("body", b"")
            if not event.get("more_body", False):
                self._body_read.set()
            if self._body_read.is_set() or len(self._body) > self._max_body:
                self._body_known.set()

    async def _answer(self, deadline: float) -> Response:
        try:
            request = read_request(self._scope, self._settings, self._responder)
            endpoint = find_endpoint(self._responder, request.method, request.raw_path)
            with trio.move_on_at(deadline):
                page = await (self._page(request) if endpoint is None else self._answer_post(endpoint, request))
                self._headers_of(page)  # raises if they cannot be sent
                return page
            if endpoint is not None and not self._body_known.is_set():
                raise MalformedRequest(408, "the body took longer than open_timeout")
            raise MalformedRequest(503, "the page took longer than open_timeout")
        except MalformedRequest as error:
            logger.info("%s refused with %d: %s", self._scope.get("client"), error.status, error.message)
            body = f"{error.message}\n".encode()
            return Response(status=error.status, headers=(*error.headers, _TEXT), body=body)
        except Exception:
            logger.exception("error in the responder for %s", self._scope.get("client"))
            return Response(status=500, headers=(_TEXT,), body=b"internal error\n")

    async def _page(self, request: Request) -> Response:
        page = await self._responder.page(request)
        if page is None:
            raise MalformedRequest(426, "this is a WebSocket server", _UPGRADE)
        return page

    async def _answer_post(self, endpoint: PostEndpoint, request: Request) -> Response:
        """Return the answer of an endpoint, without the body if the head is enough to refuse it."""
        refusal = endpoint.refusal(request)
        if refusal is not None:
            return refusal
        self._max_body = endpoint.max_body
        await self._body_known.wait()
        if len(self._body) > endpoint.max_body:
            raise MalformedRequest(413, f"the body is larger than {endpoint.max_body} bytes")
        return await endpoint.answer(request, bytes(self._body))

    def _headers_of(self, answer: Response) -> list[tuple[bytes, bytes]]:
        length = answer.length if isinstance(answer, Streamed) else None
        return answer_headers(self._scope, answer.status, answer.headers, answer.body, length=length)

    async def _send_answer(self, answer: Response) -> None:
        headers = self._headers_of(answer)
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        head_only = self._scope["method"] == "HEAD"
        if isinstance(answer, Streamed) and not head_only:
            async with aclosing(answer.pieces()) as pieces:
                async for piece in pieces:
                    await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        body = b"" if head_only else answer.body
        self._ending = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
