"""Channel: an open connection whose frames an ASGI server reads and writes. It sees whole messages and one end.

It keeps the contract of `Channel`, as far as ASGI lets it: there are no pings, no fragments, and the end comes with no
more than a code. How it ends is in `end`.
"""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, Final, NoReturn

import trio

from trio_ws.asgi.closing import ASGIClosing
from trio_ws.codes import CloseCode
from trio_ws.connection.channel import end_for
from trio_ws.connection.inbox import STEP_BYTES, YIELD_EVERY, Inbox
from trio_ws.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.asgi.sender import EventSender
    from trio_ws.config import Limits, Timeouts
    from trio_ws.connection.channel import Iteration
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.runtime.timers import Timer, Timers

__all__ = ["ASGIConnection"]

MAX_PING = 125
"""RFC 6455 5.5."""
LOOKS: Final = 8
"""Turns in which a deadline is looked at before it judges: after the loop was held up, what has arrived has a way to go
through the tasks of the ASGI server."""


class ASGIConnection(ASGIClosing):
    """One open connection of an ASGI server's.

    Args:
        pump: tells what arrives.
        writer: takes what is sent.
        limits: bounds of the inbox, the outbox and a message.
        timeouts: of sending, closing, idleness and age.
        timers: calls the deadlines.
    """

    def __init__(
        self, pump: EventReceiver, writer: EventSender, *, limits: Limits, timeouts: Timeouts, timers: Timers
    ) -> None:
        super().__init__(pump, writer, Inbox(limits.inbox_messages, limits.inbox_bytes), timeouts, timers)
        self.received: int = 0
        """Messages that arrived."""
        self.sent: int = 0
        """Messages that were committed."""
        self._limits = limits
        self._paused = False  # whether the pump waits until the inbox is empty
        self._streaming = False
        self._streak = 0
        self._senders_waiting = 0
        self._writable_soon = False
        self._writable: dict[Callable[[], None], None] = {}
        self._send_timer: Timer | None = None
        self._message_time = trio.current_time()
        self._looks = 0  # after a deadline, while nothing has come
        self._idle_timer = timers.call_later(timeouts.idle_timeout, self._look_for_idleness)
        self._life_timer = timers.call_later(timeouts.max_lifetime, self._grow_old)
        writer.high_water = limits.outbox_bytes
        writer.on_moved = self._writer_moved
        self.reader = self.writer = self.closing = self

    # --- what arrives --------------------------------------------------------------------------------------------

    @property
    def wants_messages(self) -> bool:
        """Whether the next message is taken in: not while too many wait, always once they are dropped."""
        if self.inbox.full and self.open:
            self._paused = True
        return not self._paused

    def message(self, content: str | bytes) -> None:
        """Take in a message, unless we have closed; one that is too large ends the connection."""
        if not self.open:
            return
        size = len(content) if isinstance(content, bytes) or content.isascii() else len(content.encode())
        if size > self._limits.max_message_size:
            self.retire(CloseCode.MESSAGE_TOO_BIG, f"message has more than {self._limits.max_message_size} bytes")
            return
        self.received += 1
        self._message_time = trio.current_time()
        self.inbox.put(content, size)

    @property
    def inbox_messages(self) -> int:
        """Messages that wait, for statistics."""
        return len(self.inbox.items)

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait for the server, for statistics."""
        return self._writer.size

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message; raise what says that there will be none."""
        self.reads = True
        inbox = self.inbox
        while True:
            if inbox.items:
                await self._step()
                if inbox.items:
                    return self._take()
            elif self.close_info is not None:
                await self._step()
                raise end_for(iteration, self._disconnected())
            else:
                await inbox.wait()

    def _take(self) -> str | bytes:
        item = self.inbox.take()
        assert isinstance(item, (str, bytes))  # parts of messages are never put in
        if self._paused and not self.inbox.items:
            self._resume()
        if self._notified and self.observer is not None:
            self.observer.on_read_after_end()
        return item

    def _resume(self) -> None:
        self._paused = False
        self._pump.resume()

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next message, which is one part: ASGI has no others."""
        if not first:
            await self._step()
            return b"", True
        return await self.receive(), True

    # --- what is sent --------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then commit one message in one step."""
        await self._wait_for_room()
        self._commit(_content(data))

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Gather one message, then send it whole: ASGI has no fragments."""
        await self._wait_for_room()
        self._streaming = True
        try:
            parts: list[str | bytes] = []
            async for chunk in chunks:
                await self._wait_for_room(within_message=True)
                parts.append(_content(chunk))
                if isinstance(parts[-1], str) != isinstance(parts[0], str):
                    raise TypeError("the fragments of a message are all str, or all bytes")
        finally:
            self._streaming = False
            self._wake_changed()
            self._call_if_writable()
        await self._wait_for_room()
        self._commit(_joined(parts))

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room for it now; return False if there is not."""
        if not self.open:
            return True
        if self._streaming or self._writer.full:
            return False
        self._commit(message.data, message.size)
        return True

    def frame_kind(self, size: int) -> None:
        """Return None: the ASGI server makes the frames."""

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `offer` may succeed again."""
        self._writable[callback] = None

    def call_writable_soon(self) -> None:
        """Call what waits for `when_writable` in the next turn, if there is room."""
        if not self._writable_soon:
            self._writable_soon = True
            self._timers.call_later(0, self._call_now)

    def _call_now(self) -> None:
        self._writable_soon = False
        self._call_if_writable()

    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Do not call `callback` any more, if it was to be called."""
        self._writable.pop(callback, None)

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Refuse: ASGI has no pings."""
        await self._refuse_ping(payload)

    async def pong(self, payload: bytes) -> None:
        """Refuse: ASGI has no pongs."""
        await self._refuse_ping(payload)

    async def _refuse_ping(self, payload: bytes | None) -> NoReturn:
        await self._wait_for_room(within_message=True)
        if not isinstance(payload, bytes | bytearray | memoryview | NoneType):
            raise TypeError(f"the payload of a ping is bytes, not {type(payload).__name__}")
        if payload is not None and len(payload) > MAX_PING:
            raise ValueError(f"a ping carries at most {MAX_PING} bytes, not {len(payload)}")
        raise LocalProtocolError(
            "an ASGI server pings by itself, and tells nobody: let hypercorn do it with websocket_ping_interval"
        )

    def _commit(self, data: str | bytes, size: int | None = None) -> None:
        if isinstance(data, str):
            self._writer.put({"type": "websocket.send", "text": data}, len(data.encode()) if size is None else size)
        else:
            self._writer.put({"type": "websocket.send", "bytes": data}, len(data))
        self.sent += 1
        self._message_time = trio.current_time()
        self._watch_writer()

    def count_work(self, size: int) -> None:
        """Count `size` bytes of work that was done for the peer within the current task's step."""
        self._streak += size * YIELD_EVERY // STEP_BYTES

    async def _step(self) -> None:
        """Be a checkpoint, and now and then let others run."""
        self._streak += 1
        if self._streak < YIELD_EVERY:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._streak = 0
            await trio.lowlevel.checkpoint()

    async def _wait_for_room(self, *, within_message: bool = False) -> None:
        """Be a checkpoint and wait until a message may be committed."""
        await self._step()
        while True:
            if not self.open:
                raise self._disconnected()
            if self._writer.full:
                self._senders_waiting += 1
                try:
                    await self._writer.wait()
                finally:
                    self._senders_waiting -= 1
            elif self._streaming and not within_message:
                await self._wait_changed()
            else:
                return

    # --- looking after it ----------------------------------------------------------------------------------------

    def _watch_writer(self) -> None:
        """While it is full, look after `send_timeout` whether it moves."""
        if self._writer.full and self._send_timer is None:
            self._writer.progress_time = trio.current_time()
            self._send_timer = self._timers.call_later(self._timeouts.send_timeout, self._look_at_writer)

    def _look_at_writer(self) -> None:
        self._send_timer = None
        if not self._writer.full:
            self._looks = 0
            return
        left = self._writer.progress_time + self._timeouts.send_timeout - trio.current_time()
        if self._is_to_look_again(left):
            self._send_timer = self._timers.call_later(0, self._look_at_writer)
        elif left > 0:
            self._send_timer = self._timers.call_later(left, self._look_at_writer)
        else:
            self.abort(CloseCode.TRY_AGAIN_LATER, "peer does not read")

    def _writer_moved(self) -> None:
        if self._writer.closed:
            self.lose()
        self._all_is_out()
        self._call_if_writable()

    def _call_if_writable(self) -> None:
        """Let those who offer try again, unless a sender waits who goes first."""
        if self._writable and self.open and not (self._streaming or self._senders_waiting or self._writer.full):
            callbacks, self._writable = self._writable, {}
            for callback in callbacks:
                callback()

    def _look_for_idleness(self) -> None:
        if self._paused:  # what the peer sends may sit behind what is not taken: it is not to blame
            self._message_time = trio.current_time()
        left = self._message_time + self._timeouts.idle_timeout - trio.current_time()
        if self._is_to_look_again(left):
            self._idle_timer = self._timers.call_later(0, self._look_for_idleness)
        elif left > 0:
            self._idle_timer = self._timers.call_later(left, self._look_for_idleness)
        else:
            self.retire(CloseCode.GOING_AWAY, "idle timeout")

    def _is_to_look_again(self, left: float) -> bool:
        """Say whether a deadline is to be looked at in the next turn before it judges: see `LOOKS`."""
        self._looks = self._looks + 1 if left <= 0 else 0
        return 0 < self._looks <= LOOKS

    def _grow_old(self) -> None:
        self.retire(CloseCode.GOING_AWAY, "maximum lifetime reached")

    def _hang_up(self) -> None:
        super()._hang_up()
        for timer in (self._send_timer, self._idle_timer, self._life_timer):
            if timer is not None:
                timer.cancel()


def _content(data: object) -> str | bytes:
    """Return a copy of what may change afterwards.

    Raises:
        TypeError: it is no message.
    """
    if isinstance(data, str):
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a message is str, bytes, bytearray or memoryview, not {type(data).__name__}")


def _joined(parts: list[str | bytes]) -> str | bytes:
    """Return the message that parts make; none make an empty binary one."""
    if parts and isinstance(parts[0], str):
        return "".join(part for part in parts if isinstance(part, str))
    return b"".join(part for part in parts if isinstance(part, bytes))
