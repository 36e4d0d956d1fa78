"""`serve_websocket` and `serve_stream`, one handler on every path without the application layer, and listeners."""

from __future__ import annotations

import errno
import inspect
import os
import re
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.settings import Origins, Settings
from trio_ws.handler.service import Handler, Response, Service
from trio_ws.options import check_names, check_number, check_when_full, keyword_options, list_of
from trio_ws.runtime.in_trio import check_in_trio
from trio_ws.runtime.unwinding import unwound
from trio_ws.runtime.watchdog import check_watchdog, watching
from trio_ws.server.server import Server
from trio_ws.transport.listeners import SocketListener, bind_tcp, close_listener
from trio_ws.transport.unix_sockets import bind_unix

if TYPE_CHECKING:
    import ssl
    from contextlib import AbstractAsyncContextManager

    from trio_ws.http.request import Request
    from trio_ws.options import WhenFull
    from trio_ws.websocket.websocket import WebSocket

__all__ = [
    "SocketListener",
    "bind",
    "cannot_listen",
    "closing_listeners",
    "listen",
    "one_service",
    "serve_messages",
    "serve_stream",
    "serve_websocket",
]


_HOST_WITH_PORT: Final = re.compile(r"([^:]+|\[.*\]):([0-9]+)")


@attrs.frozen(eq=False, repr=False)
class _OneService:
    """A responder that serves one handler on every path."""

    service: Service

    async def page(self, request: Request) -> None:
        """Return None: there are no pages."""

    def route(self, request: Request) -> tuple[Request, Service] | Response:
        """Return the one service for every path."""
        return request, self.service


def _unwound(around: Callable[[WebSocket], AbstractAsyncContextManager[object]]) -> Any:
    """Return an `around` whose exit is shielded; cancellation bounds it by `cleanup_timeout`."""
    return lambda websocket: unwound(around(websocket), websocket.context, patient=True)


async def bind(
    host: str | None,
    port: int | None,
    uds: str | os.PathLike[str] | None,
    listeners: Sequence[SocketListener],
    *,
    uds_mode: int | None = None,
) -> list[SocketListener]:
    """Return the listeners for the arguments of a serving function, and for `uds_mode`, the permissions of `uds`.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: neither a port nor `uds` nor `listeners` is given, or the port is out of range.
        OSError: an address cannot be listened on.
    """
    listeners = _checked(host, port, listeners)
    bound: list[SocketListener] = []
    try:
        if uds is not None:
            bound.append(bind_unix(uds, mode=uds_mode))
        if port is not None:
            bound.extend(await bind_tcp(host, port))
    except BaseException:
        for listener in bound:
            await close_listener(listener)
        raise
    if not bound and not listeners:
        raise ValueError("nothing to listen on: give a port, uds= or listeners=")
    return [*listeners, *bound]


def _checked(host: object, port: object, listeners: object) -> list[SocketListener]:
    """Validate the arguments of `bind`, and return its listeners."""
    if not isinstance(host, str | None):
        raise TypeError(
            f'host takes a name or an address, such as "localhost", or None, not {host!r}: a port is given as port='
        )
    if host is not None and (given := _HOST_WITH_PORT.fullmatch(host)):
        raise ValueError(f"host takes no port: write host={given[1]!r}, port={given[2]}")
    if port is not None:
        check_number("port", port, 0, 65535, none="no TCP")
    listed = list_of("listeners", listeners, "sockets and listeners")
    for each in listed:
        if not isinstance(each, socket.socket | trio.abc.Listener):
            raise TypeError(f"listeners takes listening sockets and listeners of Trio's, not {each!r}")
    return listed


async def listen(
    host: str | None, port: int | None, uds: str | os.PathLike[str] | None, listeners: Sequence[SocketListener]
) -> list[SocketListener]:
    """Call `bind`, and explain its errors with the address and advice.

    Raises:
        OSError: an address cannot be listened on; `errno` is the operating system's.
        ValueError: as `bind` raises it.
    """
    try:
        return await bind(host, port, uds, listeners)
    except OSError as error:
        explained = type(error)(cannot_listen(host, port, uds, error))
        explained.errno = error.errno
        raise explained from None


