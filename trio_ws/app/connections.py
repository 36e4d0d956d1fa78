"""An application's connections in this process, and messages to all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import trio

from trio_ws.app.revocations import Revocations
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.errors import BackplaneError
from trio_ws.rooms.broadcasting import deflate_for, offer_to_all
from trio_ws.rooms.revocation import Revocation
from trio_ws.rooms.topics import BROADCAST, REVOCATIONS

if TYPE_CHECKING:
    from trio_ws.connection.encoders import ToJSON
    from trio_ws.rooms.backplane import Backplane, Entry
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["ConnectionManager"]


_REVOKED_AT_ONCE: Final = 20
"""Revocations that are not carried out here yet: many more at once could pass the length of the stream unread."""


class ConnectionManager:
    """The connections of an application in this process.

    Args:
        backplane: carries messages to the other processes.
        encode_json: encodes messages that are neither text nor bytes.
    """

    def __init__(self, backplane: Backplane, encode_json: ToJSON) -> None:
        self.active: set[WebSocket] = set()
        """The accepted connections, and some just before their acceptance or after their end."""
        self.revocations: Revocations = Revocations()
        """The users of the connections."""
        self.backplane = backplane
        self.encode_json = encode_json
        self._revoking = trio.Semaphore(_REVOKED_AT_ONCE)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Deliver broadcast messages, and carry out revocations, while the block runs.

        Raises:
            BackplaneError: the backplane is not available.
        """
        revocations = self.revocations
        revocations.forget()
        async with (
            self.backplane.subscribe(BROADCAST, self._deliver, history=0),
            self.backplane.subscribe(REVOCATIONS, revocations.deliver, history=0, gap=revocations.on_gap),
        ):
            yield

    async def broadcast(self, message: Any) -> None:
        """Send a message to all connections in all processes; see `App.broadcast`."""
        prepared = PreparedMessage(message, self.encode_json)
        await deflate_for(self.active, prepared)
        await self.backplane.publish(BROADCAST, prepared, frozenset())

    async def revoke(self, user: object, code: int, reason: str) -> None:
        """Close the connections of a user in all processes; see `App.revoke`."""
        revocation = Revocation.of(user, code, reason)
        async with self._revoking:
            await self.backplane.publish(REVOCATIONS, revocation.message, frozenset())
            try:
                await self.backplane.sync(REVOCATIONS)
            except BackplaneError:
                pass  # it is in the stream

    def _deliver(self, entry: Entry) -> None:
        if not entry.order:
            offer_to_all(self.active, entry.message, "disconnect")
