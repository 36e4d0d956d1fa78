"""Programs in processes that are forked from one which has imported the library, in place of an interpreter for each.

A program has its own standard streams, arguments, folder and environment; it is ended by signals, and has a status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import trio

from support.forked import TESTS, context
from support.forked_children import fork_interpreters, own_streams

__all__ = ["ForkedProgram", "begin", "end", "start"]

PATIENCE = 120.0
"""Seconds that a program may take to end on a busy machine; it takes less than one."""

INPUT_BYTES = 4096
"""What a pipe takes at once on every system: the standard input is written before the program begins."""


class ForkedProgram:
    """A program that runs; it has the interface of `trio.Process` as far as tests use that.

    Args:
        process: what runs it.
        stdout: its standard output and error.
    """

    def __init__(self, process: ForkServerProcess, stdout: trio.abc.ReceiveStream) -> None:
        self._process = process
        self.stdout = stdout

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal; one that has ended gets none."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    async def wait(self) -> int:
        """Wait for its end, and return its exit status."""
        if self.returncode is None:
            await trio.lowlevel.wait_readable(self._process.sentinel)
        self._process.join()
        assert self.returncode is not None
        return self.returncode


def start(command: Sequence[str], folder: Path, environment: Mapping[str, str], given: bytes = b"") -> ForkedProgram:
    """Start a program.

    Args:
        command: a file of Python, `-m` and a module, or `trio-ws`; and its arguments.
        folder: where it runs.
        environment: its variables.
        given: its standard input.
    """
    assert len(given) <= INPUT_BYTES
    near, far = context().Pipe(duplex=False)
    with near, far:
        process = context().Process(target=_run, args=(far, list(command), str(folder), dict(environment), given))
        process.start()
        return ForkedProgram(process, trio.lowlevel.FdStream(os.dup(near.fileno())))


async def begin(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> ForkedProgram | trio.Process:
    """Start `trio-ws` or a file of Python; under coverage by an interpreter, whose processes are covered."""
    if not {"COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"} & os.environ.keys():
        return start(command, folder, environment)
    program = ["-m", "trio_ws", *command[1:]] if command[0] == "trio-ws" else command
    return await trio.lowlevel.open_process(
        [sys.executable, *program],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


async def end(process: ForkedProgram | trio.Process) -> None:
    """End a program, which ends those that it has started; kill it if it does not."""
    with trio.CancelScope(shield=True):
        if process.returncode is None:
            process.terminate()
        with trio.move_on_after(PATIENCE):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


def _run(output: Connection, command: list[str], folder: str, environment: dict[str, str], given: bytes) -> None:
    source, sink = os.pipe()
    os.write(sink, given)
    for descriptor, number in ((source, 0), (output.fileno(), 1), (output.fileno(), 2)):
        os.dup2(descriptor, number)
    for descriptor in (source, sink):
        os.close(descriptor)
    output.close()
    own_streams()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:] = [each for each in sys.path if each != str(TESTS)]  # its folders have names of others
    fork_interpreters(_execute)
    try:
        _execute(command)
    finally:  # as an interpreter ends: a forked process skips this
        atexit._run_exitfuncs()
        sys.stdout.flush()


def _execute(command: list[str]) -> object:
    sys.argv = command
    if command[0] == "trio-ws":
        sys.exit(importlib.import_module("trio_ws.cli.main").main())
    if command[0] == "-m":
        gc.unfreeze()  # Hypothesis looks for what refers to an object
        sys.path.insert(0, os.getcwd())
        sys.argv = command[1:]
        return runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    sys.path.insert(0, str(Path(command[0]).parent))
    return runpy.run_path(command[0], run_name="__main__")
