"""A supervisor of worker processes that accept from the same sockets.

The supervisor binds the sockets and the workers inherit them, so connections that arrive while a worker is replaced
wait in the backlog (decision 12). Each worker is a new interpreter; the supervisor never imports the application.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import trio

from trio_ws.cli.process import WorkerProcess, WorkerTimeouts
from trio_ws.cli.reload import NO_GRACE_SIGNAL, RESTART_SIGNAL
from trio_ws.client.backoff import Backoff, BackoffSettings
from trio_ws.server.signals import get_page_url, print_line
from trio_ws.transport.listeners import owned_path

__all__ = ["WorkersUnavailable", "check_available", "run_workers"]

AVAILABLE: Final = os.name == "posix"
RESTARTS: Final = BackoffSettings(initial=0.5, maximum=30.0, stable_after=10.0)
"""Delays before the replacement of a worker that has ended."""


class WorkersUnavailable(RuntimeError):  # noqa: N818 - a state, not an error of ours
    """Workers need a POSIX system, with inherited sockets and signals."""


def check_available() -> None:
    """Raise `WorkersUnavailable` on a system without worker processes."""
    if not AVAILABLE:
        raise WorkersUnavailable("workers need a POSIX system: run several servers on different ports instead")


async def run_workers(
    command: Sequence[str],
    listeners: Sequence[socket.socket],
    *,
    workers: int,
    own: Sequence[Sequence[socket.socket]] = (),
    urls: Sequence[str] = (),
    timeouts: WorkerTimeouts | None = None,
    output: Callable[[str], None] = print_line,
) -> int:
    """Run workers until SIGINT or SIGTERM, and return the exit status.

    | signal | what happens |
    |---|---|
    | SIGTERM, SIGINT | all workers shut down together with 1001; a second signal cancels their handlers at once |
    | SIGHUP | workers are replaced one by one; each is ready before the old one shuts down with 1012 |

    The first worker starts alone; if it ends before it is ready, so does the supervisor. Later, a worker that ends or
    that misses its heartbeats is replaced after a delay, which grows with repeated failures.

    Args:
        command: the command line of a worker: interpreter, `-m`, package, subcommand, options.
        listeners: listening sockets of all workers; they are closed at the end.
        workers: number of workers, at least 1.
        own: further listening sockets of each worker; they are closed at the end.
        urls: URLs to print once the first worker is ready.
        timeouts: timeouts of each worker, None for the defaults.
        output: called with each line of output.

    Returns:
        0, or 1 if the first worker was not ready or a worker was killed at the end.

    Raises:
        WorkersUnavailable: this is not a POSIX system.
        RuntimeError: this is not the main thread.
        trio.Cancelled: after the workers were killed.
    """
    check_available()
    sockets = [[*listeners, *alone] for alone in own or [()] * workers]
    supervisor = _Supervisor(command, sockets, urls=urls, timeouts=timeouts or WorkerTimeouts(), output=output)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.handle_signals, signals)
            try:
                await supervisor.run()
            finally:
                supervisor.close()
            nursery.cancel_scope.cancel(reason="the workers have ended")
    return supervisor.status


class _Supervisor:
    """The serving workers by number, and all running worker processes."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[Sequence[socket.socket]],
        *,
        urls: Sequence[str],
        timeouts: WorkerTimeouts,
        output: Callable[[str], None],
    ) -> None:
        self.status = 0
        self._command = command
        self._sockets = dict(enumerate(sockets, 1))
        self._listeners = {listener for each in sockets for listener in each}
        self._paths = [path for path in map(owned_path, self._listeners) if path is not None]
        self._urls = urls
        self._timeouts = timeouts
        self._output = output
        self._serving = trio.CancelScope()
        self._current: dict[int, WorkerProcess] = {}
        self._live: set[WorkerProcess] = set()
        self._processes: trio.Nursery  # opened by `run`
        self._replacement_requested = trio.Event()

    # --- signals -------------------------------------------------------------------------------------------------

    async def handle_signals(self, signals: AsyncIterator[int]) -> None:
        """Shut down or replace workers as signals arrive."""
        async for number in signals:
            if number == signal.SIGHUP:
                self._replacement_requested.set()
            elif not self._serving.cancel_called:
                self._output(f"shutting down: {len(self._live)} worker{'' if len(self._live) == 1 else 's'}")
                self._serving.cancel(reason=signal.Signals(number).name)
            else:
                for worker in self._live:
                    worker.end(NO_GRACE_SIGNAL)

    # --- running -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run workers until a signal; return when all have ended."""
        async with trio.open_nursery() as self._processes:
            with self._serving:
                await self._serve()
            for listener in self._listeners:
                listener.close()  # new connections are refused once the workers stop accepting
            for worker in self._live:
                if not worker.stopping:
                    worker.end(signal.SIGTERM)

    def close(self) -> None:
        """Close the listeners and remove the paths of Unix sockets."""
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            path.remove()

    async def _serve(self) -> None:
        first = await self._launch(1)
        await first.started.wait()
        if not first.ready:
            await first.ended.wait()
            self._output(
                f"{first.name} {first.outcome} before it was ready: nothing is served. Its output has the reason"
            )
            self.status = 1
            return
        self._current[1] = first
        for url in self._urls:
            self._output(f"listening on {url}")
        page = get_page_url(self._urls, first.page_path)
        if page is not None:
            self._output(f"open {page}")
        for number in self._sockets:
            if number != first.number:
                self._current[number] = await self._launch(number)
        async with trio.open_nursery() as nursery:
            for number in self._sockets:
                nursery.start_soon(self._keep_running, number)
            nursery.start_soon(self._replace_on_demand)

    async def _launch(self, number: int) -> WorkerProcess:
        worker = WorkerProcess(number, self._command, self._sockets[number], self._timeouts, self._output)
        await self._processes.start(self._hold, worker)
        return worker

    async def _hold(self, worker: WorkerProcess, *, task_status: trio.TaskStatus[None]) -> None:
        self._live.add(worker)
        try:
            await worker.run(task_status=task_status)
        finally:
            self._live.discard(worker)
            if worker.killed:
                self.status = 1

    async def _keep_running(self, number: int) -> None:
        """Replace the worker of a number whenever it has ended by itself."""
        backoff = Backoff(RESTARTS)
        while True:
            worker, began = self._current[number], trio.current_time()
            await worker.ended.wait()
            if self._current[number] is worker:
                backoff.lived(trio.current_time() - began)
                delay = backoff.next()
                self._output(f"{worker.name} {worker.outcome}: restart in {delay:.1f} s")
                await trio.sleep(delay)
            if self._current[number] is worker:
                replacement = await self._launch(number)
                if self._current[number] is worker:
                    self._current[number] = replacement
                else:  # another replacement has become ready in the meantime
                    replacement.end(signal.SIGTERM)

    # --- replacing -----------------------------------------------------------------------------------------------

    async def _replace_on_demand(self) -> None:
        while True:
            await self._replacement_requested.wait()
            self._replacement_requested = trio.Event()
            self._output("restarting the workers one by one")
            if await self._replace_all():
                self._output("restarted")

    async def _replace_all(self) -> bool:
        """Replace the workers one by one; return False if a new one does not become ready."""
        for number in self._sockets:
            new = await self._launch(number)
            await new.started.wait()
            if not new.ready:
                await new.ended.wait()
                self._output(
                    f"{new.name} {new.outcome} before it was ready: the old workers continue. Its output has the reason"
                )
                return False
            old, self._current[number] = self._current[number], new
            old.end(RESTART_SIGNAL)
            await old.ended.wait()
        return True
