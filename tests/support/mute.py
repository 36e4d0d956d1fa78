"""A server that accepts a client's request, and says nothing from then on."""

from __future__ import annotations

import trio
from wsproto.utilities import generate_accept_token


async def shake_hands(stream: trio.abc.Stream) -> None:
    """Accept the request that comes over `stream`."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await stream.receive_some()
    key = next(line.split()[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    await stream.send_all(
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
        % generate_accept_token(key)
    )
