"""Readiness of sockets with Linux's epoll (epoll(7))."""

from __future__ import annotations

import select

from trio_ws.transport import selector
from trio_ws.transport.selector import Selector

__all__ = ["EpollSelector"]


class EpollSelector(Selector):
    """Linux's epoll."""

    is_epoll = True

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def fileno(self) -> int:
        """Return the descriptor of the epoll."""
        return self._epoll.fileno()

    def add(self, fd: int, interest: int) -> None:
        """Begin to watch `fd`."""
        self._epoll.register(fd, interest)

    def change(self, fd: int, interest: int) -> None:
        """Watch `fd` for other events."""
        self._epoll.modify(fd, interest)

    def remove(self, fd: int) -> None:
        """Stop watching `fd`."""
        self._epoll.unregister(fd)

    def poll(self) -> list[tuple[int, int]]:
        """Return the events of at most BATCH sockets."""
        return self._epoll.poll(0, selector.BATCH)

    def close(self) -> None:
        """Close the epoll."""
        self._epoll.close()
