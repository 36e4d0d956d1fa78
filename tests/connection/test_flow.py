"""The send timeout alone, over a buffer and a measure of progress that are set by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from trio_ws.connection.flow import FlowControl
from trio_ws.runtime.timers import Timers


class FakeSender:
    """A full buffer, its user and its progress in one; `at_refresh` is what the last look finds."""

    def __init__(self, at_refresh: Callable[[FakeSender], None] = lambda _: None) -> None:
        self.start = self.time = trio.current_time()
        self.full = self.accepts = True
        self.log = None
        self.stalled: list[float] = []
        self._at_refresh = at_refresh

    async def wait(self) -> None:
        raise NotImplementedError

    def measure_progress(self) -> FakeSender:
        self.time = trio.current_time()
        return self

    def look(self, _: float) -> float:
        return self.time

    def refresh(self) -> None:
        self._at_refresh(self)

    def on_stalled(self) -> None:
        self.stalled.append(trio.current_time() - self.start)


def takes_a_part(sender: FakeSender) -> None:
    sender.time = max(sender.time, sender.start + 1)


def makes_room(sender: FakeSender) -> None:
    sender.full = False


@pytest.mark.parametrize(
    ("at_refresh", "stalled"),
    [(lambda _: None, [6.0]), (takes_a_part, [7.0]), (makes_room, [])],
    ids=["nothing", "progress", "room"],
)
async def test_the_last_look_counts_at_the_deadline(
    nursery: trio.Nursery, autojump_clock: MockClock, at_refresh: Callable[[FakeSender], None], stalled: list[float]
) -> None:
    """The deadline is met to the second, and what only a read or write without waiting finds is progress too."""
    timers = Timers()
    nursery.start_soon(timers.run)
    sender = FakeSender(at_refresh)
    flow = FlowControl(sender, sender, timers, 6.0)
    flow.watch()
    await trio.sleep(100)
    assert sender.stalled == stalled


async def test_a_buffer_that_fills_anew_has_all_its_time_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    timers = Timers()
    nursery.start_soon(timers.run)
    sender = FakeSender()
    flow = FlowControl(sender, sender, timers, 6.0)
    flow.watch()
    sender.full = False
    await trio.sleep(4)
    sender.full = True
    flow.watch()
    await trio.sleep(100)
    assert sender.stalled == [10.0]
