"""Processes that are frozen, as on a machine that sleeps or swaps, while the others and Redis go on."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from support.forked import Forked, fork
from support.redis import RedisServer, needs_redis, redis_server

from .chaos import Listener, Voice
from .frozen import speak

pytestmark = needs_redis

PATIENCE = 60.0
NAMES = ("one", "two", "three")
OPTIONS = {
    "publish_timeout": 0.3,
    "command_timeout": 1,
    "poll_interval": 0.5,
    "local_after": 1000,
    "stream_length": 100_000,
}


@contextmanager
def processes(redis: RedisServer) -> Iterator[list[Forked]]:
    """Run a process of each name, which listens."""
    found = [fork(speak, redis.url, name, OPTIONS) for name in NAMES]
    try:
        for process in found:
            assert process.pipe.recv() == "ready"
        tell(found, [])
        yield found
    finally:
        for process in found:
            process.kill()


def tell(found: list[Forked], names: Sequence[str]) -> None:
    for process in found:
        process.pipe.send(names)


async def disturb(process: Forked, redis: RedisServer, chance: random.Random) -> None:
    """Freeze a process for longer than its publishers wait, and maybe Redis, which may be killed meanwhile."""
    os.kill(process.pid, signal.SIGSTOP)
    await trio.sleep(chance.choice([0.4, 1.3]))
    match chance.choice(["nothing", "frozen", "killed"]):
        case "frozen":
            redis.stop()
        case "killed":
            redis.kill()
            await trio.to_thread.run_sync(redis.start)
        case _:
            pass
    os.kill(process.pid, signal.SIGCONT)
    await trio.sleep(chance.uniform(0, 0.6))
    redis.go_on()
    await trio.sleep(chance.uniform(0, 0.3))


async def results(found: list[Forked]) -> list[dict[str, Any]]:
    """End the processes, and return what they heard and what came of what they said."""
    tell(found, NAMES)
    ends = []
    with trio.fail_after(PATIENCE):
        for process in found:
            await trio.lowlevel.wait_readable(process.pipe)
            ends.append(process.pipe.recv())
    return ends


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(100, 120))])
async def test_order_holds_when_processes_are_frozen(seed) -> None:
    chance = random.Random(seed)
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as redis, processes(redis) as found:
        for _ in range(4):
            await disturb(chance.choice(found), redis, chance)
        ends = await results(found)
    for end in ends:
        listener = Listener("main", {})
        listener.heard = [(name, number) for name, number in end["heard"]]
        assert ("a gap", 0) not in listener.heard
        for name, said in ((name, said) for other in ends for name, said in other["voices"].items()):
            voice = Voice(name, "main", None)
            voice.acknowledged = dict.fromkeys(said["acknowledged"], "")
            voice.refused = set(said["refused"])
            listener.check(voice)
