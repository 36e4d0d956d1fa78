"""Engine: the tasks that all connections of a server, or the one of a client, share: the timers and the poller."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import trio

from trio_ws.connection.connection import Connection
from trio_ws.connection.inline import InlineConnection, InlineInbox
from trio_ws.runtime.timers import Timers
from trio_ws.transport.poller import Poller
from trio_ws.transport.single import SingleSocketPoller
from trio_ws.transport.socket_options import tune
from trio_ws.transport.sockets import SocketTransport
from trio_ws.transport.stream import StreamTransport
from trio_ws.transport.tls import TLSTransport
from trio_ws.transport.tls_session import TLSSession, TLSStream

if TYPE_CHECKING:
    import ssl

    from trio_ws.config import Limits
    from trio_ws.transport.base import Transport

__all__ = ["TransportFactory"]


class TransportFactory:
    """Makes transports, and keeps what they share.

    Args:
        poller: read plain sockets with the poller; None for yes where the platform has one.
        solo: there is only one connection, a client's: Trio itself waits for its socket.

    Raises:
        RuntimeError: a poller is demanded where there is none.
    """

    def __init__(self, *, poller: bool | None = None, solo: bool = False) -> None:
        self.timers: Timers = Timers()
        self._scope = trio.CancelScope(shield=True)
        self._poller: Poller | SingleSocketPoller | None = None
        if poller or (poller is None and Poller.available()):
            self._poller = SingleSocketPoller() if solo else Poller()

    def start(self, nursery: trio.Nursery) -> None:
        """Run the shared tasks in `nursery` until `stop`, also while it is cancelled: goodbyes need them."""
        nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.timers.run)
                if self._poller is not None:
                    nursery.start_soon(self._poller.run)

    def stop(self) -> None:
        """End the shared tasks: no connection needs them any more."""
        self._scope.cancel(reason="the last connection has ended")

    def socket_transport(self, sock: socket.socket, high_water: int) -> Transport:
        """Return a transport for a connected plain socket, which it owns from now on."""
        tune(sock)
        if self._poller is not None:
            return SocketTransport(self._poller, sock, high_water)
        return StreamTransport(stream_of(sock), high_water)

    def tls_transport(self, sock: socket.socket, context: ssl.SSLContext, high_water: int) -> Transport:
        """Return a transport for the server's side of TLS over a connected plain socket, which it owns from now on."""
        if self._poller is not None:
            tune(sock)
            return TLSTransport(self._poller, sock, TLSSession(context), high_water)
        stream = trio.SSLStream(stream_of(sock), context, server_side=True, https_compatible=True)
        return StreamTransport(stream, high_water)

    def stream_transport(self, stream: trio.abc.Stream, high_water: int) -> Transport:
        """Return a transport for any stream, which it owns from now on.

        A plain socket is taken out of a `trio.SocketStream` for the poller, and TLS out of a `TLSStream`.
        """
        if self._poller is not None and isinstance(stream, TLSStream):
            sock = stream.detach()
            tune(sock)
            return TLSTransport(self._poller, sock, stream.session, high_water)
        if self._poller is not None and isinstance(stream, trio.SocketStream):
            return self.socket_transport(socket.socket(fileno=stream.socket.detach()), high_water)
        return StreamTransport(stream, high_water)

    def connection(self, transport: Transport, limits: Limits, **rest: Any) -> Connection:
        """Return a client's connection over `transport`, which is from here.

        Args:
            transport: the network connection.
            limits: bounds of inbox, outbox and messages.
            rest: the other arguments of `Connection`.
        """
        rest = {"client": True, "limits": limits, "timers": self.timers, **rest}
        if isinstance(self._poller, SingleSocketPoller) and isinstance(transport, SocketTransport | TLSTransport):
            inbox = InlineInbox(limits.inbox_messages, limits.inbox_bytes, self._poller)
            return InlineConnection(transport, inbox=inbox, **rest)
        return Connection(transport, **rest)


def stream_of(sock: socket.socket) -> trio.SocketStream:
    """Return Trio's stream over a connected plain socket, which it owns from now on."""
    sock.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))
