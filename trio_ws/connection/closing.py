"""The closing handshake on a transport, with its deadlines and waiting tasks.

It executes the actions of the table in `protocol.closing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

from trio_ws.connection.channel import disconnect_of
from trio_ws.connection.close_deadline import CloseDeadline
from trio_ws.native.choice import ClosingState
from trio_ws.protocol.closing import CONNECTION_LOST, CloseAction
from trio_ws.protocol.items import CloseConnection
from trio_ws.protocol.states import CloseEvent, State
from trio_ws.transport.progress import DeliveryProgress, Linger

if TYPE_CHECKING:
    from trio_ws.config import Timeouts
    from trio_ws.connection.channel import ConnectionObserver
    from trio_ws.connection.inbox import Inbox
    from trio_ws.connection.pings import Pings
    from trio_ws.errors import WebSocketDisconnect
    from trio_ws.protocol.closing import CloseInfo
    from trio_ws.protocol.endpoint import Endpoint
    from trio_ws.protocol.events import ViolationEvent
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timers
    from trio_ws.transport.base import Transport

__all__ = ["LINGER", "ClosingHandshake"]

LINGER: Final = 1.0
"""Seconds for the peer once our part is done: to read the reason of a failure, or to end the network connection."""

NEGLIGIBLE: Final = 4 * 1024
"""Bytes that reach any peer: a close frame, with the overhead of a Unix socket."""


class ReadingPart(Protocol):
    """The reading part of the same connection."""

    end_reported: bool

    def read_on(self) -> None:
        """Parse the data that was kept back, then read on."""

    def stop(self) -> None:
        """Cancel the timers of both other parts: the network connection has ended."""


class ClosingHandshake(ClosingState):
    """The end of a connection over a transport.

    Args:
        transport: the network connection.
        endpoint: the protocol's state.
        inbox: its waiting task is woken at the end.
        client: True on the side that dialled.
        timeouts: of the connection.
        timers: runs the deadlines of all of its parts.

    Attributes:
        observer: is called at the end of the connection.
        pings: the outstanding pings, whose waiting tasks are woken at the end; None before the first.
        taking: the peer's progress with the outbox since that was last full; None if it never was.
        reader: the reading part; None once the network connection has ended.
        peer_ended: the peer has ended its side, possibly behind data that is not read yet.
        network_ended: and all of that data is read.
        gone: the network connection has ended.
        notified: the end was reported to the observer, or needs no report.
    """

    __slots__ = (
        "_changed",
        "_deadline",
        "endpoint",
        "inbox",
        "observer",
        "pings",
        "reader",
        "taking",
        "timeouts",
        "timers",
        "transport",
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
        self.observer: ConnectionObserver | None = None
        self.pings: Pings | None = None
        self.reader: ReadingPart | None = None
        self.taking: DeliveryProgress | None = None
        self.peer_ended: bool = False
        self.network_ended: bool = False
        self.gone: bool = False
        self.notified: bool = False
        self.transport: Transport = transport
        self.endpoint: Endpoint = endpoint
        self.inbox: Inbox = inbox
        self._client = client
        self.timeouts: Timeouts = timeouts
        self.timers: Timers = timers
        self._changed: trio.lowlevel.ParkingLot | None = None
        self._deadline: CloseDeadline | None = None  # since the beginning of the end
        self._peer_lags = False  # the peer had much to take when both close frames had passed

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; None while it is open."""
        return self.endpoint.close_info

    @property
    def open(self) -> bool:
        """True until a close frame has passed, the connection was failed, or it was lost."""
        return self.endpoint.close_info is None

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""
        return self.transport.log

    @property
    def waited_for(self) -> bool:
        """True if a task waits for a change of state."""
        return bool(self._changed)

    # --- this side ends it ---------------------------------------------------------------------------------------

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame unless one has passed, then wait for the peer's.

        The peer has `close_timeout` for it, which begins anew while it takes data that was sent before.

        Raises:
            trio.Cancelled: nothing was sent, or the closing handshake goes on without the caller.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.begin_close(code, reason)
        await self.wait_ended()
        while self.endpoint.state is State.CLOSING:
            await self.wait_changed()

    def begin_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake unless the connection has ended; the observer gets no report.

        A peer that has ended its side is sent no close frame: its data is read to the end for its close frame.
        """
        if self.open:
            self.notified = True
            self.retire(code, reason)

    def retire(self, code: int, reason: str) -> None:
        """Begin the closing handshake of an open connection, and report the end to the observer."""
        event = CloseEvent.WE_CLOSE_AFTER_EOF if self.peer_ended else CloseEvent.WE_CLOSE
        actions = self.endpoint.actions(event)
        if event is CloseEvent.WE_CLOSE:
            self._execute(actions, self.endpoint.close(code, reason))
        else:
            self.endpoint.move(event)
            self._execute(actions)

    def drain(self, code: int, reason: str, delivery_timeout: float) -> None:
        """Begin the closing handshake unless the connection has ended, because the server shuts down.

        The close frame follows the data in the outbox. A slow peer has `delivery_timeout` to take that, as long as it
        takes some of it within each `close_timeout`; then `close_timeout` for its answer.

        Args:
            code: the close code.
            reason: the close reason.
            delivery_timeout: seconds.
        """
        if self.open:
            linger = Linger(delivery_timeout, self.timeouts.close_timeout, draining=True)
            self._deadline = CloseDeadline(self.transport, self.timers, linger)
            self.retire(code, reason)
        elif self._deadline is not None:
            self._deadline.limit(delivery_timeout)

    def shorten_grace(self) -> None:
        """Leave a peer that still takes data at most `close_timeout`."""
        if self._deadline is not None:
            self._deadline.limit(0.0)

    def fail(self, code: int, reason: str) -> None:
        """Fail the connection (RFC 6455 7.1.7): send a close frame, half-close, and end it soon."""
        actions = self.endpoint.actions(CloseEvent.WE_FAIL)
        self._execute(actions, self.endpoint.fail(code, reason))

    def dismiss(self, code: int, reason: str) -> None:
        """Fail an open connection; its data and a close frame have `close_timeout` to be sent."""
        if self.open and not self.network_ended:
            self.fail(code, reason)

    def abort(self, code: int, reason: str) -> None:
        """Fail an open connection, and end the network connection at once; a close frame is sent if it can be."""
        if self.open and not self.network_ended:
            self.fail(code, reason)
            self.disconnect()

    # --- events --------------------------------------------------------------------------------------------------

    def on_item(self, item: CloseConnection | ViolationEvent) -> None:
        """Handle the peer's close frame, or its violation of the protocol."""
        event = CloseEvent.PEER_CLOSES if isinstance(item, CloseConnection) else CloseEvent.WE_FAIL
        actions = self.endpoint.actions(event)
        self._execute(actions, self.endpoint.answer(item))

    def on_peer_ended(self) -> None:
        """Handle the peer's end of stream behind data that is not read yet."""
        self.peer_ended = True
        self._handle(CloseEvent.PEER_ENDS)

    def on_network_ended(self, *, all_read: bool) -> None:
        """Handle the end of the network connection.

        Args:
            all_read: no data is kept back before it.
        """
        self.peer_ended = self.network_ended = True
        self._handle(CloseEvent.NETWORK_ENDS if all_read else CloseEvent.PEER_ENDS)

    def on_all_sent(self) -> None:
        """Handle an outbox that became empty."""
        self._handle(CloseEvent.ALL_SENT)
        self.wake_changed()

    def on_broken(self) -> None:
        """Handle a network that takes no more data: soon the end is reported, read to its end or not."""
        if not self.notified:
            self.timers.call_later(LINGER, self._report_broken)

    def _report_broken(self) -> None:
        self.transport.look()  # a close frame may have arrived
        self._notify()

    def _handle(self, event: CloseEvent) -> None:
        actions = self.endpoint.actions(event)
        self.endpoint.move(event)
        self._execute(actions)

    # --- actions -------------------------------------------------------------------------------------------------

    def _execute(self, actions: tuple[CloseAction, ...], frame: bytes = b"") -> None:
        for action in actions:
            match action:
                case CloseAction.SEND_CLOSE:
                    self.transport.write(frame)
                case CloseAction.HALF_CLOSE:
                    self.transport.finish()
                case CloseAction.AWAIT_ANSWER:
                    self._await_peer(self.timeouts.close_timeout)
                case CloseAction.AWAIT_END:
                    self._await_peer(self.timeouts.close_timeout if self.transport.outbox.size else LINGER)
                case CloseAction.DISCARD if self.reader is not None:
                    self.reader.read_on()
                case CloseAction.NOTIFY:
                    self._notify()
                case CloseAction.DISCONNECT:
                    self.disconnect()
                case CloseAction.DISCONNECT_WHEN_DONE:
                    self._disconnect_when_done()

    def _disconnect_when_done(self) -> None:
        """Close the network connection if all is sent; only half of it while the peer has much to read."""
        ended = self.network_ended
        if self._client and not ended:
            return
        self._peer_lags = self._peer_lags or (not ended and self.transport.uptake().backlog >= NEGLIGIBLE)
        if self.transport.outbox.size:
            return
        if ended or not self._peer_lags:
            self.disconnect()
        else:
            # The peer may still send pongs: a closed socket would answer with a reset, which drops unread data.
            self.transport.finish()

    def disconnect(self) -> None:
        """End the network connection now, and report it."""
        if self.gone:
            return
        self.gone = True
        if self._deadline is not None:
            self._deadline.cancel()
        self.endpoint.release()
        self.transport.close()
        self._notify()
        if self._draining and self.observer is not None:
            self.observer.on_peer_gone(self._cause)
        reader, self.reader = self.reader, None
        if reader is not None:
            reader.stop()

    def _await_peer(self, seconds: float) -> None:
        """Give the peer `seconds` for its part, and time to take the data that was sent before."""
        if self.gone:
            return
        if self._deadline is None:
            times = self.timeouts
            known = self.taking is not None and self.taking.within(times.send_timeout)
            linger = Linger(times.delivery_timeout, times.send_timeout, known=known)
            self._deadline = CloseDeadline(self.transport, self.timers, linger)
        self._deadline.restart(seconds, self._on_timeout)

    def _on_timeout(self, read_all: bool) -> None:
        """End the closing handshake of a peer that did not answer in time."""
        self._handle(CloseEvent.NO_ANSWER if read_all else CloseEvent.TIMEOUT)

    # --- reports -------------------------------------------------------------------------------------------------

    @property
    def _draining(self) -> bool:
        """True if the connection ends because the server shuts down."""
        return self._deadline is not None and self._deadline.draining

    @property
    def _cause(self) -> str:
        """How the connection ended, for log records."""
        return "peer left" if self.close_info is None else str(self.close_info)

    def _notify(self) -> None:
        """Wake all waiting tasks, and report the end to the observer, once."""
        waited_for = self._wake()
        if not self.notified:
            self.notified = True
            if self.reader is not None:
                self.reader.end_reported = True
            if self.observer is not None and self._draining:
                self.observer.on_drain(waited_for=waited_for)
            elif self.observer is not None:
                self.observer.on_closed(self._cause, waited_for=waited_for)

    def report_read(self) -> None:
        """Report the receipt of a message that arrived before the end."""
        if self.observer is not None:
            self.observer.on_read_after_end()

    def raised_end(self, *, while_sending: bool = False) -> WebSocketDisconnect:
        """Return the exception for the end of the connection, which the caller raises."""
        if self.observer is not None:
            self.observer.on_end_raised()
        info = self.close_info or CONNECTION_LOST
        end = disconnect_of(self, info.code, info.reason)
        end.while_sending = while_sending
        return end

    # --- waiting for a change of state ---------------------------------------------------------------------------

    async def wait_ended(self) -> None:
        """Wait until `close_info` is known: at most `close_timeout` after `begin_close`."""
        while self.open:
            await self.wait_changed()

    async def wait_gone(self) -> None:
        """Wait until the network connection has ended, which is bounded once the connection is not open."""
        while not self.gone:
            await self.wait_changed()

    async def flush(self) -> None:
        """Wait until the network has all committed data, at most `close_timeout`."""
        with trio.move_on_after(self.timeouts.close_timeout):
            while self.transport.outbox.size and not self.gone:
                await self.wait_changed()

    async def wait_changed(self) -> None:
        """Wait for `wake_changed`, or for a report of the end."""
        if self._changed is None:
            self._changed = trio.lowlevel.ParkingLot()
        await self._changed.park()

    def wake_changed(self) -> None:
        """Wake the tasks in `wait_changed`."""
        if self._changed is not None:
            self._changed.unpark_all()

    def _wake(self) -> bool:
        """Wake all waiting tasks; return True if there was one."""
        woken = [self.waited_for, self.inbox.wake(), self.transport.outbox.wake()]
        if self.pings is not None:
            woken.append(self.pings.wake())
        self.wake_changed()
        return any(woken)
