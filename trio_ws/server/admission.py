"""Admission of connections to a server, and the bound on refused ones."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from trio_ws.config import Limits

__all__ = ["Admission"]

SPARE_DESCRIPTORS: Final = 64
"""Descriptors left for logs and the application, whatever `max_connections` is."""
REFUSALS: Final = 32
"""Connections that are refused at the same time. Each has a descriptor until its client has read the answer."""


class RefusedConnection(Protocol):
    """A connection that is being refused."""

    def drop(self) -> bool:
        """End the network connection without an answer; return whether its descriptor is free already."""


class Admission:
    """The connections of one server by number, address and admission.

    Refused connections take no room from admitted ones, and are bounded themselves: the oldest is closed for a later
    one.

    Make it when the server begins to accept: descriptors open by then count as in use.

    Args:
        limits: `max_connections` and `max_connections_per_ip` of them.
    """

    def __init__(self, limits: Limits) -> None:
        left = max(_descriptors_left() - SPARE_DESCRIPTORS, 2)
        self._refusals = min(REFUSALS, max(left // 4, 1))
        self._room = min(limits.max_connections or sys.maxsize, left - self._refusals)
        # The process may open other descriptors: the number of this one, the lowest that was free, takes them in.
        self._ceiling = _highest_descriptor() - SPARE_DESCRIPTORS if left > 2 else sys.maxsize
        self._per_address_room = limits.max_connections_per_ip
        self._admitted = 0
        self._per_address: Counter[str] = Counter()
        self._refused: dict[RefusedConnection, bool] = {}  # the oldest first, and whether it was dropped

    def full(self, host: str, descriptor: int = -1) -> bool:
        """Return True if a connection is to be refused.

        Args:
            host: its address.
            descriptor: its number, -1 if it has none.
        """
        if self._admitted >= self._room or descriptor >= self._ceiling - self._refusals:
            return True
        # The clients of a Unix socket have no address, and are no single client.
        room = self._per_address_room
        return room is not None and host != "" and self._per_address[host] >= room

    def can_refuse(self, descriptor: int = -1) -> bool:
        """Return True if a connection can be refused with an answer, after closing the oldest refused one."""
        if descriptor >= self._ceiling:
            return False
        if len(self._refused) < self._refusals:
            return True
        oldest = next((each for each, dropped in self._refused.items() if not dropped), None)
        if oldest is None:
            return False
        if oldest.drop():
            del self._refused[oldest]
            return True
        self._refused[oldest] = True
        return False

    def admit(self, host: str) -> None:
        """Count a connection from an address."""
        self._admitted += 1
        self._per_address[host] = self._per_address.get(host, 0) + 1

    def leave(self, host: str) -> None:
        """Stop counting an admitted connection."""
        self._admitted -= 1
        self._per_address[host] -= 1
        if not self._per_address[host]:
            del self._per_address[host]

    def refuse(self, connection: RefusedConnection) -> None:
        """Count a connection that is being refused."""
        self._refused[connection] = False

    def refused(self, connection: RefusedConnection) -> None:
        """Stop counting a refused connection."""
        self._refused.pop(connection, None)


def _descriptors_left() -> int:
    """Return how many descriptors the process may still open."""
    highest = _highest_descriptor()
    return highest if highest == sys.maxsize else highest - _descriptors_in_use()


def _highest_descriptor() -> int:
    """Return the limit on the numbers of the process's descriptors."""
    if sys.platform == "win32":
        return sys.maxsize
    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def _descriptors_in_use() -> int:
    """Return how many descriptors the process has open, 0 where the platform does not list them."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0
