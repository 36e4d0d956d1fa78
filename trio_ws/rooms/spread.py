"""Several backplanes, each of which carries a part of the rooms."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from trio_ws.rooms.backplane import Backplane, GapHandler, Log, Presence, ignore_gap
from trio_ws.rooms.memory import MemoryBackplane

if TYPE_CHECKING:
    import trio

    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.backplane import Entry, Subscriber
    from trio_ws.runtime.token_bucket import Allowance

__all__ = ["BackplaneOption", "SpreadBackplane", "named_backplanes", "to_backplane"]

BackplaneOption: TypeAlias = "Backplane | str | Sequence[str] | None"
"""A backplane, the URL of a Redis, those of several, or None for rooms within a process."""

_ROOMS: Final = 4096
"""Rooms of which the place is remembered: it takes a hash for each backplane to find it."""


class SpreadBackplane(Backplane):
    """Backplanes that share the rooms, for more messages than one Redis carries.

    A room is where the hash of its name and the backplane's is greatest (rendezvous hashing), the same in all processes
    that have the same names. With one name more or less, only the rooms of that one have another place. What happens
    to one backplane concerns its rooms only; all are needed at the start.

    Args:
        backplanes: the URLs of Redis servers, each of which is named by its host, port and database; or backplanes or
            URLs by names of your own.

    Raises:
        ImportError: a URL is given, and coredis is not installed.
        TypeError: it is neither, or has something else among it.
        ValueError: there is none, one is given twice, or a URL makes no sense.

    Example:
        two = RedisBackplane("redis://two.example", wait=True)
        app = App(backplane=SpreadBackplane({"one": "redis://one.example", "two": two}))
    """

    def __init__(self, backplanes: Sequence[str] | Mapping[str, Backplane | str]) -> None:
        named = named_backplanes(backplanes)
        if not named:
            raise ValueError("there is no backplane to spread rooms over: give the URL of one Redis at least")
        self.backplanes: Mapping[str, Backplane] = {name: to_backplane(each) for name, each in named.items()}
        if len({*map(id, self.backplanes.values())}) < len(self.backplanes):
            raise ValueError("a backplane has one name: it was given with two")
        self._find = lru_cache(_ROOMS)(self._find_by_weight)

    def backplane_of(self, room: str) -> Backplane:
        """Return the backplane that carries a room.

        Args:
            room: the room's topic.
        """
        return self._find(room)

    def _find_by_weight(self, room: str) -> Backplane:
        def weight(name: str) -> bytes:
            return blake2b(f"{name}\0{room}".encode(), digest_size=16).digest()

        return self.backplanes[max(self.backplanes, key=weight)]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run all backplanes.

        Raises:
            BackplaneUnavailable: one of them is away.
            BackplaneRefused: one of them does not let us in.
            LocalProtocolError: one of them is running.
        """
        async with AsyncExitStack() as stack:
            for backplane in self.backplanes.values():
                await stack.enter_async_context(backplane.running())
            yield

    async def publish(
        self, room: str, message: PreparedMessage, exclude: frozenset[str], *, key: str = "", order: bool = False
    ) -> str:
        """Append a message to a room's stream; see `Backplane.publish`."""
        given: dict[str, Any] = {**({"key": key} if key else {}), **({"order": order} if order else {})}
        return await self.backplane_of(room).publish(room, message, exclude, **given)

    def subscribe(
        self, room: str, deliver: Subscriber, *, history: int, gap: GapHandler = ignore_gap
    ) -> AbstractAsyncContextManager[Log]:
        """Subscribe to a room's stream; see `Backplane.subscribe`."""
        return self.backplane_of(room).subscribe(room, deliver, history=history, gap=gap)

    async def sync(self, room: str) -> None:
        """Wait until a room's stream was received; see `Backplane.sync`."""
        await self.backplane_of(room).sync(room)

    def enter(self, room: str, member: Presence) -> None:
        """Add a member to a room's presence."""
        self.backplane_of(room).enter(room, member)

    def leave(self, room: str, member: str) -> None:
        """Remove a member from a room's presence."""
        self.backplane_of(room).leave(room, member)

    def presence_change(self, room: str) -> trio.Event:
        """Return an event that a change of a room's presence sets."""
        return self.backplane_of(room).presence_change(room)

    async def presence(self, room: str) -> tuple[Presence, ...]:
        """Return a room's members in all processes."""
        return await self.backplane_of(room).presence(room)

    async def count(self, room: str) -> int:
        """Return the number of a room's members in all processes."""
        return await self.backplane_of(room).count(room)

    async def history(
        self, room: str, after: str | float | None, before: str | float | None, limit: int
    ) -> Sequence[Entry]:
        """Return entries of a room's stream; see `Backplane.history`."""
        return await self.backplane_of(room).history(room, after, before, limit)

    async def lease(self, room: str, name: str, holder: str, seconds: float) -> bool:
        """Take or keep a place; see `Backplane.lease`."""
        return await self.backplane_of(room).lease(room, name, holder, seconds)

    async def release(self, room: str, name: str, holder: str) -> None:
        """Give a place back; see `Backplane.release`."""
        await self.backplane_of(room).release(room, name, holder)

    async def spend(self, account: str, allowance: Allowance, size: int, *, in_debt: bool) -> float:
        """Spend from an account of all processes; see `Backplane.spend`."""
        return await self.backplane_of(account).spend(account, allowance, size, in_debt=in_debt)


def named_backplanes(backplanes: object) -> Mapping[str, Backplane | str]:
    """Return backplanes by names, those of URLs by host, port and database.

    Raises:
        TypeError: it is neither a list of URLs nor a dictionary.
        ValueError: a URL is given twice.
    """
    if isinstance(backplanes, Mapping):
        for name in backplanes:
            if not isinstance(name, str):
                raise TypeError(f"the name of a backplane is text, not {type(name).__name__}: {name!r:.80}")
        return backplanes
    if isinstance(backplanes, str) or not isinstance(backplanes, Sequence):
        raise TypeError(f"backplanes are a list of URLs, or are named by a dictionary, not {backplanes!r:.80}")
    named: dict[str, Backplane | str] = {}
    for url in backplanes:
        if not isinstance(url, str):
            raise TypeError(
                f"a list has URLs; other backplanes need names, SpreadBackplane({{'name': backplane}}): {url!r:.80}"
            )
        parts = urlsplit(url)
        name = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
        if name in named:
            raise ValueError(f"a list has one URL of each Redis, {name!r:.80} is there twice")
        named[name] = url
    return named


def to_backplane(given: BackplaneOption) -> Backplane:
    """Return the backplane that an option means.

    Raises:
        ImportError: a URL is given, and coredis is not installed.
        TypeError: it is no such option.
        ValueError: a URL makes no sense.
    """
    if given is None:
        return MemoryBackplane()
    if isinstance(given, str):
        from trio_ws.rooms.redis import RedisBackplane  # noqa: PLC0415 - an extra

        return RedisBackplane(given)
    if isinstance(given, list | tuple):
        return SpreadBackplane(given)
    if not isinstance(given, Backplane):
        raise TypeError(f"backplane= takes a URL or a Backplane, not {type(given).__name__}: {given!r:.80}")
    return given
