"""Redis comes back with older data: all that miss acknowledged messages are told, wherever they were meanwhile."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import pytest
import trio
from support.internals import internal
from support.redis import Line, RedisServer, collects_coredis, forgives_coredis, line_to, needs_redis, until

from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.heads import StreamHeads
from trio_ws.rooms.redis.local_delivery import LocalDelivery
from trio_ws.rooms.redis.options import Options
from trio_ws.rooms.redis.scripts import Keys
from trio_ws.rooms.redis.stream import StreamState, StreamSubscription
from trio_ws.rooms.redis.stream_reader import StreamReader

from .conformance import NOBODY, Ear

pytestmark = [needs_redis, forgives_coredis, collects_coredis, pytest.mark.usefixtures("impatient")]

OPTIONS = {"poll_interval": 0.2, "publish_timeout": 30, "local_after": 60}


class Process:
    """A backplane behind a line of its own, and what a subscriber of the room hears there."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.backplane = RedisBackplane(line.url, **OPTIONS)
        self.ear = Ear()
        self.lost: list[int | None] = []

    async def say(self, *texts: object) -> list[str]:
        return [await self.backplane.publish("room", PreparedMessage(str(text)), NOBODY) for text in texts]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with self.backplane.subscribe("room", self.ear, history=50, gap=self.lost.append) as self.log:
            yield

    async def cut_off(self) -> None:
        self.line.cut_off()
        await until(lambda: not internal(self.backplane, "_local").early.connected)


@asynccontextmanager
async def processes(redis: RedisServer, count: int) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        found = [Process(await stack.enter_async_context(line_to(redis))) for _ in range(count)]
        for process in found:
            await stack.enter_async_context(process.backplane.running())
        yield found


async def restart(redis: RedisServer) -> None:
    """Kill it; it comes back with what it had at the last `SAVE`, and with nothing if there was none."""
    redis.kill()
    await trio.to_thread.run_sync(redis.start)


@pytest.mark.parametrize("subscribed", [True, False])
@pytest.mark.parametrize("says_more", [True, False])
async def test_a_process_cut_off_during_a_loss_has_a_gap(redis, subscribed, says_more) -> None:
    """It has read what Redis still has, and what follows has the places of what was lost: it looks like no gap."""
    async with processes(redis, 2) as (near, far), far.listening(), AsyncExitStack() as stack:
        if subscribed:
            await stack.enter_async_context(near.listening())
        before = await near.say("before")
        await far.ear.hears(1)
        redis.ask("SAVE")
        await far.cut_off()
        await near.say("lost", "lost too")
        if subscribed:
            await near.ear.hears(3)
        await restart(redis)
        if says_more:
            await near.say("after", "and more")
        else:
            await near.backplane.presence("room")
        far.line.mend()
        await until(lambda: far.lost)
        assert not far.log.since(before[0]).recovered
        await near.say("end")
        await until(lambda: far.ear.data[-1] == "end")
        assert far.ear.data == ["before", *(["after", "and more"] if says_more else []), "end"]
        assert far.lost == [None]
        if subscribed:
            await until(lambda: near.ear.data[-1] == "end")
            assert near.lost == [None]


async def test_each_epoch_of_a_process_has_another_token(redis) -> None:
    """Two epochs that begin at one time, by a clock that was set back, are not taken for one."""
    epochs: list[str] = []
    stream = Keys("trio_ws").stream("room")
    async with processes(redis, 1) as (near,):
        for _ in range(2):
            await near.say("first", "second")
            epochs += re.findall(r"\b\d+-([0-9a-f]{8})\b", redis.ask(f"XRANGE {stream} - +"))
            redis.ask("FLUSHALL")
    first, again, mark, second, last = epochs
    assert first == again != mark == second == last


async def test_a_process_that_had_read_nothing_has_a_gap(redis) -> None:
    """The first messages of a room are lost with the whole of Redis."""
    async with processes(redis, 2) as (near, far), far.listening():
        await far.cut_off()
        await near.say("lost")
        await restart(redis)
        await near.say("after")
        far.line.mend()
        await far.ear.hears(1)
        assert (far.ear.data, far.lost) == (["after"], [None])


async def test_a_room_opened_alone_has_a_gap_for_a_later_loss(redis, system_clock) -> None:
    async with processes(redis, 2) as (near, far):
        await far.cut_off()
        internal(far.backplane, "_local").early.delay = 0
        async with far.listening():
            await near.say("lost")
            await restart(redis)
            await near.say("after")
            far.line.mend()
            await far.ear.hears(1)
            assert (far.ear.data, far.lost) == (["after"], [None])


