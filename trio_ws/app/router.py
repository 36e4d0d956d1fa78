"""Collections of routes below a prefix and behind guards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from trio_ws.app.controller import (
    ControllerOptions,
    declare,
    define_route,
    get_options,
    in_class_body,
    note_registered,
    route_definitions,
)
from trio_ws.app.errors import RegistrationError
from trio_ws.app.guards import parse_guards
from trio_ws.app.listener import Listener
from trio_ws.app.listener_options import ListenerOptions, OnInvalid
from trio_ws.app.marks import check_path, chosen_options
from trio_ws.app.options import parse_converters
from trio_ws.app.other_names import hint_for
from trio_ws.app.parameters.kinds import is_model_class
from trio_ws.app.path import PathPattern
from trio_ws.app.route import Route, RouteOptions, Target
from trio_ws.options import check_text

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trio_ws.app.guards import Guard
    from trio_ws.app.options import RouteKeywords
    from trio_ws.app.path import Converter
    from trio_ws.app.services import AppServices
    from trio_ws.connection.serialization import ValueType
    from trio_ws.options import WhenFull

__all__ = ["Router"]

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)


def _check_prefix(prefix: str) -> None:
    check_text("prefix", prefix)
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise ValueError(f"a prefix begins with a slash and does not end with one, unlike {prefix!r}")


def _check_controller(controller: object) -> None:
    if not isinstance(controller, type):
        raise RegistrationError(f"a controller is a class, not {controller!r}: it is made anew for each connection")
    if is_model_class(controller):
        raise RegistrationError(
            f"controller {controller.__qualname__} is a pydantic model: derive it from Controller, and give it the "
            "model by Depends() or as the body of a listener"
        )


class Router:
    """Routes below one prefix.

    Args:
        prefix: begins every path, `""` for none.
        guards: stand before the guards of every route in it.
        converters: of path parameters, by name, beside the built-in ones.

    Raises:
        ValueError: the prefix does not begin with a slash, or ends with one.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        guards: Iterable[Guard] = (),
        converters: Mapping[str, Converter] | None = None,
    ) -> None:
        _check_prefix(prefix)
        self.prefix: str = prefix
        self.included: list[tuple[str, Router]] = []
        """The included routers, with the prefixes that they are included below."""
        self.services: AppServices | None = None
        """The application's, if the router is an `App`."""
        self._guards = parse_guards(guards)
        self._converters = parse_converters(converters)
        self._routes: list[Route] = []
        self._pending: list[Callable[..., Any]] = []

    if not TYPE_CHECKING:  # type checkers shall report names that are not there

        def __getattr__(self, name: str) -> Any:
            """Refuse a name, with what has it here if another framework has it."""
            text = f"{type(self).__name__!r} object has no attribute {name!r}{hint_for(name)}"
            raise AttributeError(text, name=name, obj=self)

    # --- registering ---------------------------------------------------------------------------------------------

    def websocket(self, path: str, **options: Unpack[RouteKeywords]) -> Callable[[F], F]:
        """Register a view, a function called once for each connection to `path`.

        It is `async def`, or plain `def` to run in a worker thread on a blocking connection. Its parameters come from
        the path, the query and the dependencies, by name and annotation; one that is annotated `WebSocket`, or the
        first if it has no annotation, is the connection.

        Args:
            path: with parameters in braces, `/chat/{channel}` or `/rooms/{room_id:int}`.
            options: `receive_type=`, `send_type=`, `value_type=` ("json", "text", "bytes"): the type of messages for
                `ws.receive` and `ws.send`; `auto_accept=False`: the view accepts or rejects itself;
                `caught_close_codes=`: which ends of the connection are no errors; `guards=`; `when_peer_leaves=`
                "drain", "cancel" or "finish"; `subprotocols=`; `limits=`, `timeouts=`, `compression=` where they
                differ from the application's; `name=` for `url_for`; `budget=`, a `Budget` or several;
                `rooms=[...]`, of which each connection is a member until its handler has ended: rooms, names with
                parameters of the path, `"board:{board_id}"`, and functions, with parameters as the handler's, that
                return these or `room.join(ws, user=...)`;
                `receives=` and `sends=`, types of messages, and `close_codes=`, codes with their meaning, for
                `App.asyncapi`.

        Raises:
            RegistrationError: the path or a parameter cannot work, or the path is taken.
            ValueError: an option makes no sense.
        """
        chosen = chosen_options(path, options, "websocket")

        def register(function: F) -> F:
            if in_class_body(function):
                define_route(function, path, function, chosen)
                self._pending.append(function)
            else:
                self._add(path, function, chosen)
            return function

        return register

    websocket_route = websocket

    def listener(
        self,
        path: str,
        *,
        encoding: ValueType = "json",
        on_invalid: OnInvalid = "reply",
        concurrency: int = 1,
        reference: str | None = None,
        inline: bool = False,
        when_full: WhenFull = "pause",
        **options: Unpack[RouteKeywords],
    ) -> Callable[[Callable[..., Any]], Listener]:
        """Register a listener, a function called with each validated message.

        Its result is the reply, and so is a `Reply` that it raises. The decorated name becomes a `Listener` with
        decorators for the other callbacks.

        Args:
            path: as of `websocket`.
            encoding: "json", "text" or "bytes": the type of messages. Others close with 1003.
            on_invalid: the answer to an invalid message: "reply" sends the error list and goes
                on, "close" sends it and closes with 1007, a function makes the reply from the `ParameterError`, or from
                that and the message: its value, or the text or bytes if that is not JSON.
            concurrency: messages that are worked on at once; replies leave in the order of the messages.
            reference: the name of a member of requests, a number or a text of at most 256 characters, that every reply
                and error to the request repeats; a reply that is no object goes beside it as "body".
            inline: call a plain function that does not wait in the turn of the loop in which its message was parsed,
                without a task or a thread; all connections wait meanwhile. `docs/callbacks.md` says when to use it.
            when_full: of an inline listener, while the outbox is full: "pause" does not call it, and reads the peer no
                further; "call" calls it, and a reply without room is dropped.
            options: as of `websocket`. With `auto_accept=False`, `on_connect` runs before the handshake is answered,
                and the connection is accepted after it unless it was answered.

        Raises:
            RegistrationError: the path or a parameter cannot work, the path is taken, or an inline function would
                wait: it is `async`, yields, or takes a `BlockingWebSocket`.
            ValueError: an option makes no sense.
        """
        chosen = chosen_options(path, options, "listener")
        treatment = ListenerOptions(
            encoding=encoding,
            on_invalid=on_invalid,
            concurrency=concurrency,
            reference=reference,
            inline=inline,
            when_full=when_full,
        )

        def register(function: Callable[..., Any]) -> Listener:
            made = Listener(function, treatment)
            if in_class_body(function):
                define_route(function, path, made, chosen)
                self._pending.append(function)
            else:
                self._add(path, made, chosen)
            return made

        return register

    def controller(self, prefix: str = "", *, guards: Iterable[Guard] = ()) -> Callable[[C], C]:
        """Register a class with views and listeners as methods.

        Each connection has its own instance. The prefix and the guards belong to the class: they hold wherever else it
        is registered, and for classes that are derived from it.

        Args:
            prefix: begins the paths of its methods.
            guards: stand before the guards of its methods.

        Raises:
            RegistrationError: it has no routes, or one of them cannot work; or it was registered without these guards.
            ValueError: the prefix does not begin with a slash, or ends with one.
        """
        check_path(prefix, "controller")
        _check_prefix(prefix)
        options = ControllerOptions(prefix, parse_guards(guards))

        def register(controller: C) -> C:
            _check_controller(controller)
            route_definitions(controller)
            declare(controller, options)
            self.add_controller(controller, prefix)
            return controller

        return register

    def add_controller(self, controller: type, prefix: str | None = None, *, guards: Iterable[Guard] = ()) -> None:
        """Register a class, decorated or not; see `controller`.

        Args:
            controller: the class.
            prefix: begins the paths of its methods in this router, instead of the prefix that its decorator gave; None
                for that one.
            guards: stand between the guards of its decorators and those of its methods, in this router only.

        Raises:
            RegistrationError: it has no routes, or one of them cannot work; or decorators give it several prefixes.
            ValueError: the prefix does not begin with a slash, or ends with one.
        """
        _check_controller(controller)
        declared = get_options(controller)
        if prefix is None:
            prefix = declared.prefix
        if prefix is None:
            raise RegistrationError(
                f"controller {controller.__qualname__} has several prefixes: name one, add_controller(cls, '/prefix')"
            )
        _check_prefix(prefix)
        every = (*declared.guards, *parse_guards(guards))
        for each in route_definitions(controller):
            function = each.target.receive_callback if isinstance(each.target, Listener) else each.target
            self._pending = [method for method in self._pending if method is not function]
            self._add(prefix + each.path, each.target, each.options, every, controller)
        note_registered(controller)

    def include(self, router: Router, prefix: str = "") -> None:
        """Include the routes of another router, also those that it gets later.

        An `App` brings its pages, its lifespan, and for its own routes its state, `close_on`, `on_error` and sessions.

        Args:
            router: behind this one's guards.
            prefix: put before the other's own.

        Raises:
            RegistrationError: a path is taken, a route cannot work below the prefix, or the routers include each other;
                or an `App` has options that hold for a whole server, and differ from those of the including one.
            ValueError: the prefix does not begin with a slash, or ends with one.
        """
        _check_prefix(prefix)
        if not isinstance(router, Router):
            raise RegistrationError(f"include() takes a Router or an App, not {router!r}")
        if self in router._with_included():
            raise RegistrationError("a router cannot be included in itself, nor in one that it includes")
        self.included.append((prefix, router))
        try:
            self.checked_routes()
        except RegistrationError:
            self.included.pop()
            raise

    def _add(
        self,
        path: str,
        target: Target,
        options: RouteOptions,
        guards: tuple[Guard, ...] = (),
        controller: type | None = None,
    ) -> None:
        path = self.prefix + path
        guards = (*self._guards, *guards, *options.guards)
        pattern = PathPattern(path, self._converters)
        route = Route(path, pattern, target, options, guards, controller, self._converters, self.services)
        route.check()
        self._routes.append(route)
        try:
            self._check_paths()
        except RegistrationError:
            self._routes.pop()
            raise
        if isinstance(target, Listener):
            target.checks.append(route.check)

    # --- what is registered --------------------------------------------------------------------------------------

    def routes(self) -> Iterator[Route]:
        """Yield all routes, included ones too, with full paths and guards."""
        yield from self._routes
        for prefix, router in self.included:
            for route in router.routes():
                yield self._within(route, prefix)

    def _within(self, route: Route, prefix: str) -> Route:
        path = self.prefix + prefix + route.path
        converters = {**self._converters, **route.converters}
        pattern, guards = PathPattern(path, converters), (*self._guards, *route.guards)
        services = route.services or self.services
        return attrs.evolve(route, path=path, pattern=pattern, guards=guards, converters=converters, services=services)

    def _with_included(self) -> Iterator[Router]:
        yield self
        for _, router in self.included:
            yield from router._with_included()

    def route_count(self) -> int:
        """Return how many `routes` there are."""
        return sum(len(router._routes) for router in self._with_included())

    def checked_routes(self) -> list[Route]:
        """Return all routes, checked and prepared for connections.

        Raises:
            RegistrationError: one cannot work where its router is included, or two match the same paths.
        """
        self._check_paths()
        routes = list(self.routes())
        for route in routes:
            route.check()
        return routes

    def _check_paths(self) -> None:
        seen: dict[object, Route] = {}
        for route in self.routes():
            other = seen.setdefault(route.pattern.shape, route)
            if other is not route:
                raise RegistrationError(
                    f"two routes match the same paths: {other.path!r} ({other.name}) and {route.path!r} ({route.name})"
                )

    def check_pending(self) -> None:
        """Raise `RegistrationError` if a route's class never became a controller."""
        pending = [method for router in self._with_included() for method in router._pending]
        if pending:
            names = ", ".join(sorted(method.__qualname__ for method in pending))
            raise RegistrationError(f"{names}: decorate the class with @app.controller() to make its methods routes")
