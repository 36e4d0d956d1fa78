"""The arguments of `run`. The server is imported when it runs, not before."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from trio_ws.cli.arguments import assignment, count, mode, positive, worker_timeout
from trio_ws.cli.defaults import DEFAULT_LEVEL, DEFAULT_PORT, LEVELS, RELOAD_WATCHDOG, WORKER_TIMEOUT

__all__ = ["add_run"]

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_run(commands: _Commands) -> None:
    """Add `run`."""
    run = commands.add_parser("run", help="serve an application", allow_abbrev=False)
    run.set_defaults(command=_run)
    run.add_argument("app", metavar="MODULE:APP", help="the application, e.g. chat.main:app; `app` if no name is given")
    run.add_argument("--factory", action="store_true", help="call APP: it returns the application")
    _add_sockets(run)
    run.add_argument("--log-level", choices=LEVELS, help=f"({DEFAULT_LEVEL})")
    run.add_argument("--log-config", metavar="FILE", help="configure logging: .json, .toml, .yaml, or an .ini file")
    run.add_argument("--access-log", action="store_true", help="log each connection that opens, closes or is refused")
    _add_development(run)
    _add_workers(run)
    _add_shutdown(run)


def _add_sockets(run: argparse.ArgumentParser) -> None:
    """Add what the server listens on, and TLS."""
    run.add_argument("--host", default="localhost", help="a name or an address (%(default)s)")
    run.add_argument("--port", type=int, help=f"the TCP port, 0 for a free one ({DEFAULT_PORT}; none with --uds)")
    run.add_argument("--uds", metavar="PATH", help="listen on this Unix socket")
    run.add_argument("--uds-mode", type=mode, metavar="MODE", help="permissions of the Unix socket, such as 660")
    run.add_argument(
        "--fd", type=int, action="append", default=[], metavar="N", help="accept from this inherited listening socket"
    )
    run.add_argument("--ssl-certfile", metavar="FILE", help="serve TLS with this certificate chain")
    run.add_argument("--ssl-keyfile", metavar="FILE", help="the certificate's key, if it is in a file of its own")


def _add_development(run: argparse.ArgumentParser) -> None:
    """Add reloading, and the watchdog."""
    run.add_argument("--reload", action="store_true", help="restart when a Python file changes, for development")
    run.add_argument(
        "--reload-include",
        action="append",
        default=[],
        metavar="PATTERN",
        help="also restart when such a file changes, such as '*.html' or 'templates/*'; may be repeated",
    )
    run.add_argument(
        "--watchdog",
        type=positive,
        metavar="SECONDS",
        help=f"warn of calls that block the event loop for longer, with their line ({RELOAD_WATCHDOG:g} with --reload)",
    )
    run.add_argument("--restartable", type=int, nargs="?", const=-1, metavar="LINK", help=argparse.SUPPRESS)


def _add_workers(run: argparse.ArgumentParser) -> None:
    """Add the number of processes, and their ports."""
    run.add_argument("--workers", type=count, metavar="N", help="number of worker processes; SIGHUP replaces them")
    run.add_argument(
        "--worker-timeout",
        type=worker_timeout,
        default=WORKER_TIMEOUT,
        metavar="SECONDS",
        help="replace a worker that has not reported for this time (%(default)g)",
    )
    run.add_argument(
        "--worker-port",
        type=int,
        metavar="N",
        help="also listen on N for worker 1 only, on N + 1 for worker 2, and so on",
    )
    run.add_argument("--worker", type=assignment, help=argparse.SUPPRESS)


def _add_shutdown(run: argparse.ArgumentParser) -> None:
    """Add the pace of the end."""
    run.add_argument("--grace", type=float, metavar="SECONDS", help="at shutdown: time that handlers have to finish")
    run.add_argument(
        "--drain-delay",
        type=float,
        metavar="SECONDS",
        help="at shutdown: time of failing health checks before the close frames",
    )
    run.add_argument("--drain-rate", type=float, metavar="N", help="at shutdown: close frames per second")


def _run(options: argparse.Namespace) -> int:
    from trio_ws.cli.run_server import run  # noqa: PLC0415 - other commands do not need a server

    return run(options)
