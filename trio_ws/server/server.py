"""`Server`, which accepts connections from listeners and shuts them down gracefully."""

from __future__ import annotations

import socket
import ssl
from itertools import count
from typing import TYPE_CHECKING

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.factory import TransportFactory
from trio_ws.connection.settings import Settings
from trio_ws.http.head import MalformedRequest
from trio_ws.options import check_flag
from trio_ws.runtime.timers import TimeoutQueue
from trio_ws.server.admission import Admission
from trio_ws.server.connection import ServerConnection
from trio_ws.server.context import ServerContext
from trio_ws.server.shutdown import GracefulShutdown
from trio_ws.server.statistics import Counters, Statistics
from trio_ws.transport.listeners import (
    SocketListener,
    StreamListener,
    accept_sockets,
    accept_streams,
    close_listener,
    close_stream,
    describe,
    get_port,
    get_stream_descriptor,
    get_stream_peer,
)
from trio_ws.transport.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_ws.addresses import Address
    from trio_ws.server.context import Responder
    from trio_ws.transport.base import Transport

__all__ = ["Server", "Statistics"]


class Server:
    """Serves WebSockets on any number of listeners. Make one, then run `serve` once.

    Args:
        responder: the application's answer to each request.
        settings: of all connections; routes may override them.
        ssl_context: serve TLS on the listeners that are plain sockets.
        poller: False turns the shared poller off, True demands it, None uses it where the platform has one.
        strict: let a handler's error end the server, for tests.

    Raises:
        RuntimeError: the poller is demanded where there is none.
        TypeError: an argument is of another kind.
        ValueError: the TLS context is one for clients.
    """

    _admission: Admission
    """Set when the server begins to accept."""

    def __init__(
        self,
        responder: Responder,
        settings: Settings | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        poller: bool | None = None,
        strict: bool = False,
    ) -> None:
        if not isinstance(settings, Settings | None):
            raise TypeError(f"settings takes Settings(...), not {settings!r}")
        if not isinstance(ssl_context, ssl.SSLContext | None):
            raise TypeError(f"ssl_context takes a context of ssl.create_default_context(), not {ssl_context!r}")
        check_flag("poller", poller, optional=True)
        check_flag("strict", strict)
        self._responder = responder
        self._settings = settings or Settings()
        self._ssl_context = ssl_context
        if ssl_context is not None and ssl_context.protocol is ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError("ssl_context is a client's: give ssl.create_default_context() ssl.Purpose.CLIENT_AUTH")
        if poller and not Poller.available():
            raise RuntimeError("poller=True, but this platform has neither epoll nor kqueue")
        self._poller = poller
        self._strict = strict
        self._connections: dict[ServerConnection, None] = {}  # takes half of what a set would
        self._numbers = count(1)
        self._served = False
        self._single = False  # the end of its connection ends the server
        self._all_closed = trio.lowlevel.ParkingLot()
        self._shutdown = GracefulShutdown(self._connections, self._settings)
        self._ports: list[int] = []
        self._counters = Counters()
        self.urls: tuple[str, ...] = ()
        """Where the server listens, e.g. `ws://127.0.0.1:8000`; empty before `serve` has started."""
        self.page_path: str | None = getattr(responder, "page_path", None)
        """The path of a page to open in a browser; None without pages."""

    # --- serving -------------------------------------------------------------------------------------------------

    async def serve(
        self,
        listeners: Sequence[SocketListener],
        *,
        handler_nursery: trio.Nursery | None = None,
        task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `shutdown` is called or the caller is cancelled, then drain every connection.

        Args:
            listeners: sockets and listeners to accept from; they are closed at the end.
            handler_nursery: runs the tasks of the connections; None: one of the server's own.
            task_status: `await nursery.start(server.serve, listeners)` returns the server once it accepts.

        Raises:
            trio.Cancelled: after every connection was closed with 1001, as `shutdown` describes.
            ExceptionGroup: a listener failed for good; with `strict`, a handler's error. All connections were closed.
            KeyboardInterrupt: likewise, in whatever task it was raised.
            RuntimeError: it was called before.
        """
        if self._served:
            raise RuntimeError("a server serves once: make another one")
        # Now, and not in the middle of the first handshake that needs it.
        import trio_ws.protocol.switching  # noqa: F401, PLC0415 - its import takes long

        self._served = True
        try:
            async with trio.open_nursery() as outer:
                outer.start_soon(self._shut_down_when_cancelled)
                with trio.CancelScope(shield=True):
                    interrupted = await self._serve(listeners, handler_nursery, task_status)
                outer.cancel_scope.cancel(reason="the server has ended")
        except BaseExceptionGroup as group:
            if group.split(KeyboardInterrupt)[1] is not None:
                raise
            interrupted = KeyboardInterrupt()  # it was raised in a connection's task
        if interrupted is not None:
            raise interrupted

    async def _shut_down_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.shutdown()

    async def serve_stream(self, stream: trio.abc.Stream) -> None:
        """Serve one connection on a given stream, until it has ended; this is `serve` for a listener that has one.

        Args:
            stream: connected; it is closed at the end. With the poller its socket is taken out of it; without
                (`poller=False`) it may be closed from outside, which ends the connection.

        Raises:
            trio.Cancelled: after the connection was closed with 1001.
            RuntimeError: the server has served before.
        """
        self._single = True
        await self.serve([StreamListener(stream)])

    async def _serve(
        self,
        listeners: Sequence[SocketListener],
        handler_nursery: trio.Nursery | None,
        task_status: trio.TaskStatus[Server],
    ) -> KeyboardInterrupt | None:
        async with trio.open_nursery() as shared:
            factory = TransportFactory(poller=self._poller)
            factory.start(shared)
            try:
                async with trio.open_nursery() as nursery:
                    interrupted = await self._accept(listeners, factory, handler_nursery or nursery, task_status)
                    await self._shutdown.run(factory.timers)
                    while self._connections:  # they may run in another nursery
                        await self._all_closed.park()
            finally:
                factory.stop()
        return interrupted

    async def _accept(
        self,
        listeners: Sequence[SocketListener],
        factory: TransportFactory,
        nursery: trio.Nursery,
        task_status: trio.TaskStatus[Server],
    ) -> KeyboardInterrupt | None:
        """Accept connections until the server is to shut down."""
        interrupted = None
        self._admission = Admission(self._settings.limits)
        try:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(self._accept_from, listener, factory, nursery)
                secure = self._ssl_context is not None
                self.urls = tuple(describe(listener, secure=secure) for listener in listeners)
                self._ports = [port for port in map(get_port, listeners) if port is not None]
                task_status.started(self)
                try:
                    await self._shutdown.wait()
                except KeyboardInterrupt as error:
                    interrupted = error
                    self.shutdown()
                accepting.cancel_scope.cancel(reason="the server shuts down")
        finally:
            with trio.CancelScope(shield=True):  # cancellation would stop after the first one
                for listener in listeners:
                    await close_listener(listener)
        return interrupted

    async def _accept_from(self, listener: SocketListener, factory: TransportFactory, nursery: trio.Nursery) -> None:
        context = ServerContext(
            responder=self._responder,
            settings=self._settings,
            timers=factory.timers,
            shutdown=self._shutdown,
            open_timeouts=TimeoutQueue(factory.timers, self._settings.timeouts.open_timeout),
            on_closed=self._on_closed,
            strict=self._strict,
        )
        high_water = self._settings.limits.outbox_bytes

        def take_socket(sock: socket.socket, client: Address) -> None:
            descriptor = sock.fileno()
            if not self._has_room(client, descriptor):
                sock.close()
                return
            if self._ssl_context is None:
                transport = factory.socket_transport(sock, high_water)
            else:
                transport = factory.tls_transport(sock, self._ssl_context, high_water)
            self._begin(context, transport, client, nursery, descriptor, secure=self._ssl_context is not None)

        def take_stream(stream: trio.abc.Stream) -> None:
            client, secure = get_stream_peer(stream), isinstance(stream, trio.SSLStream)
            descriptor = get_stream_descriptor(stream)
            if not self._has_room(client, descriptor):
                nursery.start_soon(close_stream, stream)
                return
            transport = factory.stream_transport(stream, high_water)
            self._begin(context, transport, client, nursery, descriptor, secure=secure)

        if isinstance(listener, socket.socket):
            await accept_sockets(listener, take_socket)
        else:
            await accept_streams(listener, take_stream)

    def _has_room(self, client: Address, descriptor: int) -> bool:
        """Return True if there is room for a connection, if only to refuse it with an answer."""
        if not self._admission.full(_host(client), descriptor) or self._admission.can_refuse(descriptor):
            return True
        self._counters.add(None, 0, None)
        return False

    def _begin(
        self,
        context: ServerContext,
        transport: Transport,
        client: Address,
        nursery: trio.Nursery,
        descriptor: int,
        *,
        secure: bool,
    ) -> None:
        """Start a connection's task."""
        host = _host(client)
        full = self._admission.full(host, descriptor)
        connection = ServerConnection(
            context,
            transport,
            number=next(self._numbers),
            client=client,
            secure=secure,
            refusal=MalformedRequest(503, "the server has no room for another connection") if full else None,
        )
        self._connections[connection] = None
        if full:
            self._admission.refuse(connection)
        else:
            self._admission.admit(host)
        connection.start(nursery)

    def _on_closed(self, connection: ServerConnection, error: Exception | None) -> None:
        """Count a connection that has ended."""
        self._connections.pop(connection, None)
        if connection.admitted:
            self._admission.leave(_host(connection.client))
        else:
            self._admission.refused(connection)
        self._counters.add(connection.connection, connection.status, error)
        if not self._connections:
            self._all_closed.unpark_all()
        if self._single:
            self.shutdown()

    # --- shutdown ------------------------------------------------------------------------------------------------

    def shutdown(
        self,
        code: int = CloseCode.GOING_AWAY,
        grace: float | None = None,
        *,
        reason: str | None = "",
        delay: float | None = None,
    ) -> None:
        """Begin to shut down: accept no more, close with `code`, cancel handlers after `grace`.

        For `delay` seconds the server still accepts, answers `/healthz` and upgrades with 503, and serves the open
        connections. Then it stops listening, and closes all connections, at `Limits.drain_rate` if there is one;
        messages that `send` had accepted go out before the close frame. A handler has its grace from the close frame
        on; one that never reads has no use for it, and is cancelled as soon as its client has answered. `serve` returns
        when the last connection has ended, at the latest after `max_shutdown_seconds`.

        Called again, it can only shorten the grace; then the delay is over, and all connections are closed at once.

        Args:
            code: the close code, 1001 by default; 1012 means that the service restarts.
            grace: seconds that handlers may go on, None for `Timeouts.shutdown_grace`.
            reason: the close reason.
            delay: seconds, None for `Timeouts.drain_delay`.

        Raises:
            ValueError: code or reason cannot be sent.
        """
        self._shutdown.begin(code, grace, reason or "", delay)

    @property
    def max_shutdown_seconds(self) -> float:
        """The longest time of a shutdown by the server's settings, in seconds.

        It is `drain_delay`, `drain_spread` if there is a `drain_rate`, `shutdown_grace`, `cleanup_timeout`, and the
        longer of `cleanup_timeout` and `close_timeout` with one second. A route with longer timeouts of its own, a
        handler that shields itself from cancellation, dependencies of an `on_disconnect` that hangs, and an `on_error`
        that hangs may take longer.
        """
        return self._shutdown.bound

    # --- state ---------------------------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """Return counts of connections and messages, since the start and now."""
        open_now = [held.connection for held in self._connections if held.connection is not None]
        return self._counters.statistics(len(self._connections), open_now, getattr(self._responder, "over_budget", {}))

    @property
    def draining(self) -> bool:
        """Whether the server has begun to shut down."""
        return self._shutdown.begun

    @property
    def port(self) -> int:
        """The TCP port of the first listener that has one.

        Raises:
            RuntimeError: the server does not listen on TCP, or has not started.
        """
        if self._ports:
            return self._ports[0]
        raise RuntimeError("the server listens on no TCP port, or has not started")


def _host(client: Address) -> str:
    return client[0] if isinstance(client, tuple) else client or ""
