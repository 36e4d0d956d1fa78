"""The arguments of `conform` and `fuzz`. The suite is imported when one of them runs, not before."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

__all__ = ["add_conform", "add_fuzz"]

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

EXIT_STATUS = (
    "Exit status: 0 if nothing failed, 1 if a MUST did, 3 if a SHOULD is the gravest, 4 if only hardening failed; "
    "2 if the suite could not run, 130 after Ctrl-C. Deviations that --baseline lists do not count."
)


def add_conform(commands: _Commands) -> None:
    """Add `conform server` and `conform client`."""
    conform = commands.add_parser("conform", help="test any WebSocket server or client for conformance")
    sides = conform.add_subparsers(required=True, metavar="server|client")
    server = sides.add_parser("server", help="test a server that echoes every message", epilog=EXIT_STATUS)
    server.set_defaults(command=_conform_server)
    _add_target(server)
    server.add_argument("--jobs", type=_positive, default=4, metavar="N", help="cases at the same time (%(default)s)")
    _add_selection(server)
    client = sides.add_parser(
        "client",
        help="test a client, driven by a script for Autobahn's fuzzing server",
        epilog=f"The driver echoes every message of /runCase?case=N&agent=NAME, N from 1 to what /getCaseCount says, "
        f"and opens /updateReports?agent=NAME at the end. {EXIT_STATUS}",
    )
    client.set_defaults(command=_conform_client)
    client.add_argument("--listen", default="127.0.0.1:9001", metavar="HOST:PORT", help="(%(default)s)")
    client.add_argument("--once", action="store_true", help="end when the first driver is done")
    client.add_argument("--ssl-certfile", metavar="FILE", help="serve TLS with this certificate chain")
    client.add_argument("--ssl-keyfile", metavar="FILE", help="the certificate's key, if it is in a file of its own")
    client.add_argument("--subprotocol", action="append", default=[], metavar="NAME", help="a subprotocol to accept")
    _add_selection(client)


def add_fuzz(commands: _Commands) -> None:
    """Add `fuzz`."""
    fuzz = commands.add_parser("fuzz", help="test a server that echoes with generated conversations")
    fuzz.set_defaults(command=_fuzz)
    _add_target(fuzz)
    fuzz.add_argument("--seed", type=int, metavar="N", help="repeat the run with this seed")
    fuzz.add_argument("--budget", type=_seconds, default=60.0, metavar="SECONDS", help="(%(default)g)")
    fuzz.add_argument(
        "--timeout", type=_seconds, default=3.0, metavar="SECONDS", help="of a conversation (%(default)g)"
    )
    fuzz.add_argument("--script", type=Path, metavar="FILE", help="write the failing conversation as a script here")
    fuzz.add_argument(
        "--yes-i-own-it", action="store_true", help="allow a server that is not on the loopback interface"
    )


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a ws or wss URL where every message is echoed")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="a header to send")
    parser.add_argument("--subprotocol", action="append", default=[], metavar="NAME", help="a subprotocol to offer")
    parser.add_argument("--cafile", metavar="FILE", help="trust the certificates in this file")
    parser.add_argument("--insecure", action="store_true", help="trust any certificate")


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", action="append", default=[], metavar="CASES", help="ids, chapters or patterns: 7, 9.1, 6.*.1"
    )
    parser.add_argument("--skip", action="append", default=[], metavar="CASES", help="likewise, to leave out")
    parser.add_argument("--level", choices=["must", "should", "hardening"], help="leave out what weighs less")
    parser.add_argument("--full", action="store_true", help="large cases as published: minutes, up to 16 MiB")
    parser.add_argument("--timeout", type=_seconds, default=15.0, metavar="SECONDS", help="of a case (%(default)g)")
    parser.add_argument(
        "--pause",
        type=_seconds,
        default=0.05,
        metavar="SECONDS",
        help="time in which an answer would arrive (%(default)g)",
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write HTML, JSON and JUnit XML; agents add up")
    parser.add_argument("--agent", metavar="NAME", help="the name of the implementation in reports")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="known deviations, which do not count")
    parser.add_argument("--write-baseline", type=Path, metavar="FILE", help="write the deviations of this run")
    parser.add_argument("--list", action="store_true", help="list the cases and end")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"give a number, 1 or more, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"give seconds, more than 0, not {text!r}")
    return seconds


def _conform_server(options: argparse.Namespace) -> int:
    from trio_ws.cli.conform_run import conform_server  # noqa: PLC0415 - other commands do not need the suite

    return conform_server(options)


def _conform_client(options: argparse.Namespace) -> int:
    from trio_ws.cli.conform_run import conform_client  # noqa: PLC0415 - likewise

    return conform_client(options)


def _fuzz(options: argparse.Namespace) -> int:
    from trio_ws.cli.fuzz_run import fuzz  # noqa: PLC0415 - likewise

    return fuzz(options)
