"""Whose end a `WebSocketDisconnect` tells of, and the close frame without a code, on both sides."""

from __future__ import annotations

import copy
import pickle

import pytest
import trio
import trio.lowlevel

from contracts.conftest import NETWORKS, UNDER_HYPERCORN
from contracts.rig import Rig
from trio_ws import WebSocketDisconnect


async def ended_elsewhere(code: int) -> WebSocketDisconnect:
    """Return the end of another connection, in memory."""
    other = Rig("client", "memory")
    ends: list[WebSocketDisconnect] = []

    async def body(websocket):
        try:
            await websocket.receive()
        except WebSocketDisconnect as end:
            ends.append(end)

    async with other.connect(body) as peer:
        await peer.close(code)
    return ends[0]


@pytest.mark.parametrize("code", [1000, 1001, 4000])
@pytest.mark.parametrize("grouped", [False, True])
async def test_anothers_end_while_connected_closes_with_1011(server, caplog, code, grouped):
    """Whatever its code: it says nothing of this connection's peer."""

    async def body(websocket):
        error = await ended_elsewhere(code)
        raise ExceptionGroup("", [error]) if grouped else error

    assert await server.run(body) == [("close", (1011, ""))]
    assert len(caplog.records) == 1


async def test_anothers_end_after_the_peer_left_is_an_error(server, caplog):
    """The peer has left with 1000, and the handler fails at something else."""

    async def body(websocket):
        assert [message async for message in websocket] == []
        raise await ended_elsewhere(1000)

    async with server.connect(body) as peer:
        await peer.close(1000)
    (record,) = caplog.records
    assert record.levelname == "ERROR"


@pytest.mark.parametrize("grouped", [False, True])
async def test_its_own_end_that_leaves_the_handler_is_no_error(server, caplog, grouped):
    async def body(websocket):
        if grouped:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.receive)
                await trio.sleep_forever()
        await websocket.receive()

    async with server.connect(body) as peer:
        await peer.close(1000)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_anothers_end_leaves_the_block_of_a_client(client):
    """The server has closed this connection well; the other one's end is still the block's error."""
    raised = None

    async def body(websocket):
        nonlocal raised
        await trio.lowlevel.checkpoint()
        assert [message async for message in websocket] == []
        raised = await ended_elsewhere(1000)
        raise raised

    async with client.connect(body) as peer:
        await peer.close(1000)
    assert client.error is raised


@pytest.mark.parametrize("own", ["direct", "in a group"])
async def test_async_with_swallows_its_own_good_end_only(server, own):
    passed = []

    async def body(websocket):
        async with websocket:
            if own == "direct":
                await websocket.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(websocket.receive)
        passed.append("own")
        error = await ended_elsewhere(1000)
        with pytest.raises(WebSocketDisconnect):
            async with websocket:
                raise error
        passed.append("another's")

    async with server.connect(body) as peer:
        await peer.close(1000)
    assert passed == ["own", "another's"]


def test_a_disconnect_can_be_pickled_and_copied():
    """Though it is marked with the connection that it is of."""

    async def make():
        return await ended_elsewhere(4001)

    end = trio.run(make)
    for twin in (pickle.loads(pickle.dumps(end)), copy.copy(end)):
        assert (type(twin), twin.code, twin.reason) == (WebSocketDisconnect, 4001, "")


async def test_a_close_frame_without_a_code_ends_iteration(rig):
    """As a browser's `close()` sends it: the line behind the loop runs, and the code is still 1005."""
    seen = []

    async def body(websocket):
        seen.extend([message async for message in websocket])
        seen.append(websocket.close_code)

    async with rig.connect(body) as peer:
        await peer.message("a")
        await peer.close(None)
    assert seen == ["a", 1006 if rig.network in UNDER_HYPERCORN else 1005]


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
async def test_without_1000_a_close_frame_without_a_code_raises(server):
    ends = []

    async def body(websocket):
        with pytest.raises(WebSocketDisconnect) as caught:
            _ = [message async for message in websocket]
        ends.append(caught.value.code)

    async with server.connect(body, caught_close_codes=(1001,)) as peer:
        await peer.close(None)
    assert ends == [1005]
