"""The inbox alone: order, bounds, and its one reader."""

from __future__ import annotations

import pytest
import trio

from trio_ws.connection.inbox import Inbox


async def wait(inbox: Inbox) -> None:
    await inbox.wait()


async def test_messages_come_out_in_order():
    inbox = Inbox(10, 1000)
    for message in ("one", b"two", "three"):
        inbox.put(message, len(message))
    assert [inbox.take() for _ in range(3)] == ["one", b"two", "three"]
    assert inbox.size == 0


async def test_it_is_full_by_number():
    inbox = Inbox(2, 1000)
    inbox.put("", 0)
    assert not inbox.full
    inbox.put("", 0)
    assert inbox.full
    inbox.take()
    assert not inbox.full


async def test_it_is_full_by_bytes():
    inbox = Inbox(100, 10)
    inbox.put(bytes(9), 9)
    assert not inbox.full
    inbox.put("x", 1)
    assert inbox.full


async def test_what_came_in_counts_until_it_is_empty():
    inbox = Inbox(100, 10)
    inbox.put(bytes(9), 9)
    inbox.put("x", 1)
    inbox.take()
    assert inbox.full
    inbox.take()
    assert not inbox.full


async def test_a_message_wakes_the_reader():
    inbox = Inbox(2, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, inbox)
        await trio.testing.wait_all_tasks_blocked()
        inbox.put("message", 7)
        inbox.put("another before it runs", 22)
    assert len(inbox.items) == 2


async def test_a_second_reader_is_told_that_there_is_one():
    inbox = Inbox(2, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, inbox)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="another task is receiving"):
            await inbox.wait()
        assert inbox.wake()


async def test_after_a_cancelled_wait_another_may_wait():
    inbox = Inbox(2, 10)
    with trio.move_on_after(0):
        await inbox.wait()
    assert not inbox.wake()
    with trio.move_on_after(0) as scope:
        await inbox.wait()
    assert scope.cancelled_caught
