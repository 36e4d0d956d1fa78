"""The memory of idle connections: resident bytes of each, and the objects that it consists of.

    python benchmarks/idle.py [--docs]

Server and client are in one process; the client's part is a descriptor each. The list counts objects by type, as
`sys.getsizeof` has it, that are there for each connection, with the collector's header and coroutines' frames, and
without what the allocator rounds up. Connections have exchanged one message.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import socket
import sys
import types
from array import array
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from trio_ws import App, WebSocket, serve_websocket

CONNECTIONS = 2000
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- idle connections: made by benchmarks/idle.py -->\n", "<!-- end of idle connections -->"
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MESSAGE = b"\x81\x81\0\0\0\0a"


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def connect(port: int, count: int) -> array[int]:
    """Open connections, and exchange a message on each; return the descriptors."""
    kept = array("i")
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.send(REQUEST + MESSAGE)
        sock.setblocking(False)
        got = b""
        while not got.endswith(b"\x81\x01a"):
            await trio.lowlevel.wait_readable(sock)
            got += sock.recv(4096)
        kept.append(sock.detach())
    return kept


def inventory() -> tuple[Counter[str], Counter[str]]:
    """Return the number and the bytes of all objects by type."""
    gc.collect()
    counts, sizes = Counter[str](), Counter[str]()
    seen: set[int] = set()
    level: list[Any] = [
        each for each in gc.get_objects() if each is not counts and each is not sizes and each is not seen
    ]
    seen.update(map(id, level))
    seen.update((id(level), id(seen), id(counts), id(sizes)))
    while level:
        for each in level:
            name = name_of(each)
            counts[name] += 1
            sizes[name] += sys.getsizeof(each)
        further = gc.get_referents(*level)
        level = []
        for each in further:
            if id(each) not in seen:
                seen.add(id(each))
                level.append(each)
    return counts, sizes


def name_of(thing: Any) -> str:
    """Return the name of an object's type, of a coroutine or method its own."""
    if isinstance(thing, types.CoroutineType):
        return f"coroutine `{thing.__qualname__}`"
    if isinstance(thing, types.MethodType):
        return f"bound method `{thing.__func__.__qualname__}`"
    return f"`{type(thing).__name__}`"


async def measure(served: Any, what: str) -> None:
    """Print the figures of one server: the resident bytes, or the objects."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(served, "127.0.0.1", 0)
        kept = await connect(server.port, 50)  # what is made for all of them is there now
        if what == "resident":
            before = resident()
            kept += await connect(server.port, CONNECTIONS)
            print((resident() - before) // CONNECTIONS)
            os._exit(0)
        counts, sizes = inventory()
        kept += await connect(server.port, CONNECTIONS)
        more_counts, more_sizes = inventory()
        for name in sorted(more_sizes):
            size = (more_sizes[name] - sizes[name]) / CONNECTIONS
            count = (more_counts[name] - counts[name]) / CONNECTIONS
            if size >= 0.9 * sys.getsizeof(object()):
                print(f"{size:.0f} {count:.2g} {name}")
        os._exit(0)


def lines_of(kind: str, what: str) -> list[str]:
    """Return the printed figures of a server of that kind, which runs in a process of its own."""
    import subprocess  # noqa: PLC0415 - it is no part of what is measured

    done = subprocess.run([sys.executable, __file__, kind, what], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def table() -> str:
    """Return the figures of a handler alone, and of one behind an App, as a table."""
    rows: dict[str, list[str]] = {}
    resident_bytes = []
    for column, kind in enumerate(("handler", "app")):
        resident_bytes += lines_of(kind, "resident")
        for line in lines_of(kind, "objects"):
            size, count, name = line.split(maxsplit=2)
            rows.setdefault(name, ["", ""])[column] = size if count == "1" else f"{size} ({count})"
    ordered = sorted(rows.items(), key=lambda row: -max(int(each.split()[0] or 0) for each in row[1] if each))
    text = [
        "| bytes a connection (how many objects, if not one) | handler | behind an App |",
        "|---|---:|---:|",
        f"| **resident** | **{resident_bytes[0]}** | **{resident_bytes[1]}** |",
        *(f"| {name} | {one} | {other} |" for name, (one, other) in ordered),
    ]
    return "\n".join(text) + "\n"


def main() -> None:
    _, high = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(high, 4 * CONNECTIONS), high))
    match sys.argv[1:]:
        case ["handler", what]:
            trio.run(measure, lambda *where, task_status: serve_websocket(echo, *where, task_status=task_status), what)
        case ["app", what]:
            app = App()
            app.websocket("/")(echo)
            trio.run(measure, app.serve, what)
        case words:
            figures = table()
            print(figures)
            if "--docs" in words:
                page = PAGE.read_text(encoding="utf-8")
                inside = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
                PAGE.write_text(inside.sub(lambda _: f"{BEGIN}{figures}{END}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
