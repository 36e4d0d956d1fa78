"""Backpressure: what waits is bounded both ways, and who makes it wait is noticed, or given up in time."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from support.handlers import until_gone
from support.networks import SocketNetwork, Witness, binary, close, dial, peer_of, ping, serving, text

from trio_ws import Limits, Timeouts, WebSocket, WebSocketDisconnect
from trio_ws.connection.writer import CONTROL_RESERVE
from trio_ws.protocol.frames import BINARY, CLOSE, PING, PONG, TEXT
from trio_ws.testing import MemoryNetwork, RawFrame, RawPeer

TIMES = Timeouts(ping_interval=None, shutdown_grace=0.0)
PATIENCE = 10
"""Real seconds, after which a test on sockets has hung."""


@pytest.fixture(params=["stream", "poller", "tls"])
def sockets(request):
    return SocketNetwork(poller=request.param != "stream", tls=request.param == "tls")


async def receive_all(ws: WebSocket, got: list[Any]) -> None:
    async for message in ws:
        got.append(message)


# --- the inbox ---


@pytest.mark.parametrize(
    ("limits", "held"),
    [
        pytest.param(Limits(inbox_messages=8), 8, id="messages"),
        pytest.param(Limits(inbox_messages=1000, inbox_bytes=950), 10, id="bytes"),
        pytest.param(Limits(inbox_messages=1, inbox_bytes=1), 1, id="least"),
    ],
)
async def test_inbox_fills_to_its_bound_and_the_rest_waits_outside(limits, held, autojump_clock):
    """A thousand messages arrive in one read: parsing stops in the middle of it, and goes on when there is room."""
    network, got, go = MemoryNetwork(), list[str](), trio.Event()

    async def handler(ws: WebSocket) -> None:
        await go.wait()
        await receive_all(ws, got)

    async with serving(network, handler, timeouts=TIMES, limits=limits) as server:
        peer = await dial(network)
        sent = [f"{number:03}".rjust(95) + " ..." for number in range(1000)]
        await peer.send(*map(text, sent))
        await trio.sleep(100)
        assert server.statistics().messages_received == held
        go.set()
        await trio.sleep(1)
        await peer.close()
    assert got == sent


async def test_a_full_inbox_stops_reading_and_tcp_pushes_back(sockets):
    got, go = list[bytes](), trio.Event()
    sent = Witness()
    count = 600

    async def handler(ws: WebSocket) -> None:
        await go.wait()
        await receive_all(ws, got)

    async def send(peer: RawPeer) -> None:
        with sent.watch():
            for number in range(count):
                await peer.send(binary(number.to_bytes(2) * 500))
        await peer.send(close(1000))

    with trio.fail_after(PATIENCE):
        async with serving(sockets, handler, timeouts=TIMES) as server, trio.open_nursery() as nursery:
            peer = await dial(sockets)
            nursery.start_soon(send, peer)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not sent.ended.is_set()
            assert server.statistics().messages_received == Limits().inbox_messages
            go.set()
            assert [frame.opcode for frame in await peer.receive_frames()] == [CLOSE]
            await peer.close()
    assert got == [number.to_bytes(2) * 500 for number in range(count)]


async def test_pings_among_messages_are_answered_and_take_no_room(autojump_clock):
    """More pings in one read than the inbox has places: they are answered at once."""
    network, go = MemoryNetwork(), trio.Event()

    async with serving(network, lambda ws: go.wait(), timeouts=TIMES, limits=Limits(inbox_messages=4)) as server:
        peer = await dial(network)
        await peer.send(text("a"), *(ping(b"%d" % number) for number in range(100)), text("b"), *[text("c")] * 9)
        assert [await peer.receive_frame() for _ in range(100)] == [
            RawFrame(PONG, b"%d" % number) for number in range(100)
        ]
        await trio.sleep(1)
        assert server.statistics().messages_received == 4
        go.set()


async def test_pings_filling_the_inbox_do_not_stop_reading(autojump_clock):
    """They are answered at once and take no place, so nobody would take one, and nobody would read on."""
    got = list[str]()

    async with peer_of(lambda ws: receive_all(ws, got), timeouts=TIMES, limits=Limits(inbox_messages=4)) as peer:
        await peer.send(*(ping(b"%d" % number) for number in range(4)))
        assert [await peer.receive_frame() for _ in range(4)] == [RawFrame(PONG, b"%d" % number) for number in range(4)]
        await peer.send(text("after"), close(1000))
        with trio.fail_after(3):
            assert (await peer.receive_frame()).opcode == CLOSE
    assert got == ["after"]


async def test_keepalive_is_frozen_while_we_do_not_read(autojump_clock):
    """The peer's pong may sit behind what we do not read, so its silence says nothing."""
    got = list[str]()
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(100)
        with fate.watch(), pytest.raises(WebSocketDisconnect, match="1011: keepalive ping timeout"):
            await receive_all(ws, got)

    times = Timeouts(ping_interval=2.0, ping_timeout=3.0)
    async with peer_of(handler, timeouts=times) as peer:
        await trio.sleep(3)
        assert await peer.receive_frame() == RawFrame(PING, b"keepalive")
        await peer.send(*[text("x")] * 50)
        await fate.ended.wait()
        assert got == ["x"] * 50
        # Its time began anew when the inbox was empty, at 100 s: 2 s of silence, and 3 s for the pong that never came.
        assert fate.time == pytest.approx(105)
        *pings, last = [frame.opcode for frame in await peer.receive_frames()]
        assert last == CLOSE
        assert set(pings) == {PING}


