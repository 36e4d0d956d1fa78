"""Workers: several processes with one room on one Redis, and WebSocket clients that are with one or the other."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
import pytest
import trio
from support.forked import Forked, fork
from support.redis import RedisServer, collects_coredis, forgives_coredis, line_to, needs_redis, redis_server

from trio_ws import WebSocket, WebSocketDisconnect, open_websocket

from .worker import work

pytestmark = [needs_redis, forgives_coredis, collects_coredis]

PATIENCE = 60.0
"""Seconds that anything here may take on a busy machine; it takes a few at most."""


@attrs.frozen
class Worker:
    """A process of `worker.py`, as a visitor of one room sees it."""

    process: Forked
    url: str
    room: str = "r"

    @asynccontextmanager
    async def in_room(self, user: str, **query: str) -> AsyncIterator[tuple[WebSocket, dict[str, Any]]]:
        """Be in the room, after hearing whether nothing was missed; what comes before that is history."""
        text = "&".join(f"{name}={value}" for name, value in {"user": user, **query}.items())
        async with open_websocket(f"{self.url}/room/{self.room}?{text}") as ws:
            history = []
            with trio.fail_after(PATIENCE):
                while "recovered" not in (message := await ws.receive_json()):
                    history.append(message)
            yield ws, {**message, "history": history}


@contextmanager
def started(url: str, *names: str, **options: Any) -> Iterator[list[Forked]]:
    """Have processes for a block, which begin meanwhile, and are killed at its end."""
    processes = [fork(work, url, options, name) for name in names]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()


def ready(process: Forked) -> Worker:
    return Worker(process, f"ws://127.0.0.1:{process.pipe.recv()}")


@asynccontextmanager
async def workers(url: str, *names: str, **options: Any) -> AsyncIterator[list[Worker]]:
    """Run workers for a block, and end them."""
    with started(url, *names, **options) as processes:
        yield [await trio.to_thread.run_sync(ready, process) for process in processes]
        for process in processes:
            await trio.to_thread.run_sync(process.end)


@attrs.frozen
class Lasting:
    """Two workers for several tests, and their Redis."""

    redis: RedisServer
    both: list[Worker]


@pytest.fixture(scope="module")
def lasting() -> Iterator[Lasting]:
    with redis_server() as redis, started(redis.url, "one", "two") as processes:
        yield Lasting(redis, [ready(process) for process in processes])
        for process in processes:
            process.end()


@pytest.fixture
def pair(lasting: Lasting, request: pytest.FixtureRequest) -> list[Worker]:
    """Both, in a room of the test's own."""
    return [attrs.evolve(worker, room=request.node.name) for worker in lasting.both]


async def present(worker: Worker, users: list[str]) -> float:
    """Wait until exactly these are present, as a worker sees it; return how many seconds that took."""
    start = time.monotonic()
    async with open_websocket(f"{worker.url}/present/{worker.room}") as ws:
        with trio.fail_after(PATIENCE):
            while True:
                await ws.send("?")
                if await ws.receive_json() == users:
                    return time.monotonic() - start
                await trio.sleep(0.02)


async def data(ws: WebSocket, count: int) -> list[Any]:
    """Return what is said next, as often as that."""
    said = []
    with trio.fail_after(PATIENCE):
        while len(said) < count:
            message = await ws.receive_json()
            if "data" in message:
                said.append(message["data"])
    return said


async def test_members_in_two_processes_share_messages_and_presence(pair) -> None:
    """Members of one room hear and see each other in two processes."""
    one, two = pair
    async with one.in_room("Ann") as (ann, _), two.in_room("Bob") as (bob, _):
        await ann.send_json("from Ann")
        assert await data(bob, 1) == ["from Ann"]
        await bob.send_json("from Bob")
        assert await data(ann, 2) == ["from Ann", "from Bob"]
        for worker in (one, two):
            await present(worker, ["Ann", "Bob"])
    await present(one, [])


