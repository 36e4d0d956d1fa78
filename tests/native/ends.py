"""A server's end of a connection on a poller, over a socket pair: the whole way of a message through the core."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio

from trio_ws import Limits, Request, Timeouts, WebSocket
from trio_ws.connection.connection import Connection
from trio_ws.headers import Headers
from trio_ws.runtime.timers import Timers
from trio_ws.transport.poller import Poller
from trio_ws.transport.sockets import SocketTransport

KEY = b"\1\2\3\4"


@attrs.define
class End:
    """Our end as an application sees it, its connection, and the peer's socket."""

    ws: WebSocket
    connection: Any
    peer: socket.socket
    task: trio.lowlevel.Task | None = None

    def sends(self, *messages: str | bytes) -> None:
        """Have the peer send messages."""
        self.peer.sendall(b"".join(map(masked, messages)))

    def got(self, size: int) -> bytes:
        """Return what the peer can read now."""
        return self.peer.recv(size)


def masked(message: str | bytes) -> bytes:
    """Return a client's frame of up to 65,535 bytes."""
    payload = message.encode() if isinstance(message, str) else message
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    data = bytes(byte ^ KEY[at & 3] for at, byte in enumerate(payload))
    return bytes([0x81 if isinstance(message, str) else 0x82]) + size + KEY + data


@contextlib.asynccontextmanager
async def end(limits: Limits | None = None, timeouts: Timeouts | None = None) -> AsyncIterator[End]:
    """Open a connection; close it at the end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    poller = Poller()
    connection = Connection(
        SocketTransport(poller, ours, 65536),
        client=False,
        limits=limits or Limits(),
        timeouts=timeouts or Timeouts(ping_interval=None),
        timers=Timers(),
    )
    ws = WebSocket(Request(target="/", headers=Headers([])))
    ws.context.channel = connection
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        connection.transport.start(nursery)
        try:
            yield End(ws, connection, theirs)
        finally:
            connection.transport.close()
            theirs.close()
            nursery.cancel_scope.cancel()
