"""Calls, entries and subscribers that fail, and fail alone: what others do in the same task and over the same link.

Each shared task of a backplane is poisoned here: publishing, reading, news, attendance; and what is shared in memory.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from support.internals import internal
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import BackplaneRefused, MessageTooLarge, Timeouts
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Backplane, MemoryBackplane, Presence
from trio_ws.rooms.backplane import Entry
from trio_ws.rooms.redis import RedisBackplane, presence
from trio_ws.rooms.redis.calls import execute as calls_execute
from trio_ws.rooms.redis.command import Command

from .conformance import NOBODY, Ear, hearing
from .hall import open_hall

pytestmark = [needs_redis, forgives_coredis, collects_coredis]

SURROGATE = "\ud83d"
BRIEF = Timeouts(ping_interval=None, send_timeout=None, close_timeout=0.1)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    server.ask("FLUSHALL")
    server.ask("CONFIG RESETSTAT")
    return server


def records(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged at WARNING and above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@asynccontextmanager
async def unharmed(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, *, relinked: bool = False, **options: object
) -> AsyncIterator[RedisBackplane]:
    """Run a backplane; see that another room is served after it, over the first link still unless it is `relinked`."""
    caplog.set_level(logging.INFO, "trio_ws")
    backplane, ear = RedisBackplane(redis.url, **{"local_after": None, **options}), Ear()
    async with backplane.running(), backplane.subscribe("other", ear, history=0):
        yield backplane
        await backplane.publish("other", PreparedMessage("as ever"), NOBODY)
        await ear.hears(1)
        backplane.enter("other", Presence("b-1", {"user": "Ben"}))
        with trio.fail_after(10):
            while [each.id for each in await backplane.presence("other")] != ["b-1"]:
                await trio.sleep(0.01)
        backplane.leave("other", "b-1")
    assert relinked or caplog.text.count("connected to Redis") == 1, caplog.text


# --- refused in the caller's own call -----------------------------------------------------------------------------


async def test_unencodable_name_is_refused_in_each_call(redis, caplog) -> None:
    async with unharmed(redis, caplog) as backplane:
        with pytest.raises(ValueError, match="lone surrogate"):
            await backplane.publish(SURROGATE, PreparedMessage("?"), NOBODY)
        with pytest.raises(ValueError, match="lone surrogate"):
            async with backplane.subscribe(SURROGATE, Ear(), history=0):
                pytest.fail("it is open")
        with pytest.raises(ValueError, match="lone surrogate"):
            await backplane.presence(SURROGATE)
        with pytest.raises(ValueError, match="lone surrogate"):
            backplane.enter(SURROGATE, Presence("a-1", {}))
        await backplane.sync(SURROGATE)
    assert records(caplog) == []


async def test_member_info_with_a_surrogate_spoils_no_other_room(redis, caplog) -> None:
    """It is refused, or it travels; either way in the caller."""
    async with unharmed(redis, caplog) as backplane:
        try:
            backplane.enter("room", Presence("a-1", {"user": SURROGATE}))
        except ValueError:
            assert await backplane.presence("room") == ()
        else:
            await backplane.presence("room")
    assert records(caplog) == []


@pytest.mark.parametrize("info", [{"a": object()}, {"a": float("nan")}, {"a": {object()}}, {"a": b"\xff"}])
async def test_member_info_that_is_not_json_is_refused_in_join(redis, caplog, info) -> None:
    async with unharmed(redis, caplog) as backplane, open_hall(backplane=Shared(backplane), timeouts=BRIEF) as hall:
        ann = await hall.guest()
        room = hall.room("r")
        with pytest.raises((TypeError, ValueError)):
            async with room.join(ann.websocket, **info):
                pytest.fail("it has joined")
        assert (room.count, len(hall.rooms)) == (0, 0)
        async with room.join(ann.websocket, user="Ann"):
            assert room.count == 1
    assert records(caplog) == []


async def test_member_info_beyond_its_bound_is_refused_in_join(redis, caplog) -> None:
    async with unharmed(redis, caplog, max_info_size=100) as backplane:
        with pytest.raises(MessageTooLarge, match="the info of a member has 101 bytes, the backplane carries 100"):
            backplane.enter("room", Presence("a-1", {"user": "x" * 90}))
        backplane.enter("room", Presence("a-2", {"user": "x" * 89}))
        with trio.fail_after(10):
            while [each.id for each in await backplane.presence("room")] != ["a-2"]:
                await trio.sleep(0.01)
    assert records(caplog) == []


async def test_message_that_redis_finds_too_large_fails_alone(redis, caplog) -> None:
    """Redis ends the connection on which it comes: what is under way beside it is sent again."""
    redis.ask("CONFIG SET proto-max-bulk-len 1mb")
    try:
        async with unharmed(redis, caplog, relinked=True, max_message_size=2**22) as backplane:
            async with hearing(backplane) as ear:
                async with trio.open_nursery() as nursery:
                    for number in range(10):
                        nursery.start_soon(backplane.publish, "room", PreparedMessage(str(number)), NOBODY)
                    with pytest.raises(BackplaneRefused, match="proto-max-bulk-len"):
                        await backplane.publish("room", PreparedMessage("x" * (2**20 + 1)), NOBODY)
                await ear.hears(10)
        assert sorted(ear.data) == [str(number) for number in range(10)]
    finally:
        redis.ask("CONFIG SET proto-max-bulk-len 512mb")


# --- in a shared task all the same --------------------------------------------------------------------------------


async def test_call_that_cannot_be_sent_fails_alone(redis, caplog) -> None:
    async with unharmed(redis, caplog) as backplane:
        calls = internal(backplane, "_running_commands")
        bad = Command("room", "return 1", ("key",), ())
        bad.arguments = (object(),)  # type: ignore[assignment]
        outcomes: list[object] = []

        async def ask(call: Command) -> None:
            try:
                outcomes.append(await calls.run_command(call))
            except BackplaneRefused:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            for call in (Command("a", "return 1", ("key",), ()), bad, Command("b", "return 2", ("key",), ())):
                nursery.start_soon(ask, call)
        assert {*map(str, outcomes)} == {"1", "2", "refused"}
    assert len(records(caplog)) == 1


@pytest.mark.parametrize("local_after", [None, 20])
async def test_call_with_a_strange_answer_fails_alone(redis, caplog, local_after) -> None:
    async with unharmed(redis, caplog, local_after=local_after) as backplane:
        process = internal(backplane, "_process")
        redis.ask(f'SET trio_ws:{{=room}}:accepted:{process} "2\\n1 \\xff\\n2 id"')
        async with backplane.subscribe("room", Ear(), history=0):
            for _ in range(2):
                with pytest.raises(BackplaneRefused, match="not ours"):
                    await backplane.publish("room", PreparedMessage("?"), NOBODY)
            await backplane.publish("room", PreparedMessage("?"), NOBODY)


async def test_room_whose_stream_is_something_else_fails_alone(redis, caplog) -> None:
    redis.ask("SET trio_ws:{=room}:messages text")
    async with unharmed(redis, caplog, poll_interval=0.05) as backplane:
        ear = Ear()
        with trio.fail_after(10):
            async with backplane.subscribe("room", ear, history=5) as log:
                assert list(log) == []
                with pytest.raises(BackplaneRefused, match="wrong kind of value"):
                    await backplane.publish("room", PreparedMessage("?"), NOBODY)
                await backplane.sync("room")
                redis.ask("DEL trio_ws:{=room}:messages")
                await backplane.publish("room", PreparedMessage("mended"), NOBODY)
                await ear.hears(1)
    assert ear.data == ["mended"]
    assert all("wrong kind of value" in record for record in records(caplog))


@pytest.mark.parametrize("command", ["SET {} x", "RPUSH {} x", "SADD {} x", "ZADD {} 1 x"])
async def test_unreadable_room_has_one_record_until_it_is_read(redis, caplog, command) -> None:
    key = "trio_ws:{=room}:messages"
    async with unharmed(redis, caplog, poll_interval=0.02, retention=1.2) as backplane:  # prolonged each 0.3 s
        async with hearing(backplane, 5) as ear:
            for times in (1, 2):
                redis.ask(f"DEL {key}")
                redis.ask(command.format(key))
                with trio.fail_after(10):
                    while len(records(caplog)) < times:
                        await trio.sleep(0.01)
                    for _ in range(35):
                        await backplane.sync("room")
                        await trio.sleep(0.01)
                    redis.ask(f"DEL {key}")
                    await backplane.publish("room", PreparedMessage("mended"), NOBODY)
                    await ear.hears(times)
                    while internal(backplane, "_reader._query_runner._unreadable._faults"):
                        await trio.sleep(0.01)
                found = [record for record in records(caplog) if "has lost messages" not in record]
                assert len(found) == times, found
                assert "room 'room' is not read" in found[-1]
        assert ear.data == ["mended", "mended"]


async def test_room_that_cannot_be_told_of_has_one_record(redis, caplog) -> None:
    """Redis is told again with each beat, and takes it in the end."""
    redis.ask("SET trio_ws:{=room}:processes text")
    async with unharmed(redis, caplog, presence_timeout=0.3) as backplane:
        for times in (1, 2):
            backplane.enter("room", Presence("a-1", {"user": "Ann"}))
            with trio.fail_after(10):
                while len(records(caplog)) < times:
                    await trio.sleep(0.01)
                await trio.sleep(0.5)  # several beats
                assert len(records(caplog)) == times
                redis.ask("DEL trio_ws:{=room}:processes")
                while await backplane.presence("room") != (Presence("a-1", {"user": "Ann"}),):
                    await trio.sleep(0.01)
                backplane.leave("room", "a-1")
                while await backplane.presence("room"):
                    await trio.sleep(0.01)
            redis.ask("SET trio_ws:{=room}:processes text")


async def test_message_in_the_stream_is_acknowledged_whatever_fails(redis, caplog) -> None:
    """It would be heard, and its publisher would be told that it is certain not to be."""
    async with unharmed(redis, caplog) as backplane:
        async with hearing(backplane) as ear:
            redis.ask("ACL SETUSER default -hset -hlen -pexpire -publish")
            try:
                await backplane.publish("room", PreparedMessage("said"), NOBODY)
                await backplane.sync("room")
            finally:
                redis.ask("ACL SETUSER default +@all")
        assert ear.data == ["said"]


@pytest.mark.parametrize("how", ["rename", "acl"])
@pytest.mark.parametrize("command", ["xadd", "xrevrange", "xread", "hset", "pexpire", "zrangebyscore", "time"])
async def test_redis_without_a_command_is_refused_at_the_start(command, how) -> None:
    options = ["--rename-command", command, ""] if how == "rename" else []
    with redis_server(*options) as server:
        if how == "acl":
            server.ask(f"ACL SETUSER default -{command}")
        with pytest.raises(BackplaneRefused, match=f"(?i){command}"):
            async with RedisBackplane(server.url).running():
                pytest.fail("it runs")


async def test_check_at_the_start_leaves_nothing_behind() -> None:
    """It is passed also where Redis is full, or takes nothing as it is a replica: that may change."""
    with redis_server() as redis:
        for command in ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "REPLICAOF 127.0.0.1 1"):
            assert redis.ask(command) == "+OK\r\n"
            async with RedisBackplane(redis.url).running():
                assert redis.ask("DBSIZE") == ":0\r\n"


ANN = Presence("a-1", {"user": "Ann"})


async def only_ann_enters(backplane: Backplane) -> None:
    backplane.enter("room", ANN)
    with trio.fail_after(10):
        while not (found := await backplane.presence("room")):
            await trio.sleep(0.01)
    assert found == (ANN,)


async def test_process_whose_members_are_something_else_is_skipped(redis, caplog) -> None:
    """It spoils nothing of what is said of others, and has one record however often one asks."""
    redis.ask("ZADD trio_ws:{=room}:processes 9999999999999 stranger")
    redis.ask("SET trio_ws:{=room}:members:stranger text")
    async with unharmed(redis, caplog) as backplane:
        await only_ann_enters(backplane)
        assert await backplane.presence("room") == (ANN,)
    assert len(records(caplog)) == 1
    assert "stranger" in records(caplog)[0]


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "\u2003", SURROGATE, "x" * 257, 7, None, b"a-1"])
async def test_impossible_member_id_is_refused_in_the_call(redis, caplog, name) -> None:
    """On the link it would fail again and again, or exclude another one."""
    async with unharmed(redis, caplog) as backplane:
        with pytest.raises((TypeError, ValueError), match="the id of a member"):
            backplane.enter("room", Presence(name, {}))
        with pytest.raises((TypeError, ValueError), match="the id of a member"):
            await backplane.publish("room", PreparedMessage("?"), frozenset([name]))
        assert await backplane.presence("room") == ()
    assert records(caplog) == []


async def test_room_whose_presence_is_something_else_fails_alone(redis, caplog) -> None:
    redis.ask("SET trio_ws:{=room}:processes text")
    async with unharmed(redis, caplog) as backplane:
        backplane.enter("room", Presence("a-1", {}))
        with pytest.raises(BackplaneRefused, match="wrong kind of value"):
            await backplane.presence("room")
    assert all("wrong kind of value" in record for record in records(caplog))


async def test_attendance_of_a_room_that_cannot_be_told_fails_alone(redis, caplog) -> None:
    async with unharmed(redis, caplog) as backplane:
        internal(backplane, "_presence._present")["room"] = {"a-1": SURROGATE}
        internal(backplane, "_presence._change")("room", "a-1", SURROGATE)
    assert len(records(caplog)) == 1
    assert "cannot write the members of room 'room'" in records(caplog)[0]


async def test_attendance_of_many_members_is_told_in_pieces(redis, caplog, monkeypatch) -> None:
    """No call grows with the number of members, nor with that of rooms; also over another link, which is told anew."""
    monkeypatch.setattr(presence, "_BATCH_BYTES", 1000)
    sizes: list[int] = []

    async def execute(client: Any, calls: Any, seconds: float) -> Any:
        sizes.append(sum(call.size for call in calls))
        return await calls_execute(client, calls, seconds)

    monkeypatch.setattr(presence, "execute", execute)
    members = {f"a-{number}": {"text": "x" * 300} for number in range(20)}
    async with unharmed(redis, caplog, relinked=True, presence_timeout=1) as backplane:
        for name, info in members.items():
            backplane.enter("room", Presence(name, info))
            backplane.enter("crowd", Presence(f"{name}z", info))
        for room in ("room", "crowd", "room"):
            with trio.fail_after(20):
                while {each.id.rstrip("z"): each.info for each in await backplane.presence(room)} != members:
                    await trio.sleep(0.01)
            redis.ask("DEL trio_ws:{=room}:processes trio_ws:{=crowd}:processes")
            redis.ask("CLIENT KILL TYPE normal")
        for name in members:
            backplane.leave("room", name)
            backplane.leave("crowd", f"{name}z")
    assert max(sizes) < 2500


async def test_error_of_our_own_costs_the_link_and_nothing_else(redis, caplog, monkeypatch) -> None:
    async with unharmed(redis, caplog, relinked=True) as backplane:
        async with hearing(backplane) as ear:
            monkeypatch.setattr(internal(backplane, "_reader"), "_read_entries", None)
            redis.ask('PUBLISH trio_ws:{=room}:news ""')
            await backplane.publish("room", PreparedMessage("said"), NOBODY)
            with trio.fail_after(20):
                while "unexpected error in the backplane" not in caplog.text:
                    await trio.sleep(0.01)
            monkeypatch.undo()
            await ear.hears(1)
    assert ear.data == ["said"]


@pytest.mark.parametrize("text", ["", "1", "x {}", '1 {"a":', "1 [1]", "1 1e999", f"{'9' * 5000} {{}}", '"\\xff {}"'])
async def test_member_that_is_not_ours_is_skipped_with_one_record(redis, caplog, text) -> None:
    redis.ask("ZADD trio_ws:{=room}:processes 9999999999999 stranger")
    redis.ask(f"HSET trio_ws:{{=room}}:members:stranger who {text if text.startswith(chr(34)) else repr(text)}")
    async with unharmed(redis, caplog) as backplane:
        await only_ann_enters(backplane)
    assert {"not ours" in record for record in records(caplog)} == {True}


async def test_strange_news_on_a_channel_change_nothing(redis, caplog) -> None:
    async with unharmed(redis, caplog) as backplane:
        async with hearing(backplane) as ear:
            for text in ('""', "text", '"\\xff\\x00"', "9" * 5000):
                redis.ask(f"PUBLISH trio_ws:{{=room}}:news {text}")
            await backplane.publish("room", PreparedMessage("said"), NOBODY)
            await ear.hears(1)
    assert records(caplog) == []


@pytest.fixture(params=["memory", "redis"])
def engine(request: pytest.FixtureRequest, redis: RedisServer) -> Backplane:
    return MemoryBackplane() if request.param == "memory" else RedisBackplane(redis.url)


async def test_subscriber_that_fails_spoils_no_other_and_no_publisher(engine, caplog) -> None:
    def fail(_: Entry) -> None:
        raise ZeroDivisionError

    before, after = Ear(), Ear()
    async with engine.running(), engine.subscribe("room", before, history=0):
        async with engine.subscribe("room", fail, history=0), engine.subscribe("room", after, history=0):
            await engine.publish("room", PreparedMessage("said"), NOBODY)
            await before.hears(1)
            await after.hears(1)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "error in a subscriber of room 'room', other subscribers are not affected"
    ]


class Shared(Backplane):
    """A backplane that runs already, for rooms of a hall."""

    def __init__(self, backplane: Backplane) -> None:
        self.publish = backplane.publish  # type: ignore[method-assign]
        self.subscribe = backplane.subscribe  # type: ignore[method-assign]
        self.sync = backplane.sync  # type: ignore[method-assign]
        self.enter = backplane.enter  # type: ignore[method-assign]
        self.leave = backplane.leave  # type: ignore[method-assign]
        self.presence = backplane.presence  # type: ignore[method-assign]


Shared.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]
