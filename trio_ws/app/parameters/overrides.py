"""Substitutes for dependencies, guards and values of requests, for tests."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from trio_ws.app.errors import RegistrationError
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.markers import MISSING, DependsMarker, ValueMarker
from trio_ws.app.parameters.signature import Dependency, Parameter, Signature
from trio_ws.rooms.backplane import Backplane

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OverrideKey", "Overrides"]

OverrideKey: TypeAlias = Any
"""A dependency or a guard, as it was registered; `Query(alias=...)`, `Header(alias=...)`, `Cookie(alias=...)`; or
`Backplane`."""

_Value: TypeAlias = tuple[str, str]
"""The source of a value in a request, and its name there."""


class Overrides:
    """Substitutes by what they stand for, with a record of those that were used.

    Args:
        given: the substitutes. A callable for a dependency is called as a dependency of its own; other values are
            taken as they are. A guard is substituted by a guard, or by True or False; the value of a request by
            a value, which is not converted.
        types: classes whose instances substitutes may take, with their keys, as `Signature.of` has them.

    Raises:
        RegistrationError: a key or a substitute cannot be one.
    """

    def __init__(self, given: Mapping[OverrideKey, Any], types: Mapping[type[Any], str]) -> None:
        self._types = types
        self._values: dict[_Value, Any] = {}
        self._functions: dict[Hashable, Any] = {}
        self._labels: dict[Hashable, str] = {}
        self._unused: dict[Hashable, None] = {}
        self._planned: dict[Hashable, Any] = {}
        for key, substitute in given.items():
            self._add(key, substitute)

    def _add(self, key: OverrideKey, substitute: Any) -> None:
        place: Hashable
        if isinstance(key, ValueMarker):
            if key.alias is None:
                raise RegistrationError(
                    f"overrides: name the value for {substitute!r}: {key.source.title()}(alias=...)"
                )
            place = _place(key.source, key.alias)
            self._values[place] = substitute
            self._labels[place] = f"{key.source.title()}(alias={key.alias!r})"
        elif key is Backplane:
            place = Backplane
            self._functions[place] = substitute
            self._labels[place] = "Backplane"
        elif callable(key) or hasattr(key, "can_activate"):
            place = _identity(key)
            self._functions[place] = substitute
            self._labels[place] = get_label(key)
        else:
            raise RegistrationError(f"overrides: {_describe_mistake(key)}")
        self._unused[place] = None

    @property
    def unused(self) -> list[str]:
        """The keys whose substitutes were not used so far, for messages."""
        return [self._labels[place] for place in self._unused]

    def backplane(self) -> tuple[Any] | None:
        """Return the substitute of the rooms' backplane in a tuple, or None if there is none."""
        if Backplane not in self._functions:
            return None
        self._unused.pop(Backplane, None)
        return (self._functions[Backplane],)

    def guard(self, guard: object) -> tuple[Any] | None:
        """Return the substitute of a guard in a tuple, or None if there is none.

        True and False become guards.
        """
        place = _identity(guard)
        if place not in self._functions:
            return None
        self._unused.pop(place, None)
        substitute = self._functions[place]
        return (_constant(substitute) if isinstance(substitute, bool) else substitute,)

    def dependency(self, dependency: Dependency, path_names: Iterable[str]) -> Dependency:
        """Return the dependency that is called instead, or the same one."""
        place = _identity(dependency.signature.function)
        if place not in self._functions:
            return dependency
        self._unused.pop(place, None)
        names = frozenset(path_names)
        key = (place, names)
        if key not in self._planned:
            function = _as_function(self._functions[place])
            signature = Signature.of(function, path_names=names, types=self._types, where="overrides")
            self._planned[key] = Dependency.of(signature, use_cache=dependency.use_cache)
        planned: Dependency = self._planned[key]
        return planned

    def value(self, parameter: Parameter) -> Any:
        """Return the substitute of a value in the request, or MISSING."""
        place = _place(parameter.source.value, parameter.key)
        if place not in self._values:
            return MISSING
        self._unused.pop(place, None)
        return self._values[place]

    def flat(self, signature: Signature, path_names: Iterable[str]) -> Iterator[Parameter]:
        """Yield the parameters of a signature and of its dependencies, as `Signature.flat` does."""
        for parameter in signature.parameters:
            yield parameter
            if parameter.dependency is not None:
                yield from self.flat(self.dependency(parameter.dependency, path_names).signature, path_names)


def _describe_mistake(key: object) -> str:
    if isinstance(key, DependsMarker):
        return f"name the function itself in place of Depends(...): {get_label(key.dependency)}"
    if isinstance(key, str):
        return f"name the function itself, not its name {key!r}; a value of the request is Query(alias={key!r}), say"
    return f"{key!r} is no dependency, guard, Query(alias=...), Header(alias=...), Cookie(alias=...), or Backplane"


_HEADER: Final = "header"


def _place(source: str, key: str) -> _Value:
    return source, key.lower().replace("_", "-") if source == _HEADER else key


def _identity(function: object) -> Hashable:
    """Return a key for a function; equality counts, so that two bound methods of one object are one function."""
    try:
        hash(function)
    except TypeError:
        return id(function)
    return function


def _constant(value: Any) -> Any:
    async def constant() -> Any:
        return value

    return constant


def _as_function(substitute: Any) -> Any:
    return substitute if callable(substitute) else _constant(substitute)
