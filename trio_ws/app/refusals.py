"""Errors with a reply where there is no message: before the handshake's answer, in `on_connect`, and in pages."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from trio_ws.app.exchange import common_maker, forget_frames
from trio_ws.app.replies import Reply, encode_reply
from trio_ws.codes import CloseCode
from trio_ws.connection.serialization import to_json
from trio_ws.errors import Reject, WebSocketException
from trio_ws.handler.service import Response
from trio_ws.websocket.close_code import leaves

if TYPE_CHECKING:
    from trio_ws.app.errors import ParameterError
    from trio_ws.app.services import AppServices
    from trio_ws.connection.serialization import ValueType
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["bad_request", "refusal_from", "refuse_connection", "response_from"]

_JSON: Final = {"Content-Type": "application/json"}
_REFUSING: Final = range(400, 600)


def bad_request(error: ParameterError) -> Reject:
    """Return the answer to invalid parameters, HTTP 400 with a list of errors."""
    body = to_json({"errorList": error.error_list}).encode()
    return Reject(400, {"Content-Type": "application/json"}, body)


async def refusal_from(error: Exception, websocket: WebSocket, services: AppServices) -> Reject | None:
    """Return the answer to the handshake for an error before it; None if the error has no reply that refuses.

    The status is the reply's, 500 without one; its body is JSON.

    Raises:
        NotAReply: the reply has no form in JSON.
        Exception: raised by the function that makes the reply.
    """
    reply = await _reply_to(error, websocket, services)
    if reply is None:
        return None
    status, body = (reply.status_code, reply.body) if isinstance(reply, Reply) else (500, reply)
    if status not in _REFUSING:
        return None
    return Reject(status) if body is None else Reject(status, _JSON, _encoded(body, services))


def response_from(reply: Reply, services: AppServices) -> Response:
    """Return a raised reply as the answer to a request for a page.

    Raises:
        NotAReply: the body has no form in JSON.
        ValueError: the status is none of HTTP.
    """
    body = reply.body
    forget_frames([reply])
    if body is None:
        return Response(status=reply.status_code)
    return Response(status=reply.status_code, headers=_JSON, body=_encoded(body, services))


def _encoded(body: Any, services: AppServices) -> bytes:
    encoded = encode_reply(body, "json", encode=services.settings.json)
    return encoded.encode() if isinstance(encoded, str) else bytes(encoded)


async def refuse_connection(error: Exception, websocket: WebSocket, services: AppServices, encoding: ValueType) -> None:
    """Send the reply to an error of `on_connect`, if it has one, and raise the order that ends the connection.

    A reply with a status below 400 is sent, and the connection stays.

    Raises:
        Reject: the handshake was not answered yet.
        WebSocketException: with 1008 after a reply with a status from 400 to 499, else with 1011.
        Exception: the error, which has no reply.
    """
    if not websocket.accepted:
        raise await refusal_from(error, websocket, services) or error
    reply = None if websocket.context.is_own_disconnect(error) else await _reply_to(error, websocket, services)
    if reply is None:
        raise error
    await websocket.context.open_channel().writer.send(encode_reply(reply, encoding, encode=services.settings.json))
    status = reply.status_code if isinstance(reply, Reply) else 500
    if status >= _REFUSING.start:
        by_client = status < 500
        raise WebSocketException(CloseCode.POLICY_VIOLATION if by_client else CloseCode.INTERNAL_ERROR)


async def _reply_to(error: Exception, websocket: WebSocket, services: AppServices) -> Any:
    """Return the reply to an error, None if it has none."""
    causes: list[Any] = [*leaves(error)]
    maker = common_maker(services.failures, causes)
    if maker is None:
        return None
    try:
        reply = maker.call(websocket, services.limiters, causes[0], None)
        if inspect.isawaitable(reply):
            reply = await reply
    except Reply as raised:
        reply = raised
    forget_frames([*causes, reply])
    return reply
