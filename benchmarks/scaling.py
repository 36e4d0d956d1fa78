"""Throughput and latency of rooms, end to end, in memory and on Redis.

One worker has rooms in memory, two workers have rooms on Redis.

    python benchmarks/scaling.py [--messages 2000] [--clients 8] [--only backplane]

Clients in this process, spread over the workers, are all in one room. Each sends a message as JSON, and the next one
when the one before has come back to it, or with a window of 16 when 16 have. Every message reaches every client. The
latency is that from a send to each receive, in this process's clock. It starts a Redis of its own on a Unix socket
(redis-server has to be installed), which keeps nothing on the disk.

Below that, `backplane.py` compares rooms on Redis with rooms in memory within this process, without clients.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import backplane
import trio

from trio_ws import App, Server, WebSocket, open_websocket

MANY_CLIENTS = 100


def make_app(place: str | None) -> App:
    app = App(backplane=place)

    @app.websocket("/room")
    async def visit(ws: WebSocket) -> None:
        async with app.room("r", backlog=64 * 1024 * 1024).join(ws) as room, trio.open_nursery() as nursery:
            publishing = trio.CapacityLimiter(16)

            async def publish(message: str) -> None:
                async with publishing:
                    await room.publish(message)

            async for message in ws:
                nursery.start_soon(publish, message)

    return app


async def work(place: str | None) -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(make_app(place).serve, "127.0.0.1", 0)
        print(server.port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        server.shutdown()


@contextmanager
def workers(count: int, place: str | None) -> Iterator[list[str]]:
    command = [sys.executable, __file__, "--worker", place or "memory"]
    with ExitStack() as stack:
        urls = []
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            urls.append(f"ws://127.0.0.1:{int(process.stdout.readline())}/room")
        yield urls


@contextmanager
def redis() -> Iterator[tuple[str, int]]:
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("redis-server is not installed: apt-get install redis-server")
    with tempfile.TemporaryDirectory(prefix="trio-ws-redis-") as folder:
        options = ["--port", "0", "--unixsocket", f"{folder}/socket", "--dir", folder, "--save", ""]
        with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
            while not Path(folder, "socket").exists():
                time.sleep(0.01)
            try:
                yield f"unix://{folder}/socket", process.pid
            finally:
                process.terminate()


async def measure(urls: Sequence[str], clients: int, messages: int, window: int) -> tuple[float, float, list[float]]:
    """Return messages per second, deliveries per second, and the latencies in milliseconds."""
    latencies: list[float] = []
    each = messages // clients
    ready = [trio.Event() for _ in range(clients)]
    go = trio.Event()

    async def visit(number: int) -> None:
        async with open_websocket(urls[number % len(urls)]) as ws:
            await ws.send(json.dumps([number, time.perf_counter()]))
            await ws.receive()  # it is a member
            ready[number].set()
            await go.wait()
            sent = came_back = received = 0
            while received < each * clients:
                while sent < each and sent - came_back < window:
                    await ws.send(json.dumps([number, time.perf_counter(), "x" * 80]))
                    sent += 1
                message = json.loads(await ws.receive())
                if len(message) == 3:
                    latencies.append((time.perf_counter() - message[1]) * 1000)
                    received += 1
                    came_back += message[0] == number

    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(visit, number)
        for event in ready:
            await event.wait()
        start = time.perf_counter()
        go.set()
    seconds = time.perf_counter() - start
    return each * clients / seconds, len(latencies) / seconds, latencies


def row(name: str, urls: Sequence[str], clients: int, messages: int, window: int) -> None:
    rate, deliveries, latencies = trio.run(measure, urls, clients, messages, window)
    cuts = statistics.quantiles(latencies, n=100)
    print(f"| {name} | {clients} | {window} | {rate:,.0f} | {deliveries:,.0f} | {cuts[49]:.2f} | {cuts[98]:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000, help="messages in all, for each row")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--only", choices=["workers", "backplane"], help="one of both parts")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        trio.run(work, None if options.worker == "memory" else options.worker)
        return
    with redis() as (url, pid):
        if options.only != "backplane":
            compare_workers(url, options.messages, options.clients)
        if options.only != "workers":
            backplane.report(url, pid, options.messages)


def compare_workers(url: str, messages: int, clients: int) -> None:
    print("| | clients | window | messages/s | deliveries/s | p50 ms | p99 ms |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name, count, place in (("one worker, memory", 1, None), ("two workers, Redis", 2, url)):
        with workers(count, place) as urls:
            row(name, urls, 2, messages // 4, 1)
            row(name, urls, clients, messages, 1)
            row(name, urls, clients, messages, 16)
            row(name, urls, MANY_CLIENTS, messages, 1)


if __name__ == "__main__":
    main()
