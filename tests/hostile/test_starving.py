"""A connection that floods does not starve another: a canary's round trip takes a few of the scheduler's turns.

Turns are counted, not seconds: each turn serves every socket that is ready and runs every task that can run, so a
round trip that takes as few as on a quiet server was never passed over. Sockets are Unix ones: what is sent over them
has arrived when the call returns, while TCP leaves that to the kernel's own time.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import cycle
from pathlib import Path

import pytest
import trio
from support.handlers import echo
from support.networks import SocketNetwork, binary, dial, ping, serving, text
from support.turns import Turns

from trio_ws import Timeouts, WebSocket, WebSocketDisconnect
from trio_ws.protocol.frames import TEXT
from trio_ws.testing import RawFrame

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")

TIMES = Timeouts(ping_interval=None, shutdown_grace=0.0, close_timeout=0.1)
MOST_TURNS = 12
"""Of one round trip; 3 on the poller and 4 on streams is usual, on a quiet server too. Less than the flooders
are: a server that took one of them in each turn would show."""
ONE = pytest.param(1, marks=pytest.mark.thorough("test_a_round_trip_takes_a_few_turns_whatever_others_send"))
PATIENCE = 60.0
"""Seconds after which a test has hung."""


class UnixNetwork(SocketNetwork):
    """Unix sockets, and a server on either transport."""

    def __init__(self, path: Path, *, poller: bool) -> None:
        super().__init__(poller=poller)
        self.path = str(path)

    def listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen()
        listener.setblocking(False)
        return listener

    async def connect(self) -> trio.SocketStream:
        return await trio.open_unix_socket(self.path)


@pytest.fixture(params=["poller", "stream"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> UnixNetwork:
    return UnixNetwork(tmp_path / "socket", poller=request.param == "poller")


async def swallow(ws: WebSocket) -> None:
    async for _ in ws:
        pass


async def ignore(ws: WebSocket) -> None:
    await trio.sleep_forever()


async def pour_out(ws: WebSocket) -> None:
    while True:
        await ws.send(b"x" * 100)


LARGE = binary(bytes(1 << 19))

# The packets that a flooder sends in turn without a pause, and its handler; all of them read what comes back.
FLOODS: dict[str, tuple[list[bytes], Callable[[WebSocket], Awaitable[None]]]] = {
    "small messages that are echoed": ([text("small") * 300], echo),
    "small messages that are swallowed": ([text("small") * 300], swallow),
    "messages that nobody takes": ([text("small") * 300], ignore),
    "large messages": ([binary(bytes(100_000)) * 2], swallow),
    "pings": ([ping(b"flood" * 25) * 25], ignore),
    "half a message at a time": ([LARGE[: 1 << 18], LARGE[1 << 18 :]], swallow),
    "nothing, but takes all it gets": ([b""], pour_out),
}


async def drain(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some(65536):
        pass


async def flood(network: UnixNetwork, packets: list[bytes], flowing: list[int], number: int) -> None:
    peer = await dial(network)
    async with peer.stream, trio.open_nursery() as nursery:
        nursery.start_soon(drain, peer.stream)
        await peer.send(text("flood"))
        for packet in cycle(packets):
            flowing[number] += 1
            if packet:
                await peer.send(packet)
            else:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("flooders", [ONE, 14])
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_round_trip_takes_a_few_turns_whatever_others_send(
    network: UnixNetwork, kind: str, flooders: int
) -> None:
    packets, handle = FLOODS[kind]
    turns = Turns()
    flowing = [0] * flooders
    worst = 0

    async def handler(ws: WebSocket) -> None:
        with suppress(WebSocketDisconnect):
            await (handle if await ws.receive() == "flood" else echo)(ws)

    with trio.fail_after(PATIENCE):
        async with serving(network, handler, timeouts=TIMES), trio.open_nursery() as nursery:
            canary = await dial(network)
            await canary.send(text("canary"))
            for number in range(flooders):
                nursery.start_soon(flood, network, packets, flowing, number)
            while not all(flowing):
                await trio.lowlevel.checkpoint()
            trio.lowlevel.add_instrument(turns)
            for trip in range(10 if flooders == 1 else 5):
                began = turns.count
                await canary.send(text(str(trip)))
                assert await canary.receive_frame() == RawFrame(TEXT, str(trip).encode())
                worst = max(worst, turns.count - began)
            trio.lowlevel.remove_instrument(turns)
            nursery.cancel_scope.cancel()
            await canary.close()
    assert worst <= MOST_TURNS
