"""Flow control of tasks and callbacks that wait for room in a send buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from trio_ws.transport.progress import LOOKS, DeliveryProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timer, Timers
    from trio_ws.transport.base import Transport

__all__ = ["FlowControl", "ProgressMeter", "SendBuffer", "SendingPart", "TransportProgress"]


class SendBuffer(Protocol):
    """A bounded buffer of data to send."""

    @property
    def full(self) -> bool:
        """True if senders must wait."""

    async def wait(self) -> None:
        """Wait until there may be room, or the connection has ended."""


class ProgressMeter(Protocol):
    """A measure of what the peer takes, since it was created."""

    def look(self, now: float) -> float:
        """Measure at the time `now`; return the time of the last progress, or of the creation before that."""

    def refresh(self) -> None:
        """Read and write what is possible without waiting, so that the last measurement is exact."""


class SendingPart(Protocol):
    """The sending part of a connection."""

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""

    @property
    def accepts(self) -> bool:
        """True unless a fragmented message is unfinished."""

    def measure_progress(self) -> ProgressMeter:
        """Begin to measure what the peer takes."""

    def on_stalled(self) -> None:
        """End the connection: the peer took nothing for `send_timeout`."""


class FlowControl:
    """Tasks and callbacks that wait for room in a send buffer.

    Waiting tasks take precedence over callbacks; they are woken in order.

    Args:
        buffer: the data that waits.
        sender: its user.
        timers: runs the deadline.
        send_timeout: seconds for which the buffer may stay full while the peer takes nothing.
    """

    __slots__ = (
        "_buffer",
        "_call_scheduled",
        "_callbacks",
        "_progress",
        "_send_timeout",
        "_sender",
        "_timer",
        "_timers",
        "_waiting",
    )

    def __init__(self, buffer: SendBuffer, sender: SendingPart, timers: Timers, send_timeout: float) -> None:
        self._buffer = buffer
        self._sender = sender
        self._timers = timers
        self._send_timeout = send_timeout
        self._waiting = 0
        self._callbacks: dict[Callable[[], None], None] = {}  # in order of arrival
        self._call_scheduled = False
        self._progress: ProgressMeter | None = None
        self._timer: Timer | None = None

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""
        return self._sender.log

    @property
    def has_callbacks(self) -> bool:
        """True if a callback waits for room."""
        return bool(self._callbacks)

    # --- waiting tasks -------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Wait until there may be room: one task is served first, then the callbacks, so that neither starves."""
        self._waiting += 1
        try:
            await self._buffer.wait()
        except trio.Cancelled:
            self.call_if_writable()  # there may be room that the callbacks left to this task
            raise
        finally:
            self._waiting -= 1

    # --- waiting callbacks ---------------------------------------------------------------------------------------

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback`, which neither waits nor raises, once when there is room."""
        self._callbacks[callback] = None

    def remove_callback(self, callback: Callable[[], None]) -> None:
        """Forget `callback` if it waits."""
        self._callbacks.pop(callback, None)

    def on_moved(self) -> None:
        """Call the callbacks if there is room that no task waits for."""
        if not self._waiting:
            self.call_if_writable()

    def call_if_writable(self) -> None:
        """Call the callbacks if there is room."""
        if self._callbacks and self._sender.accepts and not self._buffer.full:
            callbacks, self._callbacks = self._callbacks, {}
            for callback in callbacks:
                callback()

    def call_soon(self) -> None:
        """Call the callbacks in the next turn if there is room then."""
        if not self._call_scheduled:
            self._call_scheduled = True
            self._timers.call_later(0, self._call_now)

    def _call_now(self) -> None:
        self._call_scheduled = False
        self.call_if_writable()

    # --- the send timeout ----------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Watch a full buffer: the peer must take something within each `send_timeout`."""
        if self._buffer.full and self._timer is None:
            self._progress = self._sender.measure_progress()
            # The first check is soon: only progress after it counts.
            self._timer = self._timers.call_later(self._send_timeout / LOOKS**2, self.check)

    def stop(self) -> None:
        """Stop watching: the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        """End the connection if the peer takes nothing; else check again later."""
        self._timer = None
        progress = self._progress
        if progress is None or not self._buffer.full:
            return
        now = trio.current_time()
        left = progress.look(now) + self._send_timeout - now
        if left <= 0:
            progress.refresh()
            if self._timer is not None or not self._buffer.full:
                return
            left = progress.look(now) + self._send_timeout - now
        if left > 0:
            self._timer = self._timers.call_later(min(left, self._send_timeout / LOOKS), self.check)
        else:
            self._sender.on_stalled()


class TransportProgress:
    """The measure of what the peer takes from a transport.

    Args:
        transport: leads to the peer.
    """

    __slots__ = ("_transport", "delivery")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.delivery: DeliveryProgress = DeliveryProgress()

    def look(self, now: float) -> float:
        """Measure at the time `now`; return the time of the last progress, or of the creation before that."""
        self.delivery.look(self._transport, now)
        return self.delivery.time

    def refresh(self) -> None:
        """Read and write what is possible without waiting, so that the last measurement is exact."""
        self._transport.look()
