"""Everyone: an application's connections in this process, and what is said to all of them, in all processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.broadcast import deflate_for, offer_to_all
from trio_ws.rooms.topics import BROADCAST

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import Backplane, Entry
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["ConnectionManager"]


class ConnectionManager:
    """See the module.

    Args:
        backplane: carries messages to the other processes.
    """

    def __init__(self, backplane: Backplane) -> None:
        self.connections: set[WebSocket] = set()
        """Those that are accepted and have not ended, and some that are just before or after that."""
        self._backplane = backplane

    @asynccontextmanager
    async def hearing(self) -> AsyncGenerator[None, None]:
        """Hand what is said to the connections while the block runs."""
        async with self._backplane.subscribe(BROADCAST, self._deliver, history=0):
            yield

    async def tell(self, message: Any) -> None:
        """Say something to all; see `App.broadcast`."""
        prepared = PreparedMessage(message)
        await deflate_for(self.connections, prepared)
        await self._backplane.publish(BROADCAST, prepared, frozenset())

    def _deliver(self, entry: Entry) -> None:
        offer_to_all(self.connections, entry.message, "disconnect")
