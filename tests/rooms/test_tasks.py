"""The room's own nursery: its tasks run while the room has members."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from support.handlers import until_cancelled
from support.internals import internal
from trio.testing import wait_all_tasks_blocked

from trio_ws import LocalProtocolError
from trio_ws.rooms import MemoryBackplane

from .hall import hall_with


async def test_tasks_run_from_first_join_until_the_last_leave(autojump_clock) -> None:
    """Tasks run while there are members and are cancelled when the last leaves."""
    async with hall_with(2) as (hall, (ann, ben)):
        room = hall.room("r")
        ended = []

        async def clock() -> None:
            try:
                while True:
                    await trio.sleep(1)
                    await room.publish("tick")
            finally:
                ended.append(room.count)

        async with room.join(ben.websocket):
            async with room.join(ann.websocket):
                room.start_soon(clock, name="a clock")
                assert await ann.heard(2) == ["tick", "tick"]
            assert await ben.heard(3) == ["tick"] * 3
            assert ended == []
        await wait_all_tasks_blocked()
        assert ended == [0]
        async with room.join(ann.websocket):
            assert await ann.silent()


async def test_a_room_without_members_has_no_nursery(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")
        with pytest.raises(LocalProtocolError, match="<Room 'r'> has a nursery only while it has members"):
            room.start_soon(trio.sleep_forever)
        async with room.join(ann.websocket):
            assert isinstance(room.nursery, trio.Nursery)
        with pytest.raises(LocalProtocolError):
            room.nursery  # noqa: B018


async def test_task_error_is_logged_and_ends_only_the_other_tasks(autojump_clock, caplog) -> None:
    """An error in a task is logged ends the others and nothing else."""
    async with hall_with() as (hall, ann):
        room = hall.room("r")
        ended = trio.Event()

        async def wait() -> None:
            await until_cancelled(lambda _: ended.set())

        async def fail() -> None:
            raise ZeroDivisionError

        async with room.join(ann.websocket):
            first = room.nursery
            room.start_soon(wait)
            room.start_soon(fail)
            await ended.wait()
            await wait_all_tasks_blocked()
            assert "error in a task of <Room 'r'>" in caplog.text
            assert room.nursery is not first
            room.start_soon(room.publish, "the room goes on")
            assert await ann.heard(1) == ["the room goes on"]


async def test_an_error_while_the_tasks_are_cancelled_is_logged_too(autojump_clock, caplog) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")

        async def fail_at_the_end() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ZeroDivisionError

        async with room.join(ann.websocket):
            room.start_soon(fail_at_the_end)
            await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        assert "error in a task of <Room 'r'>" in caplog.text
        assert (room.count, internal(hall.rooms, "_open")) == (0, {})


async def test_tasks_that_are_slow_to_end_keep_nobody_from_joining(autojump_clock) -> None:
    async with hall_with() as (hall, ann):
        room = hall.room("r")

        async def linger() -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(100)

        async with room.join(ann.websocket):
            room.start_soon(linger)
            await wait_all_tasks_blocked()
        start = trio.current_time()
        async with room.join(ann.websocket):
            await room.publish("once")
            assert await ann.heard(1) == ["once"]
            assert trio.current_time() == start
            assert await ann.silent()


async def test_a_backplane_that_is_slow_to_unsubscribe_doubles_nothing(autojump_clock) -> None:
    """Who joins meanwhile hears each message once, over the new subscription."""

    class Slow(MemoryBackplane):
        @asynccontextmanager
        async def subscribe(self, room, deliver, **options):
            async with super().subscribe(room, deliver, **options) as log:
                try:
                    yield log
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(10)

    async with hall_with(backplane=Slow()) as (hall, ann):
        room = hall.room("r")
        async with room.join(ann.websocket):
            pass
        async with room.join(ann.websocket):
            await room.publish("once")
            assert await ann.heard(1) == ["once"]
            assert await ann.silent()


async def test_failed_backplane_subscription_is_an_error_of_each_join(autojump_clock) -> None:
    """And the next joiner tries again."""

    class Failing(MemoryBackplane):
        works = False

        @asynccontextmanager
        async def subscribe(self, room, deliver, **options):
            await trio.sleep(1)
            if not self.works:
                raise ConnectionError("the backplane is away")
            async with super().subscribe(room, deliver, **options) as log:
                yield log

    backplane = Failing()
    async with hall_with(3, backplane=backplane) as (hall, guests):
        room, failed = hall.room("r"), []

        async def join(guest) -> None:
            try:
                async with room.join(guest.websocket):
                    pass
            except ConnectionError as error:
                failed.append(str(error))

        async with trio.open_nursery() as nursery:
            for guest in guests:
                nursery.start_soon(join, guest)
        assert failed == ["the backplane is away"] * 3
        assert internal(hall.rooms, "_open") == {}
        backplane.works = True
        async with room.join(guests[0].websocket):
            assert room.count == 1
