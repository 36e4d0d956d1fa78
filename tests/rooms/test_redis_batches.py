"""Messages that are published together take one call, and one notification with the entries: commands are counted."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
from support.internals import internal
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis
from trio.testing import wait_all_tasks_blocked

from trio_ws import BackplaneFull
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms import Presence
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.callers import WaitingCallers
from trio_ws.rooms.redis.command import Command
from trio_ws.rooms.redis.entries import parse_news

from .conformance import NOBODY, Ear, hearing
from .test_redis_faults import say, two_processes, until

pytestmark = [needs_redis, forgives_coredis, collects_coredis]


def calls(redis: RedisServer, command: str) -> int:
    """Return how often a command was run, also by scripts."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", redis.ask("INFO commandstats"))
    return int(found[1]) if found else 0


async def say_together(backplane: RedisBackplane, room: str, *texts: str) -> None:
    async with trio.open_nursery() as nursery:
        for text in texts:
            nursery.start_soon(backplane.publish, room, PreparedMessage(text), NOBODY)


@pytest.mark.parametrize("others", [0, 1])
async def test_messages_of_one_turn_take_one_call_and_no_read(redis, others) -> None:
    """They come with the answer; a notification is for other processes."""
    backplane, other = RedisBackplane(redis.url, poll_interval=60), RedisBackplane(redis.url, poll_interval=60)
    ear, far = Ear(), Ear()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(backplane.running())
        await stack.enter_async_context(backplane.subscribe("room", ear, history=0))
        if others:
            await stack.enter_async_context(other.running())
            await stack.enter_async_context(other.subscribe("room", far, history=0))
        await say(backplane, "first")
        await backplane.sync("room")
        before = [calls(redis, command) for command in ("evalsha", "xread", "publish")]
        await say_together(backplane, "room", *map(str, range(60)))
        await ear.hears(61)
        await far.hears(61 * others)
        after = [calls(redis, command) for command in ("evalsha", "xread", "publish")]
        assert sorted(ear.data[1:]) == sorted(map(str, range(60)))
        assert [entry.more for entry in ear.entries[1:]] == [*(59 * [True]), False]
        assert all(entry.time == int(entry.id.partition("-")[0]) / 1000 for entry in ear.entries + far.entries)
    assert [after[0] - before[0], after[1] - before[1], after[2] - before[2]] == [1, 0, others]


async def test_own_message_in_a_notification_is_not_decoded_again(redis) -> None:
    """It is encoded already, and perhaps compressed."""
    backplane = RedisBackplane(redis.url, poll_interval=60)
    ear, message = Ear(), PreparedMessage("said")
    async with backplane.running(), backplane.subscribe("room", ear, history=0):
        await backplane.publish("room", message, NOBODY)
        await ear.hears(1)
    assert ear.entries[0].message is message


async def test_client_with_two_connections_is_enough(redis, caplog) -> None:
    """One is for channels and commands, and all queries share the other."""
    import coredis

    backplane = RedisBackplane(lambda: coredis.Redis.from_url(redis.url, max_connections=2))
    ear = Ear()
    with trio.fail_after(20):
        async with backplane.running(), backplane.subscribe("room", ear, history=0):
            backplane.enter("room", Presence("a-1", {}))
            await say_together(backplane, "room", "a", "b")
            await ear.hears(2)
            assert await backplane.history("room", None, None, 5)
    assert "trying again" not in caplog.text


async def test_callers_expire_one_after_the_other_and_at_the_end(autojump_clock) -> None:
    callers, woken = WaitingCallers(), []

    async def wait(name: str, seconds: float) -> None:
        command = Command("room", "", (), ())
        command.expires_at = trio.current_time() + seconds
        await callers.wait(command)
        woken.append((name, trio.current_time()))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(callers.run)
        await wait_all_tasks_blocked()
        for delay, name in ((1, "first"), (1, "second"), (30, "third"), (0, "fourth")):
            nursery.start_soon(wait, name, 10)
            await trio.sleep(delay)
        await trio.sleep(5)
        callers.end()
        await wait("late", 10)
    found = {name: time - start for name, time in woken}
    assert found == {"first": 10, "second": 11, "third": 12, "late": 37, "fourth": 37}


