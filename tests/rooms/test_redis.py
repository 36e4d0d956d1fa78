"""The backplane on Redis keeps the contract of all backplanes: two objects, like two processes, on one Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws.rooms import Room
from trio_ws.rooms.redis import RedisBackplane

from .conformance import RedisBackplaneContract
from .hall import open_hall

pytestmark = [needs_redis, forgives_coredis, collects_coredis]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


class TestRedisBackplane(RedisBackplaneContract):
    @pytest.fixture
    def url(self, redis: RedisServer) -> str:
        return redis.url


async def test_one_of_two_processes_leads_through_redis(redis: RedisServer) -> None:
    """Here with the real script; `test_leaders` has the times."""
    begun: list[str] = []
    changed = trio.Event()

    def leader_of(name: str) -> Any:
        async def lead(room: Room) -> None:
            nonlocal changed
            begun.append(name)
            changed.set()
            changed = trio.Event()
            await trio.sleep_forever()

        return lead

    async with AsyncExitStack() as stack:
        halls = [await stack.enter_async_context(open_hall(backplane=RedisBackplane(redis.url))) for _ in range(2)]
        members: list[AsyncExitStack] = []
        for name, hall in zip(("here", "there"), halls, strict=True):
            hall.rooms.room_options("lead", leader=leader_of(name))
            members.append(await stack.enter_async_context(AsyncExitStack()))
            guest = await hall.guest()
            stack.push_async_callback(guest.peer.close)
            first = changed
            await members[-1].enter_async_context(hall.room("lead").join(guest.websocket))
            if name == "here":
                with trio.fail_after(10):
                    await first.wait()
        with trio.fail_after(10):
            while await halls[0].room("lead").total() < 2:
                await trio.sleep(0.01)
        second = changed
        await members[0].aclose()
        with trio.fail_after(10):
            await second.wait()
    assert begun == ["here", "there"]