async def test_resume_in_another_process_delivers_missed_messages_once(pair) -> None:
    """Also when it comes at once, and that process has not read what it has seen."""
    one, two = pair
    async with one.in_room("Ann") as (ann, _), two.in_room("Bob") as (bob, _):
        seen = ""
        for turn in range(10):
            worker = (one, two)[turn % 2]
            async with worker.in_room("Cid", since=seen) as (cid, greeting):
                assert greeting["recovered"] is bool(turn)
                await ann.send_json(f"said {turn}")
                said = greeting["history"]
                with trio.fail_after(PATIENCE):
                    while not said or said[-1]["data"] != f"said {turn}":
                        said.append(await cid.receive_json())
                expected = [f"missed {turn}", f"said {turn}"] if turn else [f"said {turn}"]
                assert [each["data"] for each in said] == expected
                seen = said[-1]["id"]
            await bob.send_json(f"missed {turn + 1}")
            with trio.fail_after(PATIENCE):
                while "published" not in await bob.receive_json():
                    pass


async def test_resume_too_late_or_from_unknown_id_is_reported(pair) -> None:
    """Who comes back after too long or from nowhere is told so."""
    one, _ = pair
    async with one.in_room("Ann", since="1-1") as (ann, greeting):
        assert greeting["recovered"] is False
        for number in range(5):
            await ann.send_json(number)
        assert await data(ann, 5) == list(range(5))
        async with one.in_room("Bob") as (_, new):
            assert new["recovered"] is None
            assert [each["data"] for each in new["history"]] == [2, 3, 4]
        async with one.in_room("Bob", since="whatever") as (_, lost):
            assert lost["recovered"] is False


async def test_history_outlives_the_last_member_across_processes(pair) -> None:
    """History is there after the last member has left also in another process."""
    one, two = pair
    async with one.in_room("Ann") as (ann, _):
        for number in range(5):
            await ann.send_json(number)
        await data(ann, 5)
    await present(two, [])
    async with two.in_room("Bob") as (_, greeting):
        assert [each["data"] for each in greeting["history"]] == [2, 3, 4]


async def test_the_members_of_a_killed_process_are_gone_after_a_while(lasting) -> None:
    one, _ = lasting.both
    with started(lasting.redis.url, "three", presence_timeout=1) as (process,):
        three = ready(process)
        async with one.in_room("Ann"):
            with pytest.raises(WebSocketDisconnect):
                async with three.in_room("Bob") as (bob, _):
                    await present(one, ["Ann", "Bob"])
                    process.kill()
                    while True:  # what was on its way may come first
                        await bob.receive()
            assert await present(one, ["Ann"]) < 30


@pytest.mark.parametrize("seconds", [1, pytest.param(30, marks=pytest.mark.soak)])
async def test_a_process_that_loses_its_link_serves_on_and_catches_up(pair, lasting, seconds) -> None:
    """The link is away for a second here; what decides is how much is published meanwhile, not for how long."""
    one, _ = pair
    options = {"command_timeout": 1, "publish_timeout": PATIENCE}
    async with line_to(lasting.redis) as line:
        async with workers(line.url, "two", **options) as (elsewhere,):
            two = attrs.evolve(elsewhere, room=one.room)
            async with one.in_room("Ann") as (ann, _), two.in_room("Bob") as (bob, _):
                await ann.send_json("before")
                assert await data(bob, 1) == ["before"]
                line.cut_off()
                for number in range(200):
                    await ann.send_json(number)
                await data(ann, 201)
                async with two.in_room("Cid") as (cid, _):  # the room is open there: it needs no Redis
                    await cid.send_json("from Cid")
                    assert await data(bob, 1) == await data(cid, 1) == ["from Cid"]
                    await trio.sleep(seconds)
                    line.mend()
                    assert await data(bob, 200) == await data(cid, 200) == list(range(200))
                    assert await data(ann, 1) == ["from Cid"]
                    await ann.send_json("after")
                    assert await data(bob, 1) == await data(cid, 1) == ["after"]
                await present(one, ["Ann", "Bob"])


# --- kill -9 ------------------------------------------------------------------------------------------------------


