"""Parameters of listeners for the message's body and for the close code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import attrs

from trio_ws.app.errors import RegistrationError
from trio_ws.app.parameters.annotations import Scope, get_label, unresolvable_message
from trio_ws.app.parameters.kinds import is_field
from trio_ws.app.parameters.markers import BodyMarker, DependsMarker, RefusedMarker, ValueMarker
from trio_ws.app.parameters.signature import CONNECTION_NAMES
from trio_ws.http.request import Request
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from trio_ws.app.parameters.validation import Validator

__all__ = ["BodyParameter", "find_body_parameter", "find_code_parameter"]

CODE_NAMES = frozenset({"code", "close_code"})
"""A parameter of `on_disconnect` of that name is the close code, wherever it stands."""

_MARKERS = (ValueMarker, DependsMarker, RefusedMarker)
_FILLABLE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


@attrs.frozen(eq=False, repr=False)
class BodyParameter:
    """The parameter that takes the message."""

    name: str
    validator: Validator | None
    """None takes the decoded message as it is: the parameter has no annotation."""
    annotation: Any = Any
    """The type that is validated into."""
    description: str = ""
    """Of the marker, for people."""


@attrs.frozen(eq=False, repr=False)
class _Unresolved:
    """Stands for an annotation whose meaning is not known."""

    annotation: Any
    error: Exception


def find_body_parameter(
    function: Callable[..., Any], path_names: Collection[str], given: Collection[type[Any]] = ()
) -> BodyParameter | None:
    """Find the parameter for the message: marked `WsBody()`, or the first.

    Parameters that something else fills do not count: the connection, the request, path parameters, and those with
    another marker. None: the function takes no message.

    Args:
        function: of the listener.
        path_names: the parameters of the route's path.
        given: further classes whose instances the caller has.

    Raises:
        RegistrationError: two parameters are marked, or the annotation cannot be validated into.
    """
    scope = Scope(function)
    filled = (WebSocket, Request, *given)
    marked: list[tuple[str, Any]] = []  # of names and annotations
    eligible: list[tuple[str, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        annotation = _with_constraints(_annotation(parameter, scope), parameter.default)
        markers = [*_metadata(annotation), parameter.default]
        if any(isinstance(marker, BodyMarker) for marker in markers):
            marked.append((parameter.name, annotation))
        elif parameter.name not in path_names and _is_eligible(parameter, annotation, markers, filled):
            eligible.append((parameter.name, annotation))
    if len(marked) > 1:
        names = ", ".join(name for name, _ in marked)
        raise RegistrationError(f"{get_label(function)}: {names} are marked WsBody(): a message has one body")
    if not (marked or eligible):
        return None
    name, annotation = (marked or eligible)[0]
    if annotation is Parameter.empty:
        return BodyParameter(name, None)
    where = f"{get_label(function)}: parameter {name!r}"
    if isinstance(annotation, _Unresolved):
        raise RegistrationError(f"{where}: {unresolvable_message(annotation.annotation, annotation.error)}")
    from trio_ws.app.parameters.validation import adapter_for  # noqa: PLC0415 - it imports pydantic

    described = (item.description for item in _metadata(annotation) if isinstance(item, BodyMarker))
    return BodyParameter(name, adapter_for(annotation, where=where), annotation, next(described, ""))


def find_code_parameter(function: Callable[..., Any], path_names: Collection[str]) -> str | None:
    """Find the parameter of `on_disconnect` for the close code.

    It is the one called `code` or `close_code`; else the second, if it has no default and no annotation but `int`. None
    if there is none.
    """
    scope = Scope(function)
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters:
        if parameter.name in CODE_NAMES:
            return parameter.name
    for second in parameters[1:2]:
        bare = second.default is Parameter.empty and _annotation(second, scope) in (Parameter.empty, int)
        if bare and second.kind in _FILLABLE and second.name not in path_names:
            return second.name
    return None


def _annotation(parameter: Parameter, scope: Scope) -> Any:
    if parameter.annotation is Parameter.empty:
        return Parameter.empty
    try:
        return scope.resolve(parameter.name, parameter.annotation)
    except Exception as error:  # an annotation is code; `signature` complains of those that are not the body's
        return _Unresolved(parameter.annotation, error)


def _with_constraints(annotation: Any, default: Any) -> Any:
    """Return an annotation with the constraints of a default `Field(...)`.

    The default itself does not count, since every message has a body.
    """
    if not is_field(default) or not default.metadata or isinstance(annotation, _Unresolved):
        return annotation
    return Annotated[(Any if annotation is Parameter.empty else annotation, *default.metadata)]


def _metadata(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _is_eligible(parameter: Parameter, annotation: Any, markers: list[Any], filled: tuple[type[Any], ...]) -> bool:
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if parameter.kind not in _FILLABLE:
        return False
    if plain is Parameter.empty and parameter.name in CONNECTION_NAMES:
        return False
    if inspect.isclass(plain) and issubclass(plain, filled):
        return False
    return not any(isinstance(marker, _MARKERS) for marker in markers)
