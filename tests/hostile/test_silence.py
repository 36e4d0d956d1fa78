"""Peers that stop: that never read, that stall in mid-frame. Each costs a bounded time and a bounded memory."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from support.handlers import noted_when_cancelled

from hostile.arena import Arenas, sees_end, until
from hostile.attacker import BINARY, CONTINUATION, PING, TEXT, close_codes, frame, frames_of
from trio_ws import Limits, Timeouts, WebSocket, WebSocketDisconnect
from trio_ws.connection.connection import Connection
from trio_ws.connection.writer import CONTROL_RESERVE

QUICK = Timeouts(send_timeout=0.3, close_timeout=0.5, drain_timeout=0.2, cleanup_timeout=0.5)
LIVELY = Timeouts(ping_interval=0.1, ping_timeout=0.15, close_timeout=0.5, drain_timeout=0.2)


@pytest.mark.parametrize("size", [100, 60_000, 3_000_000])
async def test_peer_that_never_reads_is_aborted_with_1013_in_time(arenas: Arenas, size: int) -> None:
    """The sender is told, the outbox never holds more than its mark and one message, and the peer is cut off."""
    ends: list[int] = []
    sizes: list[int] = []
    waited: list[float] = []

    async def pour(ws: WebSocket) -> None:
        channel = ws.context.channel
        assert isinstance(channel, Connection)
        began = trio.current_time()
        try:
            while True:
                began = trio.current_time()
                await ws.send(bytes(size))
                sizes.append(channel.transport.outbox.size)
        except WebSocketDisconnect as end:
            ends.append(end.code)
            waited.append(trio.current_time() - began)

    async with arenas.open(pour, timeouts=QUICK) as arena:
        async with arena.websocket(small=True) as (_attacker, _):
            await until(lambda: ends)
            await arena.all_gone()
        assert ends == [1013]
        assert [code for _, code in arena.ended] == [1013]
        header = 10
        assert max(sizes) <= Limits().outbox_bytes + size + header
        assert waited[0] >= QUICK.send_timeout * 0.9


async def test_peer_that_sends_and_never_reads_is_aborted_too(arenas: Arenas) -> None:
    """An echo handler waits in its send: the inbox fills, reading stops, and send_timeout ends it all."""
    ends: list[int] = []

    async def echo_to_the_end(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send(await ws.receive())
        except WebSocketDisconnect as end:
            ends.append(end.code)

    async with arenas.open(echo_to_the_end, timeouts=QUICK) as arena:
        async with arena.websocket(small=True) as (attacker, _):
            sent = frame(BINARY, bytes(60_000))
            with trio.move_on_after(10):
                while await attacker.send(sent):
                    pass
            await until(lambda: ends)
        assert ends == [1013]


async def test_peer_that_reads_slowly_but_reads_is_not_aborted(arenas: Arenas) -> None:
    """A large message that trickles out makes progress all the time, though it takes longer than send_timeout."""
    size = 8_000_000

    async def one(ws: WebSocket) -> None:
        await ws.send(bytes(size))
        await ws.send("done")

    async with arenas.open(one, timeouts=Timeouts(send_timeout=0.4)) as arena, arena.attack(small=True) as attacker:
        rest = bytearray(await attacker.handshake())
        began = trio.current_time()
        step = 0
        with trio.fail_after(20):
            while len(rest) < size:
                part = await attacker.receive()
                assert part, "aborted"
                rest += part
                step += len(part)
                if step > size // 25:
                    step = 0
                    await trio.sleep(0.04)
        assert trio.current_time() - began > 0.8
        frames = await attacker.frames(bytes(rest)) if await attacker.send(frame(8, b"\x03\xe8")) else []
        assert frames[:2] == [(BINARY, bytes(size)), (TEXT, b"done")]


async def test_close_to_a_peer_that_never_reads_frees_the_connection(arenas: Arenas) -> None:
    """Its close frame stands behind a full outbox: close_timeout ends it."""
    returned: list[bool] = []

    async def pour(ws: WebSocket) -> None:
        with trio.move_on_after(0.2):
            while True:
                await ws.send(bytes(60_000))
        await ws.close(3000)
        returned.append(True)

    timeouts = Timeouts(send_timeout=20, close_timeout=0.3, cleanup_timeout=0.5)
    async with arenas.open(pour, timeouts=timeouts) as arena, arena.websocket(small=True) as (_attacker, _):
        await until(lambda: returned)
        await arena.all_gone()
        assert [code for _, code in arena.ended] == [3000]


STALLS = {
    "a frame's first byte": frame(TEXT, b"hello")[:1],
    "an extended length": frame(BINARY, bytes(300))[:3],
    "a mask": frame(BINARY, bytes(300))[:6],
    "a payload": frame(BINARY, bytes(300))[:200],
    "a ping": frame(PING, b"hello")[:-1],
    "a message, between its fragments": frame(TEXT, b"hello", fin=False),
    "a message, in a fragment": frame(TEXT, b"hel", fin=False) + frame(CONTINUATION, b"lo")[:3],
}


async def test_peer_that_stalls_in_mid_frame_is_ended_by_keepalive(arenas: Arenas) -> None:
    """Wherever it stops: it is pinged, answers nothing, and is told 1011."""
    ends: list[int] = []

    async with arenas.open(lambda ws: sees_end(ws, ends), timeouts=LIVELY) as arena:

        async def stall(data: bytes) -> None:
            async with arena.websocket() as (attacker, rest):
                await attacker.send(data)
                frames = await attacker.frames(rest)
                assert [opcode for opcode, _ in frames] == [PING, 8]
                assert close_codes(frames) == [1011]

        async with trio.open_nursery() as nursery:
            for data in STALLS.values():
                nursery.start_soon(stall, data)
        await until(lambda: len(arena.ended) == len(STALLS))
        assert ends == [1011] * len(STALLS)
        assert {code for _, code in arena.ended} == {1011}


async def test_peer_that_vanishes_between_frames_is_ended_by_keepalive(arenas: Arenas) -> None:
    """No FIN, no RST, no byte: a handler that does not read is cancelled, with on_disconnect told 1011."""
    cancelled: list[bool] = []

    async def busy(ws: WebSocket) -> None:
        await noted_when_cancelled(cancelled)

    async with arenas.open(busy, timeouts=LIVELY) as arena, arena.websocket() as (_attacker, _):
        await until(lambda: cancelled)
        await arena.all_gone()
        assert [code for _, code in arena.ended] == [1011]


async def test_half_closed_client_is_gone(arenas: Arenas) -> None:
    """End of stream without a close frame is 1006, in mid-frame too."""
    ends: list[int] = []

    async with arenas.open(lambda ws: sees_end(ws, ends)) as arena:
        for data in (b"", *STALLS.values()):
            async with arena.websocket(behind=data) as (attacker, _):
                assert isinstance(attacker.stream, trio.SocketStream)
                await attacker.stream.send_eof()
                assert close_codes(frames_of(await attacker.rest())) == []
        await until(lambda: len(ends) == len(STALLS) + 1)
        assert set(ends) == {1006}


async def test_outbox_of_silent_peer_is_bounded_with_pings_and_pongs(arenas: Arenas) -> None:
    """Messages, our own pings and pongs to a flood of theirs: the sum has a bound."""
    high_water = 20_000
    sizes: list[int] = []

    async def pour(ws: WebSocket) -> None:
        channel = ws.context.channel
        assert isinstance(channel, Connection)
        outbox = channel.transport.outbox

        async def ping() -> None:
            with suppress(WebSocketDisconnect):
                while True:
                    await ws.ping()

        ws.nursery.start_soon(ping)
        with suppress(WebSocketDisconnect):
            while True:
                await ws.send(bytes(1000))
                sizes.append(outbox.size)

    timeouts = Timeouts(send_timeout=0.4, close_timeout=0.5)
    async with arenas.open(pour, limits=Limits(outbox_bytes=high_water), timeouts=timeouts) as arena:
        async with arena.websocket(small=True) as (attacker, _):
            with trio.move_on_after(10):
                while await attacker.send(frame(PING, bytes(125)) * 100):
                    channel = arena.websockets[0].context.channel
                    assert isinstance(channel, Connection)
                    sizes.append(channel.transport.outbox.size)
            await arena.all_gone()
        assert max(sizes) <= high_water + CONTROL_RESERVE + 2000
        assert [code for _, code in arena.ended] == [1013]
