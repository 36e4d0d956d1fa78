"""A peer's progress with the data that it was sent.

It is measured by what the peer takes, not by what our kernel takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from trio_ws.transport.socket_options import Uptake

__all__ = ["LOOKS", "DeliveryProgress", "Linger"]

LOOKS: Final = 8
"""Samples within a time limit; they are the precision of the time of progress."""


class UptakeSource(Protocol):
    """A transport, or a connection over one."""

    def uptake(self) -> Uptake:
        """Return how far the peer has come with what was sent."""


class DeliveryProgress:
    """The time at which a peer last took data, found by sampling.

    The first sample is the base of later ones: data that was sent before is no sign of the peer.

    Attributes:
        time: of the last sample with progress, by Trio's clock; before that, of the beginning.
        seen: whether there was one.
    """

    __slots__ = ("_taken", "seen", "time")

    def __init__(self) -> None:
        self.time: float = trio.current_time()
        self.seen: bool = False
        self._taken: tuple[int, int] | None = None

    def look(self, source: UptakeSource, now: float) -> Uptake:
        """Sample the peer's progress at the time `now`."""
        uptake = source.uptake()
        if self._taken not in (None, uptake.taken):
            self.time = now
            self.seen = True
        self._taken = uptake.taken
        return uptake

    def within(self, seconds: float) -> bool:
        """Return True if progress was seen in the last `seconds`."""
        return self.seen and self.time + seconds > trio.current_time()

    def restart(self) -> None:
        """Begin again, keeping `seen`."""
        self.time = trio.current_time()
        self._taken = None


class Linger:
    """The time limits of a closing connection whose peer still takes data.

    Args:
        total: seconds in which it must have taken everything.
        stall: seconds for which it may stop at most; within that, as long as it was seen to take something, and no less
            than it has to answer.
        known: whether the peer took something within `stall` before; then it may stop for all of that.
        draining: the connection ends because its server does.
    """

    __slots__ = ("_answer", "_began", "_born", "_known", "_progress", "_stall", "_until", "draining")

    def __init__(self, total: float, stall: float, *, known: bool = False, draining: bool = False) -> None:
        self.draining: bool = draining
        self._progress = DeliveryProgress()
        self._known = known
        self._born = self._began = self._progress.time
        self._stall = stall
        self._answer = 0.0
        self._until = self._began + total

    @property
    def seen(self) -> bool:
        """Whether the peer was seen to take something."""
        return self._progress.seen

    def limit(self, seconds: float) -> None:
        """Let the time end in `seconds` at the latest."""
        self._until = min(self._until, trio.current_time() + seconds)

    def restart(self, answer: float) -> float:
        """Begin the next part; return the seconds to the first sample.

        Args:
            answer: seconds that the peer has for its own part of the end.
        """
        self._answer = answer
        self._progress.restart()
        self._began = self._progress.time
        return self._step(self._until + answer - self._began)

    def look(self, source: UptakeSource) -> tuple[float, bool]:
        """Sample the peer's progress.

        Returns:
            Seconds until the next sample, not positive if the time is over; and whether the peer has yet to take
            something.
        """
        now = trio.current_time()
        progress = self._progress
        pending = progress.look(source, now).pending
        if pending:
            shown = self._stall if self._known else min(progress.time - self._born, self._stall)
            patience = max(shown, self._answer)
            due = max(min(progress.time + patience, self._until), self._began + self._answer)
        else:
            due = progress.time + self._answer
        left = min(due, self._until + self._answer) - now
        return self._step(left) if left > 0 else left, pending

    def _step(self, left: float) -> float:
        return max(min(left, self._answer / LOOKS), 0.0)
