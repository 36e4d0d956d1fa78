"""The end of an ASGI connection, and the notification of waiting tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws.connection.channel import disconnect_of
from trio_ws.protocol.closing import CONNECTION_LOST, CloseInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.asgi.sender import EventSender
    from trio_ws.connection.channel import ConnectionObserver
    from trio_ws.connection.inbox import Inbox
    from trio_ws.errors import WebSocketDisconnect
    from trio_ws.runtime.timers import Timer, Timers

__all__ = ["ASGIClosing"]


class ASGIClosing:
    """The end of a connection; the ASGI server does the closing handshake.

    Args:
        inbox: its waiting task is woken at the end.
        receiver: the source of events, which is resumed so that the peer's end arrives.
        sender: the queue that takes the close frame.
        timers: runs the deadline.
        close_timeout: seconds that the peer has to end its side.
        on_gone: called when the peer has ended its side or its time is over, maybe more than once.

    Attributes:
        observer: is called at the end of the connection.
        close_info: how the connection ended; None while it is open.
        gone: the peer has ended its side, or its time to do so is over.
        notified: the end was reported to the observer, or needs no report.
    """

    def __init__(
        self,
        inbox: Inbox,
        receiver: EventReceiver,
        sender: EventSender,
        timers: Timers,
        *,
        close_timeout: float,
        on_gone: Callable[[], None],
    ) -> None:
        self.observer: ConnectionObserver | None = None
        self.close_info: CloseInfo | None = None
        self.gone: bool = False
        self.notified: bool = False
        self._inbox = inbox
        self._receiver = receiver
        self._sender = sender
        self._timers = timers
        self._close_timeout = close_timeout
        self._on_gone = on_gone
        self._changed = trio.lowlevel.ParkingLot()
        self._receive_cancelled = False
        self._draining = False  # from the close frame of a shutdown to the peer's end
        self._close_timer: Timer | None = None

    @property
    def open(self) -> bool:
        """True until the connection has ended."""
        return self.close_info is None

    # --- this side ends it ---------------------------------------------------------------------------------------

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame unless one has passed; wait for the peer's end, at most `close_timeout`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.begin_close(code, reason)
        await self.wait_gone()

    def begin_close(self, code: int, reason: str) -> None:
        """Send a close frame unless one has passed, without waiting. The caller needs no report of the end."""
        if self.open:
            self.notified = True
            self.retire(code, reason)

    def retire(self, code: int, reason: str) -> None:
        """Close an open connection, and report the end."""
        if not self.open:
            return
        self.close_info = CloseInfo(code, reason, "local")
        self._sender.put({"type": "websocket.close", "code": code, "reason": reason})
        self._close_timer = self._timers.call_later(self._close_timeout, self._finish)
        self._receiver.resume()
        self._announce_end()

    def drain(self, code: int, reason: str) -> None:
        """Close an open connection for a graceful shutdown; its handler has a grace."""
        if self.open:
            self._draining = True
            self.retire(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Close an open connection without waiting for the peer's end."""
        if self.open:
            self.retire(code, reason)
            self._finish()

    def dismiss(self, code: int, reason: str) -> None:
        """Close an open connection; the server has `close_timeout` to take the close frame."""
        self.retire(code, reason)

    async def wait_ended(self) -> None:
        """Wait until `close_info` is known, which is as soon as `begin_close` returns."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.open:
            await self.wait_changed()

    async def wait_gone(self) -> None:
        """Wait until the peer has ended its side, at most `close_timeout` after our close frame."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self.gone:
            await self.wait_changed()

    # --- the peer or the server ends it --------------------------------------------------------------------------

    def on_disconnect(self, info: CloseInfo) -> None:
        """End the connection; messages that have arrived can still be received."""
        if self.close_info is None:
            self.close_info = info
        self._sender.close()
        self._finish()

    def on_receive_cancelled(self) -> None:
        """Expect no further events, because the ASGI server cancelled the call."""
        self._receive_cancelled = True
        self.on_progress()

    def on_progress(self) -> None:
        """Act on the sender's progress or failure."""
        if self._sender.closed:
            self.on_disconnect(CONNECTION_LOST)
        if self._receive_cancelled and not self.open and not self._sender.size:
            self._finish()

    def _finish(self) -> None:
        self.gone = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._announce_end()
        if self._draining and self.observer is not None:
            self._draining = False
            self.observer.on_peer_gone(str(self.close_info))
        self._on_gone()

    def _announce_end(self) -> None:
        """Wake all waiting tasks, and report the end to the observer once."""
        waited_for = self._wake()
        if self.notified:
            return
        self.notified = True
        if self.observer is not None and self._draining:
            self.observer.on_drain(waited_for=waited_for)
        elif self.observer is not None:
            self.observer.on_closed(str(self.close_info), waited_for=waited_for)

    def raised_end(self, *, while_sending: bool = False) -> WebSocketDisconnect:
        """Return the exception to raise in a caller, and report that it is raised."""
        if self.observer is not None:
            self.observer.on_end_raised()
        info = self.close_info or CONNECTION_LOST
        end = disconnect_of(self, info.code, info.reason)
        end.while_sending = while_sending
        return end

    # --- waiting for a change of state ---------------------------------------------------------------------------

    async def wait_changed(self) -> None:
        """Wait for the next change of state."""
        await self._changed.park()

    def wake_changed(self) -> None:
        """Wake the tasks in `wait_changed`."""
        self._changed.unpark_all()

    def _wake(self) -> bool:
        """Wake all waiting tasks; return True if there were any."""
        changed = bool(self._changed)
        inbox = self._inbox.wake()
        sender = self._sender.wake()
        self.wake_changed()
        return inbox or sender or changed
