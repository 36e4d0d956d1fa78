"""Checks of options, made where they are given: an option that can never work is refused there."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs

__all__ = ["check_flag", "check_number", "check_text", "flag", "integer", "list_of", "near_miss", "number"]

Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def check_number(name: str, value: object, minimum: float, maximum: float = math.inf, *, whole: bool = True) -> None:
    """Refuse what is no number between two bounds, both included.

    Raises:
        TypeError: it is no number, or none without a fraction though it counts something.
        ValueError: it is out of bounds, or NaN.
    """
    kind = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} takes {'a whole number' if whole else 'a number'}, not {value!r}")
    if not minimum <= value <= maximum:
        bounds = f"at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
        raise ValueError(f"{name} must be {bounds}, not {value!r}")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} takes True or False, not {value!r}")


def check_text(name: str, value: object) -> None:
    """Refuse what is no text."""
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


def near_miss(name: str, known: Collection[str]) -> str:
    """Return a sentence with the known name that is most like another one; "" if none is."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f": did you mean {found[0]}=?" if found else ""


def integer(minimum: int, maximum: float = math.inf, *, optional: str = "") -> Validator:
    """Return a validator of attrs for whole numbers.

    Args:
        minimum: the least that works.
        maximum: the most that works.
        optional: what None means; "" if it is refused.
    """

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None or not optional:
            _with_hint(optional, check_number, attribute.name, value, minimum, maximum)

    return check


def number(*, positive: bool = False, optional: str = "", unit: str = "") -> Validator:
    """Return a validator of attrs for numbers of 0 or more, or of more than 0."""

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{attribute.name} takes a number{unit and f' of {unit}'}, not {value!r}")
        if not (value > 0 if positive else value >= 0):
            least = "more than 0" if positive else "0 or more"
            raise ValueError(
                f"{attribute.name} must be a number{unit and f' of {unit}'}, {least}{_or(optional)}, not {value!r}"
            )

    return check


def flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is neither True nor False: a validator of attrs."""
    check_flag(attribute.name, value)


def _or(optional: str) -> str:
    return f", or None {optional}" if optional else ""


def _with_hint(optional: str, check: Callable[..., None], *arguments: Any) -> None:
    try:
        check(*arguments)
    except (TypeError, ValueError) as error:
        if not optional:
            raise
        raise type(error)(f"{error}; None {optional}") from None
