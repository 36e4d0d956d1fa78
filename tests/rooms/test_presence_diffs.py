"""Changes of presence, as each process with members in the room is told of them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from trio_ws.errors import BackplaneUnavailable, LocalProtocolError
from trio_ws.rooms import MemoryBackplane, Presence, PresenceDiff, Room, Rooms

from .hall import Hall, hall_with, open_hall


class Watcher:
    """One process that notes the changes of room "r"."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.seen: list[tuple[list[str], list[str]]] = []
        hall.rooms.room_options("r", on_presence=self.note)

    def note(self, room: Room, diff: PresenceDiff) -> None:
        self.seen.append(
            ([member.info["name"] for member in diff.joins], [member.info["name"] for member in diff.leaves])
        )

    async def join(self, name: str) -> AsyncExitStack:
        guest = await self.hall.guest()
        stay = AsyncExitStack()
        await stay.enter_async_context(self.hall.room("r").join(guest.websocket, name=name))
        await trio.sleep(1)
        return stay


async def test_every_process_with_members_gets_each_change(autojump_clock: Any) -> None:
    backplane = MemoryBackplane()
    async with open_hall(backplane=backplane) as one, open_hall(backplane=backplane) as two:
        here, there = Watcher(one), Watcher(two)
        ann = await here.join("Ann")
        ben = await there.join("Ben")
        cleo = await there.join("Cleo")
        assert here.seen == [(["Ann"], []), (["Ben"], []), (["Cleo"], [])]
        assert there.seen == [(["Ben"], []), (["Cleo"], [])]  # Ann was there before
        await ben.aclose()
        await trio.sleep(1)
        await ann.aclose()
        await trio.sleep(1)
        assert here.seen[3:] == [([], ["Ben"])]
        assert there.seen[2:] == [([], ["Ben"]), ([], ["Ann"])]
        await cleo.aclose()
    assert len(there.seen) == 4


async def test_changes_of_one_moment_are_one_call(autojump_clock: Any) -> None:
    async with open_hall() as hall:
        watcher = Watcher(hall)
        ann = await watcher.join("Ann")
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(watcher.join, str(number))
        (joins, leaves) = watcher.seen[1]
        assert (len(joins), leaves, len(watcher.seen)) == (20, [], 2)
        await ann.aclose()


class Silent(MemoryBackplane):
    """A backplane that gives no signals, and is away at times."""

    away = False

    def presence_change(self, room: str) -> trio.Event:
        return trio.Event()

    async def presence(self, room: str) -> tuple[Presence, ...]:
        if self.away:
            raise BackplaneUnavailable("away")
        return await super().presence(room)


async def test_changes_without_a_signal_are_found_in_time(autojump_clock: Any) -> None:
    """As after the death of a process, whose members expire."""
    backplane = Silent()
    async with open_hall(backplane=backplane) as hall:
        watcher = Watcher(hall)
        async with await watcher.join("Ann"):
            backplane.enter("r", Presence("x-1", {"name": "of another process"}))
            backplane.away = True
            await trio.sleep(60)
            assert watcher.seen == [(["Ann"], [])]
            backplane.away = False
            await trio.sleep(6)
            backplane.leave("r", "x-1")
            await trio.sleep(6)
            assert watcher.seen[1:] == [(["of another process"], []), ([], ["of another process"])]


async def test_a_callback_is_added_to_an_open_room(autojump_clock: Any, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    async with hall_with(2) as (hall, (ann, ben)):
        async with hall.room("r").join(ann.websocket) as room:

            @room.on_presence
            async def note(room: Room, diff: PresenceDiff) -> None:
                seen.append(len(diff.joins))
                raise KeyError

            await trio.sleep(1)
            async with room.join(ben.websocket):
                await trio.sleep(1)
                assert (seen, caplog.text.count("error in a callback")) == ([1, 1], 2)


def test_a_callback_that_cannot_be_called_is_refused() -> None:
    room = Rooms().room("r")
    with pytest.raises(TypeError, match="the room and the members that have come and gone"):
        room.on_presence(lambda room: None)  # type: ignore[type-var]

    def handler() -> None:
        @room.on_presence
        def note(room: Room, diff: PresenceDiff) -> None: ...

    handler()
    with pytest.raises(LocalProtocolError, match="already"):
        handler()


async def test_presence_is_read_from_outside_of_an_application(autojump_clock: Any) -> None:
    """A script has rooms of its own on the same backplane."""
    backplane = MemoryBackplane()
    async with hall_with(backplane=backplane) as (hall, ann):
        async with hall.room("r").join(ann.websocket, name="Ann"):
            async with Rooms(backplane).running():
                room = Rooms(backplane).room("r")
                assert ([dict(each.info) for each in await room.presence()], room.count) == ([{"name": "Ann"}], 0)
                assert await room.total() == 1
                await room.publish("from outside")
            assert await ann.heard(1) == ["from outside"]
