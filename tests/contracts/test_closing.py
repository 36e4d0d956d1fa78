"""Closing: who may close when with what, what the other side sees, and how long anybody waits; on either side."""

from __future__ import annotations

import pytest
import trio

from trio_ws import CloseCode, LocalProtocolError, Timeouts, WebSocketDisconnect

GOOD_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999]
BAD_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, -1]


@pytest.mark.values("code")
@pytest.mark.parametrize("code", GOOD_CODES)
async def test_close_sends_its_code_and_reason(rig, code):
    async def body(websocket):
        await websocket.close(code, "because ü")
        assert not websocket.connected
        assert (websocket.close_code, websocket.close_reason) == (code, "because ü")
        assert websocket.close_info.by == "local"

    assert await rig.run(body) == [("close", (code, "because ü"))]
    assert rig.codes == ([code] if rig.side == "server" else [])


async def test_close_without_arguments_is_1000(rig):
    async def body(websocket):
        assert websocket.connected
        await websocket.close()
        assert websocket.close_code is not None

    assert await rig.run(body) == [("close", (1000, ""))]


@pytest.mark.values("code")
@pytest.mark.parametrize("code", BAD_CODES)
async def test_forbidden_close_code_is_a_value_error_and_sends_nothing(rig, code):
    """A code that may not be sent is a ValueError and nothing is sent."""

    async def body(websocket):
        with pytest.raises(ValueError, match=str(code)):
            await websocket.close(code)
        with pytest.raises(ValueError, match=str(code)):
            await websocket.ensure_closed(code)
        assert websocket.connected
        await websocket.close(4000)  # which is the first

    assert await rig.run(body) == [("close", (4000, ""))]


@pytest.mark.values("reason")
@pytest.mark.parametrize("reason", ["x" * 124, "ü" * 62, "\ud800"], ids=["ASCII", "UTF-8", "surrogate"])
async def test_invalid_close_reason_is_a_value_error_and_sends_nothing(rig, reason):
    """A reason that cannot be sent is a ValueError and nothing is sent."""

    async def body(websocket):
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
            await websocket.close(4000, reason)
        await websocket.close(4000, "x" * 123)

    assert await rig.run(body) == [("close", (4000, "x" * 123))]


async def test_a_second_own_close_is_a_runtime_error(rig):
    async def body(websocket):
        await websocket.close(4000)
        with pytest.raises(RuntimeError) as caught:
            await websocket.close(4000)
        assert isinstance(caught.value, LocalProtocolError)
        assert "ensure_closed" in str(caught.value)
        await websocket.ensure_closed(4001)
        await websocket.aclose()
        await websocket.aclose()

    assert await rig.run(body) == [("close", (4000, ""))]
    assert rig.error is None


async def test_second_close_during_the_first_is_a_runtime_error(rig):
    """A second close while the first waits is a RuntimeError too."""

    async def body(websocket):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.close, 4000)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(RuntimeError):
                await websocket.close(4001)
            await websocket.ensure_closed()

    async with rig.connect(body) as peer:
        assert await peer.next() == ("close", (4000, ""))
        await peer.rest()


@pytest.mark.values("code")
@pytest.mark.parametrize("ending", ["close frame", "drop"])
@pytest.mark.parametrize("code", [1000, 1005, 1006, 4000, 77])
async def test_after_the_peers_end_any_close_is_a_no_op(rig, ending, code):
    async def body(websocket):
        assert [message async for message in websocket] == []
        before = websocket.close_info
        for _ in range(3):
            await websocket.close(code, "x" * 200)
        await websocket.ensure_closed(code)
        assert websocket.close_info == before

    async with rig.connect(body, caught_close_codes=all) as peer:
        if ending == "drop":
            await peer.leave()
        else:
            await peer.close(4321)
            assert await peer.rest() == [("close", (4321, ""))]
    assert rig.error is None


async def test_close_waits_for_the_peers_answer(rig):
    done = trio.Event()

    async def body(websocket):
        await websocket.close(4000)
        done.set()

    async with rig.connect(body) as peer:
        assert await peer.next() == ("close", (4000, ""))
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        await peer.close(4001)
        await done.wait()
        await peer.rest()
    assert rig.websocket.close_code == 4000  # the first frame's, though the peer answered with another


