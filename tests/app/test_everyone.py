"""What an application says to all of its connections."""

from __future__ import annotations

import pytest
import trio

from trio_ws import App, WebSocket
from trio_ws.rooms import MemoryBackplane


def make(backplane: MemoryBackplane | None = None) -> App:
    app = App(backplane=backplane)

    @app.websocket("/")
    async def wait(ws: WebSocket) -> None:
        async for message in ws:
            await app.broadcast(message)

    return app


async def test_broadcast_reaches_all_processes_in_one_order(autojump_clock) -> None:
    """Broadcast reaches all connections of all processes in one order."""
    backplane = MemoryBackplane()
    here, there = make(backplane), make(backplane)
    async with here.test_client() as near, there.test_client() as far:
        async with near.websocket_connect("/") as ann, near.websocket_connect("/") as ben:
            async with far.websocket_connect("/") as cid:
                await ann.send("from Ann")
                for ws in (ann, ben, cid):
                    assert await ws.receive() == "from Ann"
                await there.broadcast({"from": "the other process"})
                for ws in (ann, ben, cid):
                    assert await ws.receive_json() == {"from": "the other process"}
            await ben.send(b"after Cid has left")
            for ws in (ann, ben):
                assert await ws.receive() == b"after Cid has left"
    assert here.connections.active == there.connections.active == set()


async def test_a_connection_that_is_not_accepted_is_left_out(autojump_clock) -> None:
    app = make()
    asked = trio.Event()

    @app.websocket("/later", auto_accept=False)
    async def later(ws: WebSocket) -> None:
        asked.set()
        await trio.sleep(1)
        async with ws:
            await ws.send("accepted")

    async with app.test_client() as client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def visit() -> None:
            async with client.websocket_connect("/later") as ws:
                assert await ws.receive() == "accepted"

        await asked.wait()
        await app.broadcast("too early")


async def test_what_cannot_be_encoded_is_the_callers_error(autojump_clock) -> None:
    app = make()
    async with app.test_client():
        with pytest.raises(TypeError):
            await app.broadcast(object())
