"""Controllers, which are classes with routes as methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from trio_ws.app.errors import RegistrationError

if TYPE_CHECKING:
    from trio_ws.app.guards import Guard, GuardContext
    from trio_ws.app.route import RouteOptions, Target
    from trio_ws.http.request import Request
    from trio_ws.websocket.websocket import WebSocket

__all__ = [
    "Controller",
    "ControllerOptions",
    "RouteDefinition",
    "declare",
    "define_route",
    "get_options",
    "in_class_body",
    "note_registered",
    "route_definitions",
]

T = TypeVar("T")

_ROUTE_DEFINITIONS: Final = "__trio_ws_routes__"
_OPTIONS: Final = "__trio_ws_controller__"
_REGISTERED: Final = "__trio_ws_registered__"


class Controller:
    """An optional base class for controllers.

    Attributes:
        websocket: the connection; set before a route's method is called.
        request: the request of the handshake.
        context: the guards' argument; `self.context.switch_to_websocket().get_client()` is the connection.
    """

    websocket: WebSocket
    request: Request
    context: GuardContext


@attrs.frozen(eq=False, repr=False)
class ControllerOptions:
    """Options that decorators give a class, wherever it is registered."""

    prefix: str | None
    """Begins the paths of its methods, None if two decorators differ: each registration then names its own."""
    guards: tuple[Guard, ...]


def declare(controller: type, options: ControllerOptions) -> None:
    """Store a decorator's options on a class, beside those of lower decorators.

    Raises:
        RegistrationError: the class, or one derived from it, is registered already, and these guards would not hold
            there.
    """
    before: ControllerOptions | None = vars(controller).get(_OPTIONS)
    guards = () if before is None else before.guards
    if _is_registered(controller) and any(guard not in guards for guard in options.guards):
        raise RegistrationError(
            f"controller {controller.__qualname__} is registered already, without the guards of this decorator: give "
            "them to the first decorator (the lowest), or for one place alone to add_controller(..., guards=[...])"
        )
    if before is not None:
        added = tuple(guard for guard in options.guards if guard not in guards)
        prefix = before.prefix if before.prefix == options.prefix else None
        options = ControllerOptions(prefix, (*guards, *added))
    setattr(controller, _OPTIONS, options)


def note_registered(controller: type) -> None:
    """Record that a router has registered a class with its current guards."""
    setattr(controller, _REGISTERED, True)


def _is_registered(controller: type) -> bool:
    return _REGISTERED in vars(controller) or any(map(_is_registered, type.__subclasses__(controller)))


def get_options(controller: type) -> ControllerOptions:
    """Return the prefix and the guards that decorators gave a class.

    The prefix is the nearest decorator's. The guards of base classes come first.
    """
    prefix: str | None = ""
    guards: dict[int, Guard] = {}
    for owner in reversed(controller.__mro__):
        declared: ControllerOptions | None = vars(owner).get(_OPTIONS)
        if declared is not None:
            prefix = declared.prefix
            guards.update((id(guard), guard) for guard in declared.guards)
    return ControllerOptions(prefix, tuple(guards.values()))


@attrs.frozen(eq=False, repr=False)
class RouteDefinition:
    """A method marked as a route, of a future controller."""

    path: str
    target: Target
    options: RouteOptions


def in_class_body(function: Callable[..., Any]) -> bool:
    """Return True if `function` is being defined in a running class body."""
    parent = getattr(function, "__qualname__", "").rpartition(".")[0]
    if not parent or parent.endswith("<locals>"):
        return False
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_qualname != parent:
        frame = frame.f_back
    return frame is not None


def define_route(function: Callable[..., Any], path: str, target: Target, options: RouteOptions) -> None:
    """Note on a method that it is a route of its class.

    Raises:
        RegistrationError: it cannot be called on an instance.
    """
    _check_method(function)
    function.__dict__.setdefault(_ROUTE_DEFINITIONS, []).append(RouteDefinition(path, target, options))


def route_definitions(controller: type) -> list[RouteDefinition]:
    """Return the routes of a class, its bases' first, overridden methods' not.

    Raises:
        RegistrationError: there are none, or one cannot be called on an instance.
    """
    found: dict[str, list[RouteDefinition]] = {}
    for owner in reversed(controller.__mro__):
        for name, member in list(vars(owner).items()):
            marked = member
            if callable(member) or isinstance(member, classmethod):
                marked = inspect.unwrap(member, stop=lambda each: hasattr(each, _ROUTE_DEFINITIONS))
            found[name] = [*getattr(marked, _ROUTE_DEFINITIONS, ())]
            if found[name]:
                _check_method(member)
                _check_undecorated(controller, name, member, found[name])
    definitions = [each for listed in found.values() for each in listed]
    if not definitions:
        raise RegistrationError(
            f"controller {controller.__qualname__} has no routes: decorate its methods with @websocket or @listener"
        )
    if not controller.__dictoffset__:
        raise RegistrationError(
            f"controller {controller.__qualname__} has __slots__, none for the connection: derive it from Controller"
        )
    return definitions


def _check_undecorated(controller: type, name: str, member: object, definitions: list[RouteDefinition]) -> None:
    """Refuse a method with another decorator above that of its route.

    The route would skip that decorator, which may be a guard.
    """
    if any(each.target is not member for each in definitions):
        raise RegistrationError(
            f"{controller.__qualname__}.{name}: a decorator stands above @websocket or @listener, and its route would "
            "go without it: put it below"
        )


def _check_method(member: object) -> None:
    if isinstance(member, staticmethod | classmethod):
        raise RegistrationError(
            f"{member.__qualname__} is a {type(member).__name__}: a controller's routes are plain methods"
        )
