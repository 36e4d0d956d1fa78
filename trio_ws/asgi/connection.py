"""An open WebSocket whose frames an ASGI server reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws.asgi.closing import ASGIClosing
from trio_ws.asgi.deadline import ExpiryCheck
from trio_ws.asgi.reader import ASGIReader
from trio_ws.asgi.writer import ASGIWriter
from trio_ws.codes import CloseCode
from trio_ws.connection.channel import Channel
from trio_ws.connection.inbox import Inbox

if TYPE_CHECKING:
    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.asgi.sender import EventSender
    from trio_ws.config import Limits, Timeouts
    from trio_ws.connection.channel import ChannelClosing, ChannelReader, ChannelWriter
    from trio_ws.protocol.closing import CloseInfo
    from trio_ws.runtime.timers import Timers

__all__ = ["ASGIConnection"]


class ASGIConnection(Channel):
    """One open connection of an ASGI server, with whole messages and one end.

    It keeps the contract of `Channel` within the limits of ASGI: no pings, no fragments, and only a close code at the
    end. It is the target of the connection's events.

    Args:
        receiver: the source of events.
        sender: the queue of events to send.
        limits: bounds of the inbox, the outbox and a message.
        timeouts: of sending, closing, idleness and lifetime.
        timers: runs the deadlines.
    """

    def __init__(
        self, receiver: EventReceiver, sender: EventSender, *, limits: Limits, timeouts: Timeouts, timers: Timers
    ) -> None:
        super().__init__()
        inbox = Inbox(limits.inbox_messages, limits.inbox_bytes)
        self._sender = sender
        self._timers = timers
        self._idle_timeout = timeouts.idle_timeout
        self._closing = ASGIClosing(
            inbox, receiver, sender, timers, close_timeout=timeouts.close_timeout, on_gone=self._stop
        )
        self._reader = ASGIReader(inbox, receiver, self._closing, max_message_size=limits.max_message_size)
        self._writer = ASGIWriter(sender, inbox, self._closing, timers, send_timeout=timeouts.send_timeout)
        self.closing: ChannelClosing = self._closing
        self.reader: ChannelReader = self._reader
        self.writer: ChannelWriter = self._writer
        self._idle_from = trio.current_time()
        self._idle_expiry = ExpiryCheck()
        self._idle_timer = timers.call_later(self._idle_timeout, self._check_idle)
        self._lifetime_timer = timers.call_later(timeouts.max_lifetime, self._end_lifetime)
        sender.high_water = limits.outbox_bytes
        sender.on_progress = self._writer.on_progress

    # --- statistics ----------------------------------------------------------------------------------------------

    @property
    def received(self) -> int:
        """Messages that arrived."""
        return self._reader.received

    @property
    def sent(self) -> int:
        """Messages that were committed."""
        return self._writer.sent

    @property
    def inbox_messages(self) -> int:
        """Messages that wait to be received."""
        return len(self._reader.inbox.items)

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait for the server."""
        return self._sender.size

    # --- events --------------------------------------------------------------------------------------------------

    @property
    def wants_messages(self) -> bool:
        """Whether the next message may be taken in."""
        return self._reader.wants_messages

    def on_message(self, content: str | bytes) -> None:
        """Take in a message."""
        self._reader.on_message(content)

    def on_disconnect(self, info: CloseInfo) -> None:
        """End the connection; messages that have arrived can still be received."""
        self._closing.on_disconnect(info)

    def on_receive_cancelled(self) -> None:
        """Expect no further events, because the ASGI server cancelled the call."""
        self._closing.on_receive_cancelled()

    def drain(self, code: int, reason: str) -> None:
        """Close an open connection for a graceful shutdown; its handler has a grace."""
        self._closing.drain(code, reason)

    # --- idle timeout and lifetime -------------------------------------------------------------------------------

    def _check_idle(self) -> None:
        if self._reader.paused:  # messages of the peer may wait behind those that are not received
            self._idle_from = trio.current_time()
        last = max(self._reader.message_time, self._writer.message_time, self._idle_from)
        left = last + self._idle_timeout - trio.current_time()
        if self._idle_expiry.is_early(left):
            self._idle_timer = self._timers.call_later(0, self._check_idle)
        elif left > 0:
            self._idle_timer = self._timers.call_later(left, self._check_idle)
        else:
            self._closing.retire(CloseCode.GOING_AWAY, "idle timeout")

    def _end_lifetime(self) -> None:
        self._closing.retire(CloseCode.GOING_AWAY, "maximum lifetime reached")

    def _stop(self) -> None:
        """Cancel the timers: the connection is over."""
        self._writer.stop()
        self._idle_timer.cancel()
        self._lifetime_timer.cancel()
