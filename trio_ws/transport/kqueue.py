"""Readiness of sockets with kqueue, on macOS and the BSDs.

It is tested against a model of kqueue that follows the manual pages (kqueue(2) of FreeBSD and macOS), not on every
system that has one.
"""

from __future__ import annotations

import select
from typing import Any, Final

from trio_ws.transport.selector import BATCH, ERROR_OR_HANGUP, PEER_CLOSED, READABLE, WRITABLE, Selector

__all__ = ["KqueueSelector"]

_ALWAYS: Final = ERROR_OR_HANGUP | WRITABLE
"""What is reported whether it was wanted or not: to ask for the write filter is to want it."""


class KqueueSelector(Selector):
    """A kqueue.

    Each socket always has its read filter: it tells of the peer's end (EV_EOF, an error in fflags if it was a reset),
    and of data. While data is not wanted it is edge-triggered (EV_CLEAR), because data that nobody reads would be
    reported for ever. The write filter exists while it is wanted; its EV_EOF is told as WRITABLE, since the attempt to
    write finds out what is wrong.

    Args:
        kernel: the module that has kqueue; another one in tests.
    """

    def __init__(self, kernel: Any = select) -> None:
        self._kernel = kernel
        self._kqueue = kernel.kqueue()
        self._wanted: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the descriptor of the kqueue."""
        return int(self._kqueue.fileno())

    def add(self, fd: int, wanted: int) -> None:
        """Begin to watch `fd`."""
        self._wanted[fd] = wanted
        self._apply([self._reading(fd, wanted), *self._writing(fd, 0, wanted)])

    def change(self, fd: int, wanted: int) -> None:
        """Watch `fd` for something else."""
        before, self._wanted[fd] = self._wanted[fd], wanted
        changes = self._writing(fd, before, wanted)
        if (before ^ wanted) & READABLE:
            # To add a filter that exists changes what it waits for, but not whether it is edge-triggered.
            kernel = self._kernel
            changes += [self._event(fd, kernel.KQ_FILTER_READ, kernel.KQ_EV_DELETE), self._reading(fd, wanted)]
        self._apply(changes)

    def remove(self, fd: int) -> None:
        """Stop watching `fd`."""
        wanted = self._wanted.pop(fd)
        kernel = self._kernel
        self._apply([self._event(fd, kernel.KQ_FILTER_READ, kernel.KQ_EV_DELETE), *self._writing(fd, wanted, 0)])

    def poll(self) -> list[tuple[int, int]]:
        """Return pairs of a descriptor and what is the matter with it; a socket's two filters may make two pairs."""
        found = []
        for event in self._kqueue.control(None, BATCH, 0):
            matter = self._meaning(event) & (self._wanted.get(event.ident, 0) | _ALWAYS)
            if matter:
                found.append((event.ident, matter))
        return found

    def close(self) -> None:
        """Give the kqueue's descriptor back."""
        self._kqueue.close()

    def _meaning(self, event: Any) -> int:
        if event.filter == self._kernel.KQ_FILTER_WRITE:
            return WRITABLE
        if not event.flags & self._kernel.KQ_EV_EOF:
            return READABLE
        return READABLE | PEER_CLOSED | (ERROR_OR_HANGUP if event.fflags else 0)

    def _reading(self, fd: int, wanted: int) -> Any:
        kernel = self._kernel
        edge = 0 if wanted & READABLE else kernel.KQ_EV_CLEAR
        return self._event(fd, kernel.KQ_FILTER_READ, kernel.KQ_EV_ADD | edge)

    def _writing(self, fd: int, before: int, wanted: int) -> list[Any]:
        kernel = self._kernel
        if not (before ^ wanted) & WRITABLE:
            return []
        flags = kernel.KQ_EV_ADD if wanted & WRITABLE else kernel.KQ_EV_DELETE
        return [self._event(fd, kernel.KQ_FILTER_WRITE, flags)]

    def _event(self, fd: int, kind: int, flags: int) -> Any:
        return self._kernel.kevent(fd, kind, flags)

    def _apply(self, changes: list[Any]) -> None:
        if changes:
            self._kqueue.control(changes, 0, 0)
