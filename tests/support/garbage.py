"""What outlives a module of tests is left out of later garbage collections.

A process that runs thousands of tests has caches of several libraries, parsed sources and compiled patterns. Each
`gc.collect()` of a test would look at all of them: they took half of the time of such tests, and more with each module.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["keep", "pytest_runtest_teardown", "without_collections"]


def keep() -> None:
    """Leave out all that exists from now on, but not what is garbage; PyPy cannot."""
    if hasattr(gc, "freeze"):
        gc.collect()
        gc.freeze()


@contextmanager
def without_collections() -> Iterator[None]:
    """Make many objects that stay, without looking for garbage among them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """Keep what the tests of a module have left, behind the last of them.

    What is garbage and still open fails the first test of the next module, under `-W error`.
    """
    result = yield
    if nextitem is not None and nextitem.path != item.path:
        keep()
    return result
