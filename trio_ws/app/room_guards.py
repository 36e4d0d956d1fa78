"""Guards of rooms, which allow or refuse a join."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from trio_ws.app.errors import RegistrationError
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.signature import Signature
from trio_ws.app.replies import Forbidden
from trio_ws.app.route import dependency_types
from trio_ws.rooms import Room
from trio_ws.runtime.threads import call, underlying

if TYPE_CHECKING:
    from trio_ws.app.parameters.dependencies import Resolver
    from trio_ws.rooms.callbacks import RoomGuard
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["RoomForbidden", "plan_room_guard"]

_ROOM: Final = "room"


class RoomForbidden(Forbidden):
    """A join that a guard of the room has refused.

    It is a reply with 403: a listener that does not catch it sends it, a view is closed with 1008, and before the
    handshake's answer it refuses that.

    Args:
        room: the room's name.
    """

    def __init__(self, room: str) -> None:
        super().__init__({"room": room})

    def _arguments(self) -> tuple[Any, ...]:
        return (self.body["room"],)


def plan_room_guard(function: Callable[..., Any], pattern: str) -> RoomGuard:
    """Return the guard that asks a function of the application.

    Raises:
        RegistrationError: a parameter has no source, or it yields.
    """
    where = f"room_guard({pattern!r})"
    target = underlying(function)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise RegistrationError(f"{where}: {get_label(function)} yields: a guard returns True or False")
    named = callable(function) and _ROOM in inspect.signature(function).parameters
    types = {**dependency_types(), Room: _ROOM}
    provided = frozenset({_ROOM} if named else ())
    signature = Signature.of(function, provided=provided, types=types, where=where)

    async def ask(room: Room, websocket: WebSocket) -> None:
        invocation: Any = websocket.context.invocation
        if invocation is None or invocation.was_admitted(room):
            return
        await _check(signature, room, invocation.resolver)

    return ask


async def _check(signature: Signature, room: Room, resolver: Resolver) -> None:
    """Call a guard, and refuse the join if it returns False.

    Raises:
        RoomForbidden: it answers False; any other error of the guard.
        TypeError: it answers neither True nor False.
    """
    async with resolver.nested() as own:
        own.given = {_ROOM: room}
        args, kwargs = await own.arguments(signature, **{_ROOM: room})
        answer = await call(partial(signature.function, *args, **kwargs), limiter=own.limiters.calls)
    if answer is False:
        raise RoomForbidden(room.name)
    if answer is not True:
        raise TypeError(f"room guard {signature.label} must answer True or False, not {answer!r:.80}")
