"""Local members are served all along: what a process publishes reaches its own members also while Redis is away.

Then it reaches the others, and nobody has it twice: not when the link breaks while an answer is on its way, not when a
member comes back, to this process or to another one.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Self

import pytest
import trio
import trio.testing
from support.internals import internal
from support.redis import (
    Line,
    RedisServer,
    collects_coredis,
    forgives_coredis,
    line_to,
    needs_redis,
    redis_server,
    until,
)

from trio_ws import BackplaneFull, BackplaneUnavailable, Timeouts
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Entry, Presence
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.entries import StreamEntry
from trio_ws.rooms.redis.local_delivery import LocalDelivery
from trio_ws.rooms.redis.options import Options
from trio_ws.rooms.redis.pending import PendingPublish
from trio_ws.rooms.redis.stream import StreamState, StreamSubscription

from .conformance import NOBODY, Ear, hearing
from .hall import Guest, Hall, open_hall

pytestmark = [needs_redis, forgives_coredis, collects_coredis, pytest.mark.usefixtures("impatient")]

QUICK = {"command_timeout": 5, "poll_interval": 0.2, "publish_timeout": 30}
NEVER_ALONE = 1000
"""Seconds of `local_after`: so nothing but a broken link makes it begin."""


@asynccontextmanager
async def processes(
    redis: RedisServer, **options: object
) -> AsyncIterator[tuple[Line, RedisBackplane, RedisBackplane]]:
    """A backplane behind a line that can be cut, and one that notices nothing."""
    async with line_to(redis) as line:
        far = RedisBackplane(line.url, **{**QUICK, "local_after": NEVER_ALONE, **options})
        near = RedisBackplane(redis.url, **QUICK)
        async with far.running(), near.running():
            yield line, far, near


async def say(backplane: RedisBackplane, *texts: object) -> list[str]:
    return [await backplane.publish("room", PreparedMessage(str(text)), NOBODY) for text in texts]


async def until_broken(backplane: RedisBackplane) -> None:
    await until(lambda: not internal(backplane, "_local").early.connected)


async def cut(line: Line, backplane: RedisBackplane) -> None:
    """Cut a line, and wait until its backplane has noticed it."""
    line.cut_off()
    await until_broken(backplane)


async def hear(count: int, *ears: Ear) -> None:
    """Wait until each has heard so many entries."""
    for ear in ears:
        await ear.hears(count)


def data_of(log: Iterable[Entry]) -> list[str | bytes]:
    return [entry.message.data for entry in log]


def texts(numbers: range) -> list[str]:
    return [str(number) for number in numbers]


# --- who hears what, and when -------------------------------------------------------------------------------------


async def test_cut_off_process_delivers_own_messages_first(redis) -> None:
    """Who is cut off hears its own at once and the others afterwards."""
    async with processes(redis) as (line, far, near):
        ids: list[str] = []
        async with hearing(far, 100) as here, hearing(near, 100) as there:
            await say(near, "before")
            await here.hears(1)
            await cut(line, far)
            async with trio.open_nursery() as nursery:

                async def publish(number: int) -> None:
                    ids.extend(await say(far, number))

                for number in range(20):
                    nursery.start_soon(publish, number)
                await here.hears(21)
                await say(near, "elsewhere")
                assert ids == [], "nothing is acknowledged before it is in the stream"
                await there.hears(2)
                assert there.data == ["before", "elsewhere"]
                assert data_of(here.log) == here.data
                line.mend()
            await there.hears(22)
            await say(near, "end")
            await hear(23, here, there)
        early = sorted(here.data[1:21], key=int)
        assert early == texts(range(20))
        assert here.data[21:] == ["elsewhere", "end"]
        assert sorted(there.data[2:22], key=int) == early
        assert sorted(ids) == sorted(there.ids[2:22])
        assert data_of(here.log) == there.data, "the log is the stream's again"
        assert [entry.id for entry in here.log] == there.ids


async def test_the_order_of_one_publisher_is_kept_through_a_cut(redis) -> None:
    async with processes(redis) as (line, far, near):
        async with hearing(far) as here, hearing(near) as there:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, far, *range(80))
                for known in (10, 25, 50):
                    await here.hears(known)
                    await cut(line, far)
                    await trio.sleep(0.01)
                    line.mend()
            await hear(80, here, there)
            await say(near, "end")
            await hear(81, here, there)
        assert here.data == there.data == [*texts(range(80)), "end"]


async def test_a_redis_that_is_too_slow_is_waited_for_only_so_long(redis) -> None:
    async with processes(redis, local_after=0.05, command_timeout=60, publish_timeout=60) as (_, far, near):
        async with hearing(far) as here, hearing(near) as there:
            await say(far, "before")
            await here.hears(1)
            redis.stop()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, far, *range(3))
                await here.hears(2)
                nursery.start_soon(say, far, "of another task")
                await here.hears(3)
                redis.go_on()
            await there.hears(5)
            await say(near, "end")
            await until(lambda: here.data[-1] == there.data[-1] == "end")
        assert here.data[:3] == ["before", "0", "of another task"]
        assert Counter(here.data) == Counter(there.data) == Counter(["before", "end", "of another task", "0", "1", "2"])


async def test_all_wait_for_the_one_order_if_that_is_asked_for(redis) -> None:
    async with processes(redis, local_after=None) as (line, far, near):
        async with hearing(far) as here, hearing(near) as there:
            line.cut_off()
            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(say, far, number)
                calls = internal(far, "_running_commands")
                await until(lambda: len(internal(calls, "_waiting")) + len(internal(calls, "_under_way")) == 5)
                await until_broken(far)
                await say(near, "elsewhere")
                assert here.data == []
                line.mend()
            await hear(6, here, there)
        assert here.ids == there.ids


async def test_a_message_whose_answer_was_lost_is_handed_on_once(redis) -> None:
    """It is in the stream already when the link breaks; the publisher does not know."""
    async with processes(redis) as (line, far, near):
        ids: list[str] = []
        await say(far, "so that there is a connection for it")  # a poll would take it, and have no answer
        async with hearing(far, 5) as here, hearing(near) as there:
            line.deaf = True
            async with trio.open_nursery() as nursery:

                async def publish() -> None:
                    ids.extend(await say(far, "once"))

                nursery.start_soon(publish)
                await there.hears(1)
                line.cut_off()
                await here.hears(1)
                line.deaf = False
                line.mend()
            await say(near, "end")
            await hear(2, here, there)
        assert here.data == there.data == ["once", "end"]
        assert ids == there.ids[:1]
        assert [entry.id for entry in here.log][1:] == there.ids


async def test_acknowledged_unread_message_is_delivered_on_link_loss(redis) -> None:
    """A message that was acknowledged and not read is handed on when the link breaks."""
    async with processes(redis) as (line, far, _near):
        async with hearing(far, 5) as here:
            own = internal(far, "_local").create("room", PreparedMessage("acknowledged"), NOBODY)
            internal(far, "_local").on_numbered(own, 1000, trio.current_time())
            internal(far, "_local").on_accepted(own, f"{2**62}-1")
            line.cut_off()
            await here.hears(1)
            line.mend()
            await until(lambda: internal(far, "_local").early.connected)
            assert here.data == ["acknowledged"]


# --- what publishers are told -------------------------------------------------------------------------------------


async def test_who_gives_up_is_told_that_members_here_have_had_it(redis) -> None:
    async with processes(redis, publish_timeout=0.2) as (line, far, near):
        async with hearing(far, 5) as here, hearing(near) as there:
            await cut(line, far)
            with pytest.raises(BackplaneUnavailable, match=r"publish_timeout.*in this process have received") as caught:
                await say(far, "never acknowledged")
            assert (caught.value.local, caught.value.uncertain) == (True, False)
            assert here.data == ["never acknowledged"]
            assert list(here.log) == [], "it will not be in the stream"
            with pytest.raises(BackplaneUnavailable) as caught:
                await far.publish("a room that nobody here is in", PreparedMessage("?"), NOBODY)
            assert not caught.value.local
            line.mend()
            await until(lambda: internal(far, "_local").early.connected)
            while not there.entries:
                try:
                    await say(far, "afterwards")
                except BackplaneUnavailable:  # the machine is busy
                    continue
            await until(lambda: "afterwards" in here.data)
        assert there.data[0] == "afterwards"
        assert internal(far, "_local").queue.rooms == {}


async def test_who_is_refused_is_told_that_members_here_have_had_it(redis) -> None:
    async with processes(redis) as (line, far, near):
        async with hearing(far) as here:
            await cut(line, far)
            redis.ask("CONFIG SET maxmemory 1mb")
            async with trio.open_nursery() as nursery:

                async def publish() -> None:
                    with pytest.raises(BackplaneFull) as caught:
                        await say(far, "no room")
                    assert caught.value.local

                nursery.start_soon(publish)
                await here.hears(1)
                line.mend()
            redis.ask("CONFIG SET maxmemory 0")
            await say(near, "end")
            await here.hears(2)
        assert here.data == ["no room", "end"]


async def cancelled_when_heard(backplane: RedisBackplane, ear: Ear, *texts: str) -> None:
    """Publish, and be cancelled when members here have heard it: as one who says something and leaves."""
    for text in texts:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, backplane, text)
            await until(lambda text=text: text in ear.data)
            nursery.cancel_scope.cancel()


async def test_cancelled_publisher_withdraws_only_undelivered_messages(redis) -> None:
    """A cancelled publisher takes back what nobody has had and nothing else."""
    async with processes(redis) as (line, far, near):
        async with hearing(far, 5) as here, hearing(near) as there:
            await cut(line, far)
            await cancelled_when_heard(far, here, "said", "and left")
            with trio.CancelScope() as scope:
                scope.cancel()
                await say(far, "cancelled before it was said")
            assert data_of(here.log) == ["said", "and left"]
            line.mend()
            await say(far, "end")
            await hear(3, here, there)
        assert here.data == there.data == ["said", "and left", "end"]
        assert internal(far, "_running_commands._abandoned") == {}


async def test_orphaned_publishes_are_retried_and_bounded(redis) -> None:
    """What nobody waits for is tried for as long and is bounded."""
    async with processes(redis, max_waiting=2) as (line, far, near):
        async with hearing(far, 5) as here, hearing(near) as there:
            await cut(line, far)
            await cancelled_when_heard(far, here, "one", "two", "three", "four")
            assert data_of(here.log) == ["three", "four"]
            next(iter(internal(far, "_running_commands._abandoned"))).expires_at = 0
            line.mend()
            await say(far, "end")
            await there.hears(2)
            assert there.data == ["four", "end"]
            redis.ask("CONFIG SET maxmemory 1mb")
            await cut(line, far)
            await cancelled_when_heard(far, here, "no room")
            line.mend()
            await until(lambda: not internal(far, "_running_commands._abandoned"))
        assert internal(far, "_local").queue.rooms == {}


async def lose_answer(line: Line, far: RedisBackplane, there: Ear, *, expired: bool) -> None:
    """Publish "first", lose the answer, cancel the publisher, after its timeout or before, and cut the line."""
    line.deaf = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, far, "first")
        await there.hears(1)
        if expired:
            (call,) = internal(far, "_running_commands._under_way")
            call.expires_at = 0
        nursery.cancel_scope.cancel()
    line.cut_off()


async def say_second_and_mend(line: Line, far: RedisBackplane, here: Ear) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, far, "second")
        await here.hears(2)
        line.deaf = False
        line.mend()


async def test_an_unanswered_message_is_heard_before_the_next_one(redis) -> None:
    """Its publisher gives up while the answer is lost, as in a process that was frozen meanwhile."""
    async with processes(redis, poll_interval=NEVER_ALONE) as (line, far, near):
        await say(far, "so that there is a connection for it")  # a poll would take it, and have no answer
        async with hearing(far) as here, hearing(near) as there:
            await lose_answer(line, far, there, expired=True)
            await say_second_and_mend(line, far, here)
            await say(near, "end")
            await until(lambda: here.data[-1] == there.data[-1] == "end")
        assert here.data == there.data == ["first", "second", "end"]


async def test_a_sent_message_of_a_cancelled_publisher_is_published(redis) -> None:
    async with processes(redis, poll_interval=NEVER_ALONE) as (line, far, near):
        await say(far, "so that there is a connection for it")  # a poll would take it, and have no answer
        async with hearing(far) as here, hearing(near) as there:
            await lose_answer(line, far, there, expired=False)
            await say_second_and_mend(line, far, here)
            await there.hears(2)
        assert here.data == there.data == ["first", "second"]
        assert internal(far, "_running_commands._abandoned") == {}


# --- coming and coming back ---------------------------------------------------------------------------------------


def stamp(identifier: str, message: str | bytes) -> str:
    return f"{message!s} {identifier}"


class Place:
    """A process with connections, and the room, in which what is said is followed by its id."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self.room = hall.room("room", history=5, resume=1000, stamp=stamp)

    @asynccontextmanager
    async def member(self, since: str | None = None) -> AsyncIterator[tuple[Guest, bool | None]]:
        guest = await self._hall.guest()
        async with (joining := self.room.join(guest.websocket, since=since)):
            yield guest, joining.recovered


