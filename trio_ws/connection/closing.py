"""Closing: how an open connection ends, whoever ends it, and how all who wait for it are told.

It is the lower half of `Connection`: the closing handshake on the clock and on the transport. What a close frame means
is in `protocol.states`; messages are in `connection`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection.channel import Channel, ConnectionObserver, disconnect_of
from trio_ws.protocol.states import State
from trio_ws.transport.progress import DeliveryProgress, Linger

if TYPE_CHECKING:
    from trio_ws.config import Timeouts
    from trio_ws.connection.inbox import Inbox
    from trio_ws.connection.pings import Pings
    from trio_ws.errors import WebSocketDisconnect
    from trio_ws.protocol.endpoint import CloseInfo, Endpoint
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timer, Timers
    from trio_ws.transport.base import Transport

__all__ = ["LINGER", "ClosingHandshake"]

LINGER: Final = 1.0
"""Seconds that the peer has for its part once ours is done: to read why it was given up, or to end the connection."""
TRIFLE: Final = 4 * 1024
"""Bytes that reach the peer whatever it does: a close frame, with what a Unix socket adds to it."""
_OUR_PART_DONE: Final = (State.CLOSED, State.FAILED)
"""States in which all that we have to send stands in the outbox."""


class ClosingHandshake(Channel):
    """The end of a connection over a transport.

    Args:
        transport: the network connection.
        endpoint: the protocol's state.
        inbox: who waits there is woken.
        client: True on the side that dialled.
        timeouts: `close_timeout`, `send_timeout` and `delivery_timeout` of it.
        timers: calls the deadline.
    """

    __slots__ = (
        "_changed",
        "_client",
        "_close_timer",
        "_departed",
        "_dropping",
        "_endpoint",
        "_gone",
        "_inbox",
        "_linger",
        "_network_over",
        "_notified",
        "_peer_lags",
        "_pings",
        "_taking",
        "_timeouts",
        "_timers",
        "_transport",
    )

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        inbox: Inbox,
        *,
        client: bool,
        timeouts: Timeouts,
        timers: Timers,
    ) -> None:
        self.watcher: ConnectionObserver | None = None
        self.reads = False
        self.callbacks = 0
        self._transport = transport
        self._endpoint = endpoint
        self._inbox = inbox
        self._client = client
        self._timeouts = timeouts
        self._timers = timers
        self._pings: Pings | None = None
        self._changed: trio.lowlevel.ParkingLot | None = None
        self._departed = False  # the peer has ended its side, maybe behind what is not read yet
        self._network_over = False  # and all of it is read
        self._dropping = False  # messages are read only to learn how it ended
        self._gone = False
        self._notified = False
        self._peer_lags = False  # it had much to take when both close frames had passed
        self._taking: DeliveryProgress | None = None  # of the peer with the outbox, since that was last full
        self._linger: Linger | None = None  # from the beginning of the end
        self._close_timer: Timer | None = None

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; None while it is open."""
        return self._endpoint.close_info

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return self._endpoint.state is State.OPEN

    @property
    def departed(self) -> bool:
        """Whether the peer has left, however much of what it sent is yet to be received."""
        return self._departed or self._endpoint.close_info is not None

    @property
    def gone(self) -> bool:
        """Whether the network connection has ended."""
        return self._gone

    @property
    def pending(self) -> bool:
        """Whether messages wait that nobody has received."""
        return bool(self._inbox.items)

    @property
    def log(self) -> ConnectionLog | None:
        """Says in records which connection it is."""
        return self._transport.log

    @property
    def inbox_messages(self) -> int:
        """Messages that wait, for statistics."""
        return len(self._inbox.items)

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait for the network, for statistics."""
        return self._transport.outbox.size

    @abstractmethod
    def _read_on(self) -> None:
        """Parse what was kept for want of room, then read on; at the end of the network, lose the connection."""

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame unless one has passed; wait for the peer's.

        The peer has `close_timeout` for it, which begins anew while it takes what was sent before.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.begin_close(code, reason)
        await self.wait_ended()
        while self._endpoint.state is State.CLOSING:
            await self._wait_changed()

    def begin_close(self, code: int, reason: str) -> None:
        """End the connection unless it has ended. The one who does it knows that it ends.

        A peer that has left is sent no close frame: what it sent is read to its end, which says how it left.
        """
        if self.open:
            self._notified = True
            self.retire(code, reason)

    def retire(self, code: int, reason: str) -> None:
        """Begin the closing handshake in the library's own name: the handler has yet to hear of it."""
        if self._departed:
            self._dropping = True
        else:
            self._transport.write(self._endpoint.close(code, reason))
        self._wait_for_peer(self._timeouts.close_timeout)
        self._read_on()
        self._announce_end()

    def drain(self, code: int, reason: str, patience: float) -> None:
        """End the connection unless it has ended, because the server ends: its users have a grace.

        What stands in the outbox goes out before the close frame. A peer that takes it slowly has `patience` for it, as
        long as it takes something within each `close_timeout`; then `close_timeout` for its answer.

        Args:
            code: the close code.
            reason: the close reason.
            patience: seconds.
        """
        if self.open:
            self._linger = Linger(patience, self._timeouts.close_timeout, draining=True)
            self.retire(code, reason)
        elif self._linger is not None:
            self._linger.limit(patience)

    def hurry(self) -> None:
        """End the patience with a peer that takes what was sent: at most `close_timeout` is left."""
        if self._linger is not None:
            self._linger.limit(0.0)

    def fail(self, code: int, reason: str) -> None:
        """Give the peer up: tell it why, half-close, and abort soon."""
        self._transport.write(self._endpoint.fail(code, reason))
        self._settle()

    def dismiss(self, code: int, reason: str) -> None:
        """Give an open connection's peer up, with a close frame.

        The frame goes out behind what waits, within `close_timeout`; then the network connection ends.
        """
        if self.open and not self._network_over:
            self.fail(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Give an open connection's peer up: tell it why if it can be told at once, and end the network connection."""
        if self.open and not self._network_over:
            self.fail(code, reason)
            self._hang_up()

    def look(self) -> None:
        """Take what has arrived, and send what can be sent, if that was not done yet."""
        self._transport.look()

    async def flush(self) -> None:
        """Wait until what was committed is with the network, at most `close_timeout`."""
        with trio.move_on_after(self._timeouts.close_timeout):
            while self._transport.outbox.size and not self._gone:
                await self._wait_changed()

    async def wait_ended(self) -> None:
        """After `begin_close`: wait until `close_info` says how the connection ended, at most `close_timeout`."""
        while self.open:
            await self._wait_changed()

    async def wait_gone(self) -> None:
        """Wait until the network connection has ended, which is bounded once the connection is not open."""
        while not self._gone:
            await self._wait_changed()

    def _settle(self) -> None:
        """A close frame has come, or the connection has failed: begin to end the network connection."""
        if self._endpoint.state is State.FAILED:
            self._transport.finish()
        self._hang_up_if_done()
        if not self._gone:
            # What stands in the outbox goes out; then it is the peer's turn (RFC 6455 7.1.1).
            wait = self._timeouts.close_timeout if self._transport.outbox.size else LINGER
            self._wait_for_peer(wait)
            self._read_on()
        self._announce_end()

    def _hang_up_if_done(self) -> None:
        """The server ends the network connection when both close frames have passed (RFC 6455 7.1.1)."""
        over = self._network_over
        if self._endpoint.state is not State.CLOSED or (self._client and not over):
            return
        # What its kernel has taken, it may still have to read: how much waited before counts.
        self._peer_lags = self._peer_lags or (not over and self._transport.uptake().backlog >= TRIFLE)
        if self._transport.outbox.size:
            return
        if over or not self._peer_lags:
            self._hang_up()
        else:
            # The peer may still send pongs, and a closed socket's reset would take from it what it has not read.
            self._transport.finish()

    def _all_is_out(self) -> None:
        """The outbox has emptied: if that was our part of the end, it is the peer's turn now."""
        self._hang_up_if_done()
        if self._linger is not None and not self._gone:
            done = self._endpoint.state in _OUR_PART_DONE
            self._wait_for_peer(LINGER if done else self._timeouts.close_timeout)
        self._wake_changed()

    def _lose(self) -> None:
        self._endpoint.lose()
        if self._endpoint.state is State.CLOSED:
            self._hang_up_if_done()
        else:
            self._hang_up()
        self._announce_end()

    def _hang_up(self) -> None:
        if self._gone:
            return
        self._gone = True
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._endpoint.lose()
        self._endpoint.release()
        self._transport.close()
        self._announce_end()
        if self._draining and self.watcher is not None:
            self.watcher.left(self._why)

    def _wait_for_peer(self, seconds: float) -> None:
        """Give the peer `seconds` for its part, and the time that it takes for what was sent before."""
        if self._close_timer is not None:
            self._close_timer.cancel()
        if self._linger is None:
            times, taking = self._timeouts, self._taking
            known = taking is not None and taking.seen and taking.time + times.send_timeout > trio.current_time()
            self._linger = Linger(times.delivery_timeout, times.send_timeout, known=known)
        self._close_timer = self._timers.call_later(self._linger.restart(seconds), self._look_at_peer)

    def _look_at_peer(self) -> None:
        """End the network connection if the peer has had its time."""
        linger = self._linger
        assert linger is not None  # this is one of its looks
        left, pending = linger.look(self._transport)
        if left <= 0:
            timer = self._close_timer
            self.look()
            if self._gone or self._close_timer is not timer:  # the end has come nearer meanwhile
                return
            left, pending = linger.look(self._transport)
        if left > 0:
            self._close_timer = self._timers.call_later(left, self._look_at_peer)
        elif linger.seen and not pending and self._endpoint.state is State.CLOSING:
            # It may be reading still: what it sends meanwhile must not meet a closed socket, whose reset would take
            # from it what it has not read.
            self._endpoint.fail(CloseCode.ABNORMAL_CLOSURE, "")
            self._settle()
        else:
            self._hang_up()

    @property
    def _draining(self) -> bool:
        """Whether the connection ends because the server does."""
        return self._linger is not None and self._linger.draining

    def _announce_end(self) -> None:
        """Wake everyone who waits for something that will not come, and tell the watcher why, once."""
        waited_for = self._wake()
        if not self._notified:
            self._notified = True
            if self.watcher is not None and self._draining:
                self.watcher.draining(waited_for=waited_for)
            elif self.watcher is not None:
                self.watcher.ended(self._why, waited_for=waited_for)

    @property
    def _why(self) -> str:
        """How the connection ended, for people."""
        return "peer left" if self.close_info is None else str(self.close_info)

    def _disconnected(self) -> WebSocketDisconnect:
        """Make the exception that tells a caller of the end."""
        if self.watcher is not None:
            self.watcher.told()
        info = self.close_info
        if info is None:
            return disconnect_of(self, CloseCode.ABNORMAL_CLOSURE)
        return disconnect_of(self, info.code, info.reason)

    # --- waiting for a change of state ---------------------------------------------------------------------------

    async def _wait_changed(self) -> None:
        if self._changed is None:
            self._changed = trio.lowlevel.ParkingLot()
        await self._changed.park()

    def _wake_changed(self) -> None:
        if self._changed is not None:
            self._changed.unpark_all()

    def _wake(self) -> bool:
        """Wake everyone who waits; return whether there was someone."""
        changed = self._changed is not None and bool(self._changed)
        pings = self._pings is not None and self._pings.wake()
        inbox = self._inbox.wake()
        outbox = self._transport.outbox.wake()
        self._wake_changed()
        return inbox or outbox or pings or changed
