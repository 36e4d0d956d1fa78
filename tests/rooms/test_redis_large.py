"""What is large for Redis: an answer, a message; the messages and rooms beside it do not notice."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest
import trio
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server
from trio.testing import wait_all_tasks_blocked

from trio_ws import BackplaneRefused, BackplaneUnavailable
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Presence
from trio_ws.rooms.redis import RedisBackplane, commands
from trio_ws.rooms.redis.command import QueuedCommand

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


async def test_few_large_answers_are_held_at_once(redis, monkeypatch) -> None:
    """A page of history has 4 MiB at most, and Redis and this process hold those of a batch."""
    sizes: list[int] = []
    original = commands.execute

    async def execute(client: object, calls: Sequence[QueuedCommand], seconds: float) -> Sequence[object]:
        sizes.append(len(calls))
        return await original(client, calls, seconds)

    monkeypatch.setattr(commands, "execute", execute)
    backplane = RedisBackplane(redis.url)
    async with backplane.running(), trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(backplane.history, "room", None, None, 5)
    assert sum(sizes) == 30
    assert max(sizes) == 8


async def test_call_at_the_end_says_that_the_end_is_why(redis) -> None:
    backplane, errors = RedisBackplane(redis.url, local_after=None), list[BackplaneUnavailable]()

    async def open_another() -> None:
        async with backplane.subscribe("another", Ear(), history=0):
            pytest.fail("without Redis")

    async def fail(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(BackplaneUnavailable) as caught:
            await call()
        errors.append(caught.value)

    try:
        async with trio.open_nursery() as nursery:
            async with backplane.running():
                redis.stop()
                nursery.start_soon(fail, lambda: backplane.publish("room", PreparedMessage("a"), NOBODY))
                nursery.start_soon(fail, lambda: backplane.presence("room"))
                nursery.start_soon(fail, open_another)
                await wait_all_tasks_blocked()
    finally:
        redis.go_on()
    assert len(errors) == 3
    assert all("the application has ended" in str(error) for error in errors)


async def test_many_long_names_are_subscribed_to_in_parts(redis, caplog) -> None:
    """Redis acknowledges all channels of a command before it sends anything."""
    caplog.set_level(logging.INFO, "trio_ws")
    backplane, ears = RedisBackplane(redis.url, local_after=None), [Ear() for _ in range(24)]
    async with (
        backplane.running(),
        backplane.subscribe("first", Ear(), history=0),  # without one the bound is another
        trio.open_nursery() as nursery,
    ):

        async def hear(ear: Ear, room: str) -> None:
            async with backplane.subscribe(room, ear, history=0):
                await backplane.publish(room, PreparedMessage("a"), NOBODY)
                await ear.hears(1)

        redis.stop()
        try:
            for number, ear in enumerate(ears):
                nursery.start_soon(hear, ear, f"{number:08000}")
            await wait_all_tasks_blocked()
        finally:
            redis.go_on()
    assert caplog.text.count("connected to Redis") == 1, "Redis has ended it"
