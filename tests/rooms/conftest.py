"""A Redis for each test that asks for one, and backplanes for several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.redis import RedisServer, needs_redis, redis_server
from support.repetitions import has_its_turn, mark_repetitions

from trio_ws.rooms import Backplane, MemoryBackplane
from trio_ws.rooms.redis import RedisBackplane, connection

from .system_clock import SystemClock


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what a cluster runs again: it takes each script and kind of call once, not each value."""
    mark_repetitions(items, "rooms", is_repetition)


def is_repetition(item: pytest.Function) -> bool:
    """Return whether it is a test on a cluster with a value that is not the first."""
    on_cluster = item.cls is not None and item.cls.__name__ == "TestCluster"
    return (
        on_cluster
        and hasattr(item, "callspec")
        and not all(has_its_turn(item, name, 0) for name in item.callspec.params)
    )


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def system_clock() -> SystemClock:
    """A room that is opened without Redis is placed in its stream by its time, which is compared with that of Redis."""
    return SystemClock()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are made anew at once, however often they break."""
    monkeypatch.setattr(connection, "_LONGEST_PAUSE", 0.05)


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def backplanes(request: pytest.FixtureRequest) -> Callable[[], Backplane]:
    """Return a backplane for each process."""
    if request.param == "memory":
        shared = MemoryBackplane()
        return lambda: shared
    url = request.getfixturevalue("redis").url
    prefix = request.node.name.replace("[", "_")
    return lambda: RedisBackplane(url, prefix=prefix)
