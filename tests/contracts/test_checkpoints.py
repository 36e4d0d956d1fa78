"""Cancelling at each checkpoint: whole frames only, nothing received is lost, one farewell, nothing left behind."""

from __future__ import annotations

import pytest
import trio

from contracts.rig import status_of
from trio_ws import Limits, Timeouts, WebSocketDisconnect
from trio_ws.testing import cancel_everywhere

pytestmark = pytest.mark.sweep

SMALL = Limits(outbox_bytes=1)
"""Every send waits until the one before it is with the network."""
QUICK = Timeouts(ping_interval=None, close_timeout=0.2, shutdown_grace=0.05, drain_timeout=0.05)


def one_farewell(rig):
    """On the server `on_disconnect` ran exactly once."""
    assert len(rig.codes) == (rig.side == "server")
    rig.codes.clear()


async def test_a_cancelled_send_is_sent_whole_or_not_at_all(rig):
    bulk = "x" * 200_000  # more than the sockets' buffers take at once

    async def scenario(cut):
        sent = []

        async def body(websocket):
            with cut():
                for content in (bulk, "second", b"third", bulk):
                    await websocket.send(content)
                    sent.append(content)
            await websocket.send("after")

        async with rig.connect(body, limits=SMALL) as peer:
            await trio.testing.wait_all_tasks_blocked()
            seen = [content for kind, content in await peer.rest() if kind in ("text", "binary")]
        assert seen == [*sent, "after"]
        assert sent or cut.cancelled
        one_farewell(rig)

    assert await cancel_everywhere(scenario) >= 4


async def test_a_cancelled_receive_loses_nothing(rig):
    contents = ["one", b"two", "three" * 1000, "four"]

    async def scenario(cut):
        received = []

        async def body(websocket):
            with cut():
                async for message in websocket:
                    received.append(message)
            received.extend([message async for message in websocket])

        async with rig.connect(body) as peer:
            for content in contents:
                await peer.message(content)
                await trio.testing.wait_all_tasks_blocked()
            await peer.close()
            assert await peer.rest() == [("close", (1000, ""))]
        assert received == contents
        one_farewell(rig)

    assert await cancel_everywhere(scenario) >= 6


async def test_a_cancelled_receive_of_fragments_loses_nothing(rig):
    async def scenario(cut):
        received = []

        async def body(websocket):
            stream = websocket.receive_stream()
            with cut():
                async for part in stream:
                    received.append(part)
            received.extend([part async for part in stream])
            received.append(await websocket.receive())

        async with rig.connect(body) as peer:
            for part in ("one ", "two ", "three "):
                await peer.message(part, fin=False)
                await trio.testing.wait_all_tasks_blocked()
            await peer.message("four", fin=True)
            await peer.message("next")
            assert await peer.rest() == [("close", (1000, ""))]
        assert "".join(received) == "one two three fournext"
        assert received[-1] == "next"
        one_farewell(rig)

    assert await cancel_everywhere(scenario) >= 4


async def test_cancelled_ping_is_whole_or_unsent_and_next_is_answered(rig):
    """A cancelled ping was sent whole or not at all and the next is answered."""

    async def scenario(cut):
        async def body(websocket):
            with cut():
                await websocket.ping(b"first")
            await websocket.ping(b"first")  # a cancelled ping is outstanding no more
            await websocket.send("alive")

        async with rig.connect(body) as peer:
            while (seen := await peer.next()) == ("ping", b"first"):
                await peer.pong(b"first")
            assert seen == ("text", "alive")
            assert await peer.rest() == [("close", (1000, ""))]
        assert peer.seen.count(("ping", b"first")) in ((1, 2) if cut.cancelled else (2,))
        one_farewell(rig)

    assert await cancel_everywhere(scenario) >= 3


