"""The time that a peer has for its part of a closing handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_ws.transport.progress import Linger

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.runtime.timers import Timer, Timers
    from trio_ws.transport.base import Transport

__all__ = ["CloseDeadline"]


class CloseDeadline:
    """The deadline of a closing connection, postponed while its peer takes data.

    Args:
        transport: the network connection.
        timers: runs the deadline.
        linger: the limits for a peer that still takes data.
    """

    __slots__ = ("_linger", "_on_timeout", "_timer", "_timers", "_transport")

    def __init__(self, transport: Transport, timers: Timers, linger: Linger) -> None:
        self._transport = transport
        self._timers = timers
        self._linger = linger
        self._timer: Timer | None = None
        self._on_timeout: Callable[[bool], None] | None = None

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""
        return self._transport.log

    @property
    def draining(self) -> bool:
        """Whether the connection ends because its server does."""
        return self._linger.draining

    def limit(self, seconds: float) -> None:
        """Leave a peer that still takes data at most so many seconds."""
        self._linger.limit(seconds)

    def restart(self, seconds: float, on_timeout: Callable[[bool], None]) -> None:
        """Give the peer time for the next part of the end.

        Args:
            seconds: for its answer, after it has taken what was sent before.
            on_timeout: called when the time is over, with True if the peer has taken everything but did not answer.
        """
        self.cancel()
        self._on_timeout = on_timeout
        self._timer = self._timers.call_later(self._linger.restart(seconds), self._check)

    def cancel(self) -> None:
        """Cancel the deadline, and drop its callback."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._on_timeout = None

    def _check(self) -> None:
        """Call `on_timeout` if the peer's time is over."""
        left, pending = self._linger.look(self._transport)
        if left <= 0:
            timer = self._timer
            self._transport.look()
            if self._timer is not timer:  # what arrived has ended the connection, or restarted the deadline
                return
            left, pending = self._linger.look(self._transport)
        if left > 0:
            self._timer = self._timers.call_later(left, self._check)
        elif self._on_timeout is not None:
            self._on_timeout(self._linger.seen and not pending)
