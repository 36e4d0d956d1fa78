"""Reconnection to one server, after each end that allows it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self, cast

import attrs
import trio

from trio_ws.client.attempt import Attempt, ReconnectOptions, TargetFunction, call_target
from trio_ws.client.backoff import Backoff, BackoffSettings, should_reconnect
from trio_ws.client.client import ClientOptions, Connected, connect, hold_connection, open_websocket, plan_connection
from trio_ws.client.plan import Plan
from trio_ws.errors import ConnectError, WebSocketDisconnect
from trio_ws.options import check_names
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Reconnect", "reconnect"]

_HELD = frozenset(field.name for field in attrs.fields(ClientOptions))
_KNOWN = frozenset(inspect.signature(open_websocket).parameters) - {"url"}

_ANY_URL: Final = "wss://localhost/"
"""Stands for the URL of a function, so that the other arguments are checked at once."""


class Reconnect:
    """An asynchronous iterator of connections.

    Each is entered with `async with`; see `reconnect`.
    """

    def __init__(
        self, target: str | TargetFunction, backoff: BackoffSettings | None, options: Mapping[str, Any]
    ) -> None:
        held = {name: value for name, value in options.items() if name in _HELD and value is not None}
        self._options = ClientOptions(**held)
        self._dialling = {name: value for name, value in options.items() if name not in _HELD}
        self._target = target
        self._fixed = self._plan(Attempt(_ANY_URL if callable(target) else target))
        self._settings = backoff
        self._backoff = Backoff(backoff)
        self._verdict: bool | float | None = None  # on the last connection; None before the first

    def __aiter__(self) -> Self:
        return self

    def _plan(self, attempt: Attempt) -> Plan:
        """Check the arguments of an attempt."""
        plan = plan_connection(attempt.full_url, self._options, **(self._dialling | attempt.options))
        plan.check()
        return plan

    async def __anext__(self) -> AbstractAsyncContextManager[WebSocket]:
        while True:
            if self._verdict is False:
                raise StopAsyncIteration
            if self._verdict is not None:
                await trio.sleep(self._backoff.next(self._verdict))
            plan = self._plan(await call_target(self._target)) if callable(self._target) else self._fixed
            try:
                connected = await connect(plan, self._options)
            except ConnectError as error:
                self._verdict = should_reconnect(error, self._settings)
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
            if websocket is None or not websocket.context.is_own_disconnect(end):  # it tells of another connection
                raise
            self._judge(end.code, began)
            if self._verdict is False:
                raise
        else:
            if websocket.close_info is not None and websocket.close_info.by != "local":
                self._judge(websocket.close_info.code, began)

    def _judge(self, code: int, began: float) -> None:
        self._verdict = should_reconnect(code, self._settings)
        self._backoff.lived(trio.current_time() - began)


def reconnect(
    url: str | TargetFunction, *, backoff: BackoffSettings | None = None, **options: Unpack[ReconnectOptions]
) -> Reconnect:
    """Connect again and again to one server.

    Use it as `async for connection in reconnect(url): async with connection as ws: ...`.

    A connection is made before each turn of the loop, with growing random delays between attempts. The loop ends when
    a connection was closed normally (1000) or by you. A disconnect after which it makes sense to connect again
    (1001, 1006, 1011 to 1014) ends its block silently. Every delay follows `BackoffSettings.initial`:

    | the connection ended with, or the attempt with | delay before the next attempt |
    |---|---|
    | 1001, 1006, 1011, 1014; no connection; HTTP 408, 429, 5xx | random, from 0 to `initial`, to twice that, ... |
    | 1012 (service restart) | the same, after a random one of up to 10 times `initial` |
    | 1013 (try again later) | the same, after 30 times `initial` |
    | HTTP 429 or 503 with `Retry-After` | the same, after what it says, an hour at most |

    Args:
        url: a ws or wss URL; or a function, async or not, that is called before each attempt and returns the URL, or an
            `Attempt` with query, headers, cookies or subprotocols: a fresh token, the id to resume after.
        backoff: how the delays grow.
        options: all other arguments of `open_websocket` but `stream`, which is one connection.

    Raises:
        TypeError: an argument is of another kind, or there is no such argument.
        ValueError: the URL is malformed (from the loop, for that of a function), or another argument makes no sense.
        Exception: from the loop: raised by the function.
        ConnectError: from the loop: no connection, and another attempt makes no sense (HTTP 401, 403, 404, ...).
        WebSocketDisconnect: from the block: the connection ended with a permanent code (1008, ...).
        trio.Cancelled: nothing stays open.
    """
    if not isinstance(backoff, BackoffSettings | None):
        raise TypeError(f"backoff takes BackoffSettings(...), not {backoff!r}")
    if cast("dict[str, Any]", options).get("stream") is not None:
        raise ValueError("stream= is one connection, and cannot be made again: use open_websocket()")
    check_names(options, _KNOWN, "reconnect()")
    if not (isinstance(url, str) or callable(url)):
        raise TypeError(f"reconnect() takes a URL or a function that returns one, not {url!r}")
    return Reconnect(url, backoff, options)
