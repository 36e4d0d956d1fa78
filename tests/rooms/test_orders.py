"""Members are disconnected and rooms closed from any process, at one place among the messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from support.redis import RedisServer, collects_coredis, forgives_coredis, line_to, needs_redis, redis_server

from trio_ws import BackplaneUnavailable, connect_backplane
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Backplane, MemoryBackplane, Room, Rooms
from trio_ws.rooms.backplane import Entry, Log
from trio_ws.rooms.orders import Disconnect, parse_order
from trio_ws.rooms.redis import RedisBackplane

from .conformance import NOBODY
from .hall import Guest, Hall, hall_with, open_hall, seated

pytestmark = [forgives_coredis, collects_coredis]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@asynccontextmanager
async def two(make: Callable[[], Backplane]) -> AsyncIterator[tuple[Hall, Hall]]:
    async with open_hall(backplane=make()) as here, open_hall(backplane=make()) as there:
        yield here, there


def member_id(room: Room, guest: Guest) -> str:
    return next(member.id for member in room.members if member.websocket is guest.websocket)


async def closing(guest: Guest) -> tuple[int | None, str | None]:
    """Return code and reason of the close frame that comes next, and leave."""
    frame = await guest.frame()
    await guest.peer.close()
    return frame.close_code, frame.close_reason


async def test_a_member_is_disconnected_from_another_process(backplanes: Any) -> None:
    async with two(backplanes) as (here, there):
        ann, ben = await there.guests(2)
        near, far = here.room("r"), there.room("r")
        async with seated(far, [ann, ben]):
            with trio.fail_after(10):
                while far.count < 2:
                    await trio.sleep(0.01)
            await near.publish("before")
            await near.disconnect(member_id(far, ann), code=4001, reason="out")
            await near.publish("after")
            assert await ann.heard(1) == ["before"]
            assert await closing(ann) == (4001, "out")
            assert await ben.heard(2) == ["before", "after"]
            await ben.peer.close()


async def test_closing_a_room_disconnects_all_its_members(backplanes: Any) -> None:
    async with two(backplanes) as (here, there):
        near, far = await here.guests(1), await there.guests(2)
        (other,) = await there.guests(1)
        async with (
            seated(here.room("r"), near),
            seated(there.room("r"), far),
            seated(there.room("another"), [other]),
        ):
            with trio.fail_after(10):
                while there.room("r").count + here.room("r").count + there.room("another").count < 4:
                    await trio.sleep(0.01)
            await here.room("r").close(reason="over")
            for guest in near + far:
                assert await closing(guest) == (1000, "over")
            await there.room("another").publish("still here")
            assert await other.heard(1) == ["still here"]
            await other.peer.close()


async def test_who_comes_later_is_not_disconnected_by_history(autojump_clock: Any) -> None:
    async with hall_with(3) as (hall, (ann, ben, cleo)):
        room = hall.room("r", history=2)
        async with room.join(ann.websocket):
            first = await room.publish("1")
            await room.disconnect("nobody-1")
            await room.publish("2")
            await room.disconnect("nobody-2")
            async with room.join(ben.websocket), (again := room.join(cleo.websocket, since=first)):
                assert again.recovered is True
                await room.publish("3")
                assert await ben.heard(3) == ["1", "2", "3"]
                assert await cleo.heard(2) == ["2", "3"]


async def test_a_slow_member_is_disconnected_too(autojump_clock: Any) -> None:
    async with hall_with(tight=True) as (hall, slow):
        async with hall.room("r").join(slow.websocket) as room:
            for _ in range(3):
                await room.publish("x" * 100_000)
            await room.disconnect(member_id(room, slow))
            info = slow.websocket.context.open_channel().close_info
            assert info is not None
            assert info.code == 1008


async def test_an_app_without_members_there_may_disconnect() -> None:
    await Rooms().room("r").disconnect("someone-1")
    await Rooms().room("r").close()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("",), ValueError),
        (("two words",), ValueError),
        ((None,), TypeError),
        ((5,), TypeError),
        (("a-1", 999), ValueError),
        (("a-1", 1006), ValueError),
        (("a-1", "4000"), TypeError),
        (("a-1", 4000, "x" * 124), ValueError),
        (("a-1", 4000, "\ud83d"), ValueError),
        (("a-1", 4000, None), TypeError),
    ],
)
async def test_an_order_that_cannot_be_is_refused(arguments: Any, error: type[Exception]) -> None:
    member, *rest = arguments
    with pytest.raises(error):
        await Rooms().room("r").disconnect(member, **dict(zip(("code", "reason"), rest, strict=False)))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        "null",
        '{"order":"dance"}',
        '{"order":"disconnect"}',
        '{"order":"disconnect","member":null,"code":1000,"reason":""}',
        '{"order":"disconnect","member":"a b","code":1000,"reason":""}',
        '{"order":"disconnect","code":1006,"reason":""}',
        '{"order":"disconnect","code":true,"reason":""}',
        '{"order":"disconnect","code":1000,"reason":"\\ud83d"}',
        '{"order":"disconnect","code":1000}',
        b"\xff",
        "[" * 10_000,
    ],
)
async def test_a_foreign_order_disturbs_no_member(data: str | bytes, autojump_clock: Any, caplog: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the text
        parse_order(data)
    backplane = MemoryBackplane()
    async with hall_with(backplane=backplane) as (hall, ann):
        async with hall.room("r").join(ann.websocket) as room:
            await backplane.publish("r", PreparedMessage(data), NOBODY, order=True)
            await room.publish("said")
            assert await ann.heard(1) == ["said"]
    assert "is left out" in caplog.text


def test_an_order_is_read_as_it_was_written() -> None:
    for order in (Disconnect("a-1", 4000, "höher"), Disconnect(None, 1000, "")):
        assert parse_order(order.encode().data) == order


def test_a_log_holds_orders_beside_its_messages() -> None:
    log = Log(2)
    for number in range(9):
        log.append(Entry(str(number), PreparedMessage(""), NOBODY, order=number % 2 == 1))
    assert [entry.id for entry in log] == ["5", "6", "7", "8"]
    assert log.since("4").recovered
    for number in range(9, 20):
        log.append(Entry(str(number), PreparedMessage(""), NOBODY, order=True))
    assert len(log) == 4


@needs_redis
async def test_while_redis_is_away_own_members_are_disconnected(redis: RedisServer) -> None:
    """As messages are delivered: first here, then everywhere once Redis is back."""
    async with line_to(redis) as line:
        backplane = RedisBackplane(line.url, prefix="away", local_after=0.05, publish_timeout=20)
        async with (
            open_hall(backplane=backplane) as here,
            open_hall(backplane=RedisBackplane(redis.url, prefix="away")) as there,
        ):
            ann, ben = await here.guest(), await there.guest()
            near, far = here.room("r"), there.room("r")
            async with seated(near, [ann]), seated(far, [ben]):
                with trio.fail_after(10):
                    while near.count + far.count < 2:
                        await trio.sleep(0.01)
                line.cut_off()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(near.close)
                    assert await closing(ann) == (1000, "")
                    line.mend()
                    assert await closing(ben) == (1000, "")


@needs_redis
async def test_a_process_that_was_cut_off_carries_orders_out_later(redis: RedisServer) -> None:
    """In its place among the messages that it has missed."""
    async with line_to(redis) as line:
        far, near = RedisBackplane(line.url, prefix="later"), RedisBackplane(redis.url, prefix="later")
        async with open_hall(backplane=far) as there, connect_backplane(near) as rooms:
            ann, ben = await there.guests(2)
            room = there.room("r")
            async with seated(room, [ann, ben]):
                with trio.fail_after(10):
                    while room.count < 2:
                        await trio.sleep(0.01)
                gone = member_id(room, ann)
                line.cut_off()
                await rooms.publish("r", "before")
                await rooms.disconnect("r", gone, code=4001)
                await rooms.publish("r", "after")
                line.mend()
                assert await ann.heard(1) == ["before"]
                assert await closing(ann) == (4001, "")
                assert await ben.heard(2) == ["before", "after"]
                await ben.peer.close()


@needs_redis
async def test_an_order_reports_that_redis_is_away(redis: RedisServer) -> None:
    async with line_to(redis) as line:
        backplane = RedisBackplane(line.url, prefix="gone", publish_timeout=0.1)
        async with backplane.running():
            line.cut_off()
            with pytest.raises(BackplaneUnavailable):
                await Rooms(backplane).room("r").disconnect("a-1")
