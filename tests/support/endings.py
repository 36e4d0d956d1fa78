"""How a connection ended, or that there was none: what tests of clients look at most."""

from __future__ import annotations

from typing import Any

import pytest

from trio_ws import App, ConnectionRejected, WebSocket, WebSocketDisconnect


async def end_of(ws: WebSocket) -> WebSocketDisconnect:
    """Return the end of a connection that brings no other message."""
    with pytest.raises(WebSocketDisconnect) as end:
        pytest.fail(f"a message: {await ws.receive()!r}")
    return end.value


async def code_of(ws: WebSocket) -> int:
    """Return the close code of a connection that brings no other message."""
    return (await end_of(ws)).code


async def refusal_of(client: Any, path: str = "/", **options: Any) -> ConnectionRejected:
    """Return the answer to a refused handshake: by an app, or to a test client, a visitor, a function that connects."""
    if isinstance(client, App):
        async with client.test_client() as tested:
            return await refusal_of(tested, path, **options)
    connect = client if callable(client) else getattr(client, "websocket_connect", None) or client.connect
    with pytest.raises(ConnectionRejected) as refused:
        async with connect(path, **options):
            pass
    return refused.value


async def status_of(client: Any, path: str = "/", **options: Any) -> int:
    """Return the status of the answer to a handshake that is refused."""
    return (await refusal_of(client, path, **options)).status
