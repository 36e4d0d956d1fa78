"""Worker: what a process does that serves for a supervisor: it reports, and it ends when the supervisor is gone.

The supervisor holds one end of a socket pair, the worker the other: reports go up, nothing comes down, and its end says
that there is no supervisor any more, however that ended. What the supervisor does is in `supervisor`.
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

from trio_ws.cli.reload import RESTART_SIGNAL
from trio_ws.codes import CloseCode
from trio_ws.server.signals import END_SIGNALS, print_line, serve_until_signalled
from trio_ws.transport.listeners import SocketListener, inherit

if TYPE_CHECKING:
    from trio_ws.server.server import Server

__all__ = ["ALIVE", "BEAT_SECONDS", "HURRY_SIGNAL", "NUMBER_VARIABLE", "READY", "Assignment", "serve_as_worker"]

NUMBER_VARIABLE: Final = "TRIO_WS_WORKER"
"""The environment variable with the worker's number, from 1; who replaces it has the same."""
HURRY_SIGNAL: Final = signal.SIGINT
"""What a worker is told that shuts down already, and shall not give its handlers any more time."""
BEAT_SECONDS: Final = 1.0
"""Between two reports that it is alive."""
READY: Final = "ready"
"""A report: it accepts. Behind it stand the seconds that its shutdown takes at most."""
ALIVE: Final = "alive"
"""A report: its event loop turns."""


@attrs.frozen
class Assignment:
    """What a worker is told on its command line."""

    link: int
    """The descriptor of its end of the socket pair."""
    listeners: tuple[int, ...]
    """Descriptors of the sockets to accept from."""

    def __str__(self) -> str:
        return f"{self.link}:{','.join(map(str, self.listeners))}"

    @classmethod
    def parse(cls, text: str) -> Assignment:
        """Read what `str` has made of one."""
        link, _, listeners = text.partition(":")
        return cls(int(link), tuple(map(int, listeners.split(","))))

    def sockets(self) -> list[SocketListener]:
        """Return the sockets to accept from."""
        return [inherit(descriptor) for descriptor in self.listeners]


async def serve_as_worker(serve: Callable[..., Awaitable[object]], link: int) -> None:
    """Serve until a signal comes, or the supervisor is gone, then shut down gracefully.

    SIGTERM and SIGINT mean 1001, `RESTART_SIGNAL` 1012; the end of the supervisor means what SIGTERM means. Once it
    shuts down, only `HURRY_SIGNAL` counts: a process manager may tell all processes what the supervisor passes on.

    Args:
        serve: as for `serve_until_signalled`.
        link: the descriptor of the socket that reports go to.

    Raises:
        Exception: what `serve` raises.
    """
    _prepare(link)
    close_codes = {**END_SIGNALS, RESTART_SIGNAL: CloseCode.SERVICE_RESTART}
    failure: Exception | None = None
    with trio.socket.from_stdlib_socket(socket.socket(fileno=link)) as end:
        worker = _Worker(end)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.end_when_orphaned)
            nursery.start_soon(worker.beat)
            try:
                await serve_until_signalled(
                    serve,
                    close_codes=close_codes,
                    report=worker.say,
                    started=worker.started,
                    shortened_by={HURRY_SIGNAL},
                )
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel(reason="the server has ended")
    if failure is not None:
        raise failure


def _prepare(link: int) -> None:
    os.set_inheritable(link, False)  # a program that the application starts must not hold it open
    if sys.stderr is not None:
        faulthandler.enable()  # a worker that hangs is ended by SIGABRT, and says where it hung
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is the supervisor's, whoever else is told


class _Worker:
    """The reports of a worker.

    Args:
        link: where they go.
    """

    def __init__(self, link: trio.socket.SocketType) -> None:
        self._link = link
        self._name = f"worker {os.environ.get(NUMBER_VARIABLE, '?')} (pid {os.getpid()})"

    def say(self, line: str) -> None:
        """Write a line for people, which says who writes it."""
        print_line(f"{self._name}: {line}")

    def started(self, server: Server) -> None:
        """The server accepts: report it."""
        self._report(f"{READY} {server.max_shutdown_seconds}")

    async def beat(self) -> None:
        """Report again and again that the event loop turns."""
        while True:
            self._report(ALIVE)
            await trio.sleep(BEAT_SECONDS)

    def _report(self, line: str) -> None:
        try:
            # Some bytes, which fit or do not: a supervisor that reads nothing is no reason to wait.
            os.write(self._link.fileno(), f"{line}\n".encode())
        except OSError:  # it does not read now, or is gone, which `end_when_orphaned` hears too
            return

    async def end_when_orphaned(self) -> None:
        """Wait for the end of the supervisor, then end this process as SIGTERM would."""
        try:
            await self._link.recv(1)
        except OSError:  # reset, because a report was not read any more
            pass
        self.say("its supervisor is gone, it ends")
        os.kill(os.getpid(), signal.SIGTERM)
