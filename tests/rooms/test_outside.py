"""Programs without members publish to rooms, watch them and remove members, from Trio and from blocking code."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from support.redis import RedisServer, collects_coredis, forgives_coredis, line_to, needs_redis, redis_server

from trio_ws import App, BackplaneUnavailable, LocalProtocolError, MessageTooLarge, WebSocket, connect_backplane
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import MemoryBackplane, RoomMessage, Rooms, watch
from trio_ws.rooms.backplane import Entry
from trio_ws.rooms.everywhere import message_of
from trio_ws.testing import cancel_everywhere

from .conformance import NOBODY
from .hall import open_hall
from .test_orders import closing, member_id
from .test_resume import Lossy

pytestmark = [forgives_coredis, collects_coredis]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def data_of(messages: list[RoomMessage]) -> list[str | bytes]:
    return [each.message for each in messages]


# --- in Trio ------------------------------------------------------------------------------------------------------


async def test_members_receive_what_is_published_from_outside(backplanes: Any) -> None:
    async with open_hall(backplane=backplanes()) as hall, connect_backplane(backplanes()) as rooms:
        ann = await hall.guest()
        async with hall.room("r", history=5).join(ann.websocket) as room:
            first = await rooms.publish("r", {"at": datetime(2026, 1, 1, tzinfo=UTC)}, key="one")
            assert await rooms.publish("r", {"another": 1}, key="one") == first
            await rooms.publish("r", "not for Ann", exclude=member_id(room, ann))
            await rooms.publish("r", "for her", exclude=["somebody-1"])
            assert await ann.heard(2) == ['{"at":"2026-01-01T00:00:00Z"}', "for her"]
            with trio.fail_after(10):
                while await rooms.total("r") < 1:
                    await trio.sleep(0.01)
            assert [each.id for each in await rooms.presence("r")] == [member_id(room, ann)]
            assert data_of(await rooms.history("r", after=first)) == ["not for Ann", "for her"]
            await rooms.disconnect("r", member_id(room, ann), reason="go")
            assert await closing(ann) == (1008, "go")


async def test_a_room_is_closed_from_outside(backplanes: Any) -> None:
    async with open_hall(backplane=backplanes()) as hall, connect_backplane(backplanes()) as rooms:
        ann = await hall.guest()
        async with hall.room("r").join(ann.websocket):
            await rooms.close_room("r")
            assert await closing(ann) == (1000, "")


async def test_all_connections_receive_a_broadcast_from_outside() -> None:
    app, backplane = App(backplane=(shared := MemoryBackplane())), shared

    @app.websocket("/")
    async def wait(ws: WebSocket) -> None:
        await ws.wait_closed()

    visiting = app.test_client(timeout=60)
    async with visiting as client, connect_backplane(backplane) as rooms, client.websocket_connect("/") as ws:
        await rooms.broadcast({"all": 1})
        assert await ws.receive_json() == {"all": 1}


@needs_redis
async def test_several_servers_have_the_rooms_that_they_have_for_apps(redis: RedisServer) -> None:
    async with line_to(redis) as line:
        async with (
            connect_backplane([redis.url, line.url]) as rooms,
            connect_backplane([line.url, redis.url]) as others,
        ):
            for number in range(8):
                async with others.watch(f"spread {number}") as messages:
                    await rooms.publish(f"spread {number}", "said")
                    with trio.fail_after(10):
                        assert (await anext(messages)).message == "said"


async def test_messages_are_encoded_by_the_given_function() -> None:
    backplane = MemoryBackplane()
    async with connect_backplane(backplane, json=lambda value: f"<{value}>") as rooms, rooms.watch("r") as messages:
        await rooms.publish("r", 5)
        assert (await anext(messages)).message == "<5>"


async def test_a_watch_has_all_messages_from_its_beginning_on(backplanes: Any) -> None:
    async with connect_backplane(backplanes()) as rooms, connect_backplane(backplanes()) as others:
        async with rooms.watch("r", history=5) as first:
            for number in range(3):
                await others.publish("r", str(number))
            await others.disconnect("r", "somebody-1")
            await others.publish("r", b"\xff")
            found = [await anext(first) for _ in range(4)]
            assert data_of(found) == ["0", "1", "2", b"\xff"]
            assert found[0].time <= found[1].time
            async with rooms.watch("r", since=found[1].id) as later, rooms.watch("r", history=1) as latest:
                assert later.recovered is True
                assert latest.recovered is None
                await others.publish("r", "end")
                assert data_of([await anext(later) for _ in range(3)]) == ["2", b"\xff", "end"]
                assert data_of([await anext(latest) for _ in range(2)]) == [b"\xff", "end"]


async def test_a_watch_reports_lost_messages_in_their_place(autojump_clock: Any, caplog: Any) -> None:
    lost: list[int | None] = []
    lossy = Lossy()
    async with connect_backplane(lossy) as rooms, rooms.watch("r", since="unknown", on_gap=lost.append) as messages:
        assert messages.recovered is False
        await rooms.publish("r", "before")
        lossy.lose(3)
        await rooms.publish("r", "after")
        assert (await anext(messages)).message == "before"
        assert lost == [None]
        assert (await anext(messages)).message == "after"
        assert lost == [None, 3]
        async with rooms.watch("r") as other:
            lossy.lose(None)
            await rooms.publish("r", "again")
            await anext(other)
    assert "<RoomWatch 'r'> has lost messages: unknown number" in caplog.text


async def test_a_slow_watch_loses_messages_and_is_told(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_BACKLOG", 1500)
    lost: list[int | None] = []
    async with connect_backplane(MemoryBackplane()) as rooms, rooms.watch("r", on_gap=lost.append) as messages:
        for number in range(20):
            await rooms.publish("r", str(number))
        received = [await anext(messages) for _ in range(20 - 15)]
        assert received[-1].message == "19"
        assert sum(each or 0 for each in lost) == 20 - len(received)
        await rooms.publish("r", "x" * 5000)
        assert len((await anext(messages)).message) == 5000


async def test_one_task_receives_from_a_watch_within_its_block(autojump_clock: Any) -> None:
    async with connect_backplane(MemoryBackplane()) as rooms:
        messages = rooms.watch("r")
        with pytest.raises(LocalProtocolError, match="within `async with"):
            await anext(messages)
        async with messages:
            with pytest.raises(LocalProtocolError, match="is being watched"):
                await messages.__aenter__()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(anext, messages)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await anext(messages)
                nursery.cancel_scope.cancel()
            with trio.move_on_after(1):
                await anext(messages)
            await rooms.publish("r", "still there")
            assert (await anext(messages)).message == "still there"


@needs_redis
async def test_a_watch_survives_that_redis_is_away(redis: RedisServer, impatient: None) -> None:
    async with line_to(redis) as line, connect_backplane(redis.url, prefix="cut") as near:
        async with connect_backplane(line.url, prefix="cut") as far, far.watch("r") as messages:
            await near.publish("r", "1")
            assert (await anext(messages)).message == "1"
            line.cut_off()
            await near.publish("r", "2")
            line.mend()
            with trio.fail_after(10):
                assert (await anext(messages)).message == "2"


@needs_redis
async def test_publishing_fails_in_time_while_redis_is_away(redis: RedisServer, impatient: None) -> None:
    async with line_to(redis) as line, connect_backplane(line.url, prefix="gone", timeout=0.2) as rooms:
        line.cut_off()
        with pytest.raises(BackplaneUnavailable) as away:
            await rooms.publish("r", "lost?", key="k")
        assert away.value.local is False
        line.mend()
        with trio.fail_after(10):
            while True:
                try:
                    identifier = await rooms.publish("r", "lost?", key="k")
                except BackplaneUnavailable:
                    continue
                break
        assert [each.id for each in await rooms.history("r")] == [identifier], "the retry is no second message"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"redis": 5}, TypeError),
        ({"redis": []}, ValueError),
        ({"redis": [5]}, TypeError),
        ({"redis": "http://x"}, ValueError),
        ({"redis": "redis://localhost", "timeout": 0}, ValueError),
        ({"redis": "redis://localhost", "timeout": "1"}, TypeError),
        ({"redis": MemoryBackplane(), "timeout": 0}, ValueError),
        ({"redis": MemoryBackplane(), "timeout": True}, TypeError),
        ({"redis": "redis://localhost", "json": 5}, TypeError),
        ({"redis": "redis://localhost", "prefix": "{"}, ValueError),
        ({"redis": MemoryBackplane(), "prefix": "p"}, TypeError),
        ({"redis": "redis://localhost", "ssl_context": 5}, TypeError),
    ],
)
def test_options_that_cannot_be_are_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    """The first word is the option, not one of the backplane that is made from it."""
    last = [*arguments][-1]
    with pytest.raises(error, match=f"^{last} " if last == "timeout" else None):
        connect_backplane(**arguments)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda rooms: rooms.publish(5, "x"), TypeError),
        (lambda rooms: rooms.publish("\ud83d", "x"), ValueError),
        (lambda rooms: rooms.publish("x" * 8193, "x"), ValueError),
        (lambda rooms: rooms.publish("r", object()), TypeError),
        (lambda rooms: rooms.publish("r", "\ud83d"), ValueError),
        (lambda rooms: rooms.publish("r", "x", key=""), ValueError),
        (lambda rooms: rooms.publish("r", "x", exclude="a b"), ValueError),
        (lambda rooms: rooms.publish("r", "x", exclude=[5]), TypeError),
        (lambda rooms: rooms.disconnect("r", "a-1", code=5), ValueError),
        (lambda rooms: rooms.close_room("r", code=5), ValueError),
        (lambda rooms: rooms.history("r", limit=0), ValueError),
    ],
)
async def test_arguments_that_cannot_be_are_refused(call: Any, error: type[Exception]) -> None:
    async with connect_backplane(MemoryBackplane()) as rooms:
        with pytest.raises(error):
            await call(rooms)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"since": 5}, TypeError),
        ({"history": "1"}, TypeError),
        ({"history": True}, TypeError),
        ({"history": 1001}, ValueError),
        ({"history": -1}, ValueError),
    ],
)
async def test_a_watch_that_cannot_be_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    async with connect_backplane(MemoryBackplane()) as rooms:
        with pytest.raises(error):
            rooms.watch("r", **options)


async def test_a_connection_is_in_use_once() -> None:
    connection = connect_backplane(MemoryBackplane())
    async with connection:
        with pytest.raises(LocalProtocolError, match="in use"):
            await connection.__aenter__()
        with pytest.raises(RuntimeError, match="async with"), connection:
            pass
    async with connection as rooms:
        await rooms.publish("r", "again")


@needs_redis
async def test_a_message_that_redis_does_not_carry_is_refused(redis: RedisServer) -> None:
    async with connect_backplane(redis.url) as rooms:
        with pytest.raises(MessageTooLarge):
            await rooms.publish("r", b"x" * (1024 * 1024 + 1))


async def test_a_connection_that_is_cancelled_leaves_nothing(autojump_clock: Any) -> None:
    """At each of its checkpoints, and a message is published whole or not at all."""

    async def scenario() -> None:
        backplane = MemoryBackplane()
        async with connect_backplane(backplane) as rooms, rooms.watch("r", history=2) as messages:
            await rooms.publish("r", "1", key="k")
            await rooms.disconnect("r", "somebody-1")
            await rooms.close_room("r")
            await anext(messages)
            await rooms.total("r")
            await rooms.history("r")

    await cancel_everywhere(scenario)


async def test_a_time_beyond_the_calendar_is_its_end() -> None:
    """Ids of entries in Redis are times, which another program may choose."""
    entry = Entry("1-0", PreparedMessage("x"), NOBODY, time=2.0**64)
    assert message_of(entry).time.year == 9999


# --- in blocking code ---------------------------------------------------------------------------------------------


def test_blocking_code_publishes_and_watches(backplanes: Any) -> None:
    with connect_backplane(backplanes()) as rooms, connect_backplane(backplanes()) as others:
        with rooms.watch("r", history=9) as messages:
            first = others.publish("r", {"n": 1}, key="k")
            assert others.publish("r", {"n": 1}, key="k") == first
            others.close_room("r")
            others.disconnect("r", "somebody-1")
            others.publish("r", "2", exclude="somebody-1")
            assert data_of([next(messages), next(messages)]) == ['{"n":1}', "2"]
            assert data_of(others.history("r", limit=1)) == ["2"]
            with others.watch("r", since=first, timeout=0.05) as later:
                assert later.recovered is True
                assert data_of(list(later)) == ["2"], "then the iteration ends, as nothing comes for so long"
        others.broadcast("x")
        assert others.total("r") == 0
        assert others.presence("r") == ()


def test_threads_share_a_blocking_connection() -> None:
    backplane = MemoryBackplane()
    with connect_backplane(backplane) as rooms, rooms.watch("r", timeout=0.05) as messages:
        threads = [threading.Thread(target=rooms.publish, args=("r", str(number))) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, data_of(list(messages)))) == [str(number) for number in range(8)]


def test_calls_after_the_block_are_errors() -> None:
    with connect_backplane(MemoryBackplane()) as rooms:
        pass
    with pytest.raises(LocalProtocolError, match="has ended"):
        rooms.publish("r", "x")


def test_the_block_raises_what_is_raised_in_it() -> None:
    with pytest.raises(KeyError), connect_backplane(MemoryBackplane()):
        raise KeyError
    with pytest.raises(ValueError, match="timeout"), connect_backplane(MemoryBackplane()) as rooms:
        with rooms.watch("r", timeout=-1):
            pass


@needs_redis
def test_blocking_code_gets_a_typed_error_without_redis(tmp_path: Any) -> None:
    with pytest.raises(BackplaneUnavailable, match="no Redis answers"):
        with connect_backplane(f"unix://{tmp_path}/none"):
            pass


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_gets_an_error_and_disturbs_nothing() -> None:
    """As with Celery or gunicorn, where a module connects before the workers are forked."""
    with connect_backplane(MemoryBackplane()) as rooms:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                rooms.publish("r", "x")
            except LocalProtocolError:
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert rooms.publish("r", "x")


def test_a_thread_of_trio_may_connect() -> None:
    async def main() -> None:
        def work() -> str:
            with connect_backplane(MemoryBackplane()) as rooms:
                return rooms.publish("r", "x")

        assert await trio.to_thread.run_sync(work)

    trio.run(main)


async def test_a_registry_of_rooms_does_the_same() -> None:
    backplane = MemoryBackplane()
    async with connect_backplane(backplane) as rooms, rooms.watch("\0r") as messages:
        await backplane.publish("\0\0r", PreparedMessage("a name that begins with NUL"), NOBODY)
        await Rooms(backplane).room("\0r").publish("by a room")
        assert data_of([await anext(messages), await anext(messages)]) == ["a name that begins with NUL", "by a room"]
