"""Server: listeners in, conversations out, and the way they all end.

`serve` has the short ways to one; `listening` the sockets; `conversation` what happens on one connection.
"""

from __future__ import annotations

import socket
import ssl
from itertools import count
from typing import TYPE_CHECKING

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.factory import TransportFactory
from trio_ws.connection.settings import Settings
from trio_ws.http.parser import MalformedRequest
from trio_ws.options import check_flag
from trio_ws.runtime.timers import TimeoutQueue
from trio_ws.server.admission import Admission
from trio_ws.server.connection import ServerConnection, ServerContext
from trio_ws.server.shutdown import GracefulShutdown
from trio_ws.server.statistics import Counters, Statistics
from trio_ws.transport.listeners import (
    SocketListener,
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

    from trio_ws.http.request import Address
    from trio_ws.server.connection import Responder
    from trio_ws.transport.base import Transport

__all__ = ["Server", "Statistics"]


class Server:
    """Serves WebSockets on any number of listeners. Make one, then run `serve` once.

    Args:
        responder: says what each request is for.
        settings: of all connections; routes may differ.
        ssl_context: serve TLS on the listeners that are plain sockets.
        poller: False turns the shared poller off, True demands it, None uses it where the platform has one.
        strict: let a handler's error end the server, for tests.

    Raises:
        RuntimeError: the poller is demanded where there is none.
        TypeError: an argument is of another kind.
        ValueError: the TLS context is one for clients.
    """

    _admission: Admission
    """From when the server accepts."""

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
        self._conversations: dict[ServerConnection, None] = {}  # takes half of what a set would
        self._numbers = count(1)
        self._served = False
        self._draining = GracefulShutdown(self._conversations, self._settings)
        self._ports: list[int] = []
        self._tally = Counters()
        self.urls: tuple[str, ...] = ()
        """Where the server listens, e.g. `ws://127.0.0.1:8000`; empty before `serve` has started."""

    # --- serving -------------------------------------------------------------------------------------------------

    async def serve(
        self,
        listeners: Sequence[SocketListener],
        *,
        task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until `shutdown` is called or the caller is cancelled; then see every connection off.

        Args:
            listeners: what to accept from; they are closed at the end.
            task_status: `await nursery.start(server.serve, listeners)` returns the server once it accepts.

        Raises:
            trio.Cancelled: after every client was told 1001, and had its time as `shutdown` describes.
            ExceptionGroup: a listener fails for good; with `strict`, a handler's error. Every client was told 1001.
            KeyboardInterrupt: likewise, wherever it struck.
            RuntimeError: it was called before.
        """
        if self._served:
            raise RuntimeError("a server serves once: make another one")
        self._served = True
        try:
            async with trio.open_nursery() as outer:
                outer.start_soon(self._shut_down_when_cancelled)
                with trio.CancelScope(shield=True):
                    interrupted = await self._serve(listeners, task_status)
                outer.cancel_scope.cancel(reason="the server has ended")
        except BaseExceptionGroup as group:
            if group.split(KeyboardInterrupt)[1] is not None:
                raise
            interrupted = KeyboardInterrupt()  # it struck in a connection's task, and is the same to who pressed Ctrl-C
        if interrupted is not None:
            raise interrupted

    async def _shut_down_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.shutdown()

    async def _serve(
        self, listeners: Sequence[SocketListener], task_status: trio.TaskStatus[Server]
    ) -> KeyboardInterrupt | None:
        async with trio.open_nursery() as shared:
            engine = TransportFactory(poller=self._poller)
            engine.start(shared)
            try:
                async with trio.open_nursery() as nursery:
                    interrupted = await self._accept(listeners, engine, nursery, task_status)
                    await self._draining.run(engine.timers)
            finally:
                engine.stop()
        return interrupted

    async def _accept(
        self,
        listeners: Sequence[SocketListener],
        engine: TransportFactory,
        nursery: trio.Nursery,
        task_status: trio.TaskStatus[Server],
    ) -> KeyboardInterrupt | None:
        """Accept connections until the server is to shut down."""
        interrupted = None
        self._admission = Admission(self._settings.limits)
        try:
            async with trio.open_nursery() as accepting:
                for listener in listeners:
                    accepting.start_soon(self._accept_from, listener, engine, nursery)
                secure = self._ssl_context is not None
                self.urls = tuple(describe(listener, secure=secure) for listener in listeners)
                self._ports = [port for port in map(get_port, listeners) if port is not None]
                task_status.started(self)
                try:
                    await self._draining.wait()
                except KeyboardInterrupt as error:
                    interrupted = error
                    self.shutdown()
                accepting.cancel_scope.cancel(reason="the server shuts down")
        finally:
            with trio.CancelScope(shield=True):  # else the first one would be the last
                for listener in listeners:
                    await close_listener(listener)
        return interrupted

    async def _accept_from(self, listener: SocketListener, engine: TransportFactory, nursery: trio.Nursery) -> None:
        house = ServerContext(
            responder=self._responder,
            settings=self._settings,
            timers=engine.timers,
            draining=self._draining,
            late=TimeoutQueue(engine.timers, self._settings.timeouts.open_timeout),
            over=self._over,
            strict=self._strict,
        )
        high_water = self._settings.limits.outbox_bytes

        def take_socket(sock: socket.socket, client: Address) -> None:
            descriptor = sock.fileno()
            if not self._has_room(client, descriptor):
                sock.close()
                return
            if self._ssl_context is None:
                transport = engine.socket_transport(sock, high_water)
            else:
                transport = engine.tls_transport(sock, self._ssl_context, high_water)
            self._begin(house, transport, client, nursery, descriptor, secure=self._ssl_context is not None)

        def take_stream(stream: trio.abc.Stream) -> None:
            client, secure = get_stream_peer(stream), isinstance(stream, trio.SSLStream)
            descriptor = get_stream_descriptor(stream)
            if not self._has_room(client, descriptor):
                nursery.start_soon(close_stream, stream)
                return
            transport = engine.stream_transport(stream, high_water)
            self._begin(house, transport, client, nursery, descriptor, secure=secure)

        if isinstance(listener, socket.socket):
            await accept_sockets(listener, take_socket)
        else:
            await accept_streams(listener, take_stream)

    def _has_room(self, client: Address, descriptor: int) -> bool:
        """Say whether there is room for a connection, if only to refuse it with an answer."""
        if not self._admission.full(_host(client), descriptor) or self._admission.can_refuse(descriptor):
            return True
        self._tally.add(None, 0, None)
        return False

    def _begin(
        self,
        house: ServerContext,
        transport: Transport,
        client: Address,
        nursery: trio.Nursery,
        descriptor: int,
        *,
        secure: bool,
    ) -> None:
        """Hold a conversation, in a task of its own."""
        host = _host(client)
        full = self._admission.full(host, descriptor)
        conversation = ServerConnection(
            house,
            transport,
            number=next(self._numbers),
            client=client,
            secure=secure,
            refusal=MalformedRequest(503, "the server has no room for another connection") if full else None,
        )
        self._conversations[conversation] = None
        if full:
            self._admission.refuse(conversation)
        else:
            self._admission.admit(host)
        nursery.start_soon(conversation.run, name=conversation.log.task_name)

    def _over(self, conversation: ServerConnection, error: Exception | None) -> None:
        """One conversation has come to its end."""
        self._conversations.pop(conversation, None)
        if conversation.admitted:
            self._admission.leave(_host(conversation.client))
        else:
            self._admission.refused(conversation)
        self._tally.add(conversation.connection, conversation.status, error)

    # --- the end -------------------------------------------------------------------------------------------------

    def shutdown(
        self,
        code: int = CloseCode.GOING_AWAY,
        grace: float | None = None,
        *,
        reason: str | None = "",
        delay: float | None = None,
    ) -> None:
        """Begin to shut down: accept no more, send `code` to everyone, cancel handlers after `grace`.

        For `delay` seconds the server still accepts, answers `/healthz` and upgrades with 503, and serves those who are
        there. Then it stops listening, and everyone is told, at `Limits.drain_rate` if there is one; what `send` had
        accepted goes out before the close frame. A handler has its grace from when its client was told; one that never
        reads has no use for it, and is cancelled as soon as its client has answered. `serve` returns when the last
        connection has ended, at the latest after `shutdown_bound`.

        Called again, it can only shorten the grace; then the delay is over, and everyone is told at once.

        Args:
            code: the close code for everyone, 1001 by default; 1012 says that the service restarts.
            grace: seconds that handlers may go on, None for `Timeouts.shutdown_grace`.
            reason: the close reason for everyone.
            delay: seconds, None for `Timeouts.drain_delay`.

        Raises:
            ValueError: code or reason cannot be sent.
        """
        self._draining.begin(code, grace, reason or "", delay)

    @property
    def shutdown_bound(self) -> float:
        """Seconds that a shutdown takes at most, by the server's settings.

        It is `drain_delay`, `drain_spread` if there is a `drain_rate`, `shutdown_grace`, `cleanup_timeout`, and the
        longer of `cleanup_timeout` and `close_timeout` with one second. A route with longer timeouts of its own, a
        handler that shields itself from cancellation, and an `on_error` that hangs may take longer.
        """
        return self._draining.bound

    # --- what it tells -------------------------------------------------------------------------------------------

    def statistics(self) -> Statistics:
        """Return what the server has done so far."""
        open_now = [held.connection for held in self._conversations if held.connection is not None]
        return self._tally.statistics(len(self._conversations), open_now)

    @property
    def draining(self) -> bool:
        """Whether the server has begun to shut down."""
        return self._draining.begun

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
