"""Terminal: a client for people and for pipes: lines go out as messages, messages come as lines."""

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

from trio_ws.client.client import open_websocket
from trio_ws.codes import is_normal_close
from trio_ws.errors import ConnectError, WebSocketDisconnect
from trio_ws.escaping import encodable, printable
from trio_ws.server.signals import print_line
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES
from trio_ws.websocket.websocket import WebSocket

__all__ = ["INTERRUPTED", "lines_of", "run_terminal"]

INTERRUPTED: Final = 130
"""The exit status of a command that SIGINT has ended, as shells have it: 128 and the signal's number."""

READ_BYTES: Final = 64 * 1024


async def run_terminal(
    url: str, *, wait: float, source: int | None = None, sink: TextIO | None = None, **options: Any
) -> int:
    """Send lines as text messages and show the messages that come, until one side ends.

    The end of the input, and SIGINT (Ctrl-C), close the connection with 1000; a second SIGINT does not wait for the
    server's answer. It runs in the main thread only.

    Args:
        url: a ws or wss URL.
        wait: seconds without a message after which the connection is closed once the input has ended.
        source: a file descriptor to read lines from, None for standard input.
        sink: what messages are written to, None for standard output. What is said about the connection goes to
            standard error. A terminal gets messages with escapes in place of control characters; anything else gets
            them as they are, but for escapes in place of what its encoding lacks. What is said about the connection
            never has control characters in it.
        options: those of `open_websocket`.

    Returns:
        The exit status: 0 if the connection ended with 1000 or 1001, 1 if it did not, or could not be made, 130 if
        SIGINT came before it was, or twice.

    Raises:
        trio.Cancelled: the server is told 1001.
    """
    terminal = _Terminal(sys.stdin.fileno() if source is None else source, sink or sys.stdout, wait)
    status = INTERRUPTED
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(terminal.heed, signals)
            with terminal.scope:
                status = await terminal.run(url, options)
            nursery.cancel_scope.cancel(reason="the conversation has ended")
    return status


class _Terminal:
    """Where lines come from, where messages go, and since when nothing has come."""

    def __init__(self, source: int, sink: TextIO, wait: float) -> None:
        self._source = source
        self._sink = sink
        self._wait = wait
        self._heard = trio.current_time()
        self._shown: Callable[[str], str] = partial(printable, keep="\n\t") if sink.isatty() else str
        self._encoding = getattr(sink, "encoding", None) or "utf-8"
        self._websocket: WebSocket | None = None
        self.scope = trio.CancelScope()
        """Ends the attempt to connect, or the conversation."""

    async def heed(self, signals: AsyncIterator[int]) -> None:
        """Close the connection at the first signal, end without the server's answer at the second."""
        closing = False
        async with trio.open_nursery() as nursery:
            async for _ in signals:
                if self._websocket is None or closing:
                    self.scope.cancel(reason="interrupted")
                else:
                    closing = True
                    nursery.start_soon(self._websocket.ensure_closed)

    async def run(self, url: str, options: dict[str, Any]) -> int:
        """Connect, and hold the conversation to its end; return the exit status."""
        async with AsyncExitStack() as stack:
            opened = open_websocket(url, when_peer_leaves="finish", caught_close_codes=all, **options)
            try:
                self._websocket = websocket = await stack.enter_async_context(opened)
            except (ConnectError, ValueError) as error:
                _say(f"not connected: {error}")
                return 1
            await self._hold(websocket)
        reason = f" {websocket.close_reason}" if websocket.close_reason else ""
        _say(f"closed: {websocket.close_code}{reason}")
        return 0 if is_normal_close(websocket.close_code, NORMAL_CLOSE_CODES) else 1

    async def _hold(self, websocket: WebSocket) -> None:
        agreed = f" with subprotocol {websocket.subprotocol}" if websocket.subprotocol else ""
        _say(f"connected to {websocket.url}{agreed}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_lines, websocket)
            async for message in websocket:
                self._heard = trio.current_time()
                self._show(message)
            nursery.cancel_scope.cancel(reason="the connection has ended")

    def _show(self, message: str | bytes) -> None:
        shown = self._shown(message) if isinstance(message, str) else repr(message)
        self._sink.write(f"{encodable(shown, self._encoding)}\n")
        self._sink.flush()

    async def _send_lines(self, websocket: WebSocket) -> None:
        try:
            async with aclosing(lines_of(self._source)) as lines:
                async for line in lines:
                    await websocket.send_text(line)
        except WebSocketDisconnect:
            return
        self._heard = trio.current_time()
        while (left := self._heard + self._wait - trio.current_time()) > 0:  # noqa: ASYNC110 - each message moves it
            await trio.sleep(left)
        await websocket.ensure_closed()


async def lines_of(source: int) -> AsyncGenerator[str, None]:
    """Yield the lines of a file descriptor as they come, without their ends; what is not UTF-8 becomes U+FFFD.

    It reads in a thread, because a terminal cannot be read without blocking unless everyone who has it open agrees; and
    not through `sys.stdin`, whose lock an abandoned thread would hold at the end of the process.
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


def _say(line: str) -> None:
    """Write a line about the connection, with text of the server in it, to standard error.

    It is escaped wherever that leads: what a log keeps is shown on a terminal later, and is one line of it.
    """
    print_line(printable(line))
