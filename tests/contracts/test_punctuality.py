"""Deadlines after the loop was held up: what has arrived by then is read before a peer is judged.

The clock stands still but where a test lets it jump, in one step between two turns of the loop, while bytes of the
peer wait in the kernel. Each deadline is tried with more connections than one turn of the poller serves, or often
enough, since the order of tasks within a turn is random.
"""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from support.internals import internal

from contracts.held import HELD, ROUNDS, answer_to, clock, poller, push, settle
from contracts.rig import Peer, read_head, request
from trio_ws import Limits, Timeouts, WebSocket, WebSocketDisconnect, open_websocket, serve_websocket
from trio_ws.testing import Opcode

__all__ = ["clock", "poller"]  # fixtures

TIMES = Timeouts(ping_interval=None, close_timeout=5, drain_timeout=1, cleanup_timeout=5)


CROWDS = pytest.mark.parametrize("crowd", [1, 150])
"""One, in several rounds; and more than the poller serves in one turn."""
FEW_FOR_STREAMS = 10
"""A turn serves all of them anyway."""


@asynccontextmanager
async def serving(handler: Any, poller: bool, **options: Any) -> AsyncIterator[Any]:
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Any]) -> None:
            await serve_websocket(handler, "127.0.0.1", 0, poller=poller, task_status=task_status, **options)

        server = await nursery.start(serve)
        try:
            yield server
        finally:
            let_time_pass()
        nursery.cancel_scope.cancel()


def let_time_pass() -> None:
    """Let the clock run from now on, for goodbyes that nobody answers."""
    clock: Any = trio.lowlevel.current_clock()
    clock.autojump_threshold = 0


async def dial(server: Any, stack: AsyncExitStack) -> Peer:
    stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
    await stream.send_all(request())
    head, early = await read_head(stream)
    assert head.startswith(b"HTTP/1.1 101 ")
    return Peer(stream, client=True, early=early)


async def waits(ends: list[int], ws: WebSocket) -> None:
    try:
        while True:
            await ws.receive()
    except WebSocketDisconnect as end:
        ends.append(end.code)


@attrs.frozen
class Deadline:
    """A deadline, and what a peer has sent that is to be read before it judges."""

    timeouts: Timeouts
    first: float
    """Seconds that pass before the loop is held up, with turns in between."""
    arrives: Callable[[Peer], bytes]


JUDGED = {
    "ping_timeout": Deadline(
        attrs.evolve(TIMES, ping_interval=10, ping_timeout=10), 10, lambda peer: peer.control(Opcode.PONG, b"keepalive")
    ),
    "idle_timeout": Deadline(attrs.evolve(TIMES, idle_timeout=10), 5, lambda peer: peer.data("here")),
}


@pytest.mark.parametrize("deadline", JUDGED.values(), ids=JUDGED.keys())
@CROWDS
async def test_a_peer_that_was_heard_in_time_is_not_given_up(deadline, crowd, poller, clock) -> None:
    """On the server: 150 peers are more than the poller serves in one turn."""
    crowd = crowd if poller else min(crowd, FEW_FOR_STREAMS)
    ends: list[int] = []

    async def handler(ws: WebSocket) -> None:
        await waits(ends, ws)

    async with AsyncExitStack() as stack, serving(handler, poller, timeouts=deadline.timeouts) as server:
        for _ in range(ROUNDS if crowd == 1 else 1):
            peers = [await dial(server, stack) for _ in range(crowd)]
            await settle()
            clock.jump(deadline.first)
            await settle()
            for peer in peers:
                push(peer.stream, deadline.arrives(peer))
            clock.jump(HELD)
            await settle()
            assert ends == []
            for peer in peers:
                await peer.leave()
            await settle()
            assert len(ends) == crowd
            ends.clear()


@pytest.mark.parametrize("deadline", JUDGED.values(), ids=JUDGED.keys())
async def test_a_server_that_was_heard_in_time_is_not_given_up(deadline, poller, clock) -> None:
    """The same on a client."""
    for _ in range(ROUNDS):
        ends: list[int] = []
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery, listener:
            url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"

            async def connect(url: str = url, ends: list[int] = ends) -> None:
                async with open_websocket(url, timeouts=deadline.timeouts, poller=poller) as ws:
                    await waits(ends, ws)

            nursery.start_soon(connect)
            peer = await accepted(await listener.accept())
            await settle()
            clock.jump(deadline.first)
            await settle()
            push(peer.stream, deadline.arrives(peer))
            clock.jump(HELD)
            await settle()
            try:
                assert ends == []
            finally:
                await peer.leave()
            await settle()
            assert ends == [1006]


async def test_a_peer_whose_messages_are_not_read_is_not_idle(poller, clock) -> None:
    """The inbox is full, the peer goes on to send, and the handler works on the first message for long."""
    received: list[str] = []

    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            received.append(message)
            if len(received) == 1:
                await trio.sleep(50)

    limits = Limits(inbox_messages=2)
    times = attrs.evolve(TIMES, idle_timeout=10)
    async with AsyncExitStack() as stack, serving(handler, poller, timeouts=times, limits=limits) as server:
        peer = await dial(server, stack)
        await settle()
        for number in range(4):
            await peer.message(str(number))
            await settle()
            clock.jump(9)
            await settle()
        for _ in range(2):
            clock.jump(9)
            await settle()
        assert received == ["0", "1", "2", "3"]
        clock.jump(10)
        await settle()
        assert await peer.next() == ("close", (1001, "idle timeout"))
        await peer.leave()


