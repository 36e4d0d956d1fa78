"""Receiving of whole messages under an ASGI server, through the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import end_for

if TYPE_CHECKING:
    from trio_ws.asgi.closing import ASGIClosing
    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.connection.channel import Iteration
    from trio_ws.connection.inbox import Inbox

__all__ = ["ASGIReader"]


class ASGIReader:
    """The receiving part of a connection.

    Args:
        inbox: takes the messages.
        receiver: the source of events, resumed when the inbox is empty.
        closing: the end of the same connection.
        max_message_size: bytes of a message; a larger one closes the connection.

    Attributes:
        inbox: the messages that wait to be received.
        paused: no messages are taken in until the inbox is empty.
        reads: a receiving method was called.
        received: messages that arrived.
        message_time: when the last message arrived, by Trio's clock.
    """

    def __init__(self, inbox: Inbox, receiver: EventReceiver, closing: ASGIClosing, *, max_message_size: int) -> None:
        self.inbox: Inbox = inbox
        self.paused: bool = False
        self.reads: bool = False
        self.received: int = 0
        self.message_time: float = trio.current_time()
        self._receiver = receiver
        self._closing = closing
        self._max_message_size = max_message_size

    # --- the event receiver's calls ------------------------------------------------------------------------------

    @property
    def wants_messages(self) -> bool:
        """Whether the next message may be taken in: a closed connection drops it."""
        if not self._closing.open:
            return True
        if self.inbox.full:
            self.paused = True
        return not self.paused

    def on_message(self, content: str | bytes) -> None:
        """Take in a message of an open connection; close it if the message is too large."""
        if not self._closing.open:
            return
        size = len(content) if isinstance(content, bytes) or content.isascii() else len(content.encode())
        if size > self._max_message_size:
            reason = f"message has more than {self._max_message_size} bytes"
            self._closing.retire(CloseCode.MESSAGE_TOO_BIG, reason)
            return
        self.received += 1
        self.message_time = trio.current_time()
        self.inbox.put(content, size)

    # --- messages ------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """True if messages wait to be received."""
        return bool(self.inbox.items)

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message, or raise the end of the connection."""
        self.reads = True
        inbox = self.inbox
        while True:
            if inbox.items:
                await inbox.step()
                if inbox.items:
                    return self._take()
            elif not self._closing.open:
                await inbox.step()
                raise end_for(iteration, self._closing.raised_end())
            else:
                await inbox.wait()

    def _take(self) -> str | bytes:
        item = self.inbox.take()
        assert isinstance(item, (str, bytes))  # ASGI has no parts of messages
        if self.paused and not self.inbox.items:
            self.paused = False
            self._receiver.resume()
        if self._closing.notified and self._closing.observer is not None:
            self._closing.observer.on_read_after_end()
        return item

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next message as one part: ASGI has no fragments."""
        if not first:
            await self.inbox.step()
            return b"", True
        return await self.receive(), True

    def count_work(self, size: int) -> None:
        """Count `size` bytes of work for the peer against the current task's share of the loop."""
        self.inbox.count_work(size)
