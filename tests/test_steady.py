"""The tests' own clock: a stopped process and a busy machine do not make deadlines pass."""

from __future__ import annotations

import time

import pytest
import trio
import trio.lowlevel
from support.steady import MOST, SteadyClock


class System:
    """A system's clock, set by hand."""

    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


def test_a_sleep_counts_whole_and_a_stop_behind_it_little() -> None:
    system = System()
    clock = SteadyClock(system)
    assert clock.deadline_to_sleep_time(2.0) == 2.0
    system.now += 7.0
    assert clock.current_time() == pytest.approx(2.0 + MOST)


def test_a_sleep_ended_early_counts_as_long_as_it_was() -> None:
    system = System()
    clock = SteadyClock(system)
    clock.deadline_to_sleep_time(2.0)
    system.now += 0.5
    assert clock.current_time() == pytest.approx(0.5)
    system.now += 0.5
    assert clock.current_time() == pytest.approx(0.5 + MOST)


async def test_async_tests_run_by_it() -> None:
    assert isinstance(trio.lowlevel.current_clock(), SteadyClock)
    with trio.fail_after(0.2):
        time.sleep(0.4)  # noqa: ASYNC251 - as a process that is stopped
        await trio.lowlevel.checkpoint()


async def test_a_test_may_bring_another_clock(autojump_clock) -> None:
    assert trio.lowlevel.current_clock() is autojump_clock
