"""Functions that are called with each message, without a task: order, errors, backpressure and the end."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_ws import Limits, WebSocketDisconnect, WebSocketException


async def test_a_function_gets_all_messages_in_order(rig):
    contents = ["text", b"binary", "", *map(str, range(300)), b"\0" * 70_000, "end"]
    got = []

    async def body(websocket):
        with pytest.raises(WebSocketDisconnect):
            await websocket.call_for_each_message(got.append)

    async with rig.connect(body) as peer:
        for content in contents:
            await peer.message(content)
        await peer.message("in two ", fin=False)
        await peer.message("parts")
        await peer.close()
        await peer.rest()
    assert got == [*contents, "in two parts"]


async def test_a_function_answers_with_offer(rig):
    async with rig.connect(lambda websocket: websocket.call_for_each_message(websocket.offer)) as peer:
        for number in range(100):
            await peer.message(str(number))
        for number in range(100):
            assert await peer.next() == ("text", str(number))
        await peer.close()
        await peer.rest()


async def test_an_error_of_the_function_leaves_the_call(rig):
    got = []

    def refuse(message):
        got.append(message)
        if message == "b":
            raise WebSocketException(4003, "why")

    async def body(websocket):
        with pytest.raises(WebSocketException, match="why"):
            await websocket.call_for_each_message(refuse)
        assert await websocket.receive() == "c"

    async with rig.connect(body) as peer:
        for message in ("a", "b", "c"):
            await peer.message(message)
        assert await peer.rest() == [("close", (1000, ""))]
    assert got == ["a", "b"]


async def test_a_cancelled_call_gives_up_its_messages(rig):
    got = []

    async def body(websocket):
        with trio.move_on_after(0.01):
            await websocket.call_for_each_message(got.append)
        await peer_may_go_on.wait()
        assert await websocket.receive() == "later"

    peer_may_go_on = trio.Event()
    async with rig.connect(body) as peer:
        await trio.sleep(0.05)
        await peer.message("later")
        peer_may_go_on.set()
        assert await peer.rest() == [("close", (1000, ""))]
    assert got == []


async def test_a_second_receiver_is_refused(rig):
    async def body(websocket):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(websocket.call_for_each_message, print)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await websocket.receive()
            nursery.cancel_scope.cancel()

    assert await rig.run(body) == [("close", (1000, ""))]


async def test_a_policy_of_another_name_is_refused(rig):
    async def body(websocket):
        with pytest.raises(ValueError, match="when_full"):
            await websocket.call_for_each_message(print, when_full="drop")

    assert await rig.run(body) == [("close", (1000, ""))]


@pytest.mark.parametrize("network", ["poller", "memory"], indirect=True)
@pytest.mark.parametrize("when_full", ["pause", "call"])
async def test_a_full_outbox_pauses_the_peer_if_asked(rig, when_full):
    """Each answer is two hundred times its question: nothing is read while they wait, or they are refused."""
    taken = []

    async def body(websocket):
        def answer(message):
            taken.append(websocket.offer(message * 200))

        with pytest.raises(WebSocketDisconnect):
            await websocket.call_for_each_message(answer, when_full=when_full)

    async with rig.connect(body, limits=Limits(outbox_bytes=4096)) as peer:
        for _ in range(100):
            await peer.message("x" * 100)
        if when_full == "pause":
            for _ in range(100):
                assert await peer.next() == ("text", "x" * 20_000)
        await peer.close()
        await peer.rest()
    assert all(taken) if when_full == "pause" else len(taken) == 100
