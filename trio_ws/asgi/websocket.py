"""Conversation: one WebSocket call of an ASGI server, from its scope to the return.

It asks the responder what the request is for, and refuses it or runs its lifecycle, as a server's own does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.asgi.handshake import ASGIHandshake, ConnectionTerms, answer_headers
from trio_ws.asgi.receiver import EventReceiver
from trio_ws.asgi.scope import check_offers, check_origin, read_request
from trio_ws.asgi.sender import EventSender
from trio_ws.connection.factory import TransportFactory
from trio_ws.handler.runner import HandlerRunner
from trio_ws.handler.service import Response
from trio_ws.http.parser import MalformedRequest
from trio_ws.runtime.log import ConnectionLog
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.asgi.connection import ASGIConnection
    from trio_ws.asgi.scope import Receive, Scope, Send
    from trio_ws.connection.settings import Settings
    from trio_ws.handler.service import Service
    from trio_ws.http.request import Request
    from trio_ws.server.context import Responder

__all__ = ["ASGIHandlerRunner"]

logger: Final = logging.getLogger("trio_ws")

LINGER: Final = 60.0
"""Seconds that the call stays behind a connection over HTTP/2 whose client has not ended its side: hypercorn fails
with all of its connections when something arrives for a call that has returned."""


class ASGIHandlerRunner:
    """What one client and the application have to say to each other, through an ASGI server.

    Args:
        responder: says what a request is for.
        settings: of all connections; routes may differ.
        scope: of the request.
        receive: the server's.
        send: the server's.
        number: tells connections apart, in task names.
    """

    def __init__(
        self, responder: Responder, settings: Settings, scope: Scope, receive: Receive, send: Send, *, number: int
    ) -> None:
        self._responder = responder
        self._settings = settings
        self._scope = scope
        self._pump = EventReceiver(receive)
        self._writer = EventSender(send, settings.limits.outbox_bytes)
        self._engine = TransportFactory(poller=False)
        self._timeouts = settings.timeouts
        self._lifecycle: HandlerRunner | None = None
        self._gate: ASGIHandshake | None = None
        self._number = number
        self.refusal: MalformedRequest | None = None
        """Answer with this whatever is asked for, because there is no room."""
        self.over: Callable[[], None] = _nothing
        """Called, maybe more than once, when there is nothing more to say."""
        self.error: Exception | None = None
        """What went wrong in the handler that nobody foresaw."""

    @property
    def connection(self) -> ASGIConnection | None:
        """The WebSocket's connection; None before it is accepted."""
        return None if self._gate is None else self._gate.connection

    @property
    def status(self) -> int:
        """The HTTP status that was answered, 0 if nothing was."""
        return 0 if self._gate is None else self._gate.status

    async def run(self) -> None:
        """Hold the whole conversation; the call may take longer than until it is `over`."""
        try:
            if await self._pump.connected():
                await self._converse()
        finally:
            self.over()
            self.over = _nothing  # which knew this conversation

    async def _converse(self) -> None:
        async with trio.open_nursery() as nursery:
            self._engine.start(nursery)
            nursery.start_soon(self._writer.run)
            nursery.start_soon(self._pump.run)
            try:
                await self._answer()
                await self._finish()
                self.over()
                await self._linger()
            finally:
                await self._finish()
                self._engine.stop()
                self._writer.stop()
                nursery.cancel_scope.cancel(reason="the connection has ended")

    async def _finish(self) -> None:
        """Let the server take what was committed, a bounded time."""
        with trio.move_on_after(self._timeouts.close_timeout, shield=True):
            await self._writer.drained()

    async def _linger(self) -> None:
        if self._scope.get("http_version", "1.1").startswith("2"):
            with trio.move_on_after(LINGER):
                await self._pump.over.wait()

    # --- the request ---------------------------------------------------------------------------------------------

    async def _answer(self) -> None:
        try:
            routed = self._route()
        except MalformedRequest as problem:
            logger.info("%s refused with %d: %s", self._scope.get("client"), problem.status, problem.message)
            self._refuse(problem.status, problem.message, problem.headers)
        except Exception:
            logger.exception("error in the responder for %s", self._scope.get("client"))
            self._refuse(500, "internal error")
        else:
            if routed is not None:
                await self._live(*routed)

    def _route(self) -> tuple[Request, Service] | None:
        """Return what the request opens, or refuse it."""
        if self.refusal is not None:
            raise self.refusal
        request = read_request(self._scope, self._settings)
        check_offers(request)
        check_origin(request, self._settings)
        routed = self._responder.route(request)
        if isinstance(routed, Response):
            fields = answer_headers(self._scope, routed.status, routed.headers, routed.body)
            self._gate_of(()).refuse(routed.status, fields, routed.body)
            return None
        return routed

    def _refuse(self, status: int, message: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        body = f"{message}\n".encode()
        fields = answer_headers(self._scope, status, (*headers, ("Content-Type", "text/plain; charset=utf-8")), body)
        gate = self._gate or self._gate_of(())
        gate.refuse(status, fields, body)

    def _gate_of(self, offered: tuple[str, ...], service: Service | None = None) -> ASGIHandshake:
        limits, timeouts = self._settings.limits, self._settings.timeouts
        if service is not None:
            limits, timeouts = service.limits or limits, service.timeouts or timeouts
        self._timeouts = timeouts
        terms = ConnectionTerms(limits, timeouts, self._engine.timers)
        self._gate = ASGIHandshake(self._scope, offered, self._pump, self._writer, terms)
        return self._gate

    # --- the WebSocket -------------------------------------------------------------------------------------------

    async def _live(self, request: Request, service: Service) -> None:
        log = ConnectionLog(self._number, request.client)
        log.set_request(request.target, request.client)
        trio.lowlevel.current_task().name = log.task_name
        websocket = WebSocket(
            request,
            receive_type=service.receive_type,
            send_type=service.send_type,
            caught_close_codes=service.caught_close_codes,
            subprotocols=service.subprotocols,
            log=log,
        )
        websocket.context.handshake = self._gate_of(request.subprotocols, service)
        self._lifecycle = lifecycle = HandlerRunner(self._engine.timers)
        lifecycle.prepare(websocket, service, self._timeouts)
        self._pump.call_when_left(lambda: lifecycle.cancel_handler("client left before the answer"))
        late = self._engine.timers.call_later(self._settings.timeouts.open_timeout, self._answer_too_late)
        try:
            self.error = await lifecycle.run()
        finally:
            late.cancel()
            self._pump.call_when_left(None)

    def _answer_too_late(self) -> None:
        """The client has waited `open_timeout` for an answer that guards or handler did not give."""
        if self._gate is not None and not self._gate.answered:
            logger.warning("%s got no answer within open_timeout: refused with 503", self._scope.get("client"))
            self._refuse_now("no answer within open_timeout")

    # --- the end of the server -----------------------------------------------------------------------------------

    def drain(self, code: int, reason: str, grace: float, delay: float = 0.0) -> None:
        """Tell the client in `delay` seconds that the server goes away; cancel the handler `grace` seconds later."""
        if delay:
            self._engine.timers.call_later(delay, lambda: self.drain(code, reason, grace))
        elif self.connection is not None:
            self.connection.drain(code, reason)
            self._engine.timers.call_later(grace, lambda: self.cancel("the server shuts down"))
        elif self._gate is not None:
            self._refuse_now("the server is shutting down")
        else:
            self.refusal = MalformedRequest(503, "the server is shutting down")

    def _refuse_now(self, message: str) -> None:
        self._refuse(503, message)
        self.cancel(message)

    def cancel(self, why: str) -> None:
        """Cancel the handler."""
        if self._lifecycle is not None:
            self._lifecycle.cancel_handler(why)


def _nothing() -> None:
    """Nobody wants to know."""
