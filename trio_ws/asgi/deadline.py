"""Deadlines that wait for data on its way through the ASGI server."""

from __future__ import annotations

from typing import Final

__all__ = ["ExpiryCheck"]

CHECKS: Final = 8
"""Scheduler turns between the expiry of a deadline and its effect."""


class ExpiryCheck:
    """A deadline that has no effect until it has expired for `CHECKS` scheduler turns.

    After the event loop was blocked, data that has arrived still has to pass through the tasks of the ASGI server.
    """

    def __init__(self) -> None:
        self._checks = 0

    def is_early(self, left: float) -> bool:
        """Return True if the deadline has to be checked again in the next turn.

        Args:
            left: seconds until the deadline; 0 or less after it.
        """
        self._checks = self._checks + 1 if left <= 0 else 0
        return 0 < self._checks <= CHECKS

    def reset(self) -> None:
        """Start again: the deadline has moved."""
        self._checks = 0
