"""The rooms that a route's connections are in, from the option `rooms=`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.parameters.annotations import get_label
from trio_ws.app.parameters.signature import Signature
from trio_ws.rooms import Membership, Room
from trio_ws.rooms.topics import check_name
from trio_ws.runtime.threads import call, underlying

if TYPE_CHECKING:
    from trio_ws.app.parameters.dependencies import Resolver
    from trio_ws.http.request import Request

__all__ = ["PlannedRoom", "RoomSource", "parse_rooms"]

RoomSource: TypeAlias = "str | Room | Callable[..., Any]"
"""A name with parameters of the path in braces, `"board:{board_id}"`; a room; or a function, with parameters as a
handler's, that returns a name, a room, what `room.join(ws, ...)` returns, several of these, or None."""

Joined: TypeAlias = "str | Room | Membership"

_PLACE: Final = re.compile(r"\{([^{}]*)\}")


def parse_rooms(value: Iterable[RoomSource]) -> tuple[RoomSource, ...]:
    """Return the checked value of `rooms=`.

    Raises:
        TypeError: it is no list of names, rooms and functions.
    """
    if isinstance(value, str | Room) or callable(value):
        raise TypeError(f"rooms takes a list: write rooms=[{value!r}]")
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise TypeError(f"rooms takes a list of names, rooms and functions, not {value!r}")
    sources = tuple(value)
    for source in sources:
        if not (isinstance(source, str | Room) or callable(source)):
            raise TypeError(f"rooms takes names, rooms and functions that return them, not {source!r}")
    return sources


@attrs.frozen(eq=False, repr=False)
class PlannedRoom:
    """One item of `rooms=`, and what it is made of."""

    source: RoomSource
    names: tuple[str, ...]
    """The parameters of the path in a name."""
    signature: Signature | None
    """Of a function."""

    @classmethod
    def of(
        cls,
        source: RoomSource,
        *,
        path_names: Mapping[str, type[Any] | None],
        types: Mapping[type[Any], str],
        where: str,
    ) -> PlannedRoom:
        """Plan how the room of a connection is found.

        Raises:
            RegistrationError: a parameter has no source.
        """
        if isinstance(source, Room):
            return cls(source, (), None)
        if not isinstance(source, str):
            target = underlying(source)
            if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
                raise RegistrationError(f"{where}: rooms: {get_label(source)} yields: return a list of rooms")
            return cls(source, (), Signature.of(source, path_names=path_names, types=types, where=where))
        names = tuple(_PLACE.findall(source))
        unknown = [name for name in names if name not in path_names]
        if unknown or set(_PLACE.sub("", source)) & set("{}"):
            known = ", ".join(f"{{{name}}}" for name in path_names) or "no parameters"
            raise RegistrationError(f"{where}: room {source!r} has {{names}} of the path, which has {known}")
        return cls(source, names, None)

    async def find(self, resolver: Resolver, request: Request) -> list[Joined]:
        """Return the rooms of a connection, with names for those that are not made yet.

        Raises:
            ParameterError: no room can have the name.
            Exception: raised by the function.
            TypeError: it returned something else.
        """
        found: Any = self.source
        if self.signature is not None:
            args, kwargs = await resolver.arguments(self.signature)
            found = await call(partial(self.signature.function, *args, **kwargs), limiter=resolver.limiters.calls)
        elif isinstance(found, str):
            values = request.path_parameters
            found = _PLACE.sub(lambda place: str(values[place[1]]), found)
        return [self._checked(each) for each in _listed(found)]

    def _checked(self, found: Any) -> Joined:
        if isinstance(found, str):
            try:
                check_name(found)
            except ValueError as error:
                raise ParameterError([ErrorDetail(("path", *self.names[:1]), "room_name", str(error))]) from None
            return found
        if not isinstance(found, Room | Membership):
            raise TypeError(f"rooms: {self.source!r} returned {found!r:.80}, which is neither a room nor its name")
        return found


def _listed(found: Any) -> Iterable[Any]:
    if found is None:
        return ()
    return [found] if isinstance(found, str | bytes) or not isinstance(found, Iterable) else found
