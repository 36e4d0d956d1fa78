"""A server in a process of its own, whose memory, CPU time and descriptors can be told from the test's.

Run as a script it serves an echo until its standard input ends. Its one argument is JSON: `poller`, true or false;
`spare_descriptors`, how many descriptors it may open beyond those it has, or null.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from trio_ws import Limits, Server, WebSocket, serve_websocket

PROC = Path("/proc")


async def serve(poller: bool, spare_descriptors: int | None) -> None:
    async with trio.open_nursery() as nursery:
        limits = Limits(max_connections=100_000)
        server: Server = await nursery.start(
            partial(serve_websocket, _handle, "127.0.0.1", 0, poller=poller, compression=True, limits=limits)
        )
        if spare_descriptors is not None:
            _limit_descriptors(spare_descriptors)
        print(server.port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        server.shutdown(grace=0)


async def _handle(ws: WebSocket) -> None:
    if ws.url.path == "/never":
        await trio.sleep_forever()
    async for message in ws:
        await ws.send(message[:100])


def _limit_descriptors(spare: int) -> None:
    import resource

    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def resident_memory(process: int | str = "self", what: str = "VmRSS") -> int:
    """Return a figure of `/proc/<process>/status` in bytes: VmRSS for now, VmHWM for the most so far."""
    for line in (PROC / str(process) / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == what:
            return int(value.split()[0]) * 1024
    raise LookupError(what)


class Victim:
    """The process, seen from the test.

    Attributes:
        port: where it listens.
        errors: what it has written to standard error, complete after `running`.
    """

    def __init__(self, process: trio.Process, port: int) -> None:
        self.port = port
        self.errors = b""
        self._pid = process.pid

    def memory(self, what: str) -> int:
        """Return what `resident_memory` does."""
        return resident_memory(self._pid, what)

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used."""
        fields = (PROC / str(self._pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Return how many descriptors it has open."""
        return len(os.listdir(PROC / str(self._pid) / "fd"))


@asynccontextmanager
async def running(*, poller: bool, spare_descriptors: int | None = None) -> AsyncIterator[Victim]:
    """Run a victim; afterwards it must end with status 0 as soon as it is told to."""
    options = {"poller": poller, "spare_descriptors": spare_descriptors}
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                [sys.executable, "-W", "error", __file__, json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                check=False,
            )
        )
        port = b""
        with trio.fail_after(20):
            while not port.endswith(b"\n"):
                part = await process.stdout.receive_some()
                assert part, (await process.stderr.receive_some()).decode()
                port += part
        victim = Victim(process, int(port))
        yield victim
        await process.stdin.aclose()
        with trio.fail_after(20):
            while part := await process.stderr.receive_some():
                victim.errors += part
            assert await process.wait() == 0, victim.errors.decode()


if __name__ == "__main__":
    trio.run(lambda: serve(**json.loads(sys.argv[1])))
