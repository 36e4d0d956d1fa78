"""WebSockets for Trio, with a nursery for every connection.

The application layer is imported when one of its names is first used: it needs pydantic, the rest does not.
"""

import importlib
from typing import TYPE_CHECKING, Any

from trio_ws.client.backoff import BackoffSettings
from trio_ws.client.client import open_websocket
from trio_ws.client.reconnect import reconnect
from trio_ws.codes import CloseCode
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.errors import (
    BackplaneError,
    BackplaneFull,
    BackplaneRefused,
    BackplaneUnavailable,
    ConnectError,
    ConnectionRejected,
    ConnectTimeout,
    InvalidMessage,
    LocalProtocolError,
    MessageTooLarge,
    Reject,
    RemoteProtocolError,
    UnexpectedMessage,
    WebSocketDisconnect,
    WebSocketError,
    WebSocketException,
)
from trio_ws.handler.instruments import Instrument
from trio_ws.handler.service import Response, Service
from trio_ws.headers import Headers
from trio_ws.http.request import Request
from trio_ws.http.url import URL, QueryParameters
from trio_ws.messages import WebSocketMessage
from trio_ws.protocol.endpoint import CloseInfo
from trio_ws.runtime.threads import in_loop
from trio_ws.server.serve import serve_websocket
from trio_ws.server.server import Server, Statistics
from trio_ws.version import __version__
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from trio_ws.app import (
        App,
        BlockingWebSocket,
        Controller,
        Cookie,
        Depends,
        Header,
        ModelWSResponse,
        Ok,
        Path,
        Query,
        Reply,
        Router,
        Sessions,
        WsBody,
    )
    from trio_ws.rooms import Room
    from trio_ws.rooms.broadcast import broadcast

_LATER = dict.fromkeys(
    (
        "App",
        "BlockingWebSocket",
        "Controller",
        "Cookie",
        "Depends",
        "Header",
        "ModelWSResponse",
        "Ok",
        "Path",
        "Query",
        "Reply",
        "Router",
        "Sessions",
        "WsBody",
    ),
    "trio_ws.app",
) | dict.fromkeys(("Room", "broadcast"), "trio_ws.rooms")


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)


__all__ = [
    "URL",
    "App",
    "BackoffSettings",
    "BackplaneError",
    "BackplaneFull",
    "BackplaneRefused",
    "BackplaneUnavailable",
    "BlockingWebSocket",
    "CloseCode",
    "CloseInfo",
    "Compression",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionRejected",
    "Controller",
    "Cookie",
    "Depends",
    "Header",
    "Headers",
    "Instrument",
    "InvalidMessage",
    "Limits",
    "LocalProtocolError",
    "MessageTooLarge",
    "ModelWSResponse",
    "Ok",
    "Path",
    "Query",
    "QueryParameters",
    "Reject",
    "RemoteProtocolError",
    "Reply",
    "Request",
    "Response",
    "Room",
    "Router",
    "Server",
    "Service",
    "Sessions",
    "Statistics",
    "Timeouts",
    "UnexpectedMessage",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketError",
    "WebSocketException",
    "WebSocketMessage",
    "WsBody",
    "__version__",
    "broadcast",
    "in_loop",
    "open_websocket",
    "reconnect",
    "serve_websocket",
]
