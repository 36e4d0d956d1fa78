"""The application object of users."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, overload

from trio_ws.app.browsable import Browsable
from trio_ws.app.describable import Describable
from trio_ws.app.errors import RegistrationError
from trio_ws.app.inclusion import MAX_THREADS, NOT_FOUND_STATUS, check_guests, find_guests, run_guests
from trio_ws.app.options import Lifespan, check_callback, parse_lifespan
from trio_ws.app.room_owner import RoomOwner
from trio_ws.app.route import PROVIDED_TYPES, build_path, first_match
from trio_ws.app.router import Router
from trio_ws.app.servable import Servable
from trio_ws.app.services import AppServices, RunState
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.settings import Origins, Settings
from trio_ws.options import hint_unknown_options, list_of
from trio_ws.runtime.background import open_background
from trio_ws.runtime.threads import Limiters

if TYPE_CHECKING:
    from trio_ws.app.budgets import Budget
    from trio_ws.app.dispatcher import Dispatcher
    from trio_ws.app.guards import Guard
    from trio_ws.app.path import Converter
    from trio_ws.app.replies import Reply
    from trio_ws.app.route import Route
    from trio_ws.app.sessions import Sessions
    from trio_ws.connection.encoders import JSONOption
    from trio_ws.handler.instruments import Instrument
    from trio_ws.rooms.spread import BackplaneOption

__all__ = ["App"]

E = TypeVar("E", bound=Callable[..., Any])
X = TypeVar("X", bound=Exception)


class App(Router, RoomOwner, Servable, Browsable, Describable):
    """An application: routes and their shared options and services.

    Args:
        controllers: classes to register, as `add_controller` does.
        guards: called before the guards of every route.
        lifespan: an asynchronous context manager around all connections; `@asynccontextmanager` may be left out.
        limits: bounds of memory and work for one peer.
        timeouts: bounds of waiting, in seconds.
        compression: True for permessage-deflate with the defaults, or a `Compression`.
        origins: origins of pages that may connect beside pages of the same origin; "*" for all.
        hosts: the names that the application is reached by, such as "example.org", "*.example.org" or "localhost:8000";
            a request with another Host, for a page too, is refused with 421. None for every host.
        trusted_proxies: addresses and networks of proxies, or "unix" for all that come over a Unix socket, whose
            `X-Forwarded-For` and `X-Forwarded-Proto` are trusted for the client's address and TLS.
        instruments: called at events of connections, for tracing; see `Instrument`.
        sessions: keep a session for each client in a signed cookie.
        backplane: carries rooms to other processes: the URL of a Redis, those of several that share the rooms, or a
            `Backplane` such as `RedisBackplane` with its options. None for rooms within this process.
        json: encodes all JSON that is sent, instead of the library: "orjson" or "msgspec" (extras of these names), or
            a function that returns text or UTF-8, such as `orjson.dumps`. The library
            encodes values that it refuses with a `TypeError`.
        budget: what clients may send, a `Budget` or several; a route may have others.
        converters: of path parameters, by name, beside the built-in ones.
        not_found_status: answers an upgrade to a path that has no route.
        max_threads: plain `def` views and callbacks that run at once, each in a thread; as many guards, dependencies,
            pages and other short calls beside them, and as many for clean-up.

    Raises:
        ImportError: the backplane, or the encoder of JSON, needs a package that is not installed.
        RegistrationError: a controller cannot work.
        TypeError: an option is of another type.
        ValueError: an option can never work.
    """

    @hint_unknown_options
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
        backplane: BackplaneOption = None,
        json: JSONOption = None,
        budget: Budget | Iterable[Budget] | None = None,
        converters: Mapping[str, Converter] | None = None,
        not_found_status: int = NOT_FOUND_STATUS,
        max_threads: int = MAX_THREADS,
    ) -> None:
        super().__init__(guards=guards, converters=converters)
        self.services: AppServices = AppServices(
            self,
            settings=Settings(
                limits=Limits() if limits is None else limits,
                timeouts=Timeouts() if timeouts is None else timeouts,
                compression=compression,
                origins=origins,
                hosts=hosts,
                trusted_proxies=trusted_proxies,
                json=json,
            ),
            instruments=instruments,
            sessions=None if sessions is None else _check_sessions(sessions),
            backplane=backplane,
            lifespan=parse_lifespan(lifespan),
            not_found_status=not_found_status,
            max_threads=max_threads,
            budget=budget,
        )
        self._responder: Dispatcher | None = None
        self.state: SimpleNamespace = self.services.state
        """Yours: attributes that the application's functions share."""
        self._table: list[Route] = []
        for controller in list_of("controllers", controllers, "classes"):
            self.add_controller(controller)

    @property
    def settings(self) -> Settings:
        """Options of all connections; a route may have its own."""
        return self.services.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self.services.settings = settings

    @property
    def responder(self) -> Dispatcher:
        """The object that a `Server` gets its answers from, made when one asks for it."""
        if self._responder is None:
            from trio_ws.app.dispatcher import Dispatcher  # noqa: PLC0415 - it imports all that runs a connection

            self._responder = Dispatcher(self.services, self.match, self.lifespan_context)
        return self._responder

    # --- errors -----------------------------------------------------------------------------------------------------

    def close_on(self, error: type[Exception], code: int) -> Callable[[E], E]:
        """Close with `code` after an error of a type in a handler.

        The most derived type counts. The rule holds for the whole application. The result is a decorator that returns
        its function unchanged.

        Raises:
            RegistrationError: the type has a reply, by `reply_on`.
            TypeError: that is no type of error.
            ValueError: the code may not be sent.
        """
        self.services.failures.close_on(error, code)
        return lambda function: function

    @overload
    def reply_on(self, error: type[Exception]) -> Callable[[E], E]: ...
    @overload
    def reply_on(
        self, error: type[X], make_reply: Reply | type[Reply] | Callable[[X], Any] | Callable[[X, Any], Any]
    ) -> Callable[[E], E]: ...
    def reply_on(self, error: type[Exception], make_reply: Any = None) -> Callable[[E], E]:
        """Reply to a listener's message after an error of a type in its function; the connection stays.

        The most derived type counts, of those of `close_on`, too. Before the handshake's answer, in a guard or a
        dependency, the reply's status and body refuse the handshake; after it, in `on_connect`, the reply is sent, and
        a status from 400 on closes with 1008 or, from 500 on, 1011. The error is not logged.

        Args:
            error: the type. The end of the connection, `Reject` and errors that close with a code of their own are
                meant only if their type is given.
            make_reply: called with the error, or with the error and the message: its value, or the text or bytes if
                that is not JSON; None if there was none. Its result is what a listener returns. A plain function runs
                in a thread. Or a `Reply`, or a class such as `NotFound`. Left out, the result decorates the function;
                otherwise it returns its function unchanged.

        Raises:
            RegistrationError: the type has a reply or, by `close_on`, a code already.
            TypeError: that is no type of error, or `make_reply` cannot be called so.
        """
        if make_reply is not None:
            self.services.failures.reply_on(error, make_reply)
            return lambda function: function

        def register(function: E) -> E:
            self.services.failures.reply_on(error, function)
            return function

        return register

    def renewal(self, type: str, *, member: str = "type") -> Callable[[E], E]:  # noqa: A002 - the member's name
        """Let clients renew their credentials by a message, on every route: a decorator of the function that checks it.

        It takes messages that are a JSON object with a member of that value, `{"type": "auth", "token": "..."}`, of at
        most 16 KiB; handlers and listeners do not get them, unless they receive in parts. They are found as the handler
        receives: one that only sends has to receive, too, as by `async for _ in ws: pass`. The function is called as a
        listener's: with the validated body, the connection and dependencies. It returns new `Credentials`, or a time,
        for `WebSocket.renew`. The reply is `{"type": "auth", "statusCode": 200, "body": {"expiresAt": seconds}}`, with
        the `reference` of the route's listener, too. An error that it raises is answered as a listener's: after `raise
        Unauthorized` the connection stays until its time is over. A plain function runs in a thread. It is a task of
        the connection, and ends with it. Connections are read by the Python code, not by the compiled core.

        Example:
            @app.renewal("auth")
            async def renew(data: Token) -> Credentials:
                return await signed_in(data.token)

        Args:
            type: the value of the member.
            member: the member's name.

        Raises:
            RegistrationError: the application has one already, or a parameter of the function has no source.
            TypeError: an argument is no text.
            ValueError: an argument has other characters than letters, digits and `_.:-`, or is too long.
        """
        from trio_ws.app.renewals import Renewal  # noqa: PLC0415 - few applications have them

        def register(function: E) -> E:
            if self.services.renewal is not None:
                raise RegistrationError(f"renewal({type!r}): there is one for {self.services.renewal.type!r} already")
            self.services.renewal = Renewal.of(function, type, member)
            return function

        return register

    def on_error(self, function: E) -> E:
        """Call `function(ws, error)` after an unexpected error was logged.

        A plain function runs in a thread.
        """
        check_callback("on_error", function, "the connection", "the error")
        self.services.failures.callback = function
        return function

    def url_for(self, name: str, /, **parameters: Any) -> str:
        """Return the path of a route with its parameters filled in.

        It begins with the `root_path` of the current request.

        Args:
            name: the route's `name=`, else the name of its function.
            parameters: values of the path's parameters.

        Raises:
            LookupError: there is no such route.
            ValueError: a parameter is missing, is not of the path, or does not fit.
        """
        *_, root = self.services.with_parents()
        return build_path(root.app.routes(), self.services, name, parameters)

    # --- running and routes ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lifespan_context(self) -> AsyncGenerator[None, None]:
        """Open the nursery, the rooms and the application's `lifespan` for a block.

        Raises:
            RegistrationError: a method was decorated whose class is no controller, or a route cannot work.
            BackplaneError: the backplane is not available or refuses access, and its options do not wait for it.
            RuntimeError: the application runs already.
        """
        services = self.services
        if services.running or any(guest.services.running for guest in find_guests(self)):
            raise RuntimeError("the application runs already, by itself or included in another one")
        self.check_pending()
        self._make_parts()
        self._table = self.checked_routes()
        async with services.rooms.running(), open_background() as nursery:
            services.run_state.nursery = nursery
            services.run_state.limiters = Limiters.of(services.max_threads)
            try:
                async with services.connections.running(), run_guests(services, find_guests(self)):
                    yield
            finally:
                services.run_state = RunState()

    def _make_parts(self) -> None:
        """Import and make what runs connections, so that the first one does not wait for it."""
        self._responder = self.responder
        for part in ("pages", "rooms", "connections", "budgets"):
            getattr(self.services, part)

    def described_routes(self) -> list[Route]:
        """Return all routes, as `Router.checked_routes`; included applications are checked when they run.

        Raises:
            RegistrationError: a route cannot work, or a method was decorated whose class is no controller.
        """
        self.check_pending()
        return super().checked_routes()

    def checked_routes(self) -> list[Route]:
        """Return all routes, as `Router.checked_routes`, after checks of the included applications.

        Raises:
            RegistrationError: a route or an included application cannot work.
        """
        routes = super().checked_routes()
        check_guests(self.services, find_guests(self))
        return routes

    def match(self, raw_path: str) -> tuple[Route, dict[str, Any]] | None:
        """Return the route for a raw path with its parameters, or None."""
        if len(self._table) != self.route_count():  # some were registered while the application runs
            self._table = self.checked_routes()
        return first_match(self._table, raw_path)


PROVIDED_TYPES[App] = "app"


def _check_sessions(value: object) -> Sessions | None:
    from trio_ws.app.sessions import check_sessions  # noqa: PLC0415 - few applications have sessions

    return check_sessions(value)
