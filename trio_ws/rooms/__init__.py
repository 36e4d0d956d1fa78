"""Rooms: connections that hear the same messages, who is there, and what was said lately.

`room` is what applications hold, `registry` finds it by its name, `seat` is one member's place in it, `session` what it
has while it has members, `callbacks` runs `on_join` and `on_leave`. `backplane` says how messages travel between those
who have a room open, `memory` does it within a process. `broadcast` needs no room.
"""

from trio_ws.rooms.backplane import Backplane, Entry, Log, Presence, Replay
from trio_ws.rooms.broadcast import broadcast
from trio_ws.rooms.member import Member
from trio_ws.rooms.memory import MemoryBackplane
from trio_ws.rooms.registry import Rooms
from trio_ws.rooms.room import Membership, Room

__all__ = [
    "Backplane",
    "Entry",
    "Log",
    "Member",
    "Membership",
    "MemoryBackplane",
    "Presence",
    "Replay",
    "Room",
    "Rooms",
    "broadcast",
]
