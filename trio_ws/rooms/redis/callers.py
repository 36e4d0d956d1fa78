"""The tasks that wait for the outcomes of their commands, or for rooms to be opened, each for a bounded time.

A cancel scope and an event for each message were a third of the work for it. All callers have the same timeout, so
those that came first expire first, and one task looks after them.
"""

from __future__ import annotations

from typing import Protocol

import trio

from trio_ws.runtime.wakeup import RESUME, AutoResetEvent

__all__ = ["Expiring", "WaitingCallers"]


class Expiring(Protocol):
    """Something that a task waits for."""

    expires_at: float
    """Trio's time from which on the task waits no longer."""

    @property
    def is_expired(self) -> bool:
        """Whether that time has passed."""


class WaitingCallers:
    """Tasks that wait for commands and subscriptions, in the order in which they expire."""

    def __init__(self) -> None:
        self._tasks: dict[Expiring, trio.lowlevel.Task] = {}
        self._arrival = AutoResetEvent()
        self._scope = trio.CancelScope(shield=True)
        self._has_ended = False

    async def wait(self, command: Expiring) -> None:
        """Wait until `wake` is called for a command, or its time has passed, or all ends."""
        if self._has_ended:
            await trio.lowlevel.checkpoint()
            return
        if not self._tasks:
            self._arrival.wake()
        self._tasks[command] = trio.lowlevel.current_task()

        def abort(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            del self._tasks[command]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self, command: Expiring) -> None:
        """Wake the caller of a command, if it still waits."""
        task = self._tasks.pop(command, None)
        if task is not None:
            trio.lowlevel.reschedule(task, RESUME)

    async def run(self) -> None:
        """Wake callers whose time has passed, until `end`."""
        with self._scope:
            while True:
                first = next(iter(self._tasks), None)
                if first is None:
                    await self._arrival.sleep()
                elif first.is_expired:
                    self.wake(first)
                else:
                    await trio.sleep_until(first.expires_at)

    def end(self) -> None:
        """End `run`, and wake all."""
        self._has_ended = True
        self._scope.cancel(reason="the backplane ends")
        for command in [*self._tasks]:
            self.wake(command)
