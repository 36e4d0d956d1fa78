"""The place of a room, which all of its parts share, and which moves with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from trio_ws.rooms.interfaces import RoomRegistry

__all__ = ["Place"]


@attrs.define(eq=False)
class Place:
    """A room's registry and its topic."""

    registry: RoomRegistry
    """Has the backplane; a room without members may get another."""
    topic: str
    """The room's name for the backplane."""
