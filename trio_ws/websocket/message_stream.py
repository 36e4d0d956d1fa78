"""Parts: one message while it arrives, for handlers that do not wait for the whole of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from trio_ws.websocket.websocket import WebSocket

__all__ = ["MessageStream"]


class MessageStream:
    """The parts of one message, as they come; made by `WebSocket.receive_stream`."""

    __slots__ = ("_done", "_first", "_websocket")

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._first = True
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        if self._done:
            raise StopAsyncIteration
        part, self._done = await self._websocket._open_channel().reader.receive_chunk(first=self._first)
        self._first = False
        if not part and self._done:
            raise StopAsyncIteration
        return part
