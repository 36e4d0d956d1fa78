"""One WebSocket call of an ASGI server, from its scope to the return."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.asgi.handshake import ASGIHandshake, ConnectionTerms, answer_headers
from trio_ws.asgi.receiver import EventReceiver
from trio_ws.asgi.scope import check_offers, check_origin, read_request
from trio_ws.asgi.sender import EventSender
from trio_ws.connection.factory import TransportFactory
from trio_ws.handler.opener import NoOpener
from trio_ws.handler.runner import HandlerRunner
from trio_ws.handler.service import Response
from trio_ws.http.head import MalformedRequest, ShuttingDown
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
"""Seconds that a call over HTTP/2 waits for the client's end of its side.

hypercorn fails with all of its connections if something arrives for a call that has returned.
"""


class ASGIHandlerRunner:
    """Runs the handler for one WebSocket of an ASGI server.

    Args:
        responder: finds the route of the request.
        settings: settings of all connections; a route may have its own.
        scope: the request's scope.
        receive: the ASGI server's callable.
        send: the ASGI server's callable.
        number: the connection's number, for log records and task names.
    """

    def __init__(
        self, responder: Responder, settings: Settings, scope: Scope, receive: Receive, send: Send, *, number: int
    ) -> None:
        self._responder = responder
        self._settings = settings
        self._scope = scope
        self._receiver = EventReceiver(receive)
        self._sender = EventSender(send, settings.limits.outbox_bytes)
        self._factory = TransportFactory(poller=False)
        self._timeouts = settings.timeouts
        self._runner: HandlerRunner | None = None
        self._handshake: ASGIHandshake | None = None
        self._number = number
        self.refusal: MalformedRequest | None = None
        """The refusal of the request before it is routed; None to route it."""
        self.on_end: Callable[[], None] = _do_nothing
        """Called, maybe more than once, when the connection has ended."""
        self.error: Exception | None = None
        """The unhandled exception of the handler."""

    @property
    def connection(self) -> ASGIConnection | None:
        """The WebSocket's connection; None before it is accepted."""
        return None if self._handshake is None else self._handshake.connection

    @property
    def status(self) -> int:
        """HTTP status of the answer; 0 before it."""
        return 0 if self._handshake is None else self._handshake.status

    async def run(self) -> None:
        """Run the connection to its end; the call may last longer than until `on_end`."""
        try:
            if await self._receiver.receive_connect():
                await self._serve()
        finally:
            self.on_end()
            self.on_end = _do_nothing  # breaks a reference cycle

    async def _serve(self) -> None:
        async with trio.open_nursery() as nursery:
            self._factory.start(nursery)
            nursery.start_soon(self._sender.run)
            nursery.start_soon(self._receiver.run)
            try:
                await self._answer()
                await self._finish()
                self.on_end()
                await self._linger()
            finally:
                await self._finish()
                self._factory.stop()
                self._sender.stop()
                nursery.cancel_scope.cancel(reason="the connection has ended")

    async def _finish(self) -> None:
        """Wait until the server has taken all events, a bounded time."""
        with trio.move_on_after(self._timeouts.close_timeout, shield=True):
            await self._sender.wait_empty()

    async def _linger(self) -> None:
        if self._scope.get("http_version", "1.1").startswith("2"):
            with trio.move_on_after(LINGER):
                await self._receiver.ended.wait()

    # --- the request ---------------------------------------------------------------------------------------------

    async def _answer(self) -> None:
        try:
            routed = self._route()
        except MalformedRequest as error:
            logger.info("%s refused with %d: %s", self._scope.get("client"), error.status, error.message)
            self._refuse(error)
        except Exception:
            logger.exception("error in the responder for %s", self._scope.get("client"))
            self._refuse(MalformedRequest(500, "internal error"))
        else:
            if routed is not None:
                await self._run_handler(*routed)

    def _route(self) -> tuple[Request, Service] | None:
        """Return the route's request and service, or None if a response was sent.

        Raises:
            MalformedRequest: the request is refused.
        """
        if self.refusal is not None:
            raise self.refusal
        request = read_request(self._scope, self._settings)
        check_offers(request)
        check_origin(request, self._settings)
        routed = self._responder.route(request)
        if isinstance(routed, Response):
            fields = answer_headers(self._scope, routed.status, routed.headers, routed.body)
            self._new_handshake(()).refuse(routed.status, fields, routed.body)
            return None
        return routed

    def _refuse(self, error: MalformedRequest) -> None:
        body, plain = f"{error.message}\n".encode(), ("Content-Type", "text/plain; charset=utf-8")
        fields = answer_headers(self._scope, error.status, (*error.headers, plain), body)
        handshake = self._handshake or self._new_handshake(())
        handshake.refuse(error.status, fields, body)

    def _new_handshake(self, offered: tuple[str, ...], service: Service | None = None) -> ASGIHandshake:
        limits, timeouts = self._settings.limits, self._settings.timeouts
        if service is not None:
            limits, timeouts = service.limits or limits, service.timeouts or timeouts
        self._timeouts = timeouts
        terms = ConnectionTerms(limits, timeouts, self._factory.timers)
        self._handshake = ASGIHandshake(self._scope, offered, self._receiver, self._sender, terms)
        return self._handshake

    # --- the WebSocket -------------------------------------------------------------------------------------------

    async def _run_handler(self, request: Request, service: Service) -> None:
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
            encode_json=self._settings.json,
        )
        websocket.context.handshake = self._new_handshake(request.subprotocols, service)
        self._runner = runner = HandlerRunner(NoOpener(self._factory.timers))
        runner.prepare(websocket, service, self._timeouts)
        self._receiver.set_early_disconnect_callback(lambda: runner.cancel_handler("client left before the answer"))
        timeout = self._factory.timers.call_later(self._settings.timeouts.open_timeout, self._on_open_timeout)
        try:
            self.error = await runner.run()
        finally:
            timeout.cancel()
            self._receiver.set_early_disconnect_callback(None)

    def _on_open_timeout(self) -> None:
        """Refuse a handshake that guards and handler have not answered within `open_timeout`."""
        if self._handshake is not None and not self._handshake.answered:
            logger.warning("%s got no answer within open_timeout: refused with 503", self._scope.get("client"))
            self._refuse_now(MalformedRequest(503, "no answer within open_timeout"))

    # --- graceful shutdown ---------------------------------------------------------------------------------------

    def drain(self, code: int, reason: str, grace: float, delay: float = 0.0) -> None:
        """Close the connection after `delay` seconds, and cancel the handler `grace` seconds later."""
        if delay:
            self._factory.timers.call_later(delay, lambda: self.drain(code, reason, grace))
        elif self.connection is not None:
            self.connection.drain(code, reason)
            self._factory.timers.call_later(grace, lambda: self.cancel("the server shuts down"))
        elif self._handshake is not None:
            self._refuse_now(ShuttingDown())
        else:
            self.refusal = ShuttingDown()

    def _refuse_now(self, error: MalformedRequest) -> None:
        self._refuse(error)
        self.cancel(error.message)

    def cancel(self, why: str) -> None:
        """Cancel the handler."""
        if self._runner is not None:
            self._runner.cancel_handler(why)


def _do_nothing() -> None:
    """Ignore the end of the connection."""
