"""One strategy for the same arguments, since building one takes longer than drawing from it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = ["remembered"]

P = ParamSpec("P")
T = TypeVar("T")


def remembered(build: Callable[P, T]) -> Callable[P, T]:
    """Return a function that builds a strategy once for the same arguments."""
    built: dict[Hashable, T] = {}

    @wraps(build)
    def remember(*args: P.args, **kwargs: P.kwargs) -> T:
        key = (args, tuple(sorted((name, _hashable(value)) for name, value in kwargs.items())))
        if key not in built:
            built[key] = build(*args, **kwargs)
        return built[key]

    return remember


def _hashable(value: object) -> Hashable:
    return tuple(value) if isinstance(value, (list, set, frozenset)) else value
