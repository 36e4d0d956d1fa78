"""A pytest plugin that gives tests of trio-websocket this library under that name.

Each async test has a bound: one that waits for a private part of the other library would wait for ever. Bounds of their
own, of one second, are measured by the steady clock.
"""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

import pytest
import trio

from support.steady import use_steady_clock
from trio_ws.compat import trio_websocket
from trio_ws.compat.trio_websocket import client

BOUND = 20.0
"""Seconds of a test, by its clock."""

sys.modules["trio_websocket"] = trio_websocket
sys.modules["trio_websocket._impl"] = client
trio_websocket._impl = client  # type: ignore[attr-defined]
client._TRIO_EXC_GROUP_TYPE = BaseExceptionGroup  # type: ignore[attr-defined]


def bounded(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*arguments: Any, **options: Any) -> None:
        with trio.fail_after(BOUND):
            await function(*arguments, **options)

    return wrapper


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound each async test, and give it its clock."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = bounded(item.obj)
    use_steady_clock(items)
