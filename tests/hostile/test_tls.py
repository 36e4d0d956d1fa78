"""Peers that use TLS itself against the server: records of a byte, records that never end, many handshakes."""

from __future__ import annotations

import gc
import os
import ssl
from collections import Counter
from functools import partial

import pytest
import trio
from support.internals import internal
from support.tls import TLSPeer
from support.turns import Turns

from hostile.arena import Arena, Arenas, echo, until
from hostile.attacker import PING, TEXT, close_frame, frame, request
from trio_ws import serve_websocket
from trio_ws.transport.poller import Poller
from trio_ws.transport.tls import HANDSHAKES, TLSTransport

Certificates = tuple[ssl.SSLContext, ssl.SSLContext]
FEW_MOMENTS = 15.0
"""Seconds that the canary may wait for one echo, on a machine that is busy itself; turns are counted elsewhere."""
MANY = pytest.param(100, marks=pytest.mark.thorough("test_handshakes_of_many_leave_nothing_behind"))


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
    """8,000 records are 200 KB for the kernel, and a long time for who decrypts them in one go."""
    async with arenas.open(tls=certificates) as arena:
        peer = await dial(arena, certificates[1])
        flood = frame(TEXT, b"x" * 100) + frame(PING, b"y" * 100)
        trips = arena.canary.trips
        records = b"".join(peer.sealed(flood[at : at + 1]) for _ in range(40) for at in range(len(flood)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, records)
            received = await peer.receive(40 * 2 * (2 + 100))
        assert received.count(b"x" * 100) == received.count(b"y" * 100) == 40
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


@pytest.mark.skipif(not Poller.available(), reason="no poller on this platform")
async def test_many_handshakes_at_once_are_spread_over_turns(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 greetings are there in one turn; each is a millisecond's work, while which others would wait."""
    turns, steps = Turns(), Counter[int]()
    shake_hands = internal(TLSTransport, "_continue_handshake")

    def noted(transport: TLSTransport) -> bool:
        steps[turns.count] += 1
        return shake_hands(transport)

    monkeypatch.setattr(TLSTransport, "_continue_handshake", noted)
    trio.lowlevel.add_instrument(turns)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(serve_websocket, echo, "127.0.0.1", 0, ssl_context=certificates[0], poller=True)
        )
        peers = [TLSPeer(await trio.open_tcp_stream("127.0.0.1", server.port), certificates[1]) for _ in range(60)]
        await until(lambda: server.statistics().connections == len(peers))
        for peer in peers:
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            os.write(peer.stream.socket.fileno(), peer.outgoing.read())
        for peer in peers:
            await peer.shake_hands()
            await peer.stream.aclose()
        nursery.cancel_scope.cancel()
    assert max(steps.values()) == HANDSHAKES
    assert steps.total() >= 2 * len(peers)


@pytest.mark.parametrize("clients", [24, MANY])
async def test_handshakes_of_many_leave_nothing_behind(
    arenas: Arenas, certificates: Certificates, clients: int
) -> None:
    """Most shake hands, some speak no TLS, some leave in the middle; a quarter of them at once."""
    client, batch = certificates[1], clients // 4

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

    def living() -> list[object]:
        gc.collect()
        return [each for each in gc.get_objects() if type(each) in (TLSTransport, trio.SSLStream)]

    earlier = living()
    async with arenas.open(tls=certificates) as arena:
        for start in range(0, clients, batch):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + batch):
                    nursery.start_soon(come_and_go, arena, number)
        await arena.all_gone()
        kept = [each for each in living() if not any(each is other for other in earlier)]
        # The canary's ends, and what the poller has looked at last. A leak would be of half of the clients.
        assert len(kept) <= 2 + batch
