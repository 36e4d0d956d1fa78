"""Calls of an application's callbacks for one room, in order.

They run in a task of the rooms, not in the member's, which may have ended or be cancelled by then.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from inspect import isasyncgenfunction, isawaitable, iscoroutinefunction, isgeneratorfunction, signature
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import attrs
import trio

from trio_ws.errors import LocalProtocolError
from trio_ws.runtime.threads import underlying

__all__ = [
    "PRESENCE_ARGUMENTS",
    "RoomCallbacks",
    "RoomFunctions",
    "RoomGuard",
    "add_leader",
    "check_leader",
    "label_of",
    "register",
]

logger: Final = logging.getLogger("trio_ws")

RoomGuard: TypeAlias = Callable[[Any, Any], Awaitable[None]]
"""Called with the room and a connection that wants to join; raises an error to refuse it."""

PRESENCE_ARGUMENTS: Final = "the room and the members that have come and gone"

Registered = TypeVar("Registered", bound=Callable[..., Any])


class Functions(Protocol):
    """Functions of patterns, for `RoomFunctions.of`."""

    @property
    def on_join(self) -> Sequence[Callable[..., Any]]:
        """Called after each join."""

    @property
    def on_leave(self) -> Sequence[Callable[..., Any]]:
        """Called after each leave."""

    @property
    def on_gap(self) -> Sequence[Callable[..., Any]]:
        """Called when messages were lost."""

    @property
    def leaders(self) -> Sequence[Callable[..., Any]]:
        """Run in one process for each room."""

    @property
    def guards(self) -> Sequence[RoomGuard]:
        """Called before each join."""

    @property
    def on_presence(self) -> Sequence[Callable[..., Any]]:
        """Called when members have come or gone in any process."""


@attrs.define(eq=False)
class RoomFunctions:
    """The application's functions for one room."""

    on_join: list[Callable[..., Any]] = attrs.field(factory=list)
    on_leave: list[Callable[..., Any]] = attrs.field(factory=list)
    on_gap: list[Callable[..., Any]] = attrs.field(factory=list)
    leaders: list[Callable[..., Any]] = attrs.field(factory=list)
    guards: list[RoomGuard] = attrs.field(factory=list)
    on_presence: list[Callable[..., Any]] = attrs.field(factory=list)

    @classmethod
    def of(cls, given: Functions | None) -> RoomFunctions:
        """Return the functions of a new room, to which others can be added."""
        if given is None:
            return cls()
        lists = (given.on_join, given.on_leave, given.on_gap, given.leaders, given.guards, given.on_presence)
        return cls(*map(list, lists))


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


def register(
    callback: Registered, callbacks: list[Any], what: str = "the member and the count", *, once: bool = True
) -> Registered:
    """Add a callback with two arguments to the others, unless it is among them.

    Args:
        callback: the function.
        callbacks: it is added to these.
        what: the arguments, for messages.
        once: refuse another object of the same function: each run of a handler makes one.

    Raises:
        LocalProtocolError: `once` is set, and the function was registered before, as another object.
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
        if once:
            _check_first(callback, callbacks)
        callbacks.append(callback)
    return callback


def check_leader(function: Registered) -> Registered:
    """Check a function that runs once for a room.

    Raises:
        TypeError: it is not `async`, or cannot be called with the room.
    """
    if not iscoroutinefunction(underlying(function)):
        raise TypeError(f"the leader of a room is a task: make {function!r} an async function of the room")
    try:
        signature(function).bind(None)
    except TypeError:
        raise TypeError(f"a room calls {function!r} with one argument, the room: make it take that") from None
    return function


def add_leader(function: Callable[..., Any], leaders: list[Any]) -> bool:
    """Add a function to a room's leaders; return False if it is there.

    Raises:
        LocalProtocolError: there is another one with its name.
        TypeError: as `check_leader` raises it.
    """
    check_leader(function)
    if function in leaders:
        return False
    _check_first(function, leaders)
    if any(label_of(each) == label_of(function) for each in leaders):
        raise LocalProtocolError(
            f"another leader of the room is called {label_of(function)}: processes tell them apart by it"
        )
    leaders.append(function)
    return True


def label_of(function: Callable[..., Any]) -> str:
    """Return the module and qualified name of a function, the same in all processes."""
    written = underlying(function)
    return f"{getattr(written, '__module__', '')}.{getattr(written, '__qualname__', type(written).__qualname__)}"


def _check_first(callback: Callable[..., Any], callbacks: Sequence[Callable[..., Any]]) -> None:
    """Refuse a function that is there as another object: in a handler it would be added for each connection."""
    code = getattr(underlying(callback), "__code__", None)
    if code is not None and any(getattr(underlying(each), "__code__", None) is code for each in callbacks):
        raise LocalProtocolError(
            f"{label_of(callback)} is a callback of this room already, from an earlier run of the code around it: "
            "register it once, outside of handlers, or by app.room_options(pattern, on_join=...) for all such rooms"
        )
