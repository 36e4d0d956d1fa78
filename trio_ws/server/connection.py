"""Conversation: one accepted network connection on the server, from its first byte to its last.

It reads the request, asks the responder what it is for, and answers a page, an error, or runs the WebSocket.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

import attrs
import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import PendingHandshake, disconnect_of
from trio_ws.connection.connection import Connection
from trio_ws.connection.settings import Settings, compression_of
from trio_ws.handler.runner import HandlerRunner
from trio_ws.handler.service import Response, Service, Streamed
from trio_ws.http.forwarded import forwarded
from trio_ws.http.hosts import check_host
from trio_ws.http.origin import check_origin
from trio_ws.http.parser import MalformedRequest, RequestHead, check_http, is_upgrade
from trio_ws.http.request import Request
from trio_ws.http.response import response
from trio_ws.protocol import server_handshake
from trio_ws.protocol.negotiation import ExtensionSyntaxError, accept_offer, parse_extensions
from trio_ws.protocol.server_handshake import parse_common_request, read_upgrade
from trio_ws.runtime.log import ConnectionLog
from trio_ws.server.download import send_answer, send_body
from trio_ws.server.handshake import LINGER, ServerHandshake
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.config import Compression, Limits
    from trio_ws.errors import HeaderSource
    from trio_ws.http.request import Address
    from trio_ws.protocol.server_handshake import Upgrade
    from trio_ws.runtime.timers import TimeoutQueue, Timers
    from trio_ws.server.shutdown import GracefulShutdown
    from trio_ws.transport.base import Transport

__all__ = ["Responder", "ServerConnection", "ServerContext"]

_UPGRADE = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
_SHUTTING_DOWN = "the server is shutting down"
_RETRY_AFTER = (("Retry-After", "1"),)
"""Seconds. Another server, or this one's successor, may have the address already."""


class Responder(Protocol):
    """Who decides what a request is for."""

    async def page(self, request: Request) -> Response | None:
        """Return the answer to a plain GET; None if a WebSocket is all that is served."""

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        """Return the service for an upgrade, with the request as its route sees it, or a refusal."""


@attrs.frozen(kw_only=True)
class ServerContext:
    """What all conversations of one server have in common."""

    responder: Responder
    settings: Settings
    timers: Timers
    draining: GracefulShutdown
    """The end of the server, which takes no more WebSockets once it has begun."""
    late: TimeoutQueue
    """Tells those who are `on_timeout` for `open_timeout`."""
    over: Callable[[ServerConnection, Exception | None], None]
    """Called at the end of each, with an error of its handler's that nobody foresaw, or of its own."""
    strict: bool
    """Whether such an error ends the server."""


@attrs.frozen
class UpgradeRequest:
    """A request for a WebSocket, and what holds for the connection that a yes makes of it."""

    upgrade: Upgrade
    limits: Limits
    compression: Compression | None


