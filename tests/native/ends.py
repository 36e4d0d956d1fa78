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
    """Return a client's frame."""
    payload = message.encode() if isinstance(message, str) else message
    return start(0x81 if isinstance(message, str) else 0x82, len(payload)) + xored(payload)


def start(first: int, size: int, *, mask: bool = True) -> bytes:
    """Return the header of a frame."""
    bit = 0x80 if mask else 0
    if size < 126:
        length = bytes([bit | size])
    elif size < 65536:
        length = bytes([bit | 126]) + size.to_bytes(2)
    else:
        length = bytes([bit | 127]) + size.to_bytes(8)
    return bytes([first]) + length + (KEY if mask else b"")


def xored(payload: bytes) -> bytes:
    """Return a payload with the mask."""
    size = len(payload)
    key = int.from_bytes((KEY * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")


class PythonSocket(socket.socket):
    """A socket that the core does not understand: Python reads it."""


@contextlib.asynccontextmanager
async def end(
    limits: Limits | None = None, timeouts: Timeouts | None = None, *, client: bool = False, python: bool = False
) -> AsyncIterator[End]:
    """Open a connection; close it at the end.

    Args:
        limits: of the connection.
        timeouts: of the connection.
        client: ours is the client's end, whose peer does not mask.
        python: read with Python code, whatever is compiled.
    """
    ours, theirs = socket.socketpair()
    if python:
        ours = PythonSocket(fileno=ours.detach())
    theirs.setblocking(False)
    poller = Poller()
    connection = Connection(
        SocketTransport(poller, ours, 65536),
        client=client,
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
