"""A room's nursery and backplane subscription, open while the room has members."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.rooms.backplane import Replay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_ws.rooms.backplane import Backplane, Entry, GapHandler, Log, Subscriber

__all__ = ["CurrentSession", "RoomSession"]

logger: Final = logging.getLogger("trio_ws")


class RoomSession:
    """Holds a subscription and a nursery until `end`.

    The two end independently: a task that is slow to end delays neither the end of the subscription nor new members.

    Args:
        where: the room, for the log.
        deliver: called with each entry of the room's stream until `end`.
        gap: called when entries are lost, until `end`.
    """

    __slots__ = ("_deliver", "_gap", "_subscribed", "_where", "_working", "ended", "leading", "log", "nursery")

    ended: bool
    """Whether `end` was called."""
    log: Log
    """The newest entries."""
    nursery: trio.Nursery
    """Runs tasks while there are members."""
    leading: trio.Nursery
    """Runs the room's leaders, which no error of other tasks ends."""

    def __init__(self, where: str, deliver: Subscriber, gap: GapHandler) -> None:
        self._where = where
        self._deliver = deliver
        self._gap = gap
        self.ended = False
        self._subscribed = trio.CancelScope()
        self._working = trio.CancelScope()

    async def run(
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
            backplane: the backplane to subscribe to.
            room: the room's topic.
            history: the size of the log.
            nursery: runs the task that holds the session's own nursery.
            task_status: for `nursery.start`.

        Raises:
            Exception: the backplane could not be subscribed to.
        """
        try:
            with self._subscribed:
                async with backplane.subscribe(room, self._on_entry, history=history, gap=self._on_gap) as self.log:
                    await nursery.start(self._hold_nurseries, name=f"tasks of {self._where}")
                    task_status.started(self)
                    await trio.sleep_forever()
        finally:
            self.end()

    def _on_entry(self, entry: Entry) -> None:
        if not self.ended:
            self._deliver(entry)

    def _on_gap(self, missed: int | None) -> None:
        if not self.ended:
            self._gap(missed)

    async def _hold_nurseries(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep a nursery open, and replace one that an error has ended."""
        with self._working:
            async with trio.open_nursery() as self.leading:
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

    def replay(self, since: str | None, history: int) -> Replay:
        """Return the entries for a new member: those after an id, else the latest."""
        if since is not None:
            return self.log.since(since)
        messages = tuple(entry for entry in self.log if not entry.order)
        return Replay(messages[max(0, len(messages) - history) :], recovered=True)

    def end(self) -> None:
        """End the subscription, and cancel the tasks."""
        self.ended = True
        self._subscribed.cancel(reason="the last member has left the room")
        self._working.cancel(reason="the last member has left the room")


class CurrentSession:
    """The session of a room, opened by one task at a time."""

    __slots__ = ("_opening", "_session")

    def __init__(self) -> None:
        self._session: RoomSession | None = None
        self._opening: trio.Event | None = None

    @property
    def session(self) -> RoomSession | None:
        """The session; None if there is none, or it has ended."""
        return None if self._session is None or self._session.ended else self._session

    async def get(self, open_session: Callable[[], Awaitable[RoomSession]]) -> RoomSession:
        """Return the session; open one if there is none.

        Args:
            open_session: returns a new session once it is open. It is not kept: a reference to the room would keep it
                from being forgotten.

        Raises:
            Exception: it could not be opened.
        """
        while (session := self.session) is None:
            if self._opening is None:
                await self._open(open_session)
            else:
                await self._opening.wait()
        return session

    async def _open(self, open_session: Callable[[], Awaitable[RoomSession]]) -> None:
        self._opening = trio.Event()
        try:
            self._session = await open_session()
        finally:
            self._opening.set()
            self._opening = None

    def end(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            self._session.end()
            self._session = None
