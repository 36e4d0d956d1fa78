"""What is large for Redis: an answer, a message; the messages and rooms beside it do not notice."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trio
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server
from trio.testing import wait_all_tasks_blocked

from trio_ws import BackplaneRefused
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Presence
from trio_ws.rooms.redis import RedisBackplane

from .conformance import NOBODY, Ear

pytestmark = [needs_redis, forgives_coredis, collects_coredis]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis that ends connections for notifications with 128 kB of answers, and takes no text of more than 1 MB."""
    with redis_server("--client-output-buffer-limit", "pubsub 128kb 0 0", "--proto-max-bulk-len", "1mb") as server:
        yield server


@pytest.mark.parametrize("what", ["history", "presence"])
async def test_large_answer_breaks_no_connection(redis, caplog, what) -> None:
    """Redis bounds what it holds for a connection with subscriptions: 32 MB, unless it is configured."""
    caplog.set_level(logging.INFO, "trio_ws")
    backplane, ear = RedisBackplane(redis.url, local_after=None), Ear()
    async with backplane.running(), backplane.subscribe(what, ear, history=0):
        for number in range(20):
            await backplane.publish(what, PreparedMessage("x" * 15_000), NOBODY)
            backplane.enter(what, Presence(f"m-{number}", {"user": "x" * 15_000}))
        with trio.fail_after(20):
            while await backplane.count(what) < 20:
                await trio.sleep(0.01)
            found = await (backplane.presence(what) if what == "presence" else backplane.history(what, None, None, 20))
    assert len(found) == 20
    assert caplog.text.count("connected to Redis") == 1, caplog.text


async def test_message_too_large_for_redis_fails_alone_in_its_room(redis) -> None:
    """Those that are published with it are sent without it."""
    backplane, ear, other = RedisBackplane(redis.url, local_after=None, max_message_size=2**22), Ear(), Ear()
    refused: list[str] = []

    async def publish(room: str, text: str) -> None:
        try:
            await backplane.publish(room, PreparedMessage(text), NOBODY)
        except BackplaneRefused:
            refused.append(text[:1])

    async with (
        backplane.running(),
        backplane.subscribe("room", ear, history=0),
        backplane.subscribe("other", other, history=0),
        trio.open_nursery() as nursery,
    ):
        redis.stop()
        try:
            for room, text in [("other", "a"), ("room", "b"), ("room", "x" * 2**20), ("room", "c"), ("other", "d")]:
                nursery.start_soon(publish, room, text)
                await wait_all_tasks_blocked()  # the first is under way, the others gather
        finally:
            redis.go_on()
        with trio.fail_after(5):
            await ear.hears(2)
            await other.hears(2)
    assert (refused, ear.data, other.data) == (["x"], ["b", "c"], ["a", "d"])
