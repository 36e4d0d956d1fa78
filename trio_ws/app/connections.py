"""An application's connections in this process, and messages to all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.broadcast import deflate_for, offer_to_all
from trio_ws.rooms.topics import BROADCAST

if TYPE_CHECKING:
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.rooms.backplane import Backplane, Entry
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["ConnectionManager"]


class ConnectionManager:
    """The connections of an application in this process.

    Args:
        backplane: carries messages to the other processes.
        encode_json: encodes messages that are neither text nor bytes.
    """

    def __init__(self, backplane: Backplane, encode_json: ToJSON) -> None:
        self.active: set[WebSocket] = set()
        """The accepted connections, and some just before their acceptance or after their end."""
        self.backplane = backplane
        self.encode_json = encode_json

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Deliver broadcast messages to the connections while the block runs.

        Raises:
            BackplaneError: the backplane is not available.
        """
        async with self.backplane.subscribe(BROADCAST, self._deliver, history=0):
            yield

    async def broadcast(self, message: Any) -> None:
        """Send a message to all connections in all processes; see `App.broadcast`."""
        prepared = PreparedMessage(message, self.encode_json)
        await deflate_for(self.active, prepared)
        await self.backplane.publish(BROADCAST, prepared, frozenset())

    def _deliver(self, entry: Entry) -> None:
        if not entry.order:
            offer_to_all(self.active, entry.message, "disconnect")