class ServerConnection(HandlerRunner, PendingHandshake):
    """What one client and the server have to say to each other. It is the gate of its own handshake.

    `run` holds the whole of it. What is needed only until the answer is let go of then.

    Args:
        house: where it is held.
        transport: over which it is held.
        number: tells connections apart, in logs and task names.
        client: the address of the peer, which may be a proxy.
        secure: whether it is TLS.
        refusal: answer every request with this, because the server has no room.
    """

    __slots__ = (
        "_asked",
        "_house",
        "_leaving",
        "_opening",
        "_paging",
        "_refusal",
        "_transport",
        "answered",
        "client",
        "connection",
        "log",
        "secure",
        "status",
    )

    _opening: ServerHandshake
    """Until the handshake is answered with yes."""

    def __init__(
        self,
        house: ServerContext,
        transport: Transport,
        *,
        number: int,
        client: Address,
        secure: bool,
        refusal: MalformedRequest | None = None,
    ) -> None:
        super().__init__(house.timers)
        self._house = house
        self._transport = transport
        self._refusal = refusal
        self._asked: UpgradeRequest | None = None
        self._paging: trio.CancelScope | None = None  # while a page is made
        self._leaving: trio.CancelScope | None = None  # while the last answer is on its way
        self.answered: bool = False
        """Whether a request for a WebSocket was answered, by whomever."""
        self.status: int = 0
        """The HTTP status that was answered, 0 if nothing was."""
        self.connection: Connection | None = None
        """The WebSocket's connection; None before it is accepted."""
        self.log: ConnectionLog = ConnectionLog(number, client)
        self.client: Address = client
        self.secure: bool = secure
        self._opening = ServerHandshake(house.settings.limits)
        transport.receiver = self._opening
        transport.log = self.log

    @property
    def admitted(self) -> bool:
        """Whether the server has room for it."""
        return self._refusal is None

    async def _opened(self) -> bool:
        """Read the request, and answer it unless it is for a WebSocket."""
        self._house.late.add(self)
        self._transport.start(cast("trio.Nursery", trio.lowlevel.current_task().parent_nursery))
        return await self._open() and await super()._opened()

    async def _see_off(self) -> None:
        """Let the client take the last answer, if it got one."""
        if self.connection is None:
            with trio.CancelScope() as self._leaving:
                times = self._house.settings.timeouts
                await self._opening.linger(self._transport, times.close_timeout, times.delivery_timeout)

    def _failed(self, failure: Exception) -> Exception:
        """It is not the handler's error: the kernel has no room for the connection, say."""
        self.log.exception("unexpected error in connection %s, closing it")
        return failure

    async def _over(self, error: Exception | None) -> None:
        """End the network connection, and tell the house."""
        self._house.late.remove(self)
        if self.connection is None:
            self._opening.call_when_left(None)
            self._opening.call_when_moved(None)
        try:
            await self._transport.aclose()
        finally:
            self._house.over(self, error)

    def _outcome(self, error: Exception | None) -> None:
        """Raise the error if it is to end the server."""
        if error is not None and self._house.strict:
            raise error

    # --- the request ---------------------------------------------------------------------------------------------

    async def _open(self) -> bool:
        """Read the request; return whether it is for a WebSocket, else answer it."""
        head: RequestHead | None = None
        try:
            head = await self._opening.read_head()
            if head is None:
                return False
            self._know(head)
            if self._refusal is not None:
                raise self._refusal
            upgrade = parse_common_request(head)
            if upgrade is None:
                check_http(head)
            check_host(head.headers, self._house.settings.hosts, secure=self.secure)
            if upgrade is None and not is_upgrade(head):
                await self._show_page(head)
                return False
            if self._house.draining.begun:
                raise MalformedRequest(503, _SHUTTING_DOWN, _RETRY_AFTER)
            return self._route(head, upgrade or read_upgrade(head))
        except Exception as problem:
            self._refuse(problem, head_only=head is not None and head.method == "HEAD")
        return False

    def _know(self, head: RequestHead) -> None:
        """Take note of whose request it is, and what for."""
        trusted = self._house.settings.trusted_proxies
        client, self.secure = forwarded(head.headers, self.client, self.secure, trusted)
        self.log.set_request(head.target, client)
        trio.lowlevel.current_task().name = self.log.task_name

    def _refuse(self, problem: Exception, *, head_only: bool) -> None:
        """Answer a request that is wrong, or one that the responder fails at."""
        if not isinstance(problem, MalformedRequest):
            self.log.error("error in the responder for %s", error=problem)
            problem = MalformedRequest(500, "internal error")
        else:
            self.log.info("%s refused with %d: %s", problem.status, problem.message, status=problem.status)
        self._send(
            Response(
                status=problem.status,
                headers=(*problem.headers, ("Content-Type", "text/plain; charset=utf-8")),
                body=f"{problem.message}\n".encode(),
            ),
            head_only=head_only,
        )

    async def _show_page(self, head: RequestHead) -> None:
        """Answer a plain request, unless the client leaves or the server ends before there is an answer."""
        deadline = self._deadline()
        with trio.CancelScope(deadline=deadline) as self._paging:
            # A client may have nothing more to say, and read: the end of what it sends is no end of its wish.
            self._opening.call_when_moved(self._cancel_page_of_none)
            page = await self._page(head)
            self._answer(page, head_only=head.method == "HEAD")
            if isinstance(page, Streamed) and head.method != "HEAD":
                self._paging.deadline = deadline = math.inf  # it was made in time
                patience = self._house.settings.timeouts.send_timeout
                await send_body(self._opening, self._transport, page, patience=patience)
        if self._paging.cancelled_caught and trio.current_time() >= deadline:
            raise MalformedRequest(503, "the page took longer than open_timeout")

    def _deadline(self) -> float:
        """Return when `open_timeout` is over; for a request that was read only then, it has begun anew."""
        late = self._house.late
        if self._opening.asked_time >= late.deadline(self):
            late.remove(self)
            late.add(self)
        return late.deadline(self)

    def _cancel_page_of_none(self) -> None:
        """Cancel the making of a page if the network takes nothing any more."""
        if self._transport.outbox.closed and self._paging is not None:
            self._paging.cancel(reason="client left")

    async def _page(self, head: RequestHead) -> Response:
        page = await self._house.responder.page(self._request(head))
        if page is None:
            raise MalformedRequest(426, "this is a WebSocket server", _UPGRADE)
        return page

    def _route(self, head: RequestHead, upgrade: Upgrade) -> bool:
        try:
            if upgrade.extensions:
                parse_extensions(upgrade.extensions)
        except ExtensionSyntaxError as error:
            raise MalformedRequest(400, f"malformed Sec-WebSocket-Extensions: {str(error)!a}") from None
        check_origin(head.headers, self._house.settings.origins, secure=self.secure)
        routed = self._house.responder.route(self._request(head, upgrade.subprotocols))
        if isinstance(routed, Response):
            self._answer(routed)
            return False
        request, service = routed
        websocket = WebSocket(
            request,
            receive_type=service.receive_type,
            send_type=service.send_type,
            caught_close_codes=service.caught_close_codes,
            subprotocols=service.subprotocols,
            log=self.log,
        )
        websocket._gate = self
        settings = self._house.settings
        limits, timeouts = service.limits or settings.limits, service.timeouts or settings.timeouts
        self._asked = UpgradeRequest(upgrade, limits, self._compression(service))
        self.serve(websocket, service, timeouts)
        self._opening.call_when_left(partial(self.cancel_handler, "client left before the answer"))
        return True

    def _compression(self, service: Service) -> Compression | None:
        if service.compression is None:
            return self._house.settings.compression
        return compression_of(service.compression)

    def _request(self, head: RequestHead, subprotocols: tuple[str, ...] = ()) -> Request:
        return Request(
            method=head.method,
            target=head.target,
            headers=head.headers,
            client=self.log.client,
            secure=self.secure,
            subprotocols=subprotocols,
        )

    def _answer(self, answer: Response, *, head_only: bool = False) -> None:
        self._send(answer, head_only=head_only)
        if self._asked is None:  # else it is told with the end of the handler
            self.log.debug("%s answered with %d", answer.status, status=answer.status)

    def _send(self, answer: Response, *, head_only: bool = False) -> None:
        if self._asked is None and not self.status:
            self.status = answer.status
        send_answer(self._opening, self._transport, answer, head_only=head_only)

    # --- the answer to a request for a WebSocket -----------------------------------------------------------------

    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> Connection:
        """Answer 101, and return the connection with what came early already in it."""
        asked = cast("UpgradeRequest", self._asked)  # there is one until it is answered with yes
        upgrade, agreed = asked.upgrade, None
        if asked.compression is not None and upgrade.extensions:
            agreed = accept_offer(upgrade.extensions, asked.compression)
        answer = server_handshake.accept(
            upgrade, subprotocol=subprotocol, extensions=agreed[0] if agreed else None, headers=headers
        )
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._opening.left or self.answered:
            raise disconnect_of(self, CloseCode.ABNORMAL_CLOSURE, "client left before the answer")
        self.answered = True
        self.status = 101
        self._transport.write(answer)
        self._transport.outbox.high_water = asked.limits.outbox_bytes
        self.connection = connection = Connection(
            self._transport,
            client=False,
            limits=asked.limits,
            timeouts=self._timeouts,
            timers=self._timers,
            deflate=agreed[1] if agreed else None,
        )
        early = self._opening.hand_over()
        if early:
            connection.reader.data_received(memoryview(early), trio.current_time())
        self._transport.resume()
        self._forget_the_request(upgrade)
        return connection

    def _forget_the_request(self, upgrade: Upgrade) -> None:
        """Keep as little of it as may be."""
        self._house.late.remove(self)
        self._asked = None
        del self._opening
        upgrade.head.headers.pack()

    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Answer with an HTTP status."""
        answer = response(status, headers, body)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._opening.call_when_left(None)
        if not self.answered:
            self.answered = True
            self.status = status
            self._opening.refuse(self._transport, answer)

    def drop(self) -> bool:
        """End the network connection without an answer; return whether its descriptor is free already."""
        self._transport.close()
        self._opening.network_ended()
        return self._transport.closes_at_once

    def on_timeout(self, since: float) -> bool:
        """`open_timeout` is over: to ask, or for guards or handler to answer; a page sees to itself."""
        if not self._transport.look():
            return False
        if max(self._transport.step_time, self._opening.asked_time) >= since:
            self._house.late.add(self)  # it was there in time, and the loop was held up
        elif not self._transport.established:
            self.log.debug("%s: TLS failed: %s", "not done within open_timeout", tls_error="timeout")
            self.drop()
        elif self._asked is None:
            self._opening.expire()
        elif not self.answered:
            self.log.warning("%s got no answer within open_timeout: refused with 503", status=503)
            self._refuse_now(503, "no answer within open_timeout")
        return True

    # --- the end of the server -----------------------------------------------------------------------------------

    def drain(self, code: int, reason: str, patience: float) -> None:
        """Tell the client that the server goes away: with a close frame, or with a 503 before the answer.

        Args:
            code: the close code.
            reason: the close reason.
            patience: seconds that the client has to take what was sent before.
        """
        if self.connection is not None:
            self.connection.closing.drain(code, reason, patience)
        elif self._leaving is None and not self._opening.answered:
            self._refuse_now(503, _SHUTTING_DOWN, _RETRY_AFTER)

    def _refuse_now(self, status: int, message: str, headers: HeaderSource = ()) -> None:
        if self._asked is not None and not self.answered:
            self.answered = True
            self.status = status
        self._answer(Response(status=status, headers=headers, body=f"{message}\n".encode()))
        self.cancel(message)

    def cancel(self, why: str) -> None:
        """Cancel the handler, or the making of a page; what is on its way to the client has little time left."""
        if self.connection is not None:
            self.connection.closing.shorten_grace()
        if self._leaving is not None:
            self._leaving.deadline = min(self._leaving.deadline, trio.current_time() + LINGER)
        elif self._asked is not None or self.connection is not None:
            self.cancel_handler(why)
        elif self._paging is not None:
            self._paging.cancel(reason=why)
