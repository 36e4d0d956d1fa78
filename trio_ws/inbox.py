"""Inbox: messages that have arrived and wait for the handler, bounded in number and bytes, for one reader at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import trio
from wsproto.events import BytesMessage, TextMessage

if TYPE_CHECKING:
    from trio.lowlevel import RaiseCancelT, Task

__all__ = ["Chunk", "Inbox", "Received"]

Chunk: TypeAlias = TextMessage | BytesMessage
"""A part of a message that is received as a stream."""
Received: TypeAlias = str | bytes | Chunk

_UTF8_MOST = 4
"""Bytes that one character takes at most (RFC 3629)."""


def weight(item: Received) -> int:
    """Return about how many bytes `item` holds: exact for bytes and ASCII, an upper bound for other text."""
    content = item if isinstance(item, (str, bytes)) else item.data
    if isinstance(content, str) and not content.isascii():
        return len(content) * _UTF8_MOST
    return len(content)


class Inbox:
    """A queue of received messages and the one task that may wait for it.

    Args:
        max_items: messages, above which it is full.
        max_bytes: bytes, above which it is full.
    """

    __slots__ = ("_reader", "items", "max_bytes", "max_items", "size")

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.items: deque[Received] = deque()
        self.size: int = 0
        """Bytes that `items` hold, by `weight`."""
        self.max_items: int = max_items
        self.max_bytes: int = max_bytes
        self._reader: Task | None = None

    @property
    def full(self) -> bool:
        """Whether nothing more is wanted for now."""
        return len(self.items) >= self.max_items or self.size >= self.max_bytes

    def put(self, item: Received) -> None:
        """Append `item` and wake the reader. The bounds are the caller's to keep."""
        self.items.append(item)
        self.size += weight(item)
        if self._reader is not None:
            self.wake()

    def take(self) -> Received:
        """Remove and return the oldest item. There must be one."""
        item = self.items.popleft()
        self.size -= weight(item)
        return item

    def clear(self) -> None:
        """Drop everything."""
        self.items.clear()
        self.size = 0

    async def wait(self) -> None:
        """Wait for the next `put` or `wake`. Cancellation takes nothing out.

        Raises:
            trio.BusyResourceError: another task waits already.
        """
        if self._reader is not None:
            raise trio.BusyResourceError("another task is receiving from this connection")
        self._reader = trio.lowlevel.current_task()

        def abort(_: RaiseCancelT) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self) -> bool:
        """Let the waiting task look at the state again; return whether there is one."""
        if self._reader is None:
            return False
        reader, self._reader = self._reader, None
        trio.lowlevel.reschedule(reader)
        return True
