from __future__ import annotations

import pytest
from support.repetitions import has_its_turn, mark_repetitions

from .ways import Way

WAYS = ("memory", "poller", "http1", "stream", "http2")
"""The test client, both of our transports, and hypercorn with what the client speaks."""
SAME_CODE = ("stream", "http2")
"""Run by `make repetitions`: the test client runs the code of the first, and `http1` that of the second."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each way to reach an application."""
    return Way(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs the same code of ours again."""
    mark_repetitions(items, "documented", is_repetition)


def is_repetition(item: pytest.Function) -> bool:
    """Return whether another way runs the same: in memory a test has all values, elsewhere one of them."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    way = parameters.get("way", "memory")
    values = [name for name in parameters if name != "way"]
    number = WAYS.index(way)
    return way != "memory" and (way in SAME_CODE or not all(has_its_turn(item, name, number) for name in values))
