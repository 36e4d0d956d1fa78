"""Readiness: the kernel's list of sockets that have something to say, as epoll or kqueue.

Both are level-triggered and are asked without waiting; waiting is Trio's, on the descriptor of the object itself. On a
platform with neither, `make_readiness` is None and every connection uses the stream transport.
"""

from __future__ import annotations

import select
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BROKEN", "DEPARTED", "READABLE", "WRITABLE", "Readiness", "make_readiness"]

READABLE: Final = 1
WRITABLE: Final = 2
DEPARTED: Final = 4
"""The peer has closed its sending side; there may be unread data before the end."""
BROKEN: Final = 8
"""The connection is reset or closed in both directions."""

BATCH: Final = 512
"""Sockets that are reported in one go; the others are reported in the next, so that no one starves."""


class Readiness(ABC):
    """A set of sockets with the events that are wanted of each."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor that is readable while `poll` would report something."""

    @abstractmethod
    def add(self, fd: int, wanted: int) -> None:
        """Begin to watch `fd` for `wanted`, a sum of READABLE, WRITABLE and DEPARTED; BROKEN always counts."""

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


make_readiness: Callable[[], Readiness] | None

if sys.platform == "linux":

    class EpollReadiness(Readiness):
        """Linux's epoll."""

        def __init__(self) -> None:
            self._epoll = select.epoll()

        def fileno(self) -> int:
            """Return the descriptor of the epoll."""
            return self._epoll.fileno()

        def add(self, fd: int, wanted: int) -> None:
            """Begin to watch `fd`."""
            self._epoll.register(fd, _EPOLL_MASKS[wanted])

        def change(self, fd: int, wanted: int) -> None:
            """Watch `fd` for something else."""
            self._epoll.modify(fd, _EPOLL_MASKS[wanted])

        def remove(self, fd: int) -> None:
            """Stop watching `fd`."""
            self._epoll.unregister(fd)

        def poll(self) -> list[tuple[int, int]]:
            """Return what epoll reports of at most BATCH sockets."""
            return [(fd, _EPOLL_MEANINGS[mask]) for fd, mask in self._epoll.poll(0, BATCH)]

        def close(self) -> None:
            """Close the epoll."""
            self._epoll.close()

    _EPOLL_BITS: Final = (
        (select.EPOLLIN, READABLE),
        (select.EPOLLOUT, WRITABLE),
        (select.EPOLLRDHUP, DEPARTED),
        (select.EPOLLHUP, BROKEN),
        (select.EPOLLERR, BROKEN),
    )

    def _epoll_meaning(mask: int) -> int:
        meaning = 0
        for bit, word in _EPOLL_BITS:
            if mask & bit:
                meaning |= word
        return meaning

    class _Meanings(dict[int, int]):
        def __missing__(self, mask: int) -> int:
            self[mask] = meaning = _epoll_meaning(mask)
            return meaning

    _EPOLL_MEANINGS: Final = _Meanings()
    """Of each mask that epoll has reported so far: 32 at most."""
    _EPOLL_MASKS: Final = tuple(sum(bit for bit, word in _EPOLL_BITS[:3] if wanted & word) for wanted in range(BROKEN))

    make_readiness = EpollReadiness

elif sys.platform == "darwin" or sys.platform.startswith("freebsd"):
    from trio_ws.transport.kqueue import KqueueReadiness

    make_readiness = KqueueReadiness

else:
    make_readiness = None
