"""Messages to many connections, with presence and broadcast.

Here: `room` (what applications hold), `registry`, members, callbacks, backplanes in memory and on Redis (`redis`).
Not here: connections; a room offers prepared messages to their channels.
Start with `room`, then `backplane`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from trio_ws.rooms.backplane import Backplane, Entry, Log, Presence, Replay
from trio_ws.rooms.broadcast import broadcast
from trio_ws.rooms.everywhere import RoomMessage
from trio_ws.rooms.memory import MemoryBackplane
from trio_ws.rooms.presence_watch import PresenceDiff
from trio_ws.rooms.registry import Rooms
from trio_ws.rooms.room import Member, Membership, Room
from trio_ws.rooms.spread import SpreadBackplane

if TYPE_CHECKING:
    from trio_ws.rooms.blocking import BlockingRoomsClient, BlockingRoomWatch
    from trio_ws.rooms.outside import BackplaneConnection, RoomsClient, connect_backplane
    from trio_ws.rooms.watch import RoomWatch

__all__ = [
    "Backplane",
    "BackplaneConnection",
    "BlockingRoomWatch",
    "BlockingRoomsClient",
    "Entry",
    "Log",
    "Member",
    "Membership",
    "MemoryBackplane",
    "Presence",
    "PresenceDiff",
    "Replay",
    "Room",
    "RoomMessage",
    "RoomWatch",
    "Rooms",
    "RoomsClient",
    "SpreadBackplane",
    "broadcast",
    "connect_backplane",
]

_FROM_OUTSIDE = {
    "BackplaneConnection": "outside",
    "BlockingRoomWatch": "blocking",
    "BlockingRoomsClient": "blocking",
    "RoomWatch": "watch",
    "RoomsClient": "outside",
    "connect_backplane": "outside",
}
"""Modules of what applications do not need, imported when they are used."""


def __getattr__(name: str) -> Any:
    if name not in _FROM_OUTSIDE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"trio_ws.rooms.{_FROM_OUTSIDE[name]}"), name)
