"""Processes that are forked from one which has imported the library: a new interpreter would import it for seconds."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest

__all__ = ["TESTS", "Forked", "context", "fork"]

PATIENCE = 60.0
"""Seconds that the end of a process may take on a busy machine."""
TESTS = Path(__file__).parents[1]
"""The folder of all tests."""


class Forked:
    """A process that runs a function, and a pipe to it.

    Args:
        process: what runs it.
        pipe: this end; the function has the other one as its first argument.
    """

    def __init__(self, process: ForkServerProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self.process.pid is not None
        return self.process.pid

    def end(self) -> None:
        """Close this end of the pipe, and wait for the process, which ends by that."""
        self.pipe.close()
        self.process.join(PATIENCE)
        assert self.process.exitcode == 0

    def kill(self) -> None:
        """End it with SIGKILL, if it still runs; the closed pipe would end it gracefully."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def fork(main: Callable[..., None], *arguments: object) -> Forked:
    """Run a function of a module in a process of its own; its first argument is a pipe to the caller."""
    near, far = context().Pipe()
    with far:
        process = context().Process(target=main, args=(far, *arguments), daemon=True)
        process.start()
    return Forked(process, near)


@functools.cache
def context() -> ForkServerContext:
    """Return what all are forked from, which the first call starts; coverage does not run in what is forked."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.preloaded"])
    with pytest.MonkeyPatch.context() as environment:
        # Some versions of Python forget the paths that they are given, and leave out what they cannot import.
        environment.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), str(TESTS.parent)]))
        for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
            environment.delenv(name, raising=False)
        forkserver.ensure_running()
    return context
