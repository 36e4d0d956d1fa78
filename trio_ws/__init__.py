"""WebSockets for Trio: every connection is a nursery, and everything that belongs to it lives and dies with it."""

from trio_ws.client import open_websocket
from trio_ws.codes import CloseCode
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.dial.backoff import BackoffSettings
from trio_ws.errors import (
    ConnectError,
    ConnectionRejected,
    ConnectTimeout,
    InvalidMessage,
    LocalProtocolError,
    Reject,
    RemoteProtocolError,
    UnexpectedMessage,
    WebSocketDisconnect,
    WebSocketError,
    WebSocketException,
)
from trio_ws.headers import Headers
from trio_ws.messages import WebSocketMessage
from trio_ws.protocol.endpoint import CloseInfo
from trio_ws.reconnect import reconnect
from trio_ws.request import Request
from trio_ws.server import Server, Statistics
from trio_ws.service import Response, Service
from trio_ws.serving import serve_websocket
from trio_ws.url import URL, QueryParameters
from trio_ws.websocket import WebSocket

__version__ = "0.1.0"

__all__ = [
    "URL",
    "BackoffSettings",
    "CloseCode",
    "CloseInfo",
    "Compression",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionRejected",
    "Headers",
    "InvalidMessage",
    "Limits",
    "LocalProtocolError",
    "QueryParameters",
    "Reject",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Server",
    "Service",
    "Statistics",
    "Timeouts",
    "UnexpectedMessage",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketError",
    "WebSocketException",
    "WebSocketMessage",
    "__version__",
    "open_websocket",
    "reconnect",
    "serve_websocket",
]
