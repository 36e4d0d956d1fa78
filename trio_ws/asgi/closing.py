"""The end of an ASGI connection, and how waiting tasks learn about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import disconnect_of
from trio_ws.protocol.endpoint import CloseInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.asgi.sender import EventSender
    from trio_ws.connection.channel import Channel
    from trio_ws.connection.inbox import Inbox
    from trio_ws.errors import WebSocketDisconnect
    from trio_ws.runtime.timers import Timer, Timers

__all__ = ["ASGIClosing"]

_LOST: Final = CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network")


class ASGIClosing:
    """The state of one connection's end; the ASGI server does the closing handshake.

    Args:
        channel: the connection; its watcher is notified, and the disconnects are marked with it.
        inbox: the queue of received messages, whose reader is woken.
        receiver: the source of events, which is resumed so that the peer's end arrives.
        sender: the queue that takes the close frame.
        timers: the timers of the connection.
        close_timeout: seconds that the peer has to end its side.
        on_gone: called when the connection is over, maybe more than once.
    """

    def __init__(
        self,
        channel: Channel,
        inbox: Inbox,
        receiver: EventReceiver,
        sender: EventSender,
        timers: Timers,
        *,
        close_timeout: float,
        on_gone: Callable[[], None],
    ) -> None:
        self.info: CloseInfo | None = None
        """How the connection ended; None while it is open."""
        self.notified: bool = False
        """Whether the watcher was notified of the end, or needs no notification."""
        self._channel = channel
        self._inbox = inbox
        self._receiver = receiver
        self._sender = sender
        self._timers = timers
        self._close_timeout = close_timeout
        self._on_gone = on_gone
        self._changed = trio.lowlevel.ParkingLot()
        self._gone = False
        self._receive_cancelled = False
        self._draining = False  # from the shutdown's close frame to the peer's end
        self._close_timer: Timer | None = None

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return self.info is None

    # --- closed by us --------------------------------------------------------------------------------------------

    def begin(self, code: int, reason: str) -> None:
        """Close an open connection for a caller, which needs no notification."""
        if self.open:
            self.notified = True
            self.close(code, reason)

    def close(self, code: int, reason: str) -> None:
        """Close an open connection and notify the watcher."""
        if not self.open:
            return
        self.info = CloseInfo(code, reason, "local")
        self._sender.put({"type": "websocket.close", "code": code, "reason": reason})
        self._close_timer = self._timers.after(self._close_timeout, self._finish)
        self._receiver.resume()
        self._announce()

    def drain(self, code: int, reason: str) -> None:
        """Close an open connection for a graceful shutdown; its users have a grace."""
        if self.open:
            self._draining = True
            self.close(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Close an open connection without waiting for the peer's end."""
        if self.open:
            self.close(code, reason)
            self._finish()

    async def wait_gone(self) -> None:
        """Wait until the peer has ended its side, at most `close_timeout` after our close frame."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._gone:
            await self.wait_changed()

    # --- ended by the peer or the server -------------------------------------------------------------------------

    def on_disconnect(self, info: CloseInfo) -> None:
        """End the connection; messages that have arrived can still be received."""
        if self.info is None:
            self.info = info
        self._sender.close()
        self._finish()

    def on_receive_cancelled(self) -> None:
        """Expect no further events, because the ASGI server cancelled the call."""
        self._receive_cancelled = True
        self.on_progress()

    def on_progress(self) -> None:
        """Act on the sender's progress or failure."""
        if self._sender.closed:
            self.on_disconnect(_LOST)
        if self._receive_cancelled and not self.open and not self._sender.size:
            self._finish()

    def _finish(self) -> None:
        self._gone = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._announce()
        watcher = self._channel.watcher
        if self._draining and watcher is not None:
            self._draining = False
            watcher.left(str(self.info))
        self._on_gone()

    def _announce(self) -> None:
        """Wake all waiting tasks, and notify the watcher once."""
        waited_for = self._wake()
        if self.notified:
            return
        self.notified = True
        watcher = self._channel.watcher
        if watcher is not None and self._draining:
            watcher.draining(waited_for=waited_for)
        elif watcher is not None:
            watcher.ended(str(self.info), waited_for=waited_for)

    def disconnected(self) -> WebSocketDisconnect:
        """Return the exception to raise in a caller, and record that it was raised."""
        if self._channel.watcher is not None:
            self._channel.watcher.told()
        info = self.info or _LOST
        return disconnect_of(self._channel, info.code, info.reason)

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
