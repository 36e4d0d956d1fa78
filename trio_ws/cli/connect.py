"""The arguments of `connect`. The client is imported when it runs, not before."""

from __future__ import annotations

import argparse
import sys
from typing import TypeAlias

from trio_ws.cli.defaults import QUIET_SECONDS
from trio_ws.cli.loading import UsageError

__all__ = ["add_connect"]

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_connect(commands: _Commands) -> None:
    """Add `connect`."""
    connect = commands.add_parser("connect", help="talk to a WebSocket server, line by line")
    connect.set_defaults(command=_connect)
    connect.add_argument("url", metavar="URL", help="a ws or wss URL")
    connect.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="a header to send")
    connect.add_argument("--subprotocol", action="append", default=[], metavar="NAME", help="a subprotocol to offer")
    connect.add_argument("--origin", help="the Origin header")
    connect.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        help=f"at the end of the input, close after this time without messages (0 at a terminal, else {QUIET_SECONDS})",
    )


def _connect(options: argparse.Namespace) -> int:
    from trio_ws.cli.terminal import run_connect  # noqa: PLC0415 - other commands do not need a client

    if sys.stdin is None or sys.stdout is None:  # closed before the interpreter began
        raise UsageError(f"there is no standard {'input' if sys.stdin is None else 'output'}")
    wait = options.wait
    if wait is None:
        wait = 0 if sys.stdin.isatty() else QUIET_SECONDS
    headers = [_header(text) for text in options.header]
    offers = {"headers": headers, "subprotocols": options.subprotocol, "origin": options.origin}
    return run_connect(options.url, wait=wait, **offers)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"a header looks like 'Name: value', not {text!r}")
    return name.strip(), value.strip()
