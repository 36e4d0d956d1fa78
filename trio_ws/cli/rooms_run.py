"""The subcommands `publish` and `watch`, which speak to rooms from outside."""

from __future__ import annotations

import json
import os
import signal
import sys
from base64 import b64encode
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.cli.defaults import INTERRUPTED
from trio_ws.cli.loading import UsageError
from trio_ws.connection.serialization import from_json
from trio_ws.errors import BackplaneError, InvalidMessage, MessageTooLarge
from trio_ws.escaping import encodable, printable
from trio_ws.rooms.outside import connect_backplane
from trio_ws.runtime.background import open_background
from trio_ws.server.signals import print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trio_ws.rooms.everywhere import RoomMessage
    from trio_ws.rooms.watch import RoomWatch

__all__ = ["publish", "watch"]

_INPUT: Final = "-"
_MOST_INPUT: Final = 1024 * 1024 + 3
"""Bytes that are read, more than a message may have by default: a larger one is refused, not cut."""
_ERRORS: Final = (BackplaneError, ImportError, MessageTooLarge, TypeError, ValueError)


def _run(command: Callable[..., Awaitable[int]], options: argparse.Namespace, *args: Any) -> int:
    try:
        return trio.run(command, options, *args)
    except _ERRORS as error:
        raise UsageError(printable(str(error))) from None


# --- publish ----------------------------------------------------------------------------------------------------------


def publish(options: argparse.Namespace) -> int:
    """Publish a message, and return the exit status."""
    return _run(_send, options, _message(options))


def _message(options: argparse.Namespace) -> str | bytes:
    """Return the message of the command line or of the standard input.

    Raises:
        UsageError: it is no message of its kind.
    """
    given: str = options.message
    data = _read_input() if given == _INPUT else os.fsencode(given)
    if options.binary:
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the message is not UTF-8, for which there is --binary: {error}") from None
    if options.json:
        return _checked_json(text)
    if given == _INPUT:
        text = text.removesuffix("\n").removesuffix("\r")
    return text


def _read_input() -> bytes:
    if sys.stdin is None:  # closed before the interpreter began
        raise UsageError("there is no standard input: give the message in place of -")
    return sys.stdin.buffer.read(_MOST_INPUT)


def _checked_json(text: str) -> str:
    try:
        from_json(text)
    except InvalidMessage as error:
        raise UsageError(f"the message is no JSON: {error}") from None
    return text.strip()


async def _send(options: argparse.Namespace, message: str | bytes) -> int:
    async with connect_backplane(options.redis, prefix=options.prefix, timeout=options.timeout) as rooms:
        identifier = await rooms.publish(options.room, message, key=options.key)
    _print_id(identifier)
    return 0


def _print_id(identifier: str) -> None:
    """Print the id of a message; without an output it is published all the same, and not to be tried again."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
        _write(sys.stdout.fileno(), f"{identifier}\n".encode())
    except OSError as error:
        print_line(f"trio-ws: the message is published, and its id {identifier} cannot be printed: {error}")


# --- watch ------------------------------------------------------------------------------------------------------------


def watch(options: argparse.Namespace) -> int:
    """Print the messages of a room, and return the exit status."""
    return _run(_until_signalled, options)


async def _until_signalled(options: argparse.Namespace) -> int:
    """Print messages until there are enough, a signal comes, or the output is closed."""
    printer = _Printer(options)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_background() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_when_signalled, signals, scope)
                await _print_all(options, printer)
    return 0 if printer.begun else INTERRUPTED


async def _cancel_when_signalled(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel(reason="interrupted")


async def _print_all(options: argparse.Namespace, printer: _Printer) -> None:
    connection = connect_backplane(options.redis, prefix=options.prefix, timeout=options.timeout)
    async with connection as rooms:
        watch = rooms.watch(options.room, since=options.since, history=options.history, on_gap=_report_gap)
        async with watch as messages:
            printer.begun = True
            await printer.print_all(messages, options.count)


def _report_gap(missed: int | None) -> None:
    print_line(f"trio-ws: {'messages' if missed is None else f'{missed} messages'} of the room are lost here")


class _Printer:
    """Prints messages to the standard output.

    A thread writes, so that a slow reader holds up nothing else. It does not use `sys.stdout`, whose lock an abandoned
    thread would hold at the end of the process.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        if sys.stdout is None:
            raise UsageError("there is no standard output for messages")
        sys.stdout.flush()
        self._json: bool = options.json
        self._descriptor = sys.stdout.fileno()
        self._encoding = sys.stdout.encoding or "utf-8"
        self._shown: Callable[[str], str] = partial(printable, keep="\n\t") if sys.stdout.isatty() else str
        self.begun: bool = False
        """Whether the room is watched."""

    async def print_all(self, messages: RoomWatch, count: int | None) -> None:
        """Print `count` messages, or all; end when the reader has gone."""
        left = count
        async for message in messages:
            line = f"{self._line(message)}\n".encode(self._encoding)
            try:
                await trio.to_thread.run_sync(_write, self._descriptor, line, abandon_on_cancel=True)
            except BrokenPipeError:
                return
            except OSError as error:
                raise UsageError(f"messages cannot be printed: {error}") from None
            left = None if left is None else left - 1
            if left == 0:
                return

    def _line(self, message: RoomMessage) -> str:
        data = message.message
        if self._json:
            content = {"text": data} if isinstance(data, str) else {"binary": b64encode(data).decode()}
            return json.dumps({"id": message.id, "time": message.time.isoformat(), **content})
        shown = self._shown(data) if isinstance(data, str) else repr(data)
        return encodable(shown, self._encoding)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
