"""Connections that come and go, a third of them aborted: afterwards everything is back where it was.

24 cycles on each transport, and 120 in a thorough run; TRIO_WS_CHURN says how many, and `make churn` runs 10,000.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
from support.internals import internal

from hostile.arena import Arena, Arenas, until
from hostile.attacker import TEXT, frame, frames_of, request
from hostile.victim import PROC, resident_memory
from trio_ws import open_websocket
from trio_ws.connection.connection import Connection
from trio_ws.runtime.timers import Timers
from trio_ws.server.connection import ServerConnection

CYCLES = int(os.environ.get("TRIO_WS_CHURN", "24"))
MANY = pytest.param(120, marks=pytest.mark.thorough("test_after_many_connections_everything_is_back_where_it_was"))
BATCH = 60
"""Cycles that are under way at once, at most; a multiple of the number of endings."""
TIMERS_EACH = 4
"""Deadlines that one connection arms at once: handshake, keepalive, closing, sending."""
MOST_BLOCKS = 6000
"""Blocks of memory that the interpreter may hold more afterwards, in caches of its own (it goes up and down by 3,000
however many cycles there are). A connection that is not let go holds some fifty."""
MOST_RESIDENT = 4 << 20
"""Bytes of resident memory likewise, for what is not Python's."""


async def well_behaved(arena: Arena, poller: bool) -> None:
    """Connect, echo, close."""
    arena.attackers += 1
    async with open_websocket(f"ws://127.0.0.1:{arena.server.port}/attack", poller=poller) as ws:
        await ws.send("hello")
        assert await ws.receive() == "hello"


async def leaves_without_a_word(arena: Arena, poller: bool) -> None:
    """Connect, echo, and end the TCP connection."""
    async with arena.attack() as attacker:
        rest = await attacker.handshake(behind=frame(TEXT, b"hello"))
        while not rest:
            rest = await attacker.receive()
        assert frames_of(rest) == [(TEXT, b"hello")]


async def aborts(arena: Arena, poller: bool) -> None:
    """Connect, echo, reset in the middle of the next frame."""
    async with arena.attack() as attacker:
        rest = await attacker.handshake(behind=frame(TEXT, b"hello"))
        while not rest:
            rest = await attacker.receive()
        await attacker.send(frame(TEXT, b"hello")[:-2])
        await attacker.reset()


async def aborts_in_its_request(arena: Arena, poller: bool) -> None:
    """Connect, reset before the request is complete."""
    async with arena.attack() as attacker:
        await attacker.send(request()[:60])
        await attacker.reset()


WAYS: list[Callable[[Arena, bool], Awaitable[None]]] = [
    well_behaved,
    aborts,
    leaves_without_a_word,
    well_behaved,
    aborts_in_its_request,
    well_behaved,
]
"""One after the other; two of six are resets."""


async def churn(arena: Arena, cycles: int, poller: bool) -> None:
    """Run so many cycles, some at a time, and wait until the server has seen all of them off."""
    for start in range(0, cycles, BATCH):
        async with trio.open_nursery() as nursery:
            for number in range(start, min(start + BATCH, cycles)):
                nursery.start_soon(WAYS[number % len(WAYS)], arena, poller)
        await arena.all_gone()
        accepted = len(arena.ended)
        assert len(arena.websockets) == accepted
        arena.websockets.clear()
        arena.ended.clear()


async def _settled() -> None:
    """Let all that ends in the background end."""
    for _ in range(10):
        await trio.lowlevel.checkpoint()
    gc.collect()


def _tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _alive(kind: type) -> int:
    return sum(type(each) is kind for each in gc.get_objects())


@pytest.mark.parametrize("cycles", [CYCLES, MANY])
async def test_after_many_connections_everything_is_back_where_it_was(arenas: Arenas, cycles: int) -> None:
    """Tasks, descriptors, memory, objects, timers; and the statistics add up."""
    async with arenas.open() as arena:
        arenas.caplog.set_level(logging.WARNING)
        [timers] = [each for each in gc.get_objects() if type(each) is Timers and internal(each, "_heap")][:1]
        await churn(arena, min(cycles, BATCH), arenas.poller)  # what is made once, and the allocator's own bookkeeping
        await _settled()
        begin = arena.server.statistics()
        tasks, connections, conversations = _tasks(), _alive(Connection), _alive(ServerConnection)
        descriptors = len(os.listdir("/proc/self/fd")) if PROC.exists() else 0
        resident = resident_memory() if PROC.exists() else 0
        blocks = sys.getallocatedblocks()

        await churn(arena, cycles, arenas.poller)
        await _settled()

        assert sys.getallocatedblocks() - blocks < MOST_BLOCKS
        assert _tasks() == tasks
        assert _alive(Connection) == connections
        assert _alive(ServerConnection) == conversations
        if PROC.exists():
            assert len(os.listdir("/proc/self/fd")) == descriptors
            assert resident_memory() - resident < MOST_RESIDENT
        assert (
            len(internal(timers, "_heap")) <= 2 * TIMERS_EACH * BATCH
        )  # twice what was armed at once, whatever came and went
        assert sum(deadline.armed for deadline in internal(timers, "_heap")) < 5

        end = arena.server.statistics()
        rounds, left = divmod(cycles, len(WAYS))
        refused = rounds + (left > WAYS.index(aborts_in_its_request))
        assert end.refused - begin.refused == refused
        assert end.accepted - begin.accepted == cycles - refused
        assert end.websockets == end.connections == 1
        assert end.handler_errors == 0
        songs = arena.canary.trips
        echoed = end.accepted - 1
        assert 0 <= end.messages_received - echoed - songs <= 1
        assert 0 <= end.messages_received - end.messages_sent <= 1
        arena.attackers = 0
        await until(lambda: arena.canary.trips > songs)