async def test_a_cancelled_close_can_be_completed(rig):
    async def scenario(cut):
        async def body(websocket):
            with cut():
                await websocket.close(4001, "first")
            if websocket.connected:
                await websocket.close(4002, "second")
            assert not websocket.connected
            with pytest.raises(WebSocketDisconnect):
                await websocket.send("too late")

        seen = await rig.run(body)
        assert len(seen) == 1
        assert seen[0] in (("close", (4001, "first")), ("close", (4002, "second")))
        one_farewell(rig)

    assert await cancel_everywhere(scenario) >= 3


async def test_a_cancelled_accept_has_sent_nothing_or_everything(server):
    async def scenario(cut):
        async def body(websocket):
            with cut():
                await websocket.accept(headers=[("X-Attempt", "first")])
            if cut.cancelled:
                assert not websocket.accepted
                await websocket.accept(headers=[("X-Attempt", "second")])
            await websocket.send("open")

        async with trio.open_nursery() as nursery:
            await server.serve(nursery, body, auto_accept=False)
            head, peer = await server.dial()
            assert status_of(head) == 101
            assert head.lower().count(b"x-attempt") == 1
            assert await peer.rest() == [("text", "open"), ("close", (1000, ""))]
            await server.all_gone()
            nursery.cancel_scope.cancel()
        one_farewell(server)

    assert await cancel_everywhere(scenario) >= 2


async def test_a_cancelled_reject_is_a_refusal_all_the_same(server):
    async def scenario(cut):
        async def body(websocket):
            with cut():
                await websocket.reject(404, body=b"not here")

        async with trio.open_nursery() as nursery:
            await server.serve(nursery, body, auto_accept=False)
            head, peer = await server.dial()
            assert status_of(head) in (403, 404)
            while await peer.stream.receive_some():  # the body, which hypercorn sends behind the head
                pass
            await peer.leave()
            await server.all_gone()
            nursery.cancel_scope.cancel()
        assert server.codes == []

    assert await cancel_everywhere(scenario) >= 2


async def test_a_cancelled_block_of_a_client_says_1001_in_whole_frames(client):
    async def scenario(cut):
        ended = []

        async def body(websocket):
            with cut():
                async with websocket:
                    await websocket.send("hello")
                    await websocket.receive()
                    ended.append("well")

        async with client.connect(body) as peer:
            assert await peer.next() == ("text", "hello") or peer.seen[0][0] == "close"
            if peer.seen[0][0] == "text":
                await peer.message("hello back")
            await peer.rest()
        assert [content for kind, content in peer.seen if kind == "close"] == [(1000 if ended else 1001, "")]

    assert await cancel_everywhere(scenario) >= 3


async def test_serve_cancelled_at_each_checkpoint_tells_everyone(server):
    """Whatever a server is at when it is cancelled, the client sees no answer, a 503, or whole frames and a close."""

    async def scenario(cut):
        accepted = []
        serving = trio.Event()

        async def body(websocket):
            accepted.append(websocket)
            async for message in websocket:
                await websocket.send(message)

        class Status:
            def started(self, value):
                server.server = value
                serving.set()

        async def serve():
            try:
                with cut():
                    await server.serving(body, timeouts=QUICK, task_status=Status())
            finally:
                serving.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await serving.wait()
            try:
                head, peer = await server.dial()
            except (OSError, AttributeError, trio.BrokenResourceError):
                head, peer = b"", None
            assert status_of(head) in (0, 101, 503)
            if status_of(head) == 101:
                await _talk(peer)
            elif peer is not None:
                await peer.leave()
            nursery.cancel_scope.cancel()
        assert len(server.codes) == (status_of(head) == 101)
        server.codes.clear()

    assert await cancel_everywhere(scenario) > 15


async def _talk(peer):
    """Echo a little, then close; the server may close first, with 1001."""
    try:
        for content in ("one", b"two"):
            await peer.message(content)
            if (await peer.next() or ("close",))[0] == "close":
                break
        else:
            await peer.close()
    except trio.BrokenResourceError:
        pass
    await peer.rest()
    closes = [content for kind, content in peer.seen if kind == "close"]
    assert closes in ([(1000, "")], [(1001, "")])
