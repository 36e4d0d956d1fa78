"""Leaders: a task that runs once for each room, in one of all processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import trio
from support.handlers import until_cancelled
from trio.testing import wait_all_tasks_blocked

from trio_ws.errors import BackplaneUnavailable, LocalProtocolError
from trio_ws.rooms import MemoryBackplane, Room, Rooms
from trio_ws.rooms.leadership import LEASE_SECONDS

from .hall import Hall, hall_with, open_hall

EVENTS: list[tuple[str, str]] = []
"""What leaders did, and in whose process."""


class Process:
    """One process with its rooms, and a leader of room "r" that says what it does."""

    def __init__(self, name: str, hall: Hall) -> None:
        self.name = name
        self.hall = hall
        self.members = AsyncExitStack()
        hall.rooms.room_options("r", leader=self.lead)

    async def lead(self, room: Room) -> None:
        EVENTS.append((self.name, "begins"))
        await until_cancelled(lambda _: EVENTS.append((self.name, "ends")))

    async def join(self) -> None:
        guest = await self.hall.guest()
        await self.members.enter_async_context(self.hall.room("r").join(guest.websocket))

    async def leave(self) -> None:
        await self.members.aclose()


@asynccontextmanager
async def processes(backplane: Any = None) -> AsyncGenerator[tuple[Process, Process], None]:
    EVENTS.clear()
    shared = MemoryBackplane() if backplane is None else backplane
    async with open_hall(backplane=shared) as one, open_hall(backplane=shared) as two:
        here, there = Process("here", one), Process("there", two)
        try:
            yield here, there
        finally:
            await here.leave()
            await there.leave()


async def test_one_process_leads_and_another_takes_over(autojump_clock: Any) -> None:
    async with processes() as (here, there):
        await trio.sleep(30)
        assert EVENTS == []
        await here.join()
        await there.join()
        await trio.sleep(60)
        assert EVENTS == [("here", "begins")]
        await here.leave()
        await trio.sleep(3)
        assert EVENTS == [("here", "begins"), ("here", "ends"), ("there", "begins")]
        await here.join()
        await trio.sleep(60)
    assert EVENTS[3:] == [("there", "ends")]


async def test_the_lead_of_a_dead_process_is_free_after_its_lease(autojump_clock: Any) -> None:
    backplane = MemoryBackplane()
    await backplane.lease("r", f"{__name__}.Process.lead", "of a process that was killed", LEASE_SECONDS)
    async with processes(backplane) as (here, _):
        await here.join()
        await trio.sleep(LEASE_SECONDS - 1)
        assert EVENTS == []
        await trio.sleep(4)
        assert EVENTS == [("here", "begins")]


class Away(MemoryBackplane):
    """A backplane that is away at times."""

    away = False
    lost = False

    async def lease(self, room: str, name: str, holder: str, seconds: float) -> bool:
        if self.lost:
            return False
        if self.away:
            raise BackplaneUnavailable("away")
        return await super().lease(room, name, holder, seconds)

    async def release(self, room: str, name: str, holder: str) -> None:
        if self.away:
            raise BackplaneUnavailable("away")
        await super().release(room, name, holder)


async def test_a_leader_without_backplane_stops_before_its_lease_ends(autojump_clock: Any) -> None:
    backplane = Away()
    async with processes(backplane) as (here, _):
        await here.join()
        await wait_all_tasks_blocked()
        backplane.away = True
        await trio.sleep(LEASE_SECONDS - 1)
        assert EVENTS == [("here", "begins"), ("here", "ends")]
        backplane.away = False
        await trio.sleep(4)
        assert EVENTS[2:] == [("here", "begins")]


async def test_a_short_absence_of_the_backplane_is_bridged(autojump_clock: Any) -> None:
    backplane = Away()
    async with processes(backplane) as (here, there):
        await here.join()
        await there.join()
        for away in (True, False) * 5:
            backplane.away = away
            await trio.sleep(4)
        assert EVENTS == [("here", "begins")]


async def test_a_lost_lease_cancels_the_leader(autojump_clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As after a Redis that came back without its data."""
    backplane = Away()
    async with processes(backplane) as (here, _):
        await here.join()
        await wait_all_tasks_blocked()
        backplane.lost = True
        await trio.sleep(5)
        assert EVENTS == [("here", "begins"), ("here", "ends")]
    assert "was lost" in caplog.text


async def test_a_leader_that_fails_begins_anew_with_growing_pauses(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[float] = []

    async def fail(room: Room) -> None:
        begun.append(trio.current_time())
        raise KeyError(room.name)

    async with open_hall() as hall:
        hall.rooms.room_options("r", leader=fail)
        ann = await hall.guest()
        async with hall.room("r").join(ann.websocket):
            await trio.sleep(100)
    pauses = [round(later - earlier) for earlier, later in pairwise(begun)]
    assert pauses == [4, 8, 16, 30, 30]
    assert caplog.text.count("it begins anew") == 6


async def test_a_leader_that_returns_is_done_while_there_are_members(autojump_clock: Any) -> None:
    begun: list[str] = []

    async def once(room: Room) -> None:
        begun.append(room.name)

    backplane = MemoryBackplane()
    async with open_hall(backplane=backplane) as one, open_hall(backplane=backplane) as two:
        async with AsyncExitStack() as stack:
            for hall in (one, two):
                hall.rooms.room_options("*", leader=once)
                await stack.enter_async_context(hall.room("r").join((await hall.guest()).websocket))
            await trio.sleep(100)
            assert begun == ["r"]


async def test_a_leader_is_added_to_an_open_room(autojump_clock: Any) -> None:
    begun = trio.Event()
    async with hall_with() as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:

            @room.leader
            async def lead(room: Room) -> None:
                begun.set()
                await trio.sleep_forever()

            with trio.fail_after(5):
                await begun.wait()
            room.start_soon(fail_at_once)
            await trio.sleep(60)
            room.leader(lead)


async def fail_at_once() -> None:
    raise LookupError


async def test_a_backplane_without_leases_costs_the_leader_only(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Without(MemoryBackplane):
        async def lease(self, room: str, name: str, holder: str, seconds: float) -> bool:
            raise NotImplementedError("no leases")

    async with processes(Without()) as (here, _):
        await here.join()
        await trio.sleep(60)
        assert here.hall.room("r").count == 1
    assert (EVENTS, "cannot lead" in caplog.text) == ([], True)


def test_leaders_that_cannot_be_told_apart_are_refused() -> None:
    room = Rooms().room("r")

    def make() -> Any:
        async def lead(room: Room) -> None: ...

        return lead

    room.leader(make())
    with pytest.raises(LocalProtocolError, match="already"):
        room.leader(make())
    for wrong in (lambda room: None, fail_at_once, 5):
        with pytest.raises(TypeError):
            room.leader(wrong)  # type: ignore[type-var]


async def test_total_counts_all_processes(autojump_clock: Any) -> None:
    async with processes() as (here, there):
        for process in (here, there, there):
            await process.join()
        room = here.hall.room("r")
        assert (room.count, await room.total()) == (1, 3)
