"""Callbacks: what a room tells the application of its members, one thing at a time and in order.

They run in a task of the rooms' own, not in the member's, which may be gone or cancelled by then.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from inspect import isasyncgenfunction, isawaitable, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import trio

if TYPE_CHECKING:
    from trio_ws.rooms.member import Member
    from trio_ws.rooms.room import Room

__all__ = ["Callback", "GapCallback", "RoomCallbacks", "register"]

logger: Final = logging.getLogger("trio_ws")

Callback: TypeAlias = "Callable[[Member, int], Awaitable[object] | object]"
"""Is called with the member and the room's number of members right after it joined or left."""

GapCallback: TypeAlias = "Callable[[Room, int | None], Awaitable[object] | object]"
"""Is called with the room and the number of messages that are lost, None if nobody knows."""

Registered = TypeVar("Registered", bound=Callable[..., Any])


class RoomCallbacks:
    """The calls of one room that are due, and the task that makes them while there are any.

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
        """Call each of `callbacks` in its turn.

        Args:
            callbacks: what to call.
            arguments: what to call them with: who joined or left, say, and the number of members after that.
            nursery: runs the calls; None if the rooms have ended, and nobody makes them any more.
        """
        if not callbacks:
            return
        if nursery is None:
            logger.warning("a member of %s came or went after the rooms had ended: no callback runs", self._where)
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
        """Make one call; an error in it, or its taking too long, is a line in the log and nothing else."""
        with trio.move_on_after(self._timeout) as scope:
            try:
                result = callback(*arguments)
                if isawaitable(result):
                    await result
            except Exception:
                logger.exception("error in a callback of %s", self._where)
        if scope.cancelled_caught:
            logger.warning("a callback of %s took longer than %g s: it was cancelled", self._where, self._timeout)


def register(callback: Registered, callbacks: list[Any], what: str = "the member and the count") -> Registered:
    """Add a callback to others, if it is not there and can be called with two arguments.

    Raises:
        TypeError: it cannot, or is a generator function, whose body a call does not run.
    """
    if isgeneratorfunction(callback) or isasyncgenfunction(callback):
        raise TypeError(f"a room calls {callback!r}, which only makes a generator: make it a function without yield")
    try:
        signature(callback).bind(None, 0)
    except TypeError:
        problem = f"a room calls {callback!r} with two arguments, {what}: make it take them"
        raise TypeError(problem) from None
    except ValueError:
        pass  # a builtin that does not say what it takes
    if callback not in callbacks:
        callbacks.append(callback)
    return callback
