"""Peers that send a lot of little: bounded in memory, in what is answered, and in what others feel of it."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
import trio
from support.machine import traced_memory

from hostile.arena import Arena, Arenas, echo, sees_end, until
from hostile.attacker import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Attacker,
    close_codes,
    close_frame,
    frame,
    frames_of,
)
from trio_ws import Limits, Timeouts, WebSocket
from trio_ws.connection.connection import Connection
from trio_ws.connection.writer import CONTROL_RESERVE

MIB = 1 << 20
OFFER = ("Sec-WebSocket-Extensions", "permessage-deflate")
LARGEST_PONG = 2 + 125
PINGS = b"".join(frame(PING, b"%0125d" % number) for number in range(500))
"""64 KiB of the largest pings."""
FEW_MOMENTS = 15.0
"""Seconds that the canary may wait for one echo while another connection is flooded, on a machine that is busy itself:
it is to be served meanwhile, not after."""


def connection_of(arena: Arena) -> Connection:
    """The only attacker's connection."""
    channel = arena.websockets[-1].context.channel
    assert isinstance(channel, Connection)
    return channel


async def flood_until_the_outbox_is_full(arena: Arena, attacker: Attacker) -> None:
    """Ping without reading until nothing more fits into the network."""
    outbox = connection_of(arena).transport.outbox
    with trio.fail_after(20):
        while not outbox.full:
            assert await attacker.send(PINGS)
            await trio.lowlevel.checkpoint()


async def test_pings_of_a_peer_that_reads_are_all_answered(arenas: Arenas) -> None:
    """3,000 pings as fast as they go: 3,000 pongs, in order."""
    sent = [b"%d" % number for number in range(3000)]
    async with arenas.open() as arena:
        async with arena.websocket() as (attacker, rest):

            async def pour() -> None:
                for start in range(0, len(sent), 500):
                    await attacker.send(b"".join(frame(PING, payload) for payload in sent[start : start + 500]))
                await attacker.send(close_frame())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(pour)
                frames = await attacker.frames(rest)
        assert [payload for opcode, payload in frames if opcode == PONG] == sent
        assert arena.canary.slowest < FEW_MOMENTS


async def test_pings_of_a_peer_that_does_not_read_are_coalesced(arenas: Arenas) -> None:
    """The outbox keeps within its bound and the reserve of control frames; the latest ping is answered at last."""
    async with arenas.open(timeouts=Timeouts(send_timeout=20)) as arena, arena.attack(small=True) as attacker:
        rest = await attacker.handshake()
        await until(lambda: arena.websockets)
        await flood_until_the_outbox_is_full(arena, attacker)
        outbox = connection_of(arena).transport.outbox
        sizes = []
        for _ in range(10):
            assert await attacker.send(PINGS)
            await trio.sleep(0.001)
            sizes.append(outbox.size)
        assert max(sizes) <= Limits().outbox_bytes + CONTROL_RESERVE + LARGEST_PONG
        await attacker.send(frame(PING, b"the last"))
        with trio.fail_after(10):
            while not rest.endswith(b"the last"):
                rest += await attacker.receive()
        await attacker.send(close_frame(3000))
        frames = await attacker.frames(rest)
        assert close_codes(frames) == [3000]
        pongs = [payload for opcode, payload in frames if opcode == PONG]
        assert pongs[-1] == b"the last"
        assert set(pongs[:-1]) <= {b"%0125d" % number for number in range(500)}
        assert arena.canary.slowest < FEW_MOMENTS


async def test_ping_flood_without_reading_is_aborted_with_1013(arenas: Arenas) -> None:
    """Pongs alone fill the outbox: send_timeout holds for them as for messages."""
    ends: list[int] = []

    async with arenas.open(lambda ws: sees_end(ws, ends), timeouts=Timeouts(send_timeout=0.3)) as arena:
        async with arena.websocket(small=True) as (attacker, _):
            await until(lambda: arena.websockets)
            with trio.fail_after(20):
                while not ends:
                    if not await attacker.send(PINGS):
                        break
                    await trio.lowlevel.checkpoint()
            await until(lambda: ends, 5)
            assert ends == [1013]
            await arena.all_gone()
        assert [code for _, code in arena.ended] == [1013]


@pytest.mark.parametrize("payload", [b"", b"x"], ids=["empty", "tiny"])
async def test_message_of_too_many_fragments_is_refused(arenas: Arenas, payload: bytes) -> None:
    """One frame more than the most is a 1009, however little they hold."""
    most = 5000
    async with arenas.open(limits=Limits(max_fragments=most)) as arena:
        async with arena.websocket() as (attacker, rest):
            first = frame(BINARY, payload, fin=False)
            await attacker.send(first + frame(CONTINUATION, payload, fin=False) * (most - 1))
            await attacker.send(frame(CONTINUATION, payload, fin=False))
            assert close_codes(await attacker.frames(rest)) == [1009]
        assert arena.canary.slowest < FEW_MOMENTS


