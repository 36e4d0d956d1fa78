"""Keepalive alone, over a connection that only notes what it is told to do."""

from __future__ import annotations

import pytest
import trio
from support.internals import internal

from trio_ws import Timeouts
from trio_ws.connection.keepalive import Keepalive
from trio_ws.runtime.timers import Timers
from trio_ws.transport.socket_options import Uptake


class FakeConnection:
    """Hears nothing unless the test says so."""

    def __init__(self) -> None:
        self.start = self.read_time = self.message_time = trio.current_time()
        self.open = True
        self.paused = self.pending = False
        self.answers = False
        self.clogged = False
        self.unread = False
        self.backlog = self.taken = 0
        self.log: list[tuple[float, object]] = []
        self.reader = self.writer = self.closing = self.transport = self  # it is all its parts

    def _note(self, what: object) -> None:
        self.log.append((trio.current_time() - self.start, what))

    def send_keepalive(self) -> bool:
        if self.clogged:
            return False
        self._note("ping")
        if self.answers:
            self.read_time = trio.current_time()
        return True

    def look(self) -> None:
        if self.unread:
            self.read_time = self.message_time = trio.current_time()
            self.unread = False

    def uptake(self) -> Uptake:
        return Uptake((self.taken, 0), self.backlog, pending=self.backlog > 0)

    def fail(self, code: int, reason: str) -> None:
        self._note((int(code), reason))
        self.open = False

    def retire(self, code: int, reason: str) -> None:
        self.fail(code, reason)


@pytest.fixture
async def timers(nursery):
    timers = Timers()
    nursery.start_soon(timers.run)
    return timers


DEAD = (1011, "keepalive ping timeout")


def watch(timers: Timers, **times: float | None) -> tuple[FakeConnection, Keepalive]:
    connection = FakeConnection()
    timeouts = Timeouts(**{"ping_interval": None, **times})  # type: ignore[arg-type]
    return connection, Keepalive(connection, timeouts, timers)


