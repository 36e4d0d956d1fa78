"""An open WebSocket whose frames an ASGI server reads and writes."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, NoReturn

import trio

from trio_ws.asgi.closing import ASGIClosing
from trio_ws.asgi.flow_control import ASGIFlowControl, ExpiryCheck
from trio_ws.codes import CloseCode
from trio_ws.connection.channel import Channel, end_for
from trio_ws.connection.inbox import Inbox
from trio_ws.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.asgi.sender import EventSender
    from trio_ws.config import Limits, Timeouts
    from trio_ws.connection.channel import ConnectionObserver, Iteration
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.protocol.endpoint import CloseInfo
    from trio_ws.runtime.timers import Timers

__all__ = ["ASGIConnection"]

MAX_PING = 125
"""RFC 6455 5.5."""


class ASGIConnection(Channel):
    """One open connection of an ASGI server, with whole messages and one end.

    It keeps the contract of `Channel` within the limits of ASGI: no pings, no fragments, and only a close code at the
    end.

    Args:
        receiver: the source of events.
        sender: the queue of events to send.
        limits: bounds of the inbox, the outbox and a message.
        timeouts: of sending, closing, idleness and lifetime.
        timers: the timers of the connection.
    """

    def __init__(
        self, receiver: EventReceiver, sender: EventSender, *, limits: Limits, timeouts: Timeouts, timers: Timers
    ) -> None:
        self.watcher: ConnectionObserver | None = None
        self.reads = False
        self.callbacks = 0
        self.received: int = 0
        """Messages that have arrived."""
        self.sent: int = 0
        """Messages that were committed."""
        self._receiver = receiver
        self._sender = sender
        self._limits = limits
        self._timers = timers
        self._idle_timeout = timeouts.idle_timeout
        self._inbox = Inbox(limits.inbox_messages, limits.inbox_bytes)
        self._paused = False  # until the inbox is empty
        self._closing = ASGIClosing(
            self,
            self._inbox,
            receiver,
            sender,
            timers,
            close_timeout=timeouts.close_timeout,
            on_gone=self._cancel_timers,
        )
        self._flow = ASGIFlowControl(sender, self._closing, timers, send_timeout=timeouts.send_timeout)
        self._message_time = trio.current_time()
        self._idle_expiry = ExpiryCheck()
        self._idle_timer = timers.after(self._idle_timeout, self._check_idle)
        self._lifetime_timer = timers.after(timeouts.max_lifetime, self._end_lifetime)
        sender.high_water = limits.outbox_bytes
        sender.on_progress = self._on_progress

    # --- events of the server (EventTarget) ----------------------------------------------------------------------

    @property
    def wants_messages(self) -> bool:
        """Whether the next message may be taken in: a closed connection drops it."""
        if not self._closing.open:
            return True
        if self._inbox.full:
            self._paused = True
        return not self._paused

    def on_message(self, content: str | bytes) -> None:
        """Take in a message of an open connection; close it if the message is too large."""
        if not self._closing.open:
            return
        size = len(content) if isinstance(content, bytes) or content.isascii() else len(content.encode())
        if size > self._limits.max_message_size:
            reason = f"message has more than {self._limits.max_message_size} bytes"
            self._closing.close(CloseCode.MESSAGE_TOO_BIG, reason)
            return
        self.received += 1
        self._message_time = trio.current_time()
        self._inbox.put(content, size)

    def on_disconnect(self, info: CloseInfo) -> None:
        """End the connection; messages that have arrived can still be received."""
        self._closing.on_disconnect(info)

    def on_receive_cancelled(self) -> None:
        """Expect no further events, because the ASGI server cancelled the call."""
        self._closing.on_receive_cancelled()

    def _on_progress(self) -> None:
        self._closing.on_progress()
        self._flow.call_if_writable()

    # --- receiving -----------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the inbox has messages."""
        return bool(self._inbox.items)

    @property
    def inbox_messages(self) -> int:
        """Messages in the inbox, for statistics."""
        return len(self._inbox.items)

    @property
    def outbox_bytes(self) -> int:
        """Bytes that the server has not taken, for statistics."""
        return self._sender.size

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message, or raise the end of the connection."""
        self.reads = True
        inbox = self._inbox
        while True:
            if inbox.items:
                await self._flow.step()
                if inbox.items:
                    return self._take()
            elif not self._closing.open:
                await self._flow.step()
                raise end_for(iteration, self._closing.disconnected())
            else:
                await inbox.wait()

    def _take(self) -> str | bytes:
        item = self._inbox.take()
        assert isinstance(item, (str, bytes))  # ASGI has no parts of messages
        if self._paused and not self._inbox.items:
            self._paused = False
            self._receiver.resume()
        if self._closing.notified and self.watcher is not None:
            self.watcher.reading()
        return item

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next message as one part: ASGI has no fragments."""
        if not first:
            await self._flow.step()
            return b"", True
        return await self.receive(), True

    # --- sending -------------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then commit one message in one step."""
        await self._flow.wait_for_room()
        self._commit(_content(data))

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Gather one message and send it whole: ASGI has no fragments."""
        await self._flow.wait_for_room()
        self._flow.begin_stream()
        try:
            parts: list[str | bytes] = []
            async for chunk in chunks:
                await self._flow.wait_for_room(within_message=True)
                parts.append(_content(chunk))
                if isinstance(parts[-1], str) != isinstance(parts[0], str):
                    raise TypeError("the fragments of a message are all str, or all bytes")
        finally:
            self._flow.end_stream()
        await self._flow.wait_for_room()
        self._commit(_joined(parts))

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit a prepared message if there is room now; return False if there is not."""
        if not self._closing.open:
            return True
        if self._flow.blocked:
            return False
        self._commit(message.data, message.size)
        return True

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `offer` may succeed again."""
        self._flow.add_callback(callback)

    def call_writable_soon(self) -> None:
        """Call the callbacks of `when_writable` in the next turn, if there is room."""
        self._flow.schedule_callbacks()

    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Remove a callback of `when_writable`."""
        self._flow.remove_callback(callback)

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Raise `LocalProtocolError`: ASGI has no pings."""
        await self._refuse_ping(payload)

    async def pong(self, payload: bytes) -> None:
        """Raise `LocalProtocolError`: ASGI has no pongs."""
        await self._refuse_ping(payload)

    async def _refuse_ping(self, payload: bytes | None) -> NoReturn:
        await self._flow.wait_for_room(within_message=True)
        if not isinstance(payload, bytes | bytearray | memoryview | NoneType):
            raise TypeError(f"the payload of a ping is bytes, not {type(payload).__name__}")
        if payload is not None and len(payload) > MAX_PING:
            raise ValueError(f"a ping carries at most {MAX_PING} bytes, not {len(payload)}")
        raise LocalProtocolError(
            "ASGI applications cannot send pings: let hypercorn send them, with its websocket_ping_interval"
        )

    def _commit(self, data: str | bytes, size: int | None = None) -> None:
        if isinstance(data, str):
            self._sender.put({"type": "websocket.send", "text": data}, len(data.encode()) if size is None else size)
        else:
            self._sender.put({"type": "websocket.send", "bytes": data}, len(data))
        self.sent += 1
        self._message_time = trio.current_time()
        self._flow.on_commit()

    def worked(self, size: int) -> None:
        """Count `size` bytes of work that was done for the peer within the current task's step."""
        self._flow.count_work(size)

    # --- closing -------------------------------------------------------------------------------------------------

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; None while it is open."""
        return self._closing.info

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame unless one has passed; wait for the peer's end, at most `close_timeout`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._closing.begin(code, reason)
        await self._closing.wait_gone()

    def begin_close(self, code: int, reason: str) -> None:
        """Send a close frame unless one has passed, without waiting."""
        self._closing.begin(code, reason)

    def drain(self, code: int, reason: str) -> None:
        """Close an open connection for a graceful shutdown; its users have a grace."""
        self._closing.drain(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Close an open connection without waiting for the peer's end."""
        self._closing.abort(code, reason)

    def dismiss(self, code: int, reason: str) -> None:
        """Close an open connection; the server has `close_timeout` to take the close frame."""
        self._closing.close(code, reason)

    async def wait_ended(self) -> None:
        """Execute a checkpoint: `close_info` is set as soon as `begin_close` returns."""
        await trio.lowlevel.checkpoint_if_cancelled()

    async def wait_gone(self) -> None:
        """Wait until the peer has ended its side, at most `close_timeout` after our close frame."""
        await self._closing.wait_gone()

    # --- idle timeout and lifetime -------------------------------------------------------------------------------

    def _check_idle(self) -> None:
        if self._paused:  # messages of the peer may wait behind those that are not received
            self._message_time = trio.current_time()
        left = self._message_time + self._idle_timeout - trio.current_time()
        if self._idle_expiry.is_early(left):
            self._idle_timer = self._timers.after(0, self._check_idle)
        elif left > 0:
            self._idle_timer = self._timers.after(left, self._check_idle)
        else:
            self._closing.close(CloseCode.GOING_AWAY, "idle timeout")

    def _end_lifetime(self) -> None:
        self._closing.close(CloseCode.GOING_AWAY, "maximum lifetime reached")

    def _cancel_timers(self) -> None:
        self._flow.close()
        self._idle_timer.cancel()
        self._lifetime_timer.cancel()


def _content(data: object) -> str | bytes:
    """Return a copy of mutable content.

    Raises:
        TypeError: the content is not a message.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a message is str, bytes, bytearray or memoryview, not {type(data).__name__}")


def _joined(parts: list[str | bytes]) -> str | bytes:
    """Return the message of its parts; an empty binary message if there are none."""
    if parts and isinstance(parts[0], str):
        return "".join(part for part in parts if isinstance(part, str))
    return b"".join(part for part in parts if isinstance(part, bytes))
