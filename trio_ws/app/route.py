"""Route: a path, what answers it, and the options that hold there. `visit` runs it for one connection."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from trio_ws.app.blocking import BlockingWebSocket
from trio_ws.app.body import BodyParameter, body_parameter, code_parameter
from trio_ws.app.guards import CONTEXT_KEY, GuardContext, GuardPlan
from trio_ws.app.listener import Listener
from trio_ws.app.path import PathPattern
from trio_ws.app.problems import RegistrationError
from trio_ws.app.signature import Plan
from trio_ws.codec import ValueType, resolve_types
from trio_ws.websocket import GOOD_CODES, CaughtCodes

if TYPE_CHECKING:
    from trio_ws.app.guards import Guard
    from trio_ws.config import Compression, Limits, Timeouts
    from trio_ws.disconnect import WhenPeerLeaves

__all__ = ["Call", "Route", "RouteOptions", "Target"]

Target: TypeAlias = "Callable[..., Any] | Listener"
"""What a route is decorated onto: a view, or the callbacks of a listener."""

BLOCKING_KEY = "blocking_websocket"
"""What a plan calls a parameter that is annotated `BlockingWebSocket`."""


def _guards(guards: Iterable[Guard]) -> tuple[Guard, ...]:
    return tuple(guards)


def _names(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"subprotocols takes a list of names: write subprotocols=[{names!r}]")
    return tuple(names)


@attrs.frozen(kw_only=True)
class RouteOptions:
    """The options of one route, as `Router.websocket` describes them.

    Raises:
        ValueError: a type is unknown, or `value_type` differs from another one.
    """

    receive_type: ValueType | None = None
    send_type: ValueType | None = None
    value_type: ValueType | None = None
    auto_accept: bool = True
    caught_close_codes: CaughtCodes = GOOD_CODES
    guards: tuple[Guard, ...] = attrs.field(default=(), converter=_guards)
    when_peer_leaves: WhenPeerLeaves = attrs.field(
        default="drain", validator=attrs.validators.in_(("drain", "cancel", "finish"))
    )
    subprotocols: tuple[str, ...] = attrs.field(default=(), converter=_names)
    limits: Limits | None = None
    timeouts: Timeouts | None = None
    compression: Compression | bool | None = None
    name: str | None = None

    def __attrs_post_init__(self) -> None:
        resolve_types(self.receive_type, self.send_type, self.value_type)


@cache
def given_types() -> Mapping[type[Any], str]:
    """Return the classes whose instances a function may ask for by annotation, with the keys of `Resolver.given`."""
    from trio_ws.app.application import App  # noqa: PLC0415 - it is made of routes

    return {App: "app", GuardContext: CONTEXT_KEY, BlockingWebSocket: BLOCKING_KEY}


@attrs.frozen
class Call:
    """A function that a route calls, and where its parameters come from.

    Args:
        function: for a controller's method the function of the class, not bound.
        plan: of its parameters.
        method: whether it is a controller's, and gets the instance first.
        body: the parameter that takes a message.
        code: the parameter that takes the close code.
    """

    function: Callable[..., Any]
    plan: Plan
    method: bool
    body: BodyParameter | None = None
    code: str | None = None

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
    ) -> Call:
        """Plan the call of `function`, which is registered for `where`.

        Raises:
            RegistrationError: there is a parameter that nobody provides.
        """
        # Bound to nothing in particular: the plan is about what comes after `self`.
        shown = MethodType(function, object()) if method else function
        body = body_parameter(shown, path_names) if takes_body else None
        code = code_parameter(shown, path_names) if takes_code else None
        provided = {name for name in (None if body is None else body.name, code) if name is not None}
        plan = Plan.of(shown, path_names=path_names, provided=provided, types=given_types(), where=where)
        call = cls(function, plan, method, body, code)
        if not call.blocking and any(parameter.key == BLOCKING_KEY for parameter in plan.parameters):
            raise RegistrationError(
                f"{where}: {plan.label}: an async function takes a WebSocket; BlockingWebSocket is for plain functions"
            )
        return call

    @property
    def blocking(self) -> bool:
        """Whether it is a plain function, which runs in a thread."""
        function = inspect.unwrap(self.function)
        return not (
            inspect.iscoroutinefunction(function)
            or inspect.isasyncgenfunction(function)
            or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - an object with one
        )


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
    _guard_plans: list[GuardPlan] = attrs.field(factory=list, init=False, repr=False)
    _calls: dict[Callable[..., Any], Call] = attrs.field(factory=dict, init=False, repr=False)

    @property
    def name(self) -> str:
        """What `url_for` knows the route by: the given name, else the function's."""
        return self.options.name or str(getattr(self.target, "__name__", self.path))

    def view(self) -> Call:
        """Return the call of a view.

        Raises:
            RegistrationError: there is a parameter that nobody provides.
        """
        return self._call(self.target)

    def receive(self, listener: Listener) -> Call:
        """Return the call of a listener for a message."""
        return self._call(listener.receive_callback, takes_body=True)

    def connect(self, listener: Listener) -> Call | None:
        """Return the call of a listener when a client has come."""
        function = listener.connect_callback
        return None if function is None else self._call(function)

    def disconnect(self, listener: Listener) -> Call | None:
        """Return the call of a listener when a client has gone."""
        function = listener.disconnect_callback
        return None if function is None else self._call(function, takes_code=True)

    def guard_plans(self) -> list[GuardPlan]:
        """Return how each guard is called.

        Raises:
            RegistrationError: one of them cannot be a guard.
        """
        if not self._guard_plans:
            self._guard_plans.extend(
                GuardPlan.of(guard, path_names=self.pattern.types, types=given_types(), where=f"route {self.path!r}")
                for guard in self.guards
            )
        return self._guard_plans

    def construction(self, controller: type) -> Plan:
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
    ) -> Call:
        call = self._calls.get(function)
        if call is None:
            call = self._calls[function] = Call.of(
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
        if isinstance(self.target, Listener):
            self.receive(self.target)
            self.connect(self.target)
            self.disconnect(self.target)
        else:
            self.view()
        self.guard_plans()
        if self.controller is not None:
            self.construction(self.controller)