async def test_a_peer_is_not_blamed_for_a_ping_that_could_not_be_sent(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    connection.clogged = True
    await trio.sleep(990)
    assert connection.log == []
    connection.clogged = False
    await trio.sleep(30)
    assert connection.log == [(1000, "ping"), (1005, DEAD)]


async def test_silent_peer_is_pinged_then_aborted_without_answer(timers, autojump_clock):
    """A silent peer is pinged and given up when it does not answer."""
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    await trio.sleep(1000)
    assert connection.log == [(20, "ping"), (25, DEAD)]


async def test_a_peer_that_answers_is_pinged_again_after_the_interval(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=10.0)
    for _ in range(3):
        await trio.sleep(21)
        connection.read_time = trio.current_time()
    await trio.sleep(19)
    assert connection.log == [(20, "ping"), (41, "ping"), (62, "ping")]
    await trio.sleep(1000)
    assert connection.log[3:] == [(83, "ping"), (93, DEAD)]


async def test_whatever_the_peer_sends_counts_as_an_answer(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    await trio.sleep(24.9)
    connection.read_time = trio.current_time()
    await trio.sleep(15)
    assert connection.log == [(20, "ping")]


async def test_an_answer_in_the_same_instant_counts(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    connection.answers = True
    await trio.sleep(70)
    assert connection.log == [(20, "ping"), (40, "ping"), (60, "ping")]


async def test_a_talking_peer_is_not_pinged(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    for _ in range(100):
        await trio.sleep(15)
        connection.read_time = trio.current_time()
    assert connection.log == []


async def test_a_timeout_longer_than_the_interval_sends_one_ping(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=2.0, ping_timeout=15.0)
    await trio.sleep(1000)
    assert connection.log == [(2, "ping"), (17, DEAD)]


async def test_without_a_timeout_it_pings_for_ever(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=None)
    await trio.sleep(101)
    assert connection.log == [(at, "ping") for at in (20, 40, 60, 80, 100)]


async def test_without_an_interval_it_never_pings(timers, autojump_clock):
    connection, _ = watch(timers)
    await trio.sleep(80_000)
    assert connection.log == []


async def test_a_ping_behind_data_is_judged_by_what_the_peer_takes(timers, autojump_clock):
    """A pong takes as long as what was sent before the ping; a peer that takes nothing for `ping_timeout` is dead."""
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    connection.backlog = 100_000
    await trio.sleep(20.5)
    for _ in range(10):
        await trio.sleep(4)
        connection.taken += 10_000
    assert connection.log == [(20, "ping")]
    await trio.sleep(1000)
    assert connection.log == [(20, "ping"), (70, DEAD)]


async def test_lone_ping_deadline_ignores_data_taken_by_the_peer(timers, autojump_clock):
    """A system may take data for a program that hangs."""
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    await trio.sleep(21)
    connection.taken += 10_000
    await trio.sleep(1000)
    assert connection.log == [(20, "ping"), (25, DEAD)]


async def test_the_deadline_is_frozen_while_the_peer_is_not_read(timers, autojump_clock):
    """Its pong may sit behind what we do not read. When reading goes on, all its time begins anew.

    Pings go on, since a peer that has left behind what we do not read answers them with a reset.
    """
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    await trio.sleep(22)
    connection.paused = True
    await trio.sleep(1000)
    assert connection.log == [(20, "ping"), *((at, "ping") for at in range(25, 1022, 20))]
    connection.paused = False
    connection.read_time = trio.current_time()
    await trio.sleep(1000)
    pinged, dead = connection.log[-2:]
    assert pinged == (1042, "ping")
    assert dead == (1047, DEAD)


async def test_a_short_pause_leaves_the_next_ping_on_time(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    await trio.sleep(5)
    connection.paused = True
    await trio.sleep(5)
    connection.paused = False
    connection.read_time = trio.current_time()
    await trio.sleep(100)
    assert connection.log == [(30, "ping"), (35, DEAD)]


async def test_a_connection_without_messages_is_retired_as_idle(timers, autojump_clock):
    connection, _ = watch(timers, idle_timeout=60.0)
    await trio.sleep(45)
    connection.message_time = trio.current_time()
    connection.read_time = trio.current_time() + 30  # pongs are no messages
    await trio.sleep(1000)
    assert connection.log == [(105, (1001, "idle timeout"))]


async def test_a_peer_that_is_not_read_is_not_idle(timers, autojump_clock):
    """The time begins anew when reading goes on; a pause for a turn, with nothing to take, does not count."""
    connection, _ = watch(timers, idle_timeout=10.0)
    connection.paused = connection.pending = True
    await trio.sleep(55)
    connection.paused = connection.pending = False
    await trio.sleep(4)
    assert connection.log == []
    connection.paused = True
    await trio.sleep(2)
    assert connection.log == [(60, (1001, "idle timeout"))]


async def test_a_connection_is_retired_at_its_maximum_age_however_busy(timers, autojump_clock):
    connection, _ = watch(timers, max_lifetime=100.0, idle_timeout=30.0)
    for _ in range(200):
        await trio.sleep(1)
        connection.message_time = connection.read_time = trio.current_time()
    assert connection.log == [(100, (1001, "maximum lifetime reached"))]


async def test_one_that_has_ended_is_left_alone(timers, autojump_clock):
    connection, _ = watch(timers, ping_interval=20.0, idle_timeout=30.0, max_lifetime=40.0)
    connection.open = False
    await trio.sleep(1000)
    assert connection.log == []


async def test_one_that_was_stopped_holds_nothing_any_more(timers, autojump_clock):
    connection, keepalive = watch(timers, ping_interval=20.0, idle_timeout=30.0, max_lifetime=50_000.0)
    await trio.sleep(21)
    keepalive.stop()
    await trio.sleep(80_000)
    assert connection.log == [(20, "ping")]
    assert not any(entry.armed for entry in internal(timers, "_heap"))


async def test_unread_arrived_data_counts_before_aborting_the_peer(timers, autojump_clock):
    """As after a loop that was held up: the pong is there, and nobody has read it."""
    connection, _ = watch(timers, ping_interval=20.0, ping_timeout=5.0)
    await trio.sleep(24)
    connection.unread = True
    await trio.sleep(6)
    assert connection.log == [(20, "ping")]
    await trio.sleep(100)
    assert connection.log == [(20, "ping"), (45, "ping"), (50, DEAD)]


async def test_unread_arrived_data_counts_before_idle_timeout(timers, autojump_clock):
    """What has arrived unread counts before a connection is idle."""
    connection, _ = watch(timers, idle_timeout=30.0)
    connection.unread = True
    await trio.sleep(1000)
    assert connection.log == [(60, (1001, "idle timeout"))]
