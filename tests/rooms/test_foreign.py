"""Entries in a room's stream that are not ours: skipped with one record, by publishers and by readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest
import trio
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Rooms
from trio_ws.rooms.redis import RedisBackplane

from .conformance import NOBODY, Ear

pytestmark = [needs_redis, forgives_coredis, collects_coredis]

_runs = count(1)

DIGITS = "9" * 5000
HEX = "0123456789abcdef"

# In the form of the command line: what stands behind XADD's id.
FOREIGN = {
    "other fields": "foo bar",
    "one empty field": '"" ""',
    "a place of 5,000 digits": f'n {DIGITS} p {HEX} s 1 d tx x ""',
    "a place of 17 digits": f'n {"9" * 17} p {HEX} s 1 d tx x ""',
    "a place of 16 digits": f'n {"9" * 16} p {HEX} s 1 d tx x ""',
    "a place that is a word": f'n first p {HEX} s 1 d tx x ""',
    "a negative place": f'n -7 p {HEX} s 1 d tx x ""',
    "a place with spaces": f'n " 7 " p {HEX} s 1 d tx x ""',
    "a place with an underscore": f'n 1_0 p {HEX} s 1 d tx x ""',
    "a fraction as place": f'n 1.5 p {HEX} s 1 d tx x ""',
    "infinity as place": f'n inf p {HEX} s 1 d tx x ""',
    "a hexadecimal place": f'n 0x10 p {HEX} s 1 d tx x ""',
    "an empty place": f'n "" p {HEX} s 1 d tx x ""',
    "bytes": '"\\xff\\x00" "\\xfe" n "\\x00"',
    "places first, and nothing else": "n 5",
    "an epoch of 5,000 digits": f'n 7 p {HEX} e {DIGITS}-a s 1 d tx x ""',
    "an epoch of 16 digits": f'n 7 p {HEX} e {DIGITS[:16]}-a s 1 d tx x ""',
    "an epoch that is a word": f'n 7 p {HEX} e word s 1 d tx x ""',
    "an epoch with a long token": f'n 7 p {HEX} e 1-{HEX}0 s 1 d tx x ""',
    "an epoch with capitals": f'n 7 p {HEX} e 99999999999999-ABC s 1 d tx x ""',
    "an empty epoch": f'n 7 p {HEX} e "" s 1 d tx x ""',
    "an epoch behind the message": f'n 7 p {HEX} d tx s 1 e 1-a x ""',
    "an epoch without a publisher": 'n 7 p "" e word',
    "neither publisher nor epoch": 'n 7 p "" foo bar',
    "fields in another order": f'd tx n 3 p {HEX} s 1 x ""',
}
# Those that have a place, and a publisher, and are wrong behind that. They count as places.
MALFORMED = {
    "a number of 5,000 digits": f'p 0a s {DIGITS} d tx x ""',
    "a number that is a word": 'p 0a s word d tx x ""',
    "no message": 'p 0a s 1 x ""',
    "neither publisher, epoch nor message": 'p "" s 1',
    "an unknown kind": 'p 0a s 1 d zx x ""',
    "an empty message": 'p 0a s 1 d "" x ""',
    "text that is not UTF-8": 'p 0a s 1 d "t\\xff" x ""',
    "excluded members that are not UTF-8": 'p 0a s 1 d tx x "\\xff"',
    "a publisher that is no process": 'p "no process" s 1 d tx x ""',
    "a publisher of 33 digits": f'p {HEX}{HEX}0 s 1 d tx x ""',
    "text that is not UTF-8 as publisher": 'p "\\xff" s 1 d tx x ""',
}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def room() -> str:
    return f"room{next(_runs)}"


def add(redis: RedisServer, room: str, fields: str) -> None:
    answer = redis.ask(f"XADD trio_ws:{{={room}}}:messages * {fields}")
    assert answer.startswith("$"), answer


async def publish(backplane: RedisBackplane, room: str, *texts: str) -> None:
    for text in texts:
        await backplane.publish(room, PreparedMessage(text), NOBODY)


@pytest.mark.parametrize("fields", FOREIGN.values(), ids=FOREIGN)
async def test_foreign_entries_are_skipped_on_both_ways(redis, room, fields, caplog) -> None:
    """Before the room's first entry, between entries, and as the newest when it is opened, with many of them."""
    here, there = (RedisBackplane(redis.url, local_after=None) for _ in range(2))
    near, far, late, lost = Ear(), Ear(), Ear(), []
    add(redis, room, fields)
    with trio.fail_after(20):
        async with here.running(), there.running():
            async with there.subscribe(room, far, history=3, gap=lost.append) as log:
                await publish(here, room, "1", "2")
                add(redis, room, fields)
                add(redis, room, fields)
                async with here.subscribe(room, near, history=3, gap=lost.append) as newer:
                    assert [entry.message.data for entry in newer] == ["1", "2"]
                    await publish(here, room, "3")
                    await publish(there, room, "4")
                    await far.hears(4)
                    await near.hears(2)
                    assert log.since(far.ids[0]).recovered
                add(redis, room, fields)
                async with here.subscribe(room, late, history=2, gap=lost.append) as newest:
                    assert [entry.message.data for entry in newest] == ["3", "4"]
                    await publish(here, room, "5")
                    await far.hears(5)
                    await late.hears(1)
    assert (far.data, near.data, late.data, lost) == (["1", "2", "3", "4", "5"], ["3", "4"], ["5"], [])
    problems = [record.getMessage() for record in caplog.records if record.name == "trio_ws"]
    assert problems
    assert all("not ours" in problem for problem in problems)


