"""The queue of received messages, bounded in number and bytes, for one reader at a time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio
from trio.lowlevel import checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled

from trio_ws.native.choice import InboxState
from trio_ws.protocol.items import BytesMessage, TextMessage
from trio_ws.runtime.wakeup import RESUME

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trio.lowlevel import RaiseCancelT, Task

__all__ = ["STEP_BYTES", "YIELD_EVERY", "Chunk", "Inbox", "Received", "busy_receiving", "join_parts"]

YIELD_EVERY: Final = 64
"""Messages that one task may receive or send in a row without a checkpoint that lets other tasks run."""
STEP_BYTES: Final = 64 * 1024
"""Bytes that are inflated or decoded for one task in a row; each `STEP_BYTES // YIELD_EVERY` count as a message."""

Chunk: TypeAlias = TextMessage | BytesMessage
"""A part of a message that is received as a stream."""
Received: TypeAlias = str | bytes | Chunk


def busy_receiving() -> trio.BusyResourceError:
    """Return the error of a task that receives while another one does."""
    return trio.BusyResourceError("another task is receiving from this connection")


class Inbox(InboxState):
    """A queue of received messages, and the one task that may wait for it.

    Args:
        max_items: messages, from which on it is full.
        max_bytes: bytes, from which on it is full.

    Attributes:
        items: the messages, oldest first. Code that appends adds to `size`, and calls `wake` if there is a `reader`.
        size: bytes that came in since it was last empty, text as UTF-8: no less than it holds. Counted like this,
            taking an item costs nothing, and a full inbox must become empty anyway before reading goes on.
        reader: the task that waits, None if there is none. Code that waits without `wait` passes the inbox to Trio.
        streak: messages that were received or sent since the connection's tasks last let other tasks run.
        task: of the compiled core: the last task that received or sent; it is asked first whether it runs.
        trap: of the compiled core: what a waiting task yields to Trio; None before the first wait, and while
            few messages have come.
    """

    __slots__ = ()

    def __init__(self, max_items: int, max_bytes: int) -> None:
        self.items: list[Received] = []  # a deque would take 600 bytes in each idle connection
        self.size: int = 0
        self.max_items: int = min(max_items, sys.maxsize)  # the core's numbers have 63 bits
        self.max_bytes: int = min(max_bytes, sys.maxsize)
        self.reader: Task | None = None
        self.streak: int = 0
        self.task: object = None
        self.trap: object = None

    @property
    def full(self) -> bool:
        """True if reading must pause."""
        return len(self.items) >= self.max_items or self.size >= self.max_bytes

    def put(self, item: Received, size: int) -> None:
        """Append `item`, which has `size` bytes, and wake the reader. The caller keeps the bounds."""
        self.items.append(item)
        self.size += size
        self.wake()

    def take(self) -> Received:
        """Remove and return the oldest item, which there must be."""
        item = self.items.pop(0)
        if not self.items:
            self.size = 0
        return item

    def wait(self) -> Coroutine[Any, Any, Any]:
        """Wait for the next `put` or `wake`; await it at once. Cancellation takes nothing out.

        Raises:
            trio.BusyResourceError: another task waits already.
        """
        if self.reader is not None:
            raise busy_receiving()
        self.reader = current_task()
        # Returned and not awaited: a coroutine of its own would add a frame to each message.
        return wait_task_rescheduled(self)  # noqa: ASYNC105

    def __call__(self, _: RaiseCancelT) -> trio.lowlevel.Abort:
        """Forget the waiting task: Trio calls this when it is cancelled.

        A bound method would be a further object in each idle connection, and for each message.
        """
        self.reader = None
        return trio.lowlevel.Abort.SUCCEEDED

    def release(self) -> None:
        """Forget what was kept for further calls: it refers to this object."""
        self.task = None
        self.trap = None

    def wake(self) -> bool:
        """Wake the waiting task; return True if there is one."""
        reader = self.reader
        if reader is None:
            return False
        self.reader = None
        reschedule(reader, RESUME)
        return True

    def step(self) -> Coroutine[Any, Any, None]:
        """Return a checkpoint that lets other tasks run now and then; await it at once."""
        # Returned and not awaited: a coroutine of its own would add a frame to each message.
        self.streak += 1
        if self.streak < YIELD_EVERY:
            return checkpoint_if_cancelled()  # noqa: ASYNC105
        return self.let_others_run()

    async def let_others_run(self) -> None:
        """Be a full checkpoint."""
        self.streak = 0
        await trio.lowlevel.checkpoint()

    def count_work(self, size: int, messages: int = 0) -> None:
        """Count work for the peer against the current task's share of the loop.

        Args:
            size: bytes that were parsed, inflated or deflated.
            messages: which these bytes are. Each counts once more when it is received, and so covers its share of them.
        """
        self.streak += max(0, size * YIELD_EVERY // STEP_BYTES - messages)


def join_parts(parts: list[Chunk]) -> str | bytes:
    """Return the whole message of its parts."""
    if isinstance(parts[0], TextMessage):
        return "".join(part.data for part in parts if isinstance(part, TextMessage))
    return b"".join(part.data for part in parts if isinstance(part, BytesMessage))
