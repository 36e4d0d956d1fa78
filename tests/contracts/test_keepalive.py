"""Keepalive on whole connections, on both sides: dead peers are found, idle and old connections retired."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from support.handlers import echo
from support.networks import SocketNetwork, Witness, peer_of, pong

from contracts.rig import Rig
from trio_ws import Limits, Timeouts, WebSocket, WebSocketDisconnect
from trio_ws.protocol.frames import BINARY, CLOSE, PING
from trio_ws.testing import MemoryNetwork, frame_bytes
from trio_ws.transport.outbox import WRITE_BYTES

DEAD = ("close", (1011, "keepalive ping timeout"))
PROBE = ("ping", b"keepalive")


@pytest.fixture(params=["server", "client"])
def rig(request, monkeypatch):
    """Our side as either, in memory and virtual time, of which there is plenty."""
    monkeypatch.setattr("contracts.rig.LONG", 1000.0)
    return Rig(request.param, "memory")


def times(**changed: float | None) -> Timeouts:
    return Timeouts(**{"ping_interval": None, **changed})  # type: ignore[arg-type]


async def sleep(ws: WebSocket) -> None:
    await trio.sleep_forever()


async def test_unanswered_pings_abort_with_1011_and_cancel_the_handler(rig, autojump_clock):
    """A peer that answers no ping is given up with 1011 and the handler cancelled."""
    fate = Witness()

    async with rig.connect(fate.stay, timeouts=times(ping_interval=4.0, ping_timeout=3.0)) as peer:
        assert await peer.next() == PROBE
        assert trio.current_time() == pytest.approx(4)
        assert await peer.next() == DEAD
        assert trio.current_time() == pytest.approx(7)
        await fate.ended.wait()
        assert fate.time == pytest.approx(7)
    assert fate.cancelled == "closed by us: 1011 keepalive ping timeout"


async def test_who_waits_when_the_peer_is_given_up_is_told(rig, autojump_clock):
    fate = Witness()

    async def body(ws: WebSocket) -> None:
        with fate.watch(), pytest.raises(WebSocketDisconnect, match="1011: keepalive ping timeout"):
            await ws.receive()

    async with rig.connect(body, timeouts=times(ping_interval=4.0, ping_timeout=3.0)) as peer:
        await fate.ended.wait()
        assert peer.stream is not None
    assert fate.cancelled is None


async def test_a_peer_that_answers_is_kept(rig, autojump_clock):
    async with rig.connect(sleep, timeouts=times(ping_interval=1.0, ping_timeout=0.5)) as peer:
        for number in range(1, 15):
            assert await peer.next() == PROBE
            assert trio.current_time() == pytest.approx(number * 1.25 - 0.25)
            await trio.sleep(0.25)
            await peer.pong(b"keepalive")
        assert rig.websocket.connected


async def test_a_peer_that_talks_is_not_pinged(rig, autojump_clock):
    async def body(ws: WebSocket) -> None:
        async for _ in ws:
            pass

    async with rig.connect(body, timeouts=times(ping_interval=1.0, ping_timeout=0.5)) as peer:
        for _ in range(15):
            await trio.sleep(0.9)
            await peer.message("still here")
        await peer.close(1000)
        assert await peer.rest() == [("close", (1000, ""))]


async def test_a_handler_that_stalls_still_answers_pings(rig, autojump_clock):
    async with rig.connect(sleep) as peer:
        await trio.sleep(5)
        await peer.ping(b"are you there?")
        assert await peer.next() == ("pong", b"are you there?")


async def test_silent_peer_slow_with_a_large_message_is_kept(autojump_clock):
    """A silent peer that takes long for a large message is kept."""
    size = 10 * WRITE_BYTES

    async def handler(ws: WebSocket) -> None:
        await ws.send(bytes(size))
        await trio.sleep_forever()

    times = Timeouts(ping_interval=4.0, ping_timeout=3.0, send_timeout=5.0)
    async with peer_of(handler, MemoryNetwork(capacity=0), timeouts=times, limits=Limits(outbox_bytes=1000)) as peer:
        some = b""
        for _ in range(9):  # what is left of it after this is behind no ping
            await trio.sleep(4)
            some += await peer.receive_some()
        some += await peer.receive_bytes(size + 10 - len(some))
        assert some == frame_bytes(BINARY, bytes(size), mask=None)
        await peer.close()


async def test_an_idle_connection_is_closed_with_1001(rig, autojump_clock):
    """Messages either way count; pings and pongs do not."""
    got: list[Any] = []

    async def body(ws: WebSocket) -> None:
        await trio.sleep(2)
        await ws.send("from us")  # at 2 s
        async for message in ws:
            got.append(message)

    async with rig.connect(body, timeouts=times(idle_timeout=3.0)) as peer:
        assert await peer.next() == ("text", "from us")
        await trio.sleep(2)
        await peer.message("to us")  # at 4 s
        await trio.sleep(2)
        await peer.ping(b"")
        assert await peer.next() == ("pong", b"")
        assert await peer.next() == ("close", (1001, "idle timeout"))
        assert trio.current_time() == pytest.approx(7)
    assert got == ["to us"]


async def test_a_connection_is_closed_with_1001_at_its_maximum_age(rig, autojump_clock):
    async with rig.connect(echo, timeouts=times(max_lifetime=10.0)) as peer:
        for _ in range(9):
            await trio.sleep(1)
            await peer.message("busy")
            assert await peer.next() == ("text", "busy")
        assert await peer.next() == ("close", (1001, "maximum lifetime reached"))
        assert trio.current_time() == pytest.approx(10)


async def test_close_by_the_library_reaches_handler_by_the_same_rule(rig, autojump_clock):
    """It did not close itself: if it never reads, it is cancelled at once."""
    fate = Witness()

    async with rig.connect(fate.stay, timeouts=times(max_lifetime=10.0)) as peer:
        assert await peer.next() == ("close", (1001, "maximum lifetime reached"))
        await peer.close(1001)
        await fate.ended.wait()
    assert fate.time == pytest.approx(10)
    assert fate.cancelled == "closed by us: 1001 maximum lifetime reached"


async def test_none_turns_it_all_off(rig, autojump_clock):
    async with rig.connect(sleep, timeouts=times(idle_timeout=None, max_lifetime=None)) as peer:
        with trio.move_on_after(15) as scope:
            await peer.next()
        assert scope.cancelled_caught
        assert rig.websocket.connected


@pytest.mark.parametrize("poller", [False, True], ids=["stream", "poller"])
async def test_on_sockets_a_peer_is_kept_as_long_as_it_answers(poller):
    fate = Witness()

    with trio.fail_after(10):
        async with peer_of(
            fate.stay,
            SocketNetwork(poller=poller),
            timeouts=times(ping_interval=0.01, ping_timeout=0.2, shutdown_grace=0.0),
        ) as peer:
            for _ in range(10):
                frame = await peer.receive_frame()
                assert (frame.opcode, frame.payload) == (PING, b"keepalive")
                await peer.send(pong(b"keepalive"))
            assert not fate.ended.is_set()
            frames = await peer.receive_frames()
            assert [frame.opcode for frame in frames] in ([PING, CLOSE], [CLOSE])
            assert frames[-1].close_code == 1011
            await fate.ended.wait()
            await peer.close()
    assert fate.cancelled == "closed by us: 1011 keepalive ping timeout"
