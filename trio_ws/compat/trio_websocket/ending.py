"""Options of the connections below, and the end of those that are cancelled."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Final, cast

import trio

from trio_ws.codes import CloseCode
from trio_ws.config import Limits, Timeouts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_ws.connection.connection import Connection
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["closed_within", "disconnect", "flush", "leave", "limits_for", "timeouts_for"]

LEAVE_TIMEOUT: Final = 1.0
"""Seconds that a cancelled connection has to send its close frame, and its peer to answer."""


def limits_for(message_queue_size: float, max_message_size: float) -> Limits:
    """Return the limits for a queue of messages.

    trio-websocket reads one message more than its queue holds, and waits with it: a queue of 0 is an inbox of 1.

    Args:
        message_queue_size: messages, 0 or more, `math.inf` for no bound.
        max_message_size: bytes of one message.

    Raises:
        TypeError: one of them is not a whole number.
        ValueError: one of them is negative.
    """
    if message_queue_size < 0:
        raise ValueError(f"message_queue_size must be 0 or more, not {message_queue_size!r}")
    size = min(max_message_size, sys.maxsize)
    messages = min(message_queue_size + 1, sys.maxsize)
    everything = min(messages * size, sys.maxsize)
    return Limits(max_message_size=size, inbox_messages=messages, inbox_bytes=everything)  # type: ignore[arg-type]


def timeouts_for(connect: float = math.inf, disconnect: float = 60.0) -> Timeouts:
    """Return the timeouts of a connection, without those that trio-websocket does not have.

    Args:
        connect: seconds for the opening handshake.
        disconnect: seconds for the closing handshake.
    """
    return Timeouts(
        open_timeout=connect,
        close_timeout=disconnect,
        ping_interval=None,
        send_timeout=None,
        shutdown_grace=0.0,
    )


async def leave(websocket: WebSocket) -> None:
    """End a connection whose task was cancelled: close frame, a moment for the peer, end of the network connection."""
    channel = websocket.context.channel
    if channel is None:
        return
    channel.closing.begin_close(CloseCode.GOING_AWAY, "")
    with trio.move_on_after(LEAVE_TIMEOUT, shield=True):
        await channel.closing.wait_gone()
    disconnect(websocket)


async def closed_within(seconds: float, websocket: WebSocket, close: Callable[[], Awaitable[None]]) -> bool:
    """Close a connection; if its peer does not answer in time, end the network connection, and return False.

    Args:
        seconds: for the closing handshake.
        websocket: the connection.
        close: closes it.
    """
    deadline = trio.current_time() + seconds
    with trio.move_on_at(deadline):
        await close()
    if websocket.closed_cleanly or trio.current_time() < deadline:
        return True
    disconnect(websocket)
    return False


def disconnect(websocket: WebSocket) -> None:
    """End the network connection now."""
    cast("Connection", websocket.context.open_channel()).closing.disconnect()


async def flush(websocket: WebSocket) -> None:
    """Wait until the network has all that was sent, at most `close_timeout`."""
    await cast("Connection", websocket.context.open_channel()).closing.flush()
