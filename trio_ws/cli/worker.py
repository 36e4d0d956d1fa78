"""A worker process, which reports to its supervisor and ends with it.

A socket pair, the link, joins supervisor and worker. The worker sends reports; the supervisor sends nothing, so the end
of the stream means that the supervisor has ended.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.cli.defaults import HEARTBEAT_SECONDS
from trio_ws.cli.orphan import OrphanWatch
from trio_ws.cli.reload import NO_GRACE_SIGNAL, RESTART_SIGNAL
from trio_ws.codes import CloseCode
from trio_ws.runtime.command import WORKER_VARIABLE
from trio_ws.server.signals import END_SIGNALS, print_line, serve_until_signalled
from trio_ws.transport.listeners import SocketListener, inherit

if TYPE_CHECKING:
    from trio_ws.server.server import Server

__all__ = [
    "HEARTBEAT",
    "READY",
    "Assignment",
    "serve_as_worker",
]

READY: Final = "ready"
"""The report that the worker accepts connections, followed by the maximum seconds of its shutdown, and by the path of
a page if there is one."""
HEARTBEAT: Final = "alive"
"""The report that the event loop runs."""


@attrs.frozen
class Assignment:
    """The descriptors that a worker inherits, on its command line."""

    link: int
    """Descriptor of the worker's end of the link."""
    listeners: tuple[int, ...]
    """Descriptors of the sockets to accept from."""

    def __str__(self) -> str:
        return f"{self.link}:{','.join(map(str, self.listeners))}"

    @classmethod
    def parse(cls, text: str) -> Assignment:
        """Parse the result of `str`."""
        link, _, listeners = text.partition(":")
        return cls(int(link), tuple(map(int, listeners.split(","))))

    def sockets(self) -> list[SocketListener]:
        """Return the sockets to accept from."""
        return [inherit(descriptor) for descriptor in self.listeners]


async def serve_as_worker(
    serve: Callable[..., Awaitable[object]], link: int, *, watch: OrphanWatch | None = None
) -> None:
    """Serve until a signal or the end of the supervisor, then shut down gracefully.

    SIGTERM, SIGINT and the end of the supervisor close connections with 1001, `RESTART_SIGNAL` with 1012. During the
    shutdown all signals but `NO_GRACE_SIGNAL` are ignored, since a process manager may send to all processes what the
    supervisor forwards; `NO_GRACE_SIGNAL` cancels the handlers, also as the first signal.

    Args:
        serve: as for `serve_until_signalled`.
        link: the descriptor of the worker's end of the link.
        watch: ends this process with the supervisor, even if the event loop hangs; it gets the time of the shutdown.

    Raises:
        Exception: the error of `serve`.
    """
    _prepare(link)
    codes = {RESTART_SIGNAL: CloseCode.SERVICE_RESTART, NO_GRACE_SIGNAL: CloseCode.GOING_AWAY}
    failure: Exception | None = None
    with trio.socket.from_stdlib_socket(socket.socket(fileno=link)) as end:
        worker = _Worker(end, watch)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.end_when_orphaned)
            nursery.start_soon(worker.send_heartbeats)
            try:
                await serve_until_signalled(
                    serve,
                    close_codes={**END_SIGNALS, **codes},
                    report=worker.print,
                    started=worker.started,
                    no_grace={NO_GRACE_SIGNAL},
                )
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel(reason="the server has ended")
    if failure is not None:
        raise failure


def _prepare(link: int) -> None:
    os.set_inheritable(link, False)  # a child process of the application must not keep it open
    if sys.stderr is not None:
        faulthandler.enable()  # SIGABRT ends a worker that hangs, and writes a traceback
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # only the supervisor handles it
    signal.signal(NO_GRACE_SIGNAL, signal.SIG_IGN)  # until the server handles it, and after that


class _Worker:
    """The reports of a worker.

    Args:
        link: the socket that they are sent on.
        watch: gets the maximum time of the shutdown.
    """

    def __init__(self, link: trio.socket.SocketType, watch: OrphanWatch | None = None) -> None:
        self._link = link
        self._watch = watch
        self._name = f"worker {os.environ.get(WORKER_VARIABLE, '?')} (pid {os.getpid()})"

    def print(self, line: str) -> None:
        """Write a line with the worker's name to standard error."""
        print_line(f"{self._name}: {line}")

    def started(self, server: Server) -> None:
        """Report that the server accepts connections."""
        if self._watch is not None:
            self._watch.max_shutdown_seconds = server.max_shutdown_seconds
        self._report(f"{READY} {server.max_shutdown_seconds} {server.page_path or ''}".rstrip())

    async def send_heartbeats(self) -> None:
        """Report regularly that the event loop runs."""
        while True:
            self._report(HEARTBEAT)
            await trio.sleep(HEARTBEAT_SECONDS)

    def _report(self, line: str) -> None:
        try:
            # It never waits for a supervisor that does not read: the bytes are sent or dropped.
            os.write(self._link.fileno(), f"{line}\n".encode())
        except OSError:  # the buffer is full, or the supervisor has ended, which `end_when_orphaned` handles
            return

    async def end_when_orphaned(self) -> None:
        """Wait for the end of the supervisor, then send SIGTERM to this process."""
        try:
            await self._link.recv(1)
        except OSError:  # reset, because of a report that was not read
            pass
        self.print("the supervisor has ended, shutting down")
        os.kill(os.getpid(), signal.SIGTERM)
