"""Messages whose kind is stated, `WebSocketMessage` and JSON as text or as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from trio_ws.codes import CloseCode
from trio_ws.connection import serialization

if TYPE_CHECKING:
    from trio_ws.messages import WebSocketMessage
    from trio_ws.websocket.context import ConnectionContext

__all__ = ["JSONMode", "in_mode", "of_mode", "send_message"]

JSONMode: TypeAlias = Literal["text", "binary"]
"""The kind of message that JSON travels in."""


def of_mode(message: str | bytes, mode: JSONMode) -> str | bytes:
    """Return a message if it is of the kind that was asked for.

    Raises:
        UnexpectedMessage: it is of the other kind.
        ValueError: there is no such kind.
    """
    return serialization.as_text(message) if _is_text(mode) else serialization.as_bytes(message)


def in_mode(text: str, mode: JSONMode) -> str | bytes:
    """Return JSON as a message of a kind.

    Raises:
        ValueError: there is no such kind.
    """
    return text if _is_text(mode) else text.encode()


def _is_text(mode: str) -> bool:
    if mode not in ("text", "binary"):
        raise ValueError(f'mode is "text" or "binary", not {mode!r}')
    return mode == "text"


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
