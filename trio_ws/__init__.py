"""WebSockets for Trio, with a nursery for every connection.

Each name is imported when it is first used: a client needs no application layer, and that needs pydantic.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from trio_ws.version import __version__

if TYPE_CHECKING:
    from trio_ws.addresses import SocketAddress
    from trio_ws.app import (
        Accepted,
        App,
        BadRequest,
        BlockingRoom,
        BlockingWebSocket,
        Body,
        Budget,
        Conflict,
        Controller,
        Converter,
        Cookie,
        Created,
        Depends,
        ErrorDetail,
        Forbidden,
        Form,
        GuardContext,
        Header,
        InternalServerError,
        Listener,
        ModelWSResponse,
        NotAReply,
        NotFound,
        Ok,
        ParameterError,
        Path,
        Query,
        RegistrationError,
        Reply,
        RoomForbidden,
        Route,
        Router,
        Unauthorized,
        UnprocessableEntity,
        WsBody,
    )
    from trio_ws.app.publish_keys import PublishKey
    from trio_ws.app.sessions import Session, Sessions
    from trio_ws.client.attempt import Attempt
    from trio_ws.client.backoff import BackoffSettings
    from trio_ws.client.client import open_websocket
    from trio_ws.client.reconnect import Reconnect, reconnect
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
    from trio_ws.rooms import Backplane, Member, MemoryBackplane, Room, broadcast, connect_backplane
    from trio_ws.rooms.redis import RedisBackplane
    from trio_ws.runtime.threads import in_loop
    from trio_ws.server.serve import serve_messages, serve_stream, serve_websocket
    from trio_ws.server.server import Server, Statistics
    from trio_ws.testing import TestClient, TestTimeout
    from trio_ws.websocket.credentials import Credentials
    from trio_ws.websocket.ending import WebSocketState
    from trio_ws.websocket.websocket import WebSocket

_NAMES = {
    "trio_ws.addresses": "SocketAddress",
    "trio_ws.app": (
        "Accepted App BadRequest BlockingRoom BlockingWebSocket Body Budget Conflict Controller Converter Cookie "
        "Created Depends ErrorDetail Forbidden Form GuardContext Header InternalServerError Listener "
        "ModelWSResponse NotAReply NotFound Ok ParameterError Path Query RegistrationError Reply RoomForbidden Route "
        "Router Unauthorized UnprocessableEntity WsBody"
    ),
    "trio_ws.app.publish_keys": "PublishKey",
    "trio_ws.app.sessions": "Session Sessions",
    "trio_ws.client.attempt": "Attempt",
    "trio_ws.client.backoff": "BackoffSettings",
    "trio_ws.client.client": "open_websocket",
    "trio_ws.client.reconnect": "Reconnect reconnect",
    "trio_ws.codes": "CloseCode",
    "trio_ws.config": "Compression Limits Timeouts",
    "trio_ws.errors": (
        "BackplaneError BackplaneFull BackplaneRefused BackplaneUnavailable ConnectError ConnectTimeout "
        "ConnectionRejected InvalidMessage LocalProtocolError MessageTooLarge Reject RemoteProtocolError "
        "UnexpectedMessage WebSocketDisconnect WebSocketError WebSocketException"
    ),
    "trio_ws.handler.instruments": "Instrument",
    "trio_ws.handler.service": "Response Service",
    "trio_ws.headers": "Headers",
    "trio_ws.http.request": "Request",
    "trio_ws.http.url": "QueryParameters URL",
    "trio_ws.messages": "WebSocketMessage",
    "trio_ws.protocol.endpoint": "CloseInfo",
    "trio_ws.rooms": "Backplane Member MemoryBackplane Room broadcast connect_backplane",
    "trio_ws.rooms.redis": "RedisBackplane",
    "trio_ws.runtime.threads": "in_loop",
    "trio_ws.server.serve": "serve_messages serve_stream serve_websocket",
    "trio_ws.server.server": "Server Statistics",
    "trio_ws.testing": "TestClient TestTimeout",
    "trio_ws.websocket.credentials": "Credentials",
    "trio_ws.websocket.ending": "WebSocketState",
    "trio_ws.websocket.websocket": "WebSocket",
}
"""The public names of each module."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "URL",
    "Accepted",
    "App",
    "Attempt",
    "BackoffSettings",
    "Backplane",
    "BackplaneError",
    "BackplaneFull",
    "BackplaneRefused",
    "BackplaneUnavailable",
    "BadRequest",
    "BlockingRoom",
    "BlockingWebSocket",
    "Body",
    "Budget",
    "CloseCode",
    "CloseInfo",
    "Compression",
    "Conflict",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionRejected",
    "Controller",
    "Converter",
    "Cookie",
    "Created",
    "Credentials",
    "Depends",
    "ErrorDetail",
    "Forbidden",
    "Form",
    "GuardContext",
    "Header",
    "Headers",
    "Instrument",
    "InternalServerError",
    "InvalidMessage",
    "Limits",
    "Listener",
    "LocalProtocolError",
    "Member",
    "MemoryBackplane",
    "MessageTooLarge",
    "ModelWSResponse",
    "NotAReply",
    "NotFound",
    "Ok",
    "ParameterError",
    "Path",
    "PublishKey",
    "Query",
    "QueryParameters",
    "Reconnect",
    "RedisBackplane",
    "RegistrationError",
    "Reject",
    "RemoteProtocolError",
    "Reply",
    "Request",
    "Response",
    "Room",
    "RoomForbidden",
    "Route",
    "Router",
    "Server",
    "Service",
    "Session",
    "Sessions",
    "SocketAddress",
    "Statistics",
    "TestClient",
    "TestTimeout",
    "Timeouts",
    "Unauthorized",
    "UnexpectedMessage",
    "UnprocessableEntity",
    "WebSocket",
    "WebSocketDisconnect",
    "WebSocketError",
    "WebSocketException",
    "WebSocketMessage",
    "WebSocketState",
    "WsBody",
    "__version__",
    "broadcast",
    "connect_backplane",
    "in_loop",
    "open_websocket",
    "reconnect",
    "serve_messages",
    "serve_stream",
    "serve_websocket",
]