async def fin(peer: RawPeer) -> None:
    await peer.half_close()


async def reset(peer: RawPeer) -> None:
    await peer.reset()


@pytest.mark.parametrize("leave", [fin, reset])
async def test_the_peers_departure_is_seen_behind_what_is_not_read(sockets, leave):
    """The handler works, and its inbox is full. The rule holds as if there were nothing in it."""
    fate = Witness()

    times = Timeouts(ping_interval=None, shutdown_grace=0.0, drain_timeout=0.0, cleanup_timeout=1000.0)
    with trio.fail_after(PATIENCE):
        async with serving(sockets, fate.stay, timeouts=times) as server:
            peer = await dial(sockets)
            await peer.send(*[text("x")] * 100)
            while server.statistics().messages_received < 32:
                await trio.sleep(0.001)
            await leave(peer)
            await fate.ended.wait()
            await peer.close()
    assert fate.cancelled == "peer left"


async def test_data_before_peer_left_is_received_despite_full_inbox(sockets):
    """What the peer sent before it left is received though the inbox was full."""
    got, fate, full = list[str](), Witness(), trio.Event()

    async def handler(ws: WebSocket) -> None:
        await full.wait()
        with fate.watch():
            await receive_all(ws, got)

    async with peer_of(handler, sockets, timeouts=TIMES, when_peer_leaves="finish") as peer:
        await peer.send(*(text(str(number)) for number in range(500)), close(1001))
        await fin(peer)
        await trio.testing.wait_all_tasks_blocked(0.3)
        full.set()
        await fate.ended.wait()
        await peer.close()
    assert got == [str(number) for number in range(500)]


async def test_send_to_reset_peer_behind_unread_data_raises(sockets):
    """It must not vanish into an outbox that nobody empties, whatever becomes of the handler."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        fate.began.set()
        with fate.watch(), pytest.raises(WebSocketDisconnect, match="1006"):
            while True:
                await ws.send(b"x" * 1000)

    async with peer_of(handler, sockets, timeouts=TIMES, when_peer_leaves="finish") as peer:
        await peer.send(*[text("x")] * 100)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await peer.reset()
        await fate.ended.wait()
    assert fate.cancelled is None


async def test_disconnect_behind_unread_data_is_no_handler_error(sockets, caplog):
    """Who echoes to a client that sends much and leaves has done nothing wrong."""
    ended = trio.Event()

    async def handler(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send(b"x" * 1000)
        finally:
            ended.set()

    with trio.fail_after(PATIENCE):
        async with serving(sockets, handler, timeouts=TIMES, when_peer_leaves="finish") as server:
            peer = await dial(sockets)
            await peer.send(*[text("x")] * 100)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await peer.reset()
            await ended.wait()
            await until_gone(server)
            assert server.statistics().handler_errors == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_failed_write_ends_the_handler_that_does_not_read(autojump_clock):
    """In memory nobody can see a departure behind unread data, but a write can."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(50)
        await ws.send("hello?")
        await fate.stay()

    async with peer_of(handler, timeouts=TIMES) as peer:
        await peer.send(*[text("x")] * 40)
        await trio.sleep(1)
        await peer.send(text("behind"))
        await peer.close()
        await fate.ended.wait()
    assert fate.time == pytest.approx(50 + TIMES.drain_timeout)
    assert fate.cancelled == "peer left"


