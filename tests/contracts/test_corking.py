"""Corking: replies that are held back leave together, and soon, whatever the handler does next."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
from support.handlers import echo
from support.internals import set_internal
from support.networks import SocketNetwork, close, dial, peer_of, serving, text
from support.turns import Turns

from trio_ws import Limits, Server, Timeouts, WebSocket, open_websocket
from trio_ws.protocol.frames import BINARY, TEXT
from trio_ws.testing import RawFrame
from trio_ws.transport.outbox import Outbox
from trio_ws.transport.sockets import CORK_BYTES, SocketTransport

TIMES = Timeouts(ping_interval=None, shutdown_grace=0.0)
PATIENCE = 10


@pytest.fixture(params=["stream", "poller"])
def sockets(request):
    return SocketNetwork(poller=request.param == "poller")


class Calls:
    """What was handed to the network: the size of each call, and the scheduler's turn it was in."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.made: list[tuple[int, int]] = []

    def note(self, size: int) -> None:
        self.made.append((size, self.turns.count))

    @property
    def sizes(self) -> list[int]:
        return [size for size, _ in self.made]


class NotedSocket:
    """A socket; what it sends is noted."""

    def __init__(self, sock: socket.socket, calls: Calls) -> None:
        self._sock = sock
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        sent = self._sock.send(data)
        self._calls.note(sent)
        return sent


@pytest.fixture
def calls(sockets, monkeypatch):
    """The calls of the server; what the network refused is not in them."""
    calls = Calls()
    if sockets.poller:
        make = SocketTransport.__init__

        def make_noted(transport, poller, sock, high_water):
            make(transport, poller, sock, high_water)
            set_internal(transport, "_sock", NotedSocket(sock, calls))

        monkeypatch.setattr(SocketTransport, "__init__", make_noted)
    else:
        send_all = trio.SocketStream.send_all

        async def noted_send_all(stream, data):
            if stream.socket.getsockname() == sockets.address:
                calls.note(len(data))
            await send_all(stream, data)

        monkeypatch.setattr(trio.SocketStream, "send_all", noted_send_all)
    return calls


async def test_the_replies_to_one_packet_leave_in_one_system_call(sockets, calls):
    async with peer_of(echo, sockets, timeouts=TIMES) as peer:
        calls.made.clear()
        await peer.send(*(text(f"{number:02}") for number in range(20)))
        assert [await peer.receive_frame() for _ in range(20)] == [
            RawFrame(TEXT, b"%02d" % number) for number in range(20)
        ]
        assert calls.sizes == [20 * 4]
        await peer.send(text("one"))
        assert await peer.receive_frame() == RawFrame(TEXT, b"one")
        assert calls.sizes == [80, 5]
        await peer.send(close(1000))
        await peer.receive_frames()
        await peer.close()


@pytest.mark.parametrize("sockets", ["poller"], indirect=True)
async def test_replies_leave_when_16_kib_have_gathered(calls, sockets):
    """Nothing waits for a large inbox to be worked off. (The stream transport gathers what comes until its turn.)"""
    size, count = 1000, 60

    async def handler(ws: WebSocket) -> None:
        async for _ in ws:
            await ws.send(bytes(size))

    async with peer_of(handler, sockets, timeouts=TIMES, limits=Limits(inbox_messages=1000)) as peer:
        calls.made.clear()
        await peer.send(*[text("x")] * count)
        assert [await peer.receive_frame() for _ in range(count)] == [RawFrame(BINARY, bytes(size))] * count
        await peer.close()
    assert sum(calls.sizes) == count * (size + 4)
    assert CORK_BYTES <= calls.sizes[0] < CORK_BYTES + size + 4


async def sleep_on(ws: WebSocket) -> None:
    await trio.sleep_forever()


async def wait_for_more(ws: WebSocket) -> None:
    while True:
        await ws.receive()


async def spin(ws: WebSocket) -> None:
    while True:
        await trio.lowlevel.checkpoint()


async def work_in_a_thread(ws: WebSocket) -> None:
    await trio.to_thread.run_sync(lambda: None)
    await trio.sleep_forever()


async def stop(ws: WebSocket) -> None:
    """Return: the handler is over."""


async def fail(ws: WebSocket) -> None:
    raise ExpectedError


class ExpectedError(Exception):
    pass


async def compute(ws: WebSocket) -> None:
    """Work without a checkpoint, and never receive again."""
    sum(range(1_000_000))
    await trio.sleep_forever()


