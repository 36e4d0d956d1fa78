"""KqueueSelector alone, against the model of kqueue. What it shares with epoll is in test_selector."""

from __future__ import annotations

import socket

import pytest
from support.internals import internal
from support.kqueue import FakeSelect

from trio_ws.transport.kqueue import KqueueSelector
from trio_ws.transport.selector import BATCH, PEER_CLOSED, READABLE, WRITABLE

NORMAL = READABLE | PEER_CLOSED


@pytest.fixture
def readiness():
    return KqueueSelector(FakeSelect)


def test_no_filter_is_left_behind_whatever_was_wanted(readiness):
    """The model refuses to delete a filter that is not there, as the kernel does."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for before in range(8):
            for after in range(8):
                readiness.add(ours.fileno(), before)
                readiness.change(ours.fileno(), after)
                readiness.remove(ours.fileno())
                assert internal(readiness, "_kqueue").filters == {}


def test_each_filter_is_reported_by_itself(readiness):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        readiness.add(ours.fileno(), NORMAL | WRITABLE)
        theirs.send(b"data")
        assert readiness.poll() == [(ours.fileno(), READABLE), (ours.fileno(), WRITABLE)]


def test_no_more_than_a_batch_is_reported_at_once(readiness, monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr(
        internal(readiness, "_kqueue"), "control", lambda changes, most, timeout: asked.append(most) or []
    )
    readiness.poll()
    assert asked == [BATCH]


def test_it_has_the_kqueues_descriptor_and_closes_it(readiness):
    assert readiness.fileno() == 1234
    readiness.close()
    assert internal(readiness, "_kqueue").closed
