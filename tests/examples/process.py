"""Programs that run as a user runs them: each in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from support import forked_program

ROOT = Path(__file__).parents[2]
LAUNCH = Path(__file__).with_name("launch.py")
PATIENCE = 120.0
"""Seconds that a program may take for one thing; it takes less than one."""
_ADDRESS = re.compile(r"listening on wss?://(\S+)")


def environment() -> dict[str, str]:
    """Return the environment of a user who has installed the library: its commands are on the path."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


class Program:
    """A program that runs, and what it has written.

    Args:
        process: its standard output and error are one pipe.
    """

    def __init__(self, process: trio.Process | forked_program.ForkedProgram) -> None:
        self._process = process
        self.output = ""

    async def address(self) -> str:
        """Wait until it listens; return host and port."""
        while (found := _ADDRESS.search(self.output)) is None or not self.output.endswith("\n"):
            await self._read()
        return found[1]

    async def until(self, text: str) -> None:
        """Wait until it has written `text`."""
        while text not in self.output:
            await self._read()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, and wait for nothing."""
        self._process.send_signal(number)

    def children(self) -> list[int]:
        """Return the ids of the processes that it has started."""
        pid = self._process.pid
        threads = Path(f"/proc/{pid}/task")
        if threads.exists():  # a container may have no ps; each thread has the processes that it has started
            return [int(child) for each in threads.glob("*/children") for child in each.read_text().split()]
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [line.split() for line in listed.splitlines()]
        return [int(child) for child, parent in pairs if int(parent) == pid]

    async def interrupt(self) -> int:
        """Press Ctrl-C, wait for the end, and return the exit status."""
        self.signal(signal.SIGINT)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end, and return the exit status."""
        with trio.fail_after(PATIENCE):
            async for data in self._process.stdout:
                self.output += data.decode()
            return await self._process.wait()

    async def _read(self) -> None:
        with trio.fail_after(PATIENCE):
            data = await self._process.stdout.receive_some()
        assert data, f"the program ended: {self.output}"
        self.output += data.decode()


@asynccontextmanager
async def forked(command: Sequence[str], cwd: Path) -> AsyncGenerator[Program, None]:
    """Run a program for as long as the block runs, without a new interpreter, whose start is most of the time it takes.

    Args:
        command: a file of Python, `-m` and a module, or `trio-ws`; and its arguments.
        cwd: where it runs.
    """
    process = await forked_program.begin(command, cwd, environment())
    program = Program(process)
    async with _ended_behind(process):
        try:
            yield program
        except BaseException as error:
            with trio.CancelScope(shield=True):
                program.signal(signal.SIGTERM)
                await program.ended()
            error.add_note(f"The program has written:\n{program.output}")
            raise


@asynccontextmanager
async def _ended_behind(process: trio.Process | forked_program.ForkedProgram) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await forked_program.end(process)
        await trio.aclose_forcefully(process.stdout)


def launching(program: Path) -> list[str]:
    """Return what runs a program as `python PROGRAM` does, its application on a free port."""
    return [str(LAUNCH), str(program)]


async def output_of_forked(command: Sequence[str], cwd: Path, given: bytes = b"") -> str:
    """Run a program as `forked` does to its end, with a standard input; return what it wrote."""
    process = forked_program.start(command, cwd, environment(), given)
    async with _ended_behind(process):
        program = Program(process)
        await program.ended()
        return program.output
