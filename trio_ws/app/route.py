"""Routes with their paths, targets and options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from trio_ws.app.errors import RegistrationError
from trio_ws.app.guards import CONTEXT_KEY, GuardContext, PlannedGuard
from trio_ws.app.listener import Listener
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.body import BodyParameter, find_body_parameter, find_code_parameter
from trio_ws.app.parameters.markers import MISSING
from trio_ws.app.parameters.mistakes import misspelt_path_name
from trio_ws.app.parameters.shadowing import shadowed_annotation
from trio_ws.app.parameters.signature import ParameterSource, Signature
from trio_ws.app.path import DEFAULT_CONVERTERS, PathPattern, segments
from trio_ws.app.route_options import RouteOptions
from trio_ws.blocking.websocket import BlockingWebSocket
from trio_ws.http.request import current_root_path
from trio_ws.runtime.threads import is_plain, underlying

if TYPE_CHECKING:
    from trio_ws.app.guards import Guard
    from trio_ws.app.output import Output
    from trio_ws.app.parameters.overrides import Overrides
    from trio_ws.app.path import Converter
    from trio_ws.app.room_sources import PlannedRoom
    from trio_ws.app.services import AppServices

__all__ = [
    "PROVIDED_TYPES",
    "PlannedCall",
    "Route",
    "RouteOptions",
    "Target",
    "build_path",
    "dependency_types",
    "first_match",
]

Target: TypeAlias = "Callable[..., Any] | Listener"
"""A decorated object, which is a view or the callbacks of a listener."""

BLOCKING_KEY = "blocking_websocket"
"""The key of parameters annotated with `BlockingWebSocket`."""


PROVIDED_TYPES: Final[dict[type[Any], str]] = {GuardContext: CONTEXT_KEY, BlockingWebSocket: BLOCKING_KEY}
"""Classes of the objects that a function may take by annotation, with their keys in `Resolver.given`.

