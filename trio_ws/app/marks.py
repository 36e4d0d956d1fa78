"""Decorators that mark a controller's methods as routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from trio_ws.app.controller import define_route
from trio_ws.app.errors import RegistrationError
from trio_ws.app.listener import Listener
from trio_ws.app.listener_options import ListenerOptions, OnInvalid
from trio_ws.app.options import check_names
from trio_ws.app.route import RouteOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from trio_ws.app.options import RouteKeywords
    from trio_ws.connection.serialization import ValueType
    from trio_ws.options import WhenFull

__all__ = ["check_path", "chosen_options", "listener", "websocket"]

F = TypeVar("F", bound=Callable[..., Any])


def websocket(path: str, **options: Unpack[RouteKeywords]) -> Callable[[F], F]:
    """Mark a controller's method as a view; see `Router.websocket`."""
    chosen = chosen_options(path, options, "websocket")

    def decorate(function: F) -> F:
        define_route(function, path, function, chosen)
        return function

    return decorate


def listener(
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
    """Mark a controller's method as a listener; see `Router.listener`."""
    chosen = chosen_options(path, options, "listener")
    treatment = ListenerOptions(
        encoding=encoding,
        on_invalid=on_invalid,
        concurrency=concurrency,
        reference=reference,
        inline=inline,
        when_full=when_full,
    )

    def decorate(function: Callable[..., Any]) -> Listener:
        made = Listener(function, treatment)
        define_route(function, path, made, chosen)
        return made

    return decorate


def chosen_options(path: object, options: RouteKeywords, decorator: str) -> RouteOptions:
    """Return the options of a route; guards may be an iterator."""
    check_path(path, decorator)
    check_names(options, decorator)
    return RouteOptions(**options)


def check_path(path: object, decorator: str) -> None:
    """Refuse a decorator without a path.

    Raises:
        RegistrationError: it is no text.
    """
    if not isinstance(path, str):
        raise RegistrationError(f'@{decorator} takes a path: write @{decorator}("/path"), not {path!r}')
