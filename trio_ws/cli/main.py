"""The arguments and subcommands of the command `trio-ws`, also run by `python -m trio_ws`."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import socket
import ssl
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from trio_ws.cli import logging_setup
from trio_ws.cli.arguments import count, mode, positive, worker_timeout
from trio_ws.cli.conform import add_conform, add_fuzz
from trio_ws.cli.describe import add_asyncapi, add_routes, add_types
from trio_ws.cli.lifespan import lifespan_error
from trio_ws.cli.loading import UsageError, load
from trio_ws.cli.logging_setup import LogConfigError
from trio_ws.cli.process import WorkerTimeouts
from trio_ws.cli.reload import RESTART_SIGNAL, folders_of, supervise
from trio_ws.cli.rooms import add_publish, add_watch
from trio_ws.cli.supervisor import WorkersUnavailable, check_available, run_workers
from trio_ws.cli.terminal import INTERRUPTED, run_terminal
from trio_ws.cli.worker import Assignment, serve_as_worker
from trio_ws.codes import CloseCode
from trio_ws.errors import BackplaneError
from trio_ws.protocol.codec import RUNNING
from trio_ws.protocol.compressors import get_library
from trio_ws.runtime.command import WORKER_VARIABLE
from trio_ws.server.serve import bind, cannot_listen
from trio_ws.server.signals import END_SIGNALS, serve_until_signalled
from trio_ws.transport.listeners import close_listener, describe, inherit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_ws.app.application import App
    from trio_ws.transport.listeners import SocketListener

__all__ = ["codec_name", "main"]

DEFAULT_PORT: Final = 8000
RELOAD_WATCHDOG: Final = 1.0
"""Seconds that a step may take with `--reload`: a person notices it."""
QUIET_SECONDS: Final = 0.5
"""Seconds without messages after which `connect` closes at the end of an input that is not a terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, 1 for a failure, 2 for invalid arguments.

    Args:
        arguments: the command line without the name of the program; None for that of `sys.argv`.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options = parser.parse_args(given)
    options.given = given
    try:
        status: int = options.command(options)
    except (UsageError, LogConfigError) as error:
        parser.exit(1, f"trio-ws: {error}\n")
    except KeyboardInterrupt:
        return INTERRUPTED
    return status


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trio-ws", description="WebSockets for Trio: serve an application, list its routes, connect to a server."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    add_routes(commands)
    add_asyncapi(commands)
    add_types(commands)
    _add_connect(commands)
    add_publish(commands)
    add_watch(commands)
    add_conform(commands)
    add_fuzz(commands)
    return parser


def _add_run(commands: _Commands) -> None:
    run = commands.add_parser("run", help="serve an application", allow_abbrev=False)
    run.set_defaults(command=_run)
    run.add_argument("app", metavar="MODULE:APP", help="the application, e.g. chat.main:app; `app` if no name is given")
    run.add_argument("--factory", action="store_true", help="call APP: it returns the application")
    run.add_argument("--host", default="localhost", help="a name or an address (%(default)s)")
    run.add_argument("--port", type=int, help=f"the TCP port, 0 for a free one ({DEFAULT_PORT}; none with --uds)")
    run.add_argument("--uds", metavar="PATH", help="listen on this Unix socket")
    run.add_argument("--uds-mode", type=mode, metavar="MODE", help="permissions of the Unix socket, such as 660")
    run.add_argument(
        "--fd", type=int, action="append", default=[], metavar="N", help="accept from this inherited listening socket"
    )
    run.add_argument("--ssl-certfile", metavar="FILE", help="serve TLS with this certificate chain")
    run.add_argument("--ssl-keyfile", metavar="FILE", help="the certificate's key, if it is in a file of its own")
    run.add_argument("--log-level", choices=logging_setup.LEVELS, help=f"({logging_setup.DEFAULT_LEVEL})")
    run.add_argument("--log-config", metavar="FILE", help="configure logging: .json, .toml, .yaml, or an .ini file")
    run.add_argument("--access-log", action="store_true", help="log each connection that opens, closes or is refused")
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
    run.add_argument("--restartable", action="store_true", help=argparse.SUPPRESS)
    run.add_argument("--workers", type=count, metavar="N", help="number of worker processes; SIGHUP replaces them")
    run.add_argument(
        "--worker-timeout",
        type=worker_timeout,
        default=WorkerTimeouts().alive,
        metavar="SECONDS",
        help="replace a worker that has not reported for this time (%(default)g)",
    )
    run.add_argument(
        "--worker-port",
        type=int,
        metavar="N",
        help="also listen on N for worker 1 only, on N + 1 for worker 2, and so on",
    )
    run.add_argument("--worker", type=Assignment.parse, help=argparse.SUPPRESS)
    run.add_argument("--grace", type=float, metavar="SECONDS", help="at shutdown: time that handlers have to finish")
    run.add_argument(
        "--drain-delay",
        type=float,
        metavar="SECONDS",
        help="at shutdown: time of failing health checks before the close frames",
    )
    run.add_argument("--drain-rate", type=float, metavar="N", help="at shutdown: close frames per second")


