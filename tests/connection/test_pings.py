"""Pings alone: which pong answers which ping."""

from __future__ import annotations

import pytest
import trio

from trio_ws.connection.pings import Pings
from trio_ws.errors import LocalProtocolError


async def test_a_pong_answers_its_ping_and_every_older_one():
    """RFC 6455 5.5.3: a peer may answer only the latest ping."""
    pings = Pings()
    for payload in (b"1", b"2", b"3"):
        pings.add(payload)
    pings.answer(b"2")
    assert [pings.outstanding(payload) for payload in (b"1", b"2", b"3")] == [False, False, True]


async def test_a_pong_that_nobody_asked_for_answers_nothing():
    pings = Pings()
    pings.add(b"1")
    pings.answer(b"other")
    assert pings.outstanding(b"1")


async def test_the_same_payload_twice_is_your_error():
    pings = Pings()
    pings.add(b"same")
    with pytest.raises(LocalProtocolError, match="leave the payload out"):
        pings.add(b"same")
    pings.answer(b"same")
    pings.add(b"same")


async def test_a_fresh_payload_is_one_that_no_outstanding_ping_has():
    pings = Pings()
    pings.add(b"1")
    pings.add(b"3")
    fresh = [pings.fresh_payload() for _ in range(3)]
    assert fresh == [b"2", b"4", b"5"]


async def test_a_ping_that_nobody_waits_for_is_forgotten():
    pings = Pings()
    pings.add(b"1")
    pings.forget(b"1")
    pings.forget(b"1")
    assert not pings.outstanding(b"1")
    pings.answer(b"1")


async def test_add_returns_when_the_ping_was_sent(autojump_clock):
    pings = Pings()
    await trio.sleep(7)
    assert pings.add(b"1") == trio.current_time()


async def test_everyone_who_waits_wakes_at_a_pong_or_at_the_end():
    pings = Pings()
    pings.add(b"1")
    for call in (lambda: pings.answer(b"1"), pings.wake):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(pings.wait)
            await trio.testing.wait_all_tasks_blocked()
            call()
    assert not pings.wake()
