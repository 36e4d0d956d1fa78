"""Instructions per message, counted by valgrind and so independent of the machine's load.

    python benchmarks/instructions.py

Server and client are in one process, over loopback, and only instructions of the process count, not the kernel's. Each
figure is the difference between a long and a short run, by message. The floor is a server with the same system calls
and scheduler, and only the two functions of the compiled codec.
"""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
from functools import partial

import trio

from trio_ws import WebSocket, serve_websocket
from trio_ws.runtime.wakeup import RESUME

KEY = b"\1\2\3\4"
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SCENARIOS = ((100, 1, 32, 5, 25), (50, 16, 100, 2, 8))
"""Connections, messages in flight, bytes of a message, rounds of the short and of the long run."""


async def read(sock: socket.socket, size: int) -> None:
    while size:
        try:
            size -= len(sock.recv(65536))
        except BlockingIOError:
            await trio.lowlevel.checkpoint()


async def talk(port: int, *load: int, greeting: bytes) -> None:
    """Run the client: in each round all connections send, then all answers are read."""
    connections, inflight, size, rounds = load
    frame = bytes([0x81, 0x80 | size]) + KEY + bytes(byte ^ KEY[at & 3] for at, byte in enumerate(b"a" * size))
    socks = []
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        sock.send(greeting)
        if greeting:
            await read(sock, 129)  # the length of the plain 101
        socks.append(sock)
    for _ in range(rounds):
        for sock in socks:
            sock.send(frame * inflight)
        for sock in socks:
            await read(sock, (2 + size) * inflight)
    os._exit(0)  # what comes at the end is not to be counted


# --- ours ------------------------------------------------------------------


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def ours(*load: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0)
        await talk(server.port, *load, greeting=REQUEST)


# --- the floor -------------------------------------------------------------


class Bare:
    """A connection with only a task that waits for messages."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.messages: list[str | bytes] = []
        self.task: trio.lowlevel.Task | None = None

    def abort(self, _: object) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def run(self) -> None:
        from trio_ws.protocol._speedups import encode  # noqa: PLC0415 - only the floor cannot do without

        while True:
            while not self.messages:
                self.task = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self.abort)
            self.sock.send(encode(0x81, self.messages.pop(0), None))


async def poll(epoll: select.epoll, bare: dict[int, Bare]) -> None:
    from trio_ws.protocol._speedups import parse  # noqa: PLC0415

    buffer = memoryview(bytearray(65536))
    while True:
        await trio.lowlevel.wait_readable(epoll.fileno())
        for fd, _ in epoll.poll(0, 512):
            connection = bare[fd]
            size = connection.sock.recv_into(buffer)
            parse(buffer[:size], 0, connection.messages, 1000, 1 << 20, 0x80, 1 << 20)
            task, connection.task = connection.task, None
            if task is not None:
                trio.lowlevel.reschedule(task, RESUME)


async def floor(*load: int) -> None:
    epoll, bare = select.epoll(), dict[int, Bare]()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll, epoll, bare)
        nursery.start_soon(partial(talk, listener.getsockname()[1], *load, greeting=b""))
        listener.setblocking(False)
        while len(bare) < load[0]:
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            sock.setblocking(False)
            bare[sock.fileno()] = connection = Bare(sock)
            epoll.register(sock.fileno(), select.EPOLLIN)
            nursery.start_soon(connection.run)


# --- counting --------------------------------------------------------------


def counted(name: str, *load: int) -> int:
    """Return the instructions of one run."""
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*tool, sys.executable, __file__, name, *map(str, load)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if found is None:
        raise SystemExit(f"valgrind counted nothing:\n{done.stderr}")
    return int(found.group(1))


def main() -> None:
    if len(sys.argv) > 1:
        name, *load = sys.argv[1:]
        trio.run({"ours": ours, "floor": floor}[name], *map(int, load))
    print("instructions a message, the client's share included\n")
    print(f"{'connections':>11} {'in flight':>9} {'bytes':>6} {'ours':>8} {'floor':>8}")
    for connections, inflight, size, short, long in SCENARIOS:
        row = []
        for name in ("ours", "floor"):
            first, second = (counted(name, connections, inflight, size, rounds) for rounds in (short, long))
            row.append((second - first) // ((long - short) * connections * inflight))
        print(f"{connections:>11} {inflight:>9} {size:>6} {row[0]:>8,} {row[1]:>8,}")


if __name__ == "__main__":
    main()
