"""Inbox: messages that have arrived and wait for the handler, bounded in number and bytes, for one reader at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import trio
from trio.lowlevel import current_task, reschedule, wait_task_rescheduled
from wsproto.events import BytesMessage, TextMessage

from trio_ws.runtime.wakeup import RESUME

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trio.lowlevel import RaiseCancelT, Task

__all__ = ["Chunk", "Inbox", "Received", "joined"]

Chunk: TypeAlias = TextMessage | BytesMessage
"""A part of a message that is received as a stream."""
Received: TypeAlias = str | bytes | Chunk


class Inbox:
    """A queue of received messages and the one task that may wait for it.

    Args:
        max_items: messages, above which it is full.
        max_bytes: bytes, above which it is full.

    Attributes:
        items: what waits, the oldest first. Who appends adds to `size`, and calls `wake` if there is a `reader`.
        size: bytes that came in since it was last empty, text as UTF-8: no less than it holds. Counted like this,
            taking an item costs nothing; and once it was full, nobody reads on before it is empty anyway.
        reader: the task that waits, None if there is none. Who waits without `wait` gives the inbox itself to Trio.
    """

    __slots__ = ("items", "max_bytes", "max_items", "reader", "size")

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.items: list[Received] = []  # a deque would take 600 bytes in each idle connection
        self.size: int = 0
        self.max_items: int = max_items
        self.max_bytes: int = max_bytes
        self.reader: Task | None = None

    @property
    def full(self) -> bool:
        """Whether nothing more is wanted for now."""
        return len(self.items) >= self.max_items or self.size >= self.max_bytes

    def put(self, item: Received, size: int) -> None:
        """Append `item`, which has `size` bytes, and wake the reader. The bounds are the caller's to keep."""
        self.items.append(item)
        self.size += size
        self.wake()

    def take(self) -> Received:
        """Remove and return the oldest item. There must be one."""
        item = self.items.pop(0)
        if not self.items:
            self.size = 0
        return item

    def wait(self) -> Coroutine[Any, Any, Any]:
        """Wait for the next `put` or `wake`; to be awaited at once. Cancellation takes nothing out.

        Raises:
            trio.BusyResourceError: another task waits already.
        """
        if self.reader is not None:
            raise trio.BusyResourceError("another task is receiving from this connection")
        self.reader = current_task()
        # Returned and not awaited: a coroutine of its own would only be passed through at each message.
        return wait_task_rescheduled(self)  # noqa: ASYNC105

    def __call__(self, _: RaiseCancelT) -> trio.lowlevel.Abort:
        """Let go of the task that waits, which is cancelled: it is what Trio calls then.

        A method with a name would be a further object in each idle connection, and for each message.
        """
        self.reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> bool:
        """Let the waiting task look at the state again; return whether there is one."""
        reader = self.reader
        if reader is None:
            return False
        self.reader = None
        reschedule(reader, RESUME)
        return True


def joined(parts: list[Chunk]) -> str | bytes:
    """Return the whole message of its parts."""
    if isinstance(parts[0], TextMessage):
        return "".join(part.data for part in parts if isinstance(part, TextMessage))
    return b"".join(part.data for part in parts if isinstance(part, BytesMessage))
