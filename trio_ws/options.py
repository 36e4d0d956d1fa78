"""Checks of options, with errors that show the right form.

A value of the wrong type is a `TypeError` ("it takes ..."), one that can never work a `ValueError` ("it must be ...").
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs

__all__ = [
    "WhenFull",
    "check_flag",
    "check_names",
    "check_number",
    "check_text",
    "check_when_full",
    "flag",
    "hint_unknown_options",
    "integer",
    "keyword_options",
    "list_of",
    "number",
    "of_kind",
    "optional_bool",
    "register_group",
    "unknown_hint",
]

WhenFull: TypeAlias = Literal["pause", "call"]
"""What happens to messages while the outbox is full: they wait, and reading stops; or the function is called anyway."""

_C = TypeVar("_C", bound=Callable[..., Any])

Validator: TypeAlias = Callable[[object, "attrs.Attribute[Any]", Any], None]

_GROUPS: Final[dict[str, type[Any]]] = {}
"""The options that hold others, by name; `register_group` fills it."""


# --- values ------------------------------------------------------------------------------------------------------


def check_number(name: str, value: object, minimum: float, maximum: float = math.inf, *, none: str = "") -> None:
    """Check that an option is a whole number within bounds.

    Args:
        name: of the option.
        value: of the option.
        minimum: the least that works.
        maximum: the most that works.
        none: the meaning of None, for the message.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is out of bounds.
    """
    or_none = f", or None for {none}" if none else ""
    if isinstance(value, bool) or not isinstance(value, int):
        bounds = f", {minimum:g} or more" if maximum == math.inf else f" from {minimum:g} to {maximum:g}"
        raise TypeError(f"{name} takes a whole number{bounds}{or_none}, not {value!r}")
    if not minimum <= value <= maximum:
        bounds = f"at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
        raise ValueError(f"{name} must be {bounds}{or_none}, not {value!r}")


def check_flag(name: str, value: object, *, optional: bool = False) -> None:
    """Check that an option is a bool; None if it is optional.

    Raises:
        TypeError: it is something else.
    """
    if not (isinstance(value, bool) or (optional and value is None)):
        raise TypeError(f"{name} takes {'True, False or None' if optional else 'True or False'}, not {value!r}")


def check_text(name: str, value: object) -> None:
    """Check that an option is text.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} takes text, not {value!r}")


def list_of(name: str, value: Any, what: str) -> list[Any]:
    """Return the items of a list, tuple, set or other iterable.

    Raises:
        TypeError: it is a single item, such as a text or a class, or a mapping.
    """
    if isinstance(value, str | bytes | type) or callable(value):
        raise TypeError(f"{name} takes a list of {what}: write {name}=[{getattr(value, '__name__', repr(value))}]")
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"{name} takes a list of {what}, not {value!r}")
    return list(value)


# --- validators of attrs -----------------------------------------------------------------------------------------


def integer(minimum: int, maximum: float = math.inf, *, none: str = "") -> Validator:
    """Return a validator of whole numbers within bounds.

    Args:
        minimum: the least that works.
        maximum: the most that works.
        none: the meaning of None; "" if it is refused.
    """

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None or not none:
            check_number(attribute.name, value, minimum, maximum, none=none)

    return check


def number(unit: str, *, positive: bool = False, none: str = "") -> Validator:
    """Return a validator of numbers that are not negative.

    Args:
        unit: of the number, for messages, such as "of seconds".
        positive: refuse 0.
        none: the use of None, such as "for no bound"; "" if it is refused.
    """
    form = f"a number {unit}, {'more than 0' if positive else '0 or more'}{f', or None {none}' if none else ''}"

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and none:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{attribute.name} takes {form}, not {value!r}")
        if not (value > 0 if positive else value >= 0):
            raise ValueError(f"{attribute.name} must be {form}, not {value!r}")

    return check


def flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate a bool."""
    check_flag(attribute.name, value)


def optional_bool(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Validate a bool or None."""
    check_flag(attribute.name, value, optional=True)


def of_kind(kind: type[Any], *, optional: bool = False) -> Validator:
    """Return a validator of instances of `kind`.

    None is valid, too, if it is optional. Everything else is a `TypeError`.
    """

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not (isinstance(value, kind) or (optional and value is None)):
            raise TypeError(f"{attribute.name} takes {kind.__name__}(...), not {_shown(value)}")

    return check


def _shown(value: object) -> str:
    """Describe a value of the wrong kind, and its proper option."""
    for name, kind in _GROUPS.items():
        if isinstance(value, kind):
            return f"{kind.__name__}(...): give that as {name}="
    return repr(value)


# --- names -------------------------------------------------------------------------------------------------------


def register_group(name: str, kind: type[Any]) -> None:
    """Register a class with fields as an option that groups others.

    Errors for unknown names refer to it.

    Args:
        name: of the option.
        kind: an attrs class, whose own error for an unknown field has the hint, too.
    """
    _GROUPS[name] = kind
    init, known = kind.__init__, _fields(kind)

    def explaining(self: object, *args: object, **values: object) -> None:
        if args:
            raise TypeError(
                f"{kind.__name__}() takes options by name, such as {kind.__name__}({known[0]}={args[0]!r:.80}); it has "
                f"{', '.join(known)}"
            )
        check_names(values, known, f"{kind.__name__}(...)")
        init(self, *args, **values)

    functools.update_wrapper(explaining, init)
    kind.__init__ = explaining


def check_names(given: Iterable[str], known: Collection[str], function: str) -> None:
    """Refuse unknown options of a function.

    Raises:
        TypeError: the message has the option's proper place, or a similar name.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"{function} has no option {name!r}{unknown_hint(name, known)}")


def unknown_hint(name: str, known: Collection[str]) -> str:
    """Return a hint for an unknown option, to end an error message.

    It is the option's proper place, or a similar name.
    """
    for holder, kind in _GROUPS.items():
        if name in _fields(kind) and holder in known:
            return f": write {holder}={kind.__name__}({name}=...)"
        if name in _fields(kind):
            return f": it is one of {kind.__name__}(...)"
    from difflib import get_close_matches  # noqa: PLC0415 - for errors only

    near = get_close_matches(name, known, n=1)
    return f": did you mean {near[0]!r}?" if near else f"; it has {', '.join(sorted(known))}"


def _fields(kind: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(kind)]


def keyword_options(function: Callable[..., Any]) -> frozenset[str]:
    """Return the names of a function's keyword-only parameters."""
    parameters = inspect.signature(function).parameters.values()
    return frozenset(each.name for each in parameters if each.kind is each.KEYWORD_ONLY)


def hint_unknown_options(function: _C) -> _C:
    """Decorate a function to add hints to errors for unknown options."""
    known = keyword_options(function)
    names = frozenset(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        if not options.keys() <= names:
            name = function.__qualname__.removesuffix(".__init__").rpartition(".")[2]
            check_names(options.keys() - names, known, f"{name}()")
        return function(*args, **options)

    return checked  # type: ignore[return-value]  # it has the same parameters


def check_when_full(when_full: object) -> None:
    """Raise ValueError for a policy that does not exist."""
    if when_full not in ("pause", "call"):
        raise ValueError(f'when_full is "pause" or "call", not {when_full!r}')
