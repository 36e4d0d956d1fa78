"""Supervisor: keeps several worker processes that accept from the same sockets, and replaces them.

The sockets are bound here and inherited by the workers, so they outlive every one of them: what connects while a worker
ends waits for the next (decision 12). A worker is a fresh interpreter; the application is never imported here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import trio

from trio_ws.cli.process import WorkerProcess, WorkerTimeouts
from trio_ws.cli.reload import RESTART_SIGNAL
from trio_ws.cli.worker import HURRY_SIGNAL
from trio_ws.client.backoff import Backoff, BackoffSettings
from trio_ws.server.signals import print_line
from trio_ws.transport.listeners import owned_path

__all__ = ["WorkersUnavailable", "check_available", "run_workers"]

AVAILABLE: Final = os.name == "posix"
RESTARTS: Final = BackoffSettings(initial=0.5, maximum=30.0, stable_after=10.0)
"""How long a worker that ended is waited with: one that ends again and again must not keep the machine busy."""


class WorkersUnavailable(RuntimeError):  # noqa: N818 - it says what is the matter
    """Workers need a POSIX system, whose processes inherit sockets and are told by signals."""


def check_available() -> None:
    """Raise `WorkersUnavailable` where there cannot be workers."""
    if not AVAILABLE:
        raise WorkersUnavailable("workers need a POSIX system: run several servers on ports of their own instead")


async def run_workers(
    command: Sequence[str],
    listeners: Sequence[socket.socket],
    *,
    workers: int,
    own: Sequence[Sequence[socket.socket]] = (),
    urls: Sequence[str] = (),
    patience: WorkerTimeouts | None = None,
    say: Callable[[str], None] = print_line,
) -> int:
    """Keep workers until SIGINT or SIGTERM; return the exit status: 0, or 1 if the first failed or one was killed.

    | signal | what happens |
    |---|---|
    | SIGTERM, SIGINT | all workers shut down together, with 1001; a second one cancels their handlers at once |
    | SIGHUP | each worker is replaced, one after another: the new one is ready before the old one says 1012 |

    The first worker is started alone: if it ends before it is ready, there is nothing to serve, and that is the end.
    Later, a worker that ends is replaced, after a delay that grows if it does so again and again; so is one that does
    not report in time.

    Args:
        command: starts a worker: interpreter, `-m`, package and subcommand first, then its options.
        listeners: listening sockets, which are closed at the end.
        workers: how many, at least 1.
        own: listening sockets of each worker's alone, beside the others; they are closed at the end, too.
        urls: what is said to be listened on, once the first worker is ready.
        patience: how long to wait for a worker, None for the defaults.
        say: called with each line for people.

    Raises:
        WorkersUnavailable: this is no POSIX system.
        RuntimeError: this is not the main thread.
        trio.Cancelled: the workers were killed.
    """
    check_available()
    sockets = [[*listeners, *alone] for alone in own or [()] * workers]
    supervisor = _Supervisor(command, sockets, urls=urls, patience=patience or WorkerTimeouts(), say=say)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.heed, signals)
            try:
                await supervisor.run()
            finally:
                supervisor.close()
            nursery.cancel_scope.cancel(reason="the workers have ended")
    return supervisor.status


class _Supervisor:
    """The workers: those who serve, by number, and all whose processes live."""

    def __init__(
        self,
        command: Sequence[str],
        sockets: Sequence[Sequence[socket.socket]],
        *,
        urls: Sequence[str],
        patience: WorkerTimeouts,
        say: Callable[[str], None],
    ) -> None:
        self.status = 0
        self._command = command
        self._sockets = dict(enumerate(sockets, 1))
        self._listeners = {listener for each in sockets for listener in each}
        self._paths = [path for path in map(owned_path, self._listeners) if path is not None]
        self._urls = urls
        self._patience = patience
        self._say = say
        self._serving = trio.CancelScope()
        self._current: dict[int, WorkerProcess] = {}
        self._live: set[WorkerProcess] = set()
        self._processes: trio.Nursery  # opened by `run`
        self._replacement_wanted = trio.Event()

    # --- signals -------------------------------------------------------------------------------------------------

    async def heed(self, signals: AsyncIterator[int]) -> None:
        """Do what signals demand."""
        async for number in signals:
            if number == signal.SIGHUP:
                self._replacement_wanted.set()
            elif not self._serving.cancel_called:
                self._say(f"shutting down: {len(self._live)} worker{'' if len(self._live) == 1 else 's'}")
                self._serving.cancel(reason=signal.Signals(number).name)
            else:
                for worker in self._live:
                    worker.end(HURRY_SIGNAL)

    # --- running -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep workers until it is cancelled or told to end; return when none is left."""
        async with trio.open_nursery() as self._processes:
            with self._serving:
                await self._serve()
            for listener in self._listeners:
                listener.close()  # from now on, those who come are refused as soon as the workers accept no more
            for worker in self._live:
                if not worker.told:
                    worker.end(signal.SIGTERM)

    def close(self) -> None:
        """Remove what the listeners leave behind."""
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    async def _serve(self) -> None:
        first = await self._launch(1)
        await first.settled.wait()
        if not first.ready:
            await first.ended.wait()
            self._say(f"{first.name} {first.outcome} before it was ready: nothing is served. What it wrote says why")
            self.status = 1
            return
        self._current[1] = first
        for url in self._urls:
            self._say(f"listening on {url}")
        for number in self._sockets:
            if number != first.number:
                self._current[number] = await self._launch(number)
        async with trio.open_nursery() as nursery:
            for number in self._sockets:
                nursery.start_soon(self._keep, number)
            nursery.start_soon(self._replace_on_demand)

    async def _launch(self, number: int) -> WorkerProcess:
        worker = WorkerProcess(number, self._command, self._sockets[number], self._patience, self._say)
        await self._processes.start(self._hold, worker)
        return worker

    async def _hold(self, worker: WorkerProcess, *, task_status: trio.TaskStatus[None]) -> None:
        self._live.add(worker)
        try:
            await worker.run(task_status=task_status)
        finally:
            self._live.discard(worker)
            if worker.overdue:
                self.status = 1

    async def _keep(self, number: int) -> None:
        """Start another worker whenever the one of that number has ended, unless it was replaced."""
        backoff = Backoff(RESTARTS)
        while True:
            worker, began = self._current[number], trio.current_time()
            await worker.ended.wait()
            if self._current[number] is worker:
                backoff.lived(trio.current_time() - began)
                delay = backoff.next()
                self._say(f"{worker.name} {worker.outcome}: another one starts in {delay:.1f} s")
                await trio.sleep(delay)
            if self._current[number] is worker:
                another = await self._launch(number)
                if self._current[number] is worker:
                    self._current[number] = another
                else:  # a replacement has become ready meanwhile
                    another.end(signal.SIGTERM)

    # --- replacing -----------------------------------------------------------------------------------------------

    async def _replace_on_demand(self) -> None:
        while True:
            await self._replacement_wanted.wait()
            self._replacement_wanted = trio.Event()
            self._say("restarting the workers, one after another")
            if await self._replace_all():
                self._say("restarted")

    async def _replace_all(self) -> bool:
        """Replace each worker by a new one that is ready; stop at the first that does not become so."""
        for number in self._sockets:
            new = await self._launch(number)
            await new.settled.wait()
            if not new.ready:
                await new.ended.wait()
                self._say(f"{new.name} {new.outcome} before it was ready: the old ones go on. What it wrote says why")
                return False
            old, self._current[number] = self._current[number], new
            old.end(RESTART_SIGNAL)
            await old.ended.wait()
        return True
