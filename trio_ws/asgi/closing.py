"""End: how an ASGI connection ends, whoever ends it, and how all who wait for it are told.

It is the lower half of `ServedChannel`, as `closing` is of a connection over a transport.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import Channel, disconnect_of
from trio_ws.protocol.endpoint import CloseInfo

if TYPE_CHECKING:
    from trio_ws.asgi.receiver import EventReceiver
    from trio_ws.asgi.sender import EventSender
    from trio_ws.config import Timeouts
    from trio_ws.connection.channel import ConnectionObserver
    from trio_ws.connection.inbox import Inbox
    from trio_ws.errors import WebSocketDisconnect
    from trio_ws.runtime.timers import Timer, Timers

__all__ = ["ASGIClosing"]

_LOST: Final = CloseInfo(CloseCode.ABNORMAL_CLOSURE, "", "network")


class ASGIClosing(Channel):
    """The end of a connection whose frames a server reads and writes.

    Args:
        pump: tells of the peer's end.
        writer: takes our close frame.
        inbox: who waits there is woken.
        timeouts: `close_timeout` of it.
        timers: calls the deadline.
    """

    def __init__(
        self, pump: EventReceiver, writer: EventSender, inbox: Inbox, timeouts: Timeouts, timers: Timers
    ) -> None:
        super().__init__()
        self.observer: ConnectionObserver | None = None
        self.reads: bool = False
        self._pump = pump
        self._writer = writer
        self.inbox = inbox
        self._timeouts = timeouts
        self._timers = timers
        self._info: CloseInfo | None = None
        self._changed = trio.lowlevel.ParkingLot()
        self._notified = False
        self._gone = False
        self._deaf = False
        self._draining = False  # until the peer that was said goodbye to is gone
        self._close_timer: Timer | None = None

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; None while it is open."""
        return self._info

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return self._info is None

    @property
    def gone(self) -> bool:
        """True once the peer has ended its side, or its time to do so is over."""
        return self._gone

    @property
    def pending(self) -> bool:
        """True if messages wait to be received."""
        return bool(self.inbox.items)

    # --- we end it -----------------------------------------------------------------------------------------------

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame unless one has passed; wait for the peer's end, at most `close_timeout`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.begin_close(code, reason)
        await self.wait_gone()

    def begin_close(self, code: int, reason: str) -> None:
        """End the connection unless it has ended. The one who does it knows that it ends."""
        if self.open:
            self._notified = True
            self.retire(code, reason)

    def retire(self, code: int, reason: str) -> None:
        """Close an open connection in the library's own name: the handler has yet to hear of it."""
        if not self.open:
            return
        self._info = CloseInfo(code, reason, "local")
        self._writer.put({"type": "websocket.close", "code": code, "reason": reason})
        self._close_timer = self._timers.call_later(self._timeouts.close_timeout, self._hang_up)
        self._resume()
        self._announce_end()

    def drain(self, code: int, reason: str) -> None:
        """End the connection unless it has ended, because the server ends: its users have a grace."""
        if self.open:
            self._draining = True
            self.retire(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Give an open connection's peer up: the close frame is left to the server, and nobody waits for an answer."""
        if self.open:
            self.retire(code, reason)
            self._hang_up()

    def dismiss(self, code: int, reason: str) -> None:
        """Give an open connection's peer up; the server has `close_timeout` to take the close frame."""
        self.retire(code, reason)

    async def wait_ended(self) -> None:
        """Be a checkpoint: after `begin_close`, `close_info` says at once how the connection ended."""
        await trio.lowlevel.checkpoint_if_cancelled()

    async def wait_gone(self) -> None:
        """Wait until the peer has ended its side, or had its time to."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._gone:
            await self._wait_changed()

    @abstractmethod
    def _resume(self) -> None:
        """What arrives from now on is dropped: let it come."""

    # --- it ends -------------------------------------------------------------------------------------------------

    def disconnected(self, info: CloseInfo) -> None:
        """Nothing more will arrive; what has arrived can still be received."""
        if self._info is None:
            self._info = info
        self._writer.close()
        self._hang_up()

    def lose(self) -> None:
        """The server takes nothing any more."""
        self.disconnected(_LOST)

    def deaf(self) -> None:
        """The server has cancelled the call: whatever the peer does from now on, we will not hear of it."""
        self._deaf = True
        self._all_is_out()

    def _all_is_out(self) -> None:
        """The writer may be empty: then a connection that we have closed, and hear nothing of, is over."""
        if self._deaf and not self.open and not self._writer.size:
            self._hang_up()

    def _hang_up(self) -> None:
        self._gone = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._announce_end()
        if self._draining and self.observer is not None:
            self._draining = False
            self.observer.on_peer_gone(str(self._info))

    def _announce_end(self) -> None:
        """Wake everyone who waits for something that will not come, and tell the observer why, once."""
        waited_for = self._wake()
        if not self._notified:
            self._notified = True
            if self.observer is not None and self._draining:
                self.observer.on_drain(waited_for=waited_for)
            elif self.observer is not None:
                self.observer.on_closed(str(self._info), waited_for=waited_for)

    def _disconnected(self) -> WebSocketDisconnect:
        """Make the exception that tells a caller of the end."""
        if self.observer is not None:
            self.observer.on_end_raised()
        info = self._info or _LOST
        return disconnect_of(self, info.code, info.reason)

    # --- waiting for a change of state ---------------------------------------------------------------------------

    async def _wait_changed(self) -> None:
        await self._changed.park()

    def _wake_changed(self) -> None:
        self._changed.unpark_all()

    def _wake(self) -> bool:
        """Wake everyone who waits; return whether there was someone."""
        changed = bool(self._changed)
        inbox = self.inbox.wake()
        writer = self._writer.wake()
        self._wake_changed()
        return inbox or writer or changed
