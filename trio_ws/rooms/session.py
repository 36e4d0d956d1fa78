"""Session: what a room has from its first member's join to its last one's leave: a nursery, and the backplane's ear."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from trio_ws.rooms.backplane import Backplane, Entry, GapHandler, Log, Subscriber

__all__ = ["RoomSession"]

logger: Final = logging.getLogger("trio_ws")


class RoomSession:
    """Holds a subscription and a nursery until `end`.

    The two end apart: a task that is slow to end keeps no subscription, and no member from joining again meanwhile.

    Args:
        where: the room, for the log.
        deliver: called with each entry of the room's stream until `end`.
        gap: called when entries are lost, until `end`.
    """

    __slots__ = ("_deliver", "_gap", "_listening", "_where", "_working", "ended", "log", "nursery")

    ended: bool
    """Whether `end` was called."""
    log: Log
    """What was said lately."""
    nursery: trio.Nursery
    """For tasks that run while there are members."""

    def __init__(self, where: str, deliver: Subscriber, gap: GapHandler) -> None:
        self._where = where
        self._deliver = deliver
        self._gap = gap
        self.ended = False
        self._listening = trio.CancelScope()
        self._working = trio.CancelScope()

    async def listen(
        self,
        backplane: Backplane,
        room: str,
        history: int,
        nursery: trio.Nursery,
        *,
        task_status: trio.TaskStatus[RoomSession],
    ) -> None:
        """Hold the session; `started` returns it when it is open.

        Args:
            backplane: where to subscribe.
            room: the room's name.
            history: the size of the log.
            nursery: runs the task that holds the session's own nursery.
            task_status: for `nursery.start`.

        Raises:
            Exception: the backplane could not be subscribed to.
        """
        try:
            with self._listening:
                async with backplane.subscribe(room, self._hear, history=history, gap=self._miss) as self.log:
                    await nursery.start(self._work, name=f"tasks of {self._where}")
                    task_status.started(self)
                    await trio.sleep_forever()
        finally:
            self.end()

    def _hear(self, entry: Entry) -> None:
        if not self.ended:
            self._deliver(entry)

    def _miss(self, missed: int | None) -> None:
        if not self.ended:
            self._gap(missed)

    async def _work(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep a nursery open; when an error has ended one, another takes its place."""
        with self._working:
            await self._hold_nursery(task_status)
            while True:
                await self._hold_nursery(trio.TASK_STATUS_IGNORED)

    async def _hold_nursery(self, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with trio.open_nursery() as self.nursery:
                task_status.started()
                await trio.sleep_forever()
        except* Exception:
            logger.exception("error in a task of %s", self._where)

    def end(self) -> None:
        """Hear nothing more, and cancel the tasks."""
        self.ended = True
        self._listening.cancel(reason="the last member has left the room")
        self._working.cancel(reason="the last member has left the room")