async def be_cancelled_waiting(ws: WebSocket) -> None:
    with trio.CancelScope() as scope:
        ws.nursery.start_soon(cancel_soon, scope)
        await trio.sleep_forever()
    await trio.sleep_forever()


async def cancel_soon(scope: trio.CancelScope) -> None:
    scope.cancel()


async def cancel_itself_before_the_next_send(ws: WebSocket) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await ws.send("never")
    await trio.sleep_forever()


async def cancel_itself_before_the_next_receive(ws: WebSocket) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await ws.receive()
    await trio.sleep_forever()


async def end_its_nursery(ws: WebSocket) -> None:
    ws.nursery.cancel_scope.cancel()
    await trio.sleep_forever()


async def close_it(ws: WebSocket) -> None:
    await ws.close(4000)


async def be_shut_down(ws: WebSocket) -> None:
    """The server says goodbye to all, and cancels the handler at once."""
    SERVERS[-1].shutdown(grace=0)
    await trio.sleep_forever()


SERVERS: list[Server] = []
GOING_ON = [
    sleep_on,
    wait_for_more,
    spin,
    compute,
    work_in_a_thread,
    be_cancelled_waiting,
    cancel_itself_before_the_next_send,
    cancel_itself_before_the_next_receive,
    end_its_nursery,
    close_it,
    be_shut_down,
    stop,
    fail,
]


@pytest.mark.parametrize("go_on", GOING_ON)
async def test_corked_data_is_sent_within_a_turn_in_any_case(sockets, calls, go_on):
    """Three messages wait; the handler answers one of them and does something else."""
    trio.lowlevel.add_instrument(calls.turns)
    committed: list[int] = []

    async def handler(ws: WebSocket) -> None:
        while len(ws.context.channel.reader.inbox.items) < 3:
            await trio.sleep(0.001)
        calls.made.clear()
        assert await ws.receive() == "a"
        await ws.send("reply")
        committed.append(calls.turns.count)
        await go_on(ws)

    with trio.fail_after(PATIENCE):
        async with serving(sockets, handler, timeouts=TIMES, strict=False) as server:
            SERVERS[:] = [server]
            peer = await dial(sockets)
            await peer.send(text("a"), text("b"), text("c"))
            assert await peer.receive_frame() == RawFrame(TEXT, b"reply")
            await peer.close()
    SERVERS.clear()
    _, turn = calls.made[0]
    assert turn - committed[0] <= 1


@pytest.mark.parametrize(
    "go_on", [sleep_on, wait_for_more, spin, compute, cancel_itself_before_the_next_send, close_it]
)
@pytest.mark.parametrize("poller", [False, True], ids=["stream", "poller"])
async def test_what_a_client_holds_back_leaves_within_a_turn_too(poller, go_on, monkeypatch):
    """Its server sends three messages at once."""
    turns, committed, left = Turns(), list[int](), list[int]()
    advance = Outbox.advance
    ours: list[Outbox] = []

    def noted_advance(outbox, count):
        advance(outbox, count)
        if outbox in ours and not left:
            left.append(turns.count)

    monkeypatch.setattr(Outbox, "advance", noted_advance)

    async def client(stream: trio.SocketStream) -> None:
        async with open_websocket("ws://localhost/", stream=stream, poller=poller, timeouts=TIMES) as ws:
            await ws.send("go")  # when the tasks of its transport run
            channel = ws.context.channel
            while len(channel.reader.inbox.items) < 3:
                await trio.sleep(0.001)
            ours.append(channel.transport.outbox)
            assert await ws.receive() == "a"
            await ws.send("reply")
            committed.append(turns.count)
            assert ours[0].size, "it is held back"
            await go_on(ws)

    async def server(ws: WebSocket) -> None:
        assert await ws.receive() == "go"
        for content in "abc":
            await ws.send(content)
        assert await ws.receive() == "reply"
        nursery.cancel_scope.cancel()

    network = SocketNetwork(poller=True)
    trio.lowlevel.add_instrument(turns)
    with trio.fail_after(PATIENCE):
        async with serving(network, server, timeouts=TIMES), trio.open_nursery() as nursery:
            nursery.start_soon(client, await network.connect())
    # A stream needs a turn more until it says that everything is with the network.
    assert left[0] - committed[0] <= (1 if poller else 2)
