"""A hall: rooms, and a server in memory whose connections the test holds at both ends."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio
from support.networks import dial, serving
from trio.testing import wait_all_tasks_blocked

from trio_ws import Timeouts, WebSocket
from trio_ws.rooms import Backplane, Rooms
from trio_ws.testing import MemoryNetwork, RawFrame, RawPeer

CALM = Timeouts(ping_interval=None, send_timeout=None)


class Guest(NamedTuple):
    """One connection: the server's end and the client's."""

    websocket: WebSocket
    peer: RawPeer

    async def heard(self, count: int) -> list[str]:
        """Return the text of the next `count` messages."""
        return [(await self.frame()).payload.decode() for _ in range(count)]

    async def frame(self) -> RawFrame:
        with trio.fail_after(5):
            return await self.peer.receive_frame()

    async def silent(self) -> bool:
        """Say whether nothing more comes for a second."""
        with trio.move_on_after(1) as scope:
            await self.peer.receive_frame()
        return scope.cancelled_caught


class Hall:
    """See the module."""

    def __init__(self, rooms: Rooms, quick: MemoryNetwork, tight: MemoryNetwork) -> None:
        self.rooms = rooms
        self.room = rooms.room
        self._quick = quick
        self._tight = tight
        self._arrived, self._arrivals = trio.open_memory_channel[WebSocket](10_000)

    async def handle(self, websocket: WebSocket) -> None:
        """Be a handler that does nothing until it is cancelled."""
        self._arrived.send_nowait(websocket)
        await trio.sleep_forever()

    async def guest(self, *, tight: bool = False) -> Guest:
        """Connect.

        Args:
            tight: nothing is buffered on the way to the client, which may choose not to read.
        """
        peer = await dial(self._tight if tight else self._quick)
        return Guest(await self._arrivals.receive(), peer)

    async def guests(self, count: int) -> list[Guest]:
        return [await self.guest() for _ in range(count)]


@asynccontextmanager
async def open_hall(
    *, backplane: Backplane | None = None, handler: Callable[[Any], Any] | None = None, **options: Any
) -> AsyncIterator[Hall]:
    """Open rooms and a server. The test's own tasks join, or those of a handler that it gives."""
    hall = Hall(Rooms(backplane), MemoryNetwork(sys.maxsize), MemoryNetwork(capacity=0))
    listeners = [hall._quick.listen(), hall._tight.listen()]
    options = {"timeouts": CALM, "listeners": listeners, **options}
    async with hall.rooms.running(), serving(hall._quick, handler or hall.handle, **options):
        yield hall


@asynccontextmanager
async def hall_with(guests: int = 1, *, tight: bool = False, **options: Any) -> AsyncIterator[tuple[Hall, Any]]:
    """Open a hall in which a guest is, or several as a list."""
    async with open_hall(**options) as hall:
        yield hall, await (hall.guests(guests) if guests > 1 else hall.guest(tight=tight))


@asynccontextmanager
async def seated(room: Any, guests: list[Guest]) -> AsyncIterator[None]:
    """Let all guests be members, each in a task of its own."""

    async def sit(websocket: WebSocket) -> None:
        async with room.join(websocket):
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for guest in guests:
            nursery.start_soon(sit, guest.websocket)
        await wait_all_tasks_blocked()
        yield
        nursery.cancel_scope.cancel()
