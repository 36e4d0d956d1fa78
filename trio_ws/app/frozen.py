"""Read-only copies of lists and dictionaries of JSON."""

from __future__ import annotations

import copy
from typing import Any, NoReturn, TypeVar

from trio_ws.errors import LocalProtocolError

__all__ = ["READ_ONLY", "frozen"]

READ_ONLY = (
    "the session is read-only once the handshake is answered: the cookie is in the answer. "
    "Change it in a guard, a dependency, or before accept() on a route with auto_accept=False"
)

T = TypeVar("T")


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise LocalProtocolError(READ_ONLY)


class FrozenList(list[Any]):
    """A list that cannot be changed; copies of it can."""

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.deepcopy(item, memo) for item in self]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return list, (list(self),)


class FrozenDict(dict[Any, Any]):
    """A dictionary that cannot be changed; copies of it can."""

    def __copy__(self) -> dict[Any, Any]:
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return dict, (dict(self),)


_CHANGES = {
    FrozenList: "__setitem__ __delitem__ __iadd__ __imul__ append clear extend insert pop remove reverse sort",
    FrozenDict: "__setitem__ __delitem__ __ior__ clear pop popitem setdefault update",
}
for _kind, _names in _CHANGES.items():
    for _name in _names.split():
        setattr(_kind, _name, _refuse)


def frozen(value: T) -> T:
    """Return a deep copy with read-only dictionaries, lists and tuples."""
    match value:
        case dict():
            return FrozenDict({key: frozen(each) for key, each in value.items()})  # type: ignore[return-value]
        case list():
            return FrozenList(map(frozen, value))  # type: ignore[return-value]
        case tuple():
            return tuple(map(frozen, value))  # type: ignore[return-value]
        case str() | int() | float() | None:
            return value
        case _:  # a model may change: its cookie does not
            return copy.deepcopy(value)