async def test_room_of_foreign_entries_alone_opens_empty(redis, room) -> None:
    """Nothing that was there before is delivered, and the first message is no gap."""
    for number in range(40):
        add(redis, room, f"number {number}")
    backplane, ear, lost = RedisBackplane(redis.url, local_after=None), Ear(), []
    async with backplane.running(), backplane.subscribe(room, ear, history=3, gap=lost.append) as log:
        assert list(log) == []
        await publish(backplane, room, "first", "second")
        await ear.hears(2)
    assert (ear.data, lost) == (["first", "second"], [])


@pytest.mark.parametrize("history", [0, 3])
async def test_room_under_many_foreign_entries_opens_with_its_history(redis, room, history) -> None:
    """Its place in the stream is known too: the next message is no gap."""
    backplane, ear, lost = RedisBackplane(redis.url, local_after=None), Ear(), []
    async with backplane.running():
        await publish(backplane, room, "1", "2", "3", "4")
        for number in range(100):
            add(redis, room, f"number {number}")
        async with backplane.subscribe(room, ear, history=history, gap=lost.append) as log:
            assert [entry.message.data for entry in log] == ["2", "3", "4"][3 - history :]
            await publish(backplane, room, "5")
            await ear.hears(1)
    assert (ear.data, lost) == (["5"], [])


