"""The public interface of trio-websocket 0.12 over this library.

`import trio_ws.compat.trio_websocket as trio_websocket` moves a program. The differences are listed in
`docs/coming-from-trio-websocket.md`. Begin with `connection`, then `client` and `server`.
"""

from trio_ws.compat.trio_websocket.client import (
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    wrap_client_stream,
)
from trio_ws.compat.trio_websocket.connection import WebSocketConnection, WebSocketRequest
from trio_ws.compat.trio_websocket.errors import (
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
)
from trio_ws.compat.trio_websocket.server import WebSocketServer, serve_websocket, wrap_server_stream
from trio_ws.compat.trio_websocket.values import CloseReason, Endpoint

__all__ = [
    "CloseReason",
    "ConnectionClosed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HandshakeError",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
    "connect_websocket",
    "connect_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "serve_websocket",
    "wrap_client_stream",
    "wrap_server_stream",
]
