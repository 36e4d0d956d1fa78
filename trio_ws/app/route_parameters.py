"""The parameters that all functions of a route take from the request, for descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from trio_ws.app.listener import Listener
from trio_ws.app.parameters.signature import Parameter, ParameterSource, Signature

if TYPE_CHECKING:
    from trio_ws.app.route import Route

__all__ = ["parameters_of"]

_OF_REQUESTS: Final = (
    ParameterSource.PATH,
    ParameterSource.QUERY,
    ParameterSource.HEADER,
    ParameterSource.COOKIE,
)


def parameters_of(route: Route) -> Iterator[Parameter]:
    """Yield the parameters of a route's functions, guards and dependencies, each once."""
    seen: set[tuple[ParameterSource, str]] = set()
    for signature in _signatures_of(route):
        for parameter in signature.flat():
            found = (parameter.source, parameter.key)
            if parameter.source in _OF_REQUESTS and found not in seen:
                seen.add(found)
                yield parameter


def _signatures_of(route: Route) -> Iterator[Signature]:
    target = route.target
    if isinstance(target, Listener):
        calls = (route.receive(target), route.connect(target), route.disconnect(target))
        yield from (call.signature for call in calls if call is not None)
    else:
        yield route.view().signature
    if route.controller is not None:
        yield route.construction(route.controller)
    for guard in route.planned_guards():
        yield from guard.signatures
