"""The backplane within a process keeps the contract of all backplanes, and nothing of rooms that nobody is in."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from support.internals import internal

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Backplane, Log, MemoryBackplane
from trio_ws.rooms.backplane import Entry
from trio_ws.runtime.token_bucket import Allowance

from .conformance import NOBODY, BackplaneContract, Ear
from .hall import open_hall


class TestMemoryBackplane(BackplaneContract):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Backplane, Backplane]]:
        backplane = MemoryBackplane()
        async with backplane.running():
            yield backplane, backplane


async def test_nothing_is_kept_of_a_room_without_subscribers() -> None:
    backplane, ear = MemoryBackplane(), Ear()
    async with backplane.subscribe("room", ear, history=5):
        await backplane.publish("room", PreparedMessage("said"), NOBODY)
    assert internal(backplane, "_subscriptions") == {}
    async with backplane.subscribe("room", ear, history=5) as log:
        assert list(log) == []


async def test_each_call_is_a_checkpoint() -> None:
    backplane = MemoryBackplane()
    for call in (
        lambda: backplane.publish("room", PreparedMessage("said"), NOBODY),
        lambda: backplane.sync("room"),
        lambda: backplane.spend("account", Allowance(1, math.inf, 1), 1, in_debt=False),
        lambda: backplane.presence("room"),
        lambda: backplane.lease("room", "clock", "a", 10),
        lambda: backplane.release("room", "clock", "a"),
        lambda: backplane.history("room", None, None, 1),
    ):
        with trio.testing.assert_checkpoints():
            await call()


async def test_a_place_is_free_when_its_lease_has_ended(autojump_clock) -> None:
    backplane = MemoryBackplane()
    assert await backplane.lease("room", "clock", "a", 10)
    await trio.sleep(9)
    assert not await backplane.lease("room", "clock", "b", 10)
    await trio.sleep(1)
    assert await backplane.lease("room", "clock", "b", 10)


async def test_a_key_is_known_for_an_hour(autojump_clock) -> None:
    backplane, said = MemoryBackplane(), PreparedMessage("said")
    first = await backplane.publish("room", said, NOBODY, key="key")
    await trio.sleep(3599)
    assert await backplane.publish("room", said, NOBODY, key="key") == first
    await trio.sleep(1)
    assert await backplane.publish("room", said, NOBODY, key="key") != first


async def test_a_log_without_room_still_knows_the_latest_entry() -> None:
    log = Log(0)
    log.append(Entry("1", PreparedMessage(""), NOBODY))
    log.append(Entry("2", PreparedMessage(""), NOBODY))
    assert (len(log), log.since("2").recovered, log.since("1").recovered) == (0, True, False)


async def test_two_registries_on_one_backplane_are_one_world(autojump_clock) -> None:
    """As two processes will be: messages pass, members and counts are each one's own, excluded members are known."""
    backplane = MemoryBackplane()
    async with open_hall(backplane=backplane) as here, open_hall(backplane=backplane) as there:
        ann, ben = await here.guest(), await there.guest()
        async with here.room("r").join(ann.websocket) as near, there.room("r").join(ben.websocket) as far:
            assert near is not far
            assert (near.count, far.count) == (1, 1)
            await near.publish("from here")
            await far.publish("from there", exclude=ben.websocket)
            assert await ann.heard(2) == ["from here", "from there"]
            assert await ben.heard(1) == ["from here"]
            assert await ben.silent()
