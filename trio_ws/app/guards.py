"""Guards, which allow or refuse a handshake before it is answered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from types import MappingProxyType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import attrs

from trio_ws.app.errors import RegistrationError
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.markers import DependsMarker
from trio_ws.app.parameters.signature import Dependency, Signature
from trio_ws.runtime.threads import underlying

if TYPE_CHECKING:
    from trio_ws.http.request import Request
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Guard", "GuardContext", "PlannedGuard", "parse_guards"]

Guard: TypeAlias = "Callable[..., Any] | type[Any] | object"
"""A function, or a class or an instance with `can_activate(context)`; `async` or not. It answers True, False or
`Credentials`. Or `Depends(function)`: it refuses by raising, and its value is that of the same dependency of the
route's functions."""


def parse_guards(value: Iterable[Guard]) -> tuple[Guard, ...]:
    """Return the checked value of `guards=`.

    Raises:
        RegistrationError: one of them cannot be a guard.
        TypeError: a single guard was given where a list of them is expected.
    """
    if callable(value) or hasattr(value, "can_activate") or isinstance(value, DependsMarker):
        raise TypeError(f"guards takes a list: write guards=[{get_label(value)}]")
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"guards takes a list of guards, not {value!r}")
    guards = tuple(value)
    for guard in guards:
        if not (callable(guard) or hasattr(guard, "can_activate") or isinstance(guard, DependsMarker)):
            _refuse_value(guard, "")
    return guards


CONTEXT_KEY: Final = "context"
"""By which parameters that are annotated `GuardContext` get it."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class WebSocketHost:
    """The result of `GuardContext.switch_to_websocket`."""

    websocket: WebSocket

    def get_client(self) -> WebSocket:
        """Return the connection."""
        return self.websocket


def _read_only(given: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(given))


@attrs.frozen(kw_only=True)
class GuardContext:
    """The argument of a guard."""

    request: Request
    """The request of the handshake."""
    websocket: WebSocket
    """The connection, which is not answered yet."""
    route: Any = None
    """The route that matched."""
    parameters: Mapping[str, Any] = attrs.field(default=MappingProxyType({}), converter=_read_only)
    """The parameters of the route's function, by name, converted."""
    app: Any = None
    """The application of the route."""

    @property
    def state(self) -> SimpleNamespace:
        """`WebSocket.state`, shared by guards and handlers."""
        return self.websocket.state

    def switch_to_websocket(self) -> WebSocketHost:
        """Return the host of the connection, named as in Ellar's documents."""
        return WebSocketHost(websocket=self.websocket)


@attrs.frozen(eq=False, repr=False)
class PlannedGuard:
    """A guard, and what it is called with; made at registration."""

    guard: Guard
    maker: Dependency | None
    """How an instance is made for each connection, if the guard is a class."""
    call: Signature
    """Of the function, or of `can_activate`."""
    context_name: str | None
    """The parameter that takes the context."""
    value: Dependency | None = None
    """The dependency, if the guard is one: it hands its value over to the route's functions."""

    @classmethod
    def of(
        cls,
        guard: Guard,
        *,
        path_names: Collection[str] | Mapping[str, type[Any] | None] = frozenset(),
        types: Mapping[type[Any], str] = MappingProxyType({}),
        where: str = "",
    ) -> PlannedGuard:
        """Plan the calls of a guard.

        The context goes to the first parameter of `can_activate`; to that of a function if it is not annotated, or is
        called `context`; and wherever `GuardContext` is annotated. Other parameters are filled like a handler's, a
        constructor's too.

        Raises:
            RegistrationError: it cannot be a guard, or a parameter of it cannot be filled.
        """
        types = {**types, GuardContext: CONTEXT_KEY}
        if isinstance(guard, DependsMarker):
            return cls._depending(guard, path_names, types, where)
        function = _decider(guard, where)
        _check_answers(function, where)
        name = _context_name(function, always=function is not guard)
        provided = frozenset() if name is None else frozenset({name})
        call = Signature.of(function, path_names=path_names, provided=provided, types=types, where=where)
        maker = None
        if inspect.isclass(guard):
            signature = Signature.of(guard, path_names=path_names, types=types, where=where)
            maker = Dependency.of(signature, use_cache=True)
        return cls(guard, maker, call, name)

    @classmethod
    def _depending(
        cls,
        marker: DependsMarker,
        path_names: Collection[str] | Mapping[str, type[Any] | None],
        types: Mapping[type[Any], str],
        where: str,
    ) -> PlannedGuard:
        if marker.dependency is None:
            _refuse(marker, "name the function: Depends(current_user)", where)
        if hasattr(marker.dependency, "can_activate"):
            _refuse(marker.dependency, "it has can_activate(context): leave Depends() out", where)
        signature = Signature.of(marker.dependency, path_names=path_names, types=types, where=where)
        value = Dependency.of(signature, use_cache=marker.use_cache, in_loop=marker.in_loop)
        return cls(marker, None, signature, None, value)

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """All that is called, for `Resolver.convert`."""
        return (self.call,) if self.maker is None else (self.maker.signature, self.call)

    @property
    def label(self) -> str:
        """The name of its function, for messages."""
        return get_label(self.guard) if self.value is None else self.call.label


def _decider(guard: Guard, where: str) -> Callable[..., Any]:
    """Return the function that decides: the guard, or `can_activate` of an instance."""
    found: Any = getattr(guard, "can_activate", None)
    if inspect.isclass(guard):
        if inspect.isabstract(guard):
            _refuse(guard, "it is abstract: write its can_activate(context)", where)
        method = inspect.getattr_static(guard, "can_activate", None)
        found = MethodType(method, guard) if inspect.isfunction(method) else found
    elif found is None:
        found = guard
    if not callable(found):
        _refuse_value(guard, where)
    return found  # type: ignore[no-any-return]


def _check_answers(function: Callable[..., Any], where: str) -> None:
    target = underlying(function)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        _refuse(function, "it yields: a guard returns True or False; what is to be left again is for Depends()", where)


def _context_name(function: Callable[..., Any], *, always: bool) -> str | None:
    """Return the name of the parameter for the context, or None.

    It is the first parameter: always of a method, of a function if it is called `context` or has no annotation and
    default.
    """
    first = next(iter(inspect.signature(function).parameters.values()), None)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        return None
    bare = first.annotation is first.empty and first.default is first.empty
    return first.name if bare or always or first.name == "context" else None


def _refuse_value(guard: object, where: str) -> NoReturn:
    if isinstance(guard, Coroutine):
        guard.close()  # it will not be awaited
    _refuse(guard, "a guard is a function, or a class or an object with can_activate(context), not a result", where)


def _refuse(guard: object, why: str, where: str) -> NoReturn:
    label = get_label(guard)
    raise RegistrationError(f"{where}: guard {label}: {why}" if where else f"guard {label}: {why}")
