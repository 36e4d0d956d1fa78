"""Valkey beside Redis: the backplane's contract, and what depends on scripts, errors and streams of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from support.redis import VALKEY, RedisServer, collects_coredis, forgives_coredis, redis_server

from trio_ws.rooms import Backplane
from trio_ws.rooms.redis import RedisBackplane

from . import test_foreign, test_redis_busy, test_redis_faults
from .conformance import BackplaneContract
from .test_foreign import room  # noqa: F401 - a fixture

if VALKEY is None:
    pytest.skip("valkey-server is not installed (.ci/run brings it): nothing ran on it", allow_module_level=True)

pytestmark = [forgives_coredis, collects_coredis]

_runs = count(1)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """Stand in for the fixture of the tests that are run again here."""
    with redis_server(program=VALKEY) as server:
        yield server


class TestValkeyBackplane(BackplaneContract):
    @pytest.fixture(autouse=True)
    def _valkey(self, redis: RedisServer) -> None:
        self.url = redis.url
        self.run = next(_runs)

    def name(self, room: str) -> str:  # noqa: F811 - not the fixture
        return f"{room} {self.run}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Backplane, Backplane]]:
        # A machine that is too busy for a second is no reason to give up the one order here.
        here, there = (RedisBackplane(self.url, local_after=60) for _ in range(2))
        async with here.running(), there.running():
            yield here, there


def test_it_is_valkey(redis: RedisServer) -> None:
    assert "server_name:valkey" in redis.ask("INFO server")


# All tests of these modules are run again with the fixture above.
for _module in (test_foreign, test_redis_busy, test_redis_faults):
    globals().update({name: value for name, value in vars(_module).items() if name.startswith("test_")})
