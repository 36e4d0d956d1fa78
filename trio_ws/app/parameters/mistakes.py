"""Explanations of annotations and defaults that are no types and no values, but markers in the wrong place.

Each function returns the message for one parameter, with the fix; "" if it is in order.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, Final

from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.markers import (
    Body,
    BodyMarker,
    Cookie,
    Depends,
    DependsMarker,
    Form,
    Header,
    Marker,
    Path,
    Query,
    RefusedMarker,
    ValueMarker,
    WsBody,
)

__all__ = ["REQUEST_NAMES", "annotation_mistake", "bare_mistake", "default_mistake", "misspelt_path_name"]

REQUEST_NAMES: Final = frozenset({"request", "req", "_request", "r", "_"})
"""Names of a second parameter without annotation that takes the request."""

_UNCALLED: Final = (Query, Header, Cookie, Path, Depends, WsBody, Body, Form)
_FOREIGN: Final = ("fastapi", "starlette", "litestar", "quart", "sanic", "websockets", "aiohttp", "ellar")
"""Libraries whose markers and connections programs are moved from."""
_SIMILAR: Final = 0.8
"""From 0 to 1: one letter of five differs."""


def annotation_mistake(annotation: Any, metadata: Collection[Any]) -> str:
    """Explain an annotation that is a marker or a function, or whose metadata are."""
    if isinstance(annotation, Marker):
        call = _call(annotation)
        return f"{call} is no type: write Annotated[T, {call}], or give it as default, = {call}"
    if _is_uncalled(annotation):
        return f"{annotation.__name__} is no type: write Annotated[T, {annotation.__name__}()]"
    if inspect.isfunction(annotation):
        return (
            f"its annotation is the function {get_label(annotation)}: write Annotated[T, Depends({_name(annotation)})]"
        )
    if foreign := _foreign(annotation):
        return f"its annotation is {foreign}: {_import_of(annotation)}"
    for item in metadata:
        if problem := _metadata_mistake(item):
            return problem
    return ""


def _metadata_mistake(item: Any) -> str:
    if _is_uncalled(item):
        return f"{item.__name__} is not called in its Annotated: write {item.__name__}()"
    if inspect.isfunction(item):
        return f"a function in Annotated does nothing: write Depends({_name(item)})"
    if foreign := _foreign(type(item)):
        return f"its Annotated has {foreign}, which does nothing here: {_import_of(type(item))}"
    return ""


def default_mistake(default: Any) -> str:
    """Explain a default that is a marker without its call, a function, or another library's marker."""
    if _is_uncalled(default):
        return f"its default is {default.__name__} itself: write {default.__name__}()"
    if inspect.isfunction(default):
        return f"its default is a function, which is not called: write Depends({_name(default)})"
    if foreign := _foreign(type(default)):
        return f"its default is of {foreign}, which does nothing here: {_import_of(type(default))}"
    return ""


def bare_mistake(path_names: Collection[str]) -> str:
    """Explain a parameter without annotation and default that nothing provides."""
    path = f" ({', '.join(path_names)})" if path_names else ""
    return (
        "nothing provides it: annotate it or give it a default to take it from the query, name it like a parameter of "
        f"the path{path}, give it Depends(...), or write `request: Request` for the request"
    )


def misspelt_path_name(name: str, unused: Collection[str]) -> str:
    """Explain a name that the query would have to hold, and that is nearly one of the path's unused names."""
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    near = get_close_matches(name, unused, n=1, cutoff=_SIMILAR)
    if not near:
        return ""
    return (
        f"the path has {{{near[0]}}}, which nothing takes: did you mean that? If the query is to hold {name!r}, "
        "write = Query()"
    )


def _is_uncalled(value: object) -> bool:
    return any(value is function for function in _UNCALLED)


def _call(marker: Marker) -> str:
    match marker:
        case DependsMarker(dependency=None):
            return "Depends()"
        case DependsMarker(dependency=function):
            return f"Depends({_name(function)})"
        case ValueMarker(source=source):
            return f"{source.capitalize()}()"
        case BodyMarker():
            return "WsBody()"
        case RefusedMarker(name=name):
            return f"{name}()"


def _name(function: object) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _foreign(kind: Any) -> str:
    """Return the name of another library's class that has a counterpart here, "" for others."""
    module = str(getattr(kind, "__module__", ""))
    if not inspect.isclass(kind) or module.partition(".")[0] not in _FOREIGN or not _counterpart(kind):
        return ""
    return f"{module}.{kind.__qualname__}"


_COUNTERPARTS: Final = {
    **{function.__name__: function.__name__ for function in _UNCALLED},
    **{"WebSocket": "WebSocket", "Request": "Request", "Websocket": "WebSocket"},
    **{"HTTPConnection": "Request", "ServerConnection": "WebSocket", "WebSocketResponse": "WebSocket"},
}


def _counterpart(kind: type) -> str:
    return _COUNTERPARTS.get(kind.__name__, "")


def _import_of(kind: type) -> str:
    return f"write `from trio_ws import {_counterpart(kind)}`"