async def test_messages_too_large_for_a_notification_are_read(redis) -> None:
    backplane = RedisBackplane(redis.url, poll_interval=60)
    ear, texts = Ear(), [str(number) * 1000 for number in range(9)]
    async with backplane.running(), backplane.subscribe("room", ear, history=0):
        await say_together(backplane, "room", *(2 * texts))
        await ear.hears(18)
    assert sorted(ear.data) == sorted(2 * texts)


async def test_cancelled_publisher_disturbs_no_other_of_its_call(redis) -> None:
    async with two_processes(redis) as (_line, near, _far):
        async with hearing(near) as ear, trio.open_nursery() as nursery:
            redis.stop()
            scope = trio.CancelScope()

            async def give_up() -> None:
                with scope:
                    await say(near, "b")

            nursery.start_soon(say, near, "a")
            nursery.start_soon(give_up)
            nursery.start_soon(say, near, "c")
            await until(lambda: len(internal(near, "_running_commands._under_way")) == 3)
            scope.cancel()
            redis.go_on()
            await ear.hears(3)
        assert sorted(ear.data) == ["a", "b", "c"], "they were sent"


async def test_each_message_of_a_call_that_is_refused_has_its_error(redis) -> None:
    backplane = RedisBackplane(redis.url)
    ear = Ear()
    errors: list[BackplaneFull] = []

    async def fail() -> None:
        with pytest.raises(BackplaneFull) as caught:
            await say(backplane, "never")
        errors.append(caught.value)

    async with backplane.running(), backplane.subscribe("room", ear, history=0):
        await say(backplane, "before")
        redis.ask("CONFIG SET maxmemory 1mb")
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(fail)
        redis.ask("CONFIG SET maxmemory 0")
        await say(backplane, "after")
        await ear.hears(2)
    assert len({*errors}) == 5
    assert ear.data == ["before", "after"]


async def test_messages_with_one_key_in_one_call_are_one(redis) -> None:
    backplane = RedisBackplane(redis.url)
    ear, ids = Ear(), []

    async def publish(text: str, key: str) -> None:
        ids.append(await backplane.publish("room", PreparedMessage(text), NOBODY, key=key))

    async with backplane.running(), backplane.subscribe("room", ear, history=0):
        async with trio.open_nursery() as nursery:
            for text in ("a", "b"):
                nursery.start_soon(publish, text, "same")
            nursery.start_soon(publish, "c", "other")
        await ear.hears(2)
        await say(backplane, "last")
        await ear.hears(3)
    assert len({*ids}) == 2
    assert len(ear.entries) == 3


async def test_scripts_that_redis_has_lost_are_sent_again(redis) -> None:
    backplane = RedisBackplane(redis.url)
    async with backplane.running(), hearing(backplane) as ear:
        for text in ("a", "b", "c"):
            await say(backplane, text)
            redis.ask("SCRIPT FLUSH")
            assert await backplane.count("room") == 0
        await ear.hears(3)
    assert ear.data == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "m ",
        "m \\n",
        "m 1-a me 0-0 1-1 1 1 0 1\\nt",
        "m 1-a abc 1-1\\n",
        "m 1-a abc 1-1 9-9 2 1 0 2\\nt",
        "m 1-a abc 1-1 9-9 2 1 0 1\\ntt",
        "m 1-a abc 1-1 9-9 2 1 0\\nt",
        "m 1-a abc 1-1 9-9 2 1 -1 2\\nt",
        "m 1-a abc 1-1 9-9 2 1 0 9999999999\\nt",
        "m 1-a abc 1-1 x 2 1 0 1\\nt",
        "m 1-a abc 1-1 9-9 x 1 0 1\\nt",
        "m 1-a abc 1-1 9-9 2 x 0 1\\nt",
        "m x abc 1-1 9-9 2 1 0 1\\nt",
        "m 1-a abc 1-1 9-9 2 1 0 1\\nx",
        "m 1-a abc 1-1 9-9 2 1 0 2\\nt\\xff",
    ],
)
async def test_notification_that_is_not_ours_is_a_mere_hint(redis, caplog, text) -> None:
    with pytest.raises((KeyError, ValueError)):
        parse_news(text.encode().decode("unicode-escape").encode("latin-1"))
    backplane = RedisBackplane(redis.url, poll_interval=60)
    async with backplane.running(), hearing(backplane) as ear:
        await say(backplane, "before")
        await ear.hears(1)
        redis.ask(f'PUBLISH trio_ws:{{=room}}:news "{text}"')
        await say(backplane, "after")
        await ear.hears(2)
    assert ear.data == ["before", "after"]
    assert not [record for record in caplog.records if record.name == "trio_ws" and record.levelname != "INFO"]