async def test_close_waits_close_timeout_at_most_and_handler_goes_on(rig, clock):
    """Close waits at most close_timeout and the handler goes on."""
    waited = []

    async def body(websocket):
        start = trio.current_time()
        await websocket.close(4000)
        waited.append(trio.current_time() - start)
        await trio.lowlevel.checkpoint()

    async with rig.connect(body, timeouts=Timeouts(ping_interval=None, close_timeout=0.2)) as peer:
        assert await peer.next() == ("close", (4000, ""))
        assert await peer.next() is None  # aborted
    assert waited[0] >= 0.2 - 0.001
    if clock is not None:
        assert waited[0] == pytest.approx(0.2)
    assert rig.error is None
    assert rig.codes == ([4000] if rig.side == "server" else [])


@pytest.mark.parametrize("network", ["poller", "stream"])  # a memory stream takes everything
async def test_a_peer_that_reads_nothing_keeps_nobody_from_closing(rig):
    left = trio.Event()

    async def body(websocket):
        with trio.move_on_after(0.05):
            while True:
                await websocket.send("x" * 300_000)
        await websocket.close(4000)
        left.set()

    async with rig.connect(body, timeouts=Timeouts(ping_interval=None, close_timeout=0.2)):
        await left.wait()
    assert rig.websocket.close_code == 4000


async def test_both_close_at_once(rig):
    """Each side's frame is the first for itself; nobody waits for another."""

    async def body(websocket):
        await websocket.send("now")
        await websocket.close(4000)

    seen = await rig.run(body, close=4001)
    assert seen[-1][0] == "close"
    assert rig.websocket.close_code in (4000, 4001)
    assert rig.error is None or isinstance(rig.error, WebSocketDisconnect)


async def test_data_between_close_frames_is_dropped_without_pongs(rig):
    """What the peer sends between our close and its own is dropped and pings get no pong."""

    async def body(websocket):
        await websocket.close(4000)
        with pytest.raises(WebSocketDisconnect):
            await websocket.receive()

    async with rig.connect(body) as peer:
        assert await peer.next() == ("close", (4000, ""))
        await peer.message("dropped")
        await peer.ping(b"unanswered")
        await peer.message(b"dropped" * 10_000)
        assert await peer.rest() == []


async def test_server_ends_the_network_connection_and_client_waits(rig, clock):
    """The server ends the network connection the client waits for it."""

    async with rig.connect(lambda websocket: websocket.close()) as peer:
        assert await peer.next() == ("close", (1000, ""))
        await peer.close()
        if rig.side == "server":
            assert await peer.next() is None
        else:
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.05) as still_open:
                await peer.next()
            assert still_open.cancelled_caught


async def test_state_before_during_and_after(rig):
    async def body(websocket):
        assert websocket.accepted
        assert websocket.connected
        assert websocket.close_info is websocket.close_code is websocket.close_reason is None
        assert "open" in repr(websocket)
        await websocket.send("go on")
        await websocket.receive()

    async with rig.connect(body, caught_close_codes=all) as peer:
        await peer.next()
        await peer.close(4000, "bye")
        await peer.rest()
    websocket = rig.websocket
    assert websocket.accepted
    assert not websocket.connected
    assert (websocket.close_code, websocket.close_reason, websocket.close_info.by) == (4000, "bye", "peer")
    assert "4000" in repr(websocket)
    with pytest.raises(WebSocketDisconnect):
        await websocket.send("from a stranger, after the end")
    await websocket.close(CloseCode.GOING_AWAY)  # no complaint: the peer closed


async def test_after_the_handler_has_ended_close_never_complains(server):
    """A stranger may hold on to it, and cannot know what the library did in the end."""

    async def body(websocket):
        pass

    assert await server.run(body) == [("close", (1000, ""))]
    await server.websocket.close()
    await server.websocket.close(4000)
    await server.websocket.ensure_closed()
