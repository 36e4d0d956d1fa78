"""The application layer: routes, typed parameters, guards, dependencies, listeners, controllers, pages, sessions.

`application` is what users make, `router` collects routes, `route` and `visit` are one route and one connection on it.
`path`, `markers`, `signature`, `hints`, `shapes`, `conversion`, `dependencies` and `body` say what functions are called
with, `guards` who may connect, `listener` and `replies` what messages are answered with. It knows `WebSocket`, and
never a socket.
"""

from trio_ws.app.application import App
from trio_ws.app.blocking import BlockingRoom, BlockingWebSocket
from trio_ws.app.controller import Controller
from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.guards import GuardContext
from trio_ws.app.listener import Listener
from trio_ws.app.parameters.markers import Body, Cookie, Depends, Form, Header, Path, Query, WsBody
from trio_ws.app.path import Converter
from trio_ws.app.replies import (
    Accepted,
    BadRequest,
    Conflict,
    Created,
    Forbidden,
    InternalServerError,
    ModelWSResponse,
    NotAReply,
    NotFound,
    Ok,
    Reply,
    Unauthorized,
    UnprocessableEntity,
)
from trio_ws.app.route import Route
from trio_ws.app.router import Router, listener, websocket
from trio_ws.app.sessions import Session, Sessions
from trio_ws.runtime.threads import in_loop

__all__ = [
    "Accepted",
    "App",
    "BadRequest",
    "BlockingRoom",
    "BlockingWebSocket",
    "Body",
    "Conflict",
    "Controller",
    "Converter",
    "Cookie",
    "Created",
    "Depends",
    "ErrorDetail",
    "Forbidden",
    "Form",
    "GuardContext",
    "Header",
    "InternalServerError",
    "Listener",
    "ModelWSResponse",
    "NotAReply",
    "NotFound",
    "Ok",
    "ParameterError",
    "Path",
    "Query",
    "RegistrationError",
    "Reply",
    "Route",
    "Router",
    "Session",
    "Sessions",
    "Unauthorized",
    "UnprocessableEntity",
    "WsBody",
    "in_loop",
    "listener",
    "websocket",
]
