"""Sockets below transports: what they tell of a peer, and their options."""

from __future__ import annotations

import socket
import sys

import pytest

from trio_ws.transport.socket_options import NOTSENT_BYTES, get_uptake, tune

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells in another way, or not at all")


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the platform has no such option")
def test_tuned_socket_holds_little_unsent():
    with socket.socket() as sock:
        tune(sock)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == NOTSENT_BYTES


@LINUX
def test_unix_socket_tells_what_is_unread():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        tune(ours)  # has no such options, and does not mind
        assert not get_uptake(ours, 0, 0).pending
        ours.send(bytes(1000))
        before = get_uptake(ours, 0, 0)
        assert before.pending
        theirs.recv(1000)
        after = get_uptake(ours, 0, 0)
        assert not after.pending
        assert after.taken != before.taken


def test_without_a_socket_the_outbox_is_all_there_is():
    assert get_uptake(None, 5, 7) == ((7, 0), 5, True)
    assert get_uptake(None, 1, 7) == ((7, 0), 1, True)
    assert get_uptake(None, 0, 7) == ((7, 0), 0, False)
