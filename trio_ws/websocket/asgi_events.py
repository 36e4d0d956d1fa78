"""ASGI events over a `WebSocket`, for `receive_event` and `send_event` (ASGI specification, WebSocket protocol)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from trio_ws.codes import CloseCode
from trio_ws.errors import WebSocketDisconnect

if TYPE_CHECKING:
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["as_async", "receive", "send"]


async def receive(websocket: WebSocket) -> dict[str, Any]:
    """Return the next event of `websocket`; see `WebSocket.receive_event`."""
    if not websocket.accepted and not websocket._connect_reported:
        await trio.lowlevel.checkpoint()
        websocket._connect_reported = True
        return {"type": "websocket.connect"}
    try:
        message = await websocket._open_channel().reader.receive()
    except WebSocketDisconnect as end:
        if websocket._close_reported:
            raise
        websocket._close_reported = True
        return {"type": "websocket.disconnect", "code": end.code, "reason": end.reason}
    kind = "text" if isinstance(message, str) else "bytes"
    return {"type": "websocket.receive", kind: message}


async def send(websocket: WebSocket, event: Mapping[str, Any]) -> None:
    """Do what `event` says; see `WebSocket.send_event`."""
    match event.get("type"):
        case "websocket.accept":
            await websocket.accept(event.get("subprotocol"), _decoded(event.get("headers", ())))
        case "websocket.send":
            await websocket._open_channel().writer.send(_content(event))
        case "websocket.close" if websocket.accepted:
            await websocket.close(event.get("code", CloseCode.NORMAL_CLOSURE), event.get("reason") or "")
        case "websocket.close":
            await websocket.reject()
        case other:
            raise ValueError(f"an application cannot send an event of type {other!r}")


def _content(event: Mapping[str, Any]) -> str | bytes:
    text, data = event.get("text"), event.get("bytes")
    if (text is None) == (data is None):
        raise ValueError("a websocket.send event has either text or bytes")
    content: Any = data if text is None else text
    if not isinstance(content, str if data is None else bytes):
        raise TypeError(f"text is a str and bytes are bytes in an event, not {type(content).__name__}")
    return content


def _decoded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


async def as_async(chunks: AsyncIterable[str | bytes] | Iterable[str | bytes]) -> AsyncGenerator[str | bytes, None]:
    """Iterate over `chunks`, asynchronous or not."""
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            yield chunk
    else:
        for chunk in chunks:
            yield chunk
