"""App: a router with everything that runs it: settings, pages, sessions, rooms, lifespan, and the ways to serve."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from trio_ws.app.connections import ConnectionManager
from trio_ws.app.dispatcher import Dispatcher
from trio_ws.app.failures import Failures
from trio_ws.app.inclusion import MAX_THREADS, NOT_FOUND_STATUS, check_guests, guests_of, hosted, with_parents
from trio_ws.app.options import Lifespan, check_callback, lifespan_of
from trio_ws.app.pages import Page, Pages
from trio_ws.app.route import first_match
from trio_ws.app.router import Router
from trio_ws.app.sessions import sessions_of
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.settings import Origins, Settings
from trio_ws.handler.instruments import Instrument, Instruments, instruments_of
from trio_ws.http.request import current_root_path
from trio_ws.options import check_number, list_of
from trio_ws.rooms import Backplane, Room, Rooms
from trio_ws.runtime.background import open_background
from trio_ws.server.serve import SocketListener, closing_listeners, listen
from trio_ws.server.server import Server
from trio_ws.server.signals import serve_until_signalled

if TYPE_CHECKING:
    import ssl

    from prometheus_client import CollectorRegistry

    from trio_ws.app.guards import Guard
    from trio_ws.app.path import Converter
    from trio_ws.app.route import Route
    from trio_ws.app.sessions import Sessions
    from trio_ws.asgi import ASGIApplication
    from trio_ws.testing import TestClient
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["App"]

E = TypeVar("E", bound=Callable[..., Any])


class App(Router):
    """An application: routes, and what they share.

    Args:
        controllers: classes to register, as `add_controller` does.
        guards: stand before the guards of every route.
        lifespan: an asynchronous context manager that is entered before the first connection and left after the last;
            tasks started in `app.nursery` run meanwhile. `@asynccontextmanager` may be left out.
        limits: what one peer may cost.
        timeouts: how long to wait for whom.
        compression: True for permessage-deflate with the defaults, or a `Compression`.
        origins: who may connect from a browser beside pages of the same origin; "*" for everyone.
        hosts: the names that the application is reached by, such as "example.org", "*.example.org" or "localhost:8000";
            a request with another Host, for a page too, is refused with 421. None for every host.
        trusted_proxies: addresses and networks of proxies, or "unix" for all that come over a Unix socket, whose
            `X-Forwarded-For` and `X-Forwarded-Proto` say who the client is and whether it came over TLS.
        instruments: are told what happens on connections, for tracing; see `Instrument`.
        sessions: keep a session for each client in a signed cookie.
        backplane: what carries rooms to other processes: the URL of a Redis, or a `Backplane` such as `RedisBackplane`,
            which names the forms of URLs and has options. None for rooms within this process.
        converters: of path parameters, by name, beside the built-in ones.
        not_found_status: answers an upgrade to a path that has no route.
        max_threads: plain `def` views and callbacks that run at once, each in a thread; as many guards, dependencies,
            pages and other short calls beside them.

    Raises:
        ImportError: the backplane needs a package that is not installed.
        RegistrationError: a controller cannot work.
        TypeError: an option is of another type.
        ValueError: an option can never work.
    """

    def __init__(
        self,
        *,
        controllers: Iterable[type] = (),
        guards: Iterable[Guard] = (),
        lifespan: Lifespan | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        compression: Compression | bool | None = None,
        origins: Origins = None,
        hosts: Iterable[str] | None = None,
        trusted_proxies: Iterable[str] = (),
        instruments: Iterable[Instrument] = (),
        sessions: Sessions | None = None,
        backplane: Backplane | str | None = None,
        converters: Mapping[str, Converter] | None = None,
        not_found_status: int = NOT_FOUND_STATUS,
        max_threads: int = MAX_THREADS,
    ) -> None:
        super().__init__(guards=guards, converters=converters)
        self._application = self
        check_number("not_found_status", not_found_status, 400, 499)
        if max_threads != math.inf:
            check_number("max_threads", max_threads, 1)
        self.state: SimpleNamespace = SimpleNamespace()
        """Yours: whatever the application's functions share."""
        self.settings: Settings = Settings(
            limits=Limits() if limits is None else limits,
            timeouts=Timeouts() if timeouts is None else timeouts,
            compression=compression,
            origins=origins,
            hosts=hosts,
            trusted_proxies=trusted_proxies,
        )
        self.instruments: Instruments | None = instruments_of(instruments)
        self.sessions: Sessions | None = sessions_of(sessions)
        self.not_found_status = not_found_status
        self.max_threads = max_threads
        self.responder: Dispatcher = Dispatcher(self)
        """What a `Server` serves the application with."""
        self._lifespan = lifespan_of(lifespan)
        self._pages = Pages()
        if not (backplane is None or isinstance(backplane, str | Backplane)):
            raise TypeError(f"backplane takes the URL of a Redis or a Backplane, not {backplane!r}")
        self._given_backplane = backplane
        self._rooms = Rooms(backplane)
        self.everyone: ConnectionManager = ConnectionManager(self._rooms.backplane)
        """The application's connections in this process."""
        self._failures = Failures()
        self._parent: App | None = None  # which includes this one, while that runs
        self._checked_guests: set[App] = set()
        self._nursery: trio.Nursery | None = None
        self._limiter: trio.CapacityLimiter | None = None
        self.call_limiter: trio.CapacityLimiter | None = None
        """Bounds the threads of short calls, which so do not wait for views; None while nothing runs."""
        self._server: Server | None = None
        self._bridge: ASGIApplication | None = None
        self._table: list[Route] = []
        for controller in list_of("controllers", controllers, "classes"):
            self.add_controller(controller)

    # --- registering what is no route ----------------------------------------------------------------------------

    def page(self, path: str, page: str | os.PathLike[str] | Page) -> None:
        """Answer a plain GET for `path`: with a file, or with what a function makes of the request.

        A path that differs in a trailing slash only is redirected (307).

        Args:
            path: begins with a slash; compared exactly.
            page: a file, whose name tells its type, or a function, `async` or not, that takes the `Request` and returns
                text (HTML), bytes, a dict or list (JSON), or a `Response`.

        Raises:
            ValueError: the path does not begin with a slash, or is taken.
            FileNotFoundError: there is no such file.
        """
        self._pages.add(path, page if callable(page) else Path(page))

    def static(self, prefix: str, folder: str | os.PathLike[str]) -> None:
        """Answer plain GETs below `prefix` with the files in `folder`, but for those whose names begin with a dot.

        Raises:
            ValueError: the prefix does not begin with a slash.
            NotADirectoryError: there is no such folder.
        """
        self._pages.add_folder(prefix, Path(folder))

    def metrics(self, path: str = "/metrics", *, registry: CollectorRegistry | None = None) -> CollectorRegistry:
        """Answer a plain GET for `path` with the server's statistics, in the Prometheus text format (extra `metrics`).

        Whoever may ask for pages may ask for this one: a proxy in front is the place to say who may.

        Args:
            path: begins with a slash.
            registry: one of prometheus-client's, to show these figures with others; None for one of its own.

        Returns:
            The registry, for metrics of yours.

        Raises:
            ImportError: prometheus-client is not installed.
            ValueError: the path is taken, or the registry has the metrics of another application.
        """
        from trio_ws.app.metrics import Metrics  # noqa: PLC0415 - few need it

        metrics = Metrics(lambda: self._server, registry)
        self._pages.add(path, metrics.page)
        metrics.register()
        return metrics.registry

    def close_on(self, error: type[Exception], code: int) -> Callable[[E], E]:
        """Close with `code` when an error of that type leaves a handler; the most derived type counts.

        It holds for the whole application. It may stand above a function as a decorator, which leaves it as it is.

        Raises:
            TypeError: that is no type of error.
            ValueError: the code may not be sent.
        """
        self._failures.close_on(error, code)
        return lambda function: function

    def on_error(self, function: E) -> E:
        """Call `function(ws, error)` after an unexpected error was logged; a plain one runs in a thread."""
        check_callback("on_error", function, "the connection", "the error")
        self._failures.callback = function
        return function

    def room(self, name: str, **options: Any) -> Room:
        """Return the room of that name; see `Room` for the options.

        The same name is the same room as long as it has members.
        """
        return self._rooms.room(name, **options)

    async def broadcast(self, message: Any) -> None:
        """Send one message to all connections of the application, in all processes. It waits for none of them.

        They get all that is said in this way in one order. One whose outbox is full is closed with 1013.

        Args:
            message: `str` is sent as text, bytes as binary, everything else as compact JSON in a text message.

        Raises:
            BackplaneError: as `Room.publish` raises it.
            TypeError: it cannot be encoded; likewise ValueError.
            trio.Cancelled: nobody got it; with Redis, unless it was on its way.
        """
        await self.everyone.tell(message)

    def url_for(self, name: str, /, **parameters: Any) -> str:
        """Return a route's path, its parameters filled in, below the `root_path` of the request that this runs for.

        Args:
            name: the route's `name=`, else the name of its function.
            parameters: values of the path's parameters.

        Raises:
            LookupError: there is no such route.
            ValueError: a parameter is missing, is not of the path, or does not fit.
        """
        *_, root = with_parents(self)
        for route in sorted(root.routes(), key=lambda route: route.app is not self):
            if route.name == name:
                return current_root_path.get() + route.pattern.build(**parameters)
        raise LookupError(f"no route is named {name!r}")

    # --- running -------------------------------------------------------------------------------------------------

    @property
    def nursery(self) -> trio.Nursery:
        """Tasks in it run as long as the application; they are cancelled when the last connection has ended.

        Raises:
            RuntimeError: the application does not run.
        """
        if self._nursery is None:
            raise RuntimeError("the application's nursery is open only while it runs")
        return self._nursery

    @property
    def server(self) -> Server:
        """The server that runs the application, for its `statistics` and `shutdown`.

        Under an ASGI server it is a `trio_ws.asgi.ASGIApplication`, which has these two and `draining`.

        Raises:
            RuntimeError: the application is not being served.
        """
        if self._server is None:
            raise RuntimeError("the application has no server: it is not being served")
        return self._server

    @asynccontextmanager
    async def lifespan_context(self) -> AsyncGenerator[None, None]:
        """Enter what surrounds all connections: the nursery, the rooms, and the application's `lifespan`.

        Raises:
            RegistrationError: a method was decorated whose class is no controller, or a route cannot work.
            BackplaneError: the backplane is not there, or will not have us, and its options do not say to wait.
            RuntimeError: the application runs already.
        """
        if any(app._nursery is not None for app in (self, *(guest.app for guest in guests_of(self)))):
            raise RuntimeError("the application runs already, by itself or included in another one")
        self.check_pending()
        self._table = self.checked_routes()
        async with self._rooms.running(), open_background() as nursery:
            self._nursery = nursery
            self._limiter, self.call_limiter = (trio.CapacityLimiter(self.max_threads) for _ in range(2))
            try:
                async with self.everyone.hearing(), hosted(self):
                    yield
            finally:
                self._nursery = self._limiter = self.call_limiter = self._server = None

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
            task_status: for `nursery.start`.

        Raises:
            OSError: an address cannot be listened on; the message says what to do.
            RegistrationError: as `lifespan_context` raises it.
            trio.Cancelled: after every client was told 1001.
        """
        server = Server(self.responder, self.settings, ssl_context=ssl_context, poller=poller, strict=strict)
        # Before the application starts: an address that is taken is no error of its lifespan.
        async with closing_listeners(await listen(host, port, uds, listeners)) as bound, self.lifespan_context():
            self.responder.served_by(server)
            await server.serve(bound, task_status=task_status)

    def run(self, host: str = "localhost", port: int = 8000, **options: Any) -> None:
        """Serve the application in a Trio run of its own until SIGINT (Ctrl-C) or SIGTERM, then shut down gracefully.

        Args:
            host: a name or an address.
            port: the TCP port.
            options: the other arguments of `serve`.

        Raises:
            TypeError: several processes, or reloading, are wanted: these import the application by its name.
        """
        if options.keys() & {"reload", "workers"}:
            raise TypeError("app.run() is one process: `trio-ws run MODULE:APP` has --workers N and --reload")
        trio.run(serve_until_signalled, partial(self.serve, host, port, **options))

    def test_client(self, **options: Any) -> TestClient:
        """Return a client for tests, without a network; see `trio_ws.testing.TestClient`."""
        from trio_ws.testing import TestClient  # noqa: PLC0415 - tests only

        return TestClient(self.responder, **options)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer an ASGI server: `hypercorn -k trio module:app` serves the application; see `trio_ws.asgi`."""
        if self._bridge is None:
            from trio_ws.asgi import ASGIApplication  # noqa: PLC0415 - under an ASGI server only

            self._bridge = ASGIApplication(self)
        await self._bridge(scope, receive, send)

    @property
    def limiter(self) -> trio.CapacityLimiter:
        """Bounds the threads of plain views and callbacks."""
        if self._limiter is None:
            raise RuntimeError("the application does not run")
        return self._limiter

    def checked_routes(self) -> list[Route]:
        """Return all routes, as `Router.checked_routes`, and see to the applications that are included."""
        routes = super().checked_routes()
        check_guests(self)
        self._pages.included = tuple((guest.prefix, guest.app._pages) for guest in guests_of(self))
        return routes

    def match(self, raw_path: str) -> tuple[Route, dict[str, Any]] | None:
        """Return the first route that a path matches, with the values of its parameters."""
        if len(self._table) != self.route_count():  # some were registered while the application runs
            self._table = self.checked_routes()
        return first_match(self._table, raw_path)

    def open_session(self, websocket: WebSocket) -> None:
        """Give a connection its session, if there are sessions."""
        sessions = next((app.sessions for app in with_parents(self) if app.sessions is not None), None)
        if sessions is not None:
            session = sessions.load(websocket.request)
            websocket.context.session = session
            websocket.context.answer_headers = lambda: sessions.header(session)

    def close_code_of(self, error: BaseException) -> int | None:
        """Return what `close_on` says of an error; of one that has a code anyhow only if it names that type."""
        return self._failures.close_code_of(error)

    async def report(self, websocket: WebSocket, error: BaseException) -> None:
        """Call `on_error`, if there is one."""
        await self._failures.report(websocket, error, self.call_limiter)
