"""Checks of options when they are given, with errors that show the right form."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

import attrs

from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.headers import is_token

__all__ = ["caught_codes", "check_names", "hinting", "of_kind", "optional_bool", "subprotocols_of"]

_C = TypeVar("_C", bound=Callable[..., Any])

_HOLDERS: Mapping[str, type[Any]] = {"limits": Limits, "timeouts": Timeouts, "compression": Compression}
"""The options that hold others, by name."""


def of_kind(kind: type[Any], *, optional: bool = False) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    """Return a validator of attrs: a value is a `kind`, or None if it is optional, else it is a `TypeError`."""

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not (isinstance(value, kind) or (optional and value is None)):
            raise TypeError(f"{attribute.name} takes {kind.__name__}(...), not {_shown(value)}")

    return check


def _shown(value: object) -> str:
    """Name a value of the wrong kind, and the option that it is for."""
    for name, kind in _HOLDERS.items():
        if isinstance(value, kind):
            return f"{kind.__name__}(...): give that as {name}="
    return repr(value)


def optional_bool(_: object, attribute: attrs.Attribute[bool | None], value: bool | None) -> None:
    """Raise `TypeError` unless a value is True, False or None; it is a validator of attrs."""
    if not isinstance(value, bool | None):
        raise TypeError(f"{attribute.name} takes True, False or None, not {value!r}")


def caught_codes(value: Any) -> Any:
    """Return what `caught_close_codes=` means: close codes, or the built-in `all`.

    Raises:
        TypeError: it is something else.
    """
    listed = isinstance(value, Collection) and not isinstance(value, (str, bytes, Mapping))
    if value is all or (listed and all(isinstance(code, int) and not isinstance(code, bool) for code in value)):
        return value
    raise TypeError(
        f"caught_close_codes takes a list of codes, or the built-in all, not {value!r}: write [1000, 1001], say"
    )


def subprotocols_of(value: Iterable[str]) -> tuple[str, ...]:
    """Return the subprotocols that `subprotocols=` lists.

    Raises:
        TypeError: a single one was given where a list of them is expected, or one is not a str.
        ValueError: one is not a token (RFC 6455 4.1), or is listed twice.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"subprotocols takes a list of names: write subprotocols=[{value!r}]")
    names = tuple(value)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"subprotocols takes a list of names, not of {name!r}")
        if not is_token(name):
            raise ValueError(f"subprotocol {name!r} is not a token (RFC 6455 4.1)")
    if len(set(names)) < len(names):
        raise ValueError(f"a subprotocol is listed twice: {list(names)}")
    return names


def check_names(given: Iterable[str], known: Collection[str], function: str) -> None:
    """Refuse options that a function does not have.

    Raises:
        TypeError: the message says where the option belongs, or what was probably meant.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"{function} has no option {name!r}{_hint(name, known)}")


def _hint(name: str, known: Collection[str]) -> str:
    for holder, kind in _HOLDERS.items():
        if name in _fields(kind) and holder in known:
            return f": write {holder}={kind.__name__}({name}=...)"
        if name in _fields(kind):
            return f": it is one of {kind.__name__}(...)"
    near = get_close_matches(name, known, n=1)
    return f": did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(known))}"


def _fields(kind: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(kind)]


def hinting(function: _C) -> _C:
    """Decorate a function so that the error for an unknown option says where that belongs."""
    known = [name for name, each in inspect.signature(function).parameters.items() if each.kind is each.KEYWORD_ONLY]
    names = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        if not options.keys() <= names:
            check_names(options.keys() - names, known, f"{function.__name__}()")
        return function(*args, **options)

    return checked  # type: ignore[return-value]  # it has the same parameters