@asynccontextmanager
async def places(far_url: str, near_url: str, local_after: float = NEVER_ALONE) -> AsyncIterator[tuple[Place, Place]]:
    """Two processes with connections."""
    options = {**QUICK, "publish_timeout": 100, "local_after": local_after}
    far, near = RedisBackplane(far_url, **options), RedisBackplane(near_url, **options)
    brief = {"timeouts": Timeouts(ping_interval=None, close_timeout=0.05)}
    async with open_hall(backplane=far, **brief) as left, open_hall(backplane=near, **brief) as right:
        yield Place(left), Place(right)


async def said(guest: Guest) -> tuple[str, str]:
    """Return what a guest hears next, and the id of that."""
    with trio.fail_after(60):
        frame = await guest.peer.receive_frame()
    text, identifier = frame.payload.decode().split()
    return text, identifier


async def heard(guest: Guest, *expected: str) -> str:
    """See that a guest hears just that, and return the last id."""
    found = [await said(guest) for _ in expected]
    assert [text for text, _ in found] == [*expected]
    return found[-1][1]


async def test_resume_in_any_process_loses_and_duplicates_nothing(redis) -> None:
    """Who comes back gets nothing twice and misses nothing wherever it comes back."""
    async with (
        line_to(redis) as line,
        places(line.url, redis.url) as (left, right),
        left.member() as (ann, _),
        right.member() as (bob, _),
    ):
        await left.room.publish("before")
        before = await heard(ann, "before")
        assert await heard(bob, "before") == before
        line.cut_off()
        await until_broken(internal(left.room, "_place").registry.backplane)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.room.publish, "own")
            own = await heard(ann, "own")
            async with (
                right.member(since=own) as (cid, recovered),
                left.member(since=own) as (dan, too),
                left.member(since=before) as (eve, also),
                left.member() as (fay, _),
            ):
                assert (recovered, too, also) == (True, True, True)
                assert await heard(eve, "own") == await heard(fay, "before", "own") == own
                await right.room.publish("elsewhere")
                await heard(bob, "elsewhere")
                line.mend()
                for guest in (ann, cid, dan, eve, fay):
                    last = await heard(guest, "elsewhere")
                    assert "~" in last, "it says that 'own' was heard too"
                await heard(bob, "own")
                async with right.member(since=last) as (gus, again), right.member(since=own) as (hal, anew):
                    assert (again, anew) == (True, True)
                    await heard(hal, "elsewhere")
                    await right.room.publish("end")
                    for guest in (ann, bob, cid, dan, eve, fay, gus, hal):
                        await heard(guest, "end")
        async with right.member(since=before) as (ian, recovered), left.member(since=before) as (joy, too):
            assert (recovered, too) == (True, True)
            for guest in (ian, joy):
                await heard(guest, "elsewhere", "own", "end")


