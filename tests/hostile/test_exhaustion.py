"""What a machine runs out of: memory, descriptors, room for connections. The server lives, and is well afterwards."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from hostile.arena import Arenas, Canary, echo, until
from hostile.attacker import BINARY, CONTINUATION, Attacker, attack, close_codes, close_frame, frame, request
from hostile.victim import PROC, Victim, running
from trio_ws import Limits, open_websocket
from trio_ws.transport.poller import Poller

MIB = 1 << 20
OFFER = ("Sec-WebSocket-Extensions", "permessage-deflate")
MOST_GROWTH = 8 * MIB
"""What bombs of 64 MiB may move a server's resident memory by (issue 2)."""
SPARE = 12
"""Descriptors that a server has for connections when it is to run out of them."""

needs_proc = pytest.mark.skipif(not (PROC / "self" / "status").exists(), reason="needs /proc to look into a process")


@pytest.fixture(params=["poller", "stream"])
def poller(request: pytest.FixtureRequest) -> bool:
    if request.param == "poller" and not Poller.available():
        pytest.skip("no poller on this platform")
    return request.param == "poller"


@asynccontextmanager
async def besieged(poller: bool, spare_descriptors: int | None = None) -> AsyncIterator[tuple[Victim, Canary]]:
    """A server in its own process with a canary, which must go on singing afterwards."""
    async with running(poller=poller, spare_descriptors=spare_descriptors) as victim, trio.open_nursery() as nursery:
        canary = Canary()
        url = f"ws://127.0.0.1:{victim.port}/canary"
        await nursery.start(lambda task_status: canary.sing(url, task_status=task_status))
        yield victim, canary
        goal = canary.trips + 3
        await until(lambda: canary.trips >= goal)
        nursery.cancel_scope.cancel()


def bomb(size: int) -> bytes:
    """Return a compressed message of `size` zeros, a multiple of 64 KiB, without ever holding them."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = stream.compress(bytes(1 << 16)) + stream.flush(zlib.Z_FULL_FLUSH)
    return (block * (size >> 16))[:-4]


async def _bomb_whole(attacker: Attacker) -> list[int]:
    rest = await attacker.handshake(OFFER)
    await attacker.send(frame(BINARY, bomb(64 * MIB), rsv1=True))
    return close_codes(await attacker.frames(rest))


async def _bomb_in_fragments(attacker: Attacker) -> list[int]:
    rest = await attacker.handshake(OFFER)
    data = bomb(64 * MIB)
    for start in range(0, len(data), 2000):
        last = start + 2000 >= len(data)
        opcode = CONTINUATION if start else BINARY
        if not await attacker.send(frame(opcode, data[start : start + 2000], fin=last, rsv1=not start)):
            break
    return close_codes(await attacker.frames(rest))


async def _many_bombs(attacker: Attacker) -> list[int]:
    """64 messages of 1 MiB, which is allowed, to a handler that does not read."""
    assert await attacker.send(request(OFFER, line="GET /never HTTP/1.1"))
    await attacker.receive()
    with trio.move_on_after(0.5):
        await attacker.send(frame(BINARY, bomb(MIB), rsv1=True) * 64)
        await trio.sleep_forever()
    return []


@needs_proc
async def test_bombs_of_64_mib_grow_resident_memory_below_8_mib(poller: bool) -> None:
    """One after another: as one message, in fragments, and as many messages in few reads."""
    async with besieged(poller) as (victim, _):
        async with open_websocket(f"ws://127.0.0.1:{victim.port}/warm", compression=True) as ws:
            await ws.send("x" * 1000)  # what is made once for all: zlib, buffers, code
            await ws.receive()
        before = victim.memory("VmRSS")
        for throw, codes in ((_bomb_whole, [1009]), (_bomb_in_fragments, [1009]), (_many_bombs, [])):
            async with attack(victim.port) as attacker:
                assert await throw(attacker) == codes
            assert victim.memory("VmHWM") - before < MOST_GROWTH, throw


@needs_proc
async def test_server_out_of_descriptors_idles_and_recovers(poller: bool) -> None:
    """More clients than descriptors: those that have one are served, the rest wait, and get theirs when it is free."""
    async with besieged(poller, SPARE) as (victim, canary):
        async with AsyncExitStack() as stack:
            crowd = [await stack.enter_async_context(attack(victim.port)) for _ in range(SPARE * 3)]
            for attacker in crowd[: SPARE - 4]:
                await attacker.handshake()
            await trio.sleep(0.2)  # for the server to meet the limit
            before, trips = victim.cpu_seconds(), canary.trips
            await trio.sleep(1)
            assert victim.cpu_seconds() - before < 0.6
            assert canary.trips > trips
            for attacker in crowd[:SPARE]:
                await attacker.reset()
            rest = await crowd[SPARE + 2].handshake(behind=frame(BINARY, b"at last"))
            await crowd[SPARE + 2].send(close_frame())
            assert (BINARY, b"at last") in await crowd[SPARE + 2].frames(rest)
        async with open_websocket(f"ws://127.0.0.1:{victim.port}/new") as ws:
            await ws.send("new")
            assert await ws.receive() == "new"
    lines = victim.errors.decode().splitlines()
    assert len(lines) == 1, lines
    assert "cannot accept connections for now" in lines[0]


@pytest.mark.parametrize("limits", [Limits(max_connections=4), Limits(max_connections_per_ip=4)])
async def test_more_connections_than_allowed_are_answered_503(arenas: Arenas, limits: Limits) -> None:
    """The canary's and three more are served, the others told at once; whoever leaves makes room."""
    async with arenas.open(echo, limits=limits) as arena:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await (await stack.enter_async_context(arena.attack())).handshake()
            for _ in range(5):
                assert (await arena.ask(request())).status == 503
        await arena.all_gone()
        async with arena.websocket(behind=close_frame()) as (attacker, rest):
            assert close_codes(await attacker.frames(rest)) == [1000]


async def test_silent_connections_beyond_limit_do_not_block_others(arenas: Arenas) -> None:
    """What waits for a 503 takes no room: it is the served ones that count."""
    async with arenas.open(echo, limits=Limits(max_connections=2)) as arena, AsyncExitStack() as stack:
        served = await stack.enter_async_context(arena.attack())
        await served.handshake()
        for _ in range(10):
            await stack.enter_async_context(arena.attack())
        await until(lambda: arena.server.statistics().connections >= 12)
        crowd = arena.server.statistics().connections
        await served.reset()
        await until(lambda: arena.server.statistics().connections < crowd)
        async with arena.attack() as attacker:
            await attacker.handshake()
        await stack.aclose()
