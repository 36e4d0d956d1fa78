"""One message as an asynchronous iterator over its parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from trio_ws.websocket.context import ConnectionContext

__all__ = ["MessageStream"]


class MessageStream:
    """The parts of one message as they arrive; `WebSocket.receive_stream` makes it."""

    __slots__ = ("_context", "_done", "_first")

    def __init__(self, context: ConnectionContext) -> None:
        self._context = context
        self._first = True
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        if self._done:
            raise StopAsyncIteration
        part, self._done = await self._context.open_channel().reader.receive_chunk(first=self._first)
        self._first = False
        if not part and self._done:
            raise StopAsyncIteration
        return part
