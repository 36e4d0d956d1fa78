"""A client for terminals and pipes that sends lines and prints messages."""

from __future__ import annotations

import codecs
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any, Final, TextIO

import trio

from trio_ws.cli.defaults import INTERRUPTED
from trio_ws.client.client import open_websocket
from trio_ws.codes import is_normal_close
from trio_ws.errors import ConnectError, WebSocketDisconnect
from trio_ws.escaping import encodable, printable
from trio_ws.server.signals import print_line
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES
from trio_ws.websocket.websocket import WebSocket

__all__ = ["read_lines", "run_connect", "run_terminal"]

READ_BYTES: Final = 64 * 1024


def run_connect(url: str, *, wait: float, **options: Any) -> int:
    """Run `run_terminal` with the standard input and output."""
    return trio.run(partial(run_terminal, url, wait=wait, **options))


async def run_terminal(
    url: str, *, wait: float, source: int | None = None, sink: TextIO | None = None, **options: Any
) -> int:
    """Send lines as text messages and print received messages, until one side closes.

    The end of the input and SIGINT (Ctrl-C) close the connection with 1000; after a second SIGINT the command does not
    wait for the server's answer. Signals require the main thread.

    Args:
        url: a ws or wss URL.
        wait: seconds without a message after which the connection is closed once the input has ended.
        source: a file descriptor to read lines from, None for standard input.
        sink: the file for messages, None for standard output. On a terminal control characters are escaped; in other
            files only characters that the encoding lacks. Lines about the connection go to standard error, with
            control characters escaped.
        options: options of `open_websocket`.

    Returns:
        The exit status: 0 if the connection ended with 1000 or 1001, also since the reader of the messages has gone;
        130 if SIGINT arrived before it was open, or twice; else 1.

    Raises:
        trio.Cancelled: the connection is closed with 1001.
    """
    terminal = _Terminal(sys.stdin.fileno() if source is None else source, sink or sys.stdout, wait)
    status = INTERRUPTED
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.handle_signals, signals)
            with terminal.scope:
                status = await terminal.run(url, options)
            nursery.cancel_scope.cancel(reason="the connection has ended")
    return status


class _Terminal:
    """One connection between a source of lines and a sink of messages."""

    def __init__(self, source: int, sink: TextIO, wait: float) -> None:
        self._source = source
        self._sink = sink
        self._wait = wait
        self._message_time = trio.current_time()
        self._shown: Callable[[str], str] = partial(printable, keep="\n\t") if sink.isatty() else str
        self._encoding = getattr(sink, "encoding", None) or "utf-8"
        self._websocket: WebSocket | None = None
        self._output_error: OSError | None = None
        self.scope = trio.CancelScope()
        """The scope of `run`."""

    async def handle_signals(self, signals: AsyncIterator[int]) -> None:
        """Close the connection at the first signal; cancel `run` at the second."""
        closing = False
        async with trio.open_nursery() as nursery:
            async for _ in signals:
                if self._websocket is None or closing:
                    self.scope.cancel(reason="interrupted")
                else:
                    closing = True
                    nursery.start_soon(self._websocket.ensure_closed)

    async def run(self, url: str, options: dict[str, Any]) -> int:
        """Connect, exchange messages until the end, and return the exit status."""
        async with AsyncExitStack() as stack:
            opened = open_websocket(url, when_peer_leaves="finish", caught_close_codes=all, **options)
            try:
                self._websocket = websocket = await stack.enter_async_context(opened)
            except (ConnectError, ValueError) as error:
                _print_status(f"not connected: {error}")
                return 1
            await self._exchange(websocket)
        reason = f" {websocket.close_reason}" if websocket.close_reason else ""
        _print_status(f"closed: {websocket.close_code}{reason}")
        if self._output_error is not None:
            _print_status(f"messages cannot be printed: {self._output_error}")
            return 1
        return 0 if is_normal_close(websocket.close_code, NORMAL_CLOSE_CODES) else 1

    async def _exchange(self, websocket: WebSocket) -> None:
        agreed = f" with subprotocol {websocket.subprotocol}" if websocket.subprotocol else ""
        _print_status(f"connected to {websocket.url}{agreed}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_lines, websocket)
            async for message in websocket:
                self._message_time = trio.current_time()
                if not self._show(message):
                    await websocket.ensure_closed()
                    break
            nursery.cancel_scope.cancel(reason="the connection has ended")

    def _show(self, message: str | bytes) -> bool:
        """Print a message; return False if the reader has gone or the disk is full."""
        shown = self._shown(message) if isinstance(message, str) else repr(message)
        try:
            self._sink.write(f"{encodable(shown, self._encoding)}\n")
            self._sink.flush()
        except BrokenPipeError:
            return False
        except OSError as error:
            self._output_error = error
            return False
        return True

    async def _send_lines(self, websocket: WebSocket) -> None:
        try:
            async with aclosing(read_lines(self._source)) as lines:
                async for line in lines:
                    await websocket.send_text(line)
        except WebSocketDisconnect:
            return
        self._message_time = trio.current_time()
        while (left := self._message_time + self._wait - trio.current_time()) > 0:  # noqa: ASYNC110 - each message extends the wait
            await trio.sleep(left)
        await websocket.ensure_closed()


async def read_lines(source: int) -> AsyncGenerator[str, None]:
    """Yield the lines of a file descriptor without their ends; invalid UTF-8 becomes U+FFFD.

    A thread reads them, since the non-blocking mode of a terminal would affect all processes that have it open. It does
    not use `sys.stdin`, whose lock an abandoned thread would hold at the end of the process.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    while data := await trio.to_thread.run_sync(os.read, source, READ_BYTES, abandon_on_cancel=True):
        *lines, rest = (rest + decoder.decode(data)).split("\n")
        for line in lines:
            yield line.removesuffix("\r")
    rest += decoder.decode(b"", final=True)
    if rest:
        yield rest


def _print_status(line: str) -> None:
    """Write a line about the connection to standard error, with text of the server escaped.

    It is escaped in files too: a log may be shown on a terminal later.
    """
    print_line(printable(line))