@asynccontextmanager
async def closing_listeners(listeners: list[SocketListener]) -> AsyncGenerator[list[SocketListener], None]:
    """Close listeners at the end of a block, unless a server has done so."""
    try:
        yield listeners
    finally:
        with trio.CancelScope(shield=True):
            for listener in listeners:
                if not (isinstance(listener, socket.socket) and listener.fileno() == -1):
                    await close_listener(listener)


def cannot_listen(
    host: str | None,
    port: int | None,
    uds: str | os.PathLike[str] | None,
    error: Exception,
    *,
    host_option: str = "host",
) -> str:
    """Return an error message for an address that cannot be listened on, with advice."""
    where = uds if port is None else f"{host or '*'}:{port}"
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            advice = ". End the server that has it, or choose another one"
        case errno.EACCES:
            advice = (
                ". Choose a port from 1024 on, or a folder you may write to; a .socket unit of systemd's gives --fd"
            )
        case errno.EADDRNOTAVAIL:
            advice = f". {host_option} is an address of this machine, or 0.0.0.0 for all of them"
        case _:
            advice = ""
    return f"cannot listen on {where}: {error}{advice}"


async def serve_websocket(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    uds: str | os.PathLike[str] | None = None,
    listeners: Sequence[SocketListener] = (),
    ssl_context: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    compression: Compression | bool | None = None,
    origins: Origins = None,
    hosts: Iterable[str] | None = None,
    trusted_proxies: Iterable[str] = (),
    poller: bool | None = None,
    strict: bool = False,
    watchdog: float | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **service: Any,
) -> None:
    """Serve one handler on every path until cancelled, or until the server's `shutdown` is called.

    `server = await nursery.start(serve_websocket, handler, "127.0.0.1", 0)` returns once it accepts.

    Args:
        handler: called with each `WebSocket`, in the connection's nursery; the connection is closed when it returns.
        host: a name or an address; None for all interfaces.
        port: the TCP port, 0 for one that is free; None for no TCP.
        uds: the path of a Unix socket to listen on.
        listeners: listening sockets, or listeners of Trio's, to accept from; they are closed at the end.
        ssl_context: serve TLS on all of them that are plain sockets.
        limits: bounds on the resources of each peer.
        timeouts: bounds on waiting for peers and handlers.
        compression: True for permessage-deflate with the defaults, or a `Compression`.
        origins: origins that browsers may connect from besides the same one; "*" for all.
        hosts: the names that the server is reached by, such as "example.org", "*.example.org" or "localhost:8000"; a
            request with another Host is refused with 421, against DNS rebinding. None for every host.
        trusted_proxies: addresses and networks of proxies, or "unix" for all that come over a Unix socket, whose
            `X-Forwarded-For` and `X-Forwarded-Proto` give the client's address and whether it uses TLS.
        poller: False turns the shared poller off.
        strict: let a handler's error end the server, for tests.
        watchdog: seconds that one step of a task may block all others; more is a WARNING that names the task and the
            line. It costs time at each step: it is for development. None: no watchdog.
        task_status: for `nursery.start`.
        service: the options of `Service`: `on_connect`, `on_disconnect`, `subprotocols`, `auto_accept`,
            `instruments`, ...

    Raises:
        OSError: an address cannot be listened on.
        RuntimeError: asyncio runs it, not Trio.
        TypeError: an option is of another kind, or there is no such option.
        ValueError: there is nothing to listen on, or an option makes no sense.
        trio.Cancelled: after every connection was closed with 1001.
    """
    check_in_trio("serve_websocket()")
    check_watchdog(watchdog)
    check_names(service, _OPTIONS, "serve_websocket()")
    settings = Settings(
        limits=Limits() if limits is None else limits,
        timeouts=Timeouts() if timeouts is None else timeouts,
        compression=compression,
        origins=origins,
        hosts=hosts,
        trusted_proxies=trusted_proxies,
    )
    server = Server(one_service(handler, service), settings, ssl_context=ssl_context, poller=poller, strict=strict)
    with watching(watchdog):
        await server.serve(await listen(host, port, uds, listeners), task_status=task_status)


