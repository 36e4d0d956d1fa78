"""Waiting for the end without receiving, how clean it was, and the addresses of both sides."""

from __future__ import annotations

import pytest
import trio

from contracts.conftest import UNDER_HYPERCORN
from trio_ws import Timeouts
from trio_ws.transport.socket_options import socket_below

VIRTUAL = pytest.mark.parametrize("network", ["memory"], indirect=True)


async def test_wait_closed_returns_how_the_peer_closed(rig):
    async def body(websocket):
        ends.append(await websocket.wait_closed())
        assert ends == [websocket.close_info]

    ends = []
    await rig.run(body, close=4001)
    assert [info.code for info in ends] == [1006 if rig.network in UNDER_HYPERCORN else 4001]


async def test_messages_before_the_end_stay_for_receive(rig):
    async def body(websocket):
        await websocket.wait_closed()
        received.append(await websocket.receive())

    received = []
    await rig.run(body, "last words", close=1000)
    assert received == ["last words"]


async def test_cancelled_wait_closed_changes_nothing(rig):
    async def body(websocket):
        with trio.move_on_after(0):
            await websocket.wait_closed()
        assert websocket.connected
        await websocket.send("still here")

    async with rig.connect(body) as peer:
        assert await peer.next() == ("text", "still here")
        await peer.rest()


@VIRTUAL
async def test_handler_that_waited_has_time_to_clean_up(rig, autojump_clock):
    async def body(websocket):
        await websocket.wait_closed()
        await trio.sleep(4)
        cleaned.append(True)

    cleaned = []
    await rig.run(body, close=1000, timeouts=Timeouts(drain_timeout=1, cleanup_timeout=5))
    assert cleaned == [True]


async def test_a_close_that_is_answered_is_clean(rig):
    async def body(websocket):
        assert not websocket.closed_cleanly
        await websocket.close()
        assert websocket.closed_cleanly

    assert await rig.run(body) == [("close", (1000, ""))]


async def test_a_lost_connection_is_not_clean(rig):
    async def body(websocket):
        await websocket.wait_closed()
        assert not websocket.closed_cleanly
        seen.append(websocket.close_code)

    seen = []
    async with rig.connect(body) as peer:
        await peer.leave()
    assert seen == [1006]


@VIRTUAL
async def test_a_close_without_an_answer_is_not_clean(rig, autojump_clock):
    async def body(websocket):
        began = trio.current_time()
        await websocket.close()
        clean.append(websocket.closed_cleanly)
        assert trio.current_time() - began == pytest.approx(2, abs=0.01)

    clean = []
    async with rig.connect(body, timeouts=Timeouts(close_timeout=2, ping_interval=None)) as peer:
        assert await peer.next() == ("close", (1000, ""))
        while not clean:
            await trio.sleep(0.1)
    assert clean == [False]


async def test_addresses_are_those_of_both_sockets(rig):
    async def body(websocket):
        addresses.append((websocket.local_address, websocket.remote_address))
        await websocket.wait_closed()

    addresses = []
    async with rig.connect(body) as peer:
        sock = socket_below(peer.stream)
        expected = (None, None)
        if sock is not None and rig.network not in UNDER_HYPERCORN:
            expected = (sock.getpeername(), sock.getsockname())
        await peer.close()
        await peer.rest()
    assert addresses == [expected]
