"""The order of tests among several processes: each begins with those that take long, and ends with short ones.

Each gets one run of the list, and takes from the end of another's when it is done. Long tests at the end would leave
the others idle; and tests of one kind share what is started once in a process: a browser, what a Redis needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest

from support import services

__all__ = ["long_first", "spread"]

WITH_PROGRAMS = ("benchmarks", "deploy", "examples", "workers")
"""Folders whose tests start programs, whether they are marked or not."""
IN_A_BROWSER = ("tests/examples/", "tests/interop/test_chromium.py", "tests/documented/test_guide.py")

_T = TypeVar("_T")


def long_first(items: list[pytest.Item], workers: int) -> None:
    """Order tests for so many processes."""
    kinds: list[list[pytest.Item]] = [[], [], []]
    rest: list[pytest.Item] = []
    for item in items:
        kind = _kind_of(item)
        (rest if kind is None else kinds[kind]).append(item)
    groups: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, kind in enumerate(kinds):
        groups[number % workers] += kind
    items[:] = spread(groups, rest)


def spread(groups: Sequence[list[_T]], rest: list[_T]) -> list[_T]:
    """Return all in one list of as many equal runs as there are groups, each with a group at its beginning."""
    left, number, ordered = list(rest), sum(map(len, groups)) + len(rest), list[_T]()
    for count, group in enumerate(groups):
        size = (number - len(ordered)) // (len(groups) - count)
        further = max(size - len(group), 0)
        ordered += [*group, *left[:further]]
        del left[:further]
    return ordered + left


def _kind_of(item: pytest.Item) -> int | None:
    if item.nodeid.startswith(IN_A_BROWSER):
        return 0
    if item.get_closest_marker("slow") is None:
        return 2 if item.nodeid.split("/")[1] in WITH_PROGRAMS else None
    needs_redis = any(mark.kwargs.get("reason") == services.REDIS.reason for mark in item.iter_markers("skipif"))
    return 1 if needs_redis else 2
