"""Connections in memory keep the promises of Trio's streams."""

from __future__ import annotations

import pytest
import trio
from trio.testing import check_half_closeable_stream

from trio_ws import ConnectError
from trio_ws.testing.memory_stream import BUFFER_BYTES, memory_pair
from trio_ws.testing.network import MemoryListener, MemoryNetwork, SocketNetwork


async def test_memory_connection_is_a_half_closeable_stream_for_trio() -> None:
    """A connection in memory is a half closeable stream as Trio defines it."""

    async def clogged():
        left, right = memory_pair()
        await left.send_all(bytes(BUFFER_BYTES))
        await right.send_all(bytes(BUFFER_BYTES))
        return left, right

    async def fresh():
        return memory_pair()

    await check_half_closeable_stream(fresh, clogged)


async def test_sender_without_reader_waits_when_the_buffer_is_full(autojump_clock) -> None:
    """A sender that nobody reads waits when the buffer is full."""
    left, right = memory_pair(capacity=4)
    with trio.move_on_after(1) as scope:
        await left.send_all(b"123456")
    assert scope.cancelled_caught
    assert await right.receive_some() == b"1234"
    await left.send_all(b"78")
    assert await right.receive_some(1) == b"7"


async def test_waiting_for_room_ends_when_the_other_end_leaves(autojump_clock) -> None:
    left, right = memory_pair(capacity=1)
    await left.send_all(b"1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.aclose)
        with pytest.raises(trio.BrokenResourceError):
            await left.wait_send_all_might_not_block()


async def test_an_end_that_is_closed_says_no_end_of_sending() -> None:
    left, _ = memory_pair()
    await left.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await left.send_eof()


async def test_nobody_connects_to_a_listener_that_is_closed() -> None:
    listener = MemoryListener()
    await listener.aclose()
    with pytest.raises(ConnectError, match="the server has stopped listening"):
        listener.connect()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_nothing_that_listens_is_named() -> None:
    for network in (MemoryNetwork(), SocketNetwork()):
        with pytest.raises(ConnectError, match="nothing listens"):
            await network.connect()


async def test_a_server_that_has_stopped_listening_is_named() -> None:
    network = SocketNetwork()
    network.listen().close()
    with pytest.raises(ConnectError, match="stopped listening"):
        await network.connect()
