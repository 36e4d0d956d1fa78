"""Progress of a peer with what it was sent, judged by what it takes and not by what the kernel takes of us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    from trio_ws.transport.socket_options import Uptake

__all__ = ["LOOKS", "Linger", "Progress"]

LOOKS: Final = 8
"""Looks at the peer's progress in the time that it has for it: the last one is dated no worse than that."""


class UptakeSource(Protocol):
    """What leads to a peer: a transport, or a connection over one."""

    def uptake(self) -> Uptake:
        """Return how far the peer has come with what was sent."""


class Progress:
    """The time at which a peer last took something, found out by looking from time to time.

    The first look is what later ones are compared with: what was on its way before is none of the peer's doing.

    Attributes:
        time: of the last look that saw progress, by Trio's clock; before that, of the beginning.
        seen: whether one did.
    """

    __slots__ = ("_taken", "seen", "time")

    def __init__(self) -> None:
        self.time: float = trio.current_time()
        self.seen: bool = False
        self._taken: tuple[int, int] | None = None

    def look(self, way: UptakeSource, now: float) -> Uptake:
        """Look at the peer's progress at the time `now`; return how far it has come."""
        uptake = way.uptake()
        if self._taken not in (None, uptake.taken):
            self.time = now
            self.seen = True
        self._taken = uptake.taken
        return uptake

    def restart(self) -> None:
        """Begin anew, with what was seen so far in mind."""
        self.time = trio.current_time()
        self._taken = None


class Linger:
    """The patience with a peer at the end of a connection, as long as it takes what was sent.

    Args:
        total: seconds in which it must have taken everything.
        stall: seconds for which it may stop at most; within that, as long as it was seen to take something, and no less
            than it has to answer.
        known: the peer was seen to take something within `stall` before; then it may stop for all of that.
        draining: the connection ends because its server does.
    """

    __slots__ = ("_answer", "_began", "_born", "_known", "_progress", "_stall", "_until", "draining")

    def __init__(self, total: float, stall: float, *, known: bool = False, draining: bool = False) -> None:
        self.draining: bool = draining
        self._progress = Progress()
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
        """Let the patience end in `seconds`, if it lasts longer."""
        self._until = min(self._until, trio.current_time() + seconds)

    def restart(self, answer: float) -> float:
        """Begin with the next part of the end; return in how many seconds to look at the peer.

        Args:
            answer: seconds that the peer has for its own part.
        """
        self._answer = answer
        self._progress.restart()
        self._began = self._progress.time
        return self._step(self._until + answer - self._began)

    def look(self, way: UptakeSource) -> tuple[float, bool]:
        """Look at the peer; return in how many seconds to look again, and whether it has yet to take something.

        Not a positive number says that its time is over.
        """
        now = trio.current_time()
        progress = self._progress
        pending = progress.look(way, now).pending
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
