"""Running: a server as a process of its own, until a signal ends it. What it serves, and on what, others decide."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from trio_ws.codes import CloseCode

if TYPE_CHECKING:
    from trio_ws.server.server import Server

__all__ = ["END_SIGNALS", "Farewells", "hangup", "print_line", "serve_until_signalled"]

Farewells: TypeAlias = Mapping[signal.Signals, CloseCode]
"""The close code that clients are told, by the signal that ends the server."""

END_SIGNALS: Final[Farewells] = {signal.SIGINT: CloseCode.GOING_AWAY, signal.SIGTERM: CloseCode.GOING_AWAY}
"""What Ctrl-C and process managers send."""


def hangup() -> list[signal.Signals]:
    """Return the signal that the end of a terminal is, unless somebody wants something else of it, as `nohup` does."""
    number: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
    return [] if number is None or signal.getsignal(number) is not signal.SIG_DFL else [number]


def print_line(line: str) -> None:
    """Write a line to standard error: standard output is the application's.

    A log that nobody reads any more, a full disk or a terminal that was closed are no reason to end.
    """
    if sys.stderr is not None:  # it was closed before the interpreter began
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


async def serve_until_signalled(
    serve: Callable[..., Awaitable[object]],
    *,
    farewells: Farewells = END_SIGNALS,
    say: Callable[[str], None] = print_line,
    started: Callable[[Server], None] | None = None,
    hurried_by: Collection[signal.Signals] | None = None,
) -> None:
    """Serve until a signal comes, then shut down gracefully; at a second signal, at once.

    After the first signal nobody is accepted, every client is told the signal's close code, and handlers have
    `Timeouts.shutdown_grace` to end. After the second they are cancelled. A signal before the server listens ends it
    without further ado. The end of the terminal (SIGHUP) means 1001, unless it is ignored or the program has a handler
    for it. Signals can be heard in the main thread only.

    Args:
        serve: called with `task_status=`, which it tells its `Server` once that listens: `App.serve`, or a `partial`.
        farewells: which signals to hear, and the close codes they mean.
        say: called with each line for the person at the terminal.
        started: called with the server once it listens; None to say where.
        hurried_by: which of the signals count when the server shuts down already, None for all.

    Raises:
        OSError: an address cannot be listened on; what else `serve` raises is raised too.
        RuntimeError: this is not the main thread.
        trio.Cancelled: as `serve` has it.
    """
    farewells = {**dict.fromkeys(hangup(), CloseCode.GOING_AWAY), **farewells}
    watch = _Watch(farewells, say, started, farewells if hurried_by is None else hurried_by)
    failure: Exception | None = None
    with trio.open_signal_receiver(*farewells) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.listen, signals)
            try:
                with watch.scope:
                    await serve(task_status=watch)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel(reason="the server has ended")
    if failure is not None:
        raise failure


class _Watch:
    """What is told when the server listens, and does what signals demand of it."""

    def __init__(
        self,
        farewells: Farewells,
        say: Callable[[str], None],
        on_start: Callable[[Server], None] | None,
        hurried_by: Collection[signal.Signals],
    ) -> None:
        self.scope = trio.CancelScope()
        """What the server runs in."""
        self._farewells = farewells
        self._say = say
        self._on_start = on_start or self._say_where
        self._hurried_by = hurried_by
        self._server: Server | None = None
        self._leaving = False

    def started(self, server: Server) -> None:
        """The server listens; it is what a `trio.TaskStatus` is told."""
        self._server = server
        self._on_start(server)

    def _say_where(self, server: Server) -> None:
        for url in server.urls:
            self._say(f"listening on {url}")

    async def listen(self, signals: AsyncIterator[int]) -> None:
        """Act on signals as they come."""
        async for number in signals:
            self._heed(signal.Signals(number))

    def _heed(self, heard: signal.Signals) -> None:
        server = self._server
        if server is not None and not self._leaving:
            self._leaving = True
            open_now = server.statistics().connections
            self._say(f"shutting down: {open_now} connection{'' if open_now == 1 else 's'}")
            code = self._farewells[heard]
            # After a restart the address is served on: load balancers need not hear of it.
            server.shutdown(code, delay=0 if code is CloseCode.SERVICE_RESTART else None)
            return
        if self._leaving and heard not in self._hurried_by:
            return
        self._say(f"ended by {heard.name}")
        if server is not None:
            server.shutdown(grace=0)
        self.scope.cancel(reason=heard.name)
