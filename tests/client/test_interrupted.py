"""Ctrl-C in a client's block: the server is told 1001, and not waited for, however mute it is."""

from __future__ import annotations

import pytest
import trio

from trio_ws import Timeouts, open_websocket
from trio_ws.protocol.frames import CLOSE
from trio_ws.testing import MemoryNetwork, RawPeer

NEVER = Timeouts(close_timeout=1000, cleanup_timeout=1000, ping_interval=None, send_timeout=None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["block", "task"])
async def test_a_mute_server_is_told_and_not_waited_for(autojump_clock, nursery, error, where):
    network = MemoryNetwork()
    listener = network.listen()
    client = await network.connect()
    server = await listener.accept()

    async def interrupt() -> None:
        raise error

    nursery.start_soon(RawPeer(server, side="server").accept)
    began = trio.current_time()
    with pytest.raises(error):
        async with open_websocket("ws://mute/", stream=client, timeouts=NEVER) as ws:
            if where == "task":
                ws.nursery.start_soon(interrupt)
                await ws.receive()
            raise error
    assert trio.current_time() - began < 5
    frame = b"".join([part async for part in server])
    assert frame[:2] == bytes([0x80 | CLOSE, 0x80 | 2])
    assert bytes(a ^ b for a, b in zip(frame[2:4], frame[6:8], strict=True)) == (1001).to_bytes(2)


async def test_a_server_that_does_not_even_read_is_not_waited_for(autojump_clock, nursery):
    network = MemoryNetwork(capacity=0)
    listener = network.listen()
    client = await network.connect()
    nursery.start_soon(RawPeer(await listener.accept(), side="server").accept)
    began = trio.current_time()
    with pytest.raises(KeyboardInterrupt):
        async with open_websocket("ws://mute/", stream=client, timeouts=NEVER) as ws:
            await ws.send("x" * 100_000)
            raise KeyboardInterrupt
    assert trio.current_time() - began < 5
