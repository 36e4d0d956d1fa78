"""The backplane on Redis keeps the contract of all backplanes: two objects, like two processes, on one Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws.rooms import Backplane
from trio_ws.rooms.redis import RedisBackplane

from .conformance import BackplaneContract

pytestmark = [needs_redis, forgives_coredis, collects_coredis]

_runs = count(1)


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


class TestRedisBackplane(BackplaneContract):
    @pytest.fixture(autouse=True)
    def _redis(self, redis: RedisServer) -> None:
        self.url = redis.url
        self.run = next(_runs)

    def name(self, room: str) -> str:
        return f"{room} {self.run}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Backplane, Backplane]]:
        # A machine that is too busy for a second is no reason to give up the one order here.
        here, there = (RedisBackplane(self.url, local_after=60) for _ in range(2))
        async with here.running(), there.running():
            yield here, there