# --- the outbox ---


async def test_send_waits_at_high_water_mark_until_the_peer_reads(autojump_clock):
    """Send waits from the high water mark on and goes on when the peer reads."""
    sent: list[float] = []

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(1)  # the handshake has left
        for _ in range(20):
            await ws.send(bytes(298))  # 302 with the header
            sent.append(trio.current_time())

    async with peer_of(handler, MemoryNetwork(capacity=0), timeouts=TIMES, limits=Limits(outbox_bytes=1000)) as peer:
        await trio.sleep(10)
        assert len(sent) == 4
        frames = []
        for _ in range(20):
            await trio.sleep(1)
            frames.append(await peer.receive_frame())
        assert frames == [RawFrame(BINARY, bytes(298))] * 20
    assert sent == sorted(sent)
    assert sent[-1] > 10


async def test_who_waits_for_room_does_not_lose_or_reorder_on_sockets(sockets):
    count = 2000

    async def handler(ws: WebSocket) -> None:
        for number in range(count):
            await ws.send(number.to_bytes(2) * 500)

    with trio.fail_after(PATIENCE):
        async with serving(sockets, handler, timeouts=TIMES) as server:
            peer = await dial(sockets)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert server.statistics().messages_sent < count / 2
            *frames, _ = await peer.receive_close()
            assert await peer.receive_frames() == []
            await peer.close()
    assert frames == [RawFrame(BINARY, number.to_bytes(2) * 500) for number in range(count)]


async def test_pongs_skip_the_wait_and_ping_flood_keeps_outbox_bounded(autojump_clock):
    """A pong does not wait for room and a flood of pings does not grow the outbox."""
    held = list[WebSocket]()
    limits = Limits(outbox_bytes=1000)

    async def handler(ws: WebSocket) -> None:
        held.append(ws)
        await ws.send(bytes(2000))
        await trio.sleep(20)

    async with peer_of(handler, MemoryNetwork(capacity=0), timeouts=TIMES, limits=limits) as peer:
        outbox = held[0].context.channel.transport.outbox
        for number in range(2000):
            await peer.send(ping(b"ping %d" % number))
            assert outbox.size <= 2004 + CONTROL_RESERVE + 1000
        await trio.sleep(1)
        frames = [await peer.receive_frame()]
        with trio.move_on_after(1):
            while True:
                frames.append(await peer.receive_frame())
        assert frames[0] == RawFrame(BINARY, bytes(2000))
        pongs = [frame.payload for frame in frames[1:]]
        assert pongs[0] == b"ping 0", "the reserve is for this one"
        assert pongs[-1] == b"ping 1999", "the latest is answered"
        assert len(pongs) < 1000, "many were answered by the latest"
        assert pongs == sorted(pongs, key=lambda pong: int(pong.split()[1]))


async def test_a_close_frame_does_not_wait_for_room(autojump_clock):
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        await ws.send(bytes(5000))
        with fate.watch():
            await ws.close(4000, "enough")

    async with peer_of(handler, MemoryNetwork(capacity=0), timeouts=TIMES, limits=Limits(outbox_bytes=1000)) as peer:
        await trio.sleep(3)
        assert await peer.receive_frame() == RawFrame(BINARY, bytes(5000))
        frame = await peer.receive_frame()
        assert (frame.close_code, frame.payload[2:]) == (4000, b"enough")
        await peer.send(close(4000))
        await fate.ended.wait()


# --- who does not read ---


async def send_for_ever(ws: WebSocket) -> None:
    while True:
        await ws.send(bytes(1000))


async def flood(peer: RawPeer) -> None:
    while True:
        await peer.send(*[ping(b"x" * 125)] * 10)
        await trio.sleep(0.1)


