"""`Servable`, the base of `App` with the ways to serve it."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

import trio

from trio_ws.runtime.command import check_not_importing
from trio_ws.runtime.in_trio import check_in_trio

if TYPE_CHECKING:
    import ssl

    from typing_extensions import Unpack

    from trio_ws.app.dispatcher import Dispatcher
    from trio_ws.app.services import AppServices
    from trio_ws.asgi import ASGIApplication
    from trio_ws.connection.settings import Settings
    from trio_ws.server.server import Server
    from trio_ws.testing import TestClient
    from trio_ws.testing.options import ClientKeywords
    from trio_ws.transport.listeners import SocketListener

__all__ = ["Servable", "ServeOptions"]


class ServeOptions(TypedDict, total=False):
    """The options of `App.serve` that `App.run` takes too."""

    uds: str | os.PathLike[str] | None
    listeners: Sequence[SocketListener]
    ssl_context: ssl.SSLContext | None
    poller: bool | None
    strict: bool
    watchdog: float | None


class Servable:
    """The ways to serve an application, once its subclass has made its services and responder."""

    services: AppServices
    """Its options and shared parts."""
    settings: Settings
    """Options of all connections; a route may have its own."""
    _asgi: ASGIApplication | None = None

    @property
    def responder(self) -> Dispatcher:
        """The object that a `Server` gets its answers from."""
        raise NotImplementedError

    def lifespan_context(self) -> AbstractAsyncContextManager[None]:
        """Return the context that is open while the application runs."""
        raise NotImplementedError

    @property
    def nursery(self) -> trio.Nursery:
        """A nursery for tasks that run as long as the application.

        They are cancelled when the last connection has ended.

        Raises:
            RuntimeError: the application does not run.
        """
        if self.services.run_state.nursery is None:
            raise RuntimeError("the application's nursery is open only while it runs")
        return self.services.run_state.nursery

    @property
    def server(self) -> Server:
        """The server that runs the application, for its `statistics` and `shutdown`.

        Under an ASGI server it is a `trio_ws.asgi.ASGIApplication`, which has these two and `draining`.

        Raises:
            RuntimeError: the application is not being served.
        """
        if self.services.run_state.server is None:
            raise RuntimeError("the application has no server: it is not being served")
        return self.services.run_state.server

    async def serve(
        self,
        host: str | None = "localhost",
        port: int | None = 8000,
        *,
        uds: str | os.PathLike[str] | None = None,
        listeners: Sequence[SocketListener] = (),
        ssl_context: ssl.SSLContext | None = None,
        poller: bool | None = None,
        strict: bool = False,
        watchdog: float | None = None,
        task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve the application until cancelled, or until the server's `shutdown` is called.

        `server = await nursery.start(app.serve, "127.0.0.1", 0)` returns once it accepts.

        Args:
            host: a name or an address; None for all interfaces.
            port: the TCP port, 0 for one that is free, None for no TCP.
            uds: the path of a Unix socket to listen on.
            listeners: listening sockets, or listeners of Trio's, to accept from; they are closed at the end.
            ssl_context: serve TLS on all of them that are plain sockets.
            poller: False turns the shared poller off.
            strict: let a handler's error end the server, for tests.
            watchdog: seconds that one step of a task may block all others; more is a WARNING that names the task and
                the line. It costs time at each step: it is for development. None: no watchdog.
            task_status: for `nursery.start`.

        Raises:
            OSError: an address cannot be listened on; the message has the fix.
            RegistrationError: as `lifespan_context` raises it.
            RuntimeError: asyncio runs it, not Trio.
            trio.Cancelled: after every connection was closed with 1001.
        """
        # To declare routes takes no server: it is imported by what serves them.
        from trio_ws.runtime.watchdog import check_watchdog, watching  # noqa: PLC0415
        from trio_ws.server.serve import closing_listeners, listen  # noqa: PLC0415
        from trio_ws.server.server import Server  # noqa: PLC0415

        check_in_trio("app.serve()")
        check_watchdog(watchdog)
        server = Server(self.responder, self.settings, ssl_context=ssl_context, poller=poller, strict=strict)
        # Before the application starts: an address that is taken is no error of its lifespan.
        async with closing_listeners(await listen(host, port, uds, listeners)) as bound, self.lifespan_context():
            self.responder.served_by(server)
            with watching(watchdog):
                await server.serve(bound, task_status=task_status)

    def run(self, host: str = "localhost", port: int = 8000, **options: Unpack[ServeOptions]) -> None:
        """Serve the application in its own Trio run until a signal.

        SIGINT (Ctrl-C) or SIGTERM begins a graceful shutdown. Call it below `if __name__ == "__main__":`, as other
        programs import the module: the command `trio-ws`, workers, tests.

        Args:
            host: a name or an address.
            port: the TCP port.
            options: the other arguments of `serve`.

        Raises:
            TypeError: several processes, or reloading, are wanted: these import the application by its name.
            RuntimeError: the command `trio-ws` is importing the module, or Trio runs already.
        """
        check_not_importing()
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("app.run() starts Trio itself: in async code, `await app.serve()`")
        if options.keys() & {"reload", "workers"}:
            raise TypeError("app.run() is one process: `trio-ws run MODULE:APP` has --workers N and --reload")
        from trio_ws.runtime.standard_streams import discard_unwritten_errors  # noqa: PLC0415 - as in `serve`
        from trio_ws.server.signals import serve_until_signalled  # noqa: PLC0415

        atexit.register(discard_unwritten_errors)
        trio.run(serve_until_signalled, partial(self.serve, host, port, **options))

    def test_client(self, **options: Unpack[ClientKeywords]) -> TestClient:
        """Return a client for tests, without a network; see `trio_ws.testing.TestClient`."""
        from trio_ws.testing import TestClient  # noqa: PLC0415 - tests only

        return TestClient(self.responder, **options)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer an ASGI server, such as `hypercorn -k trio`; see `trio_ws.asgi`."""
        if self._asgi is None:
            from trio_ws.asgi import ASGIApplication  # noqa: PLC0415 - under an ASGI server only

            self._asgi = ASGIApplication(self)
        await self._asgi(scope, receive, send)

    @property
    def limiter(self) -> trio.CapacityLimiter:
        """The bound of the threads of plain views and callbacks.

        Raises:
            RuntimeError: the application does not run.
        """
        if self.services.limiters.views is None:
            raise RuntimeError("the application does not run")
        return self.services.limiters.views
