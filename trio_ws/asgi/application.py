"""Bridge: an application of ours as an ASGI 3 application, and what a `Server` is to it elsewhere.

It dispatches by the kind of a call; what happens in one is in `conversation`, `page` and `lifespan`.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import asynccontextmanager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from trio_ws.asgi.http import PageCall
from trio_ws.asgi.lifespan import answer, beside
from trio_ws.asgi.scope import read_request, root_path_of
from trio_ws.asgi.websocket import ASGIHandlerRunner
from trio_ws.codes import CloseCode, check_close
from trio_ws.connection.settings import Settings
from trio_ws.http.parser import MalformedRequest
from trio_ws.http.request import current_root_path
from trio_ws.server.statistics import Counters, Statistics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_ws.app.dispatcher import HasResponder
    from trio_ws.asgi.scope import Application, Receive, Scope, Send
    from trio_ws.server.context import Responder

__all__ = ["ASGIApplication"]

logger: Final = logging.getLogger("trio_ws")

_NOT_RUNNING: Final = (
    "the application does not run: the ASGI server must speak the lifespan protocol, or, where the application is "
    "mounted in another one, that one's lifespan must enter app.lifespan_context()"
)
_NOT_TRIO: Final = (
    "the ASGI server runs on asyncio, the application needs Trio: start it with `hypercorn -k trio module:app`, or "
    "without an ASGI server with `trio-ws run module:app`"
)


class ASGIApplication:
    """An ASGI application that serves an `App`; every `App` is one by itself.

    While it serves, it is the application's `server`: it has `statistics()`, `shutdown()` and `draining`.

    Args:
        responder: an `App`, or anything else that a `Server` takes.
        settings: None for the `settings` of the responder, or the defaults.
        fallback: another ASGI application, which answers what the responder does not know. It begins and ends with
            ours.
    """

    def __init__(
        self,
        responder: HasResponder | Responder,
        *,
        settings: Settings | None = None,
        fallback: Application | None = None,
    ) -> None:
        self._responder = cast("Responder", getattr(responder, "responder", responder))
        self.settings: Settings = settings or getattr(self._responder, "settings", None) or Settings()
        """Of all connections; routes may differ."""
        self._fallback = fallback
        self._conversations: set[ASGIHandlerRunner] = set()
        self._per_address: Counter[str] = Counter()
        self._numbers = count(1)
        self._tally = Counters()
        self._changed = trio.lowlevel.ParkingLot()
        self._draining = False
        self._grace = 0.0
        self.urls: tuple[str, ...] = ()
        """Where hypercorn listens, if `trio_ws.asgi.serve` has started it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call of an ASGI server.

        Raises:
            ValueError: ASGI has no such kind of call that we know.
            RuntimeError: the server does not run on Trio; at the startup it is told so.
        """
        if scope["type"] == "lifespan":
            await answer(self._lifespan(scope), receive, send)
            return
        _check_trio()
        token = current_root_path.set(root_path_of(scope))
        try:
            await self._answer(scope, receive, send)
        finally:
            current_root_path.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http" | "websocket" if self._fallback is not None and not self._knows(scope):
                await self._fallback(scope, receive, send)
            case "http":
                await PageCall(self._page_maker(), self.settings, scope, receive, send).run()
            case "websocket":
                await self._converse(scope, receive, send)
            case kind:
                raise ValueError(f"an ASGI call of an unknown kind: {kind!r}")

    def _knows(self, scope: Scope) -> bool:
        """Whether the request is for the responder: one that is malformed is, so that it is refused."""
        try:
            request = read_request({**scope, "method": "GET"}, self.settings)
        except MalformedRequest:
            return True
        knows = getattr(self._responder, "knows", None)
        return knows is None or bool(knows(request, upgrade=scope["type"] == "websocket"))

    @property
    def _runs(self) -> bool:
        return bool(getattr(self._responder, "running", True))

    # --- lifespan ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lifespan(self, scope: Scope) -> AsyncGenerator[None, None]:
        """Hold the application open; it is left when the last conversation is over."""
        _check_trio()
        context = getattr(self._responder, "lifespan_context", None)
        served_by = getattr(self._responder, "served_by", None)
        state = scope.get("state")
        state = {} if state is None else state
        self._draining = False
        async with nullcontext() if context is None else context():
            if served_by is not None:
                served_by(self)
            state.update(vars(getattr(self._responder, "state", _Nothing)))
            async with nullcontext() if self._fallback is None else beside(self._fallback, state):
                try:
                    yield
                finally:
                    await self._see_off()

    async def _see_off(self) -> None:
        """Wait for those who are still there: their goodbyes need the application; each has its bounds."""
        times = self.settings.timeouts
        with trio.move_on_after(2 * (times.cleanup_timeout + times.close_timeout), shield=True):
            await self.all_over()

    # --- calls ---------------------------------------------------------------------------------------------------

    def _page_maker(self) -> Responder:
        return self._responder if self._runs else _NotRunning()

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        responder = self._page_maker()
        conversation = ASGIHandlerRunner(responder, self.settings, scope, receive, send, number=next(self._numbers))
        host = str((scope.get("client") or ("",))[0])
        conversation.refusal = self._refusal(host)
        admitted = conversation.refusal is None
        self._conversations.add(conversation)
        self._per_address[host] += admitted
        over = False

        def end() -> None:
            nonlocal over
            if not over:
                over = True
                self._forget(conversation, host, admitted=admitted)

        conversation.over = end
        await conversation.run()

    def _refusal(self, host: str) -> MalformedRequest | None:
        limits = self.settings.limits
        if self._draining:
            return MalformedRequest(503, "the server is shutting down")
        admitted = self._per_address.total()
        too_many = limits.max_connections is not None and admitted >= limits.max_connections
        per_ip = limits.max_connections_per_ip
        if too_many or (per_ip is not None and host != "" and self._per_address[host] >= per_ip):
            return MalformedRequest(503, "the server has no room for another connection")
        return None

    def _forget(self, conversation: ASGIHandlerRunner, host: str, *, admitted: bool) -> None:
        self._conversations.discard(conversation)
        self._per_address[host] -= admitted
        if not self._per_address[host]:
            del self._per_address[host]
        self._tally.add(conversation.connection, conversation.status, conversation.error)
        self._changed.unpark_all()

    async def all_over(self) -> None:
        """Wait until no WebSocket is left."""
        while self._conversations:
            await self._changed.park()

    # --- what a server is ----------------------------------------------------------------------------------------

    def shutdown(
        self,
        code: int = CloseCode.GOING_AWAY,
        grace: float | None = None,
        *,
        reason: str = "",
        delay: float | None = None,
    ) -> None:
        """Begin to shut down: refuse everyone who comes, send `code` to everyone, cancel handlers after `grace`.

        Called again, it can only shorten the grace.

        It ends the WebSockets. The ASGI server goes on, and answers 503, unless `trio_ws.asgi.serve` runs it.

        Args:
            code: the close code for everyone, 1001 by default; 1012 says that the service restarts.
            grace: seconds that handlers may go on, None for `Timeouts.shutdown_grace`.
            reason: the close reason for everyone.
            delay: seconds until everyone is told, None for `Timeouts.drain_delay`; `/healthz` says 503 at once.

        Raises:
            ValueError: code or reason cannot be sent.
        """
        check_close(code, reason)
        delay = self.settings.timeouts.drain_delay if delay is None else delay
        seconds = self.settings.timeouts.shutdown_grace if grace is None else grace
        if not self._draining or (grace is not None and grace < self._grace):
            wait = 0.0 if self._draining else delay
            self._draining, self._grace = True, seconds
            for conversation in tuple(self._conversations):
                conversation.drain(int(code), reason, seconds, wait)
        self._changed.unpark_all()

    async def shut_down(self) -> None:
        """Wait until `shutdown` is called, then until no WebSocket is left."""
        while not self._draining:
            await self._changed.park()
        await self.all_over()

    def statistics(self) -> Statistics:
        """Return what was done so far; a connection here is a WebSocket, be it accepted or not."""
        open_now = [held.connection for held in self._conversations if held.connection is not None]
        return self._tally.statistics(len(self._conversations), open_now)

    @property
    def draining(self) -> bool:
        """Whether the shutdown has begun."""
        return self._draining

    @property
    def port(self) -> int:
        """The TCP port where hypercorn listens, if `trio_ws.asgi.serve` has started it.

        Raises:
            RuntimeError: it has not, or there is none.
        """
        for url in self.urls:
            port = url.rpartition(":")[2]
            if port.isdigit():
                return int(port)
        raise RuntimeError("the port is the ASGI server's: it is known only to trio_ws.asgi.serve()")


def _check_trio() -> None:
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(_NOT_TRIO)


class _Nothing:
    """No state."""


class _NotRunning:
    """A responder for an application that nobody has started."""

    async def page(self, request: Any) -> Any:
        """Refuse, and say in the log what is missing."""
        raise RuntimeError(_NOT_RUNNING)

    def route(self, request: Any) -> Any:
        """Refuse, and say in the log what is missing."""
        raise RuntimeError(_NOT_RUNNING)
