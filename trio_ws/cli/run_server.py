"""The subcommand `run`: load an application, listen, and serve until a signal."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_ws.cli import logging_setup
from trio_ws.cli.defaults import BY_SIGNAL, DEFAULT_PORT, RELOAD_WATCHDOG
from trio_ws.cli.lifespan import lifespan_error
from trio_ws.cli.loading import UsageError, check_module_name, load, working_directory
from trio_ws.cli.orphan import OrphanWatch
from trio_ws.cli.process import WorkerTimeouts
from trio_ws.cli.reload import NO_GRACE_SIGNAL, RESTART_SIGNAL, folders_of, supervise
from trio_ws.cli.supervisor import WorkersUnavailable, check_available, run_workers
from trio_ws.cli.worker import Assignment, serve_as_worker
from trio_ws.codes import CloseCode
from trio_ws.errors import BackplaneError
from trio_ws.runtime.command import WORKER_VARIABLE
from trio_ws.server.serve import bind, cannot_listen
from trio_ws.server.signals import END_SIGNALS, print_line, serve_until_signalled
from trio_ws.transport.listeners import close_listener, describe, inherit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from trio_ws.app.application import App
    from trio_ws.transport.listeners import SocketListener

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Serve an application, in this process or in workers, and return the exit status."""
    restartable = options.restartable is not None
    if options.reload_include and not (options.reload or restartable):
        raise UsageError("--reload-include is for --reload")
    if options.workers is not None and options.worker is None:
        return _run_workers(options)
    if options.worker_port is not None and options.worker is None:
        raise UsageError("--worker-port is for --workers N: one server has its --port")
    if options.reload:
        command = [each for each in options.given if each != "--reload"]
        module = options.app.partition(":")[0]
        check_module_name(module)
        working_directory()
        folders = folders_of(module)
        program = [sys.executable, "-m", "trio_ws", *command, "--restartable"]
        status = trio.run(partial(supervise, program, folders, include=options.reload_include))
        return status if status >= 0 else BY_SIGNAL - status
    if restartable and options.restartable >= 0:
        _watch_supervisor(options.restartable)
    watch = None if options.worker is None else _watch_supervisor(options.worker.link, report=None)
    context = _ssl_context(options)
    log_config = logging_setup.read(options.log_config)
    app = load(options.app, factory=options.factory)
    # Each worker numbers its own connections, so a record names the worker too.
    prefix = "" if options.worker is None else f"worker {os.environ.get(WORKER_VARIABLE, '?')} "
    logging_setup.configure(options.log_level, prefix=prefix, config=log_config, access=options.access_log)
    _adjust(app, options)
    serve = partial(_serve, app, options, context)
    if options.worker is not None:
        trio.run(partial(serve_as_worker, serve, options.worker.link, watch=watch))
        return 0
    restart = (RESTART_SIGNAL, NO_GRACE_SIGNAL) if restartable else ()
    close_codes = {**END_SIGNALS, **dict.fromkeys(restart, CloseCode.SERVICE_RESTART)}
    trio.run(partial(serve_until_signalled, serve, close_codes=close_codes))
    return 0


def _watch_supervisor(link: int, report: Callable[[str], None] | None = print_line) -> OrphanWatch:
    try:
        watch = OrphanWatch(link, report)
    except (OSError, OverflowError) as error:
        raise UsageError(f"there is no supervisor at descriptor {link}: {error}") from None
    watch.start()
    return watch


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
    return RELOAD_WATCHDOG if given is None and options.restartable is not None else given


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
