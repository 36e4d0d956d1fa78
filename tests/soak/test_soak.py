"""A million messages on each transport: nothing lost, nothing reordered, nothing left over. Run by `make soak`.

Clients of ours talk to an echoing server of ours over loopback, sizes mixed, with pings, pauses and reconnects at
random. The figures that it prints stand in docs/soak.md.
"""

from __future__ import annotations

import gc
import os
import random
import resource
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from support.handlers import echo

from trio_ws import Server, Timeouts, WebSocket, open_websocket, serve_websocket

if TYPE_CHECKING:
    from collections.abc import Iterator

MESSAGES = int(os.environ.get("TRIO_WS_SOAK_MESSAGES", "1000000"))
CLIENTS = 20
WINDOW = 64
"""Messages of a client that are under way at once."""
SIZES = ((32, 80), (1_000, 15), (20_000, 4), (300_000, 1))
"""Most bytes of a message, and how often it is chosen."""
SECONDS = 1800


@attrs.define
class Tally:
    messages: int = 0
    bytes: int = 0
    pings: int = 0
    pauses: int = 0
    reconnects: int = 0


def messages(rng: random.Random, count: int) -> Iterator[str | bytes]:
    """Make messages that tell their place, text and binary."""
    sizes, weights = zip(*SIZES, strict=True)
    for number in range(count):
        head = f"{number}:"
        filler = rng.randrange(rng.choices(sizes, weights)[0])
        text = head + "é" * (filler // 2)
        yield text if rng.random() < 0.5 else text.encode()


async def converse(url: str, seed: int, count: int, tally: Tally, *, poller: bool) -> None:
    """Exchange `count` messages, on as many connections as chance wants."""
    rng = random.Random(seed)
    left = count
    while left:
        burst = min(left, rng.randrange(1, 20_000))
        async with open_websocket(url, poller=poller) as ws:
            await exchange(ws, rng, burst, tally)
        left -= burst
        tally.reconnects += 1


async def exchange(ws: WebSocket, rng: random.Random, count: int, tally: Tally) -> None:
    expected: deque[str | bytes] = deque()
    room = trio.Semaphore(WINDOW)

    async def send() -> None:
        for message in messages(rng, count):
            await room.acquire()
            expected.append(message)
            await ws.send(message)
            if rng.random() < 0.001:
                await ws.ping()
                tally.pings += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        for _ in range(count):
            message = await ws.receive()
            assert message == expected.popleft()
            room.release()
            tally.messages += 1
            tally.bytes += len(message)
            if rng.random() < 0.0005:
                await trio.sleep(rng.random() / 50)
                tally.pauses += 1


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.soak
@pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
async def test_million_messages_are_echoed_in_order_without_residue(
    poller: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A million messages are echoed in order and nothing is left."""
    gc.collect()
    before = descriptors()
    tally = Tally()
    began, cpu = time.perf_counter(), time.process_time()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[Server]) -> None:
                await serve_websocket(
                    echo, "127.0.0.1", 0, poller=poller, timeouts=Timeouts(ping_interval=1), task_status=task_status
                )

            server = await nursery.start(serve)
            async with trio.open_nursery() as clients:
                for seed in range(CLIENTS):
                    share = partial(converse, server.urls[0], seed, MESSAGES // CLIENTS, tally, poller=poller)
                    clients.start_soon(share)
            statistics = server.statistics()
            nursery.cancel_scope.cancel()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    total = MESSAGES // CLIENTS * CLIENTS
    assert tally.messages == statistics.messages_received == statistics.messages_sent == total
    assert statistics.accepted == tally.reconnects
    assert statistics.connections == statistics.handler_errors == statistics.refused == 0
    gc.collect()
    assert descriptors() == before
    with capsys.disabled():
        print(
            f"\n{'poller' if poller else 'stream'}: {tally.messages:,} messages both ways, {tally.bytes:,} "
            f"characters each way, {tally.reconnects} connections, {tally.pings} pings, {tally.pauses} pauses, "
            f"{wall:.0f} s, {cpu:.0f} s of CPU for both sides, at most "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB resident"
        )
