"""Readiness: the kernel's list of sockets that have something to say, as epoll or kqueue.

Both are level-triggered and are asked without waiting; waiting is Trio's, on the descriptor of the object itself. On a
platform with neither, `make_selector` is None and every connection uses the stream transport.
"""

from __future__ import annotations

import select
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ERROR_OR_HANGUP", "PEER_CLOSED", "READABLE", "WRITABLE", "Selector", "make_selector"]

# The bits are those of Linux's epoll, so that nothing has to be translated where every microsecond counts.
READABLE: Final = 0x1
WRITABLE: Final = 0x4
PEER_CLOSED: Final = 0x2000
"""The peer has closed its sending side; there may be unread data before the end."""
ERROR_OR_HANGUP: Final = 0x8 | 0x10
"""The connection is reset (one bit), or closed in both directions (the other)."""

BATCH: Final = 128
"""Sockets that are reported in one go; the others are reported in the next, so that no one starves. More at once would
save little, and what was read would have left the processor's cache before its handler runs: with 1,000 busy
connections 512 cost a tenth more for each message."""


class Selector(ABC):
    """A set of sockets with the events that are wanted of each."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor that is readable while `poll` would report something."""

    @abstractmethod
    def add(self, fd: int, wanted: int) -> None:
        """Begin to watch `fd` for `wanted`, a sum of READABLE, WRITABLE and PEER_CLOSED; ERROR_OR_HANGUP always counts."""

    @abstractmethod
    def change(self, fd: int, wanted: int) -> None:
        """Watch `fd` for something else."""

    @abstractmethod
    def remove(self, fd: int) -> None:
        """Stop watching `fd`, before it is closed."""

    @abstractmethod
    def poll(self) -> list[tuple[int, int]]:
        """Return pairs of a descriptor and what is the matter with it, without waiting."""

    @abstractmethod
    def close(self) -> None:
        """Give the descriptor back."""


make_selector: Callable[[], Selector] | None

if sys.platform == "linux":

    class EpollSelector(Selector):
        """Linux's epoll."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def fileno(self) -> int:
            """Return the descriptor of the epoll."""
            return self._epoll.fileno()

        def add(self, fd: int, wanted: int) -> None:
            """Begin to watch `fd`."""
            self._epoll.register(fd, wanted)

        def change(self, fd: int, wanted: int) -> None:
            """Watch `fd` for something else."""
            self._epoll.modify(fd, wanted)

        def remove(self, fd: int) -> None:
            """Stop watching `fd`."""
            self._epoll.unregister(fd)

        def poll(self) -> list[tuple[int, int]]:
            """Return what epoll reports of at most BATCH sockets."""
            return self._epoll.poll(0, BATCH)

        def close(self) -> None:
            """Close the epoll."""
            self._epoll.close()

    make_selector = EpollSelector

elif sys.platform == "darwin" or sys.platform.startswith("freebsd"):
    from trio_ws.transport.kqueue import KqueueSelector

    make_selector = KqueueSelector

else:
    make_selector = None