async def test_stalled_peer_is_aborted_with_1013_after_send_timeout(autojump_clock):
    """A peer that does not read is given up after send_timeout with 1013."""
    fate, codes = Witness(), list[int]()

    async def handler(ws: WebSocket) -> None:
        with fate.watch(), pytest.raises(WebSocketDisconnect, match="1013: peer does not read"):
            await send_for_ever(ws)

    async def gone(ws: WebSocket, code: int) -> None:
        codes.append(code)

    async with peer_of(
        handler, MemoryNetwork(capacity=0), timeouts=TIMES, limits=Limits(outbox_bytes=1000), on_disconnect=gone
    ):
        began = trio.current_time()
        await fate.ended.wait()
        await trio.sleep(1)
    assert fate.time - began == pytest.approx(TIMES.send_timeout)
    assert codes == [1013]


async def test_idle_handler_is_cancelled_when_pongs_are_not_read(autojump_clock):
    """A peer that floods us with pings and reads nothing is no better than one that does not read messages."""
    fate = Witness()

    async with peer_of(fate.stay, MemoryNetwork(capacity=0), timeouts=TIMES, limits=Limits(outbox_bytes=1000)) as peer:
        with pytest.RaisesGroup(trio.BrokenResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, peer)
    assert fate.cancelled == "closed by us: 1013 peer does not read"
    assert TIMES.send_timeout <= fate.time <= TIMES.send_timeout + 1


async def test_a_slow_peer_that_makes_progress_is_kept(autojump_clock):
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        await trio.sleep(1)  # the handshake has left
        with fate.watch():
            for _ in range(20):
                await ws.send(bytes(1000))

    async with peer_of(handler, MemoryNetwork(capacity=0), timeouts=TIMES, limits=Limits(outbox_bytes=1000)) as peer:
        for _ in range(20):
            await trio.sleep(TIMES.send_timeout - 1)
            assert await peer.receive_frame() == RawFrame(BINARY, bytes(1000))
        await fate.ended.wait()
    assert fate.cancelled is None


async def test_without_send_timeout_a_peer_may_take_its_time(autojump_clock):
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        with fate.watch():
            for _ in range(3):
                await ws.send(bytes(1000))

    times = Timeouts(ping_interval=None, send_timeout=None)  # type: ignore[arg-type]
    async with peer_of(handler, MemoryNetwork(capacity=0), timeouts=times, limits=Limits(outbox_bytes=1000)) as peer:
        await trio.sleep(10_000)
        assert [await peer.receive_frame() for _ in range(3)] == [RawFrame(BINARY, bytes(1000))] * 3
        await fate.ended.wait()


async def test_one_who_stalls_does_not_hold_up_others(sockets):
    """A peer that reads nothing fills its own outbox; another one is echoed to meanwhile."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        if await ws.receive() == "stall":
            fate.began.set()
            with pytest.raises(WebSocketDisconnect):
                await send_for_ever(ws)
        else:
            async for message in ws:
                await ws.send(message)

    with trio.fail_after(PATIENCE):
        async with serving(sockets, handler, timeouts=TIMES):
            stalling, other = await dial(sockets), await dial(sockets)
            await stalling.send(text("stall"))
            await fate.began.wait()
            await other.send(text("begin"))
            for number in range(100):
                await other.send(text(str(number)))
                assert await other.receive_frame() == RawFrame(TEXT, str(number).encode())
            await stalling.close()
            await other.close()


# --- limits ---


@pytest.mark.parametrize("size", [1025, 1 << 16, 1 << 62, (1 << 63) - 1])
async def test_a_message_that_is_too_large_is_refused_on_its_header(size, autojump_clock):
    """Not a byte of its payload has to come."""
    fate = Witness()

    async def handler(ws: WebSocket) -> None:
        assert await ws.receive() == b"\0" * 1024
        with fate.watch(), pytest.raises(WebSocketDisconnect, match="1009"):
            await ws.receive()

    async with peer_of(handler, timeouts=TIMES, limits=Limits(max_message_size=1024)) as peer:
        length = b"\xfe" + size.to_bytes(2) if size < 1 << 16 else b"\xff" + size.to_bytes(8)
        await peer.send(binary(b"\0" * 1024), b"\x82" + length)
        frames = await peer.receive_frames()
        assert [frame.close_code for frame in frames] == [1009]
        await fate.ended.wait()
