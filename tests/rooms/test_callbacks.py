"""on_join and on_leave: run by the room, in order, exactly once each, whatever becomes of the member."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_ws.rooms import Member, Rooms

from .hall import hall_with, seated


async def test_callbacks_get_member_and_count_of_each_step_in_order(autojump_clock) -> None:
    """However long one takes, and however much happens meanwhile."""
    async with hall_with(3) as (hall, guests):
        room = hall.room("r")
        events: list[tuple[str, object, int]] = []

        @room.on_join
        async def greet(member: Member, count: int) -> None:
            await trio.sleep(1)
            events.append(("join", member.info["n"], count))

        @room.on_leave
        def miss(member: Member, count: int) -> None:
            events.append(("leave", member.info["n"], count))

        async with room.join(guests[0].websocket, n=0):
            async with room.join(guests[1].websocket, n=1):
                pass
            async with room.join(guests[2].websocket, n=2):
                assert room.count == 2
        assert (room.count, events) == (0, [])
        await trio.sleep(4)
        assert events == [
            ("join", 0, 1),
            ("join", 1, 2),
            ("leave", 1, 1),
            ("join", 2, 2),
            ("leave", 2, 1),
            ("leave", 0, 0),
        ]


async def test_on_leave_runs_when_the_members_task_is_cancelled(autojump_clock) -> None:
    """The callback is not: it may wait."""
    async with hall_with(2) as (hall, guests):
        room = hall.room("r")
        left: list[object] = []

        @room.on_leave
        async def goodbye(member: Member, count: int) -> None:
            await trio.sleep(1)
            await room.publish(f"one left, {count} here")
            left.append(member.websocket)

        async with room.join(guests[0].websocket):
            with trio.CancelScope() as scope:
                async with room.join(guests[1].websocket):
                    scope.cancel()
                    await trio.sleep_forever()
            assert await guests[0].heard(1) == ["one left, 1 here"]
            assert left == [guests[1].websocket]


async def test_callbacks_run_also_when_everything_around_is_cancelled(autojump_clock) -> None:
    """The members' tasks, the server and what runs the rooms: at once."""
    left: list[int] = []
    with trio.CancelScope() as scope:
        async with hall_with(5) as (hall, guests):
            room = hall.room("r")

            @room.on_leave
            async def goodbye(member: Member, count: int) -> None:
                await trio.sleep(0.5)
                left.append(count)

            async with seated(room, guests):
                scope.cancel()
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert left == [4, 3, 2, 1, 0]


async def test_an_error_in_a_callback_is_logged_and_the_others_run(autojump_clock, caplog) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")
        called = []

        @room.on_join
        async def fail(member: Member, count: int) -> None:
            raise ZeroDivisionError

        @room.on_join
        def also_fail(member: Member, count: int) -> None:
            raise KeyError

        room.on_join(lambda member, count: called.append(count))
        async with room.join(ann.websocket):
            await wait_all_tasks_blocked()
            assert called == [1]
        assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError, KeyError]  # type: ignore[index]
        assert "error in a callback of <Room 'r'>" in caplog.text


async def test_a_callback_that_hangs_is_cancelled_and_the_next_runs(autojump_clock, caplog) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")
        left = []

        @room.on_join
        async def hang(member: Member, count: int) -> None:
            await trio.sleep_forever()

        room.on_leave(lambda member, count: left.append(trio.current_time()))
        start = trio.current_time()
        async with room.join(ann.websocket):
            pass
        await trio.sleep(6)
        assert left == [start + 5]
        assert "took longer than 5 s" in caplog.text


async def test_rooms_wait_a_bounded_time_for_callbacks_at_the_end(autojump_clock, caplog) -> None:
    """The end of the rooms waits for callbacks but not for ever."""
    async with hall_with(4) as (_hall, guests):
        rooms, done = Rooms(callback_timeout=2), []
        room = rooms.room("r")

        @room.on_leave
        async def slow(member: Member, count: int) -> None:
            await trio.sleep(0.9)
            done.append(count)

        async with rooms.running():
            start = trio.current_time()
            async with seated(room, guests):
                pass
            for guest in guests:
                await guest.peer.close()
        assert trio.current_time() == start + 2
        assert done == [3, 2]
        assert "the rooms ended before 1 callbacks of <Room 'r'> could run" in caplog.text


async def test_a_callback_is_registered_once_and_stays_what_it_was() -> None:
    """So that a handler may register it for each of its connections."""
    calls = []

    def note(member: Member, count: int) -> None:
        calls.append(count)

    async with hall_with() as (hall, ann):
        room = hall.room("r")
        for _ in range(3):
            assert room.on_join(note) is note
        async with room.join(ann.websocket):
            await wait_all_tasks_blocked()
        assert calls == [1]
        await ann.peer.close()


@pytest.mark.parametrize("bad", [lambda: None, lambda member: None, lambda member, count, more: None])
async def test_callback_with_wrong_signature_is_refused_at_once(bad) -> None:
    """A callback that takes other arguments is refused at once."""
    room = Rooms().room("r")
    with pytest.raises(TypeError, match="two arguments, the member and the count"):
        room.on_join(bad)
    with pytest.raises(TypeError, match="two arguments, the member and the count"):
        room.on_leave(bad)


def test_callback_that_cannot_run_is_refused_and_builtin_is_not() -> None:
    """Callback that would never run is refused and a builtin is not."""

    def generate(member: Member, count: int) -> Iterator[int]:
        yield count

    async def generate_later(member: Member, count: int) -> AsyncIterator[int]:
        yield count

    room = Rooms().room("r")
    for bad in (generate, generate_later):
        for register in (room.on_join, room.on_leave, room.on_gap):
            with pytest.raises(TypeError, match="only makes a generator"):
                register(bad)  # type: ignore[arg-type]
    assert room.on_join(min) is min
