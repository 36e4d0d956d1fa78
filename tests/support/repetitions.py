"""Tests that run the same code of ours once more, on another network or with another value there.

`make test` leaves them out, `make repetitions` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

__all__ = ["has_its_turn", "mark_repetitions"]


def mark_repetitions(
    items: Iterable[pytest.Item], folder: str, is_repetition: Callable[[pytest.Function], bool]
) -> None:
    """Mark the repetitions among the tests of a folder.

    Args:
        items: the tests of all folders.
        folder: a name below `tests`.
        is_repetition: whether a test of it is one.
    """
    for item in items:
        if isinstance(item, pytest.Function) and f"tests/{folder}/" in item.nodeid and is_repetition(item):
            item.add_marker("repetition")


def has_its_turn(item: pytest.Function, name: str, number: int) -> bool:
    """Return whether a test has the value of a parameter that comes up for a network, which are numbered.

    It is the first value if a fixture gives them.
    """
    value = item.callspec.params[name]
    values = _values(item, name) or [_FIRST.setdefault((item.path, item.originalname, name), value)]
    return value is values[number % len(values)]


_FIRST: dict[tuple[object, ...], object] = {}
"""The first values that were asked for, of parameters whose values fixtures give."""


def _values(item: pytest.Function, name: str) -> list[object]:
    """Return all values of a parameter, none if a fixture gives them."""
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0]
        split = [each.strip() for each in names.split(",")] if isinstance(names, str) else list(names)
        if name in split:
            many = len(split) > 1
            rows = [row.values if hasattr(row, "marks") else row if many else (row,) for row in mark.args[1]]
            return [row[split.index(name)] for row in rows]
    return []
