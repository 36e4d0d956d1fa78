"""Listeners whose function is called in the turn of the loop in which a message was parsed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from trio_ws.app.errors import ParameterError
from trio_ws.app.exchange import Exchange
from trio_ws.app.replies import NotAReply, encode_reply
from trio_ws.connection.callback import InlineCall, call_for_each_message
from trio_ws.connection.incremental_json import PIECE
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.errors import WebSocketDisconnect
from trio_ws.native.choice import core

if TYPE_CHECKING:
    from trio_ws.app.exchange import BoundListener
    from trio_ws.connection.callback import Remainder
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["run_inline"]

_commit: Callable[[Any, Any], bool] | None = None if core is None else core.commit
"""Commits a message in one call of the core, if nothing is in the way of it."""


async def run_inline(websocket: WebSocket, callbacks: BoundListener) -> None:
    """Call back with each message as soon as it is parsed, until the connection ends.

    Raises:
        WebSocketDisconnect: it ended with a code that is not caught.
        UnexpectedMessage: a message of the wrong kind; it closes with 1003.
        InvalidMessage: after the reply, under `on_invalid="close"`; it closes with 1007.
        NotAReply: the function returned something that cannot be sent; it closes with 1011.
    """
    call = InlineCall(
        function=_InlineListener(websocket, callbacks).answer,
        when_full=callbacks.options.when_full,
        hands_over=True,
        decodes=callbacks.options.encoding == "json",
    )
    try:
        await call_for_each_message(websocket.context.open_channel(), call)
    except WebSocketDisconnect as end:
        if not websocket.context.is_normal_end(end):
            raise


class _InlineListener:
    """Calls a listener's function with messages, and offers its replies.

    All else is left to an `Exchange` in the handler's task: large JSON, invalid messages, errors, and under "pause"
    replies without room.

    Args:
        websocket: the connection.
        callbacks: the function, and how messages are treated.
    """

    __slots__ = ("_callbacks", "_exchange", "_json", "_pauses", "_websocket", "_writer")

    def __init__(self, websocket: WebSocket, callbacks: BoundListener) -> None:
        self._websocket = websocket
        self._writer = websocket.context.open_channel().writer
        self._callbacks = callbacks
        self._exchange = Exchange(websocket, "", callbacks, self._writer.send)  # of the message that is being answered
        self._json = callbacks.options.encoding == "json"
        self._pauses = callbacks.options.when_full == "pause"

    def answer(self, message: str | bytes) -> Remainder | None:
        """Call the function with one message, and offer its reply; return what is left to do."""
        exchange = self._exchange
        exchange.message, exchange.reference = message, None
        if self._json and len(message) > PIECE:
            return self._take_exchange().run
        try:
            body = exchange.decode_now()
        except ParameterError:
            return self._take_exchange().run
        except Exception as error:
            return partial(self._take_exchange().fail, error)
        try:
            result = self._callbacks.receive(body)
            return None if result is None else self._offer(result, exchange)
        except Exception as error:
            return partial(self._take_exchange().fail, error)

    def _take_exchange(self) -> Exchange:
        """Return the exchange for the handler's task; later messages have another one."""
        taken = self._exchange
        self._exchange = Exchange(self._websocket, "", self._callbacks, self._writer.send)
        return taken

    def _offer(self, result: Any, exchange: Exchange) -> Remainder | None:
        callbacks = self._callbacks
        try:
            payload = encode_reply(
                result, callbacks.options.encoding, callbacks.output, exchange.reference, callbacks.encode_json
            )
            if _commit is not None and _commit(self._writer, payload):
                return None
            offered = self._writer.offer(PreparedMessage(payload))
        except (NotAReply, UnicodeEncodeError) as error:
            if inspect.iscoroutine(result):
                result.close()  # it will not be awaited
            raise NotAReply(f"{callbacks.name}: {error}") from None
        return None if offered or not self._pauses else partial(self._writer.send, payload)
