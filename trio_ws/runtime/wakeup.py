"""Cheap waking of a task, and a place for it to sleep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

__all__ = ["RESUME", "AutoResetEvent"]


class _Resume(Outcome[None]):
    """The one outcome, None, of all waits for a wake-up.

    Trio's default is made for each wait, and records that it was used: that was a tenth of all the instructions for a
    message that its handler waits for.
    """

    __slots__ = ()

    def unwrap(self) -> None:
        """Return nothing."""

    def send(self, gen: Generator[Any, None, object]) -> Any:
        """Continue a generator."""
        return gen.send(None)

    async def asend(self, agen: AsyncGenerator[Any, None]) -> Any:
        """Continue an asynchronous generator."""
        return await agen.asend(None)


RESUME: Final = _Resume()


class AutoResetEvent:
    """A place where one task sleeps until another wakes it."""

    __slots__ = ("_sleeper",)

    def __init__(self) -> None:
        self._sleeper: trio.lowlevel.Task | None = None

    async def sleep(self) -> None:
        """Sleep until `wake`."""
        self._sleeper = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def wake(self) -> None:
        """Wake the sleeping task, if there is one."""
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            trio.lowlevel.reschedule(sleeper, RESUME)