def _add_connect(commands: _Commands) -> None:
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


# --- version ----------------------------------------------------------------------------------------------------------


def codec_name() -> str:
    """Return the names of the frame codec, or the core, and the zlib library in use."""
    return f"{RUNNING}, {get_library().name}"


def _version() -> str:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    version = importlib.import_module("trio_ws").__version__
    return f"trio-ws {version} ({python}, trio {trio.__version__}, {codec_name()})"


# --- run --------------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    if options.reload_include and not (options.reload or options.restartable):
        raise UsageError("--reload-include is for --reload")
    if options.workers is not None and options.worker is None:
        return _run_workers(options)
    if options.worker_port is not None and options.worker is None:
        raise UsageError("--worker-port is for --workers N: one server has its --port")
    if options.reload:
        command = [each for each in options.given if each != "--reload"]
        folders = folders_of(options.app.partition(":")[0])
        program = [sys.executable, "-m", "trio_ws", *command, "--restartable"]
        return trio.run(partial(supervise, program, folders, include=options.reload_include))
    context = _ssl_context(options)
    log_config = logging_setup.read(options.log_config)
    app = load(options.app, factory=options.factory)
    # Each worker numbers its own connections, so a record names the worker too.
    prefix = "" if options.worker is None else f"worker {os.environ.get(WORKER_VARIABLE, '?')} "
    logging_setup.configure(options.log_level, prefix=prefix, config=log_config, access=options.access_log)
    _adjust(app, options)
    serve = partial(_serve, app, options, context)
    if options.worker is not None:
        trio.run(serve_as_worker, serve, options.worker.link)
        return 0
    close_codes = dict(END_SIGNALS)
    if options.restartable:
        close_codes[RESTART_SIGNAL] = CloseCode.SERVICE_RESTART
    trio.run(partial(serve_until_signalled, serve, close_codes=close_codes))
    return 0


def _run_workers(options: argparse.Namespace) -> int:
    if options.reload:
        raise UsageError("--reload is for one server: leave --workers out")
    try:
        check_available()
    except WorkersUnavailable as error:
        raise UsageError(str(error)) from None
    logging_setup.read(options.log_config)
    secure = _ssl_context(options) is not None  # the workers load it again; an error is reported once, here
    return trio.run(_supervise, options, secure)


async def _supervise(options: argparse.Namespace, secure: bool) -> int:
    with ExitStack() as stack:
        own = await _own_sockets(options, stack)
        listeners = _sockets(await _listeners(options))
        urls = [describe(listener, secure=secure) for listener in listeners]
        for number, sockets in enumerate(own, 1):
            urls += [f"{describe(each, secure=secure)} for worker {number} only" for each in sockets]
        return await run_workers(
            [sys.executable, "-m", "trio_ws", *options.given],
            listeners,
            workers=options.workers,
            own=own,
            urls=urls,
            timeouts=WorkerTimeouts(
                start=max(WorkerTimeouts().start, options.worker_timeout), alive=options.worker_timeout
            ),
        )