async def test_notification_out_of_its_place_is_not_believed(redis) -> None:
    """One that came before is known, one that is too early is a gap to read, one of another epoch is a loss."""
    backplane = RedisBackplane(redis.url, poll_interval=60)
    lost: list[Any] = []
    async with backplane.running(), hearing(backplane, gap=lost.append) as ear:
        await say(backplane, "before")
        await ear.hears(1)
        stream = internal(backplane, "_reader._streams")["room"]
        epoch, newest = stream.epoch, stream.last_id
        late = "9999999999999-0"
        for where in (f"{epoch} abc 0-0 {newest} 1", f"{epoch} abc 1-0 {late} 2", f"1-a abc {newest} {late} 2"):
            redis.ask(f'PUBLISH trio_ws:{{=room}}:news "m {where} 7 0 2\\ntx"')
        await say(backplane, "after")
        await ear.hears(2)
        assert ear.data == ["before", "after"]
    assert lost == []


async def test_own_notification_during_a_call_hides_no_entry(redis) -> None:
    """It is that of an earlier call, which Redis got late, over a connection that has broken."""
    backplane = RedisBackplane(redis.url, poll_interval=60)
    async with backplane.running(), hearing(backplane) as ear:
        await say(backplane, "before")
        await ear.hears(1)
        stream, process = internal(backplane, "_reader._streams")["room"], internal(backplane, "_process")
        internal(backplane, "_reader").begin_call("room")
        added = redis.ask(f"XADD trio_ws:{{=room}}:messages * n 2 p abc e {stream.epoch} s 1 d tlate x ''")
        entry = added.split("\r\n")[1]
        redis.ask(f'PUBLISH trio_ws:{{=room}}:news "m {stream.epoch} {process} {stream.last_id} {entry} 2 1 0 2\\ntx"')
        await until(lambda: stream.notified)
        await say(backplane, "after")
        await ear.hears(3)
    assert ear.data == ["before", "late", "after"]


async def test_entries_of_other_programs_are_delivered_in_their_place(redis) -> None:
    """Whatever number it has: entries are delivered in the order of the stream."""
    backplane = RedisBackplane(redis.url, poll_interval=60)
    async with backplane.running(), hearing(backplane) as ear:
        await say(backplane, "before")
        await ear.hears(1)
        epoch = internal(backplane, "_reader._streams")["room"].epoch
        for index, number in enumerate((1, 0, 999_999_999_999_999)):  # what follows is numbered 2, 1 and 1
            redis.ask(f"XADD trio_ws:{{=room}}:messages * n {number} p abc{index} e {epoch} s 1 d tforeign x ''")
            await say(backplane, "ours")
        await ear.hears(7)
    assert ear.data == ["before", *["foreign", "ours"] * 3]


# --- quiet rooms --------------------------------------------------------------------------------------------------


