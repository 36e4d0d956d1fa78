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
"""Events that are reported in any case: the write filter exists only while it is wanted."""


class KqueueSelector(Selector):
    """A selector over kqueue.

    Each socket always has its read filter: it reports the peer's end (EV_EOF, an error in fflags if it was a reset),
    and data. While data is not wanted it is edge-triggered (EV_CLEAR), because unread data would be reported for ever.
    The write filter exists while it is wanted; its EV_EOF is reported as WRITABLE, since the attempt to write finds the
    error.

    Args:
        kernel: the module that has kqueue; another one in tests.
    """

    def __init__(self, kernel: Any = select) -> None:
        self._kernel = kernel
        self._kqueue = kernel.kqueue()
        self._interest: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the descriptor of the kqueue."""
        return int(self._kqueue.fileno())

    def add(self, fd: int, interest: int) -> None:
        """Begin to watch `fd`."""
        self._interest[fd] = interest
        self._apply([self._reading(fd, interest), *self._writing(fd, 0, interest)])

    def change(self, fd: int, interest: int) -> None:
        """Watch `fd` for other events."""
        before, self._interest[fd] = self._interest[fd], interest
        changes = self._writing(fd, before, interest)
        if (before ^ interest) & READABLE:
            # To add a filter that exists changes what it waits for, but not whether it is edge-triggered.
            kernel = self._kernel
            changes += [self._event(fd, kernel.KQ_FILTER_READ, kernel.KQ_EV_DELETE), self._reading(fd, interest)]
        self._apply(changes)

    def remove(self, fd: int) -> None:
        """Stop watching `fd`."""
        interest = self._interest.pop(fd)
        kernel = self._kernel
        self._apply([self._event(fd, kernel.KQ_FILTER_READ, kernel.KQ_EV_DELETE), *self._writing(fd, interest, 0)])

    def poll(self) -> list[tuple[int, int]]:
        """Return pairs of a descriptor and its events.

        A socket's two filters may make two pairs.
        """
        found = []
        for event in self._kqueue.control(None, BATCH, 0):
            events = self._meaning(event) & (self._interest.get(event.ident, 0) | _ALWAYS)
            if events:
                found.append((event.ident, events))
        return found

    def close(self) -> None:
        """Close the kqueue's descriptor."""
        self._kqueue.close()

    def _meaning(self, event: Any) -> int:
        if event.filter == self._kernel.KQ_FILTER_WRITE:
            return WRITABLE
        if not event.flags & self._kernel.KQ_EV_EOF:
            return READABLE
        return READABLE | PEER_CLOSED | (ERROR_OR_HANGUP if event.fflags else 0)

    def _reading(self, fd: int, interest: int) -> Any:
        kernel = self._kernel
        edge = 0 if interest & READABLE else kernel.KQ_EV_CLEAR
        return self._event(fd, kernel.KQ_FILTER_READ, kernel.KQ_EV_ADD | edge)

    def _writing(self, fd: int, before: int, interest: int) -> list[Any]:
        kernel = self._kernel
        if not (before ^ interest) & WRITABLE:
            return []
        flags = kernel.KQ_EV_ADD if interest & WRITABLE else kernel.KQ_EV_DELETE
        return [self._event(fd, kernel.KQ_FILTER_WRITE, flags)]

    def _event(self, fd: int, kind: int, flags: int) -> Any:
        return self._kernel.kevent(fd, kind, flags)

    def _apply(self, changes: list[Any]) -> None:
        if changes:
            self._kqueue.control(changes, 0, 0)
