"""Iteration over messages of one kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Self, TypeVar

from trio_ws.connection.incremental_json import read_json

if TYPE_CHECKING:
    from trio_ws.websocket.context import ConnectionContext

__all__ = ["MessageIterator"]

T = TypeVar("T")


class MessageIterator(AsyncIterator[T]):
    """The messages of a connection until its end, converted.

    It ends on `caught_close_codes`, and raises what `WebSocket.receive` does.

    Args:
        context: of the connection.
        convert: makes the value of a message; None for JSON.
    """

    __slots__ = ("_context", "_convert")

    def __init__(self, context: ConnectionContext, convert: Callable[[str | bytes], T] | None) -> None:
        self._context = context
        self._convert = convert

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        channel = self._context.open_channel()
        message = await channel.reader.receive(self._context)
        if self._convert is not None:
            return self._convert(message)
        value: T = await read_json(message, channel)
        return value
