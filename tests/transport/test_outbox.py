"""The outbox alone: order, bounds, and who waits for room."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_ws.transport.outbox import WRITE_BYTES, Outbox


def drained(outbox: Outbox, most: int = 1 << 30) -> bytes:
    """Empty it as a network does that takes `most` bytes at once."""
    out = b""
    while outbox.size:
        head = outbox.peek()[:most]
        out += head
        outbox.advance(len(head))
    return out


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
async def test_data_leaves_whole_and_in_order_for_any_network_writes(chunks, most):
    """What goes in comes out whole and in order however the network takes it."""
    outbox = Outbox(100)
    for chunk in chunks:
        outbox.put(chunk)
    assert outbox.size == len(b"".join(chunks))
    assert drained(outbox, most) == b"".join(chunks)


async def test_small_chunks_are_handed_out_together():
    outbox = Outbox(100)
    for _ in range(10):
        outbox.put(b"small")
    assert outbox.peek() == b"small" * 10


async def test_batch_is_bounded_and_one_large_chunk_is_not_copied():
    """What is handed out together has a bound and one large chunk is not copied."""
    outbox = Outbox(100)
    large = bytes(WRITE_BYTES)
    outbox.put(b"small")
    outbox.put(large)
    outbox.put(b"small")
    assert outbox.peek() == b"small"
    outbox.advance(5)
    assert outbox.peek() is large


async def test_it_is_full_from_its_high_water_mark_on():
    outbox = Outbox(10)
    outbox.put(b"123456789")
    assert not outbox.full
    outbox.put(b"0")
    assert outbox.full
    outbox.peek()
    outbox.advance(1)
    assert not outbox.full


async def test_empty_chunks_take_no_room():
    """Answers that are not sent after all are empty: a flood of them must not grow the outbox."""
    outbox = Outbox(10)
    for _ in range(1000):
        outbox.put(b"")
    assert outbox.chunks is None


async def test_what_the_network_took_is_counted():
    outbox = Outbox(10)
    outbox.put(b"12345")
    outbox.peek()
    outbox.advance(2)
    assert outbox.written == 2
    outbox.peek()
    outbox.advance(0)
    assert outbox.written == 2
    assert outbox.peek() == b"345"


async def test_who_waits_is_woken_when_there_is_room_and_not_before():
    outbox = Outbox(10)
    outbox.put(bytes(15))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(outbox.wait)
        await trio.testing.wait_all_tasks_blocked()
        outbox.peek()
        outbox.advance(5)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 3
        outbox.advance(1)
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_a_cancelled_wait_leaves_nothing_behind():
    outbox = Outbox(1)
    outbox.put(b"full")
    with trio.move_on_after(0):
        await outbox.wait()
    assert not outbox.wake()


async def test_wake_wakes_everyone_and_says_whether_there_was_someone():
    outbox = Outbox(1)
    assert not outbox.wake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert outbox.wake()
    assert not outbox.wake()


async def test_a_closed_outbox_drops_everything_and_is_never_full():
    outbox = Outbox(1)
    outbox.put(b"full")
    outbox.close()
    assert outbox.closed
    outbox.put(b"more")
    assert (outbox.size, outbox.full) == (0, False)


async def test_bytes_in_flight_at_close_do_not_count():
    """Bytes that were under way when it was closed do not count."""
    outbox = Outbox(1)
    outbox.put(b"full")
    outbox.peek()
    outbox.close()
    outbox.advance(4)
    assert outbox.size == 0


async def test_a_closed_outbox_leaves_it_to_others_to_wake_who_waits():
    """They are to be told how the connection ended, which the outbox does not know."""
    outbox = Outbox(1)
    outbox.put(b"full")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.wait)
        await trio.testing.wait_all_tasks_blocked()
        outbox.close()
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        outbox.wake()


@pytest.mark.parametrize("size", [1, WRITE_BYTES, WRITE_BYTES + 1])
async def test_one_chunk_is_handed_out_as_it_is(size):
    outbox = Outbox(1)
    chunk = bytes(size)
    outbox.put(chunk)
    assert outbox.peek() is chunk
    assert outbox.peek() is chunk