async def test_what_is_no_id_has_just_not_recovered(redis) -> None:
    async with processes(redis) as (_, far, _near), far.subscribe("room", ear := Ear(), history=5) as log:
        await say(far, "said", "and heard")
        await ear.hears(2)
        said = ear.ids[0]
        assert log.since(f"{said}~a-1").recovered
        for mark in ("", "a-", "-1", "a-x", "a-²", "é-1", "a-" + 5000 * "1", "a-1~", "~".join(20 * ["a-1"])):
            for since in (f"{said}~{mark}", f"~{mark}"):
                replay = log.since(since)
                assert (len(replay.entries), replay.recovered, replay.ahead) == (2, False, None)


async def test_room_opened_without_redis_misses_no_later_message(redis, caplog, system_clock) -> None:
    """A room that is opened without Redis misses nothing that was said since."""
    async with processes(redis, local_after=0.05) as (line, far, near):
        here, too, there, lost = Ear(), Ear(), Ear(), []
        async with near.subscribe("room", there, history=0):
            await say(near, "before")
            await cut(line, far)
            async with far.subscribe("room", here, history=5, gap=lost.append) as log:
                assert "room 'room' is opened without Redis, its history is missing" in caplog.text
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(say, far, "own")
                    await here.hears(1)
                    async with far.subscribe("room", too, history=5, gap=lost.append) as another:
                        await too.hears(1)
                        for each in (log, another):
                            assert data_of(each) == ["own"]
                        assert not log.since(here.ids[0]).recovered
                        await say(near, "elsewhere")
                        line.mend()
                        await there.hears(3)
                        await say(near, "end")
                        await there.hears(4)
                        await until(lambda: here.data[-1:] == too.data[-1:] == ["end"])
                        for ear in (here, too):  # what was said right before may be among it
                            assert [text for text in ear.data if text != "before"] == ["own", "elsewhere", "end"]
                        for each in (log, another):
                            assert [entry.id for entry in each] == there.ids
                            assert each.since(there.ids[0]).recovered
        assert there.data == ["before", "elsewhere", "own", "end"]
        assert lost == []