async def test_all_have_a_gap_if_a_less_informed_process_is_first(redis) -> None:
    """A process that had read less appends before the one that knows better is back."""
    async with processes(redis, 3) as (knows, other, reader):
        async with knows.listening(), other.listening(), reader.listening():
            await knows.say("before")
            for process in (other, reader):
                await process.ear.hears(1)
                await process.cut_off()
            redis.ask("SAVE")
            await knows.say("lost", "lost too")
            await knows.ear.hears(3)
            await knows.cut_off()
            await restart(redis)
            other.line.mend()
            reader.line.mend()
            await other.say("in its place", "and in that", "and behind it")
            await reader.ear.hears(4)
            assert (other.lost, reader.lost) == ([], [])
            knows.line.mend()
            for process in (knows, other, reader):
                await until(lambda process=process: process.lost)
            await other.say("end")
            for process in (knows, other, reader):
                await until(lambda process=process: process.ear.data[-1] == "end")
            assert other.lost == reader.lost == [None]
            assert knows.ear.data[3:] == ["in its place", "and in that", "and behind it", "end"]


async def test_an_id_from_before_a_loss_does_not_recover(redis) -> None:
    """Also in a process that was not there: the stream itself says where something is missing."""
    async with processes(redis, 2) as (near, far):
        ids = await near.say("before")
        redis.ask("SAVE")
        ids += await near.say("lost")
        await restart(redis)
        ids += await near.say("after", "end")
        async with far.listening():
            assert [far.log.since(each).recovered for each in ids] == [False, False, True, True]
            assert [entry.message.data for entry in far.log] == ["after", "end"]
            assert far.lost == []


async def test_an_id_that_names_a_mark_recovers(redis) -> None:
    """What is heard there, before it is in the stream, names the mark as the place."""
    async with processes(redis, 2) as (near, far), far.listening():
        await near.say("lost")
        await far.ear.hears(1)
        await restart(redis)
        await until(lambda: far.lost)
        await far.cut_off()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.say, "own")
            await far.ear.hears(2)
            replay = far.log.since(far.ear.ids[1])
            assert (replay.entries, replay.recovered) == ((), True)
            far.line.mend()


async def test_a_mark_follows_what_was_read_when_the_clock_is_back(redis) -> None:
    """Redis is on another machine now, whose clock is behind."""
    async with processes(redis, 2) as (near, far), far.listening():
        key = internal(near.backplane, "_keys").stream("room")
        redis.ask(f"XADD {key} 9999999999999-7 n 1 p abc e 5-a s 1 d tahead x ''")
        await far.ear.hears(1)
        redis.ask(f"DEL {key}")
        await until(lambda: far.lost or redis.ask(f"EXISTS {key}") == ":0\r\n")
        far.line.cut_off()
        far.line.mend()
        await until(lambda: far.lost)
        (identifier,) = await near.say("behind")
        await far.ear.hears(2)
        assert (far.ear.data, far.lost) == (["ahead", "behind"], [None])
        assert identifier == "9999999999999-9"


async def test_a_reader_ahead_of_another_epoch_goes_on_with_it(redis) -> None:
    """The mark was made by a process that had seen less, and with a clock that is back."""
    async with processes(redis, 2) as (near, far), far.listening():
        key = internal(near.backplane, "_keys").stream("room")
        redis.ask(f"XADD {key} 9999999999999-7 n 1 p abc e 5-a s 1 d tahead x ''")
        await far.ear.hears(1)
        await far.cut_off()
        redis.ask(f"DEL {key}")
        await near.say("not seen")
        far.line.mend()
        await until(lambda: far.lost)
        await near.say("end")
        await far.ear.hears(2)
        assert (far.ear.data, far.lost) == (["ahead", "end"], [None])


async def test_a_reader_ahead_of_another_epoch_needs_no_other_link(redis) -> None:
    """The stream begins anew, with a clock that is back, by a process that had seen less: there are news, and nothing.

    A poll finds that, long before it is time to touch the stream.
    """
    async with processes(redis, 2) as (near, far), far.listening():
        key = internal(near.backplane, "_keys").stream("room")
        redis.ask(f"XADD {key} 9999999999999-7 n 1 p abc e 5-a s 1 d tahead x ''")
        await far.ear.hears(1)
        await far.backplane.sync("room")  # so the stream was touched
        redis.ask(f"DEL {key}")
        await near.say("not seen")
        await until(lambda: far.lost)
        await near.say("end")
        await far.ear.hears(2)
        assert (far.ear.data, far.lost) == (["ahead", "end"], [None])