async def test_many_rooms_are_opened_kept_and_polled_by_few_commands(redis) -> None:
    backplane = RedisBackplane(redis.url, presence_timeout=0.6, poll_interval=0.2)
    rooms, opened = 600, trio.Event()
    waiting = [*range(rooms)]

    async def sit(number: int) -> None:
        async with backplane.subscribe(f"room {number}", Ear(), history=5):
            backplane.enter(f"room {number}", Presence(f"a-{number}", {}))
            waiting.pop()
            if not waiting:
                opened.set()
            await trio.sleep_forever()

    async with backplane.running(), trio.open_nursery() as nursery:
        with trio.fail_after(60):
            for number in range(rooms):
                nursery.start_soon(sit, number)
            await opened.wait()
            while await backplane.count(f"room {rooms - 1}") != 1:
                await trio.sleep(0.01)
        commands = calls(redis, "evalsha") + calls(redis, "eval")
        assert commands < 60, "for some hundred rooms each"
        await trio.sleep(1)
        more = calls(redis, "evalsha") + calls(redis, "eval") - commands
        assert more < 60, "for polls and beats"
        assert calls(redis, "xread") > rooms
        with trio.fail_after(20):
            while await backplane.count("room 7") != 1:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()


async def test_room_that_a_poll_finds_moved_is_read(redis) -> None:
    """Its notification is lost; the other rooms are not read. Names are as strange as they may be."""
    import coredis

    backplane = RedisBackplane(redis.url, poll_interval=0.1)
    strange = '\0{"a}%7D\\ \N{SNOWMAN}'
    ear, other = Ear(), Ear()
    async with (
        backplane.running(),
        backplane.subscribe(strange, ear, history=0),
        backplane.subscribe("other", other, history=0),
    ):
        await backplane.publish(strange, PreparedMessage("said"), NOBODY)
        await ear.hears(1)
        stream = internal(backplane, "_reader._streams")[strange]
        key, sequence = internal(backplane, "_keys").stream(strange), 2
        fields = {"n": str(sequence), "p": "abc", "e": stream.epoch, "s": "1", "d": "tunsaid", "x": ""}
        async with coredis.Redis.from_url(redis.url) as client:
            await client.xadd(key, fields)
        await ear.hears(2)
    assert ear.data == ["said", "unsaid"]
    assert other.data == []


async def test_history_of_many_rooms_is_there_however_large_it_is(redis) -> None:
    """The newest entries of rooms come together, up to a number of bytes; others are asked for alone."""
    backplane = RedisBackplane(redis.url)
    found: dict[str, list[object]] = {}

    async def visit(room: str) -> None:
        async with backplane.subscribe(room, Ear(), history=2) as log:
            found[room] = [entry.message.data for entry in log]

    async with backplane.running():
        for room in map(str, range(5)):
            for text in ("a", "b", "c"):
                await backplane.publish(room, PreparedMessage(text * 300_000), NOBODY)
        async with trio.open_nursery() as nursery:
            for room in (*map(str, range(5)), "empty"):
                nursery.start_soon(visit, room)
    assert found.pop("empty") == []
    assert [*found.values()] == 5 * [["b" * 300_000, "c" * 300_000]]


async def test_fault_of_one_room_among_many_is_its_own(redis, caplog) -> None:
    for key, command in (("messages", "SET {} x"), ("processes", "SET {} x")):
        redis.ask(command.format(f"trio_ws:{{=bad}}:{key}"))
    backplane = RedisBackplane(redis.url, presence_timeout=0.3, poll_interval=0.1)
    ears = {room: Ear() for room in ("a", "bad", "z")}

    async def sit(room: str) -> None:
        async with backplane.subscribe(room, ears[room], history=0):
            backplane.enter(room, Presence(f"{room}-1", {}))
            await trio.sleep_forever()

    async with backplane.running(), trio.open_nursery() as nursery:
        for room in ears:
            nursery.start_soon(sit, room)
        for _ in range(3):
            await trio.sleep(0.2)
            for room in ("a", "z"):
                await backplane.publish(room, PreparedMessage("said"), NOBODY)
                with trio.fail_after(20):
                    while await backplane.count(room) != 1:
                        await trio.sleep(0.01)
        await ears["a"].hears(3)
        await ears["z"].hears(3)
        nursery.cancel_scope.cancel()
    problems = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert problems
    assert all("'bad'" in problem for problem in problems)
