"""One worker process, started and monitored by its supervisor."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from trio_ws.cli.defaults import HEARTBEAT_SECONDS, WORKER_TIMEOUT
from trio_ws.cli.orphan import END_SECONDS
from trio_ws.cli.reload import DETACHED
from trio_ws.cli.worker import READY, Assignment
from trio_ws.runtime.command import WORKER_VARIABLE

__all__ = ["WorkerProcess", "WorkerTimeouts"]

INSERT_AT: Final = 4
"""Position of the assignment in a command: after interpreter, `-m`, package and subcommand."""


@attrs.frozen(kw_only=True)
class WorkerTimeouts:
    """Timeouts of a supervisor for each worker, in seconds."""

    start: float = 60.0
    """From the start until the worker is ready."""
    alive: float = WORKER_TIMEOUT
    """Between two heartbeats."""
    end: float = END_SECONDS
    """For the application's shutdown, in addition to the maximum of its server's shutdown."""
    abort: float = 2.0
    """From SIGABRT, which writes a traceback, to SIGKILL."""


class WorkerProcess:
    """One worker process.

    Args:
        number: the worker's number, from 1.
        command: the worker's command line, without the assignment.
        listeners: sockets to accept from.
        timeouts: timeouts of the worker.
        output: called with each line of output.
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        listeners: Sequence[socket.socket],
        timeouts: WorkerTimeouts,
        output: Callable[[str], None],
    ) -> None:
        self.number = number
        self.ready: bool = False
        """Whether the worker accepts connections, or has done so before it ended."""
        self.page_path: str | None = None
        """The path of a page that the worker serves, known once it is ready; None without pages."""
        self.started: trio.Event = trio.Event()
        """Set when the worker is ready, or has ended before."""
        self.ended: trio.Event = trio.Event()
        """Set when the process has ended."""
        self.outcome: str = ""
        """How the process ended, for output."""
        self.killed: bool = False
        """Whether the process was killed because it did not end in time."""
        self._command = list(command)
        self._listeners = listeners
        self._timeouts = timeouts
        self._output = output
        self._process: trio.Process | None = None
        self._stopping = trio.Event()
        self._heartbeat = trio.Event()
        self._max_shutdown_seconds = 0.0

    @property
    def name(self) -> str:
        """The worker's name in output."""
        return f"worker {self.number}" if self._process is None else f"worker {self.number} (pid {self._process.pid})"

    @property
    def stopping(self) -> bool:
        """Whether `end` was called."""
        return self._stopping.is_set()

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends the worker; it is killed if it does not end in time.

        A second call only sends the signal.
        """
        self._stopping.set()
        if self._process is not None:
            self._process.send_signal(number)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the process until it has ended; kill it on cancellation."""
        try:
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    self._process = process = await self._open(theirs)
                task_status.started()
                try:
                    await self._monitor(process, ours)
                finally:
                    with trio.CancelScope(shield=True):
                        if process.returncode is None:
                            process.kill()
                        self.outcome = _outcome(await process.wait())
        except OSError as error:  # no processes or memory left: the next attempt may succeed
            self.outcome = f"cannot be started: {error}"
            task_status.started()
        finally:
            self.started.set()
            self.ended.set()

    async def _open(self, link: socket.socket) -> trio.Process:
        descriptors = tuple(listener.fileno() for listener in self._listeners)
        assignment = Assignment(link.fileno(), descriptors)
        return await trio.lowlevel.open_process(
            [*self._command[:INSERT_AT], "--worker", str(assignment), *self._command[INSERT_AT:]],
            pass_fds=(link.fileno(), *descriptors),
            env={**os.environ, WORKER_VARIABLE: str(self.number)},
            **DETACHED,
        )

    async def _monitor(self, process: trio.Process, link: socket.socket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_reports, link)
            nursery.start_soon(self._check_heartbeats, process)
            nursery.start_soon(self._kill_after_timeout, process)
            await process.wait()
            nursery.cancel_scope.cancel(reason="the worker has ended")

    async def _read_reports(self, link: socket.socket) -> None:
        """Read the worker's reports until it closes the link."""
        rest = b""
        stream = trio.socket.from_stdlib_socket(link)
        while data := await stream.recv(4096):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._on_report(line.decode())

    def _on_report(self, report: str) -> None:
        self._heartbeat.set()
        word, *values = report.split(" ", 2)
        if word == READY:
            self._max_shutdown_seconds = float(values[0])
            self.page_path = values[1] if len(values) > 1 else None
            self.ready = True
            self.started.set()

    async def _check_heartbeats(self, process: trio.Process) -> None:
        await _is_set_within(self._timeouts.start, self.started)
        if not self.ready:
            await self._abort(process, f"it was not ready within {self._timeouts.start:g} s (--worker-timeout)")
            return
        while await self._has_heartbeat():
            pass
        await self._abort(process, f"it has not reported for {self._timeouts.alive:g} s")

    async def _has_heartbeat(self) -> bool:
        """Wait for the next report; return False after the timeout."""
        self._heartbeat = trio.Event()
        return await _is_set_within(self._timeouts.alive, self._heartbeat)

    async def _abort(self, process: trio.Process, why: str) -> None:
        self._output(f"{self.name} is killed: {why}")
        process.send_signal(signal.SIGABRT)
        await trio.sleep(self._timeouts.abort)
        process.kill()

    async def _kill_after_timeout(self, process: trio.Process) -> None:
        await self._stopping.wait()
        seconds = self._max_shutdown_seconds + self._timeouts.end
        if await _is_set_within(seconds, self.ended):
            return
        self._output(f"{self.name} is killed: it has not ended within {seconds:g} s")
        self.killed = True
        process.kill()


async def _is_set_within(seconds: float, event: trio.Event) -> bool:
    """Wait for an event that a worker causes; return False after the timeout.

    This process may be late, as it was stopped or the machine asleep: then a report or an end waits to be read, and the
    time counts from now on.
    """
    for timeout in (seconds, HEARTBEAT_SECONDS):
        with trio.move_on_after(timeout):
            await event.wait()
            return True
    return event.is_set()


def _outcome(status: int) -> str:
    """Describe how a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # the signals of real-time systems have no names
        return f"was ended by signal {-status}"
