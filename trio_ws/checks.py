"""Checks of options, made where they are given: an option that can never work is refused there."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs

__all__ = ["check_flag", "check_number", "check_text", "flag", "integer", "list_of", "near_miss", "number"]

Validator = Callable[[object, "attrs.Attribute[Any]", Any], None]


def check_number(name: str, value: object, minimum: float, maximum: float = math.inf, *, none: str = "") -> None:
    """Refuse what is no whole number between two bounds, both included.

    Args:
        name: of the option.
        value: of the option.
        minimum: the least that works.
        maximum: the most that works.
        none: what None means, for the message.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is out of bounds.
    """
    bounds = f"at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
    bounds += f", or None for {none}" if none else ""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, {bounds}, not {value!r}")
    if not minimum <= value <= maximum:
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


def integer(minimum: int, maximum: float = math.inf, *, none: str = "") -> Validator:
    """Return a validator of attrs for whole numbers.

    Args:
        minimum: the least that works.
        maximum: the most that works.
        none: what None means; "" if it is refused.
    """

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value is not None or not none:
            check_number(attribute.name, value, minimum, maximum, none=none)

    return check


def number(says: str, *, positive: bool = False, optional: bool = False) -> Validator:
    """Return a validator of attrs for numbers of 0 or more.

    Args:
        says: what the number must be, for messages.
        positive: refuse 0.
        optional: take None.
    """

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        problem = f"{attribute.name} must be {says}, not {value!r}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(problem)
        if not (value > 0 if positive else value >= 0):
            raise ValueError(problem)

    return check


def flag(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    """Refuse what is neither True nor False: a validator of attrs."""
    check_flag(attribute.name, value)
