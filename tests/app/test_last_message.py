"""The last message: what begins after the peer has left has its time, and is recorded if it is cut off."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from support.handlers import app_of, app_of_listener
from support.internals import internal
from support.networks import Witness, serving

from trio_ws import App, Timeouts, WebSocket, open_websocket
from trio_ws.testing import MemoryNetwork

DRAIN = 1.0
CLEANUP = 5.0
TIMES = Timeouts(drain_timeout=DRAIN, cleanup_timeout=CLEANUP, ping_interval=None)


async def leave_behind(app: App, *messages: str) -> None:
    """Send messages and a close frame in one segment to `/`, and wait for the end, in virtual time."""
    async with app.test_client(raise_server_errors=False, timeout=60) as client:
        async with client.websocket_connect("/") as ws:
            channel: Any = ws.context.channel
            frames = b"".join(internal(channel.reader, "_endpoint").encoder.message(each) for each in messages)
            channel.transport.write(frames + internal(channel.reader, "_endpoint").close(1000, ""))
            await channel.closing.wait_gone()


@pytest.fixture
def cut_off(caplog: pytest.LogCaptureFixture) -> Any:
    """The records of handlers that were cut off."""
    caplog.set_level(logging.INFO, "trio_ws")
    return lambda: [record for record in caplog.records if "cut off" in record.getMessage()]


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("seconds", [DRAIN + 1, CLEANUP - 0.1])
async def test_a_callback_that_begins_late_has_cleanup_timeout(concurrency, seconds, cut_off, autojump_clock) -> None:
    """Message and close come in one segment: the callback begins when the peer has left already."""
    done: list[str] = []

    async def work(data: str) -> None:
        await trio.sleep(seconds)
        done.append(data)

    await leave_behind(app_of_listener(work, "/", App(timeouts=TIMES), encoding="text", concurrency=concurrency), "a")
    assert done == ["a"]
    assert cut_off() == []


async def test_a_queued_message_gives_its_callback_the_whole_time(cut_off, autojump_clock) -> None:
    done: list[str] = []

    async def work(data: str) -> None:
        await trio.sleep(CLEANUP - 0.1)
        done.append(data)

    await leave_behind(app_of_listener(work, "/", App(timeouts=TIMES), encoding="text"), "a", "b", "c")
    assert done == ["a", "b", "c"]


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_callback_that_is_cut_off_is_one_record(concurrency, cut_off, autojump_clock) -> None:
    fate = Witness()

    async def work(data: str) -> None:
        await fate.stay()

    began = trio.current_time()
    await leave_behind(app_of_listener(work, "/", App(timeouts=TIMES), encoding="text", concurrency=concurrency), "a")
    assert fate.cancelled is not None
    assert fate.time - began == pytest.approx(CLEANUP)
    (record,) = cut_off()
    assert record.levelno == logging.INFO
    assert "when_peer_leaves" in record.getMessage()
    assert record.when_peer_leaves == "drain"


@pytest.mark.parametrize(("policy", "seconds"), [("drain", DRAIN), ("cancel", 0.0)])
async def test_a_view_that_is_cut_off_is_one_record(policy, seconds, cut_off, autojump_clock) -> None:
    """It works on the message that came before the close frame, and was not told of the end."""
    fate = Witness()

    async def view(ws: WebSocket) -> None:
        await ws.receive()
        fate.began.set()
        await fate.stay()

    app = app_of(view, "/", App(timeouts=TIMES), when_peer_leaves=policy)
    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send("a")
        await fate.began.wait()
        began = trio.current_time()
        await ws.close()
        await fate.ended.wait()
    assert fate.time - began == pytest.approx(seconds)
    (record,) = cut_off()
    assert record.when_peer_leaves == policy


async def told(ws: WebSocket) -> None:
    """Is told of the end, and takes too long to say goodbye."""
    assert [message async for message in ws] == []
    await trio.sleep_forever()


async def pushes(ws: WebSocket) -> None:
    """Never reads."""
    await trio.sleep_forever()


async def returns(ws: WebSocket) -> None:
    """Ends in time."""
    await ws.receive()
    await trio.sleep(DRAIN / 2)


@pytest.mark.parametrize("view", [told, pushes, returns])
async def test_who_is_not_at_work_on_a_message_is_no_record(view, cut_off, autojump_clock) -> None:
    app = App(timeouts=TIMES)
    app.websocket("/")(view)
    await leave_behind(app, *(["a"] if view is returns else []))
    assert cut_off() == []


async def test_the_block_of_a_client_that_is_cut_off_is_recorded(cut_off, autojump_clock) -> None:
    network = MemoryNetwork()

    async with serving(network, lambda ws: ws.send("a"), timeouts=TIMES):
        with trio.fail_after(60):
            async with open_websocket("ws://localhost/", stream=await network.connect(), timeouts=TIMES) as ws:
                await ws.receive()
                await trio.sleep_forever()
    (record,) = cut_off()
    assert record.when_peer_leaves == "drain"


async def test_a_callback_that_an_instrument_watches_has_the_same_time(autojump_clock) -> None:
    """The channel that it works on is a wrapper then."""
    from trio_ws.handler.instruments import Instrument

    done: list[str] = []

    class Watching(Instrument):
        def message_received(self, websocket: WebSocket, message: Any) -> None:
            pass

    async def work(data: str) -> None:
        await trio.sleep(CLEANUP - 0.1)
        done.append(data)

    await leave_behind(app_of_listener(work, "/", App(timeouts=TIMES, instruments=[Watching()]), encoding="text"), "a")
    assert done == ["a"]
