"""Instructions per message, counted by valgrind and so independent of the machine's load.

    python benchmarks/instructions.py

Only instructions of the process count, not the kernel's. Each figure is the difference between a long and a short run,
by message. "with client" has server and client in one process, over loopback; "alone" has the client in another. The
floor is a server with the same system calls and scheduler, and only the two functions of the compiled codec.
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

from trio_ws import App, Timeouts, WebSocket, serve_messages, serve_websocket
from trio_ws.runtime.wakeup import RESUME

KEY = b"\1\2\3\4"
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"
SCENARIOS = ((100, 1, 32, 5, 25), (50, 16, 100, 2, 8), (20, 0, 32, 2, 8))
"""Connections, messages in flight, bytes of a message, rounds of the short and of the long run. None in flight: each
round opens the connections, one after another, with an echo and a close frame; counted is a connection."""


LONGEST = 600
"""Seconds of one run: it takes half a minute on a machine that does nothing else."""


def connect(port: int, greeting: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.send(greeting)
    return sock


def frames(size: int, inflight: int) -> bytes:
    frame = bytes([0x81, 0x80 | size]) + KEY + bytes(byte ^ KEY[at & 3] for at, byte in enumerate(b"a" * size))
    return frame * inflight


async def read(sock: socket.socket, size: int) -> None:
    while size:
        try:
            size -= len(arrived(sock))
        except BlockingIOError:
            await trio.lowlevel.checkpoint()


def arrived(sock: socket.socket) -> bytes:
    """Return what the server has sent; it must not end the connection."""
    data = sock.recv(65536)
    if not data:
        raise SystemExit("the server has ended a connection")
    return data


async def talk(port: int, *load: int, greeting: bytes) -> None:
    """Run the client: in each round all connections send, then all answers are read."""
    if os.environ.get(ALONE):
        await talk_elsewhere(port, *load, greeting=greeting)
    connections, inflight, size, rounds = load
    data = frames(size, inflight)
    if not inflight:
        for _ in range(connections * rounds):
            sock = connect(port, greeting + frames(size, 1))
            sock.setblocking(False)
            await read(sock, (129 if greeting else 0) + 2 + size)
            sock.send(CLOSE)
            if greeting:
                await read(sock, 4)
            sock.close()
        os._exit(0)
    socks = []
    for _ in range(connections):
        sock = connect(port, greeting)
        sock.setblocking(False)
        if greeting:
            await read(sock, 129)  # the length of the plain 101
        socks.append(sock)
    for _ in range(rounds):
        for sock in socks:
            sock.send(data)
        for sock in socks:
            await read(sock, (2 + size) * inflight)
    os._exit(0)  # what comes at the end is not to be counted


ALONE = "TRIO_WS_SERVER_ALONE"
"""The environment variable that asks for the client in a process of its own."""


async def talk_elsewhere(port: int, *load: int, greeting: bytes) -> None:
    over, write = os.pipe()
    words = [sys.executable, __file__, "client", str(port), *map(str, load), greeting.decode()]
    subprocess.Popen(words, stdout=write)  # noqa: ASYNC220 - nothing else is to run yet
    os.close(write)  # so that the end of the client is seen, whatever it was
    await trio.lowlevel.wait_readable(over)
    os._exit(0 if os.read(over, 4) == b"over" else 1)


def client(port: int, *load: int, greeting: bytes) -> None:
    """Do as `talk`, with calls that block."""
    connections, inflight, size, rounds = load
    data = frames(size, inflight)
    socks = [connect(port, greeting) for _ in range(connections)]
    for sock in socks:
        receive(sock, 129 if greeting else 0)
    for _ in range(rounds):
        for sock in socks:
            sock.send(data)
        for sock in socks:
            receive(sock, (2 + size) * inflight)
    print("over", flush=True)


def receive(sock: socket.socket, size: int) -> None:
    while size:
        size -= len(arrived(sock))


# --- ours ------------------------------------------------------------------


PATIENT = Timeouts(open_timeout=LONGEST, ping_interval=None)
"""Under valgrind all is a hundred times slower: no handshake is too slow, and no ping is among the answers."""


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def ours(*load: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, timeouts=PATIENT), echo, "127.0.0.1", 0)
        await talk(server.port, *load, greeting=REQUEST)


async def callback(*load: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_messages, timeouts=PATIENT), WebSocket.offer, "127.0.0.1", 0)
        await talk(server.port, *load, greeting=REQUEST)


async def app(*load: int) -> None:
    made = App(timeouts=PATIENT)
    made.websocket("/")(echo)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(made.serve, "127.0.0.1", 0)
        await talk(server.port, *load, greeting=REQUEST)


async def inline(*load: int) -> None:
    made = App(timeouts=PATIENT)

    @made.listener("/", encoding="text", inline=True)
    def answer(data):  # type: ignore[no-untyped-def]
        return data

    async with trio.open_nursery() as nursery:
        server = await nursery.start(made.serve, "127.0.0.1", 0)
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


SERVERS = {"ours": ours, "app": app, "callback": callback, "inline": inline, "floor": floor}
"""A handler, one behind a route of an App, a callback without a task, an inline listener of an App, and the floor."""


def counted(name: str, *load: int, alone: bool) -> int:
    """Return the instructions of one run."""
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*tool, sys.executable, __file__, name, *map(str, load)]
    environment = {**os.environ, "PYTHONHASHSEED": "0", ALONE: "1" if alone else ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{name} with {load} was not counted: status {done.returncode}\n{done.stderr}")
    return int(found.group(1))


def per_message(name: str, scenario: tuple[int, ...], *, alone: bool) -> int:
    connections, inflight, size, short, long = scenario
    first, second = (counted(name, connections, inflight, size, rounds, alone=alone) for rounds in (short, long))
    return (second - first) // ((long - short) * connections * max(inflight, 1))


def main() -> None:
    name, *words = sys.argv[1:] or ["", ""]
    if name == "client":
        client(*map(int, words[:-1]), greeting=words[-1].encode())
        return
    if name in SERVERS and words:
        trio.run(SERVERS[name], *map(int, words))
    chosen = [name] if name in SERVERS else SERVERS
    print("instructions a message\n")
    print(f"{'connections':>11} {'in flight':>9} {'bytes':>6} {'':12}", *(f"{name:>9}" for name in chosen))
    for scenario in SCENARIOS:
        for alone in (False, True) if scenario[1] else (False,):
            row = (per_message(name, scenario, alone=alone) for name in chosen if scenario[1] or name != "floor")
            title = "alone" if alone else "with client"
            print(f"{scenario[0]:>11} {scenario[1]:>9} {scenario[2]:>6} {title:12}", *(f"{each:>9,}" for each in row))


if __name__ == "__main__":
    main()
