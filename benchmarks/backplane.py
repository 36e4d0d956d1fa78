"""What rooms on Redis cost beside rooms in memory, in one process; `scaling.py` prints it below its own table.

Tasks publish messages of 100 bytes, each the next one when the one before is acknowledged, to rooms with a subscriber
in this process. Quiet rooms have one member each, and no messages.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Backplane, MemoryBackplane, Presence
from trio_ws.rooms.redis import RedisBackplane

NOBODY: frozenset[str] = frozenset()
QUIET_ROOMS = 5000
MANY_ROOMS = 500


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def publish(
    backplane: Backplane, tasks: int, messages: int, rooms: int, pid: int | None = None
) -> tuple[float, float, float]:
    """Return messages per second, from the first call to the last delivery, and microseconds of CPU for each.

    The last one is that of Redis.
    """
    left, done = messages, trio.Event()

    def deliver(_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    async def work(number: int) -> None:
        for index in range(messages // tasks):
            await backplane.publish(f"r{(index * tasks + number) % rooms}", PreparedMessage("x" * 100), NOBODY)

    async with backplane.running(), AsyncExitStack() as stack:
        for number in range(rooms):
            await stack.enter_async_context(backplane.subscribe(f"r{number}", deliver, history=10))
        begun, cpu, server = time.perf_counter(), time.process_time(), cpu_seconds(pid) if pid else 0.0
        async with trio.open_nursery() as nursery:
            for number in range(tasks):
                nursery.start_soon(work, number)
        await done.wait()
        rate, own = messages / (time.perf_counter() - begun), time.process_time() - cpu
        return rate, own / messages * 1e6, ((cpu_seconds(pid) - server) / messages * 1e6) if pid else 0.0


async def be_quiet(backplane: Backplane, rooms: int, seconds: float, pid: int | None) -> tuple[float, float, float]:
    """Return the seconds to open rooms at once, and the shares of a core of this process and Redis afterwards."""
    left, all_open = rooms, trio.Event()

    async def sit(number: int) -> None:
        nonlocal left
        async with backplane.subscribe(f"r{number}", lambda _: None, history=10):
            backplane.enter(f"r{number}", Presence(f"m-{number}", {"user": "Ann"}))
            left -= 1
            if not left:
                all_open.set()
            await trio.sleep_forever()

    async with backplane.running(), trio.open_nursery() as nursery:
        begun = time.perf_counter()
        for number in range(rooms):
            nursery.start_soon(sit, number)
        await all_open.wait()
        opened = time.perf_counter() - begun
        await trio.sleep(2)
        begun, cpu, server = time.perf_counter(), time.process_time(), cpu_seconds(pid) if pid else 0.0
        await trio.sleep(seconds)
        wall = time.perf_counter() - begun
        shares = (time.process_time() - cpu) / wall, ((cpu_seconds(pid) - server) / wall) if pid else 0.0
        nursery.cancel_scope.cancel()
    return opened, *shares


def report(url: str, pid: int, messages: int) -> None:
    """Print both tables, as Markdown."""
    print("\n| tasks | rooms | memory, messages/s | Redis, messages/s | ratio | CPU us | with Redis | Redis itself |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for tasks, rooms in ((1, 1), (32, 1), (32, MANY_ROOMS)):
        count = messages // tasks * tasks
        memory = max(trio.run(publish, MemoryBackplane(), tasks, 5 * count, rooms) for _ in range(3))
        redis = max(trio.run(publish, RedisBackplane(url), tasks, count, rooms, pid) for _ in range(3))
        print(
            f"| {tasks} | {rooms} | {memory[0]:,.0f} | {redis[0]:,.0f} | {redis[0] / memory[0]:.3f} "
            f"| {memory[1]:.0f} | {redis[1]:.0f} | {redis[2]:.0f} |"
        )
    print("\n| quiet rooms | seconds to open | share of a core | of Redis |")
    print("|---|--:|--:|--:|")
    for name, backplane, seconds, process in (
        ("memory", MemoryBackplane(), 2, None),
        ("Redis", RedisBackplane(url), 20, pid),
    ):
        opened, own, server = trio.run(be_quiet, backplane, QUIET_ROOMS, seconds, process)
        print(f"| {QUIET_ROOMS:,}, {name} | {opened:.2f} | {own:.2%} | {server:.2%} |")
