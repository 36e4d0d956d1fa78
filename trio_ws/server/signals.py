"""Serving in the main thread until a signal, then shutting down gracefully."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from trio_ws.codes import CloseCode

if TYPE_CHECKING:
    from trio_ws.server.server import Server

__all__ = [
    "END_SIGNALS",
    "SignalCloseCodes",
    "get_page_url",
    "print_line",
    "serve_until_signalled",
    "terminal_end_signals",
]

SignalCloseCodes: TypeAlias = Mapping[signal.Signals, CloseCode]
"""The close code for clients, by the signal that ends the server."""

END_SIGNALS: Final[SignalCloseCodes] = {signal.SIGINT: CloseCode.GOING_AWAY, signal.SIGTERM: CloseCode.GOING_AWAY}
"""The signals of Ctrl-C and of process managers."""

_PAGE_SCHEMES: Final = {"ws": "http", "wss": "https"}


def terminal_end_signals() -> list[signal.Signals]:
    """Return SIGHUP in a list, or no signal if it is ignored (`nohup`), handled or unknown here."""
    number: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
    return [] if number is None or signal.getsignal(number) is not signal.SIG_DFL else [number]


def get_page_url(urls: Iterable[str], path: str | None) -> str | None:
    """Return the URL of a page for a browser on this machine; None without a page or a TCP address.

    Args:
        urls: of the server; the first one with a port counts.
        path: of the page, None for none.
    """
    for url in urls if path is not None else ():
        scheme, _, address = url.partition("://")
        host, _, port = address.rpartition(":")
        if scheme in _PAGE_SCHEMES and port.isdecimal():
            shown = "localhost" if _is_this_machine(host.strip("[]")) else host
            return f"{_PAGE_SCHEMES[scheme]}://{shown}:{port}{path if path != '/' else ''}"
    return None


def _is_this_machine(host: str) -> bool:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def print_line(line: str) -> None:
    """Write a line to standard error, and ignore errors of a closed terminal, a broken pipe or a full disk."""
    if sys.stderr is not None:  # closed before the interpreter began
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


async def serve_until_signalled(
    serve: Callable[..., Awaitable[object]],
    *,
    close_codes: SignalCloseCodes = END_SIGNALS,
    report: Callable[[str], None] = print_line,
    started: Callable[[Server], None] | None = None,
    no_grace: Collection[signal.Signals] | None = None,
) -> None:
    """Serve until a signal arrives, then shut down gracefully; at a second signal, at once.

    After the first signal the server accepts no more connections, closes all with the signal's code, and handlers have
    `Timeouts.shutdown_grace` to end. After the second they are cancelled. A signal before the server listens ends it at
    once. The end of the terminal (SIGHUP) means 1001, unless it is ignored or the program has a handler for it. Signals
    arrive in the main thread only.

    Args:
        serve: called with `task_status=`, to pass its `Server` once that listens: `App.serve`, or a `partial`.
        close_codes: the signals to handle, with their close codes.
        report: called with each line for the person at the terminal.
        started: called with the server once it listens; None to report its addresses.
        no_grace: the signals that cancel the handlers at once, also the first one; None for any second signal.

    Raises:
        OSError: an address cannot be listened on; other errors of `serve` pass, too.
        RuntimeError: this is not the main thread.
        trio.Cancelled: as `serve` has it.
    """
    close_codes = {**dict.fromkeys(terminal_end_signals(), CloseCode.GOING_AWAY), **close_codes}
    handler = _SignalHandler(close_codes, report, started, no_grace)
    failure: Exception | None = None
    with trio.open_signal_receiver(*close_codes) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handler.run, signals)
            try:
                with handler.scope:
                    await serve(task_status=handler)
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel(reason="the server has ended")
    if failure is not None:
        raise failure


class _SignalHandler:
    """The task status of a server, and the reaction to signals."""

    def __init__(
        self,
        close_codes: SignalCloseCodes,
        report: Callable[[str], None],
        on_start: Callable[[Server], None] | None,
        no_grace: Collection[signal.Signals] | None,
    ) -> None:
        self.scope = trio.CancelScope()
        """The scope that the server runs in."""
        self._close_codes = close_codes
        self._report = report
        self._on_start = on_start or self._report_addresses
        self._no_grace = no_grace
        self._server: Server | None = None
        self._stopping = False

    def started(self, server: Server) -> None:
        """Take the server that listens, as a `trio.TaskStatus` does."""
        self._server = server
        self._on_start(server)

    def _report_addresses(self, server: Server) -> None:
        for url in server.urls:
            self._report(f"listening on {url}")
        page = get_page_url(server.urls, server.page_path)
        if page is not None:
            self._report(f"open {page}")

    async def run(self, signals: AsyncIterator[int]) -> None:
        """Handle signals as they arrive."""
        async for number in signals:
            self._handle_signal(signal.Signals(number))

    def _handle_signal(self, received: signal.Signals) -> None:
        first, self._stopping = not self._stopping, True
        if self._server is None:
            self._end(received)
            return
        if first:
            self._begin(self._server, self._close_codes[received])
        if (not first) if self._no_grace is None else received in self._no_grace:
            self._server.shutdown(grace=0)
            self._end(received)

    def _begin(self, server: Server, code: CloseCode) -> None:
        open_now = server.statistics().connections
        self._report(f"shutting down: {open_now} connection{'' if open_now == 1 else 's'}")
        # A restarted server keeps the address, so load balancers need no delay.
        server.shutdown(code, delay=0 if code is CloseCode.SERVICE_RESTART else None)

    def _end(self, received: signal.Signals) -> None:
        self._report(f"ended by {received.name}")
        self.scope.cancel(reason=received.name)
