"""The first phase of a server's connection: the request and its answer."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import TYPE_CHECKING, cast

import attrs
import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import PendingHandshake, disconnect_of
from trio_ws.connection.connection import Connection
from trio_ws.connection.settings import compression_of
from trio_ws.handler.post_endpoint import find_endpoint
from trio_ws.handler.service import Response, Service, Streamed
from trio_ws.http.forwarded import forwarded
from trio_ws.http.head import MalformedRequest, ShuttingDown
from trio_ws.http.hosts import check_host
from trio_ws.http.origin import check_origin
from trio_ws.http.parser import RequestHead, check_http, is_upgrade
from trio_ws.http.request import Request
from trio_ws.http.response import response
from trio_ws.protocol import server_handshake
from trio_ws.protocol.negotiation import ExtensionSyntaxError, accept_offer, parse_extensions
from trio_ws.protocol.server_handshake import parse_common_request, read_upgrade
from trio_ws.server.body import answer_post
from trio_ws.server.download import send_answer, send_body
from trio_ws.server.request_receiver import LINGER, RequestReceiver
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.config import Compression, Limits, Timeouts
    from trio_ws.errors import HeaderSource
    from trio_ws.handler.post_endpoint import PostEndpoint
    from trio_ws.handler.runner import HandlerRunner
    from trio_ws.protocol.server_handshake import Upgrade
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.server.context import ServerContext
    from trio_ws.transport.base import Transport
    from trio_ws.transport.socket_options import AnySocket

__all__ = ["ServerHandshake"]

_UPGRADE = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))


@attrs.frozen(eq=False, repr=False)
class _UpgradeRequest:
    """A request for a WebSocket, and the settings of the connection that a 101 makes."""

    upgrade: Upgrade
    limits: Limits
    timeouts: Timeouts
    compression: Compression | None


class ServerHandshake(PendingHandshake):
    """Reads a request and answers it: a page, a refusal, or the 101 that ends this phase.

    Args:
        context: of the server.
        transport: of the client.
        runner: runs the handler of an upgrade.
        log: takes the connection's records.
        secure: whether the connection uses TLS.
        refusal: the answer to every request, because the server has no room; None to serve it.
        on_accept: called with the connection that a 101 has made.
    """

    __slots__ = (
        "_answer_scope",
        "_context",
        "_log",
        "_on_accept",
        "_page_scope",
        "_receiver",
        "_refusal",
        "_runner",
        "_secure",
        "_transport",
        "_upgrade",
        "answered",
        "status",
    )

    def __init__(
        self,
        context: ServerContext,
        transport: Transport,
        runner: HandlerRunner,
        *,
        log: ConnectionLog,
        secure: bool,
        refusal: MalformedRequest | None,
        on_accept: Callable[[Connection], None],
    ) -> None:
        self._context = context
        self._transport = transport
        self._runner = runner
        self._log = log
        self._secure = secure
        self._refusal = refusal
        self._on_accept = on_accept
        self._upgrade: _UpgradeRequest | None = None
        self._page_scope: trio.CancelScope | None = None  # while a page is made
        self._answer_scope: trio.CancelScope | None = None  # while the client reads the last answer
        self.answered: bool = False
        """Whether a request for a WebSocket was answered."""
        self.status: int = 0
        self._receiver = RequestReceiver(context.settings.limits)
        transport.receiver = self._receiver

    @property
    def log(self) -> ConnectionLog:
        """The connection's log."""
        return self._log

    @property
    def sock(self) -> AnySocket | None:
        """The socket below the connection, None without one and once it is closed."""
        return self._transport.sock

    @property
    def receiver(self) -> RequestReceiver:
        """The receiver of the transport's bytes during this phase."""
        return self._receiver

    # --- the phase -----------------------------------------------------------------------------------------------

    async def open(self) -> bool:
        """Read the request; return True if it is for a WebSocket, else answer it."""
        self._context.open_timeouts.add(self)
        head: RequestHead | None = None
        try:
            head = await self._receiver.read_head()
            if head is None:
                return False
            self._identify(head)
            if self._refusal is not None:
                raise self._refusal
            upgrade, endpoint = parse_common_request(head), None
            if upgrade is None:
                endpoint = find_endpoint(self._context.responder, head.method, head.target.partition("?")[0])
                check_http(head, takes_body=endpoint is not None)
            check_host(head.headers, self._context.settings.hosts, secure=self._secure)
            if upgrade is None and (endpoint is not None or not is_upgrade(head)):
                await self._show_page(head, endpoint)
                return False
            if self._context.shutdown.begun:
                raise ShuttingDown
            return self._route(head, upgrade or read_upgrade(head))
        except Exception as problem:
            self._refuse(problem, head_only=head is not None and head.method == "HEAD")
        return False

    async def linger(self) -> None:
        """Wait a bounded time for the client to read the last answer."""
        with trio.CancelScope() as self._answer_scope:
            times = self._context.settings.timeouts
            await self._receiver.linger(self._transport, times.close_timeout, times.delivery_timeout)

    def stop(self) -> None:
        """End the phase, whatever was answered, and break its reference cycles. It is called once."""
        self._context.open_timeouts.remove(self)
        self._receiver.call_when_left(None)
        self._receiver.call_when_moved(None)
        self._refusal = None  # its traceback refers to this object
        self._upgrade = None
        del self._runner, self._on_accept

    def drop(self) -> bool:
        """End the network connection without an answer; return whether its descriptor is free already."""
        self._transport.close()
        self._receiver.network_ended()
        return self._transport.closes_at_once

    def on_timeout(self, since: float) -> bool:
        """Handle the end of `open_timeout`; return False to be called again. A page has a scope of its own."""
        if not self._transport.look():
            return False
        if max(self._transport.step_time, self._receiver.request_time) >= since:
            self._context.open_timeouts.add(self)  # the bytes arrived in time, and the loop was held up
        elif not self._transport.established:
            self._log.debug("%s: TLS failed: %s", "not done within open_timeout", tls_error="timeout")
            self.drop()
        elif self._upgrade is None:
            self._receiver.expire()
        elif not self.answered:
            self._log.warning("%s got no answer within open_timeout: refused with 503", status=503)
            self._refuse_now(MalformedRequest(503, "no answer within open_timeout"))
        return True

    def drain(self) -> None:
        """Refuse the request with 503, because the server shuts down, unless it was answered."""
        if self._answer_scope is None and not self._receiver.answered:
            self._refuse_now(ShuttingDown())

    def cancel(self, why: str) -> None:
        """Cancel the handler or the making of a page; shorten the time to read the last answer."""
        if self._answer_scope is not None:
            self._answer_scope.deadline = min(self._answer_scope.deadline, trio.current_time() + LINGER)
        elif self._upgrade is not None:
            self._runner.cancel_handler(why)
        elif self._page_scope is not None:
            self._page_scope.cancel(reason=why)

    # --- the request ---------------------------------------------------------------------------------------------

    def _identify(self, head: RequestHead) -> None:
        """Give log and task name the client and the target, behind trusted proxies too."""
        trusted = self._context.settings.trusted_proxies
        client, self._secure = forwarded(head.headers, self._log.client, self._secure, trusted)
        self._log.set_request(head.target, client)
        trio.lowlevel.current_task().name = self._log.task_name

    def _refuse(self, problem: Exception, *, head_only: bool) -> None:
        """Answer a malformed request with its error, and one at which the responder fails with 500."""
        if not isinstance(problem, MalformedRequest):
            self._log.error("error in the responder for %s", error=problem)
            problem = MalformedRequest(500, "internal error")
        else:
            self._log.info("%s refused with %d: %s", problem.status, problem.message, status=problem.status)
        self._send(
            Response(
                status=problem.status,
                headers=(*problem.headers, ("Content-Type", "text/plain; charset=utf-8")),
                body=f"{problem.message}\n".encode(),
            ),
            head_only=head_only,
        )

    async def _show_page(self, head: RequestHead, endpoint: PostEndpoint | None) -> None:
        """Answer a plain request, unless the client leaves or the server ends before there is an answer."""
        deadline = self._page_deadline()
        with trio.CancelScope(deadline=deadline) as self._page_scope:
            # A half-closed client still reads, so the end of its bytes cancels nothing.
            self._receiver.call_when_moved(self._cancel_page_if_closed)
            page = await self._page(head, endpoint)
            if page is None:
                return
            self._answer(page, head_only=head.method == "HEAD")
            if isinstance(page, Streamed) and head.method != "HEAD":
                self._page_scope.deadline = deadline = math.inf  # it was made in time
                patience = self._context.settings.timeouts.send_timeout
                await send_body(self._receiver, self._transport, page, patience=patience)
        if self._page_scope.cancelled_caught and trio.current_time() >= deadline:
            if self._receiver.body_missing:
                raise MalformedRequest(408, "the body took longer than open_timeout")
            raise MalformedRequest(503, "the page took longer than open_timeout")

    def _page_deadline(self) -> float:
        """Return the end of `open_timeout`, which begins anew for a request that was read only then."""
        timeouts = self._context.open_timeouts
        if self._receiver.request_time >= timeouts.deadline(self):
            timeouts.add(self)
        return timeouts.deadline(self)

    def _cancel_page_if_closed(self) -> None:
        """Cancel the making of a page if the network takes nothing more."""
        if self._transport.outbox.closed and self._page_scope is not None:
            self._page_scope.cancel(reason="client left")

    async def _page(self, head: RequestHead, endpoint: PostEndpoint | None) -> Response | None:
        if endpoint is not None:
            return await answer_post(endpoint, self._request(head), head, self._receiver, self._transport)
        page = await self._context.responder.page(self._request(head))
        if page is None:
            raise MalformedRequest(426, "this is a WebSocket server", _UPGRADE)
        return page

    def _route(self, head: RequestHead, upgrade: Upgrade) -> bool:
        """Find the service for an upgrade and prepare its handler, or answer the refusal and return False."""
        try:
            if upgrade.extensions:
                parse_extensions(upgrade.extensions)
        except ExtensionSyntaxError as error:
            raise MalformedRequest(400, f"malformed Sec-WebSocket-Extensions: {str(error)!a}") from None
        settings = self._context.settings
        check_origin(head.headers, settings.origins, secure=self._secure)
        routed = self._context.responder.route(self._request(head, upgrade.subprotocols))
        if isinstance(routed, Response):
            self._log.info("%s refused with %d: no route", routed.status, status=routed.status)
            self._answer(routed)
            return False
        request, service = routed
        websocket = WebSocket(
            request,
            receive_type=service.receive_type,
            send_type=service.send_type,
            caught_close_codes=service.caught_close_codes,
            subprotocols=service.subprotocols,
            log=self._log,
            encode_json=settings.json,
        )
        websocket.context.handshake = self
        limits, timeouts = service.limits or settings.limits, service.timeouts or settings.timeouts
        self._upgrade = _UpgradeRequest(upgrade, limits, timeouts, self._compression(service))
        self._runner.prepare(websocket, service, timeouts)
        self._receiver.call_when_left(partial(self._runner.cancel_handler, "client left before the answer"))
        return True

    def _compression(self, service: Service) -> Compression | None:
        if service.compression is None:
            return self._context.settings.compression
        return compression_of(service.compression)

    def _request(self, head: RequestHead, subprotocols: tuple[str, ...] = ()) -> Request:
        return Request(
            method=head.method,
            target=head.target,
            headers=head.headers,
            client=self._log.client,
            secure=self._secure,
            subprotocols=subprotocols,
        )

    # --- the answer ----------------------------------------------------------------------------------------------

    def _answer(self, answer: Response, *, head_only: bool = False) -> None:
        self._send(answer, head_only=head_only)
        if self._upgrade is None:  # else the handler's end is logged with it
            self._log.debug("%s answered with %d", answer.status, status=answer.status)

    def _send(self, answer: Response, *, head_only: bool = False) -> None:
        if self._upgrade is None and not self.status:
            self.status = answer.status
        send_answer(self._receiver, self._transport, answer, head_only=head_only)

    def _refuse_now(self, error: MalformedRequest) -> None:
        if self._upgrade is not None and not self.answered:
            self.answered = True
            self.status = error.status
        self._answer(Response(status=error.status, headers=error.headers, body=f"{error.message}\n".encode()))
        self.cancel(error.message)

    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> Connection:
        """Answer 101, and return the connection, which has received the early bytes."""
        asked = cast("_UpgradeRequest", self._upgrade)  # set before the handler runs
        upgrade, agreed = asked.upgrade, None
        if asked.compression is not None and upgrade.extensions:
            agreed = accept_offer(upgrade.extensions, asked.compression)
        answer = server_handshake.accept(
            upgrade, subprotocol=subprotocol, extensions=agreed[0] if agreed else None, headers=headers
        )
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._receiver.left or self.answered:
            raise disconnect_of(self, CloseCode.ABNORMAL_CLOSURE, "client left before the answer")
        self.answered = True
        self.status = 101
        self._transport.write(answer)
        self._transport.outbox.high_water = min(asked.limits.outbox_bytes, sys.maxsize)
        connection = Connection(
            self._transport,
            client=False,
            limits=asked.limits,
            timeouts=asked.timeouts,
            timers=self._context.timers,
            deflate=agreed[1] if agreed else None,
        )
        self._on_accept(connection)
        early = self._receiver.take_early_bytes()
        if early:
            connection.reader.data_received(memoryview(early), trio.current_time())
        self._transport.resume()
        self.stop()
        upgrade.head.headers.pack()
        return connection

    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Answer with an HTTP status."""
        answer = response(status, headers, body)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._receiver.call_when_left(None)
        if not self.answered:
            self.answered = True
            self.status = status
            self._receiver.send_answer(self._transport, answer)
