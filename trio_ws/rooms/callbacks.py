"""Calls of an application's callbacks for one room, in order.

They run in a task of the rooms, not in the member's, which may have ended or be cancelled by then.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from inspect import isasyncgenfunction, isawaitable, isgeneratorfunction, signature
from typing import Any, Final, TypeVar

import trio

__all__ = ["RoomCallbacks", "register"]

logger: Final = logging.getLogger("trio_ws")

Registered = TypeVar("Registered", bound=Callable[..., Any])


class RoomCallbacks:
    """The due calls of one room, and the task that makes them.

    Args:
        where: the room, for the log.
        timeout: seconds that one call may take.
    """

    __slots__ = ("_due", "_timeout", "_where", "_working")

    def __init__(self, where: str, timeout: float) -> None:
        self._due: deque[tuple[Callable[..., Any], tuple[object, ...]]] = deque()
        self._where = where
        self._timeout = timeout
        self._working = False

    def add(self, callbacks: Sequence[Callable[..., Any]], nursery: trio.Nursery | None, *arguments: object) -> None:
        """Add a call of each callback.

        Args:
            callbacks: the functions to call.
            nursery: runs the calls; None if the rooms have ended, so that no callback runs any more.
            arguments: of the calls: the member and the number of members, say.
        """
        if not callbacks:
            return
        if nursery is None:
            logger.warning("a member of %s came or went after the rooms had ended, no callback runs", self._where)
            return
        self._due.extend((callback, arguments) for callback in callbacks)
        if not self._working:
            self._working = True
            nursery.start_soon(self._work, name=f"callbacks of {self._where}")

    async def _work(self) -> None:
        try:
            while self._due:
                await self._call(*self._due.popleft())
        finally:
            self._working = False
            if self._due:
                logger.warning("the rooms ended before %d callbacks of %s could run", len(self._due), self._where)
                self._due.clear()

    async def _call(self, callback: Callable[..., Any], arguments: tuple[object, ...]) -> None:
        """Make one call, and log its error or timeout."""
        with trio.move_on_after(self._timeout) as scope:
            try:
                result = callback(*arguments)
                if isawaitable(result):
                    await result
            except Exception:
                logger.exception("error in a callback of %s", self._where)
        if scope.cancelled_caught:
            logger.warning("a callback of %s took longer than %g s and was cancelled", self._where, self._timeout)


def register(callback: Registered, callbacks: list[Any], what: str = "the member and the count") -> Registered:
    """Add a callback with two arguments to others, unless it is there.

    Raises:
        TypeError: it cannot take two arguments, or is a generator function, whose body a call does not run.
    """
    if isgeneratorfunction(callback) or isasyncgenfunction(callback):
        raise TypeError(f"a room calls {callback!r}, which only makes a generator: make it a function without yield")
    try:
        signature(callback).bind(None, 0)
    except TypeError:
        problem = f"a room calls {callback!r} with two arguments, {what}: make it take them"
        raise TypeError(problem) from None
    except ValueError:
        pass  # a builtin without a signature
    if callback not in callbacks:
        callbacks.append(callback)
    return callback
