"""Sending of a `WebSocketMessage`, which says of which kind it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_ws.codes import CloseCode
from trio_ws.connection import serialization

if TYPE_CHECKING:
    from trio_ws.messages import WebSocketMessage
    from trio_ws.websocket.context import ConnectionContext

__all__ = ["send_message"]


async def send_message(context: ConnectionContext, message: WebSocketMessage) -> None:
    """Send a message, a ping, a pong or a close frame."""
    writer = context.open_channel().writer
    match message.msg_type:
        case "text":
            await writer.send(serialization.only_text(message.text or ""))
        case "binary":
            await writer.send(serialization.only_bytes(message.data or b""))
        case "ping":
            await writer.ping(message.data or b"", wait=False)
        case "pong":
            await writer.pong(message.data or b"")
        case "close":
            await context.close(message.code or CloseCode.NORMAL_CLOSURE, message.reason or "")