async def test_subscriber_without_redis_continues_an_open_room(redis) -> None:
    """Who subscribes without Redis to a room that is open goes on from there."""
    async with processes(redis, local_after=0.05) as (line, far, near):
        first, second = Ear(), Ear()
        async with far.subscribe("room", first, history=3):
            await say(near, *range(5))
            await first.hears(5)
            await cut(line, far)
            async with far.subscribe("room", second, history=20) as log:
                assert data_of(log) == ["2", "3", "4"]
                await say(near, "elsewhere")
                line.mend()
                await second.hears(1)
                await first.hears(6)
                await until(lambda: not internal(far, "_reader._opener._opening"))
                await say(near, "end")
                await second.hears(2)
                assert data_of(log) == ["2", "3", "4", "elsewhere", "end"]
        assert first.data[5:6] == second.data[:1] == ["elsewhere"]


async def test_room_waiting_for_redis_is_opened_by_it_in_time(redis) -> None:
    """A room that waits for Redis is opened by it if it comes in time."""
    async with processes(redis) as (line, far, near):
        ear = Ear()
        await say(near, "before")
        await cut(line, far)
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                async with far.subscribe("room", ear, history=5) as log:
                    assert data_of(log) == ["before"]
                    await say(far, "own")
                    await ear.hears(1)

            nursery.start_soon(listen)
            await until(lambda: internal(far, "_local.early._opening"))
            line.mend()
        assert internal(far, "_local.early._opening") == {}


# --- piece by piece, without a Redis ------------------------------------------------------------------------------