async def test_message_of_maximum_fragments_passes_in_bounded_memory(arenas: Arenas) -> None:
    """What is kept of a message is its bytes, not its fragments."""
    most = 6000
    async with arenas.open(limits=Limits(max_fragments=most)) as arena, arena.websocket() as (attacker, rest):
        data = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b", fin=False) * (most - 2)
        with traced_memory():
            await attacker.send(data)
            await attacker.send(frame(PING, b"done"))
            assert frames_of(await attacker.at_least(1, rest)) == [(PONG, b"done")]
            peak = tracemalloc.get_traced_memory()[1]
        assert peak < 400 * 1024, "70 bytes for each would show"
        await attacker.send(frame(CONTINUATION, b"c"))
        data = b""
        with trio.fail_after(10):
            while not data.endswith(b"bc"):
                data += await attacker.receive()
        assert frames_of(data) == [(TEXT, b"a" + b"b" * (most - 2) + b"c")]


async def test_empty_fragments_between_pings_do_not_extend_a_message(arenas: Arenas) -> None:
    """Control frames in between do not start the count of fragments again."""
    async with arenas.open(limits=Limits(max_fragments=100)) as arena, arena.websocket() as (attacker, rest):
        await attacker.send(frame(TEXT, fin=False) + (frame(PING) + frame(CONTINUATION, fin=False)) * 100)
        assert close_codes(await attacker.frames(rest)) == [1009]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_empty_messages_pause_at_inbox_bound_and_are_not_lost(arenas: Arenas, opcode: int) -> None:
    """They have no bytes to count, but they are counted; b"" and "" are messages like any other."""
    total = 5000
    proceed = trio.Event()
    received: list[object] = []
    ends: list[int] = []

    async def late(ws: WebSocket) -> None:
        await proceed.wait()
        await sees_end(ws, ends, received)

    async with arenas.open(late) as arena:
        async with arena.attack() as attacker, trio.open_nursery() as nursery:
            await attacker.handshake()
            nursery.start_soon(attacker.send, frame(opcode) * total + close_frame())
            await until(lambda: arena.websockets and connection_of(arena).reader.paused)
            assert len(connection_of(arena).reader.inbox.items) == Limits().inbox_messages
            proceed.set()
            await until(lambda: ends)
        assert received == ["" if opcode == TEXT else b""] * total
        assert ends == [1000]
        assert arena.canary.slowest < FEW_MOMENTS


def bomb(size: int) -> bytes:
    """Return a compressed message of `size` zeros, a multiple of 64 KiB."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = stream.compress(bytes(1 << 16)) + stream.flush(zlib.Z_FULL_FLUSH)
    return (block * (size >> 16))[:-4]


async def test_small_bombs_in_one_read_pause_in_mid_read(arenas: Arenas) -> None:
    """Inflated bytes count for the inbox: what comes behind in the same read waits compressed, and is not lost."""
    count, size = 30, MIB
    packet = frame(BINARY, bomb(size), rsv1=True) * count
    assert len(packet) < 256 * 1024
    proceed = trio.Event()
    sizes: list[int] = []

    async def late(ws: WebSocket) -> None:
        await proceed.wait()
        sizes.extend([len(message) async for message in ws])

    async with arenas.open(late, compression=True) as arena:
        async with arena.attack() as attacker:
            with traced_memory():
                await attacker.handshake(OFFER)
                await attacker.send(packet)
                await until(lambda: connection_of(arena).reader.paused)
                for _ in range(20):
                    await trio.sleep(0.001)
                assert tracemalloc.get_traced_memory()[1] < 8 * MIB
                assert connection_of(arena).reader.inbox.size == size
            proceed.set()
            await attacker.send(close_frame())
            await attacker.rest()
            await until(lambda: arena.ended)
        assert sizes == [size] * count
        assert arena.canary.slowest < FEW_MOMENTS


@pytest.mark.parametrize("fragments", [1, 7, 300])
async def test_large_bomb_is_refused_whatever_its_fragments(arenas: Arenas, fragments: int) -> None:
    """A compressed message that inflates beyond the limit is a 1009 as soon as it does."""
    data = bomb(64 * MIB)
    step = len(data) // fragments + 1
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    async with arenas.open(compression=True) as arena, arena.websocket(OFFER) as (attacker, rest):
        for number, part in enumerate(parts):
            opcode = CONTINUATION if number else BINARY
            whole = frame(opcode, part, fin=number == len(parts) - 1, rsv1=not number)
            if not await attacker.send(whole):
                break
        assert close_codes(await attacker.frames(rest)) == [1009]


async def test_silent_short_connections_leave_nothing_behind(arenas: Arenas) -> None:
    """Connections that come and go without a word leave nothing."""
    async with arenas.open(echo) as arena:
        for _ in range(150):
            async with arena.attack():
                pass
        await arena.all_gone()
        assert arena.server.statistics().refused == 150
