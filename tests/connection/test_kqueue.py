"""KqueueReadiness, against a model of the kernel's kqueue over real socketpairs.

The model follows kqueue(2): filters are level-triggered unless they were made with EV_CLEAR, EV_EOF says that the peer
has ended its side, fflags holds the socket's error, to add a filter again leaves EV_CLEAR as it is, and to delete one
that is not there is an error. What is true of a socket at the moment the model asks the system's poll.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from typing import NamedTuple

import pytest

from trio_ws.transport.kqueue import KqueueReadiness
from trio_ws.transport.readiness import BATCH, BROKEN, DEPARTED, READABLE, WRITABLE


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


@pytest.fixture
def pair():
    """Our side of a TCP connection, and the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def readiness():
    return KqueueReadiness(FakeSelect)


NORMAL = READABLE | DEPARTED


def test_data_is_reported_for_as_long_as_it_is_unread(readiness, pair):
    ours, theirs = pair
    readiness.add(ours.fileno(), NORMAL)
    assert readiness.poll() == []
    theirs.send(b"data")
    assert readiness.poll() == [(ours.fileno(), READABLE)]
    assert readiness.poll() == [(ours.fileno(), READABLE)]
    ours.recv(10)
    assert readiness.poll() == []


def test_room_to_write_is_reported_only_while_it_is_wanted(readiness, pair):
    ours, _ = pair
    fd = ours.fileno()
    readiness.add(fd, NORMAL)
    assert readiness.poll() == []
    readiness.change(fd, NORMAL | WRITABLE)
    assert readiness.poll() == [(fd, WRITABLE)]
    assert readiness.poll() == [(fd, WRITABLE)]
    readiness.change(fd, NORMAL)
    assert readiness.poll() == []


def test_data_that_is_not_wanted_is_not_reported(readiness, pair):
    ours, theirs = pair
    fd = ours.fileno()
    readiness.add(fd, NORMAL)
    theirs.send(b"unread")
    readiness.change(fd, DEPARTED)
    assert readiness.poll() == []
    theirs.send(b"more")
    assert readiness.poll() == []
    readiness.change(fd, NORMAL)
    assert readiness.poll() == [(fd, READABLE)]


def test_the_peers_departure_is_reported_behind_unread_data(readiness, pair):
    ours, theirs = pair
    fd = ours.fileno()
    readiness.add(fd, NORMAL)
    theirs.send(b"unread")
    readiness.change(fd, DEPARTED)
    assert readiness.poll() == []
    theirs.shutdown(socket.SHUT_WR)
    assert readiness.poll() == [(fd, DEPARTED)]
    readiness.change(fd, 0)
    assert readiness.poll() == []
    readiness.change(fd, READABLE)
    assert readiness.poll() == [(fd, READABLE)]
    ours.recv(100)
    assert readiness.poll() == [(fd, READABLE)]  # the end of the stream


def test_end_of_stream_is_readable_and_departed(readiness, pair):
    ours, theirs = pair
    readiness.add(ours.fileno(), NORMAL)
    theirs.close()
    assert readiness.poll() == [(ours.fileno(), READABLE | DEPARTED)]


@pytest.mark.parametrize("wanted", [0, DEPARTED, READABLE, NORMAL])
def test_a_reset_is_broken_whatever_is_wanted(readiness, pair, wanted):
    ours, theirs = pair
    readiness.add(ours.fileno(), wanted)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    assert readiness.poll() == [(ours.fileno(), wanted | BROKEN)]


def test_a_socket_that_was_removed_is_not_reported(readiness, pair):
    ours, theirs = pair
    for wanted in (NORMAL, NORMAL | WRITABLE, WRITABLE, 0):
        readiness.add(ours.fileno(), wanted)
        readiness.remove(ours.fileno())
    theirs.send(b"data")
    assert readiness.poll() == []
    assert readiness._kqueue.filters == {}


def test_a_change_to_the_same_changes_nothing(readiness, pair):
    readiness.add(pair[0].fileno(), NORMAL | WRITABLE)
    readiness.change(pair[0].fileno(), NORMAL | WRITABLE)
    readiness.change(pair[0].fileno(), READABLE | WRITABLE)
    assert readiness.poll() == [(pair[0].fileno(), WRITABLE)]


def test_no_more_than_a_batch_is_reported_at_once(readiness, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(readiness._kqueue, "control", lambda changes, most, timeout: asked.append(most) or [])
    readiness.poll()
    assert asked == [BATCH]


def test_it_has_the_kqueues_descriptor_and_closes_it(readiness):
    assert readiness.fileno() == 1234
    readiness.close()
    assert readiness._kqueue.closed
