"""Readiness: what epoll, and the model of kqueue, say about sockets. One contract, whatever the kernel."""

from __future__ import annotations

import os
import runpy
import socket
import struct
import sys

import pytest
from support.kqueue import FakeSelect

from trio_ws.transport import default_selector as module
from trio_ws.transport.kqueue import KqueueSelector
from trio_ws.transport.selector import ERROR_OR_HANGUP, PEER_CLOSED, READABLE, WRITABLE

KERNELS = [
    pytest.param(
        getattr(module, "EpollSelector", None),
        id="epoll",
        marks=pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's"),
    ),
    pytest.param(lambda: KqueueSelector(FakeSelect), id="model of kqueue"),
]


@pytest.fixture(params=KERNELS)
def readiness(request):
    readiness = request.param()
    yield readiness
    readiness.close()


@pytest.fixture
def pair():
    """Our side of a TCP connection, and the peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


NORMAL = READABLE | PEER_CLOSED


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
    readiness.change(fd, PEER_CLOSED)
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
    readiness.change(fd, PEER_CLOSED)
    assert readiness.poll() == []
    theirs.shutdown(socket.SHUT_WR)
    assert readiness.poll() == [(fd, PEER_CLOSED)]
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
    assert readiness.poll() == [(ours.fileno(), READABLE | PEER_CLOSED)]


@pytest.mark.parametrize("wanted", [0, PEER_CLOSED, READABLE, NORMAL])
def test_a_reset_is_broken_whatever_is_wanted(readiness, pair, wanted):
    ours, theirs = pair
    readiness.add(ours.fileno(), wanted)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()
    assert readiness.poll() == [(ours.fileno(), wanted | ERROR_OR_HANGUP)]


def test_a_socket_that_was_removed_is_not_reported(readiness, pair):
    ours, theirs = pair
    for wanted in (NORMAL, NORMAL | WRITABLE, WRITABLE, 0):
        readiness.add(ours.fileno(), wanted)
        readiness.remove(ours.fileno())
    theirs.send(b"data")
    assert readiness.poll() == []


def test_a_descriptor_that_is_used_again_is_watched_as_it_is_now(readiness, pair):
    ours, theirs = pair
    fd = ours.fileno()
    readiness.add(fd, NORMAL | WRITABLE)
    readiness.remove(fd)
    one, other = socket.socketpair()
    os.dup2(one.fileno(), ours.detach())
    with one, other, socket.socket(fileno=fd):
        readiness.add(fd, NORMAL)
        theirs.close()
        assert readiness.poll() == []
        other.send(b"data")
        assert readiness.poll() == [(fd, READABLE)]
        readiness.remove(fd)


def test_a_change_to_the_same_changes_nothing(readiness, pair):
    readiness.add(pair[0].fileno(), NORMAL | WRITABLE)
    readiness.change(pair[0].fileno(), NORMAL | WRITABLE)
    readiness.change(pair[0].fileno(), READABLE | WRITABLE)
    assert readiness.poll() == [(pair[0].fileno(), WRITABLE)]


@pytest.mark.parametrize(
    ("platform", "name"),
    [("darwin", "KqueueSelector"), ("freebsd14", "KqueueSelector"), ("win32", None), ("sunos5", None)],
)
def test_each_platform_has_its_own_kernels_list_or_none(platform, name, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    make = runpy.run_path(module.__file__)["make_selector"]
    assert getattr(make, "__name__", None) == name
