"""Offering a message without waiting, and being told when there is room: on sockets with the poller, step by step."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from trio_ws import Limits, Timeouts
from trio_ws.connection.connection import Connection
from trio_ws.connection.factory import TransportFactory
from trio_ws.connection.prepared import PreparedMessage

SIZE = 8 * 1024


@asynccontextmanager
async def open_connection(**limits: int) -> AsyncIterator[tuple[Connection, socket.socket]]:
    """Open a connection on a socket pair with small buffers; the other end is not read by anybody."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SIZE)
    theirs.setblocking(False)
    engine = TransportFactory()
    async with trio.open_nursery() as nursery:
        engine.start(nursery)
        transport = engine.socket_transport(ours, Limits(**limits).outbox_bytes)
        connection = Connection(
            transport,
            client=False,
            limits=Limits(**limits),
            timeouts=Timeouts(ping_interval=None),
            timers=engine.timers,
        )
        transport.start(nursery)
        try:
            yield connection, theirs
        finally:
            connection.closing.abort(1013, "")
            transport.close()
            theirs.close()
            engine.stop()


def fill(connection: Connection) -> int:
    """Offer until there is no room; return how many messages that took."""
    count = 0
    while connection.writer.offer(PreparedMessage("x" * SIZE)):
        count += 1
    return count


def drain(sock: socket.socket) -> int:
    """Read all that is there; return how many bytes."""
    size = 0
    try:
        while data := sock.recv(1 << 20):
            size += len(data)
    except BlockingIOError:
        pass
    return size


async def test_an_offer_is_taken_while_the_outbox_is_below_its_mark() -> None:
    async with open_connection(outbox_bytes=4 * SIZE) as (connection, peer):
        count = fill(connection)
        assert connection.transport.outbox.size >= 4 * SIZE
        told = []
        connection.writer.when_writable(lambda: told.append(fill(connection)))
        size = 0
        with trio.fail_after(5):
            while not told:
                size += drain(peer)
                await trio.lowlevel.checkpoint()
            while connection.transport.outbox.size:
                size += drain(peer)
                await trio.lowlevel.checkpoint()
        size += drain(peer)
        assert size == (count + told[0]) * (SIZE + 4)


async def test_forgotten_callback_is_skipped_and_others_run_once() -> None:
    """Who is forgotten is not told and the others are told once."""
    async with open_connection(outbox_bytes=SIZE) as (connection, peer):
        fill(connection)
        told: list[str] = []

        def one() -> None:
            told.append("one")

        def two() -> None:
            told.append("two")

        connection.writer.forget_writable(one)
        connection.writer.when_writable(one)
        connection.writer.when_writable(two)
        connection.writer.when_writable(two)
        connection.writer.forget_writable(one)
        with trio.fail_after(5):
            while connection.transport.outbox.size:
                drain(peer)
                await trio.lowlevel.checkpoint()
        assert told == ["two"]


async def test_a_flush_by_anyone_tells_those_who_wait() -> None:
    """Not only the poller's own: a handler that calls receive() flushes too, and then the poller has nothing to do."""
    async with open_connection(outbox_bytes=SIZE) as (connection, peer):
        fill(connection)
        told: list[bool] = []
        connection.writer.when_writable(lambda: told.append(True))
        while connection.transport.outbox.size:
            drain(peer)
            connection.transport.flush()
        assert told == [True]


async def test_sender_cancelled_as_room_comes_passes_the_wakeup_on() -> None:
    """A sender that is cancelled as room comes does not keep those who wait from hearing of it."""
    async with open_connection(outbox_bytes=SIZE) as (connection, peer):
        fill(connection)
        told: list[bool] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.writer.send, "goes first when there is room")
            await wait_all_tasks_blocked()
            connection.writer.when_writable(lambda: told.append(True))
            nursery.cancel_scope.cancel()
            while connection.transport.outbox.size:  # all in the turn in which the sender is cancelled
                drain(peer)
                connection.transport.flush()
        assert told == [True]


async def test_what_is_held_leaves_in_one_piece_at_the_end_of_the_turn() -> None:
    async with open_connection() as (connection, peer):
        for text in ("a", "b", "c"):
            assert connection.writer.offer(PreparedMessage(text), hold=True)
        assert drain(peer) == 0
        await wait_all_tasks_blocked()
        assert peer.recv(100) == b"\x81\x01a\x81\x01b\x81\x01c"


async def test_an_ended_connection_takes_everything_and_drops_it() -> None:
    async with open_connection() as (connection, peer):
        connection.closing.begin_close(1000, "")
        assert connection.writer.offer(PreparedMessage("too late"))
        await wait_all_tasks_blocked()
        assert peer.recv(100) == b"\x88\x02\x03\xe8"
        connection.closing.abort(1013, "it has said goodbye already")
        assert connection.close_info is not None
        assert connection.close_info.code == 1000


async def test_abort_sends_the_reason_if_possible_and_ends_at_once() -> None:
    """Abort tells the peer why if it can and ends the connection at once."""
    async with open_connection() as (connection, peer):
        connection.closing.abort(1013, "slow")
        assert peer.recv(100) == b"\x88\x06\x03\xf5slow"
        assert peer.recv(100) == b""
        assert str(connection.close_info) == "closed by us: 1013 slow"
        assert connection.writer.offer(PreparedMessage("dropped"))
