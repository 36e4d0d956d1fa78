"""Peers that use TLS itself against the server: records of a byte, records that never end, many handshakes."""

from __future__ import annotations

import gc
import ssl

import trio
from support.tls import TLSPeer

from hostile.arena import Arena, Arenas, until
from hostile.attacker import PING, TEXT, close_frame, frame, request
from trio_ws.transport.tls import TLSTransport

Certificates = tuple[ssl.SSLContext, ssl.SSLContext]
FEW_MOMENTS = 15.0
"""Seconds that the canary may wait for one echo, on a machine that is busy itself; turns are counted elsewhere."""
BATCH = 50
"""Handshakes that are under way at once."""


async def dial(arena: Arena, client: ssl.SSLContext) -> TLSPeer:
    """Shake hands, and ask for a WebSocket."""
    arena.attackers += 1
    peer = TLSPeer(await trio.open_tcp_stream("127.0.0.1", arena.server.port), client)
    await peer.shake_hands()
    await peer.send(request())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await peer.some()
    assert answer.startswith(b"HTTP/1.1 101 ")
    return peer


async def test_records_of_one_byte_starve_nobody(arenas: Arenas, certificates: Certificates) -> None:
    """30,000 records are half a megabyte for the kernel, and a long time for who decrypts them in one go."""
    async with arenas.open(tls=certificates) as arena:
        peer = await dial(arena, certificates[1])
        flood = frame(TEXT, b"x" * 100) + frame(PING, b"y" * 100)
        trips = arena.canary.trips
        records = b"".join(peer.sealed(flood[at : at + 1]) for _ in range(140) for at in range(len(flood)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, records)
            received = await peer.receive(140 * 2 * (2 + 100))
        assert received.count(b"x" * 100) == received.count(b"y" * 100) == 140
        assert arena.canary.trips > trips
        assert arena.canary.slowest < FEW_MOMENTS
        await peer.send(close_frame())
        while await peer.some():
            pass
        await peer.stream.aclose()


async def test_a_record_that_never_ends_holds_nothing_but_itself(arenas: Arenas, certificates: Certificates) -> None:
    async with arenas.open(tls=certificates) as arena:
        peer = await dial(arena, certificates[1])
        record = peer.sealed(b"z" * 16_384)
        for at in range(0, 1000, 10):
            await peer.stream.send_all(record[at : at + 10])
            await trio.lowlevel.checkpoint()
        await peer.stream.aclose()
        await until(lambda: arena.ended)
        assert arena.ended[0][1] == 1006


async def test_handshakes_by_the_hundred_leave_nothing_behind(arenas: Arenas, certificates: Certificates) -> None:
    """1,000 clients: most shake hands, some speak no TLS, some leave in the middle."""
    client = certificates[1]

    async def come_and_go(arena: Arena, number: int) -> None:
        arena.attackers += 1
        peer = TLSPeer(await trio.open_tcp_stream("127.0.0.1", arena.server.port), client)
        async with peer.stream:
            if number % 4 == 0:
                await peer.stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            elif number % 4 == 1:
                await peer.stream.send_all(b"\x16\x03\x01\x02\x00\x01")
            else:
                await peer.shake_hands()

    async with arenas.open(tls=certificates) as arena:
        for start in range(0, 1000, BATCH):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + BATCH):
                    nursery.start_soon(come_and_go, arena, number)
        await arena.all_gone()
        gc.collect()
        kept = [each for each in gc.get_objects() if type(each) in (TLSTransport, trio.SSLStream)]
        # The canary's ends, and what the poller has looked at last. A leak would be of 250 at least.
        assert len(kept) <= 2 + BATCH
