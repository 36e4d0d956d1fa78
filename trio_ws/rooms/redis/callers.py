"""The tasks that wait for the outcomes of their commands, each for a bounded time.

A cancel scope and an event for each message were a third of the work for it. All callers have the same timeout, so
those that came first expire first, and one task looks after them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from trio_ws.runtime.wakeup import RESUME, AutoResetEvent

if TYPE_CHECKING:
    from trio_ws.rooms.redis.command import QueuedCommand

__all__ = ["WaitingCallers"]


class WaitingCallers:
    """Tasks that wait for commands, in the order in which they expire."""

    def __init__(self) -> None:
        self._tasks: dict[QueuedCommand, trio.lowlevel.Task] = {}
        self._arrival = AutoResetEvent()
        self._scope = trio.CancelScope(shield=True)
        self._has_ended = False

    async def wait(self, command: QueuedCommand) -> None:
        """Wait until a command is settled, or its time has passed, or all ends."""
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

    def wake(self, command: QueuedCommand) -> None:
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
