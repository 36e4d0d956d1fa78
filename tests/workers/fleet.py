"""Workers as a user starts them: a supervisor in a process of its own, and what is seen of them from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support import forked_program

from trio_ws import Timeouts, WebSocket, open_websocket

ROOT = Path(__file__).parents[2]
BOUND = 120
"""Seconds that one step may take on a busy machine; it takes about one."""

SHOP = """
import os, time
from trio_ws import App, WebSocket

VERSION = "old"
app = App()

@app.websocket("/")
async def talk(ws: WebSocket) -> None:
    await ws.send(f"{os.environ['TRIO_WS_WORKER']} {os.getpid()} {VERSION}")
    async for message in ws:
        if message == "hang":
            sleep_for_ever()
        await ws.send(message)

def sleep_for_ever():
    while True:
        time.sleep(1)
"""


class Fleet:
    """The supervisor, what it and its workers write, and their clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = ""
        self.process: trio.Process | forked_program.ForkedProgram
        self.url = ""

    async def start(self, *options: str, where: tuple[str, ...] = ("--host", "127.0.0.1", "--port", "0")) -> None:
        """Start it, and wait until it listens."""
        await self.open(*options, *where)
        self.url = (await self.said(r"listening on (ws:\S+)"))[1]

    async def open(self, *options: str, through: Sequence[str] = ()) -> None:
        """Start it: by fork, or as a user does if that is by another program."""
        if not through:
            await self.run(["trio-ws", "run", "shop:app", *options])
            return
        self.process = await trio.lowlevel.open_process(
            [*through, sys.executable, "-m", "trio_ws", "run", "shop:app", *options],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
        )

    async def run(self, command: Sequence[str]) -> None:
        """Start what starts it, by fork."""
        self.process = await forked_program.begin(command, self.folder, self._environment)

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    async def said(self, pattern: str) -> re.Match[str]:
        """Wait until something is written that matches."""
        while (found := re.search(pattern + r".*\n", self.output)) is None:
            with trio.fail_after(BOUND):
                data = await self.process.stdout.receive_some()
            assert data, f"ended without {pattern!r}: {self.output}"
            self.output += data.decode()
        return found

    async def rest(self) -> int:
        """Wait until nobody can write any more, neither the supervisor nor a worker; return the exit status."""
        with trio.fail_after(BOUND):
            async for data in self.process.stdout:
                self.output += data.decode()
            return await self.process.wait()

    async def end(self) -> None:
        """Leave nothing behind; a supervisor that is gone leaves no workers, which `rest` waits for."""
        with trio.CancelScope(shield=True):
            self.process.send_signal(signal.SIGTERM)
            await self.rest()
            await self.process.stdout.aclose()

    def rewrite(self, old: str, new: str) -> None:
        """Change the application."""
        path = self.folder / "shop.py"
        text = path.read_text().replace(old, new)
        path.write_text(text)
        os.utime(path, (0, hash(text) % 10**9))  # what is compiled already is told from it by the time


class Guest:
    """A client of one of the workers."""

    def __init__(self, ws: WebSocket, greeting: str) -> None:
        self.ws = ws
        number, pid, self.version = greeting.split()
        self.number, self.pid = int(number), int(pid)

    async def serves(self) -> bool:
        """Whether it is still served."""
        with trio.fail_after(BOUND):
            await self.ws.send("still there?")
            return await self.ws.receive() == "still there?"

    async def code(self) -> int | None:
        """Wait for the end; return the close code."""
        with trio.fail_after(BOUND):
            async for _ in self.ws:
                pass
        return self.ws.close_code


@asynccontextmanager
async def guest(fleet: Fleet, **options):
    """Connect to one of the workers, which may have begun to listen only."""
    options = {"timeouts": Timeouts(open_timeout=BOUND), **options}
    async with open_websocket(fleet.url, when_peer_leaves="finish", caught_close_codes=all, **options) as ws:
        with trio.fail_after(BOUND):
            greeting = await ws.receive()
        yield Guest(ws, greeting)


async def guests_of(fleet: Fleet, stack, workers: int, **options) -> dict[int, Guest]:
    """Connect again and again until there is a guest of each worker; return one of each, by its number."""
    found: dict[int, Guest] = {}
    deadline = trio.current_time() + BOUND
    while len(found) < workers:
        assert trio.current_time() < deadline
        someone = await stack.enter_async_context(guest(fleet, **options))
        found.setdefault(someone.number, someone)
        await trio.sleep(0.01)
    return found


async def eventually(fleet: Fleet, accept, **options) -> Guest:
    """Connect until there is a guest that is acceptable, which has left again when it is returned."""
    with trio.fail_after(BOUND):
        while True:
            async with guest(fleet, **options) as someone:
                if accept(someone):
                    return someone
            await trio.sleep(0.02)
