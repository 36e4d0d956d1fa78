"""Messages to many connections, with presence and broadcast.

Here: `room` (what applications hold), `registry`, members, callbacks, backplanes in memory and on Redis (`redis`).
Not here: connections; a room offers prepared messages to their channels.
Start with `room`, then `backplane`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import Backplane, Entry, Log, Presence, Replay
    from trio_ws.rooms.blocking import BlockingRoomsClient, BlockingRoomWatch
    from trio_ws.rooms.broadcasting import broadcast
    from trio_ws.rooms.everywhere import RoomMessage
    from trio_ws.rooms.memory import MemoryBackplane
    from trio_ws.rooms.outside import BackplaneConnection, RoomsClient, connect_backplane
    from trio_ws.rooms.presence_watch import PresenceDiff
    from trio_ws.rooms.registry import Rooms
    from trio_ws.rooms.room import Member, Membership, Room
    from trio_ws.rooms.spread import SpreadBackplane
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

_NAMES = {
    "backplane": "Backplane Entry Log Presence Replay",
    "blocking": "BlockingRoomWatch BlockingRoomsClient",
    "broadcasting": "broadcast",
    "everywhere": "RoomMessage",
    "memory": "MemoryBackplane",
    "outside": "BackplaneConnection RoomsClient connect_backplane",
    "presence_watch": "PresenceDiff",
    "registry": "Rooms",
    "room": "Member Membership Room",
    "spread": "SpreadBackplane",
    "watch": "RoomWatch",
}
"""The names of each module, which is imported when one of them is used: many applications have no rooms."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"trio_ws.rooms.{_HOMES[name]}"), name)
