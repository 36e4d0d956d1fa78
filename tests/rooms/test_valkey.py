"""Valkey beside Redis: the backplane's contract, and what depends on scripts, errors and streams of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.redis import VALKEY, RedisServer, collects_coredis, forgives_coredis, redis_server

from . import test_foreign, test_redis_busy, test_redis_faults
from .conformance import RedisBackplaneContract
from .test_foreign import room  # noqa: F401 - a fixture

if VALKEY is None:
    pytest.skip("valkey-server is not installed (.ci/run brings it): nothing ran on it", allow_module_level=True)

pytestmark = [forgives_coredis, collects_coredis]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """Stand in for the fixture of the tests that are run again here."""
    with redis_server(program=VALKEY) as server:
        yield server


class TestValkeyBackplane(RedisBackplaneContract):
    @pytest.fixture
    def url(self, redis: RedisServer) -> str:
        return redis.url


def test_it_is_valkey(redis: RedisServer) -> None:
    assert "server_name:valkey" in redis.ask("INFO server")


# All tests of these modules are run again with the fixture above.
for _module in (test_foreign, test_redis_busy, test_redis_faults):
    globals().update({name: value for name, value in vars(_module).items() if name.startswith("test_")})
