"""Sources of a function's parameters, decided once at its registration.

A parameter that cannot work is refused here, with the function, the parameter and the fix in the message. The module
`dependencies` resolves the values of one connection.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from inspect import Parameter as Declared
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn, get_args, get_origin
from uuid import UUID

import attrs

from trio_ws.app.errors import RegistrationError
from trio_ws.app.fields import BARE, TELLING, Reading
from trio_ws.app.parameters import mistakes
from trio_ws.app.parameters.annotations import (
    Scope,
    UnsupportedAnnotation,
    allows_none,
    get_label,
    unresolvable_message,
)
from trio_ws.app.parameters.markers import MISSING, BodyMarker, DependsMarker, Marker, RefusedMarker, ValueMarker
from trio_ws.http.request import Request
from trio_ws.runtime.threads import runs_in_thread, underlying
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from trio_ws.app.parameters.validation import Validator

__all__ = ["Dependency", "Parameter", "ParameterSource", "Signature", "is_context"]

_BY_POSITION: Final = (Declared.POSITIONAL_ONLY, Declared.POSITIONAL_OR_KEYWORD)


class ParameterSource(Enum):
    """Where a value comes from."""

    CONNECTION = "connection"
    REQUEST = "request"
    PROVIDED = "provided"
    DEPENDENCY = "dependency"
    PATH = "path"
    PATH_REST = "path_rest"
    """`**kwargs`: the path parameters that no other parameter takes."""
    QUERY = "query"
    HEADER = "header"
    COOKIE = "cookie"


CONNECTION_NAMES: Final = frozenset({"ws", "websocket"})
"""A parameter of that name is the connection, wherever it stands, if nothing else is said about it."""

_BY_TYPE: Final = {WebSocket: ParameterSource.CONNECTION, Request: ParameterSource.REQUEST}


@attrs.frozen(eq=False, repr=False)
class Dependency:
    """The dependency of a parameter."""

    signature: Signature
    """Of the call that gives the value."""
    use_cache: bool
    entered: bool
    """Whether what the call returns is a context that lasts as long as the connection."""
    in_thread: bool
    """Whether it is called, entered and left in threads."""

    @classmethod
    def of(cls, signature: Signature, *, use_cache: bool, in_loop: bool = False) -> Dependency:
        """Return the dependency of a planned function; a plain one is called in a thread unless `in_loop` is set."""
        function = signature.function
        return cls(signature, use_cache, is_context(function), not in_loop and runs_in_thread(function))


@attrs.frozen(eq=False, kw_only=True, repr=False)
class Parameter:
    """One parameter of a function, compared by identity."""

    name: str
    source: ParameterSource
    key: str
    """The name of its value in the source: an alias, a header."""
    by_position: bool
    default: Any = MISSING
    validator: Validator | None = None
    """None takes the value as it is."""
    dependency: Dependency | None = None
    annotation: Any = None
    """The resolved annotation without markers; None without an annotation."""
    description: str = ""
    marked: bool = False
    """Whether a marker names the source."""


@attrs.frozen(eq=False, repr=False)
class Signature:
    """A function, and where its parameters come from."""

    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        path_names: Collection[str] | Mapping[str, type[Any] | None] = frozenset(),
        provided: Collection[str] = frozenset(),
        types: Mapping[type[Any], str] = MappingProxyType({}),
        where: str = "",
    ) -> Signature:
        """Return the signature of a function with the source of each parameter.

        In this order: `provided`; a marker (`Query`, `Header`, `Cookie`, `Path`, `Depends`) as default or in
        `Annotated`; the connection and the request, and `types`, by annotation; the path, by name; the connection and
        the request, for a first parameter without annotation and default and a second one that is called `request`,
        and for one called `ws` or `websocket` wherever it stands; else the query, by name.

        Args:
            function: any callable; of a class the parameters of its constructor are meant.
            path_names: the parameters of the route's path; as a mapping (`PathPattern.types`) with their types.
            provided: names of parameters whose values the caller has when it calls.
            types: classes whose instances the caller has, with their keys; dependencies may take them too.
            where: the place of the registration, for messages.

        Raises:
            RegistrationError: a parameter cannot be filled.
        """
        paths = path_names if isinstance(path_names, Mapping) else dict.fromkeys(path_names)
        return _SignatureBuilder(function, paths, frozenset(provided), types, f"{where}: " if where else "").signature()

    @property
    def label(self) -> str:
        """The module and qualified name of the function, for messages."""
        return get_label(self.function)

    def flat(self) -> Iterator[Parameter]:
        """Return the parameters, and those of everything that they depend on."""
        for parameter in self.parameters:
            yield parameter
            if parameter.dependency is not None:
                yield from parameter.dependency.signature.flat()


@attrs.frozen(eq=False, repr=False)
class _SignatureBuilder:
    """Plans one function."""

    function: Callable[..., Any]
    paths: Mapping[str, type[Any] | None]
    provided: frozenset[str]
    types: Mapping[type[Any], str]
    prefix: str
    """The beginning of messages, with the dependencies that lead to this function."""
    chain: tuple[object, ...] = ()
    """The functions that depend on this one."""

    def signature(self) -> Signature:
        parameters: list[Parameter] = []
        declared = self._declared()
        scope = Scope(self.function)
        for each in declared:
            parameters.append(self._parameter(each, scope, parameters))
        return Signature(self.function, tuple(parameters))

    def _declared(self) -> list[Declared]:
        """Return the parameters to fill, without those that a partial has filled."""
        if not callable(self.function):
            if inspect.iscoroutine(self.function):
                self.function.close()  # it will not be awaited
            self._refuse("it cannot be called: give the function itself, not what it returns")
        try:
            signature = inspect.signature(self.function)
        except (TypeError, ValueError) as error:
            self._refuse("its parameters cannot be read: wrap it in a function of your own", cause=error)
        filled: set[str] = set()
        function: object = self.function
        while isinstance(function, partial):
            filled.update(function.keywords)
            function = function.func
        return [each for each in signature.parameters.values() if each.name not in filled]

    # --- deciding ------------------------------------------------------------------------------------------------

    def _parameter(self, declared: Declared, scope: Scope, before: Sequence[Parameter]) -> Parameter:
        name = declared.name
        if declared.kind is Declared.VAR_POSITIONAL:
            self._refuse(
                "nothing can be put into it: name each parameter; a decorator shows those of its function if it uses "
                "functools.wraps",
                f"*{name}",
            )
        if declared.kind is Declared.VAR_KEYWORD:
            return Parameter(name=name, source=ParameterSource.PATH_REST, key=name, by_position=False)
        annotation, marker = self._hint(declared, scope)
        marker, default = self._default(declared, marker)
        source: Literal["path", "query"] = "path" if name in self.paths else "query"
        try:
            read = Reading(annotation, marker, default).without_fields(None if name in self.provided else source)
        except UnsupportedAnnotation as error:
            self._refuse(str(error), name)
        marker = read.marker
        chosen = _Chosen(name, declared.kind in _BY_POSITION, read.annotation, read.default)
        match marker:
            case RefusedMarker(name=refused):
                self._refuse(f"the request for a WebSocket has no body: {refused}() is WsBody() in a listener", name)
            case DependsMarker():
                return self._depending(chosen, marker)
            case ValueMarker():
                return self._value(chosen, ParameterSource(marker.source), marker)
            case BodyMarker() if name not in self.provided:
                self._refuse("only a listener's function for messages takes a WsBody(): register it as one", name)
        return self._unmarked(chosen, before)

    def _unmarked(self, chosen: _Chosen, before: Sequence[Parameter]) -> Parameter:
        name, annotation = chosen.name, chosen.annotation
        if name in self.provided:
            return chosen.of(ParameterSource.PROVIDED)
        if inspect.isclass(annotation) and annotation in _BY_TYPE:
            return chosen.of(_BY_TYPE[annotation])
        if inspect.isclass(annotation) and annotation in self.types:
            return chosen.of(ParameterSource.PROVIDED, self.types[annotation])
        if name in self.paths:
            return self._value(chosen, ParameterSource.PATH)
        if chosen.bare:
            return self._by_place(chosen, before)
        self._check(mistakes.default_mistake(chosen.default), name)
        return self._value(chosen, ParameterSource.QUERY)

    def _by_place(self, chosen: _Chosen, before: Sequence[Parameter]) -> Parameter:
        """Decide about a parameter that only has a name and a place."""
        if chosen.name in ("self", "cls") and not before:
            self._refuse("it is a method: make its class a controller, or give the method of an instance", chosen.name)
        first = not before
        if chosen.name in CONNECTION_NAMES:
            return chosen.of(ParameterSource.CONNECTION)
        second = len(before) == 1 and before[0].source is ParameterSource.CONNECTION
        second = second and chosen.name in mistakes.REQUEST_NAMES
        if not chosen.by_position or not (first or second):
            self._refuse(mistakes.bare_mistake(self.paths), chosen.name)
        return chosen.of(ParameterSource.CONNECTION if first else ParameterSource.REQUEST)

    def _hint(self, declared: Declared, scope: Scope) -> tuple[Any, Marker | None]:
        """Return a parameter's annotation without the marker, and the marker."""
        if declared.annotation is Declared.empty:
            return BARE, None
        try:
            annotation = scope.resolve(declared.name, declared.annotation)
        except Exception as error:  # an annotation is code
            if declared.name in self.provided:
                return BARE, None  # whatever it means, the caller provides it
            self._refuse(unresolvable_message(declared.annotation, error), declared.name, cause=error)
        if get_origin(annotation) is not Annotated:
            if declared.name not in self.provided:
                self._check(mistakes.annotation_mistake(annotation, ()), declared.name)
            return annotation, None
        bare, *metadata = get_args(annotation)
        self._check(mistakes.annotation_mistake(bare, metadata), declared.name)
        markers = [item for item in metadata if isinstance(item, Marker)]
        if len(markers) > 1:
            self._refuse("it has more than one marker: leave one", declared.name)
        others = tuple(item for item in metadata if not isinstance(item, Marker))
        return Annotated[(bare, *others)] if others else bare, markers[0] if markers else None

    def _default(self, declared: Declared, marker: Marker | None) -> tuple[Marker | None, Any]:
        """Return the marker and the default; MISSING if there is none."""
        default = MISSING if declared.default is Declared.empty else declared.default
        if isinstance(default, Marker):
            if marker is not None:
                self._refuse("it has a marker in its annotation and one as default: leave one", declared.name)
            marker, default = default, MISSING
        if isinstance(marker, ValueMarker) and marker.default is not MISSING:
            if default is not MISSING:
                self._refuse("it has two defaults: leave the one behind the equals sign", declared.name)
            default = marker.default
        if isinstance(marker, DependsMarker) and default is not MISSING:
            self._refuse("what it depends on always gives a value: leave the default out", declared.name)
        return marker, default

    # --- values of the request, and dependencies -----------------------------------------------------------------

    def _value(self, chosen: _Chosen, source: ParameterSource, marker: ValueMarker | None = None) -> Parameter:
        key = chosen.name if source is not ParameterSource.HEADER else chosen.name.replace("_", "-")
        if marker is not None and marker.alias is not None:
            key = marker.alias
        if source is ParameterSource.PATH:
            self._check_path(chosen, key)
        annotation, default = chosen.annotation, chosen.default
        if annotation is BARE and type(default) in TELLING:
            annotation = type(default)
        if default is MISSING and source is not ParameterSource.PATH and allows_none(annotation):
            default = None
        validator = None
        if annotation is not BARE:
            from trio_ws.app.parameters.validation import adapter_for  # noqa: PLC0415 - it imports pydantic

            where = f"{self._place}: parameter {chosen.name!r}"
            validator = adapter_for(annotation, source="text", where=where)
        return Parameter(
            name=chosen.name,
            source=source,
            key=key,
            by_position=chosen.by_position,
            default=default,
            validator=validator,
            annotation=chosen.shown,
            description="" if marker is None else marker.description,
            marked=marker is not None,
        )

    def _check_path(self, chosen: _Chosen, key: str) -> None:
        if key not in self.paths:
            names = ", ".join(f"{{{name}}}" for name in self.paths) or "no parameters"
            self._refuse(f"the path has no {{{key}}}: it has {names}", chosen.name)
        given = self.paths[key]
        if given is None or given is str or chosen.annotation not in (bytes, int, str, UUID):
            return
        if not issubclass(given, chosen.annotation):
            wanted = chosen.annotation.__name__
            self._refuse(f"the path makes {{{key}}} {given.__name__}, not {wanted}: annotate it so", chosen.name)

    def _depending(self, chosen: _Chosen, marker: DependsMarker) -> Parameter:
        function = marker.dependency
        if function is None:
            if chosen.annotation is BARE or not inspect.isclass(chosen.annotation):
                self._refuse("Depends() without a function wants a class as annotation", chosen.name)
            function = chosen.annotation
        chain = (*self.chain, self.function)
        if function in chain:
            circle = " -> ".join(get_label(each) for each in (*chain[chain.index(function) :], function))
            self._refuse(f"it depends on itself: {circle}", chosen.name)
        prefix = f"{self._place}: parameter {chosen.name!r} depends on "
        signature = _SignatureBuilder(function, self.paths, frozenset(), self.types, prefix, chain).signature()
        dependency = Dependency.of(signature, use_cache=marker.use_cache, in_loop=marker.in_loop)
        return attrs.evolve(chosen.of(ParameterSource.DEPENDENCY), dependency=dependency)

    # --- refusing ------------------------------------------------------------------------------------------------

    def _refuse(self, why: str, name: str = "", *, cause: Exception | None = None) -> NoReturn:
        parameter = f": parameter {name!r}" if name else ""
        raise RegistrationError(f"{self._place}{parameter}: {why}") from cause

    def _check(self, problem: str, name: str) -> None:
        if problem:
            self._refuse(problem, name)

    @property
    def _place(self) -> str:
        return self.prefix + get_label(self.function)


@attrs.frozen(eq=False, repr=False)
class _Chosen:
    """A parameter, before it is known where it comes from."""

    name: str
    by_position: bool
    annotation: Any
    default: Any

    @property
    def bare(self) -> bool:
        """Whether nothing is said about it."""
        return self.annotation is BARE and self.default is MISSING

    @property
    def shown(self) -> Any:
        return None if self.annotation is BARE else self.annotation

    def of(self, source: ParameterSource, key: str | None = None) -> Parameter:
        return Parameter(
            name=self.name,
            source=source,
            key=self.name if key is None else key,
            by_position=self.by_position,
            default=self.default,
            annotation=self.shown,
        )


def is_context(function: Callable[..., Any]) -> bool:
    """Return True for generators and context manager classes, which are entered.

    Results of other functions are not entered, since their owner leaves them.
    """
    target = underlying(function)
    if inspect.isclass(target):
        return hasattr(target, "__aenter__") or hasattr(target, "__enter__")
    return inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target)