async def test_a_process_cut_off_during_two_losses_has_a_gap(redis) -> None:
    """The second time it is back in the first epoch, where the one that was cut off still is."""
    async with processes(redis, 2) as (near, far), far.listening():
        await near.say("before")
        await far.ear.hears(1)
        redis.ask("SAVE")
        await far.cut_off()
        for lost in ("lost", "lost too"):
            await near.say(lost)
            await restart(redis)
        await near.say("after")
        far.line.mend()
        await far.ear.hears(2)
        assert (far.ear.data, far.lost) == (["before", "after"], [None])


async def test_a_message_republished_after_a_loss_breaks_the_log(redis) -> None:
    """It was heard here before, and is not again. Where it was not, members miss it who come here from before it."""
    async with processes(redis, 2) as (near, far), far.listening():
        await near.say("so that there is a connection for it")
        await far.ear.hears(1)
        redis.ask("SAVE")
        near.line.deaf = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.say, "twice")
            await far.ear.hears(2)
            await near.cut_off()
            await restart(redis)
            await until(lambda: far.lost)
            ids = await far.say("between")
            near.line.deaf = False
            near.line.mend()
        ids += await far.say("end")
        await until(lambda: far.ear.data[-1] == "end")
        assert far.ear.data == ["so that there is a connection for it", "twice", "between", "end"]
        assert [far.log.since(each).recovered for each in ids] == [False, True]


async def test_a_redis_that_has_kept_everything_is_no_gap(redis) -> None:
    async with processes(redis, 2) as (near, far), far.listening(), near.listening():
        await near.say(*range(3))
        await far.cut_off()
        await near.say(*range(3, 6))
        redis.ask("SAVE")
        await restart(redis)
        await near.say(6)
        far.line.mend()
        await far.ear.hears(7)
        await near.ear.hears(7)
        assert far.lost == near.lost == []


async def test_an_expired_room_is_no_gap_for_later_members(redis) -> None:
    async with processes(redis, 2) as (near, far):
        await near.say("long ago")
        redis.ask(f"DEL {internal(near.backplane, '_keys').stream('room')}")
        heads = internal(near.backplane, "_heads")
        internal(heads, "_heads")["room"] = attrs.evolve(
            heads.head_of("room"), id="1000-0"
        )  # it is older than any stream lives
        async with far.listening():
            await near.say("now")
            await far.ear.hears(1)
            assert far.lost == []


async def test_an_entry_of_another_program_is_no_gap(redis) -> None:
    async with processes(redis, 2) as (near, far), far.listening():
        await near.say("before")
        key, foreign = (
            internal(near.backplane, "_keys").stream("room"),
            ["n x p y", f"n {5000 * '9'} p abc", "n 1 p abc e ?"],
        )
        for fields in [*foreign, "n 2 p '' e ?", *(40 * ["whatever 1"])]:
            assert redis.ask(f"XADD {key} * {fields}").startswith("$")
        await near.say("behind it")
        await far.ear.hears(2)
        assert far.lost == []


async def test_a_room_opened_alone_has_all_from_the_same_moment_on(autojump_clock) -> None:
    """Ids have whole milliseconds, and clocks differ: a message right after the opening is no history."""
    feeds: dict[str, StreamState] = {}
    local = LocalDelivery(Options(), "me", feeds)
    reader = StreamReader(Options(), feeds, local, StreamHeads(feeds), lambda room: None)
    feed = StreamState("room", local)
    subscription = StreamSubscription(feed, local, Ear(), print, 0)
    subscription.open_alone()
    for seconds, ahead in ((0, 0.0), (1000, 0.5)):
        await trio.sleep(seconds)
        now = 5_000_000 + 1000 * (seconds + ahead)  # Redis's clock runs faster than ours
        assert int(await internal(reader, "_opener._end")(None, feed, subscription, now)) < 5_000_000


def test_the_heads_that_are_held_are_bounded() -> None:
    heads = StreamHeads({})
    for number in range(5000):
        heads.note(f"room {number}", "5-1", "1-a")
    assert len([*heads.unread_rooms()]) == 1024
    heads.note("room 4000", "4-9", "1-a")
    assert heads.head_of("room 4000").id == "5-1"
    heads.note("room 4000", "3-1", "2-a")
    assert heads.head_of("room 4000").id == "3-1", "of a later epoch, with a clock that is behind"
    assert heads.head_of("room 0").id == ""
