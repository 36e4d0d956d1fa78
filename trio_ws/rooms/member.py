"""Seat: one member's place in a room, with the messages that wait because its connection has no room for them.

Messages wait here as they are, not as frames: one that is dropped has moved no compressor and torn no frame, and one
that waits for many members is held once. The outbox stays free for control frames and for what the member's own handler
sends, which may therefore overtake messages that wait here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, assert_never

import attrs

from trio_ws.codes import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trio_ws.connection.channel import Channel
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.room import Room
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Member", "MemberQueue", "Policy"]

Policy: TypeAlias = Literal["disconnect", "drop_oldest", "drop_newest"]
"""What becomes of a member for which too much waits. "disconnect": its connection ends with 1013; "drop_oldest": it
misses what has waited longest; "drop_newest": it misses what comes."""

TOO_SLOW: Final = "too slow for what is sent to all"
"""The reason of the close frame."""
SHARE_BYTES: Final = 64 * 1024
"""What one member is offered in one step of what waits for it: the rest comes in the next turns, others in between."""
ENTRY_BYTES: Final = 256
"""What a message that waits costs beside its bytes, about: a flood of empty messages is bounded too."""


@attrs.frozen(eq=False)
class Member:
    """A connection in a room."""

    websocket: WebSocket
    info: Mapping[str, Any]
    """What it was joined with."""
    room: Room = attrs.field(repr=False)
    id: str
    """Names it among all members of all rooms, in all processes; a connection that leaves and joins gets another."""


class MemberQueue:
    """A member's place, from the join to the leave.

    Args:
        member: whose it is.
        channel: its connection.
        policy: what to do when too much waits.
        backlog: bytes from which on it is too much.
    """

    __slots__ = ("_limit", "_policy", "_size", "backlog", "channel", "depth", "member")

    def __init__(self, member: Member, channel: Channel, policy: Policy, backlog: int) -> None:
        self.member: Member = member
        self.channel: Channel = channel
        self.depth: int = 1
        """How often it has joined and not left."""
        self.backlog: deque[PreparedMessage] = deque()
        """What waits for room in the outbox, oldest first."""
        self._size = 0
        self._limit = backlog
        self._policy: Policy = policy

    def hand(self, history: Iterable[PreparedMessage]) -> None:
        """Hand the newcomer what was said before. It is no fault of its own if that is more than may wait."""
        share = SHARE_BYTES
        for message in history:
            if self.backlog or share <= 0 or not self.channel.writer.offer(message):
                self._append(message)
            else:
                share -= message.size + ENTRY_BYTES
        if self.backlog and share <= 0:
            self.channel.writer.call_writable_soon()
        self._limit += self._size

    def keep(self, message: PreparedMessage) -> None:
        """Let a message wait that the connection has no room for, or that comes behind others that wait."""
        if self.channel.close_info is not None:
            self.clear()
        elif self._size < self._limit:
            self._append(message)
        else:
            self._overflow(message)

    def _overflow(self, message: PreparedMessage) -> None:
        match self._policy:
            case "disconnect":
                self.clear()
                self.channel.closing.dismiss(CloseCode.TRY_AGAIN_LATER, TOO_SLOW)
            case "drop_oldest":
                while self._size >= self._limit:
                    self._pop()
                self._append(message)
            case "drop_newest":
                pass
            case _:
                assert_never(self._policy)

    def _append(self, message: PreparedMessage) -> None:
        if not self.backlog:
            self.channel.writer.when_writable(self._send_on)
        self.backlog.append(message)
        self._size += message.size + ENTRY_BYTES

    def _pop(self) -> None:
        self._size -= self.backlog.popleft().size + ENTRY_BYTES

    def _send_on(self) -> None:
        """The connection has room again."""
        share = SHARE_BYTES
        while self.backlog and share > 0 and self.channel.writer.offer(self.backlog[0]):
            share -= self.backlog[0].size + ENTRY_BYTES
            self._pop()
        if self.backlog:
            self.channel.writer.when_writable(self._send_on)
            if share <= 0:
                self.channel.writer.call_writable_soon()

    def clear(self) -> None:
        """Drop what waits."""
        self.channel.writer.forget_writable(self._send_on)
        self.backlog.clear()
        self._size = 0
