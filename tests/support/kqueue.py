"""A model of the kernel's kqueue over real sockets, for systems that have none.

It follows kqueue(2): filters are level-triggered unless they were made with EV_CLEAR, EV_EOF says that the peer has
ended its side, fflags holds the socket's error, to add a filter again leaves EV_CLEAR as it is, and to delete one that
is not there is an error. How a socket stands at the moment, the model asks the system's poll.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import NamedTuple


class KEvent:
    def __init__(self, ident: int, filter: int, flags: int, fflags: int = 0, data: int = 0) -> None:  # noqa: A002
        self.ident, self.filter, self.flags, self.fflags, self.data = ident, filter, flags, fflags, data


class Condition(NamedTuple):
    """What makes an edge: how much there is to read, and how the connection stands."""

    amount: int
    end: bool
    error: int


class FakeKqueue:
    def __init__(self) -> None:
        self.closed = False
        self.filters: dict[tuple[int, int], bool] = {}  # to whether EV_CLEAR
        self.reported: dict[tuple[int, int], Condition] = {}

    def fileno(self) -> int:
        return 1234

    def close(self) -> None:
        self.closed = True

    def control(self, changes: list[KEvent] | None, max_events: int, timeout: float) -> list[KEvent]:
        assert timeout == 0, "it would wait"
        for change in changes or ():
            self._change(change)
        ready = [event for key in self.filters if (event := self._look(*key)) is not None]
        return ready[:max_events]

    def _change(self, change: KEvent) -> None:
        key = (change.ident, change.filter)
        if change.flags & FakeSelect.KQ_EV_DELETE:
            if key not in self.filters:
                raise OSError(errno.ENOENT, "no such filter")
            del self.filters[key]
            self.reported.pop(key, None)
        else:
            assert change.flags & FakeSelect.KQ_EV_ADD
            self.filters.setdefault(key, bool(change.flags & FakeSelect.KQ_EV_CLEAR))

    def _look(self, fd: int, kind: int) -> KEvent | None:
        poll = select.poll()
        poll.register(fd, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
        found = dict(poll.poll(0)).get(fd, 0)
        if kind == FakeSelect.KQ_FILTER_WRITE:
            return KEvent(fd, kind, 0) if found & select.POLLOUT else None
        sock = socket.socket(fileno=socket.dup(fd))
        with sock:
            sock.setblocking(False)
            error = errno.ECONNRESET if found & select.POLLERR else 0
            try:
                amount = len(sock.recv(65536, socket.MSG_PEEK)) if found & select.POLLIN and not error else 0
            except OSError:
                amount = 0
        end = bool(found & (select.POLLRDHUP | select.POLLHUP))
        condition = Condition(amount, end, error)
        edge = self.filters[fd, kind]
        if not (amount or end) or (edge and self.reported.get((fd, kind)) == condition):
            return None
        self.reported[fd, kind] = condition
        return KEvent(fd, kind, FakeSelect.KQ_EV_EOF if end else 0, error, amount)


class FakeSelect:
    KQ_FILTER_READ, KQ_FILTER_WRITE = -1, -2
    KQ_EV_ADD, KQ_EV_DELETE, KQ_EV_CLEAR, KQ_EV_EOF = 0x1, 0x2, 0x20, 0x8000
    kqueue = FakeKqueue
    kevent = KEvent
