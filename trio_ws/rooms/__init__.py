"""Messages to many connections, with presence and broadcast.

Here: `room` (what applications hold), `registry`, members, callbacks, backplanes in memory and on Redis (`redis`).
Not here: connections; a room offers prepared messages to their channels.
Start with `room`, then `backplane`.
"""

from trio_ws.rooms.backplane import Backplane, Entry, Log, Presence, Replay
from trio_ws.rooms.blocking import BlockingRoomsClient, BlockingRoomWatch
from trio_ws.rooms.broadcast import broadcast
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
