"""The table of an application's routes that `trio-ws routes` prints."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

from trio_ws.app.listener import Listener
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.markers import MISSING
from trio_ws.app.parameters.signature import Parameter, ParameterSource
from trio_ws.app.route_parameters import parameters_of
from trio_ws.connection.serialization import resolve_types
from trio_ws.runtime.threads import underlying

if TYPE_CHECKING:
    from trio_ws.app.route import Route

__all__ = ["row_of", "table"]

_MODULES: Final = re.compile(r"\b(?:\w+\.|<locals>\.)+(?=\w)")


def row_of(route: Route) -> tuple[str, ...]:
    """Return the cells of one route: path, name, messages, parameters, guards."""
    parameters = ", ".join(map(_parameter, parameters_of(route)))
    guards = ", ".join(_MODULES.sub("", get_label(guard)) for guard in route.guards)
    return route.path, route.name, _messages(route), parameters, guards


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns, a dash for an empty cell, without columns that are empty."""
    used = [index for index in range(len(rows[0])) if any(row[index] for row in rows[1:])]
    widths = {index: max(len(row[index] or "-") for row in rows) for index in used}
    lines = ("  ".join((row[index] or "-").ljust(widths[index]) for index in used).rstrip() for row in rows)
    return "\n".join(lines)


def _messages(route: Route) -> str:
    """Return the types of a route's messages, from clients and to them."""
    target, options = route.target, route.options
    if isinstance(target, Listener):
        call = route.receive(target)
        kind = {"json": "any", "text": "str", "bytes": "bytes"}[target.options.encoding]
        received = kind if call.body is None or call.body.validator is None else _type(call.body.annotation)
        sent = _type(inspect.signature(underlying(target.receive_callback)).return_annotation)
        pushed = "" if options.sends is None else f", {_type(options.sends)}"
        return f"{received} -> {sent}{pushed}"
    receive_type, send_type = resolve_types(options.receive_type, options.send_type, options.value_type)
    received = receive_type or "any" if options.receives is None else _type(options.receives)
    sent = send_type or "any" if options.sends is None else _type(options.sends)
    return f"{received} -> {sent}"


def _parameter(parameter: Parameter) -> str:
    place = "" if parameter.source in (ParameterSource.PATH, ParameterSource.QUERY) else f" ({parameter.source.value})"
    kind = "" if parameter.annotation is None else f": {_type(parameter.annotation)}"
    default = "" if parameter.default is MISSING else f" = {parameter.default!r:.40}"
    return f"{parameter.key}{kind}{default}{place}"


def _type(annotation: Any) -> str:
    """Return an annotation as it would be written, without modules and metadata."""
    if annotation is inspect.Signature.empty:
        return "any"
    if annotation is None or annotation is type(None):
        return "None"
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0])
    return _MODULES.sub("", inspect.formatannotation(annotation).strip("'"))
