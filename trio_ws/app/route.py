"""Route: a path, what answers it, and the options that hold there. `visit` runs it for one connection."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from trio_ws.app.blocking import BlockingWebSocket
from trio_ws.app.errors import RegistrationError
from trio_ws.app.guards import CONTEXT_KEY, GuardContext, GuardPlan, guards_of
from trio_ws.app.listener import Listener
from trio_ws.app.output import Output, output_of
from trio_ws.app.parameters.body import BodyParameter, body_parameter, code_parameter
from trio_ws.app.parameters.signature import Signature
from trio_ws.app.path import DEFAULT_CONVERTERS, PathPattern, segments
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.serialization import ValueType, resolve_types
from trio_ws.connection.settings import compression_of
from trio_ws.handler.disconnect import WhenPeerLeaves, check_policy
from trio_ws.options import caught_codes, check_text, flag, of_kind, subprotocols_of
from trio_ws.runtime.threads import is_plain, underlying
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES, CaughtCodes

if TYPE_CHECKING:
    from trio_ws.app.application import App
    from trio_ws.app.guards import Guard
    from trio_ws.app.path import Converter

__all__ = ["PlannedCall", "Route", "RouteOptions", "Target", "first_match"]

Target: TypeAlias = "Callable[..., Any] | Listener"
"""What a route is decorated onto: a view, or the callbacks of a listener."""

BLOCKING_KEY = "blocking_websocket"
"""What a plan calls a parameter that is annotated `BlockingWebSocket`."""


@attrs.frozen(kw_only=True)
class RouteOptions:
    """The options of one route, as `Router.websocket` describes them.

    Raises:
        TypeError: an option is of another kind.
        ValueError: a type is unknown, or `value_type` differs from another one.
    """

    receive_type: ValueType | None = None
    send_type: ValueType | None = None
    value_type: ValueType | None = None
    auto_accept: bool = attrs.field(default=True, validator=flag)
    caught_close_codes: CaughtCodes = attrs.field(default=NORMAL_CLOSE_CODES, converter=caught_codes)
    guards: tuple[Guard, ...] = attrs.field(default=(), converter=guards_of)
    when_peer_leaves: WhenPeerLeaves = attrs.field(default="drain", validator=check_policy)
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=subprotocols_of)
    limits: Limits | None = attrs.field(default=None, validator=of_kind(Limits, optional=True))
    timeouts: Timeouts | None = attrs.field(default=None, validator=of_kind(Timeouts, optional=True))
    compression: Compression | bool | None = None
    name: str | None = attrs.field(default=None)

    @name.validator
    def _check_name(self, _: object, value: object) -> None:
        if value is not None:
            check_text("name", value)

    def __attrs_post_init__(self) -> None:
        resolve_types(self.receive_type, self.send_type, self.value_type)
        compression_of(self.compression)


@cache
def given_types() -> Mapping[type[Any], str]:
    """Return the classes whose instances a function may ask for by annotation, with the keys of `Resolver.given`."""
    from trio_ws.app.application import App  # noqa: PLC0415 - it is made of routes

    return {App: "app", GuardContext: CONTEXT_KEY, BlockingWebSocket: BLOCKING_KEY}


@attrs.frozen
class PlannedCall:
    """A function that a route calls, and where its parameters come from.

    Args:
        function: for a controller's method the function of the class, not bound.
        plan: of its parameters.
        method: whether it is a controller's, and gets the instance first.
        blocking: whether it is a plain function, which runs in a thread.
        body: the parameter that takes a message.
        code: the parameter that takes the close code.
        output: narrows the replies to messages.
    """

    function: Callable[..., Any]
    plan: Signature
    method: bool
    blocking: bool
    body: BodyParameter | None = None
    code: str | None = None
    output: Output | None = None

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
    ) -> PlannedCall:
        """Plan the call of `function`, which is registered for `where`.

        Raises:
            RegistrationError: there is a parameter that nobody provides, or none can be provided in time.
        """
        # Bound to nothing in particular: the plan is about what comes after `self`.
        shown = MethodType(function, object()) if method else function
        body = body_parameter(shown, path_names, given_types()) if takes_body else None
        code = code_parameter(shown, path_names) if takes_code else None
        provided = {name for name in (None if body is None else body.name, code) if name is not None}
        plan = Signature.of(shown, path_names=path_names, provided=provided, types=given_types(), where=where)
        output = output_of(shown) if takes_body else None
        call = cls(function, plan, method, is_plain(function), body, code, output)
        why = call._unfit(takes_body=takes_body, takes_code=takes_code)
        if why:
            raise RegistrationError(f"{where}: {plan.label}: {why}")
        return call

    def _unfit(self, *, takes_body: bool, takes_code: bool) -> str:
        """Say why the function cannot be called for what it is registered, with the fix; "" if it can."""
        written = underlying(self.function)
        if not takes_body and (inspect.isgeneratorfunction(written) or inspect.isasyncgenfunction(written)):
            return "it yields: only a listener's function for messages may; what is to be left again is for Depends()"
        own = self.plan.parameters if self.blocking else ()
        if any(each.key == BLOCKING_KEY and each not in own for each in self.plan.flat()):
            return "async functions and dependencies take a WebSocket; BlockingWebSocket is for plain functions"
        if takes_code and any(each.dependency is not None and each.dependency.entered for each in self.plan.flat()):
            return "what it depends on is left before on_disconnect is called: enter it in the function itself"
        return ""


@attrs.frozen(eq=False)
class Route:
    """One path of an application, with everything from the application down to the function."""

    path: str
    pattern: PathPattern
    target: Target
    options: RouteOptions
    guards: tuple[Guard, ...]
    """The application's, then the routers', the controller's, the route's own."""
    controller: type | None = None
    converters: Mapping[str, Converter] = attrs.field(default=DEFAULT_CONVERTERS, repr=False)
    """What the pattern was made with: a router that includes the route makes it anew."""
    app: App | None = attrs.field(default=None, repr=False)
    """The application that it was registered with; None for that of the outermost router."""
    _guard_plans: list[GuardPlan] = attrs.field(factory=list, init=False, repr=False)
    _calls: dict[tuple[int, bool, bool], PlannedCall] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """What `url_for` knows the route by: the given name, else the function's."""
        return self.options.name or str(getattr(self.target, "__name__", self.path))

    def view(self) -> PlannedCall:
        """Return the call of a view.

        Raises:
            RegistrationError: there is a parameter that nobody provides.
        """
        return self._call(self.target)

    def receive(self, listener: Listener) -> PlannedCall:
        """Return the call of a listener for a message."""
        return self._call(listener.receive_callback, takes_body=True)

    def connect(self, listener: Listener) -> PlannedCall | None:
        """Return the call of a listener when a client has come."""
        function = listener.connect_callback
        return None if function is None else self._call(function)

    def disconnect(self, listener: Listener) -> PlannedCall | None:
        """Return the call of a listener when a client has gone."""
        function = listener.disconnect_callback
        return None if function is None else self._call(function, takes_code=True)

    def guard_plans(self) -> list[GuardPlan]:
        """Return how each guard is called.

        Raises:
            RegistrationError: one of them cannot be a guard.
        """
        if not self._guard_plans:
            types = {kind: key for kind, key in given_types().items() if kind is not BlockingWebSocket}
            self._guard_plans.extend(
                GuardPlan.of(guard, path_names=self.pattern.types, types=types, where=f"route {self.path!r}")
                for guard in self.guards
            )
        return self._guard_plans

    def construction(self, controller: type) -> Signature:
        """Return the plan of making a controller: its constructor may take parameters and dependencies.

        Raises:
            RegistrationError: the constructor has a parameter that nobody provides.
        """
        return self._call(controller, method=False).plan

    def _call(
        self,
        function: Callable[..., Any],
        *,
        takes_body: bool = False,
        takes_code: bool = False,
        method: bool = True,
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
            )
        return call

    def check(self) -> None:
        """Raise `RegistrationError` if one of the route's functions cannot be called."""
        if inspect.isclass(self.target):
            raise RegistrationError(f"route {self.path!r}: {self.name} is a class: decorate it with @app.controller()")
        if isinstance(self.target, Listener):
            self.receive(self.target)
            self.connect(self.target)
            self.disconnect(self.target)
        else:
            self.view()
        self.guard_plans()
        if self.controller is not None:
            self.construction(self.controller)


def first_match(routes: Iterable[Route], raw_path: str) -> tuple[Route, dict[str, Any]] | None:
    """Return the first route that a path matches, with the values of its parameters; the path is taken apart once.

    Args:
        routes: in the order in which they are asked.
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
