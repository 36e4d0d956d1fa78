"""A server whose handlers send as fast as their clients read, and which says at its end what `send` has accepted."""

from __future__ import annotations

import json
import socket
from functools import partial

import trio

from trio_ws import Limits, Timeouts, WebSocket, serve_websocket
from trio_ws.server.signals import serve_until_signalled

MESSAGE_BYTES = 1000
"""A text message: its number, filled up with blanks."""
KERNEL_BYTES = 16 * 1024
"""What the kernel takes of a connection: the rest waits in its outbox, which is full, too."""

accepted: dict[str, int] = {}
"""How many messages were accepted, by the path of the connection."""


async def busy(ws: WebSocket) -> None:
    path = ws.url.path
    accepted[path] = 0
    while True:
        await ws.send(str(accepted[path]).ljust(MESSAGE_BYTES))
        accepted[path] += 1


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    serve = partial(
        serve_websocket,
        busy,
        listeners=[listener],
        limits=Limits(outbox_bytes=16 * 1024),
        timeouts=Timeouts(open_timeout=60, close_timeout=20, shutdown_grace=20, ping_interval=None),
    )
    trio.run(serve_until_signalled, serve)
    print(json.dumps(accepted))
