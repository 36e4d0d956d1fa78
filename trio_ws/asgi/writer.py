"""Sending of whole messages under an ASGI server, each committed in one step."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, NoReturn

import trio

from trio_ws.asgi.deadline import ExpiryCheck
from trio_ws.codes import CloseCode
from trio_ws.connection.flow import FlowControl
from trio_ws.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.asgi.closing import ASGIClosing
    from trio_ws.asgi.sender import EventSender
    from trio_ws.connection.inbox import Inbox
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timers

__all__ = ["ASGIWriter"]

MAX_PING = 125
"""RFC 6455 5.5."""


class ASGIWriter:
    """The sending part of a connection.

    Args:
        sender: the queue of events.
        inbox: counts the work of the connection's tasks.
        closing: the end of the same connection.
        timers: runs the deadlines.
        send_timeout: seconds without progress of a full queue after which the connection is aborted.

    Attributes:
        sent: messages that were committed.
        message_time: when the last message was committed, by Trio's clock.
        log: None; the records of flow control have no connection.
    """

    log: ConnectionLog | None = None

    def __init__(
        self, sender: EventSender, inbox: Inbox, closing: ASGIClosing, timers: Timers, *, send_timeout: float
    ) -> None:
        self.sent: int = 0
        self.message_time: float = trio.current_time()
        self._sender = sender
        self._inbox = inbox
        self._closing = closing
        self._timers = timers
        self._streaming = False
        self._expiry = ExpiryCheck()
        self._flow = FlowControl(sender, self, timers, send_timeout)

    # --- messages ------------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then commit one message in one step."""
        await self._room()
        self._commit(_content(data))

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Gather one message and send it whole: ASGI has no fragments."""
        await self._room()
        self._streaming = True
        try:
            parts: list[str | bytes] = []
            async for chunk in chunks:
                await self._room(within_message=True)
                parts.append(_content(chunk))
                if isinstance(parts[-1], str) != isinstance(parts[0], str):
                    raise TypeError("the fragments of a message are all str, or all bytes")
        finally:
            self._streaming = False
            self._closing.wake_changed()
            self._flow.on_moved()
        await self._room()
        self._commit(_joined(parts))

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return None: the ASGI server makes the frames."""
        return None

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit a prepared message if there is room; return False if there is none."""
        if not self._closing.open:
            return True
        if self._streaming or self._sender.full:
            return False
        self._commit(message.data, message.size)
        return True

    def _commit(self, data: str | bytes, size: int | None = None) -> None:
        if isinstance(data, str):
            self._sender.put({"type": "websocket.send", "text": data}, len(data.encode()) if size is None else size)
        else:
            self._sender.put({"type": "websocket.send", "bytes": data}, len(data))
        self.sent += 1
        self.message_time = trio.current_time()
        self._flow.watch()

    # --- flow control --------------------------------------------------------------------------------------------

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `offer` may succeed again."""
        self._flow.add_callback(callback)

    def call_writable_soon(self) -> None:
        """Call the callbacks of `when_writable` in the next turn if there is room."""
        self._flow.call_soon()

    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Cancel `when_writable` if `callback` was not called yet."""
        self._flow.remove_callback(callback)

    async def _room(self, *, within_message: bool = False) -> None:
        """Execute a checkpoint, then wait until a message may be committed.

        Args:
            within_message: True for the task that sends a stream, which does not wait for its end.
        """
        await self._inbox.step()
        while True:
            if not self._closing.open:
                raise self._closing.raised_end(while_sending=True)  # a variable would be a cycle of exception and frame
            if self._sender.full:
                await self._flow.wait()
            elif self._streaming and not within_message:
                await self._closing.wait_changed()
            else:
                return

    @property
    def accepts(self) -> bool:
        """True unless a stream is unfinished, or the connection has ended."""
        return self._closing.open and not self._streaming

    def measure_progress(self) -> EventProgress:
        """Begin to measure what the server takes."""
        self._expiry.reset()
        return EventProgress(self._sender)

    def on_progress(self) -> None:
        """Act on the sender's progress or failure."""
        self._expiry.reset()
        self._closing.on_progress()
        self._flow.on_moved()

    def on_stalled(self) -> None:
        """Abort the connection: the server took nothing for `send_timeout`."""
        if self._expiry.is_early(0):
            self._timers.call_later(0, self._flow.check)
        else:
            self._closing.abort(CloseCode.TRY_AGAIN_LATER, "peer does not read")

    def stop(self) -> None:
        """Stop the send timeout: the connection is over."""
        self._flow.stop()

    # --- pings ---------------------------------------------------------------------------------------------------

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Raise `LocalProtocolError`: ASGI has no pings."""
        await self._refuse_ping(payload)

    async def pong(self, payload: bytes) -> None:
        """Raise `LocalProtocolError`: ASGI has no pongs."""
        await self._refuse_ping(payload)

    async def _refuse_ping(self, payload: bytes | None) -> NoReturn:
        await self._room(within_message=True)
        if not isinstance(payload, bytes | bytearray | memoryview | NoneType):
            raise TypeError(f"the payload of a ping is bytes, not {type(payload).__name__}")
        if payload is not None and len(payload) > MAX_PING:
            raise ValueError(f"a ping carries at most {MAX_PING} bytes, not {len(payload)}")
        raise LocalProtocolError(
            "ASGI applications cannot send pings: let hypercorn send them, with its websocket_ping_interval"
        )


class EventProgress:
    """The progress of an ASGI server with the queue.

    Args:
        sender: the queue.
    """

    __slots__ = ("_began", "_sender")

    def __init__(self, sender: EventSender) -> None:
        self._began = trio.current_time()
        self._sender = sender

    def look(self, now: float) -> float:
        """Return the time of the last progress, or of the creation before that."""
        return max(self._began, self._sender.progress_time)

    def refresh(self) -> None:
        """Do nothing: the time is exact."""


def _content(data: object) -> str | bytes:
    """Return a copy of mutable content.

    Raises:
        TypeError: the content is not a message.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(
        f"a message is str, bytes, bytearray or memoryview, not {type(data).__name__}: send_json() sends values"
    )


def _joined(parts: list[str | bytes]) -> str | bytes:
    """Return the message of its parts; an empty binary message if there are none."""
    if parts and isinstance(parts[0], str):
        return "".join(part for part in parts if isinstance(part, str))
    return b"".join(part for part in parts if isinstance(part, bytes))
