"""What goes wrong with Redis: whoever publishes is told, nobody hangs, nothing that is certain is lost or doubled."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from support.internals import internal, set_internal
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

from trio_ws import BackplaneFull, BackplaneRefused, BackplaneUnavailable, LocalProtocolError, MessageTooLarge
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Presence
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.calls import execute
from trio_ws.rooms.redis.command import Command
from trio_ws.rooms.redis.local_delivery import LocalDelivery
from trio_ws.rooms.redis.options import Options
from trio_ws.rooms.redis.stream import StreamEntry, StreamState

from .conformance import NOBODY, Ear, hearing

pytestmark = [needs_redis, forgives_coredis, collects_coredis]

QUICK = {"command_timeout": 0.5, "poll_interval": 0.2, "presence_timeout": 0.6}


@asynccontextmanager
async def two_processes(
    redis: RedisServer, **options: object
) -> AsyncIterator[tuple[Line, RedisBackplane, RedisBackplane]]:
    """One backplane behind a line that can be cut, and one right at Redis, which is patient."""
    async with line_to(redis) as line:
        options = {**QUICK, "wait": True, **options}  # the machine may be too busy for half a second to begin with
        near = RedisBackplane(redis.url, **{**options, "publish_timeout": 20})
        far = RedisBackplane(line.url, **options)
        async with near.running(), far.running():
            yield line, near, far


async def say(backplane: RedisBackplane, *texts: object) -> None:
    for text in texts:
        await backplane.publish("room", PreparedMessage(str(text)), NOBODY)


async def linked(backplane: RedisBackplane) -> None:
    """Wait until it has a link again, and has used it."""
    with trio.fail_after(20):
        while True:
            try:
                await backplane.presence("room")
            except BackplaneUnavailable:
                continue
            return


# --- at the start -------------------------------------------------------------------------------------------------


async def test_missing_redis_at_startup_is_an_error_that_names_it(tmp_path) -> None:
    """Without a Redis at the start there is an error that names it."""
    with pytest.raises(BackplaneUnavailable, match=f"no Redis answers at unix://{tmp_path}/none"):
        async with RedisBackplane(f"unix://{tmp_path}/none").running():
            pytest.fail("it runs")


async def test_wait_waits_for_a_redis_that_comes_later(caplog) -> None:
    server = RedisServer()
    backplane = RedisBackplane(server.url, wait=True, **QUICK)
    try:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                running = trio.Event()

                async def run() -> None:
                    async with backplane.running():
                        running.set()
                        await say(backplane, "at last")

                nursery.start_soon(run)
                await until(lambda: "trying again" in caplog.text)
                assert not running.is_set()
                await trio.to_thread.run_sync(server.start)
    finally:
        server.close()


async def test_waiting_for_a_redis_can_be_cancelled(tmp_path) -> None:
    with trio.move_on_after(0.2) as scope:
        async with RedisBackplane(f"unix://{tmp_path}/none", wait=True).running():
            pytest.fail("it runs")
    assert scope.cancelled_caught


@pytest.mark.parametrize("wait", [False, True])
async def test_wrong_password_at_startup_is_an_error_with_the_fix(wait) -> None:
    """A wrong password is an error at the start that says what to correct."""
    with redis_server("--requirepass", "sesame") as server:
        url = server.url.replace("unix://", "unix://:{}@")
        for password in ("", "barley"):
            with pytest.raises(BackplaneRefused, match="Correct the name and the password in the URL") as caught:
                async with RedisBackplane(url.format(password), wait=wait).running():
                    pytest.fail("it runs")
            assert "barley" not in str(caught.value)
        async with RedisBackplane(url.format("sesame")).running():
            pass


async def test_a_user_without_permissions_is_told_which_ones_it_needs(redis) -> None:
    redis.ask("ACL SETUSER ann on >p%w ~trio_ws:* +@all -@admin -@dangerous")
    url = redis.url.replace("unix://", "unix://ann:p%25w@")
    with pytest.raises(BackplaneRefused, match="&trio_ws:\\*"):
        async with RedisBackplane(url).running():
            pytest.fail("it runs")
    redis.ask("ACL SETUSER ann &trio_ws:*")
    async with RedisBackplane(url).running() as _:
        pass
    backplane, ear = RedisBackplane(url), Ear()
    async with backplane.running(), backplane.subscribe("room", ear, history=0):
        await say(backplane, "allowed")
        await ear.hears(1)


async def test_a_backplane_is_for_one_application_while_it_runs(redis) -> None:
    backplane = RedisBackplane(redis.url)
    with pytest.raises(LocalProtocolError, match="is not running"):
        await say(backplane, "too early")
    async with backplane.running():
        with pytest.raises(LocalProtocolError, match="running already"):
            async with backplane.running():
                pass
    async with backplane.running():
        await say(backplane, "again")


# --- while it runs ------------------------------------------------------------------------------------------------


async def test_who_lost_its_link_gets_what_it_missed_in_order(redis) -> None:
    async with two_processes(redis) as (line, near, far):
        lost: list[Any] = []
        async with hearing(far, 200, gap=lost.append) as ear:
            await say(near, *range(20))
            await ear.hears(20)
            line.cut_off()
            await say(near, *range(20, 100))
            assert len(ear.entries) <= 20
            line.mend()
            await ear.hears(100)
        assert ear.data == [str(number) for number in range(100)]
        assert lost == []
        assert ear.log.since(ear.ids[50]).recovered


async def test_a_gap_that_is_gone_is_told_of_with_its_size(redis) -> None:
    async with two_processes(redis, stream_length=1) as (line, near, far):
        lost: list[Any] = []
        async with hearing(far, 500, gap=lost.append) as ear:
            await say(near, "before")
            await ear.hears(1)
            line.cut_off()
            await say(near, *range(300))  # a stream is cut in pieces of about a hundred
            line.mend()
            await until(lambda: lost)
            await ear.hears(2)
            await until(lambda: ear.data[-1] == "299")
            assert lost == [300 - (len(ear.data) - 1)]
            assert ear.data == ["before", *[str(number) for number in range(lost[0], 300)]]
            assert not ear.log.since(ear.ids[0]).recovered
            assert ear.log.since(ear.ids[1]).recovered


async def test_publishing_while_redis_is_away_waits_and_then_succeeds(redis) -> None:
    async with two_processes(redis) as (line, near, far):
        done: list[Any] = []
        async with hearing(near) as ear:
            line.cut_off()
            async with trio.open_nursery() as nursery:

                async def publish(text: str) -> None:
                    await say(far, text)
                    done.append(text)

                for text in ("one", "two", "three"):
                    nursery.start_soon(publish, text)
                await trio.sleep(0.1)
                assert done == []
                line.mend()
            await ear.hears(3)
            assert sorted(ear.data) == ["one", "three", "two"]


async def test_publish_in_a_long_outage_is_an_error_and_sends_nothing(redis, caplog) -> None:
    """Publishing while Redis is away for too long is an error and publishes nothing."""
    async with two_processes(redis, publish_timeout=0.3) as (line, near, far):
        async with hearing(near) as ear, far.subscribe("far", Ear(), history=0):
            line.cut_off()
            await until(lambda: "trying again" in caplog.text)
            with pytest.raises(BackplaneUnavailable, match="publish_timeout") as caught:
                await say(far, "never")
            assert not caught.value.uncertain
            with pytest.raises(BackplaneUnavailable):
                await far.presence("room")
            with pytest.raises(BackplaneUnavailable, match="'new' could not be opened"):
                async with far.subscribe("new", Ear(), history=0):
                    pytest.fail("it is open")
            async with near.subscribe("near", Ear(), history=0):
                pass
            with pytest.raises(BackplaneUnavailable, match="'far' could not be read"):
                await far.sync("far")
            line.mend()
            await linked(far)
            async with far.subscribe("new", Ear(), history=0):
                await say(far, "said")
            await ear.hears(1)
            assert ear.data == ["said"]


async def test_message_with_lost_answer_is_republished_once(redis) -> None:
    """A message whose answer is lost is published again and is there once."""
    async with two_processes(redis) as (line, near, far):
        ear, ids = Ear(), []
        await say(far, "so that there is a connection for it")
        async with near.subscribe("room", ear, history=0):
            line.deaf = True
            async with trio.open_nursery() as nursery:

                async def publish() -> None:
                    ids.append(await far.publish("room", PreparedMessage("once"), NOBODY))

                nursery.start_soon(publish)
                await ear.hears(1)
                assert ids == []
                line.cut_off()
                line.deaf = False
                line.mend()
            await say(near, "end")
            await ear.hears(2)
        assert ear.data == ["once", "end"]
        assert ids == ear.ids[:1]


async def test_silent_redis_costs_the_link_and_blocks_no_task(redis, caplog) -> None:
    """As behind a firewall that has forgotten the connection."""
    caplog.set_level(logging.INFO)
    async with two_processes(redis, publish_timeout=0.4) as (line, near, far):
        async with hearing(far) as ear:
            line.hold()
            with pytest.raises(BackplaneUnavailable) as caught:
                await say(far, "perhaps")
            assert caught.value.uncertain
            await until(lambda: "trying again" in caplog.text)
            line.cut_off()
            line.let_go()
            line.mend()
            await until(lambda: not ear.entries or ear.data == ["perhaps"])
            await say(near, "afterwards")
            await until(lambda: "afterwards" in ear.data)


async def test_a_slow_redis_is_slow_and_loses_nothing(redis) -> None:
    async with two_processes(redis, command_timeout=20, publish_timeout=60) as (line, near, far):
        async with hearing(far) as ear:
            line.delay = 0.05
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    nursery.start_soon(say, far if number % 2 else near, number)
            await ear.hears(50)
            assert sorted(map(int, ear.data)) == list(range(50))


async def test_redis_out_of_memory_is_an_error_of_the_publisher_only(redis) -> None:
    """A Redis without memory is the publisher's error and nobody else's."""
    async with two_processes(redis) as (_line, near, far):
        async with hearing(far) as ear:
            near.enter("room", Presence("a-1", {}))
            await say(near, "before")
            redis.ask("CONFIG SET maxmemory 1mb")
            for _ in range(3):
                with pytest.raises(BackplaneFull, match="raise maxmemory"):
                    await say(near, "no room")
            await trio.sleep(0.5)  # a heartbeat of the presence is refused too
            redis.ask("CONFIG SET maxmemory 0")
            await say(near, "after")
            await ear.hears(2)
            assert ear.data == ["before", "after"]
            with trio.fail_after(10):
                while len(await far.presence("room")) != 1:
                    await trio.sleep(0.01)


async def test_too_large_message_is_refused_before_sending(redis) -> None:
    """A message that is too large is refused before it is sent."""
    async with two_processes(redis, max_message_size=1000) as (_line, near, far):
        async with hearing(far) as ear:
            with pytest.raises(MessageTooLarge, match="has 1001 bytes, the backplane carries 1000") as caught:
                await say(near, "x" * 1001)
            assert (caught.value.size, caught.value.limit) == (1001, 1000)
            await say(near, "x" * 1000)
            await ear.hears(1)


async def test_a_cancelled_publisher_disturbs_no_other(redis) -> None:
    async with two_processes(redis) as (line, near, far):
        async with hearing(near) as ear:
            line.delay = 0.01
            for number in range(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(say, far, f"cancelled {number}")
                    await trio.sleep(0.003 * number)
                    nursery.cancel_scope.cancel()
                await say(far, number)
            await until(lambda: ear.data[-1:] == ["19"])
            assert [text for text in ear.data if not str(text).startswith("cancelled")] == [str(n) for n in range(20)]
            assert len(set(ear.ids)) == len(set(ear.data)) == len(ear.data)


async def test_publishers_that_gave_up_in_an_outage_leave_nothing(redis) -> None:
    """Publishers who gave up while Redis was away leave nothing behind."""
    async with two_processes(redis, publish_timeout=0.1) as (line, _near, far):
        line.cut_off()
        await trio.sleep(0.05)
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for number in range(20):

                    @nursery.start_soon
                    async def publish(number: int = number) -> None:
                        with pytest.raises(BackplaneUnavailable):
                            await say(far, number)

        assert not internal(far, "_running_commands._waiting")


async def test_no_more_than_max_waiting_wait_for_redis(redis) -> None:
    async with two_processes(redis, max_waiting=5) as (line, near, far):
        async with hearing(near) as ear:
            line.cut_off()
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(say, far, number)
                await trio.sleep(0.1)
                calls = internal(far, "_running_commands")
                assert len(internal(calls, "_waiting")) + len(internal(calls, "_under_way")) <= 5
                line.mend()
            await ear.hears(20)


# --- what Redis has lost ------------------------------------------------------------------------------------------


async def test_a_redis_that_comes_back_empty_is_a_gap_of_unknown_size(redis, caplog) -> None:
    async with two_processes(redis) as (_line, near, far):
        ear, lost = Ear(), []
        near.enter("room", Presence("a-1", {}))
        async with far.subscribe("room", ear, history=5, gap=lost.append) as log:
            await say(near, *range(3))
            await ear.hears(3)
            redis.kill()
            await trio.to_thread.run_sync(redis.start)
            await until(lambda: lost)
            await say(near, "anew")
            await ear.hears(4)
            assert ear.data[-1] == "anew"
            assert lost == [None]
            assert [entry.message.data for entry in log] == ["anew"]
            assert not log.since(ear.ids[1]).recovered
            with trio.fail_after(10):
                while len(await far.presence("room")) != 1:
                    await trio.sleep(0.01)


async def test_redis_restored_to_older_state_duplicates_nothing(redis) -> None:
    """As after a failover: what was said before this process came is not said to it now."""
    async with two_processes(redis) as (line, near, far):
        await say(near, *range(5))
        redis.ask("COPY trio_ws:{=room}:messages kept")
        lost: list[Any] = []
        async with hearing(far, gap=lost.append) as ear:
            await say(near, "gone with the primary")
            await ear.hears(1)
            line.cut_off()
            redis.ask("COPY kept trio_ws:{=room}:messages REPLACE")
            line.mend()
            await until(lambda: lost == [None])
            await say(near, "anew")
            await ear.hears(2)
        assert ear.data == ["gone with the primary", "anew"]
        assert lost == [None]


async def test_a_room_that_is_deleted_in_redis_is_a_gap(redis) -> None:
    async with two_processes(redis) as (_line, near, far):
        lost: list[Any] = []
        async with hearing(far, 5, gap=lost.append) as ear:
            await say(near, *range(3))
            await ear.hears(3)
            redis.ask("FLUSHALL")
            await say(near, "anew")
            await ear.hears(4)
            assert lost == [None]


async def test_message_lost_and_restored_by_redis_is_delivered_once(redis) -> None:
    """It was delivered, its answer and itself were lost, and so it was published again."""
    async with two_processes(redis) as (line, near, far):
        ear = Ear()
        await say(far, "so that there is a connection for it")
        async with near.subscribe("room", ear, history=0):
            line.deaf = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, far, "once")
                await ear.hears(1)
                redis.ask("FLUSHALL")
                line.cut_off()
                line.deaf = False
                line.mend()
            await say(far, "end")
            await ear.hears(2)
        assert ear.data == ["once", "end"]


async def test_presence_that_redis_has_lost_is_told_again(redis) -> None:
    async with two_processes(redis) as (_line, near, far):
        near.enter("room", Presence("a-1", {"user": "Ann"}))
        for _ in range(2):
            with trio.fail_after(10):
                while await far.presence("room") != (Presence("a-1", {"user": "Ann"}),):
                    await trio.sleep(0.01)
            redis.ask("FLUSHALL")


async def test_who_left_while_the_link_was_broken_is_gone_after_it(redis) -> None:
    async with two_processes(redis, presence_timeout=30) as (line, near, far):
        far.enter("room", Presence("a-1", {}))
        far.enter("room", Presence("a-2", {}))
        far.enter("other", Presence("a-3", {}))
        await until_present(near, "room", 2)
        await until_present(near, "other", 1)
        line.cut_off()
        await trio.sleep(0.1)
        far.leave("room", "a-1")
        far.leave("other", "a-3")
        assert len(await near.presence("room")) == 2
        line.mend()
        await until_present(near, "room", 1)
        await until_present(near, "other", 0)


async def until_present(backplane: RedisBackplane, room: str, count: int) -> None:
    with trio.fail_after(20):
        while len(await backplane.presence(room)) != count:
            await trio.sleep(0.01)


async def test_entries_of_others_in_a_stream_are_logged_and_left_out(redis, caplog) -> None:
    async with two_processes(redis) as (_line, near, far):
        async with hearing(far) as ear:
            await say(near, "ours")
            await ear.hears(1)
            for number in range(40):
                redis.ask(f"XADD trio_ws:{{=room}}:messages * n {number} whatever 1")
            await until(lambda: "that is not ours" in caplog.text)
            await say(near, "ours too")
            await ear.hears(2)


async def test_stream_expires_soon_after_the_last_subscriber(redis) -> None:
    """A stream lives while somebody listens and not for long after."""

    def left() -> int:
        return int(redis.ask("PTTL trio_ws:{=room}:messages")[1:])

    async with two_processes(redis, retention=60) as (_line, near, far):
        await say(near, "first")
        async with far.subscribe("room", Ear(), history=0):
            redis.ask("PEXPIRE trio_ws:{=room}:messages 30000")
            assert left() <= 30_000
            internal(far, "_reader._confirmer").prolong_at = 0
            await until(lambda: 30_000 < left() <= 60_000)
            assert internal(far, "_reader._confirmer").prolong_at <= trio.current_time() + 60 / 4


async def test_info_that_is_no_json_cannot_travel(redis) -> None:
    async with two_processes(redis) as (_line, near, _far):
        with pytest.raises(TypeError):
            near.enter("room", Presence("a-1", {"socket": object()}))
        assert await near.presence("room") == ()


async def test_refused_message_overtaken_by_a_later_one_is_renumbered(redis) -> None:
    """And the answers to both were lost: to be told that it is there would be wrong, and readers drop old numbers."""
    async with two_processes(redis) as (line, near, far):
        await say(far, "so that there is a connection for it")
        ids: list[Any] = []
        async with hearing(near) as ear:
            line.deaf = True
            redis.ask("CONFIG SET maxmemory 1mb")
            async with trio.open_nursery() as nursery:

                async def publish() -> None:
                    ids.append(await far.publish("room", PreparedMessage("refused at first"), NOBODY))

                nursery.start_soon(publish)
                await until(lambda: any(call.sent for call in internal(far, "_running_commands._under_way")))
                await trio.sleep(0.1)
                redis.ask("CONFIG SET maxmemory 0")
                (call,) = internal(far, "_running_commands._under_way")
                accepted = internal(far, "_keys").accepted("room", internal(far, "_process"))
                assert redis.ask(f"SET {accepted} {call.number + 5}") == "+OK\r\n"
                line.cut_off()
                line.deaf = False
                line.mend()
                set_internal(far, "_running_commands._numbers", iter(range(call.number + 6, 10_000)))
            await ear.hears(1)
        assert ear.data == ["refused at first"]
        assert ids == ear.ids


async def test_what_redis_knows_of_a_publisher_stays_small(redis) -> None:
    async with two_processes(redis) as (_line, near, _far):
        async with trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(say, near, number)
        known = int(redis.ask(f"STRLEN {internal(near, '_keys').accepted('room', internal(near, '_process'))}")[1:])
        assert 1 < known <= 64 * 64, "the numbers and ids of one call"


async def test_a_command_that_redis_refuses_is_the_publishers_error(redis) -> None:
    redis.ask("SET trio_ws:{=room}:messages text")
    async with two_processes(redis) as (_line, near, _far):
        with pytest.raises(BackplaneRefused, match="wrong kind of value"):
            await say(near, "?")


async def test_publishing_waits_for_the_end_of_a_failover(redis) -> None:
    """A primary that has become a replica takes nothing; in a moment there is another, or it is one again."""
    async with two_processes(redis) as (_line, near, far):
        ear = Ear()
        near.enter("room", Presence("a-1", {}))
        async with far.subscribe("room", ear, history=0):
            await say(near, "before")
            redis.ask("REPLICAOF 127.0.0.1 1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, near, "meanwhile")
                await trio.sleep(0.3)
                assert "before" in ear.data
                assert "meanwhile" not in ear.data
                redis.ask("REPLICAOF NO ONE")
            await ear.hears(2)
            assert ear.data == ["before", "meanwhile"]


async def test_who_leaves_at_the_end_is_gone_at_once(redis) -> None:
    async with two_processes(redis, presence_timeout=30) as (_line, near, _far):
        last = RedisBackplane(redis.url)
        async with last.running():
            last.enter("room", Presence("a-1", {}))
            await until_present(near, "room", 1)
            last.leave("room", "a-1")
        assert await near.presence("room") == ()


async def test_an_end_without_a_link_is_an_end_all_the_same(redis) -> None:
    async with line_to(redis) as line:
        for pause in (0, 0.02):
            backplane = RedisBackplane(line.url, **QUICK)
            async with backplane.running():
                await say(backplane, "said")
                backplane.enter("room", Presence("a-1", {}))
                line.cut_off()
                await trio.sleep(pause)
            line.mend()


async def test_subscriptions_come_and_go_while_others_are_being_opened(redis) -> None:
    async with two_processes(redis, command_timeout=5) as (line, near, far):
        line.delay = 0.02
        ears, opened = [Ear() for _ in range(30)], set()

        async def listen(number: int) -> None:
            await trio.sleep(0.004 * number)
            with trio.CancelScope() as scope:
                if number % 3 == 0:
                    scope.deadline = trio.current_time() + 0.01 * (number % 5 + 1)
                async with far.subscribe(f"room {number % 10}", ears[number], history=2):
                    scope.deadline = trio.current_time() + 20
                    opened.add(number)
                    await ears[number].hears(1)

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(listen, number)
            await until(lambda: len([number for number in opened if number % 3]) == 20)
            for number in range(10):
                await near.publish(f"room {number}", PreparedMessage("said"), NOBODY)
        heard = [ear.data for number, ear in enumerate(ears) if number % 3]
        assert heard == [["said"]] * 20
        await until(lambda: not internal(far, "_reader._channels"))
        assert internal(far, "_reader._streams") == {}


async def test_subscriber_joining_a_late_process_gets_no_old_messages(redis) -> None:
    """Who comes while a process is behind hears nothing from before."""
    async with two_processes(redis, command_timeout=5) as (line, near, far):
        early, late = Ear(), Ear()
        async with far.subscribe("room", early, history=50):
            line.hold()
            await say(near, *range(40))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 0.05)
                nursery.start_soon(far.sync, "room")
                line.let_go()
                async with far.subscribe("room", late, history=50) as log:
                    assert [entry.message.data for entry in log] == [str(number) for number in range(40)]
                    await say(near, "now")
                    await late.hears(1)
            assert late.data == ["now"]
            assert early.data == [*[str(number) for number in range(40)], "now"]


async def test_message_twice_in_the_stream_is_once_in_the_history(redis) -> None:
    """A message that is in the stream twice is in the history once."""
    for place in (1, 2):
        redis.ask(f"XADD trio_ws:{{=room}}:messages * n {place} p abc s 1 d tsaid x ''")
    async with two_processes(redis) as (_line, near, _far):
        async with near.subscribe("room", Ear(), history=5) as log:
            assert [entry.message.data for entry in log] == ["said"]


async def test_subscriber_error_is_logged_and_next_entry_delivered(redis, caplog) -> None:
    """An error in a subscriber is logged and the next entry is delivered."""
    async with two_processes(redis) as (_line, near, far):
        ear = Ear()

        def deliver(entry) -> None:
            if entry.message.data == "wrong":
                raise ZeroDivisionError
            ear(entry)

        async with far.subscribe("room", deliver, history=0):
            await say(near, "wrong", "right")
            await ear.hears(1)
        assert ear.data == ["right"]
        assert caplog.text.count("error in a subscriber of room 'room'") == 1
        assert "trying again" not in caplog.text


def test_a_feed_knows_only_so_many_publishers() -> None:
    def record(publisher: int) -> StreamEntry:
        return StreamEntry("1-1", PreparedMessage(""), NOBODY, sequence=1, publisher=f"process {publisher}", number=1)

    feed = StreamState("room", LocalDelivery(Options(), "me", {}))
    for number in range(3000):
        assert feed.note_number(record(number))
    assert len(internal(feed, "_publishers")) == 1024
    assert not feed.note_number(record(2999))


async def test_cluster_fault_of_one_room_leaves_others_in_order() -> None:
    """A fake, as no cluster can be told to fail at a certain command."""
    import coredis

    made: list[str] = []

    class Cluster(coredis.RedisCluster):
        def __init__(self) -> None:
            pass

        async def evalsha(self, script: str, keys: object, args: tuple[str, ...]) -> bytes:
            await trio.lowlevel.checkpoint()
            made.append(args[0])
            if args[0] == "slow":
                raise TimeoutError
            if args[0] == "full":
                raise coredis.exceptions.ResponseError("OOM command not allowed")
            return args[0].encode()

    calls = [
        Command(room, "", (), (text,), number=number)
        for number, (room, text) in enumerate([("a", "slow"), ("a", "after"), ("b", "full"), ("b", "well")], 1)
    ]
    slow, after, full, well = await execute(Cluster(), calls, 5)
    assert isinstance(slow, TimeoutError)
    assert isinstance(after, TimeoutError)
    assert isinstance(full, coredis.exceptions.ResponseError)
    assert well == b"well"
    assert "after" not in made
