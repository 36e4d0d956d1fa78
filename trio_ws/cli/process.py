"""Process: one worker process, as its supervisor sees it: started, ready, alive, told to end, ended."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from trio_ws.cli.reload import DETACHED
from trio_ws.cli.worker import BEAT_SECONDS, NUMBER_VARIABLE, READY, Assignment

__all__ = ["WorkerProcess", "WorkerTimeouts"]

INSERT_AT: Final = 4
"""Where in a command the assignment goes: behind interpreter, `-m`, package and subcommand."""


@attrs.frozen(kw_only=True)
class WorkerTimeouts:
    """How long a supervisor waits for a worker, in seconds."""

    start: float = 60.0
    """Until it is ready."""
    alive: float = 30.0
    """From one report to the next."""
    end: float = 10.0
    """Beyond what its server's shutdown takes at most: for the application's own end."""
    abort: float = 2.0
    """From the signal that makes it say where it hangs to the one that nobody survives."""


class WorkerProcess:
    """One worker process.

    Args:
        number: the worker's number, from 1.
        command: starts it, but for its assignment, which is inserted behind its subcommand.
        listeners: what it accepts from.
        patience: how long to wait for it.
        say: called with each line for people.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        listeners: Sequence[socket.socket],
        patience: WorkerTimeouts,
        say: Callable[[str], None],
    ) -> None:
        self.number = number
        self.ready: bool = False
        """Whether it accepts, or did before it ended."""
        self.settled: trio.Event = trio.Event()
        """It is ready, or has ended before it was."""
        self.ended: trio.Event = trio.Event()
        """There is no such process any more."""
        self.outcome: str = ""
        """How it ended, for people."""
        self.overdue: bool = False
        """Whether it had to be killed because it did not end when it was told to."""
        self._command = list(command)
        self._listeners = listeners
        self._patience = patience
        self._say = say
        self._process: trio.Process | None = None
        self._told = trio.Event()  # to end
        self._beat = trio.Event()
        self._bound = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return f"worker {self.number}" if self._process is None else f"worker {self.number} (pid {self._process.pid})"

    @property
    def told(self) -> bool:
        """Whether it was told to end."""
        return self._told.is_set()

    def end(self, number: signal.Signals) -> None:
        """Tell it to end by a signal, and kill it if it has not in time. Called again, only the signal is sent."""
        self._told.set()
        if self._process is not None:
            self._process.send_signal(number)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start it and look after it until it has ended; cancelled, kill it."""
        try:
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    self._process = process = await self._open(theirs)
                task_status.started()
                try:
                    await self._look_after(process, ours)
                finally:
                    with trio.CancelScope(shield=True):
                        if process.returncode is None:
                            process.kill()
                        self.outcome = _outcome(await process.wait())
        except OSError as error:  # no more processes, no memory: the next attempt may find some
            self.outcome = f"cannot be started: {error}"
            task_status.started()
        finally:
            self.settled.set()
            self.ended.set()

    async def _open(self, link: socket.socket) -> trio.Process:
        descriptors = tuple(listener.fileno() for listener in self._listeners)
        assignment = Assignment(link.fileno(), descriptors)
        return await trio.lowlevel.open_process(
            [*self._command[:INSERT_AT], "--worker", str(assignment), *self._command[INSERT_AT:]],
            pass_fds=(link.fileno(), *descriptors),
            env={**os.environ, NUMBER_VARIABLE: str(self.number)},
            **DETACHED,
        )

    async def _look_after(self, process: trio.Process, link: socket.socket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, link)
            nursery.start_soon(self._demand_reports, process)
            nursery.start_soon(self._demand_end, process)
            await process.wait()
            nursery.cancel_scope.cancel(reason="the worker has ended")

    async def _hear(self, link: socket.socket) -> None:
        """Take the worker's reports until it closes the link."""
        rest = b""
        stream = trio.socket.from_stdlib_socket(link)
        while data := await stream.recv(4096):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line.decode())

    def _take(self, report: str) -> None:
        self._beat.set()
        word, _, bound = report.partition(" ")
        if word == READY:
            self._bound = float(bound)
            self.ready = True
            self.settled.set()

    async def _demand_reports(self, process: trio.Process) -> None:
        with trio.move_on_after(self._patience.start):
            await self.settled.wait()
        if not self.ready:
            await self._abort(process, f"it was not ready within {self._patience.start:g} s (--worker-timeout)")
            return
        while await self._beats():
            pass
        await self._abort(process, f"it has not reported for {self._patience.alive:g} s")

    async def _beats(self) -> bool:
        """Wait for the next report; return False if it does not come."""
        self._beat = trio.Event()
        with trio.move_on_after(self._patience.alive):
            await self._beat.wait()
        if not self._beat.is_set():  # it may be we who were late: then there is something to read
            await trio.sleep(BEAT_SECONDS)
        return self._beat.is_set()

    async def _abort(self, process: trio.Process, why: str) -> None:
        self._say(f"{self.name} is killed: {why}")
        process.send_signal(signal.SIGABRT)
        await trio.sleep(self._patience.abort)
        process.kill()

    async def _demand_end(self, process: trio.Process) -> None:
        await self._told.wait()
        patience = self._bound + self._patience.end
        await trio.sleep(patience)
        self._say(f"{self.name} is killed: it has not ended within {patience:g} s")
        self.overdue = True
        process.kill()


def _outcome(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # the signals of real-time systems have no names
        return f"was ended by signal {-status}"
