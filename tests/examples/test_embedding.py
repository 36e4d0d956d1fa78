"""The example of embedding: a weather station that is a Trio program of its own, with a WebSocket in it."""

from __future__ import annotations

import signal
from functools import partial

import trio

from trio_ws import open_websocket

from .browser import EXAMPLES, load
from .process import PATIENCE, forked, launching

DIRECTORY = EXAMPLES / "embedding"


async def test_clients_get_measurements_and_a_close_on_cancellation() -> None:
    """Whoever is connected hears what the program measures and is told when it is cancelled."""
    with trio.fail_after(PATIENCE):
        async with forked(launching(DIRECTORY / "app.py"), DIRECTORY) as station:
            url = f"ws://{await station.address()}/weather"
            connect = partial(open_websocket, url, receive_type="json", when_peer_leaves="finish")
            async with connect() as one, connect() as other:
                heard = [await one.receive(), await other.receive()]
                assert await station.interrupt() == 0
                heard += [reading for ws in (one, other) async for reading in ws]
                assert [one.close_code, other.close_code] == [1001, 1001]
    assert all(15 < each["temperature"] < 25 for each in heard)
    assert station.output.endswith("goodbye\n")


async def test_sigterm_ends_it_as_ctrl_c_does() -> None:
    with trio.fail_after(PATIENCE):
        async with forked(launching(DIRECTORY / "app.py"), DIRECTORY) as station:
            url = f"ws://{await station.address()}/weather"
            async with open_websocket(url, when_peer_leaves="finish", caught_close_codes=all) as ws:
                station.signal(signal.SIGTERM)
                assert await station.ended() == 0
                async for _ in ws:
                    pass
            assert ws.close_code == 1001
    assert station.output.endswith("goodbye\n")


async def test_program_goes_on_without_clients_and_when_clients_leave(autojump_clock) -> None:
    """The program goes on when nobody listens and when clients leave."""
    example = load("embedding")
    async with example.app.test_client() as client, trio.open_nursery() as nursery:
        sending, receiving = trio.open_memory_channel[float](0)
        nursery.start_soon(example.measure, sending, 1.0)
        nursery.start_soon(example.report, receiving)
        await trio.sleep(10)
        for _ in range(2):
            async with client.websocket_connect("/weather") as ws:
                await ws.receive_json()
            await trio.sleep(10)
            assert example.app.room("weather").count == 0
        nursery.cancel_scope.cancel()
