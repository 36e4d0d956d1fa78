"""Virtual time that stands still while functions of the application run in threads."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import outcome
import trio
import trio.testing

from trio_ws.runtime.threads import around_calls

__all__ = ["time_held_for_threads"]


@contextmanager
def time_held_for_threads() -> Iterator[None]:
    """Keep an autojump clock from jumping while tasks wait for a thread.

    It affects the tasks that are started in the block. With other clocks it does nothing.
    """
    if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        yield
        return
    token = around_calls.set(_hold)
    try:
        yield
    finally:
        around_calls.reset(token)


async def _hold(run: Callable[[], Awaitable[Any]]) -> Any:
    async with trio.open_nursery() as nursery:
        # Trio's clock does not jump while a task waits for all others to be blocked.
        nursery.start_soon(trio.testing.wait_all_tasks_blocked, math.inf)
        result: outcome.Outcome[Any] = await outcome.acapture(run)
        nursery.cancel_scope.cancel(reason="the thread has ended")
    return result.unwrap()
