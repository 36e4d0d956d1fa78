"""Reconnection to one server, after each end that allows it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

import attrs
import trio

from trio_ws.client.backoff import Backoff, BackoffSettings, should_reconnect
from trio_ws.client.client import ClientOptions, Connected, connect, hold_connection, open_websocket, plan_connection
from trio_ws.errors import ConnectError, WebSocketDisconnect
from trio_ws.options import check_names
from trio_ws.websocket.websocket import WebSocket

__all__ = ["Reconnect", "reconnect"]

_HELD = frozenset(field.name for field in attrs.fields(ClientOptions))
_KNOWN = frozenset(inspect.signature(open_websocket).parameters) - {"url"}


class Reconnect:
    """An asynchronous iterator of connections.

    Each is entered with `async with`; see `reconnect`.
    """

    def __init__(self, url: str, backoff: BackoffSettings | None, options: dict[str, Any]) -> None:
        held = {name: value for name, value in options.items() if name in _HELD and value is not None}
        self._options = ClientOptions(**held)
        dialling = {name: value for name, value in options.items() if name not in _HELD}
        self._plan = plan_connection(url, self._options, **dialling)
        self._plan.check()
        self._backoff = Backoff(backoff)
        self._verdict: bool | float | None = None  # on the last connection; None before the first

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AbstractAsyncContextManager[WebSocket]:
        while True:
            if self._verdict is False:
                raise StopAsyncIteration
            if self._verdict is not None:
                await trio.sleep(self._backoff.next(self._verdict))
            try:
                connected = await connect(self._plan, self._options)
            except ConnectError as error:
                self._verdict = should_reconnect(error)
                if self._verdict is False:
                    raise
            else:
                return self._connection(connected)

    @asynccontextmanager
    async def _connection(self, connected: Connected) -> AsyncGenerator[WebSocket, None]:
        """Run one connection, and decide after its end."""
        self._verdict = False
        began = trio.current_time()
        websocket: WebSocket | None = None
        try:
            async with hold_connection(connected, self._options) as websocket:
                yield websocket
        except WebSocketDisconnect as end:
            if websocket is None or not websocket._owns(end):  # it is about another connection
                raise
            self._judge(end.code, began)
            if self._verdict is False:
                raise
        else:
            if websocket.close_info is not None and websocket.close_info.by != "local":
                self._judge(websocket.close_info.code, began)

    def _judge(self, code: int, began: float) -> None:
        self._verdict = should_reconnect(code)
        self._backoff.lived(trio.current_time() - began)


def reconnect(url: str, *, backoff: BackoffSettings | None = None, **options: Any) -> Reconnect:
    """Connect again and again to one server.

    Use it as `async for connection in reconnect(url): async with connection as ws: ...`.

    A connection is made before each turn of the loop, with growing random delays between attempts. The loop ends when
    a connection was closed normally (1000) or by you. A disconnect after which it makes sense to connect again
    (1001, 1006, 1011 to 1014) ends its block silently.

    Args:
        url: a ws or wss URL.
        backoff: how the delays grow.
        options: all other arguments of `open_websocket` but `stream`, which is one connection.

    Raises:
        TypeError: an argument is of another kind, or there is no such argument.
        ValueError: an argument makes no sense.
        ConnectError: from the loop: no connection, and another attempt makes no sense (HTTP 401, 403, 404, ...).
        WebSocketDisconnect: from the block: the connection ended with a permanent code (1008, ...).
        trio.Cancelled: nothing stays open.
    """
    if not isinstance(backoff, BackoffSettings | None):
        raise TypeError(f"backoff takes BackoffSettings(...), not {backoff!r}")
    if options.get("stream") is not None:
        raise ValueError("stream= is one connection, and cannot be made again: use open_websocket()")
    check_names(options, _KNOWN, "reconnect()")
    return Reconnect(url, backoff, options)
