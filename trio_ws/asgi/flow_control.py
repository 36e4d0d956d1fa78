"""Flow control of an ASGI connection's sending side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.writer import STEP_BYTES, YIELD_EVERY

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.asgi.closing import ASGIClosing
    from trio_ws.asgi.sender import EventSender
    from trio_ws.runtime.timers import Timer, Timers

__all__ = ["ASGIFlowControl", "ExpiryCheck"]

CHECKS: Final = 8
"""Scheduler turns between the expiry of a deadline and its effect."""


class ExpiryCheck:
    """A deadline that has no effect until it has expired for `CHECKS` scheduler turns.

    After the event loop was blocked, data that has arrived still has to pass through the tasks of the ASGI server.
    """

    def __init__(self) -> None:
        self._checks = 0

    def is_early(self, left: float) -> bool:
        """Return True if the deadline has to be checked again in the next turn.

        Args:
            left: seconds until the deadline; 0 or less after it.
        """
        self._checks = self._checks + 1 if left <= 0 else 0
        return 0 < self._checks <= CHECKS

    def reset(self) -> None:
        """Start again: the deadline does not apply now."""
        self._checks = 0


class ASGIFlowControl:
    """Room in the queue of one connection: waiting for it, callbacks, and the send timeout.

    Args:
        sender: the queue.
        closing: the end of the connection, on which waiting stops.
        timers: the timers of the connection.
        send_timeout: seconds without progress of a full queue after which the connection is aborted.
    """

    def __init__(self, sender: EventSender, closing: ASGIClosing, timers: Timers, *, send_timeout: float) -> None:
        self._sender = sender
        self._closing = closing
        self._timers = timers
        self._send_timeout = send_timeout
        self._streaming = False
        self._streak = 0
        self._senders_waiting = 0
        self._call_scheduled = False
        self._callbacks: dict[Callable[[], None], None] = {}  # in the order in which they were added
        self._send_timer: Timer | None = None
        self._expiry = ExpiryCheck()

    # --- senders that wait ---------------------------------------------------------------------------------------

    def count_work(self, size: int) -> None:
        """Count `size` bytes of work that was done for the peer within the current task's step."""
        self._streak += size * YIELD_EVERY // STEP_BYTES

    async def step(self) -> None:
        """Execute a checkpoint; after much work, one that lets other tasks run."""
        self._streak += 1
        if self._streak < YIELD_EVERY:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._streak = 0
            await trio.lowlevel.checkpoint()

    async def wait_for_room(self, *, within_message: bool = False) -> None:
        """Execute a checkpoint, then wait until a message may be committed.

        Args:
            within_message: True for the task that sends a stream, which does not wait for its end.

        Raises:
            WebSocketDisconnect: the connection has ended.
        """
        await self.step()
        while True:
            if not self._closing.open:
                raise self._closing.disconnected()
            if self._sender.full:
                self._senders_waiting += 1
                try:
                    await self._sender.wait()
                finally:
                    self._senders_waiting -= 1
            elif self._streaming and not within_message:
                await self._closing.wait_changed()
            else:
                return

    def begin_stream(self) -> None:
        """Make other senders wait until `end_stream`."""
        self._streaming = True

    def end_stream(self) -> None:
        """Let other senders go on."""
        self._streaming = False
        self._closing.wake_changed()
        self.call_if_writable()

    # --- callers that do not wait --------------------------------------------------------------------------------

    @property
    def blocked(self) -> bool:
        """Whether a message has to wait."""
        return self._streaming or self._sender.full

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when there is room."""
        self._callbacks[callback] = None

    def remove_callback(self, callback: Callable[[], None]) -> None:
        """Do not call `callback`."""
        self._callbacks.pop(callback, None)

    def schedule_callbacks(self) -> None:
        """Call the callbacks in the next scheduler turn, if there is room then."""
        if not self._call_scheduled:
            self._call_scheduled = True
            self._timers.after(0, self._call_scheduled_now)

    def _call_scheduled_now(self) -> None:
        self._call_scheduled = False
        self.call_if_writable()

    def call_if_writable(self) -> None:
        """Call the callbacks if there is room; a sender that waits goes first."""
        if self._callbacks and self._closing.open and not (self.blocked or self._senders_waiting):
            callbacks, self._callbacks = self._callbacks, {}
            for callback in callbacks:
                callback()

    # --- the send timeout ----------------------------------------------------------------------------------------

    def on_commit(self) -> None:
        """Start the send timeout if the queue has become full."""
        if self._sender.full and self._send_timer is None:
            self._sender.progress_time = trio.current_time()
            self._send_timer = self._timers.after(self._send_timeout, self._check_progress)

    def _check_progress(self) -> None:
        self._send_timer = None
        if not self._sender.full:
            self._expiry.reset()
            return
        left = self._sender.progress_time + self._send_timeout - trio.current_time()
        if self._expiry.is_early(left):
            self._send_timer = self._timers.after(0, self._check_progress)
        elif left > 0:
            self._send_timer = self._timers.after(left, self._check_progress)
        else:
            self._closing.abort(CloseCode.TRY_AGAIN_LATER, "peer does not read")

    def close(self) -> None:
        """Cancel the send timeout."""
        if self._send_timer is not None:
            self._send_timer.cancel()
