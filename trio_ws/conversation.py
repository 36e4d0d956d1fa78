"""Conversation: one accepted network connection on the server, from its first byte to its last.

It reads the request, asks the responder what it is for, and answers a page, an error, or runs the WebSocket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio

from trio_ws.lifecycle import Lifecycle
from trio_ws.log import ConnectionLog
from trio_ws.opening import LINGER, Opening, ServerGate, Terms
from trio_ws.protocol.extensions import ExtensionSyntaxError, parse_extensions
from trio_ws.protocol.forwarded import forwarded
from trio_ws.protocol.handshake import read_upgrade
from trio_ws.protocol.origin import origin_allowed
from trio_ws.protocol.request import BadRequest, RequestHead, check_http, is_upgrade
from trio_ws.protocol.response import response
from trio_ws.request import Request
from trio_ws.service import Response, Service
from trio_ws.settings import Settings, compression_of
from trio_ws.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trio_ws.config import Compression
    from trio_ws.connection import Connection
    from trio_ws.draining import Draining
    from trio_ws.errors import HeaderSource
    from trio_ws.protocol.handshake import Upgrade
    from trio_ws.request import Address
    from trio_ws.timers import Timer, Timers
    from trio_ws.transport.interface import Transport

__all__ = ["Conversation", "Responder"]

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


class Conversation:
    """What one client and the server have to say to each other.

    Args:
        number: tells connections apart, in logs and task names.
        client: the address of the peer, which may be a proxy.
        secure: whether it is TLS.
        draining: the end of the server, which takes no more WebSockets once it has begun.
        refusal: answer every request with this, because the server has no room.
    """

    __slots__ = (
        "_draining",
        "_late",
        "_leaving",
        "_lifecycle",
        "_opening",
        "_paging",
        "_refusal",
        "_responder",
        "_settings",
        "_status",
        "_timers",
        "_transport",
        "client",
        "gate",
        "log",
        "secure",
    )

    _late: Timer
    _transport: Transport

    def __init__(
        self,
        responder: Responder,
        settings: Settings,
        timers: Timers,
        *,
        number: int,
        client: Address,
        secure: bool,
        draining: Draining,
        refusal: BadRequest | None = None,
    ) -> None:
        self._responder = responder
        self._settings = settings
        self._timers = timers
        self._draining = draining
        self._refusal = refusal
        self._lifecycle: Lifecycle | None = None
        self._paging: trio.CancelScope | None = None  # while a page is made
        self._leaving: trio.CancelScope | None = None  # while the last answer is on its way
        self.gate: ServerGate | None = None
        """The upgrade's gate, once there is an upgrade."""
        self.log: ConnectionLog = ConnectionLog(number, client)
        self._status = 0  # of an answer before there was a gate
        self.client: Address = client
        self.secure: bool = secure
        self._opening = Opening(settings.limits)

    @property
    def admitted(self) -> bool:
        """Whether the server has room for it."""
        return self._refusal is None

    @property
    def status(self) -> int:
        """The HTTP status that was answered, 0 if nothing was."""
        return self._status if self.gate is None else self.gate.status

    @property
    def connection(self) -> Connection | None:
        """The WebSocket's connection; None before it is accepted."""
        return None if self.gate is None else self.gate.connection

    def attach(self, transport: Transport) -> None:
        """Say over which transport the conversation is held, before it is."""
        self._transport = transport
        transport.receiver = self._opening
        transport.log = self.log

    async def run(self, nursery: trio.Nursery) -> Exception | None:
        """Hold the whole conversation; return an error of the handler's that nobody foresaw."""
        deadline = trio.current_time() + self._settings.timeouts.open_timeout
        self._late = self._timers.after(self._settings.timeouts.open_timeout, self._too_late)
        try:
            self._transport.start(nursery)
            websocket = await self._open(deadline)
            return await self._see_off(None if websocket is None else await self._live(*websocket))
        finally:
            self._late.cancel()
            await self._transport.aclose()

    async def _see_off(self, error: Exception | None) -> Exception | None:
        """Let the client take the last answer, if it got one; return `error`, which has no name above (`Lifecycle`)."""
        if self.connection is None:
            with trio.CancelScope() as self._leaving:
                await self._opening.linger(self._transport.outbox, self._settings.timeouts.close_timeout)
        return error

    # --- the request ---------------------------------------------------------------------------------------------

    async def _open(self, deadline: float) -> tuple[WebSocket, Service] | None:
        """Read the request; return what it opens, or answer it."""
        head: RequestHead | None = None
        try:
            head = await self._opening.read_head()
            if head is None:
                return None
            self._know(head)
            if self._refusal is not None:
                raise self._refusal
            check_http(head)
            if is_upgrade(head):
                if self._draining.begun:
                    raise BadRequest(503, _SHUTTING_DOWN, _RETRY_AFTER)
                return self._route(head, read_upgrade(head))
            await self._show_page(head, deadline)
        except Exception as problem:
            self._refuse(problem, head_only=head is not None and head.method == "HEAD")
        return None

    def _know(self, head: RequestHead) -> None:
        """Take note of whose request it is, and what for."""
        trusted = self._settings.trusted_proxies
        client, self.secure = forwarded(head.headers, self.client, self.secure, trusted)
        self.log.know(head.target, client)
        trio.lowlevel.current_task().name = self.log.task_name

    def _refuse(self, problem: Exception, *, head_only: bool) -> None:
        """Answer a request that is wrong, or one that the responder fails at."""
        if not isinstance(problem, BadRequest):
            self.log.error("error in the responder for %s", error=problem)
            problem = BadRequest(500, "internal error")
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

    async def _show_page(self, head: RequestHead, deadline: float) -> None:
        """Answer a plain request, unless the client leaves or the server ends before there is an answer."""
        with trio.CancelScope(deadline=deadline) as self._paging:
            self._opening.call_when_left(self._paging.cancel)
            self._answer(await self._page(head), head_only=head.method == "HEAD")
        if self._paging.cancelled_caught and trio.current_time() >= deadline:
            raise BadRequest(503, "the page took longer than open_timeout")

    async def _page(self, head: RequestHead) -> Response:
        page = await self._responder.page(self._request(head))
        if page is None:
            raise BadRequest(426, "this is a WebSocket server", _UPGRADE)
        return page

    def _route(self, head: RequestHead, upgrade: Upgrade) -> tuple[WebSocket, Service] | None:
        try:
            parse_extensions(upgrade.extensions)
        except ExtensionSyntaxError as error:
            raise BadRequest(400, f"malformed Sec-WebSocket-Extensions: {str(error)!a}") from None
        self._check_origin(head)
        routed = self._responder.route(self._request(head, upgrade.subprotocols))
        if isinstance(routed, Response):
            self._answer(routed)
            return None
        request, service = routed
        websocket = WebSocket(
            request,
            receive_type=service.receive_type,
            send_type=service.send_type,
            caught_close_codes=service.caught_close_codes,
            subprotocols=service.subprotocols,
        )
        websocket._log = self.log
        terms = Terms(
            limits=service.limits or self._settings.limits,
            timeouts=service.timeouts or self._settings.timeouts,
            compression=self._compression(service),
        )
        websocket._gate = self.gate = ServerGate(self._opening, self._transport, upgrade, terms, self._timers)
        return websocket, service

    def _check_origin(self, head: RequestHead) -> None:
        origin = head.headers.get("origin")
        host = head.headers.get("host", "")
        if origin is not None and not origin_allowed(origin, host, self.secure, self._settings.origins):
            raise BadRequest(
                403,
                f"origin {origin[:200]!a} is not the origin of host {host[:200]!a}, nor in origins=",
            )

    def _compression(self, service: Service) -> Compression | None:
        if service.compression is None:
            return self._settings.compression
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
        if self.gate is None:  # else it is told with the end of the handler
            self.log.debug("%s answered with %d", answer.status, status=answer.status)

    def _send(self, answer: Response, *, head_only: bool = False) -> None:
        if self.gate is None and not self._status:
            self._status = answer.status
        self._opening.refuse(self._transport, response(answer.status, answer.headers, answer.body, head_only=head_only))

    # --- the WebSocket -------------------------------------------------------------------------------------------

    def _live(self, websocket: WebSocket, service: Service) -> Coroutine[Any, Any, Exception | None]:
        timeouts = service.timeouts or self._settings.timeouts
        self._lifecycle = lifecycle = Lifecycle(websocket, service, timeouts, self._timers)
        self._opening.call_when_left(lambda: lifecycle.cancel("client left before the answer"))
        return lifecycle.run()

    def _too_late(self) -> None:
        """`open_timeout` is over: to ask, or for guards or handler to answer; a page sees to itself."""
        gate = self.gate
        if self._lifecycle is None:
            self._opening.expire()
        elif gate is not None and not gate.answered:
            self.log.warning("%s got no answer within open_timeout: refused with 503", status=503)
            self._refuse_now(503, "no answer within open_timeout")

    # --- the end of the server -----------------------------------------------------------------------------------

    def drain(self, code: int, reason: str, patience: float) -> None:
        """Tell the client that the server goes away: with a close frame, or with a 503 before the answer.

        Args:
            code: the close code.
            reason: the close reason.
            patience: seconds that the client has to take what was sent before.
        """
        if self.connection is not None:
            self.connection.drain(code, reason, patience)
        elif self._leaving is None:
            self._refuse_now(503, _SHUTTING_DOWN, _RETRY_AFTER)

    def _refuse_now(self, status: int, message: str, headers: HeaderSource = ()) -> None:
        if self.gate is not None and not self.gate.answered:
            self.gate.answered = True
            self.gate.status = status
        self._answer(Response(status=status, headers=headers, body=f"{message}\n".encode()))
        self.cancel(message)

    def cancel(self, why: str) -> None:
        """Cancel the handler, or the making of a page; what is on its way to the client has little time left."""
        if self.connection is not None:
            self.connection.hurry()
        if self._leaving is not None:
            self._leaving.deadline = min(self._leaving.deadline, trio.current_time() + LINGER)
        elif self._lifecycle is not None:
            self._lifecycle.cancel(why)
        elif self._paging is not None:
            self._paging.cancel(reason=why)
