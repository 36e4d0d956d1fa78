"""Timers alone: when deadlines are called, in which order, and what they keep in memory."""

from __future__ import annotations

import gc
import math
import weakref

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from support.internals import internal
from trio.testing import MockClock

from trio_ws.runtime.log import ConnectionLog
from trio_ws.runtime.timers import SWEEP_FROM, TimeoutQueue, Timers


@pytest.fixture
async def timers(nursery):
    timers = Timers()
    nursery.start_soon(timers.run)
    await trio.testing.wait_all_tasks_blocked()
    return timers


@given(st.lists(st.integers(0, 20)))
def test_deadlines_are_called_on_time_and_in_order(delays):
    called: list[tuple[float, int]] = []

    async def main() -> None:
        timers = Timers()
        start = trio.current_time()
        for number, delay in enumerate(delays):
            timers.call_later(delay, lambda number=number: called.append((trio.current_time() - start, number)))
        with trio.move_on_after(30):
            await timers.run()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert called == sorted((float(delay), number) for number, delay in enumerate(delays))


async def test_a_nearer_deadline_wakes_the_task_in_time(timers, autojump_clock):
    start, called = trio.current_time(), []
    timers.call_later(10, lambda: called.append(trio.current_time() - start))
    await trio.sleep(1)
    timers.call_later(2, lambda: called.append(trio.current_time() - start))
    await trio.sleep(20)
    assert called == [3, 10]


async def test_a_cancelled_deadline_is_not_called(timers, autojump_clock):
    called = []
    first = timers.call_later(1, lambda: called.append("first"))
    timers.call_later(2, lambda: called.append("second"))
    first.cancel()
    first.cancel()
    await trio.sleep(5)
    assert called == ["second"]


async def test_never_is_never(timers, autojump_clock):
    timer = timers.call_later(math.inf, lambda: pytest.fail("called"))
    await trio.sleep(80_000)
    timer.cancel()


async def test_a_callback_may_arm_the_next_and_cancel_others(timers, autojump_clock):
    called = []

    def again() -> None:
        called.append(trio.current_time())
        other.cancel()
        if len(called) < 3:
            timers.call_later(1, again)

    start = trio.current_time()
    timers.call_later(1, again)
    other = timers.call_later(1, lambda: pytest.fail("cancelled by the one before"))
    await trio.sleep(10)
    assert called == [start + 1, start + 2, start + 3]


async def test_a_callback_that_raises_does_not_end_the_others(timers, caplog, autojump_clock):
    def fail() -> None:
        raise MemoryError

    later = trio.Event()
    timers.call_later(1, fail)
    timers.call_later(1, later.set)
    with trio.fail_after(2):
        await later.wait()
    (record,) = caplog.records
    assert record.exc_info[0] is MemoryError


@pytest.mark.slow
async def test_what_a_cancelled_deadline_held_is_let_go_at_once(timers, autojump_clock):
    class Thing:
        def call(self) -> None:
            pytest.fail("cancelled")

    thing = Thing()
    gone = weakref.ref(thing)
    timer = timers.call_later(1e6, thing.call)
    timer.cancel()
    del thing
    gc.collect()
    assert gone() is None


async def test_cancelled_deadlines_do_not_pile_up(timers, autojump_clock):
    """Ten thousand connections that came and went leave a heap of the size of those that stayed."""
    stay = [timers.call_later(1e6, lambda: None) for _ in range(SWEEP_FROM)]
    for _ in range(10_000):
        timers.call_later(1e6, lambda: pytest.fail("cancelled")).cancel()
    assert len(internal(timers, "_heap")) <= 2 * SWEEP_FROM + 1
    called = []
    timers.call_later(1, lambda: called.append("still in order"))
    await trio.sleep(2)
    assert called == ["still in order"]
    assert sum(entry in stay for entry in internal(timers, "_heap")) == SWEEP_FROM


