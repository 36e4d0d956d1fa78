"""Resolver: the values of one connection's parameters: converted, depended on, and unwound at its end."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import AsyncGenerator, Generator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import attrs
from pydantic import BaseModel, ValidationError

from trio_ws.app.errors import ErrorDetail, ParameterError
from trio_ws.app.parameters.markers import MISSING
from trio_ws.app.parameters.signature import ParameterSource
from trio_ws.app.parameters.validation import problems_of
from trio_ws.runtime.threads import ThreadedContext, run_in_thread
from trio_ws.runtime.unwinding import Unwinding

if TYPE_CHECKING:
    from types import TracebackType

    import trio

    from trio_ws.app.parameters.signature import Dependency, Parameter, Signature
    from trio_ws.http.request import Request
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Arguments", "Resolver"]

_MISSING = ErrorDetail((), "missing", "Field required")
_TEXTS = frozenset({ParameterSource.PATH, ParameterSource.QUERY, ParameterSource.HEADER, ParameterSource.COOKIE})


@attrs.frozen
class Arguments:
    """Everything that a function is called with, but for what its caller provides."""

    plan: Signature
    values: Mapping[str, Any]
    """By the names of the parameters."""

    def fill(self, **provided: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return the positional and the keyword arguments.

        Args:
            provided: by their keys; what the function does not take is left out. The name of any other parameter
                stands for that one instead of the value that it would have.

        Raises:
            TypeError: something is not provided, and has no default.
        """
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for parameter in self.plan.parameters:
            value = self._value(parameter, provided)
            if parameter.source is ParameterSource.PATH_REST:
                kwargs.update(value)
            elif parameter.by_position:
                args.append(value)
            else:
                kwargs[parameter.name] = value
        return args, kwargs

    def _value(self, parameter: Parameter, provided: Mapping[str, Any]) -> Any:
        key = parameter.key if parameter.source is ParameterSource.PROVIDED else parameter.name
        if key in provided:
            return provided[key]
        if parameter.name in self.values:
            return self.values[parameter.name]
        raise TypeError(f"{self.plan.label} is called without {key!r}, which its plan counts on")