async def _own_sockets(options: argparse.Namespace, stack: ExitStack) -> list[list[socket.socket]]:
    """Listen on a port for each worker, for requests to one particular worker."""
    first: int | None = options.worker_port
    own: list[list[socket.socket]] = []
    for number in range(options.workers if first is not None else 0):
        port = first + number if first else 0  # any that is free
        own.append(_sockets(await _bind(options.host, port, None)))
        for each in own[-1]:
            stack.enter_context(each)
    return own


def _sockets(listeners: Sequence[SocketListener]) -> list[socket.socket]:
    return [each for each in listeners if isinstance(each, socket.socket)]


def _adjust(app: App, options: argparse.Namespace) -> None:
    """Override the application's shutdown settings by those of the command line."""
    times = _given(shutdown_grace=options.grace, drain_delay=options.drain_delay)
    limits = _given(drain_rate=options.drain_rate)
    if not (times or limits):
        return
    settings = app.settings
    try:
        app.settings = attrs.evolve(
            settings,
            timeouts=attrs.evolve(settings.timeouts, **times),
            limits=attrs.evolve(settings.limits, **limits),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _ssl_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.ssl_certfile is None:
        if options.ssl_keyfile is not None:
            raise UsageError("--ssl-keyfile needs --ssl-certfile")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.ssl_certfile, options.ssl_keyfile)
    except OSError as error:
        raise UsageError(f"cannot load the certificate {options.ssl_certfile}: {error}") from None
    return context


async def _serve(
    app: App, options: argparse.Namespace, context: ssl.SSLContext | None, *, task_status: trio.TaskStatus[Any]
) -> None:
    listeners = await _listeners(options)
    try:
        await app.serve(
            None, None, listeners=listeners, ssl_context=context, watchdog=_watchdog(options), task_status=task_status
        )
    except BackplaneError as error:
        for listener in listeners:  # the server has not started, so it does not close them
            await close_listener(listener)
        raise UsageError(str(error)) from None
    except Exception as error:
        explained = lifespan_error(error, verbose=options.log_level == "debug")
        if explained is None:
            raise
        raise explained from None


def _watchdog(options: argparse.Namespace) -> float | None:
    """Return the seconds of the watchdog, None without one."""
    given: float | None = options.watchdog
    return RELOAD_WATCHDOG if given is None and options.restartable else given


async def _listeners(options: argparse.Namespace) -> list[SocketListener]:
    """Listen before the application starts, so that errors are those of the command."""
    assignment: Assignment | None = options.worker
    if assignment is not None:
        return assignment.sockets()
    inherited = _inherited(options)
    port = options.port
    if port is None and options.uds is None and not inherited:
        port = DEFAULT_PORT
    if options.uds_mode is not None and options.uds is None:
        raise UsageError("--uds-mode is for --uds PATH")
    return await _bind(options.host, port, options.uds, inherited, options.uds_mode)


async def _bind(
    host: str,
    port: int | None,
    uds: str | None,
    inherited: Sequence[SocketListener] = (),
    uds_mode: int | None = None,
) -> list[SocketListener]:
    try:
        return await bind(host, port, uds, inherited, uds_mode=uds_mode)
    except (OSError, ValueError) as error:
        raise UsageError(cannot_listen(host, port, uds, error, host_option="--host")) from None


def _inherited(options: argparse.Namespace) -> tuple[SocketListener, ...]:
    listeners: list[SocketListener] = []
    for descriptor in options.fd:
        try:
            listeners.append(inherit(descriptor))
        except (OSError, OverflowError, ValueError) as error:
            raise UsageError(f"cannot listen on descriptor {descriptor}: {error}") from None
    return tuple(listeners)


# --- connect ----------------------------------------------------------------------------------------------------------


def _connect(options: argparse.Namespace) -> int:
    wait = options.wait
    if wait is None:
        wait = 0 if sys.stdin.isatty() else QUIET_SECONDS
    headers = [_header(text) for text in options.header]
    offers = {"headers": headers, "subprotocols": options.subprotocol, "origin": options.origin}
    return trio.run(partial(run_terminal, options.url, wait=wait, **offers))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise UsageError(f"a header looks like 'Name: value', not {text!r}")
    return name.strip(), value.strip()