async def serve_messages(
    on_message: Callable[[WebSocket, Any], object],
    host: str | None = None,
    port: int | None = None,
    *,
    when_full: WhenFull = "pause",
    **options: Any,
) -> None:
    """Serve a plain function that is called with each message as soon as it is parsed, until cancelled.

    No task of the connection takes part: `docs/callbacks.md` says what that saves, and what it costs the others.

    Args:
        on_message: called with the connection and each message. It must not wait, and answers with `WebSocket.offer`.
            Its errors close the connection as those of a handler do.
        host: as of `serve_websocket`.
        port: as of `serve_websocket`.
        when_full: as of `WebSocket.call_for_each_message`.
        options: all others of `serve_websocket`.

    Raises:
        TypeError: `on_message` is no plain function, or as of `serve_websocket`.
        ValueError: `when_full` is something else, or as of `serve_websocket`.
        OSError: an address cannot be listened on.
        trio.Cancelled: after every connection was closed with 1001.
    """
    if not callable(on_message) or inspect.iscoroutinefunction(on_message) or inspect.isgeneratorfunction(on_message):
        raise TypeError(f"on_message takes a plain function, which does not wait, not {on_message!r}")
    check_when_full(when_full)

    async def handle(websocket: WebSocket) -> None:
        await websocket.call_for_each_message(partial(on_message, websocket), when_full=when_full)

    await serve_websocket(handle, host, port, **options)


async def serve_stream(
    handler: Handler,
    stream: trio.abc.Stream,
    *,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    compression: Compression | bool | None = None,
    origins: Origins = None,
    hosts: Iterable[str] | None = None,
    poller: bool | None = None,
    strict: bool = False,
    **service: Any,
) -> None:
    """Serve one connection on a stream that the caller has accepted, until it has ended.

    Args:
        handler: called with the `WebSocket`, in the connection's nursery; the connection is closed when it returns.
        stream: any connected stream, such as one of `trio.serve_tcp`; a `trio.SSLStream` for TLS. It is closed at the
            end. The socket of a `trio.SocketStream` is taken out of it, unless `poller` is False: then the stream stays
            whole, and its owner may close it, which ends the connection.
        limits: bounds on the resources of the peer.
        timeouts: bounds on waiting for the peer and the handler.
        compression: True for permessage-deflate with the defaults, or a `Compression`.
        origins: origins that browsers may connect from besides the same one; "*" for all.
        hosts: the names that the server is reached by; None for every host.
        poller: False reads the stream as it is.
        strict: raise a handler's error, for tests.
        service: the options of `Service`, as in `serve_websocket`.

    Raises:
        TypeError: an option is of another kind, or there is no such option.
        ValueError: an option makes no sense.
        trio.Cancelled: after the connection was closed with 1001.
    """
    check_in_trio("serve_stream()")
    check_names(service, _STREAM_OPTIONS, "serve_stream()")
    if not isinstance(stream, trio.abc.Stream):
        raise TypeError(f"stream takes a stream of Trio's, such as trio.SocketStream(...), not {stream!r}")
    settings = Settings(
        limits=Limits() if limits is None else limits,
        timeouts=Timeouts() if timeouts is None else timeouts,
        compression=compression,
        origins=origins,
        hosts=hosts,
    )
    await Server(one_service(handler, service), settings, poller=poller, strict=strict).serve_stream(stream)


def one_service(handler: Handler, options: dict[str, Any]) -> _OneService:
    """Return a responder for one handler with the options of `Service`."""
    if options.get("around") is not None:
        options["around"] = _unwound(options["around"])
    return _OneService(Service(handler=handler, **options))


_SERVICE_OPTIONS = frozenset(field.name for field in attrs.fields(Service)) - {"handler"}
_OPTIONS = _SERVICE_OPTIONS | keyword_options(serve_websocket)
_STREAM_OPTIONS = _SERVICE_OPTIONS | keyword_options(serve_stream)
