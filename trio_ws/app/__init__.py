"""Routes, typed parameters, guards, dependencies, listeners, controllers, pages and sessions.

Here: `App` and everything that decorators register. Not here: sockets and frames; this folder sees `WebSocket` only.
Start with `application`, then `router`, `route` and `invocation`: one connection on a route.
"""

import importlib
from typing import TYPE_CHECKING, Any

from trio_ws.app.application import App
from trio_ws.app.controller import Controller
from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.guards import GuardContext
from trio_ws.app.listener import Listener
from trio_ws.app.marks import listener, websocket
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
from trio_ws.app.router import Router
from trio_ws.blocking.websocket import BlockingRoom, BlockingWebSocket
from trio_ws.runtime.threads import in_loop

if TYPE_CHECKING:
    from trio_ws.app.budgets import Budget
    from trio_ws.app.publish_keys import PublishKey
    from trio_ws.app.room_guards import RoomForbidden
    from trio_ws.app.sessions import Session, Sessions

__all__ = [
    "Accepted",
    "App",
    "BadRequest",
    "BlockingRoom",
    "BlockingWebSocket",
    "Body",
    "Budget",
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
    "PublishKey",
    "Query",
    "RegistrationError",
    "Reply",
    "RoomForbidden",
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


_RARE = {
    "Budget": "budgets",
    "PublishKey": "publish_keys",
    "RoomForbidden": "room_guards",
    "Session": "sessions",
    "Sessions": "sessions",
}
"""Modules of what few applications use, imported when it is used."""


def __getattr__(name: str) -> Any:
    if name not in _RARE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"trio_ws.app.{_RARE[name]}"), name)