`application` adds `App`, which is made of routes."""


@attrs.frozen(eq=False, repr=False)
class PlannedCall:
    """A function that a route calls, and where its parameters come from.

    Args:
        function: for a controller's method the function of the class, not bound.
        plan: of its parameters.
        method: whether it is a controller's, and gets the instance first.
        blocking: whether it is a plain function that runs in a thread.
        body: the parameter that takes a message.
        code: the parameter that takes the close code.
        output: narrows the replies to messages.
        brief: whether it is a short call where it blocks, as a guard's.
    """

    function: Callable[..., Any]
    signature: Signature
    method: bool
    blocking: bool
    body: BodyParameter | None = None
    code: str | None = None
    output: Output | None = None
    brief: bool = False

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        path_names: Mapping[str, type[Any] | None],
        method: bool,
        where: str,
        takes_body: bool = False,
        takes_code: bool = False,
        inline: bool = False,
    ) -> PlannedCall:
        """Return the planned call of `function`, registered for `where`.

        Raises:
            RegistrationError: there is a parameter without a source, or none can be provided in time.
        """
        # Bound to nothing in particular: the plan is about what comes after `self`.
        shown = MethodType(function, object()) if method else function
        body = find_body_parameter(shown, path_names, PROVIDED_TYPES) if takes_body else None
        code = find_code_parameter(shown, path_names) if takes_code else None
        provided = {name for name in (None if body is None else body.name, code) if name is not None}
        signature = Signature.of(shown, path_names=path_names, provided=provided, types=PROVIDED_TYPES, where=where)
        output = _output_of(shown) if takes_body else None
        call = cls(function, signature, method, is_plain(function) and not inline, body, code, output)
        why = call._find_wait() if inline else call._find_obstacle(takes_body=takes_body)
        if why:
            raise RegistrationError(f"{where}: {signature.label}: {why}")
        return call

    def _find_wait(self) -> str:
        """Return an error for a function that cannot be called inline, with the fix, or ""."""
        if not is_plain(self.function) or inspect.isgeneratorfunction(underlying(self.function)):
            return (
                "inline=True calls it where messages are parsed: make it a plain function that does not wait and does "
                "not yield, or leave inline out"
            )
        if any(each.key == BLOCKING_KEY for each in self.signature.flat()):
            return "inline=True has no thread to wait in: take a WebSocket, and answer with its offer()"
        return ""

    def _find_obstacle(self, *, takes_body: bool) -> str:
        """Return an error for an unfit function, with the fix, or ""."""
        written = underlying(self.function)
        if not takes_body and (inspect.isgeneratorfunction(written) or inspect.isasyncgenfunction(written)):
            return "it yields: only a listener's function for messages may; what is to be left again is for Depends()"
        own = self.signature.parameters if self.blocking else ()
        if any(each.key == BLOCKING_KEY and each not in own for each in self.signature.flat()):
            return "async functions and dependencies take a WebSocket; BlockingWebSocket is for plain functions"
        return ""


def _output_of(function: Callable[..., Any]) -> Output | None:
    """Do as `output_from`, without importing pydantic where no annotation asks for a filter."""
    try:
        annotation = inspect.signature(function).return_annotation
    except Exception:  # an annotation is code; it is logged below
        annotation = Any
    if annotation is None or annotation is inspect.Signature.empty or annotation == "None":
        return None
    from trio_ws.app.output import output_from  # noqa: PLC0415 - it imports pydantic

    return output_from(function)


def dependency_types() -> dict[type[Any], str]:
    """Return the classes whose instances guards and async dependencies may take, with their keys."""
    return {kind: key for kind, key in PROVIDED_TYPES.items() if kind is not BlockingWebSocket}


@attrs.frozen(eq=False)
class Route:
    """A path of an application with its options, guards and function."""

    path: str
    """The path as it was registered, below the prefixes of its routers."""
    pattern: PathPattern
    """The path as it is matched."""
    target: Target
    """The function or class that is called, as it was planned."""
    options: RouteOptions
    """The options of the decorator."""
    guards: tuple[Guard, ...]
    """The application's, then the routers', the controller's, the route's own."""
    controller: type | None = None
    """The class whose method it is; None for a function."""
    converters: Mapping[str, Converter] = attrs.field(default=DEFAULT_CONVERTERS, repr=False)
    """The converters of the pattern; a router that includes the route builds a new pattern with them."""
    services: AppServices | None = attrs.field(default=None, repr=False)
    """Those of the application that it was registered with; None for the outermost router's."""
    _planned_guards: list[PlannedGuard] = attrs.field(factory=list, init=False, repr=False)
    _planned_rooms: list[PlannedRoom] = attrs.field(factory=list, init=False, repr=False)
    _calls: dict[tuple[int, bool, bool], PlannedCall] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """The name for `url_for`: the given one, else the function's."""
        return self.options.name or str(getattr(self.target, "__name__", self.path))

    def view(self) -> PlannedCall:
        """Return the call of a view.

        Raises:
            RegistrationError: there is a parameter without a source.
        """
        return self._call(self.target)

    def receive(self, listener: Listener) -> PlannedCall:
        """Return the call of a listener for a message."""
        return self._call(listener.receive_callback, takes_body=True, inline=listener.options.inline)

    def connect(self, listener: Listener) -> PlannedCall | None:
        """Return the call of a listener when a client has come."""
        function = listener.connect_callback
        return None if function is None else self._call(function)

    def disconnect(self, listener: Listener) -> PlannedCall | None:
        """Return the call of a listener when a client has gone."""
        function = listener.disconnect_callback
        return None if function is None else self._call(function, takes_code=True)

    def planned_guards(self, overrides: Overrides | None = None) -> list[PlannedGuard]:
        """Return how each guard is called.

        Args:
            overrides: substitutes of guards, in tests.

        Raises:
            RegistrationError: one of them cannot be a guard.
        """
        if not self._planned_guards:
            self._planned_guards.extend(map(self._plan_guard, self.guards))
        if overrides is None:
            return self._planned_guards
        substitutes = [overrides.guard(planned.guard) for planned in self._planned_guards]
        return [
            planned if substitute is None else self._plan_guard(*substitute)
            for planned, substitute in zip(self._planned_guards, substitutes, strict=True)
        ]

    def _plan_guard(self, guard: Guard) -> PlannedGuard:
        return PlannedGuard.of(
            guard, path_names=self.pattern.types, types=dependency_types(), where=f"route {self.path!r}"
        )

    def planned_rooms(self) -> list[PlannedRoom]:
        """Return how the rooms of a connection are found.

        Raises:
            RegistrationError: one of them cannot be.
        """
        if self.options.rooms and not self._planned_rooms:
            from trio_ws.app.room_sources import PlannedRoom  # noqa: PLC0415 - it imports the rooms

            where, paths = f"route {self.path!r}", self.pattern.types
            self._planned_rooms.extend(
                PlannedRoom.of(each, path_names=paths, types=dependency_types(), where=where)
                for each in self.options.rooms
            )
        return self._planned_rooms

    def construction(self, controller: type) -> Signature:
        """Return the signature of a controller's constructor.

        It may take parameters and dependencies.

        Raises:
            RegistrationError: the constructor has a parameter without a source.
        """
        return self._call(controller, method=False).signature

    def _call(
        self,
        function: Callable[..., Any],
        *,
        takes_body: bool = False,
        takes_code: bool = False,
        method: bool = True,
        inline: bool = False,
    ) -> PlannedCall:
        key = (id(function), takes_body, takes_code)  # it need not have a hash, and the call keeps it
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = PlannedCall.of(
                function,
                path_names=self.pattern.types,
                where=f"route {self.path!r}",
                method=method and self.controller is not None,
                takes_body=takes_body,
                takes_code=takes_code,
                inline=inline,
            )
        return call

    def check(self) -> None:
        """Raise `RegistrationError` if one of the route's functions cannot be called."""
        own = self.target.receive_callback if isinstance(self.target, Listener) else self.target
        if inspect.isclass(own):
            raise RegistrationError(f"route {self.path!r}: {self.name} is a class: decorate it with @app.controller()")
        if self.controller is not None:
            self._check_annotations(self.controller)
        if isinstance(self.target, Listener):
            self.receive(self.target)
            self.connect(self.target)
            self.disconnect(self.target)
        else:
            self.view()
        self.planned_guards()
        signatures = [call.signature for call in self._calls.values()]
        signatures += [each.signature for each in self.planned_rooms() if each.signature is not None]
        if self.options.rooms and not (self.options.auto_accept or isinstance(self.target, Listener)):
            raise RegistrationError(
                f"route {self.path!r}: {self.name} accepts by itself: await ws.join(room) there, and leave rooms= out"
            )
        if self.controller is not None:
            signatures.append(self.construction(self.controller))
        self._check_path_names(signatures)

    def _check_annotations(self, controller: type) -> None:
        """Refuse annotations of methods that name a method of their class."""
        target = self.target
        callbacks: tuple[Callable[..., Any] | None, ...] = (target,) if not isinstance(target, Listener) else ()
        if isinstance(target, Listener):
            callbacks = (target.receive_callback, target.connect_callback, target.disconnect_callback)
        for function in callbacks:
            if function is not None and (problem := shadowed_annotation(underlying(function), controller)):
                raise RegistrationError(f"route {self.path!r}: {get_label(function)}: {problem}")

    def _check_path_names(self, signatures: Iterable[Signature]) -> None:
        """Refuse a parameter of the query whose name is nearly one of the path that nothing takes."""
        guards = (signature for guard in self.planned_guards() for signature in guard.signatures)
        parameters = [each for signature in (*signatures, *guards) for each in signature.flat()]
        taken = {each.key for each in parameters if each.source is ParameterSource.PATH}
        taken.update(name for each in self.planned_rooms() for name in each.names)
        unused = [name for name in self.pattern.names if name not in taken]
        for each in parameters:
            if each.source is ParameterSource.QUERY and each.default is MISSING and not each.marked:
                problem = misspelt_path_name(each.name, unused)
                if problem:
                    raise RegistrationError(f"route {self.path!r}: {self.name}: parameter {each.name!r}: {problem}")


def build_path(routes: Iterable[Route], services: AppServices, name: str, parameters: Mapping[str, Any]) -> str:
    """Return a named route's path below the `root_path` of the current request.

    Args:
        routes: all routes.
        services: of the application with precedence where a name is not unique.
        name: of the route.
        parameters: of its path.

    Raises:
        LookupError: no route has the name.
        ValueError: a parameter is missing, is not of the path, or does not fit.
    """
    for route in sorted(routes, key=lambda route: route.services is not services):
        if route.name == name:
            return current_root_path.get() + route.pattern.build(**parameters)
    raise LookupError(f"no route is named {name!r}")


def first_match(routes: Iterable[Route], raw_path: str) -> tuple[Route, dict[str, Any]] | None:
    """Return the first route that matches a path, with its parameters.

    Args:
        routes: in the order of the search.
        raw_path: as it travels, percent-encoded, without the query.
    """
    path = segments(raw_path)
    if path is None:
        return None
    for route in routes:
        values = route.pattern.read(path)
        if values is not None:
            return route, values
    return None
