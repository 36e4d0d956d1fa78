"""The deadline of a closing connection alone, over a transport and a time limit that are set by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_ws.connection.close_deadline import CloseDeadline
from trio_ws.runtime.timers import Timers


class FakeTransport:
    """A transport and its peer's time in one; `at_look` is what the last look at the socket finds."""

    seen = draining = False
    log = None

    def __init__(self, at_look: Callable[[FakeTransport], None]) -> None:
        self.start = trio.current_time()
        self.deadline: Any = None
        self.pending = True
        self.timeouts: list[tuple[float, bool]] = []
        self.until = 0.0
        self._at_look = at_look

    def restart(self, seconds: float) -> float:
        self.until = trio.current_time() + seconds
        return seconds

    def look(self, source: object = None) -> tuple[float, bool]:
        if source is None:
            self._at_look(self)
        return self.until - trio.current_time(), self.pending

    def on_timeout(self, is_silent: bool) -> None:
        self.timeouts.append((trio.current_time() - self.start, is_silent))


def takes_a_part(peer: FakeTransport) -> None:
    peer.until = max(peer.until, peer.start + 7)


def answers(peer: FakeTransport) -> None:
    peer.deadline.cancel()


@pytest.mark.parametrize(
    ("at_look", "timeouts"),
    [(lambda _: None, [(5.0, False)]), (takes_a_part, [(7.0, False)]), (answers, [])],
    ids=["nothing", "progress", "answer"],
)
async def test_the_last_look_counts_at_the_close_deadline(
    nursery: trio.Nursery, autojump_clock: MockClock, at_look: Any, timeouts: list[tuple[float, bool]]
) -> None:
    """The deadline is met to the second, and what only a read or write without waiting finds is progress too."""
    timers = Timers()
    nursery.start_soon(timers.run)
    peer: Any = FakeTransport(at_look)
    peer.deadline = CloseDeadline(peer, timers, peer)
    peer.deadline.restart(5.0, peer.on_timeout)
    await trio.sleep(100)
    assert peer.timeouts == timeouts
