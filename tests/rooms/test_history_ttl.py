"""`history_ttl`: the history of a room that is empty for a while."""

from __future__ import annotations

import gc

import pytest
import trio
from support.handlers import until_cancelled
from support.redis import forgives_coredis, needs_redis, redis_server
from trio.testing import wait_all_tasks_blocked

from trio_ws import App, WebSocket
from trio_ws.rooms import Rooms
from trio_ws.rooms.redis import RedisBackplane

from .hall import Guest, Hall, open_hall


async def published(hall: Hall, *texts: str, **options: object) -> list[str]:
    """Publish texts from within a room that is empty again afterwards; return their ids."""
    room = hall.room("r", **options)
    ann = await hall.guest()
    async with room.join(ann.websocket):
        return [await room.publish(text) for text in texts]


async def test_history_is_there_until_the_time_is_over(autojump_clock) -> None:
    async with open_hall() as hall:
        await published(hall, "1", "2", "3", history=2, history_ttl=10)
        for _ in range(2):  # each visit lets the time begin anew
            await trio.sleep(9.9)
            ben = await hall.guest()
            async with hall.room("r", history=2).join(ben.websocket):
                assert await ben.heard(2) == ["2", "3"]
                await trio.sleep(100)
        await trio.sleep(10.1)
        eve = await hall.guest()
        async with hall.room("r", history=2).join(eve.websocket):
            assert await eve.silent()


async def test_messages_to_the_empty_room_are_kept(autojump_clock) -> None:
    async with open_hall() as hall:
        await published(hall, "1", history=5, history_ttl=10)
        await hall.room("r").publish("to nobody")
        ben = await hall.guest()
        async with hall.room("r").join(ben.websocket):
            assert await ben.heard(2) == ["1", "to nobody"]


async def test_the_last_member_may_come_back_with_its_id(autojump_clock) -> None:
    async with open_hall() as hall:
        ids = await published(hall, "1", "2", resume=5, history_ttl=10)
        await hall.room("r").publish("3")
        ben = await hall.guest()
        async with (joining := hall.room("r").join(ben.websocket, since=ids[0])):
            assert joining.recovered is True
            assert await ben.heard(2) == ["2", "3"]


async def test_without_a_time_the_history_ends_with_the_room(autojump_clock) -> None:
    async with open_hall() as hall:
        await published(hall, "1", history=5)
        await wait_all_tasks_blocked()
        ben = await hall.guest()
        async with hall.room("r").join(ben.websocket):
            assert await ben.silent()


async def test_an_empty_room_keeps_its_options_until_the_end(autojump_clock) -> None:
    async with open_hall() as hall:
        await published(hall, "1", history=5, history_ttl=10)
        gc.collect()
        with pytest.raises(ValueError, match="history=5"):
            hall.room("r", history=6)
        assert len(hall.rooms) == 0
        await trio.sleep(10.1)
        gc.collect()
        assert hall.room("r", history=6).options.history == 6


async def test_tasks_end_with_the_last_member(autojump_clock) -> None:
    ended = trio.Event()

    async def work() -> None:
        await until_cancelled(lambda _: ended.set())

    async with open_hall() as hall:
        room, ann = hall.room("r", history=1, history_ttl=1000), await hall.guest()
        async with room.join(ann.websocket):
            room.start_soon(work)
        with trio.fail_after(1):
            await ended.wait()


async def until(guest: Guest, text: str) -> None:
    while await guest.heard(1) != [text]:
        pass


async def test_join_in_the_turn_of_the_end_is_kept_again(autojump_clock) -> None:
    """The time is over, and the task that holds the history may not have run yet."""
    async with open_hall() as hall:
        await published(hall, "1", history=5, history_ttl=10)
        ben, eve = await hall.guests(2)
        await trio.sleep(10)  # the keeper's deadline is due in this turn, too
        async with hall.room("r", history=5, history_ttl=10).join(ben.websocket):
            await hall.room("r").publish("2")
            await until(ben, "2")
        await trio.sleep(9)
        async with hall.room("r").join(eve.websocket):
            await until(eve, "2")


async def test_history_outlives_an_empty_room_of_an_app(autojump_clock) -> None:
    app = App()
    app.room_options("board:*", history=5, history_ttl=60)

    @app.websocket("/{name}")
    async def board(ws: WebSocket, name: str) -> None:
        async with app.room(f"board:{name}").join(ws) as room:
            async for message in ws:
                await room.publish(message)

    async with app.test_client(timeout=60) as client:
        for said in (["a"], ["a", "b"]):
            async with client.websocket_connect("/one") as ws:
                await ws.send(said[-1])
                assert [await ws.receive() for _ in said] == said
            await trio.sleep(30)


@needs_redis
@forgives_coredis
async def test_history_of_an_empty_room_is_kept_with_redis() -> None:
    with redis_server() as redis:
        async with open_hall(backplane=RedisBackplane(redis.url)) as hall:
            ids = await published(hall, "1", "2", history=5, history_ttl=600)
            gc.collect()
            with pytest.raises(ValueError, match="history=5"):
                hall.room("r", history=6)
            ben = await hall.guest()
            async with (joining := hall.room("r").join(ben.websocket, since=ids[0])):
                assert joining.recovered is True
                assert await ben.heard(1) == ["2"]


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)])
def test_time_that_is_none_is_refused(wrong: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="history_ttl"):
        Rooms().room("r", history=5, history_ttl=wrong)  # type: ignore[arg-type]