KILLED = 600
"""Messages over three kills: so many that each kill is among those of all publishers."""


async def publish_and_kill(count: int, kills: int, local_after: float | None) -> dict[str, Any]:
    """Publish from two processes, kill Redis meanwhile, and return what was acknowledged and what each client heard.

    Redis writes every command to the disk before it answers: with `appendfsync everysec`, its default, what it had
    acknowledged in the last second may be gone.
    """
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    options = {
        "publish_timeout": PATIENCE,
        "stream_length": 2 * count,
        "command_timeout": 5,
        "local_after": local_after,
    }
    acknowledged: list[str] = []
    heard: dict[str, list[dict[str, Any]]] = {"one": [], "two": []}
    with redis_server(*durable) as redis:
        async with workers(redis.url, "one", "two", **options) as both:

            async def publish(worker: Worker) -> None:
                async with open_websocket(f"{worker.url}/publish/{worker.room}?count={count // 2}&tasks=5") as ws:
                    async for identifier in ws:
                        acknowledged.append(json.loads(identifier))

            async def hear(name: str, worker: Worker, *, task_status: trio.TaskStatus[None]) -> None:
                async with worker.in_room(name) as (ws, _):
                    task_status.started()
                    async for message in ws:
                        heard[name].append(json.loads(message))

            start = time.monotonic()
            async with trio.open_nursery() as listeners:
                for name, worker in zip(heard, both, strict=True):
                    await listeners.start(hear, name, worker)
                with trio.fail_after(4 * PATIENCE):
                    async with trio.open_nursery() as nursery:
                        for worker in both:
                            nursery.start_soon(publish, worker)
                        for kill in range(1, kills + 1):
                            while len(acknowledged) < kill * count // (kills + 1):
                                await trio.sleep(0.005)
                            redis.kill()
                            await trio.to_thread.run_sync(redis.start)
                    while min(map(len, heard.values())) < count:
                        await trio.sleep(0.01)
                await trio.sleep(0.3)  # for what comes twice
                listeners.cancel_scope.cancel()
    return {"acknowledged": acknowledged, "heard": heard, "seconds": time.monotonic() - start}


def check(result: dict[str, Any], count: int) -> None:
    """None lost, none doubled, that of each publisher in order."""
    acknowledged = result["acknowledged"]
    assert len(set(acknowledged)) == len(acknowledged) == count
    for messages in result["heard"].values():
        assert len(messages) == count
        for task in [f"{name}-{number}" for name in ("one", "two") for number in range(5)]:
            numbers = [message["data"]["number"] for message in messages if message["data"]["task"] == task]
            assert numbers == list(range(count // 10))


def check_order(result: dict[str, Any]) -> None:
    """One order for all, and the ids that were acknowledged."""
    one, two = result["heard"].values()
    assert one == two, "both clients heard the same in the same order"
    assert Counter(message["id"] for message in one) == Counter(result["acknowledged"])


async def test_acknowledged_messages_survive_three_redis_kills_once() -> None:
    """Nothing acknowledged is lost or doubled when Redis is killed three times."""
    await figures(KILLED, kills=3)


async def test_total_order_is_kept_over_three_redis_kills() -> None:
    """The one order for all is kept when Redis is killed three times."""
    check_order(await figures(KILLED, kills=3, local_after=None))


@pytest.mark.soak
async def test_acknowledged_messages_survive_thirty_redis_kills_once() -> None:
    """Nothing is lost or doubled when Redis is killed thirty times."""
    await figures(30_000, kills=30)


async def figures(count: int, kills: int, local_after: float | None = 1.0) -> dict[str, Any]:
    """Check, and print what `docs/scaling.md` says (`-s` shows it)."""
    result = await publish_and_kill(count, kills, local_after)
    check(result, count)
    first = Counter(name for name, messages in result["heard"].items() for each in messages if "~" in each["id"])
    print(f"\n{count:,} messages from two processes, {kills} kills: none lost, none doubled, {result['seconds']:.1f} s")
    print(f"heard before, or while others were heard before, they were in the stream: {dict(first)}")
    return result