class Desk:
    """What one process has of one room, where each step is the test's."""

    def __init__(self, **options: object) -> None:
        self.feeds: dict[str, StreamState] = {}
        self.local = LocalDelivery(Options(**options), "me", self.feeds)
        self.feed = self.feeds["room"] = StreamState("room", self.local)
        self.feed.begin([])
        self.ear = Ear()
        self.lost: list[int | None] = []
        self.subscription = StreamSubscription(self.feed, self.local, self.ear, self.lost.append, 5)
        self.feed.subscriptions.append(self.subscription)
        self.log = self.subscription.log

    @classmethod
    def begun(cls, **options: object) -> Self:
        """Make one whose subscription has begun."""
        desk = cls(**options)
        desk.subscription.begin([])
        return desk

    @classmethod
    def linked(cls, **options: object) -> Self:
        """Make one whose subscription has begun, and that has a link to Redis."""
        desk = cls.begun(**options)
        desk.local.early.set_connected(connected=True)
        return desk

    def publish(self, number: int) -> PendingPublish:
        own = self.local.create("room", PreparedMessage(str(number)), NOBODY)
        assert own is not None
        self.local.on_numbered(own, number, trio.current_time())
        return own

    def cut(self) -> None:
        self.local.early.set_connected(connected=False)
        self.local.early.step()

    def read(self, number: int, place: int, publisher: str = "me") -> None:
        record = StreamEntry(
            f"5-{place}", PreparedMessage(str(number)), NOBODY, sequence=place, publisher=publisher, number=number
        )
        self.feed.deliver([record])
        self.local.drop_passed("room")

    def read_each(self, *numbers: int) -> None:
        for number in numbers:
            self.read(number, place=number)


@pytest.mark.parametrize("settle", ["accepted", "given up"])
async def test_nothing_overtakes_messages_older_than_the_subscription(settle) -> None:
    """Nothing overtakes what may be older than the subscription."""
    desk = Desk()
    older = desk.publish(1)
    desk.subscription.begin([])
    desk.publish(2)
    desk.cut()
    assert desk.ear.data == [], "the first one may be in the history that the subscription has begun with"
    if settle == "accepted":
        desk.local.on_accepted(older, "5-1")
    else:
        desk.local.on_abandoned(older, sent=True)
    desk.local.early.step()
    assert desk.ear.data == (["1", "2"] if settle == "accepted" else ["2"])
    desk.local.on_abandoned(older, sent=True)
    desk.local.early.step()


async def test_a_message_that_gets_another_number_is_handed_on_once() -> None:
    desk = Desk.begun()
    first = desk.publish(1)
    desk.cut()
    desk.local.early.set_connected(connected=True)
    second = desk.publish(2)
    desk.local.on_numbered(first, 3, trio.current_time())
    assert desk.ear.data == ["1", "2"], "the second has to come before the third, as the first is now"
    desk.local.on_numbered(second, 4, trio.current_time())
    third = desk.publish(5)
    desk.local.on_numbered(third, 6, trio.current_time())
    desk.read(3, place=1)
    desk.read(4, place=2)
    desk.read(6, place=3)
    assert desk.ear.data == ["1", "2", "6"]
    assert desk.subscription.delivered_early == {}
    assert desk.local.queue.rooms == {}


async def test_unread_backlog_is_bounded_and_log_reports_the_gap() -> None:
    """What waits to be read is bounded and the log says what it lacks."""
    desk = Desk.linked(max_waiting=2)
    desk.read(1, place=1, publisher="another")
    for number in (1, 2, 3, 4):
        desk.local.on_accepted(desk.publish(number), f"5-{number + 1}")
    assert desk.ear.data == ["1", "1", "2"]
    for number in (1, 2):
        assert not desk.log.since("5-1").recovered
        desk.read(number, place=number + 1)
    assert desk.log.since("5-1").recovered
    desk.publish(5)
    for number in (6, 7):
        desk.local.on_accepted(desk.publish(number), f"5-{number + 1}")
    assert list(desk.local.queue.rooms["room"]) == [5, 6, 7]
    assert desk.ear.data == ["1", "1", "2", "3", "4"], "6 and 7 are not handed on before 5"
    for number in (3, 4):
        desk.read(number, place=number + 1)
    desk.local.on_accepted(desk.publish(8), "5-9")
    assert desk.log.since("5-1").recovered, "6 will be read"


async def test_early_delivery_goes_on_in_a_cancelled_scope(autojump_clock) -> None:
    """Handlers that are cancelled still publish, and members in this process still receive it."""
    desk = Desk.linked(local_after=1)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.local.early.run)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.lowlevel.checkpoint()
                desk.publish(1)
                await trio.sleep(2)
                assert desk.ear.data == ["1"]
            desk.local.early.end()


async def test_numbers_that_are_known_again_are_bounded() -> None:
    desk = Desk.begun(max_waiting=1)
    desk.cut()
    for number in range(1, 10):
        own = desk.publish(number)
        desk.local.early.step()
        desk.local.on_abandoned(own, sent=True)
    assert len(desk.subscription.delivered_early) == 4
    desk.read_each(*range(1, 10))
    assert desk.ear.data == texts(range(1, 10))


