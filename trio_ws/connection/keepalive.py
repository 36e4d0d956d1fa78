"""Periodic checks for a dead peer, an idle connection and the maximum lifetime.

A message that passes costs nothing here: the checks read the times that reader and writer keep.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from trio_ws.codes import CloseCode
from trio_ws.runtime.timers import Deadline
from trio_ws.transport.progress import DeliveryProgress

if TYPE_CHECKING:
    from trio_ws.config import Timeouts
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timers
    from trio_ws.transport.socket_options import Uptake

__all__ = ["Keepalive", "KeepaliveTarget"]


class _Writer(Protocol):
    """The keepalive of a sending part."""

    message_time: float

    def send_keepalive(self) -> bool:
        """Send a ping whose pong is not waited for; return False, and send none, if the outbox is too full."""


class _Closing(Protocol):
    """The ends that this module causes."""

    @property
    def open(self) -> bool:
        """True until the connection has ended."""

    def fail(self, code: int, reason: str) -> None:
        """Fail the connection."""

    def retire(self, code: int, reason: str) -> None:
        """Begin the closing handshake, and report the end."""


class MeasuredTransport(Protocol):
    """The network connection."""

    log: ConnectionLog | None

    def look(self) -> bool:
        """Read and write what is possible without waiting."""

    def uptake(self) -> Uptake:
        """Return how far the peer has come with the data that was sent."""


class KeepaliveTarget(Protocol):
    """The receiving part of the connection to check."""

    message_time: float
    read_time: float
    paused: bool

    @property
    def pending(self) -> bool:
        """True if messages wait to be received."""

    @property
    def writer(self) -> _Writer:
        """The sending part."""

    @property
    def closing(self) -> _Closing:
        """The end."""

    @property
    def transport(self) -> MeasuredTransport:
        """The network connection."""


class Keepalive(Deadline):
    """The checks of one connection; as a deadline, the next check of its peer.

    Args:
        connection: the connection to check.
        timeouts: `ping_interval`, `ping_timeout`, `idle_timeout` and `max_lifetime` of it.
        timers: runs the deadlines.
    """

    __slots__ = (
        "_connection",
        "_idle_check",
        "_life_timer",
        "_pinged",
        "_progress",
        "_timeouts",
        "_timers",
    )

    def __init__(self, connection: KeepaliveTarget, timeouts: Timeouts, timers: Timers) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._timers = timers
        self._progress: DeliveryProgress | None = None  # if unsent data is before the ping
        self._pinged = math.inf  # when the outstanding ping was sent
        self.armed: bool = False
        self._check_again(timeouts.ping_interval)
        self._idle_check: IdleCheck | None = None
        if timeouts.idle_timeout != math.inf:
            self._idle_check = IdleCheck(connection, timeouts.idle_timeout, timers)
        self._life_timer = timers.call_later(timeouts.max_lifetime, self._retire)

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""
        return self._connection.transport.log

    def stop(self) -> None:
        """Cancel the checks of a connection that has ended."""
        self.cancel()
        if self._idle_check is not None:
            self._idle_check.stop()
        self._life_timer.cancel()
        del self._connection  # the timers keep what is cancelled until it would have been due

    def fire(self) -> None:
        """Check that the peer is alive."""
        connection = self._connection
        if not connection.closing.open:
            return
        now = trio.current_time()
        silent_since = connection.read_time
        if connection.paused:
            # The pong may be behind data that is not read. A ping is sent all the same: a peer that has vanished
            # answers it with a reset, which is found out even so.
            self._pinged = math.inf
            connection.writer.send_keepalive()
            self._check_again(self._timeouts.ping_interval)
        elif self._pinged <= silent_since or self._pinged == math.inf:
            self._ping_if_due(now, silent_since + self._timeouts.ping_interval)
        elif now >= (due := self._pong_time_start(now) + self._timeouts.ping_timeout):
            self._fail_unless_read(connection)
        else:
            self._check_again(due - now)

    def _pong_time_start(self, now: float) -> float:
        """Return when the pong's time began: at the ping, or when the peer last took data that was before it."""
        if self._progress is None:
            return self._pinged
        self._progress.look(self._connection.transport, now)
        return max(self._pinged, self._progress.time)

    def _fail_unless_read(self, connection: KeepaliveTarget) -> None:
        connection.transport.look()
        if connection.closing.open and connection.read_time < self._pinged:
            connection.closing.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        elif connection.closing.open:
            self.fire()

    def _ping_if_due(self, now: float, due: float) -> None:
        if now < due:
            self._check_again(due - now)
            return
        connection = self._connection
        progress = DeliveryProgress()
        self._progress = progress if progress.look(connection.transport, now).backlog else None
        if not connection.writer.send_keepalive():
            # A slow peer is not dead; `send_timeout` ends a connection whose peer takes nothing.
            self._check_again(self._timeouts.ping_interval)
            return
        if self._timeouts.ping_timeout != math.inf:
            self._pinged = now
        self._check_again(min(self._timeouts.ping_timeout, self._timeouts.ping_interval))

    def _check_again(self, seconds: float) -> None:
        if seconds != math.inf:
            self._timers.arm(self, seconds)

    def _retire(self) -> None:
        if self._connection.closing.open:
            self._connection.closing.retire(CloseCode.GOING_AWAY, "maximum lifetime reached")


class IdleCheck:
    """The check that a message passes now and then.

    Args:
        connection: the connection to check.
        seconds: in which a message has to pass, either way.
        timers: runs the deadline.
    """

    __slots__ = ("_connection", "_from", "_seconds", "_timer", "_timers")

    def __init__(self, connection: KeepaliveTarget, seconds: float, timers: Timers) -> None:
        self._connection = connection
        self._seconds = seconds
        self._timers = timers
        self._from = -math.inf  # the last time at which unread data may have been waiting
        self._timer = timers.call_later(seconds, self._check)

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""
        return self._connection.transport.log

    def stop(self) -> None:
        """Cancel the check of a connection that has ended."""
        self._timer.cancel()

    def _check(self) -> None:
        connection = self._connection
        if self._time_left(connection) <= 0:
            connection.transport.look()
        if not connection.closing.open:
            return
        if connection.paused and connection.pending:
            self._from = trio.current_time()  # the peer's messages may be behind data that is not read
        left = self._time_left(connection)
        if left > 0:
            self._timer = self._timers.call_later(left, self._check)
        else:
            connection.closing.retire(CloseCode.GOING_AWAY, "idle timeout")

    def _time_left(self, connection: KeepaliveTarget) -> float:
        last = max(connection.message_time, connection.writer.message_time, self._from)
        return last + self._seconds - trio.current_time()