@pytest.mark.parametrize("rest", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_entries_are_skipped_with_one_record(redis, room, rest, caplog) -> None:
    backplane, ear = RedisBackplane(redis.url, local_after=None), Ear()
    with trio.fail_after(20):
        async with backplane.running(), backplane.subscribe(room, ear, history=3):
            await publish(backplane, room, "before")
            await ear.hears(1)
            caplog.clear()
            add(redis, room, f"n 2 {rest}")
            await backplane.sync(room)
            assert sum("not ours" in record.getMessage() for record in caplog.records) == 1
            await publish(backplane, room, "after")
            await ear.hears(2)
    assert ear.data == ["before", "after"]


async def test_entry_with_the_greatest_id_fails_its_room_alone(redis, room) -> None:
    """Redis takes no entry behind it: that room is at its end, others are not."""
    redis.ask(f"XADD trio_ws:{{={room}}}:messages 18446744073709551615-18446744073709551615 foo bar")
    backplane, ear = RedisBackplane(redis.url, local_after=None), Ear()
    async with backplane.running(), backplane.subscribe(room + "-other", ear, history=0):
        with trio.fail_after(10), pytest.raises(Exception, match=r"Redis refused the command"):
            await publish(backplane, room, "?")
        await publish(backplane, room + "-other", "as ever")
        await ear.hears(1)


async def test_greatest_place_is_followed_with_one_gap(redis, room) -> None:
    """Places begin anew behind it: what follows has a place of ours, and is no gap again and again."""
    backplane, ear, lost = RedisBackplane(redis.url, local_after=None), Ear(), []
    async with backplane.running(), backplane.subscribe(room, ear, history=0, gap=lost.append):
        add(redis, room, f'n {"9" * 15} p {HEX} s 1 d tgreatest x ""')
        await publish(backplane, room, "1", "2", "3")
        await ear.hears(4)
    assert ear.data == ["greatest", "1", "2", "3"]
    assert lost == [10**15 - 2, None]


@pytest.mark.parametrize("publisher", [HEX, '""'], ids=["message", "mark"])
async def test_greatest_epoch_that_is_lost_does_not_stop_publishing(redis, room, publisher) -> None:
    """The one that follows is an epoch of ours, too."""
    backplane, ear, lost = RedisBackplane(redis.url, local_after=None, poll_interval=0.05), Ear(), []
    async with backplane.running(), backplane.subscribe(room, ear, history=0, gap=lost.append):
        fields = f"n 1 p {publisher} e {'9' * 15}-a"
        add(redis, room, fields if publisher == '""' else f'{fields} s 1 d told x ""')
        await backplane.sync(room)
        for text in ("1", "2"):
            ear.entries.clear()
            lost.clear()
            redis.ask(f"DEL trio_ws:{{={room}}}:messages")
            await publish(backplane, room, text)
            await ear.hears(1)
            assert (ear.data, lost) == ([text], [None])


GREAT = 2**64 - 1


@pytest.mark.parametrize(
    "identifier",
    [
        f"9999999999999-{GREAT}",
        "9999999999999-9007199254740993",
        "9007199254740993-5",
        f"{GREAT}-0",
        f"{GREAT - 1}-{GREAT}",
        f"{GREAT}-{GREAT - 1}",
        f"{GREAT}-{GREAT}",
    ],
)
async def test_stream_that_is_lost_behind_a_great_id_goes_on(redis, room, identifier) -> None:
    """Ids are greater than what Lua counts exactly. Readers that wait behind what comes find it with a poll."""
    here, there = (RedisBackplane(redis.url, local_after=None, poll_interval=0.05) for _ in range(2))
    near, far, lost = Ear(), Ear(), []
    with trio.fail_after(20):
        async with here.running(), there.running(), AsyncExitStack() as stack:
            for backplane, ear in ((here, near), (there, far)):
                await stack.enter_async_context(backplane.subscribe(room, ear, history=0, gap=lost.append))
            redis.ask(f"XADD trio_ws:{{={room}}}:messages {identifier} foo bar")
            await here.sync(room)
            await there.sync(room)
            redis.ask(f"DEL trio_ws:{{={room}}}:messages")
            await publish(here, room, "1", "2")
            await publish(there, room, "3", "4")
            while len(lost) < 2:
                await trio.sleep(0.01)
            await publish(here, room, "end")
            for ear in (near, far):
                while "end" not in ear.data:
                    await trio.sleep(0.01)
    assert lost == [None, None]


async def test_foreign_entry_has_one_record_over_many_openings(redis, room, caplog) -> None:
    backplane = RedisBackplane(redis.url, local_after=None)
    add(redis, room, "foo bar")
    add(redis, room, "foo bar")
    async with backplane.running():
        for _ in range(3):
            async with backplane.subscribe(room, Ear(), history=3):
                pass
    assert sum("not ours" in record.getMessage() for record in caplog.records) == 2


async def test_foreign_keys_beside_a_rooms_are_left_alone(redis, room) -> None:
    """Other applications may share a Redis, under other prefixes."""
    redis.ask(f"XADD other:{{={room}}}:messages * foo bar")
    redis.ask("SET trio_ws text")
    rooms = Rooms(RedisBackplane(redis.url))
    async with rooms.running():
        await rooms.room(room).publish("said")
    assert redis.ask(f"XLEN other:{{={room}}}:messages") == ":1\r\n"
    assert redis.ask("GET trio_ws") == "$4\r\ntext\r\n"