async def test_what_redis_has_lost_is_not_waited_for() -> None:
    desk = Desk.begun()
    for number in (1, 2):
        own = desk.publish(number)
    desk.cut()
    desk.local.on_accepted(own, "5-2")
    assert data_of(desk.log) == ["1", "2"]
    desk.read(7, place=7, publisher="another")
    assert desk.lost == [6], "the messages of this process among them"
    assert not desk.log.since("5-1").recovered
    assert data_of(desk.log) == ["7", "1", "2"], "the first one is on its way"
    desk.local.on_abandoned(desk.local.queue.rooms["room"][1], sent=True)
    desk.read(8, place=8, publisher="another")
    assert data_of(desk.log) == ["7", "8"]
    assert desk.ear.data == ["1", "2", "7", "8"]


async def test_an_acknowledged_message_is_held_in_a_room_opened_alone() -> None:
    """The link is back and its subscription is stuck, so nothing was read yet; then the link breaks again."""
    desk = Desk()
    desk.feed.last_id = None
    desk.subscription.open_alone()
    desk.local.early.set_connected(connected=True)
    for number in (1, 2, 3):
        desk.local.on_accepted(desk.publish(number), f"5-{number}")
    desk.cut()
    desk.publish(4)
    desk.local.early.step()
    assert desk.ear.data == texts(range(1, 5))
    desk.feed.begin([])
    desk.subscription.begin([])
    desk.read_each(*range(1, 6))
    assert desk.ear.data == texts(range(1, 6))
    assert (desk.local.queue.rooms, desk.subscription.delivered_early) == ({}, {})


async def test_a_room_opened_alone_delivers_nothing_from_before() -> None:
    """Where it was opened is known by clocks, which may place it before a message that was said earlier."""
    desk = Desk()
    desk.feed.last_id = None
    desk.local.on_accepted(desk.publish(1), "5-1")
    desk.subscription.open_alone()
    desk.publish(2)
    desk.cut()
    desk.feed.begin([])
    desk.subscription.begin([])
    desk.read_each(1, 2, 3)
    assert desk.ear.data == ["2", "3"]


async def test_an_uncertain_message_is_heard_before_the_next_one() -> None:
    """Its publisher was frozen until it gave up; the answer was lost, and the message is in the stream."""
    desk = Desk.linked()
    desk.local.on_abandoned(desk.publish(1), sent=True)
    desk.publish(2)
    desk.cut()
    desk.read_each(1, 2, 3)
    assert desk.ear.data == ["1", "2", "3"]
    assert (desk.local.queue.rooms, desk.subscription.delivered_early) == ({}, {})


async def test_an_uncertain_message_read_in_time_is_heard_once() -> None:
    desk = Desk.linked()
    desk.local.on_abandoned(desk.publish(1), sent=True)
    desk.read_each(1, 2)
    desk.cut()
    assert desk.ear.data == ["1", "2"]
    assert desk.local.queue.rooms == {}


async def test_an_uncertain_message_is_dropped_after_a_later_one() -> None:
    """Numbers grow in a stream: what was not read before a greater one is not there, and is not held for ever."""
    desk = Desk.linked()
    first = desk.publish(1)
    desk.local.on_abandoned(first, sent=True)
    desk.read(2, place=1)
    assert desk.local.queue.rooms == {}
    desk.local.on_abandoned(desk.publish(3), sent=True)
    del desk.feeds["room"]
    desk.local.drop_passed("room")
    assert desk.local.queue.rooms == {}, "nobody will read it"


async def test_uncertain_messages_are_bounded_and_never_heard_late() -> None:
    desk = Desk.linked(max_waiting=2)
    for number in range(1, 5):
        desk.local.on_abandoned(desk.publish(number), sent=True)
    assert len(desk.local.queue.rooms["room"]) == 2
    desk.publish(5)
    desk.cut()
    desk.read_each(*range(1, 7))
    assert desk.ear.data == ["3", "4", "5", "6"], "the first two were given up, and come too late now"


async def test_a_late_answer_settles_an_uncertain_message() -> None:
    desk = Desk.linked()
    refused, known = desk.publish(1), desk.publish(2)
    for own in (refused, known):
        desk.local.on_abandoned(own, sent=True)
    desk.local.on_abandoned(refused, sent=False)
    desk.local.on_accepted(known, "5-1")
    desk.cut()
    assert desk.ear.data == ["2"]
    assert data_of(desk.log) == ["2"], "it is in the stream for certain"


async def test_what_nobody_here_will_read_is_not_kept() -> None:
    desk = Desk()
    desk.feed.last_id = None
    for number in (1, 2):
        own = desk.publish(number)
    desk.local.on_accepted(own, "5-2")
    assert list(desk.local.queue.rooms["room"]) == [1]
    desk.feed.last_id = "0-0"
    desk.local.on_accepted(desk.publish(3), "5-3")
    del desk.feeds["room"]
    desk.local.drop_passed("room")
    assert list(desk.local.queue.rooms["room"]) == [1]
    desk.local.on_accepted(desk.local.queue.rooms["room"][1], "5-4")
    assert desk.local.queue.rooms == {}


