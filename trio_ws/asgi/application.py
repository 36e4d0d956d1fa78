"""An `App` as an ASGI 3 application, with the interface of a `Server`."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from trio_ws.asgi.http import HTTPCall
from trio_ws.asgi.lifespan import run_lifespan, run_lifespan_of
from trio_ws.asgi.scope import read_request, root_path_of
from trio_ws.asgi.websocket import ASGIHandlerRunner
from trio_ws.codes import CloseCode, check_close
from trio_ws.connection.settings import Settings
from trio_ws.http.head import MalformedRequest, ShuttingDown
from trio_ws.http.request import current_root_path
from trio_ws.server.statistics import Counters, Statistics

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_ws.asgi.scope import Application, Receive, Scope, Send
    from trio_ws.server.context import HasResponder, Responder

__all__ = ["ASGIApplication"]

logger: Final = logging.getLogger("trio_ws")

_NOT_RUNNING: Final = (
    "the application is not running: the ASGI server must support the lifespan protocol, or, if the application is "
    "mounted in another one, the lifespan of that one must enter app.lifespan_context()"
)
_NOT_TRIO: Final = (
    "the ASGI server runs on asyncio, the application needs Trio: start it with `hypercorn -k trio module:app`, or "
    "without an ASGI server with `trio-ws run module:app`"
)


class ASGIApplication:
    """An ASGI application that serves an `App`; every `App` is one by itself.

    While it runs, it is the application's `server`, with `statistics()`, `shutdown()` and `draining`.

    Args:
        responder: an `App`, or another responder that a `Server` takes.
        settings: None for the `settings` of the responder, or the defaults.
        fallback: another ASGI application, for requests without a route or page in the responder. Its lifespan is
            that of this application.
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
        """The settings of all connections; a route may have its own."""
        self._fallback = fallback
        self._runners: set[ASGIHandlerRunner] = set()
        self._connections_per_ip: Counter[str] = Counter()
        self._numbers = count(1)
        self._counters = Counters()
        self._changed = trio.lowlevel.ParkingLot()
        self._draining = False
        self._grace = 0.0
        self.urls: tuple[str, ...] = ()
        """The URLs that hypercorn listens on, if `trio_ws.asgi.serve` has started it."""
        self.page_path: str | None = getattr(self._responder, "page_path", None)
        """The path of a page to open in a browser; None without pages."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call of an ASGI server.

        Raises:
            ValueError: the type of the scope is unknown.
            RuntimeError: the ASGI server does not run on Trio; its startup fails with the same message.
        """
        if scope["type"] == "lifespan":
            await run_lifespan(self._lifespan(scope), receive, send)
            return
        _check_trio()
        token = current_root_path.set(root_path_of(scope))
        try:
            await self._answer(scope, receive, send)
        finally:
            current_root_path.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http" | "websocket" if self._fallback is not None and not self._is_for_responder(scope):
                await self._fallback(scope, receive, send)
            case "http":
                await HTTPCall(self._current_responder(), self.settings, scope, receive, send).run()
            case "websocket":
                await self._serve_websocket(scope, receive, send)
            case kind:
                raise ValueError(f"unknown type of ASGI scope: {kind!r}")

    def _is_for_responder(self, scope: Scope) -> bool:
        """Return True if the responder answers the request; it refuses malformed ones."""
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
        """Run the application's lifespan; it ends when the last WebSocket has ended."""
        _check_trio()
        context = getattr(self._responder, "lifespan_context", None)
        served_by = getattr(self._responder, "served_by", None)
        state = scope.get("state")
        state = {} if state is None else state
        self._draining = False
        async with nullcontext() if context is None else context():
            if served_by is not None:
                served_by(self)
            state.update(vars(getattr(self._responder, "state", _NoState)))
            async with nullcontext() if self._fallback is None else run_lifespan_of(self._fallback, state):
                try:
                    yield
                finally:
                    await self._wait_closed_bounded()

    async def _wait_closed_bounded(self) -> None:
        """Wait for the WebSockets that are closing and need the application, a bounded time."""
        times = self.settings.timeouts
        with trio.move_on_after(2 * (times.cleanup_timeout + times.close_timeout), shield=True):
            await self.wait_closed()

    # --- calls ---------------------------------------------------------------------------------------------------

    def _current_responder(self) -> Responder:
        return self._responder if self._runs else _NotRunning()

    async def _serve_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        responder = self._current_responder()
        runner = ASGIHandlerRunner(responder, self.settings, scope, receive, send, number=next(self._numbers))
        host = str((scope.get("client") or ("",))[0])
        runner.refusal = self._refusal(host)
        admitted = runner.refusal is None
        self._runners.add(runner)
        self._connections_per_ip[host] += admitted
        runner.on_end = partial(self._remove, runner, host, admitted=admitted)
        await runner.run()

    def _refusal(self, host: str) -> MalformedRequest | None:
        limits = self.settings.limits
        if self._draining:
            return ShuttingDown()
        admitted = self._connections_per_ip.total()
        too_many = limits.max_connections is not None and admitted >= limits.max_connections
        per_ip = limits.max_connections_per_ip
        if too_many or (per_ip is not None and host != "" and self._connections_per_ip[host] >= per_ip):
            return MalformedRequest(503, "the server has no room for another connection")
        return None

    def _remove(self, runner: ASGIHandlerRunner, host: str, *, admitted: bool) -> None:
        """Remove a runner that has ended. Does nothing if it was removed."""
        if runner not in self._runners:
            return
        self._runners.discard(runner)
        self._connections_per_ip[host] -= admitted
        if not self._connections_per_ip[host]:
            del self._connections_per_ip[host]
        self._counters.add(runner.connection, runner.status, runner.error)
        self._changed.unpark_all()

    async def wait_closed(self) -> None:
        """Wait until all WebSockets have ended."""
        while self._runners:
            await self._changed.park()

    # --- interface of a server -----------------------------------------------------------------------------------

    def shutdown(
        self,
        code: int = CloseCode.GOING_AWAY,
        grace: float | None = None,
        *,
        reason: str = "",
        delay: float | None = None,
    ) -> None:
        """Begin a graceful shutdown: refuse new WebSockets, close the open ones, cancel handlers after `grace`.

        A second call can only shorten the grace. The ASGI server keeps running, and new WebSockets get a 503, unless
        `trio_ws.asgi.serve` runs it.

        Args:
            code: the close code, 1001 by default; 1012 means that the service restarts.
            grace: seconds that handlers may still run, None for `Timeouts.shutdown_grace`.
            reason: the close reason.
            delay: seconds before the close frames, None for `Timeouts.drain_delay`; `/healthz` answers 503 at once.

        Raises:
            ValueError: code or reason is not allowed in a close frame.
        """
        check_close(code, reason)
        delay = self.settings.timeouts.drain_delay if delay is None else delay
        seconds = self.settings.timeouts.shutdown_grace if grace is None else grace
        if not self._draining or (grace is not None and grace < self._grace):
            wait = 0.0 if self._draining else delay
            self._draining, self._grace = True, seconds
            for runner in tuple(self._runners):
                runner.drain(int(code), reason, seconds, wait)
        self._changed.unpark_all()

    async def wait_shutdown(self) -> None:
        """Wait until `shutdown` is called, then until all WebSockets have ended."""
        while not self._draining:
            await self._changed.park()
        await self.wait_closed()

    def statistics(self) -> Statistics:
        """Return the counters so far; a WebSocket counts as a connection even if it is not accepted."""
        open_now = [runner.connection for runner in self._runners if runner.connection is not None]
        return self._counters.statistics(len(self._runners), open_now, getattr(self._responder, "over_budget", {}))

    @property
    def draining(self) -> bool:
        """Whether a shutdown has begun."""
        return self._draining

    @property
    def port(self) -> int:
        """The TCP port that hypercorn listens on, if `trio_ws.asgi.serve` has started it.

        Raises:
            RuntimeError: `trio_ws.asgi.serve` has not started it, or it listens on no TCP port.
        """
        for url in self.urls:
            port = url.rpartition(":")[2]
            if port.isdigit():
                return int(port)
        raise RuntimeError("the port is the ASGI server's: only trio_ws.asgi.serve() sets it")


def _check_trio() -> None:
    if not trio.lowlevel.in_trio_task():
        raise RuntimeError(_NOT_TRIO)


class _NoState:
    """The state of a responder that has none."""


class _NotRunning:
    """A responder for an application whose lifespan has not been entered."""

    async def page(self, request: Any) -> Any:
        """Raise an error that names the missing lifespan."""
        raise RuntimeError(_NOT_RUNNING)

    def route(self, request: Any) -> Any:
        """Raise an error that names the missing lifespan."""
        raise RuntimeError(_NOT_RUNNING)
