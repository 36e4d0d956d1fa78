"""Keepalive: finds out that a silent peer is dead, that a connection is idle, and that it is old enough.

It looks at a connection from time to time and never when a message passes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from trio_ws.codes import CloseCode
from trio_ws.runtime.timers import Deadline
from trio_ws.transport.progress import Progress

if TYPE_CHECKING:
    from trio_ws.config import Timeouts
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timers
    from trio_ws.transport.socket_options import Uptake

__all__ = ["Keepalive", "KeepaliveTarget"]


class KeepaliveTarget(Protocol):
    """What keepalive needs of a connection."""

    heard_time: float
    message_time: float

    @property
    def log(self) -> ConnectionLog | None:
        """Says in records which connection it is."""

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""

    @property
    def paused(self) -> bool:
        """Whether the socket is not being read because the inbox is full."""

    @property
    def pending(self) -> bool:
        """Whether messages wait that nobody has received."""

    def look(self) -> None:
        """Take what has arrived, if it was not read yet."""

    def uptake(self) -> Uptake:
        """Return how far the peer has come with what was sent."""

    def send_keepalive(self) -> bool:
        """Send a ping that nobody waits for, unless too much is before it on its way out; say whether it was sent."""

    def fail(self, code: int, reason: str) -> None:
        """Give the peer up."""

    def retire(self, code: int, reason: str) -> None:
        """Begin the closing handshake in the library's own name."""


class Keepalive(Deadline):
    """The watch over one connection. As a deadline it is the next look at whether the peer is alive.

    Args:
        connection: the one to watch.
        timeouts: `ping_interval`, `ping_timeout`, `idle_timeout` and `max_lifetime` of it.
        timers: calls back.
    """

    __slots__ = (
        "_connection",
        "_idle_from",
        "_idle_timer",
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
        self._progress: Progress | None = None  # if something was before the ping
        self._pinged = math.inf  # when the outstanding ping was sent
        self._idle_from = -math.inf  # when it last could not be said whether the peer sends
        self.armed: bool = False
        self._again(timeouts.ping_interval)
        self._idle_timer = timers.after(timeouts.idle_timeout, self._look_for_idleness)
        self._life_timer = timers.after(timeouts.max_lifetime, self._retire)

    @property
    def log(self) -> ConnectionLog | None:
        """Says in records which connection it is."""
        return self._connection.log

    def stop(self) -> None:
        """The connection has ended: let go of it now, not when the last deadline would have come."""
        self.cancel()
        self._idle_timer.cancel()
        self._life_timer.cancel()
        del self._connection  # the timers keep what is cancelled until it would have been due

    def due(self) -> None:
        """Look whether the peer is alive."""
        if not self._connection.open:
            return
        now = trio.current_time()
        silent_since = self._connection.heard_time
        if self._connection.paused:
            # Its pong may sit behind what we do not read: the peer is not to blame. But if it has left, the end sits
            # there, too, and only an answer to what we send, a reset, tells.
            self._pinged = math.inf
            self._connection.send_keepalive()
            self._again(self._timeouts.ping_interval)
        elif self._pinged <= silent_since or self._pinged == math.inf:
            self._ping_if_due(now, silent_since + self._timeouts.ping_interval)
        elif now >= (due := self._begun(now) + self._timeouts.ping_timeout):
            self._give_up_unless_heard(self._connection)
        else:
            self._again(due - now)

    def _begun(self, now: float) -> float:
        """Return when the time for the pong began: with the ping, or when the peer last took what was before it."""
        if self._progress is None:
            return self._pinged
        self._progress.look(self._connection, now)
        return max(self._pinged, self._progress.time)

    def _give_up_unless_heard(self, connection: KeepaliveTarget) -> None:
        connection.look()
        if connection.open and connection.heard_time < self._pinged:
            connection.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
        elif connection.open:
            self.due()

    def _ping_if_due(self, now: float, due: float) -> None:
        if now < due:
            self._again(due - now)
            return
        progress = Progress()
        self._progress = progress if progress.look(self._connection, now).backlog else None
        if not self._connection.send_keepalive():
            # Who takes long for what it was sent is not dead; who takes nothing at all is `send_timeout`'s.
            self._again(self._timeouts.ping_interval)
            return
        if self._timeouts.ping_timeout != math.inf:
            self._pinged = now
        self._again(min(self._timeouts.ping_timeout, self._timeouts.ping_interval))

    def _again(self, seconds: float) -> None:
        if seconds != math.inf:
            self._timers.arm(self, seconds)

    def _look_for_idleness(self) -> None:
        connection = self._connection
        if self._idle_time_left(connection) <= 0:
            connection.look()
        if not connection.open:
            return
        if connection.paused and connection.pending:
            # What it sends may sit behind what we do not read: the peer is not to blame.
            self._idle_from = trio.current_time()
        left = self._idle_time_left(connection)
        if left > 0:
            self._idle_timer = self._timers.after(left, self._look_for_idleness)
        else:
            connection.retire(CloseCode.GOING_AWAY, "idle timeout")

    def _idle_time_left(self, connection: KeepaliveTarget) -> float:
        since = max(connection.message_time, self._idle_from)
        return since + self._timeouts.idle_timeout - trio.current_time()

    def _retire(self) -> None:
        if self._connection.open:
            self._connection.retire(CloseCode.GOING_AWAY, "maximum lifetime reached")
