"""Session: what a room has from its first member's join to its last one's leave: a nursery, and the backplane's ear."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from trio_ws.rooms.backplane import Log

__all__ = ["Session"]

logger: Final = logging.getLogger("trio_ws")


class Session:
    """Holds a subscription and a nursery until `end`.

    Args:
        where: the room, for the log.
        subscription: the room's stream, not subscribed to yet.
        opened: called with this session when both are there.
        closed: called with it when neither is there any more.
    """

    __slots__ = ("_closed", "_opened", "_scope", "_subscription", "_where", "log", "nursery")

    log: Log
    """What was said lately."""
    nursery: trio.Nursery
    """For tasks that run while there are members."""

    def __init__(
        self,
        where: str,
        subscription: AbstractAsyncContextManager[Log],
        opened: Callable[[Session], None],
        closed: Callable[[Session], None],
    ) -> None:
        self._where = where
        self._subscription = subscription
        self._opened = opened
        self._closed = closed
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Hold the session; `started` means that it is open.

        Raises:
            Exception: the backplane could not be subscribed to.
        """
        try:
            with self._scope:
                async with self._subscription as self.log:
                    await self._hold_nursery(task_status)
        finally:
            self._closed(self)

    async def _hold_nursery(self, task_status: trio.TaskStatus[None]) -> None:
        """Keep a nursery open; when an error has ended one, another takes its place."""
        first = True
        while True:
            try:
                async with trio.open_nursery() as self.nursery:
                    if first:
                        first = False
                        self._opened(self)
                        task_status.started()
                    await trio.sleep_forever()
            except* Exception:
                logger.exception("error in a task of %s", self._where)

    def end(self) -> None:
        """Cancel the tasks, and give up the subscription when they have ended."""
        self._scope.cancel(reason="the last member has left the room")
