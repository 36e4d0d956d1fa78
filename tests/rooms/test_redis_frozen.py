"""Processes that are frozen, as on a machine that sleeps or swaps, while the others and Redis go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from support.redis import RedisServer, needs_redis, redis_server

from .chaos import Listener, Voice

pytestmark = needs_redis

PROGRAM = Path(__file__).with_name("frozen.py")
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
def processes(redis: RedisServer) -> Iterator[list[subprocess.Popen[str]]]:
    """Run a process of each name, which listens."""
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    found: list[subprocess.Popen[str]] = []
    try:
        for name in NAMES:
            command = [sys.executable, str(PROGRAM), redis.url, name, json.dumps(OPTIONS)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            found.append(subprocess.Popen(command, text=True, env=environment, **pipes))
        for process in found:
            assert process.stdout.readline() == "ready\n"
        tell(found, "begin")
        yield found
    finally:
        for process in found:
            process.kill()
            process.communicate()


def tell(found: list[subprocess.Popen[str]], line: str) -> None:
    for process in found:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


async def disturb(process: subprocess.Popen[str], redis: RedisServer, chance: random.Random) -> None:
    """Freeze a process for longer than its publishers wait, and maybe Redis, which may be killed meanwhile."""
    process.send_signal(signal.SIGSTOP)
    await trio.sleep(chance.choice([0.4, 1.3]))
    match chance.choice(["nothing", "frozen", "killed"]):
        case "frozen":
            redis.stop()
        case "killed":
            redis.kill()
            await trio.to_thread.run_sync(redis.start)
        case _:
            pass
    process.send_signal(signal.SIGCONT)
    await trio.sleep(chance.uniform(0, 0.6))
    redis.go_on()
    await trio.sleep(chance.uniform(0, 0.3))


async def results(found: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """End the processes, and return what they heard and what came of what they said."""
    tell(found, " ".join(NAMES))
    lines = []
    with trio.fail_after(PATIENCE):
        for process in found:
            lines.append(await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True))
    return [json.loads(line) for line in lines]


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