async def test_many_live_deadlines_are_all_kept(timers, autojump_clock):
    called = []
    for number in range(1000):
        timers.call_later(1 + number % 7, lambda number=number: called.append(number))
    await trio.sleep(10)
    assert sorted(called) == list(range(1000))


# --- deadlines of one length ----------------------------------------------------------------------------------------


class Waiting:
    """Who notes when it was too late; it may raise, or want to be asked again so many times."""

    def __init__(self, error: Exception | None = None, again: int = 0) -> None:
        self.log = ConnectionLog(7, None)
        self.again = again
        self.error = error
        self.late: list[float] = []

    def on_timeout(self, since: float) -> bool:
        self.late.append(trio.current_time())
        if self.error is not None:
            raise self.error
        self.again -= 1
        return self.again < 0


async def test_queue_entries_have_own_deadlines_and_removed_have_none(timers, autojump_clock, caplog):
    """In a queue each has its own time and who was removed has none."""
    queue = TimeoutQueue(timers, 10)
    start = trio.current_time()
    first, in_time, second, failing, last = Waiting(), Waiting(), Waiting(), Waiting(ValueError()), Waiting()
    queue.add(first)
    assert queue.deadline(first) == start + 10
    await trio.sleep(4)
    queue.add(in_time)
    queue.add(second)
    queue.add(failing)
    queue.add(last)
    await trio.sleep(1)
    queue.remove(in_time)
    queue.remove(in_time)
    await trio.sleep(50)
    assert [each.late for each in (first, in_time, second, failing, last)] == [
        [start + 10], [], [start + 14], [start + 14], [start + 14]
    ]  # fmt: skip
    assert [str(record.args) for record in caplog.records] == ["('#7 from unknown',)"]
    assert len(internal(timers, "_heap")) == 0
    assert queue.deadline(first) == -math.inf
    queue.add(first)
    await trio.sleep(50)
    assert len(first.late) == 2


async def test_an_entry_that_is_added_anew_delays_no_other(timers, autojump_clock):
    queue = TimeoutQueue(timers, 10)
    anew, other = Waiting(), Waiting()
    start = trio.current_time()
    queue.add(anew)
    queue.add(other)
    await trio.sleep(5)
    queue.add(anew)
    await trio.sleep(50)
    assert (other.late, anew.late) == ([start + 10], [start + 15])


async def test_queue_keeps_no_finished_entries_and_has_one_timer(timers, autojump_clock):
    """A queue keeps nothing of those who came in time and has one timer."""
    queue = TimeoutQueue(timers, 10)
    for _ in range(1000):
        waiting = Waiting()
        queue.add(waiting)
        queue.remove(waiting)
    gone = weakref.ref(waiting)
    del waiting
    assert gone() is None
    assert len(internal(timers, "_heap")) == 1


async def test_in_a_queue_without_an_end_nobody_is_too_late(timers, autojump_clock):
    queue = TimeoutQueue(timers, math.inf)
    waiting = Waiting()
    queue.add(waiting)
    assert queue.deadline(waiting) == math.inf
    await trio.sleep(80_000)
    assert waiting.late == []


async def test_in_a_queue_who_is_asked_again_waits_for_the_next_turn(timers, autojump_clock):
    queue = TimeoutQueue(timers, 10)
    first, second = Waiting(again=2), Waiting()
    queue.add(first)
    await trio.sleep(1)
    queue.add(second)
    await trio.sleep(20)
    assert [time - first.late[0] for time in first.late] == [0, 0, 0]
    assert second.late == [first.late[0] + 1]


async def test_a_queue_has_one_timer_also_when_the_late_come_back(timers, autojump_clock):
    """Each gets its time anew when it is too late, as a request does that was read only then."""
    queue = TimeoutQueue(timers, 10)

    class Returning(Waiting):
        def on_timeout(self, since: float) -> bool:
            queue.add(self)
            return super().on_timeout(since)

    for _ in range(3):
        queue.add(Returning())
        await trio.sleep(1)
    await trio.sleep(100)
    assert sum(entry.armed for entry in internal(timers, "_heap")) == 1
