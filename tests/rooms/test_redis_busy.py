"""A Redis that takes no command just now: calls wait, like those for one that is away, and leave nothing behind."""

from __future__ import annotations

import pytest
import trio
from support.internals import internal
from support.redis import RedisServer, collects_coredis, forgives_coredis, needs_redis

from trio_ws import BackplaneFull, BackplaneRefused, BackplaneUnavailable
from trio_ws.rooms.redis import RedisBackplane
from trio_ws.rooms.redis.client import is_transient, refusal_from

from .conformance import Ear, hearing
from .test_redis_faults import QUICK, say, two_processes, until

pytestmark = [needs_redis, forgives_coredis, collects_coredis]


async def test_publishing_without_enough_replicas_waits_and_succeeds(redis, caplog) -> None:
    """NOREPLICAS says something of Redis, nothing of the message; the link is kept, and what is there is read."""
    async with two_processes(redis, local_after=None, command_timeout=20) as (_line, near, far):
        ear = Ear()
        await say(near, "before")
        redis.ask("CONFIG SET min-replicas-to-write 1")
        async with far.subscribe("room", ear, history=5) as log, trio.open_nursery() as nursery:
            assert [entry.message.data for entry in log] == ["before"]
            for text in ("one", "two"):
                nursery.start_soon(say, near, text)
            await until(lambda: any(call.rejection for call in internal(near, "_running_commands._waiting")))
            redis.ask("CONFIG SET min-replicas-to-write 0")
            await ear.hears(2)
        assert sorted(ear.data) == ["one", "two"]
    assert "trying again" not in caplog.text


async def test_publish_with_too_few_replicas_for_too_long_is_an_error(redis, monkeypatch) -> None:
    """It is certain that the message is not published, as no attempt is under way at the end of the time."""
    monkeypatch.setattr("trio_ws.rooms.redis.commands.RETRY_PAUSE", 60.0)
    async with two_processes(redis, publish_timeout=1, local_after=None) as (_line, near, far):
        async with hearing(near) as ear:
            redis.ask("CONFIG SET min-replicas-to-write 1")
            with pytest.raises(
                BackplaneUnavailable, match=r"has not taken it for 1 s \(publish_timeout\): NOREPLICAS"
            ) as caught:
                await say(far, "never")
            assert not caught.value.uncertain
            redis.ask("CONFIG SET min-replicas-to-write 0")
            await say(near, "said")
            await ear.hears(1)
        assert ear.data == ["said"]


async def test_publishing_while_redis_runs_a_long_script_waits(redis, caplog) -> None:
    """BUSY: a script of somebody else; the link may break over it, as nothing can be read."""
    redis.ask("CONFIG SET lua-time-limit 1")
    async with two_processes(redis, local_after=None) as (_line, near, far):
        async with hearing(far) as ear, trio.open_nursery() as nursery:
            with redis.command('EVAL "while true do end" 0'):
                await trio.to_thread.run_sync(until_busy, redis)
                nursery.start_soon(say, near, "said")
                await until(
                    lambda: (
                        "BUSY" in caplog.text
                        or any(call.rejection for call in internal(near, "_running_commands._waiting"))
                    )
                )
                assert redis.ask("SCRIPT KILL").startswith("+OK")
            await ear.hears(1)
        assert ear.data == ["said"]


async def test_busy_redis_at_the_start_is_waited_for(redis) -> None:
    redis.ask("CONFIG SET lua-time-limit 1")
    backplane = RedisBackplane(redis.url, wait=True, **QUICK)
    with trio.fail_after(20), redis.command('EVAL "while true do end" 0'):
        await trio.to_thread.run_sync(until_busy, redis)
        with pytest.raises(BackplaneUnavailable, match="BUSY"):
            async with RedisBackplane(redis.url).running():
                pytest.fail("it runs")
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                async with backplane.running():
                    await say(backplane, "at last")

            nursery.start_soon(run)
            await trio.sleep(0.1)
            assert redis.ask("SCRIPT KILL").startswith("+OK")


def until_busy(redis: RedisServer) -> None:
    while not redis.ask("GET key").startswith("-BUSY"):
        pass


@pytest.mark.parametrize(
    ("text", "passing", "kind"),
    [
        ("NOREPLICAS Not enough good replicas to write. script: 1, on @user_script:9.", True, BackplaneRefused),
        ("BUSY Redis is busy running a script.", True, BackplaneRefused),
        ("MISCONF Redis is configured to save RDB snapshots", True, BackplaneRefused),
        (
            "Error running script (call to f_1): @user_script:9: @user_script: 9: -NOREPLICAS Not",
            True,
            BackplaneRefused,
        ),
        ("Error running script (call to f_1): @user_script:9: @user_script: 9: -OOM command", False, BackplaneFull),
        ("OOM command not allowed when used memory > 'maxmemory'.", False, BackplaneFull),
        ("a key that is NOREPLICAS of ours", False, BackplaneRefused),
    ],
)
def test_answers_of_redis_are_told_apart_in_all_versions(text, passing, kind) -> None:
    import coredis  # here, as it takes half a second of each process that only collects

    error = coredis.exceptions.ResponseError(text)
    assert is_transient(error) is passing
    assert type(refusal_from(error)) is kind


# --- what is left behind ------------------------------------------------------------------------------------------


async def test_rooms_that_were_open_leave_nothing_behind(redis) -> None:
    backplane = RedisBackplane(redis.url)
    async with backplane.running():
        for number in range(100):
            async with backplane.subscribe(f"room {number}", Ear(), history=0):
                pass
        async with backplane.subscribe("last", Ear(), history=0):
            await until(lambda: len(internal(backplane, "_reader._channels")) == 1)
            assert [*internal(backplane, "_reader._streams")] == ["last"]
            assert redis.ask("PUBSUB CHANNELS").startswith("*1")
