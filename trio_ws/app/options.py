"""Names of route options, and checks of an application's options."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict

from trio_ws.app.errors import RegistrationError
from trio_ws.app.guards import Guard
from trio_ws.app.path import DEFAULT_CONVERTERS, Converter
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.serialization import ValueType
from trio_ws.handler.disconnect import WhenPeerLeaves
from trio_ws.options import unknown_hint
from trio_ws.websocket.close_code import CaughtCodes

if TYPE_CHECKING:
    from trio_ws.app.budgets import Budget
    from trio_ws.app.room_sources import RoomSource

__all__ = [
    "Lifespan",
    "RouteKeywords",
    "SpecOptions",
    "check_callback",
    "check_names",
    "parse_converters",
    "parse_lifespan",
]

_ELSEWHERE: Final = {
    "use_extra_handler": "register the function with @app.listener() instead, and its callbacks with on_connect and "
    "on_disconnect",
    "encoding": "it is an option of @app.listener(); a view has receive_type=, send_type= and value_type=",
    "on_invalid": "it is an option of @app.listener()",
    "concurrency": "it is an option of @app.listener()",
    "reference": "it is an option of @app.listener()",
    "inline": "it is an option of @app.listener(); a view has ws.call_for_each_message()",
    "when_full": "it is an option of @app.listener(inline=True); a view has ws.call_for_each_message()",
    "dependencies": "take them as parameters, with Depends()",
    "methods": "a WebSocket begins with GET; app.page() answers other GETs",
    "origins": "it is an option of the App",
    "sessions": "it is an option of the App",
}
"""Hints for options of other frameworks or of other objects."""
_CALLBACKS: Final = ("on_connect", "on_disconnect")
"""Callbacks of listeners, which are no options."""
_OF_LISTENERS: Final = ("encoding", "on_invalid", "concurrency", "reference", "inline", "when_full")


class RouteKeywords(TypedDict, total=False):
    """The options of a route; `RouteOptions` holds them with their defaults."""

    receive_type: ValueType | None
    send_type: ValueType | None
    value_type: ValueType | None
    auto_accept: bool
    caught_close_codes: CaughtCodes
    guards: Iterable[Guard]
    when_peer_leaves: WhenPeerLeaves
    subprotocols: Iterable[str]
    limits: Limits | None
    timeouts: Timeouts | None
    compression: Compression | bool | None
    name: str | None
    budget: Budget | Iterable[Budget] | None
    receives: Any
    sends: Any
    close_codes: Mapping[int, str]
    rooms: Iterable[RoomSource]


class SpecOptions(TypedDict, total=False):
    """The options of `App.asyncapi`."""

    title: str
    version: str
    description: str
    servers: Mapping[str, str]


Lifespan: TypeAlias = "Callable[[Any], AbstractAsyncContextManager[object] | AsyncIterator[object]]"
"""Makes, of the application, a context that is open while it runs."""


def check_names(given: Iterable[str], decorator: str) -> None:
    """Refuse options that a route has not.

    Raises:
        RegistrationError: with the option that was meant, or what to do instead.
    """
    for name in given:
        if name not in RouteKeywords.__annotations__:
            hint = _callback_hint(name, decorator) if name in _CALLBACKS else _ELSEWHERE.get(name)
            known = [*RouteKeywords.__annotations__, *(_OF_LISTENERS if decorator == "listener" else ())]
            why = f": {hint}" if hint else unknown_hint(name, known)
            raise RegistrationError(f"@{decorator} has no option {name!r}{why}")


def _callback_hint(name: str, decorator: str) -> str:
    if decorator == "listener":
        return f"decorate a function with @name.{name}, by the name of the listener"
    here = "in its function before it receives" if name == "on_connect" else "in a finally block of its function"
    return f"a view does that {here}, or in a dependency that yields; @app.listener() functions have @name.{name}"


def parse_converters(given: Mapping[str, Converter] | None) -> dict[str, Converter]:
    """Return the converters of `converters=` and the built-in ones.

    Raises:
        TypeError: it is no mapping from names to converters.
    """
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"converters takes a mapping from names to Converter(...), not {given!r}")
    for name, converter in (given or {}).items():
        if not isinstance(name, str) or not isinstance(converter, Converter):
            raise TypeError(f"converters takes a mapping from names to Converter(...), and {name!r} is {converter!r}")
    return {**DEFAULT_CONVERTERS, **(given or {})}


def parse_lifespan(given: Any) -> Callable[[Any], AbstractAsyncContextManager[object]] | None:
    """Return the context manager function of a `lifespan=` argument.

    Raises:
        TypeError: its result cannot be entered, or it does not take the application.
    """
    if given is None:
        return None
    if not callable(given):
        raise TypeError(f"lifespan takes a function of the application that yields once, not {given!r}")
    if inspect.isgeneratorfunction(given) or inspect.iscoroutinefunction(given):
        raise TypeError(f"lifespan {given.__qualname__} must be an `async def` that yields once")
    check_callback("lifespan", given, "the application")
    return asynccontextmanager(given) if inspect.isasyncgenfunction(given) else given


def check_callback(name: str, function: Any, *arguments: str) -> None:
    """Refuse what cannot be called with so many arguments.

    Raises:
        TypeError: it names the arguments.
    """
    takes = f"{name} takes a function that is called with {' and '.join(arguments)}"
    if not callable(function):
        raise TypeError(f"{takes}, not {function!r}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of something built in
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(f"{takes}: {function!r} is none ({error})") from None