class Resolver:
    """Finds what functions are called with, for one connection; `async with` leaves its dependencies at the end.

    They are left in `cleanup_timeout`, all together, also when the task is cancelled.

    Every text is converted once, and every dependency called once. All calls must come from the task that entered.

    Args:
        request: with the path parameters of its route.
        websocket: the connection.
        app: given to parameters that are planned for the key "app".
        limiter: bounds the threads of plain dependencies; None for Trio's own.
        patient: dependencies take as long as they need to be left, unless the task is cancelled already.

    Attributes:
        given: values by the keys that `Signature.of` got as `types`, for all functions and their dependencies.
    """

    __slots__ = ("_cache", "_converted", "_patient", "_request", "_unwinding", "_websocket", "given", "limiter")

    def __init__(
        self,
        request: Request,
        websocket: WebSocket,
        app: object = None,
        limiter: trio.CapacityLimiter | None = None,
        *,
        patient: bool = False,
    ) -> None:
        self.limiter: trio.CapacityLimiter | None = limiter
        self._patient = patient
        self._request = request
        self._websocket = websocket
        self.given: dict[str, Any] = {"app": app}
        self._unwinding: Unwinding | None = None  # two kilobytes, so only where there is something to leave
        self._converted: dict[Parameter, Any] = {}
        self._cache: dict[Hashable, Any] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return self._unwinding is not None and await self._unwinding.leave(kind, error, trace)

    def nested(self) -> Resolver:
        """Return a resolver for a part of the connection: what it enters is left at the end of that."""
        nested = Resolver(self._request, self._websocket, limiter=self.limiter, patient=self._patient)
        nested.given = self.given
        nested._converted = self._converted
        nested._cache = dict(self._cache)
        return nested

    # --- texts ---------------------------------------------------------------------------------------------------

    def convert(self, *plans: Signature) -> dict[str, Any]:
        """Convert all texts that functions and their dependencies take, and return the functions' own by name.

        Raises:
            ParameterError: with all problems, of all plans.
        """
        problems: dict[ErrorDetail, None] = {}
        for plan in plans:
            for parameter in plan.flat():
                if parameter.source in _TEXTS and parameter not in self._converted:
                    try:
                        self._converted[parameter] = self._convert(parameter)
                    except ParameterError as error:
                        problems.update((problem.below(*_place(parameter)), None) for problem in error.problems)
        if problems:
            raise ParameterError(problems)
        return {each.name: self._converted[each] for plan in plans for each in plan.parameters if each.source in _TEXTS}

    def _convert(self, parameter: Parameter) -> Any:
        values = self._texts(parameter)
        if not values:
            if parameter.default is MISSING:
                raise ParameterError([_MISSING])
            return _own(parameter.default)
        if parameter.validator is None:
            return values[-1]
        if isinstance(values[-1], str):
            return parameter.validator.from_strings(values)
        return parameter.validator.from_body(values[-1])  # converted by the path already

    def _texts(self, parameter: Parameter) -> Sequence[Any]:
        """Return what came under a parameter's name: none, one, or all if it takes many."""
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

    async def resolve(self, plan: Signature) -> Arguments:
        """Return what a function is called with; its dependencies are called, and entered.

        Raises:
            ParameterError: with all problems; no dependency was called.
            Exception: whatever a dependency raises.
        """
        values: dict[str, Any] = self.convert(plan)
        for parameter in plan.parameters:
            match parameter.source:
                case ParameterSource.CONNECTION:
                    values[parameter.name] = self._websocket
                case ParameterSource.REQUEST:
                    values[parameter.name] = self._request
                case ParameterSource.PATH_REST:
                    values[parameter.name] = self._rest(plan)
                case ParameterSource.PROVIDED if parameter.key in self.given:
                    values[parameter.name] = self.given[parameter.key]
                case ParameterSource.PROVIDED if parameter.default is not MISSING:
                    values[parameter.name] = parameter.default
            if parameter.dependency is not None:
                values[parameter.name] = await self._depend(parameter.dependency)
        return Arguments(plan, values)

    async def arguments(self, plan: Signature, **provided: Any) -> tuple[list[Any], dict[str, Any]]:
        """Return what a function is called with now; see `resolve` and `Arguments.fill`."""
        return (await self.resolve(plan)).fill(**provided)

    def _rest(self, plan: Signature) -> dict[str, Any]:
        """Return the path parameters that no other parameter takes."""
        taken = {each.key for each in plan.parameters if each.source is ParameterSource.PATH}
        taken.update(each.name for each in plan.parameters)
        return {name: value for name, value in self._request.path_parameters.items() if name not in taken}

    # --- dependencies --------------------------------------------------------------------------------------------

    async def _depend(self, dependency: Dependency) -> Any:
        key = _cache_key(dependency.plan.function)
        if dependency.use_cache and key in self._cache:
            return self._cache[key]
        args, kwargs = await self.arguments(dependency.plan)
        function = partial(dependency.plan.function, *args, **kwargs)
        try:
            value = await run_in_thread(function, self.limiter) if dependency.in_thread else function()
        except (TypeError, ValueError) as error:
            problems = invalid_fields(dependency.plan, error)
            if problems is None:
                raise
            raise ParameterError(problems) from None
        if inspect.iscoroutine(value):
            value = await value
        if dependency.entered:
            value = await self._enter(value, in_thread=dependency.in_thread)
        if dependency.use_cache:
            self._cache[key] = value
        return value

    async def _enter(self, value: Any, *, in_thread: bool) -> Any:
        if isinstance(value, AsyncGenerator):
            value = asynccontextmanager(lambda: value)()
        elif isinstance(value, Generator):
            value = contextmanager(lambda: value)()
        if in_thread and not hasattr(value, "__aenter__"):
            value = ThreadedContext(value, self.limiter)
        if self._unwinding is None:
            self._unwinding = Unwinding(self._websocket.context, patient=self._patient)
        return await self._unwinding.enter(value)


def invalid_fields(plan: Signature, error: Exception) -> list[ErrorDetail] | None:
    """Return what the validators of a class with fields complain of; None if the error is none of theirs."""
    kind = plan.function
    if isinstance(error, ValidationError):
        own = inspect.isclass(kind) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))
        return [_at_source(plan, problem) for problem in problems_of(error)] if own else None
    if not inspect.isclass(kind):
        return None
    validates = attrs.has(kind) or (isinstance(error, ValueError) and dataclasses.is_dataclass(kind))
    problem = ErrorDetail((), "value_error", str(error.args[0] if error.args else error))
    return [_at_source(plan, problem)] if validates else None


def _at_source(plan: Signature, problem: ErrorDetail) -> ErrorDetail:
    """Return a problem of a field as one of the parameter that the field was taken from."""
    texts = [parameter for parameter in plan.parameters if parameter.source in _TEXTS]
    if not problem.loc:  # of all fields together
        return problem.below(*(texts[0].source.value,) if texts else ())
    name, *rest = problem.loc
    for parameter in texts:
        if name in (parameter.name, parameter.key):
            return attrs.evolve(problem, loc=(*_place(parameter), *rest))
    return problem


def _place(parameter: Parameter) -> tuple[str, str]:
    return parameter.source.value, parameter.key


def _own(default: Any) -> Any:
    """Return a default that the connection may change: a copy, if it can be changed."""
    return copy.deepcopy(default) if isinstance(default, list | dict | set) else default


def _cache_key(function: Any) -> Hashable:
    """Functions are called once each, by equality, as methods want it; what has no hash is known by identity."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function  # type: ignore[no-any-return]