async def accepted(stream: trio.abc.Stream) -> Peer:
    head, early = await read_head(stream)
    await stream.send_all(answer_to(head))
    return Peer(stream, client=False, early=early)


@CROWDS
async def test_an_answer_to_the_close_frame_that_is_there_counts(crowd, poller, clock) -> None:
    """close_timeout: the server ends the connection itself then, and nothing is reset."""
    crowd = crowd if poller else min(crowd, FEW_FOR_STREAMS)
    clean: list[bool] = []

    async def handler(ws: WebSocket) -> None:
        await ws.close(4000)
        clean.append(internal(ws.context.channel.reader, "_endpoint").state.name == "CLOSED")  # type: ignore[union-attr]

    async with AsyncExitStack() as stack, serving(handler, poller, timeouts=TIMES) as server:
        for _ in range(ROUNDS if crowd == 1 else 1):
            peers = [await dial(server, stack) for _ in range(crowd)]
            for peer in peers:
                assert await peer.next() == ("close", (4000, ""))
            await settle()
            for peer in peers:
                push(peer.stream, peer.control(Opcode.CLOSE, (4000).to_bytes(2)))
            clock.jump(HELD)
            await settle()
            for peer in peers:
                assert await peer.next() is None
                assert not peer.reset


@CROWDS
async def test_a_request_that_is_there_is_answered(crowd, poller, clock) -> None:
    """open_timeout: not with a 408, though its time is over when it is read."""
    crowd = crowd if poller else min(crowd, FEW_FOR_STREAMS)

    async with AsyncExitStack() as stack, serving(lambda ws: ws.send("hello"), poller, timeouts=TIMES) as server:
        for _ in range(ROUNDS if crowd == 1 else 1):
            streams = [
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
                for _ in range(crowd)
            ]
            await settle()
            for stream in streams:
                push(stream, request())
            clock.jump(HELD)
            await settle()
            for stream in streams:
                head, _ = await read_head(stream)
                assert head.startswith(b"HTTP/1.1 101 "), head


async def test_a_page_that_is_asked_for_in_time_is_shown(poller, clock) -> None:
    async with AsyncExitStack() as stack, serving(waits, poller, timeouts=TIMES) as server:
        for _ in range(ROUNDS):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
            await settle()
            push(stream, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            clock.jump(HELD)
            await settle()
            head, _ = await read_head(stream)
            assert head.startswith(b"HTTP/1.1 426 "), head


@CROWDS
async def test_a_reader_that_has_made_room_is_not_given_up(crowd, poller, clock) -> None:
    """send_timeout: the peer takes what was in the way while the loop is held up."""
    crowd = crowd if poller else min(crowd, FEW_FOR_STREAMS)
    ends: list[int] = []
    full: list[WebSocket] = []

    async def handler(ws: WebSocket) -> None:
        full.append(ws)
        try:
            while True:
                await ws.send(bytes(64 * 1024))
        except WebSocketDisconnect as end:
            ends.append(end.code)

    limits = Limits(outbox_bytes=1024)
    times = attrs.evolve(TIMES, send_timeout=10)
    async with AsyncExitStack() as stack, serving(handler, poller, timeouts=times, limits=limits) as server:
        for _ in range(ROUNDS if crowd == 1 else 1):
            peers = [await dial(server, stack) for _ in range(crowd)]
            await settle()
            clock.jump(5)
            await settle()
            for peer in peers:
                drain(peer)
            clock.jump(HELD)
            await settle()
            assert ends == []
            for peer in peers:
                await peer.leave()
            await settle()
            ends.clear()


def drain(peer: Peer) -> None:
    """Take everything that the kernel has for the peer, without a turn of the loop."""
    stream: Any = peer.stream
    raw = socket.socket(fileno=stream.socket.fileno())
    try:
        raw.setblocking(False)
        while raw.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    finally:
        raw.detach()


async def test_a_handler_that_was_held_up_too_is_not_cut_off(poller, clock) -> None:
    """drain_timeout: its work on the last message is done, it only had no turn."""
    done: list[str] = []

    async def handler(ws: WebSocket) -> None:
        async for message in ws:
            await trio.sleep(0.5)
            done.append(message)

    async with AsyncExitStack() as stack, serving(handler, poller, timeouts=TIMES) as server:
        for _ in range(ROUNDS):
            peer = await dial(server, stack)
            push(peer.stream, peer.data("a") + peer.control(Opcode.CLOSE, (1000).to_bytes(2)))
            await settle()
            clock.jump(HELD)
            await settle()
            assert done == ["a"]
            done.clear()


async def test_an_answer_that_is_there_opens_a_client(poller, clock) -> None:
    """open_timeout on a client."""
    for _ in range(ROUNDS):
        opened: list[str] = []
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery, listener:
            url = f"ws://127.0.0.1:{listener.socket.getsockname()[1]}/"

            async def connect(url: str = url, opened: list[str] = opened) -> None:
                async with open_websocket(url, poller=poller, timeouts=TIMES):
                    opened.append(url)

            nursery.start_soon(connect)
            stream = await listener.accept()
            head, _ = await read_head(stream)
            await settle()
            push(stream, answer_to(head))
            clock.jump(HELD)
            await settle()
            let_time_pass()
            await stream.aclose()
            await settle()
            clock.autojump_threshold = math.inf
            assert opened == [url]
