"""The place of a room, which all of its parts share, and which moves with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import attrs

from trio_ws.errors import BackplaneUnavailable

if TYPE_CHECKING:
    from trio_ws.rooms.interfaces import RoomRegistry

__all__ = ["Place"]

logger: Final = logging.getLogger("trio_ws")


@attrs.define(eq=False)
class Place:
    """A room's registry and its topic."""

    registry: RoomRegistry
    """Has the backplane; a room without members may get another."""
    topic: str
    """The room's name for the backplane."""

    async def catch_up(self, room: object) -> None:
        """Wait for entries that a new member may have seen in another process; log that the backplane is away.

        Args:
            room: the room, for the log.
        """
        try:
            await self.registry.backplane.sync(self.topic)
        except BackplaneUnavailable as error:
            logger.warning("%r cannot determine which messages a member has missed: %s", room, error)
