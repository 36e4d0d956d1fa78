"""Conversion and dependencies for the arguments of one connection's functions."""

from __future__ import annotations

import copy
from collections.abc import AsyncGenerator, Coroutine, Generator, Hashable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import attrs
import trio

from trio_ws.app.errors import ErrorDetail, ParameterError
from trio_ws.app.parameters.arguments import Arguments
from trio_ws.app.parameters.field_errors import TEXTS, invalid_fields, place_of
from trio_ws.app.parameters.markers import MISSING
from trio_ws.app.parameters.signature import ParameterSource
from trio_ws.runtime.threads import Limiters, ThreadedContext, run_in_thread
from trio_ws.runtime.unwinding import Unwinding

if TYPE_CHECKING:
    from types import TracebackType

    from trio_ws.app.parameters.overrides import Overrides
    from trio_ws.app.parameters.signature import Dependency, Parameter, Signature
    from trio_ws.http.request import Request
    from trio_ws.runtime.unwinding import CleanupOwner
    from trio_ws.websocket.context import ConnectionContext
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Resolver"]

_MISSING = ErrorDetail((), "missing", "Field required")


class Resolver:
    """Resolves arguments for one connection; `async with` leaves its dependencies.

    They are left in `cleanup_timeout`, all together, also when the task is cancelled.

    Every text is converted once, and every dependency called once. All calls must come from the task that entered.

    Args:
        request: with the path parameters of its route.
        websocket: the connection.
        app: for parameters with the key "app".
        limiters: bound the threads of plain dependencies.
        patient: dependencies take as long as they need to be left, unless the task is cancelled already.
        overrides: substitutes for dependencies and values, in tests.

    Attributes:
        given: further values by the keys that `Signature.of` got as `types`; None for none.
        guard_context: for parameters with the key "context"; None until there is one.
    """

    __slots__ = (
        "_app",
        "_cache",
        "_converted",
        "_owner",
        "_patient",
        "_request",
        "_unwinding",
        "_websocket",
        "given",
        "guard_context",
        "limiters",
        "overrides",
    )

    def __init__(
        self,
        request: Request,
        websocket: WebSocket,
        app: object = None,
        limiters: Limiters = Limiters(),  # noqa: B008 - frozen
        *,
        patient: bool = False,
        overrides: Overrides | None = None,
    ) -> None:
        self.limiters: Limiters = limiters
        self.overrides: Overrides | None = overrides
        self._patient = patient
        self._request = request
        self._websocket = websocket
        self._app = app
        self.given: Mapping[str, Any] | None = None
        self.guard_context: object = None
        self._owner: CleanupOwner = websocket.context
        self._unwinding: Unwinding | None = None  # two kilobytes, so only where there is something to leave
        self._converted: dict[Parameter, Any] | None = None  # like the next, made for its first value
        self._cache: dict[Hashable, Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._unwinding is not None and await self._unwinding.leave(kind, error, trace)

    @property
    def in_use(self) -> bool:
        """Whether it has values, or something to leave."""
        return (
            self._unwinding is not None
            or self._converted is not None
            or self._cache is not None
            or self.guard_context is not None
            or self.overrides is not None
        )

    def nested(self) -> Resolver:
        """Return a resolver for a part of the connection.

        Its dependencies are left at the end of the block.
        """
        nested = Resolver(self._request, self._websocket, self._app, self.limiters, patient=self._patient)
        nested.overrides, nested.guard_context, nested.given = self.overrides, self.guard_context, self.given
        nested._converted = self._converted
        nested._cache = dict(self._cache or ())
        return nested

    # --- what is needed after the dependencies are left ----------------------------------------------------------

    def is_left(self, signature: Signature) -> bool:
        """Return whether a function takes a value that is left with the resolver, or that was made from one."""
        return any(map(self._is_left, _dependencies_of(signature)))

    def _is_left(self, dependency: Dependency) -> bool:
        dependency = self._substituted(dependency)
        return dependency.entered or self.is_left(dependency.signature)

    async def afterwards(self, signature: Signature) -> Resolver:
        """Return a resolver for a call after this one is left.

        It has the values of this one that are not left, which are resolved now.

        Args:
            signature: of the function.

        Raises:
            Exception: as `resolve` raises it.
        """
        later = Resolver(self._request, self._websocket, self._app, self.limiters, overrides=self.overrides)
        later.guard_context, later._converted = self.guard_context, self._converted
        later._cache = await self._lasting_values(signature)
        later._owner = _LastOwner(self._websocket.context)
        return later

    async def _lasting_values(self, signature: Signature) -> dict[Hashable, Any]:
        values: dict[Hashable, Any] = {}
        for given in _dependencies_of(signature):
            dependency = self._substituted(given)
            if self._is_left(given):
                values.update(await self._lasting_values(dependency.signature))
            elif dependency.use_cache:
                values[_cache_key(dependency.signature.function)] = await self.depend(given)
        return values

    # --- texts ---------------------------------------------------------------------------------------------------

    def convert(self, *signatures: Signature) -> dict[str, Any]:
        """Convert all texts for functions and their dependencies.

        The result has the functions' own parameters by name.

        Raises:
            ParameterError: with all errors of all signatures.
        """
        errors: dict[ErrorDetail, None] = {}
        texts = [each for signature in signatures for each in self._flat(signature) if each.source in TEXTS]
        if not texts:
            return {}
        if self._converted is None:
            self._converted = {}
        converted = self._converted
        for parameter in texts:
            if parameter not in converted:
                try:
                    converted[parameter] = self._convert(parameter)
                except ParameterError as error:
                    errors.update((detail.with_prefix(*place_of(parameter)), None) for detail in error.errors)
        if errors:
            raise ParameterError(errors)
        return {
            each.name: converted[each]
            for signature in signatures
            for each in signature.parameters
            if each.source in TEXTS
        }

    def _flat(self, signature: Signature) -> Iterable[Parameter]:
        if self.overrides is None:
            return signature.flat()
        return self.overrides.flat(signature, self._request.path_parameters)

    def _convert(self, parameter: Parameter) -> Any:
        if self.overrides is not None:
            substitute = self.overrides.value(parameter)
            if substitute is not MISSING:
                return substitute
        values = self._texts(parameter)
        if not values:
            if parameter.default is MISSING:
                raise ParameterError([_MISSING])
            return _own(parameter.default)
        if parameter.validator is None:
            return values[-1]
        if isinstance(values[-1], str):
            return parameter.validator.from_strings(values)
        return parameter.validator.from_text(values[-1])  # converted by the path already

    def _texts(self, parameter: Parameter) -> Sequence[Any]:
        """Return the values for a parameter; several only for a list."""
        request, key = self._request, parameter.key
        many = parameter.validator is not None and parameter.validator.many
        match parameter.source:
            case ParameterSource.QUERY:
                return request.query_parameters.get_list(key)
            case ParameterSource.HEADER:
                values = request.headers.get_list(key)
                return values if many else values[:1]
            case ParameterSource.COOKIE:
                cookies = request.parsed_cookies
                return [cookies[key]] if key in cookies else []
            case _:
                found = request.path_parameters
                return [found[key]] if key in found else []

    # --- arguments -----------------------------------------------------------------------------------------------

    async def resolve(self, signature: Signature) -> Arguments:
        """Return the arguments of a function, after calls of its dependencies.

        Raises:
            ParameterError: with all errors; no dependency was called.
            Exception: raised by a dependency.
        """
        values: dict[str, Any] = self.convert(signature)
        for parameter in signature.parameters:
            match parameter.source:
                case ParameterSource.CONNECTION:
                    values[parameter.name] = self._websocket
                case ParameterSource.REQUEST:
                    values[parameter.name] = self._request
                case ParameterSource.PATH_REST:
                    values[parameter.name] = self._rest(signature)
                case ParameterSource.PROVIDED:
                    provided = self._provided(parameter.key, parameter.default)
                    if provided is not MISSING:
                        values[parameter.name] = provided
            if parameter.dependency is not None:
                values[parameter.name] = await self.depend(parameter.dependency)
        return Arguments(signature, values)

    async def arguments(self, signature: Signature, **provided: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a call; see `resolve` and `Arguments.fill`."""
        return (await self.resolve(signature)).fill(**provided)

    def _provided(self, key: str, default: Any) -> Any:
        """Return the object for one of the keys that `Signature.of` got as `types`, else the default."""
        if self.given is not None and key in self.given:
            return self.given[key]
        match key:
            case "app":
                return self._app
            case "blocking_websocket":
                return self._websocket  # `in_thread` exchanges it
            case "context" if self.guard_context is not None:
                return self.guard_context
            case _:
                return default

    def _rest(self, signature: Signature) -> dict[str, Any]:
        """Return the path parameters that no other parameter takes."""
        taken = {each.key for each in signature.parameters if each.source is ParameterSource.PATH}
        taken.update(each.name for each in signature.parameters)
        return {name: value for name, value in self._request.path_parameters.items() if name not in taken}

    # --- dependencies --------------------------------------------------------------------------------------------

    async def depend(self, dependency: Dependency) -> Any:
        """Return the value of a dependency, called and entered unless it was before.

        Raises:
            ParameterError: a text that it takes does not convert.
            Exception: raised by the dependency.
        """
        dependency = self._substituted(dependency)
        key = _cache_key(dependency.signature.function)
        if dependency.use_cache and self._cache is not None and key in self._cache:
            return self._cache[key]
        args, kwargs = await self.arguments(dependency.signature)
        function = partial(dependency.signature.function, *args, **kwargs)
        try:
            value = await run_in_thread(function, self.limiters.calls) if dependency.in_thread else function()
        except (TypeError, ValueError) as error:
            errors = invalid_fields(dependency.signature, error)
            if errors is None:
                raise
            raise ParameterError(errors) from None
        if isinstance(value, Coroutine):
            value = await value
        if dependency.entered:
            value = await self.enter(value, in_thread=dependency.in_thread)
        if dependency.use_cache:
            self._remember(key, value)
        return value

    def _substituted(self, dependency: Dependency) -> Dependency:
        if self.overrides is None:
            return dependency
        return self.overrides.dependency(dependency, self._request.path_parameters)

    def known(self, function: Any) -> Any:
        """Return the value of a function that was called for this connection; MISSING if it was not."""
        return MISSING if self._cache is None else self._cache.get(_cache_key(function), MISSING)

    def remember(self, function: Any, value: Any) -> None:
        """Keep the value of a function, called without this resolver, for what depends on it."""
        self._remember(_cache_key(function), value)

    def _remember(self, key: Hashable, value: Any) -> None:
        if self._cache is None:
            self._cache = {}
        self._cache[key] = value

    async def enter(self, value: Any, *, in_thread: bool) -> Any:
        """Enter a context, which is left with the resolver, and return its value.

        Args:
            value: a context manager or a generator, asynchronous or not.
            in_thread: a plain one is entered and left in threads.
        """
        if isinstance(value, AsyncGenerator):
            value = asynccontextmanager(lambda: value)()
        elif isinstance(value, Generator):
            value = contextmanager(lambda: value)()
        if in_thread and not hasattr(value, "__aenter__"):
            value = ThreadedContext(value, self.limiters)
        if self._unwinding is None:
            self._unwinding = Unwinding(self._owner, patient=self._patient)
        return await self._unwinding.enter(value)


@attrs.define
class _LastOwner:
    """The owner of contexts that are entered after the connection has ended."""

    context: ConnectionContext
    nursery: trio.Nursery | None = None

    def cleanup_deadline(self) -> float:
        return trio.current_time() + self.context.cleanup_timeout

    def log_cleanup_timeout(self) -> None:
        self.context.log_cleanup_timeout()


def _dependencies_of(signature: Signature) -> list[Dependency]:
    return [parameter.dependency for parameter in signature.parameters if parameter.dependency is not None]


def _own(default: Any) -> Any:
    """Return a default, copied if it is mutable."""
    return copy.deepcopy(default) if isinstance(default, list | dict | set) else default


def _cache_key(function: Any) -> Hashable:
    """Return the cache key of a function; identity without a hash.

    Equality counts, so that two bound methods of one object are one function.
    """
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function  # type: ignore[no-any-return]
