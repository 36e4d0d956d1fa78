"""Processes of servers, clients and the load, each bound to a core and always ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import attrs

HERE: Final = Path(__file__).parent
START_TIMEOUT: Final = 20.0
"""Seconds in which a server has to print its port."""
QUIET: Final = 0.05
"""Seconds without CPU time after which a server is idle."""
QUIET_TIMEOUT: Final = 5.0


@attrs.frozen
class Cores:
    """The cores of server and load."""

    server: int | None
    load: int | None

    @classmethod
    def of_this_machine(cls) -> Cores:
        """Return the last core for the server and the first for the load; none with a single core.

        The first core also has work of the kernel.
        """
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[-1], cores[0]) if len(cores) > 1 else cls(None, None)


@attrs.frozen
class Running:
    """A listening server."""

    pid: int
    port: int


@attrs.frozen
class Process:
    """A started program."""

    popen: subprocess.Popen[str]
    errors: IO[str]
    """Its standard error: a file, since a full pipe would block it."""

    def listening(self, core: int | None) -> Running:
        """Wait until a server has printed its port, then bind it to its core.

        Raises:
            RuntimeError: it did not start.
        """
        line = self.line(START_TIMEOUT)
        if not line.strip().isdigit():
            raise RuntimeError(f"{self.name} does not start: {self.complaints()}")
        if core is not None:
            for thread in os.listdir(f"/proc/{self.popen.pid}/task"):
                os.sched_setaffinity(int(thread), {core})
        return Running(self.popen.pid, int(line))

    @property
    def name(self) -> str:
        assert isinstance(self.popen.args, list)
        return " ".join(Path(word).name for word in self.popen.args[:2])

    def line(self, timeout: float) -> str:
        """Return the next line of its output, or "" after `timeout` seconds."""
        assert self.popen.stdout is not None
        ready, _, _ = select.select([self.popen.stdout], [], [], timeout)
        return self.popen.stdout.readline() if ready else ""

    def complaints(self) -> str:
        """End it and return the end of its standard error."""
        self.popen.kill()
        self.popen.wait()
        self.errors.seek(0)
        return self.errors.read().strip()[-500:] or f"it ended with {self.popen.returncode}"


@contextlib.contextmanager
def started(
    command: Sequence[str], core: int | None = None, environment: Mapping[str, str] = {}
) -> Generator[Process, None, None]:
    """Start a program; it is killed at the end of the block."""
    with tempfile.TemporaryFile("w+") as errors:
        with _pinned(core):
            popen = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            )
        try:
            yield Process(popen, errors)
        finally:
            popen.kill()
            popen.communicate()


@contextlib.contextmanager
def _pinned(core: int | None) -> Generator[None, None, None]:
    """Run the block on one core; processes that it starts stay there."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def running(
    command: Sequence[str], core: int | None, environment: Mapping[str, str] = {}
) -> Generator[Running, None, None]:
    """Run a server that prints its port during the block.

    Raises:
        RuntimeError: it did not start.
    """
    with started(command, environment=environment) as process:
        yield process.listening(core)


def finish(
    command: Sequence[str], core: int | None, timeout: float, environment: Mapping[str, str] = {}
) -> dict[str, Any]:
    """Run a program to its end, and return the JSON that it prints.

    Raises:
        RuntimeError: it failed, or took longer than `timeout` seconds.
    """
    with started(command, core, environment) as process:
        try:
            output, _ = process.popen.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{process.name} took longer than {timeout:.0f} s") from None
        if process.popen.returncode:
            raise RuntimeError(process.complaints())
        try:
            result: dict[str, Any] = json.loads(output)
        except ValueError:
            raise RuntimeError(f"this is no result: {output[:200]!r}; {process.complaints()}") from None
        return result


@contextlib.contextmanager
def holding(command: Sequence[str], core: int | None, timeout: float) -> Generator[None, None, None]:
    """Run the load in its idle mode, with open connections during the block.

    Raises:
        RuntimeError: they could not be made within `timeout` seconds.
    """
    with started(command, core) as process:
        if process.line(timeout) != "ready\n":
            raise RuntimeError(process.complaints())
        yield


def wait_until_quiet(pid: int) -> None:
    """Wait until a server is idle after its connections, since the next one needs the core."""
    until = time.monotonic() + QUIET_TIMEOUT
    before = -1
    while before != (now := _ticks(pid)) and time.monotonic() < until:
        before = now
        time.sleep(QUIET)


def _ticks(pid: int) -> int:
    """Return the CPU time of a process, in ticks of the kernel (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return int(fields[11]) + int(fields[12])


def script(directory: str, name: str, *arguments: str) -> list[str]:
    """Return the command that runs a server or client of ours."""
    return [sys.executable, str(HERE / directory / f"{name}.py"), *arguments]


def options(values: Mapping[str, str | int | float]) -> list[str]:
    """Return the load generator's options."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]
