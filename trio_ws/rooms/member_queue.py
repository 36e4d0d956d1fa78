"""The queue of messages that wait for a slow member.

Messages wait as they are, not as frames: one that is dropped has changed no compressor and torn no frame, and one that
waits for many members is held once. The outbox stays free for control frames and for messages that the member's own
handler sends, which may therefore overtake messages that wait here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, assert_never

from trio_ws.codes import CloseCode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trio_ws.connection.channel import Channel
    from trio_ws.connection.prepared import PreparedMessage

__all__ = ["ENTRY_BYTES", "SHARE_BYTES", "TOO_SLOW", "MemberQueue", "Policy"]

Policy: TypeAlias = Literal["disconnect", "drop_oldest", "drop_newest"]
"""The action for a member for which too much waits. "disconnect": close its connection with 1013; "drop_oldest": drop
the messages that have waited longest; "drop_newest": drop new messages."""

TOO_SLOW: Final = "too slow for what is sent to all"
"""The reason of the close frame."""
SHARE_BYTES: Final = 64 * 1024
"""Bytes that one member is offered in one step; the rest follows in the next turns, after other tasks."""
ENTRY_BYTES: Final = 256
"""The cost of a message that waits beside its bytes, about, so that a flood of empty messages is bounded too."""


class MemberQueue:
    """A member's messages, from the join to the leave.

    Args:
        member_id: the member's id.
        channel: its connection.
        policy: the action when too much waits.
        backlog: bytes from which on it is too much.
    """

    __slots__ = ("_limit", "_policy", "_size", "backlog", "channel", "join_count", "member_id")

    def __init__(self, member_id: str, channel: Channel, policy: Policy, backlog: int) -> None:
        self.member_id: str = member_id
        self.channel: Channel = channel
        self.join_count: int = 1
        """How often the connection has joined and not left."""
        self.backlog: deque[PreparedMessage] = deque()
        """Messages that wait for room in the outbox, oldest first."""
        self._size = 0
        self._limit = backlog
        self._policy: Policy = policy

    def replay(self, history: Iterable[PreparedMessage]) -> None:
        """Send earlier messages to a new member; they may exceed the limit."""
        share = SHARE_BYTES
        for message in history:
            if self.backlog or share <= 0 or not self.channel.writer.offer(message):
                self._append(message)
            else:
                share -= message.size + ENTRY_BYTES
        if self.backlog and share <= 0:
            self.channel.writer.call_writable_soon()
        self._limit += self._size

    def enqueue(self, message: PreparedMessage) -> None:
        """Let a message wait for room in the connection, behind others."""
        if self.channel.close_info is not None:
            self.clear()
        elif self._size < self._limit:
            self._append(message)
        else:
            self._overflow(message)

    def disconnect(self, code: int, reason: str) -> None:
        """Close the connection, without the messages that wait here."""
        self.clear()
        self.channel.closing.dismiss(code, reason)

    def _overflow(self, message: PreparedMessage) -> None:
        match self._policy:
            case "disconnect":
                self.disconnect(CloseCode.TRY_AGAIN_LATER, TOO_SLOW)
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
            self.channel.writer.when_writable(self._on_writable)
        self.backlog.append(message)
        self._size += message.size + ENTRY_BYTES

    def _pop(self) -> None:
        self._size -= self.backlog.popleft().size + ENTRY_BYTES

    def _on_writable(self) -> None:
        """Send messages, as the connection has room again."""
        share = SHARE_BYTES
        while self.backlog and share > 0 and self.channel.writer.offer(self.backlog[0]):
            share -= self.backlog[0].size + ENTRY_BYTES
            self._pop()
        if self.backlog:
            self.channel.writer.when_writable(self._on_writable)
            if share <= 0:
                self.channel.writer.call_writable_soon()

    def clear(self) -> None:
        """Drop all messages that wait."""
        self.channel.writer.forget_writable(self._on_writable)
        self.backlog.clear()
        self._size = 0
