"""One interface over the kernel's selector lists, epoll and kqueue.

Both are level-triggered and are polled without waiting: Trio waits, on the descriptor of the selector itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

__all__ = ["BATCH", "ERROR_OR_HANGUP", "PEER_CLOSED", "READABLE", "WRITABLE", "Selector"]

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
    """A set of sockets with the events that each is watched for."""

    is_epoll: ClassVar[bool] = False
    """Whether `fileno` is an epoll's."""

    @abstractmethod
    def fileno(self) -> int:
        """Return the descriptor that is readable while `poll` would report something."""

    @abstractmethod
    def add(self, fd: int, interest: int) -> None:
        """Begin to watch `fd`.

        Args:
            fd: a socket's descriptor.
            interest: a sum of READABLE, WRITABLE, PEER_CLOSED; ERROR_OR_HANGUP is always reported.
        """

    @abstractmethod
    def change(self, fd: int, interest: int) -> None:
        """Watch `fd` for other events."""

    @abstractmethod
    def remove(self, fd: int) -> None:
        """Stop watching `fd`, before it is closed."""

    @abstractmethod
    def poll(self) -> list[tuple[int, int]]:
        """Return pairs of a descriptor and its events, without waiting."""

    @abstractmethod
    def close(self) -> None:
        """Close the selector's descriptor."""
