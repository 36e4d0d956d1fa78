"""A room's stream lives as long as the room has members, however quiet it is, and whatever wakes the reader."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from itertools import pairwise
from typing import Any

import pytest
import trio
from support.internals import internal
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.heads import StreamHeads
from trio_ws.rooms.redis.local_delivery import LocalDelivery
from trio_ws.rooms.redis.options import Options
from trio_ws.rooms.redis.scripts import CONFIRM
from trio_ws.rooms.redis.stream import StreamState
from trio_ws.rooms.redis.stream_reader import StreamReader

from .conformance import NOBODY, Ear, hearing


class Quiet:
    """A client of a Redis in which no room has messages; it notes when streams were told to live on."""

    def __init__(self) -> None:
        self.touched: list[float] = []
        self.results: tuple[Any, ...] = ()
        self._asked: list[Any] = []

    @asynccontextmanager
    async def pipeline(self, **_: object) -> AsyncIterator[Quiet]:
        self._asked = []
        yield self
        await trio.lowlevel.checkpoint()
        self.results = tuple(self._asked)

    def evalsha(self, digest: str, *, keys: Sequence[str], args: Sequence[object]) -> None:
        if digest == sha1(CONFIRM.encode()).hexdigest():
            self.touched.append(trio.current_time())
            self._asked.append([[0, b"0-0", b"0", b"", None] for _ in keys])
        else:
            self._asked.append([0 for _ in keys])

    def __getattr__(self, name: str) -> Callable[..., None]:
        assert name in ("xread", "xrevrange")
        return lambda *_, **__: self._asked.append(())

    async def subscribe(self, *channels: bytes) -> None:
        await trio.lowlevel.checkpoint()


async def read_one_room(seconds: float, *links: float, **options: object) -> list[float]:
    """Have a room open in which nothing is said, over links that last some seconds; return when it was touched."""
    feeds: dict[str, StreamState] = {}
    reader = StreamReader(
        Options(**options), feeds, LocalDelivery(Options(), "me", feeds), StreamHeads(feeds), lambda room: None
    )
    client = Quiet()

    async def read() -> None:
        for link in links:
            with trio.move_on_after(link):
                await reader.run(client, client)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        async with reader.subscribe("room", Ear(), history=0, gap=print):
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()
    return client.touched


def longest_pause(touched: list[float]) -> float:
    return max(later - earlier for earlier, later in pairwise(touched))


@pytest.mark.parametrize(("retention", "poll_interval"), [(0.4, 60), (1, 5), (4, 3), (360, 5), (3600, 86400)])
async def test_a_quiet_room_is_kept_whatever_the_poll_interval(autojump_clock, retention, poll_interval) -> None:
    """Retention below the poll interval let a room expire under its members."""
    touched = await read_one_room(10 * retention, math.inf, retention=retention, poll_interval=poll_interval)
    assert 30 <= len(touched) <= 50, "that is ten times as long as the stream lives"
    assert longest_pause(touched) <= retention / 3


async def test_a_quiet_room_is_kept_over_links_that_soon_break(autojump_clock) -> None:
    """Each link was shorter than the time to the first touch, which therefore never came."""
    touched = await read_one_room(40, *(80 * [0.5]), retention=4, poll_interval=60)
    assert touched[-1] >= touched[0] + 39
    assert longest_pause(touched) <= 1


@pytest.mark.parametrize("retention", [0, -1, 0.05, 0.0001, math.nan, math.inf, 1e13])
def test_a_retention_that_cannot_hold_is_refused(retention) -> None:
    with pytest.raises(ValueError, match="retention"):
        RedisBackplane("redis://localhost", retention=retention)


@pytest.mark.parametrize("poll_interval", [0, -1, math.nan, math.inf])
def test_a_poll_interval_that_cannot_hold_is_refused(poll_interval) -> None:
    with pytest.raises(ValueError, match="poll_interval"):
        RedisBackplane("redis://localhost", poll_interval=poll_interval)


@pytest.mark.soak
@needs_redis
@forgives_coredis
@collects_coredis
async def test_a_quiet_room_outlives_its_retention_in_redis() -> None:
    with redis_server() as redis:
        backplane = RedisBackplane(redis.url, retention=4, poll_interval=60)
        lost: list[Any] = []
        async with backplane.running(), hearing(backplane, 5, gap=lost.append) as ear:
            await backplane.publish("room", PreparedMessage("before"), NOBODY)
            await trio.sleep(20)
            await backplane.publish("room", PreparedMessage("after"), NOBODY)
            await ear.hears(2)
            async with backplane.subscribe("room", Ear(), history=5) as log:
                assert [entry.message.data for entry in log] == ["before", "after"]
        assert lost == []


@needs_redis
@forgives_coredis
@collects_coredis
async def test_a_room_opened_shortly_before_it_expires_lives_on() -> None:
    with redis_server() as redis:
        backplane = RedisBackplane(redis.url, retention=60, poll_interval=60)
        async with backplane.running():
            await backplane.publish("room", PreparedMessage("said"), NOBODY)
            async with backplane.subscribe("another", Ear(), history=0):
                key = internal(backplane, "_keys").stream("room")
                redis.ask(f"PEXPIRE {key} 30000")
                async with backplane.subscribe("room", Ear(), history=1) as log:
                    assert len(log) == 1
                    assert 30_000 < int(redis.ask(f"PTTL {key}")[1:]) <= 60_000
