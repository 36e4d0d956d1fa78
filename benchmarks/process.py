"""Process: servers, clients and the load, each on its core, each ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

HERE: Final = Path(__file__).parent
START_TIMEOUT: Final = 20.0
"""Seconds until a server has said its port."""


@attrs.frozen
class Cores:
    """Who runs where."""

    server: int | None
    load: int | None

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The server gets the last core, as the first one has the kernel's own work; with one core nobody is pinned."""
        if not hasattr(os, "sched_getaffinity"):
            return cls(None, None)
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[-1], cores[0]) if len(cores) > 1 else cls(None, None)


@attrs.frozen
class Running:
    """A server that listens."""

    pid: int
    port: int


def _start(command: Sequence[str], core: int | None, environment: Mapping[str, str] = {}) -> subprocess.Popen[str]:
    with _pinned(core):
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1", **environment},
        )


@contextlib.contextmanager
def _pinned(core: int | None) -> Generator[None, None, None]:
    """Run the block on one core: what starts meanwhile stays there, with all its threads."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end(process: subprocess.Popen[str]) -> str:
    """End a process at once, and return what it complained of."""
    process.kill()
    _, complaints = process.communicate()
    return complaints


@contextlib.contextmanager
def running(
    command: Sequence[str], core: int | None, environment: Mapping[str, str] = {}
) -> Generator[Running, None, None]:
    """Run a server that prints its port, for the length of the block.

    Raises:
        RuntimeError: it did not start.
    """
    process = _start(command, core, environment)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
        line = process.stdout.readline() if ready else ""
        if not line.strip().isdigit():
            raise RuntimeError(f"{Path(command[-1]).name} does not start: {_end(process)[-2000:]}")
        yield Running(process.pid, int(line))
    finally:
        _end(process)


def finish(
    command: Sequence[str], core: int | None, timeout: float, environment: Mapping[str, str] = {}
) -> dict[str, Any]:
    """Run a program to its end, and return the JSON that it prints.

    Raises:
        RuntimeError: it failed, or took longer than `timeout` seconds.
    """
    process = _start(command, core, environment)
    try:
        output, complaints = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{command[0]} took longer than {timeout:.0f} s") from None
    finally:
        _end(process)
    if process.returncode:
        raise RuntimeError(complaints.strip()[-500:] or f"it ended with {process.returncode}")
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        raise RuntimeError(f"this is no result: {output[:200]!r} {complaints.strip()[-300:]}") from None
    return result


@contextlib.contextmanager
def holding(command: Sequence[str], core: int | None, timeout: float) -> Generator[None, None, None]:
    """Run the load in its idle mode: the block runs while the connections are there.

    Raises:
        RuntimeError: they could not be made within `timeout` seconds.
    """
    process = _start(command, core)
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], timeout)
        if not ready or process.stdout.readline() != "ready\n":
            raise RuntimeError(_end(process).strip()[-500:] or "the connections were not made in time")
        yield
    finally:
        _end(process)


def script(directory: str, name: str, *arguments: str) -> list[str]:
    """Return the command that runs a server or client of ours."""
    return [sys.executable, str(HERE / directory / f"{name}.py"), *arguments]


def options(values: Mapping[str, str | int | float]) -> list[str]:
    """Return the load generator's options."""
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]
