"""A Redis for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.redis import RedisServer, redis_server

from trio_ws.rooms.redis import connection


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are made anew at once, however often they break."""
    monkeypatch.setattr(connection, "_LONGEST_PAUSE", 0.05)
