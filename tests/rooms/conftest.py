"""A Redis for each test that asks for one, and backplanes for several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.redis import RedisServer, needs_redis, redis_server

from trio_ws.rooms import Backplane, MemoryBackplane
from trio_ws.rooms.redis import RedisBackplane, connection


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


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