async def test_subscriber_error_is_logged_and_next_message_delivered(redis, caplog) -> None:
    """An error in one who hears is logged and the next message is handed on."""
    async with processes(redis) as (line, far, _near):
        ear = Ear()

        def deliver(entry) -> None:
            ear(entry)
            if entry.message.data == "wrong":
                raise ZeroDivisionError

        async with far.subscribe("room", deliver, history=0):
            await cut(line, far)
            async with trio.open_nursery() as nursery:
                for text in ("wrong", "right"):
                    nursery.start_soon(say, far, text)
                await ear.hears(2)
                line.mend()
            assert sorted(ear.data) == ["right", "wrong"]
            assert "error in a subscriber of room 'room'" in caplog.text


# --- presence -----------------------------------------------------------------------------------------------------


async def test_cut_off_member_is_absent_elsewhere_until_reconnected(redis) -> None:
    """Who is cut off is not present elsewhere and then is again."""

    async def present(count: int) -> None:
        with trio.fail_after(30):
            while len(await near.presence("room")) != count:
                await trio.sleep(0.01)

    async with processes(redis, presence_timeout=0.3, publish_timeout=0.2) as (line, far, near):
        far.enter("room", Presence("a-1", {"user": "Ann"}))
        far.enter("room", Presence("a-2", {}))
        near.enter("room", Presence("b-1", {}))
        await present(3)
        line.cut_off()
        await present(1)
        with pytest.raises(BackplaneUnavailable, match=r"room\.members"):
            await far.presence("room")
        far.leave("room", "a-2")
        line.mend()
        await present(2)


# --- faults at any moment -----------------------------------------------------------------------------------------


class Chorus:
    """Publishers, each of which says numbers one after the other, in two processes, and one who listens in each."""

    def __init__(self, *backplanes: RedisBackplane) -> None:
        self._backplanes = backplanes
        self.ears = [Ear() for _ in backplanes]
        self.acknowledged: list[str] = []
        self.over = False

    async def sing(self, count: int, disturb: Callable[[], Awaitable[None]]) -> None:
        """Publish from three tasks of each process, while something else happens; then wait for all to be heard."""
        here, there = self._backplanes
        with trio.fail_after(120):
            async with (
                here.subscribe("room", self.ears[0], history=0),
                there.subscribe("room", self.ears[1], history=0),
            ):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(disturb)
                    async with trio.open_nursery() as singers:
                        for voice in range(6):
                            singers.start_soon(self._voice, self._backplanes[voice % 2], voice, count)
                    self.over = True
                await until(lambda: min(len(ear.entries) for ear in self.ears) >= 6 * count)
                await say(there, "end")
                await until(lambda: all("end" in ear.data for ear in self.ears))

    async def _voice(self, backplane: RedisBackplane, voice: int, count: int) -> None:
        for number in range(count):
            self.acknowledged += await say(backplane, f"{voice} {number}")

    def check(self, count: int) -> None:
        """Everybody has heard everything once, that of each publisher in order."""
        said = {f"{voice} {number}" for voice in range(6) for number in range(count)}
        assert len(set(self.acknowledged)) == len(self.acknowledged) == len(said)
        for ear in self.ears:
            assert Counter(ear.data) == Counter([*said, "end"])
            for voice in range(6):
                numbers = [str(text).split()[1] for text in ear.data if str(text).startswith(f"{voice} ")]
                assert numbers == texts(range(count))
            known = [identifier for identifier in ear.ids[:-1] if "~" not in identifier]
            assert set(known) <= set(self.acknowledged)


async def break_and_mend(line: Line, chance: random.Random, for_at_most: float) -> None:
    """Cut a line, maybe while answers are on their way, and mend it after some seconds."""
    line.deaf = chance.random() < 0.7
    await trio.sleep(chance.uniform(0, 0.01))
    line.cut_off()
    await trio.sleep(chance.uniform(0, for_at_most))
    line.deaf = False
    line.mend()
    await trio.sleep(chance.uniform(0, 0.05))


@pytest.mark.parametrize(("seed", "local_after"), [(1, 0), (2, 0.005), (3, NEVER_ALONE)])
async def test_delivery_is_exactly_once_when_links_break_in_flight(redis, seed, local_after) -> None:
    """Everybody hears everything once while links break with answers in flight."""
    chance = random.Random(seed)
    options = {**QUICK, "publish_timeout": 100, "local_after": local_after}
    async with line_to(redis) as one, line_to(redis) as two:
        backplanes = [RedisBackplane(line.url, **options) for line in (one, two)]
        chorus = Chorus(*backplanes)

        async def disturb() -> None:
            while not chorus.over:
                await break_and_mend(chance.choice((one, two)), chance, for_at_most=0.02)

        async with backplanes[0].running(), backplanes[1].running():
            await chorus.sing(20, disturb)
            assert [internal(backplane, "_local").queue.rooms for backplane in backplanes] == [{}, {}]
    chorus.check(20)


