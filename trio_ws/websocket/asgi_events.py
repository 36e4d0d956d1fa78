"""ASGI events for `receive_event` and `send_event` (ASGI specification, WebSocket protocol)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from trio_ws.codes import CloseCode
from trio_ws.errors import WebSocketDisconnect

if TYPE_CHECKING:
    from trio_ws.websocket.context import ConnectionContext

__all__ = ["as_async", "receive", "send"]


async def receive(context: ConnectionContext) -> dict[str, Any]:
    """Return the next event of a connection; see `WebSocket.receive_event`."""
    if context.channel is None and context.reported is None:
        await trio.lowlevel.checkpoint()
        context.reported = "connect"
        return {"type": "websocket.connect"}
    try:
        message = await context.open_channel().reader.receive()
    except WebSocketDisconnect as end:
        if context.reported == "close":
            raise
        context.reported = "close"
        return {"type": "websocket.disconnect", "code": end.code, "reason": end.reason}
    kind = "text" if isinstance(message, str) else "bytes"
    return {"type": "websocket.receive", kind: message}


async def send(context: ConnectionContext, event: Mapping[str, Any]) -> None:
    """Perform an application's event; see `WebSocket.send_event`."""
    match event.get("type"):
        case "websocket.accept":
            await context.accept(event.get("subprotocol"), _decoded(event.get("headers", ())))
        case "websocket.send":
            await context.open_channel().writer.send(_content(event))
        case "websocket.close" if context.channel is not None:
            await context.close(event.get("code", CloseCode.NORMAL_CLOSURE), event.get("reason") or "")
        case "websocket.close":
            await context.reject()
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
