"""The loop in a thread in which client and server of a plain test run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from trio_ws.runtime.loop_thread import LoopThread
from trio_ws.testing.clock import time_passing

if TYPE_CHECKING:
    import trio.testing

__all__ = ["BlockingPortal"]

T = TypeVar("T")


class BlockingPortal(LoopThread):
    """A Trio loop that runs in a thread for a block: `with BlockingPortal() as portal`.

    Args:
        clock: a clock of `held_clock`, by which time passes only during calls; None for real time.

    Raises:
        RuntimeError: this thread runs a Trio loop, which the block would stop.
    """

    def __init__(self, clock: trio.testing.MockClock | None = None) -> None:
        super().__init__("trio_ws portal", clock)
        self._clock = clock
        self._calls: list[object] = []  # those in which time passes

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an async function in the loop; return its value or raise its error."""
        result: T = super().run(self._call, partial(function, *args))
        return result

    async def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        with time_passing(self._clock, self._calls):
            return await function()