class Wanderer:
    """A client that goes from place to place, with the id that it heard last, until it has heard the end."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._since: str | None = None

    async def wander(
        self, around: Sequence[Place], chance: random.Random, *, task_status: trio.TaskStatus[None]
    ) -> None:
        while "end" not in self.texts:
            async with chance.choice(around).member(self._since) as (guest, recovered):
                assert recovered in (None, True)
                if recovered is None:
                    await self._listen(guest)
                    task_status.started()
                with trio.move_on_after(chance.uniform(0, 0.3)):
                    while "end" not in self.texts:
                        await self._listen(guest)

    async def _listen(self, guest: Guest) -> None:
        text, self._since = await said(guest)
        self.texts.append(text)


@pytest.mark.parametrize(("seed", "local_after"), [(1, 0), (2, NEVER_ALONE)])
async def test_moving_clients_get_each_message_once_over_broken_links(redis, seed, local_after) -> None:
    """Clients that wander hear everything once while links break."""
    chance, wanderers, over = random.Random(seed), [Wanderer() for _ in range(3)], trio.Event()

    async def disturb() -> None:
        while not over.is_set():
            await break_and_mend(chance.choice(lines), chance, for_at_most=0.2)

    async def publish(voice: int) -> None:
        for number in range(15):
            await around[voice % 2].room.publish(f"{voice}/{number}")
            await trio.sleep(chance.uniform(0, 0.02))

    with trio.fail_after(120):
        async with line_to(redis) as one, line_to(redis) as two, places(one.url, two.url, local_after) as around:
            lines = (one, two)
            await around[0].room.publish("begin")  # who has heard nothing of the stream could not come back
            async with around[0].member(), around[1].member(), trio.open_nursery() as nursery:
                for wanderer in wanderers:
                    await nursery.start(wanderer.wander, around, chance)
                nursery.start_soon(disturb)
                async with trio.open_nursery() as voices:
                    for voice in range(4):
                        voices.start_soon(publish, voice)
                over.set()
                for place in around:
                    await internal(place.room, "_place").registry.backplane.sync("room")
                await around[0].room.publish("end")
    for wanderer in wanderers:
        assert Counter(wanderer.texts[1:-1]) == Counter(
            f"{voice}/{number}" for voice in range(4) for number in range(15)
        )


@pytest.mark.parametrize("local_after", [1, None])
async def test_delivery_is_exactly_once_over_repeated_redis_kills(local_after) -> None:
    """Everybody hears everything once while Redis is killed again and again."""
    options = {**QUICK, "publish_timeout": 100, "local_after": local_after}
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as redis:
        backplanes = [RedisBackplane(redis.url, **options) for _ in range(2)]
        chorus = Chorus(*backplanes)

        async def disturb() -> None:
            for kill in range(1, 4):
                await until(lambda kill=kill: len(chorus.acknowledged) >= 30 * kill)
                redis.kill()
                await trio.sleep(0.02)
                await trio.to_thread.run_sync(redis.start)

        async with backplanes[0].running(), backplanes[1].running():
            await chorus.sing(25, disturb)
    chorus.check(25)
    if local_after is None:
        assert chorus.ears[0].ids == chorus.ears[1].ids, "one order for all"


# --- messages with a key -----------------------------------------------------------------------------------------


async def test_a_message_with_a_key_is_never_delivered_early(redis) -> None:
    """The publisher that is cut off does not see that another process has published it; what follows waits with it."""
    async with processes(redis) as (line, far, near):
        ids: list[str] = []
        async with hearing(far, 100) as here, hearing(near, 100) as there:
            await say(near, "before")
            await here.hears(1)
            await cut(line, far)

            async def publish(backplane: RedisBackplane, text: str, key: str = "") -> None:
                ids.append(await backplane.publish("room", PreparedMessage(text), NOBODY, key=key))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish, far, "from far", "a")
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(publish, far, "after it")
                await publish(near, "from near", "a")
                await trio.sleep(0.3)
                assert here.data == ["before"]
                line.mend()
            await hear(3, here, there)
        assert there.data == ["before", "from near", "after it"]
        assert sorted(here.data) == sorted(there.data)
        assert sorted(ids) == sorted([there.ids[1], *there.ids[1:]])


async def test_a_message_with_a_key_is_tried_again_after_a_cut(redis) -> None:
    async with processes(redis, publish_timeout=0.3) as (line, far, near):
        async with hearing(far, 100) as here, hearing(near, 100) as there:
            for answered in (False, True):
                key = f"key {answered}"
                if answered:
                    await far.publish("room", PreparedMessage(key), NOBODY, key=key)
                await cut(line, far)
                with pytest.raises(BackplaneUnavailable) as away:
                    await far.publish("room", PreparedMessage(key), NOBODY, key=key)
                assert not away.value.local
                line.mend()
                await until(lambda: internal(far, "_local").early.connected)
                with trio.fail_after(30):
                    while True:
                        try:
                            await far.publish("room", PreparedMessage(key), NOBODY, key=key)
                        except BackplaneUnavailable:
                            continue
                        break
            await far.publish("room", PreparedMessage("end"), NOBODY, key="end")
            await hear(3, here, there)
        assert here.data == there.data == ["key False", "key True", "end"]
