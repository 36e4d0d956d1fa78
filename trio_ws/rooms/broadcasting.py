"""Broadcast of one message to an application's own list of connections.

`App.broadcast` has the list of all of an application's connections, in all processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.many import offer_to_each
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.checks import to_websockets
from trio_ws.rooms.member_queue import TOO_SLOW
from trio_ws.websocket.websocket import WebSocket

__all__ = ["broadcast", "deflate_for", "offer_to_all"]

_POLICIES: Final = ("disconnect", "drop_newest")


async def broadcast(
    connections: Iterable[WebSocket],
    message: Any,
    *,
    exclude: WebSocket | Iterable[WebSocket] | None = None,
    policy: Literal["disconnect", "drop_newest"] = "disconnect",
) -> None:
    """Send one message to many connections.

    It never waits for a connection, but it is a checkpoint. Connections that are closed, or not accepted yet, are
    skipped. The message is encoded once; one of more than 16 KiB is deflated in steps, before any connection gets it.
    `connections` is iterated over in one step, after the first checkpoint: it may change before and after.

    Args:
        connections: any iterable of connections, of a server or of clients.
        message: `str` is sent as text, bytes as binary, everything else as compact JSON in a text message.
        exclude: connections that do not receive it.
        policy: the action for a connection whose outbox is full: "disconnect" closes it with 1013, "drop_newest" skips
            it for this message. To let messages wait for it, use a room.

    Raises:
        TypeError: the message cannot be encoded, likewise ValueError; or something is no `WebSocket`.
        ValueError: there is no such policy.
        trio.Cancelled: no connection has received it.
    """
    if policy not in _POLICIES:
        raise ValueError(f"policy must be one of {', '.join(_POLICIES)}, not {policy!r}: other policies need a room")
    prepared = PreparedMessage(message)
    await trio.lowlevel.checkpoint()
    excluded = frozenset(to_websockets(exclude))
    chosen = list(connections)
    if excluded:
        chosen = [websocket for websocket in chosen if websocket not in excluded]
    for kind in {*map(type, chosen)}:
        if not issubclass(kind, WebSocket):
            raise TypeError(f"broadcast() sends to connections, each a WebSocket, not {kind.__name__}")
    await deflate_for(chosen, prepared)
    offer_to_all(chosen, prepared, policy)


async def deflate_for(connections: Iterable[WebSocket], prepared: PreparedMessage) -> None:
    """Deflate a large message for these connections, in steps."""
    channels = (each.context.channel for each in connections)
    await prepared.deflate(channel.writer for channel in channels if channel is not None)


def offer_to_all(
    connections: Iterable[WebSocket], prepared: PreparedMessage, policy: Literal["disconnect", "drop_newest"]
) -> None:
    """Send one message to many connections, in one step; see `broadcast`."""
    channels = [channel for websocket in connections if (channel := websocket.context.channel) is not None]
    full = offer_to_each([channel.writer for channel in channels], prepared)
    if policy == "disconnect":
        for position in full:
            channels[position].closing.dismiss(CloseCode.TRY_AGAIN_LATER, TOO_SLOW)
