"""The end of a connection as the peer sees it, and a peer's end behind what is not read, on sockets of every kind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
from support.handlers import until_cancelled
from trio.testing import MockClock

from contracts.rig import Rig
from trio_ws import ConnectionRejected, Timeouts, WebSocket, open_websocket

SOCKETS = pytest.mark.parametrize("network", ["poller", "tls", "stream"], indirect=True)
FORKS = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the descriptors of a process are listed in /proc"
)


@pytest.fixture
def jumping() -> MockClock:
    """A clock that jumps once nothing has moved on the sockets for a moment."""
    return MockClock(autojump_threshold=0.1)


@SOCKETS
async def test_peer_that_left_behind_full_window_is_noticed(rig: Rig, jumping: MockClock) -> None:
    """Its end is behind what is not read; a ping is answered with a reset, and the body is cancelled."""
    cancelled: list[float] = []

    async def body(_: WebSocket) -> None:
        await until_cancelled(lambda _: cancelled.append(trio.current_time()))

    async with rig.connect(body, timeouts=Timeouts(ping_interval=2.0)) as peer:
        with trio.move_on_after(0.5):
            while True:
                await peer.message(bytes(60_000))
        await peer.leave()
        left = trio.current_time()
        while not cancelled:
            await trio.sleep(0.5)
    assert cancelled[0] - left <= 4.5


@SOCKETS
async def test_peer_that_is_not_read_is_not_judged(rig: Rig, jumping: MockClock) -> None:
    """Pings go on while nothing is read, and their pongs may sit behind that."""
    got: list[object] = []

    async def body(ws: WebSocket) -> None:
        await trio.sleep(3.5)
        got.extend([await ws.receive() for _ in range(40)])

    async with rig.connect(body, timeouts=Timeouts(ping_interval=0.5, ping_timeout=0.5)) as peer:
        for _ in range(40):
            await peer.message(b"x")
        seen = await peer.rest()
    assert got == [b"x"] * 40
    assert [kind for kind, _ in seen].count("ping") >= 3
    assert seen[-1] == ("close", (1000, ""))


@contextmanager
def held_by_another() -> Iterator[None]:
    """Hold all descriptors of this process twice, as a process that was forked from it does."""
    held = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one of the listing itself
            held.append(os.dup(int(name)))
    try:
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


@FORKS
@SOCKETS
@pytest.mark.parametrize("answers", [True, False], ids=["answers", "mute"])
async def test_forked_process_does_not_hide_the_end(rig: Rig, answers: bool, jumping: MockClock) -> None:
    """The peer sees the end of the network connection, whether it has answered the close frame or was given up."""
    forked, over = trio.Event(), trio.Event()

    async def body(_: WebSocket) -> None:
        nursery.start_soon(fork)
        await forked.wait()

    async def fork() -> None:
        with held_by_another():
            forked.set()
            await over.wait()

    async with trio.open_nursery() as nursery:
        async with rig.connect(body, timeouts=Timeouts(ping_interval=None, close_timeout=0.5)) as peer:
            assert await peer.next() == ("close", (1000, ""))
            if answers:
                await peer.close(1000)
                if rig.side == "client":  # it is the server who ends the connection
                    await peer.stream.aclose()
                    over.set()
                    return
            assert await peer.next() is None
            over.set()


@FORKS
@SOCKETS
async def test_forked_process_does_not_hide_a_given_up_handshake(client: Rig, jumping: MockClock) -> None:
    """A client that was refused ends the connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    over = trio.Event()

    async def refuse() -> None:
        stream = await listener.accept()
        await stream.receive_some()
        async with stream:
            with held_by_another():
                await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                with trio.fail_after(5):
                    assert await stream.receive_some() == b""
        over.set()

    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        with pytest.raises(ConnectionRejected):
            async with open_websocket(f"ws://127.0.0.1:{port}/", poller=client.network != "stream"):
                pass
        await over.wait()
