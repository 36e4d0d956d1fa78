"""`HistoryKeeper`, a subscription that outlives a room's members."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.rooms.backplane import Backplane, Entry

__all__ = ["HistoryKeeper"]


class HistoryKeeper:
    """Keeps the history of an empty room for a time, by a subscription.

    A subscription that begins meanwhile gets its entries.

    Args:
        seconds: after the last member has left; None to keep nothing.
    """

    __slots__ = ("_on_end", "_scope", "_seconds")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._scope: trio.CancelScope | None = None
        self._on_end: Callable[[], None] | None = None

    async def hold(self, nursery: trio.Nursery, backplane: Backplane, room: str, size: int) -> None:
        """Subscribe, if it has not; until `linger`, no time passes.

        Args:
            nursery: runs the task that holds the subscription.
            backplane: the backplane to subscribe to.
            room: the room's topic.
            size: the number of messages that are kept.

        Raises:
            BackplaneUnavailable: the backplane is away, and a bounded time has passed.
        """
        if self._scope is not None and not self._scope.cancel_called:
            self._scope.deadline, self._on_end = math.inf, None
        elif self._seconds is not None:
            await nursery.start(self._run, backplane, room, size)

    def linger(self, on_end: Callable[[], None]) -> bool:
        """Let the time begin; return False if nothing is kept.

        Args:
            on_end: called when the time is over, unless `hold` is called before.
        """
        if self._scope is None or self._scope.cancel_called or self._seconds is None:
            return False
        self._scope.deadline, self._on_end = trio.current_time() + self._seconds, on_end
        return True

    async def _run(self, backplane: Backplane, room: str, size: int, *, task_status: trio.TaskStatus[None]) -> None:
        scope = trio.CancelScope()
        try:
            with scope:
                async with backplane.subscribe(room, _ignore, history=size):
                    self._scope, self._on_end = scope, None
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            if self._scope is scope:
                self._end()

    def _end(self) -> None:
        on_end, self._scope, self._on_end = self._on_end, None, None
        if on_end is not None:
            on_end()


def _ignore(entry: Entry) -> None:
    """Do nothing, as the log of the subscription has the entry."""
