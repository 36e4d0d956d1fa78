"""No step of any task does more for one peer than a bound in bytes: inflated bytes count, and so does parsed JSON."""

from __future__ import annotations

import json
import zlib

import pytest
import trio
from support.turns import Work
from trio.testing import memory_stream_pair
from wsproto.utilities import generate_accept_token

from contracts.rig import LONG, PATIENT, Rig, read_head, status_of
from trio_ws import App, Limits, open_websocket
from trio_ws.gradual import PIECE
from trio_ws.protocol.endpoint import WORK_BYTES
from trio_ws.protocol.frames import BINARY, TEXT, encode_frame
from trio_ws.sending import STEP_BYTES

MIB = 1 << 20
COUNT = 16
KEY = b"\x11\xa2\x73\xf4"
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover"
MOST_INFLATED = WORK_BYTES + STEP_BYTES + 2 * 16 * 1024
"""One turn's work; what was received before it; and what zlib holds back."""
MOST_PARSED = STEP_BYTES + 4 * PIECE
"""Small messages up to the step's share; and a piece, which may have been tried in vain before."""

NETWORKS = pytest.mark.parametrize("network", ["poller", "tls", "stream", "memory"], indirect=True)


def deflated(message: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bomb(message: bytes, *, opcode: int = TEXT, mask: bytes | None = KEY) -> bytes:
    """Return a compressed message, small on the wire."""
    return encode_frame(opcode, deflated(message), rsv1=True, mask=mask)


def numbers(size: int) -> bytes:
    """Return a JSON array of a byte less than `size`, which is even."""
    return b"[" + b"0," * (size // 2 - 2) + b"0]"


@pytest.fixture
async def work(monkeypatch):
    return Work(monkeypatch)


@NETWORKS
@pytest.mark.parametrize("way", ["iterate", "receive_json", "receive_stream"])
async def test_messages_that_inflate_to_much_are_inflated_in_small_steps(server, work, way):
    received = []

    async def body(ws):
        if way == "iterate":
            async for message in ws:
                received.append(len(message))
        while way == "receive_json":
            received.append(2 * len(await ws.receive_json()) + 1)
        while way == "receive_stream":
            received.append(sum([len(part) async for part in ws.receive_stream()]))

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, compression=True)
        head, peer = await server.dial(OFFER)
        assert status_of(head) == 101
        await peer.send(bomb(numbers(MIB)) * COUNT + bomb(numbers(100)))
        with trio.fail_after(12 * LONG):
            while len(received) < COUNT:
                await trio.sleep(0.001)
            await peer.close()
            await peer.rest()
        nursery.cancel_scope.cancel()
    assert sum(received) >= COUNT * (MIB - 1)
    assert work.inflated >= COUNT * (MIB - 1)
    assert work.most_inflated <= MOST_INFLATED
    assert work.most_parsed <= MOST_PARSED


async def test_a_client_inflates_and_parses_in_small_steps(work):
    ours, theirs = memory_stream_pair()
    received = []

    async def answer():
        head, _ = await read_head(theirs)
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", OFFER]
        token = generate_accept_token(key.split(b":")[1].strip()).decode()
        await theirs.send_all("\r\n".join([*lines, f"Sec-WebSocket-Accept: {token}", "", ""]).encode())
        await theirs.send_all(bomb(numbers(MIB), mask=None) * COUNT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with open_websocket("ws://x/", stream=ours, timeouts=PATIENT, compression=True) as ws:
            while len(received) < COUNT:
                received.append(len(await ws.receive_json()))
            await theirs.aclose()
    assert received == [MIB // 2 - 1] * COUNT
    assert work.most_inflated <= MOST_INFLATED
    assert work.most_parsed <= MOST_PARSED


async def test_a_message_of_any_size_is_inflated_in_small_steps(work):
    """A larger limit does not make a step longer."""
    rig, size = Rig("server", "memory"), 16 * MIB
    received = []

    async def body(ws):
        received.append(len(await ws.receive()))

    async with trio.open_nursery() as nursery:
        await rig.serve(nursery, body, compression=True, limits=Limits(max_message_size=size))
        _, peer = await rig.dial(OFFER)
        await peer.send(bomb(bytes(size), opcode=BINARY))
        await peer.rest()
        nursery.cancel_scope.cancel()
    assert received == [size]
    assert work.most_inflated <= MOST_INFLATED


@NETWORKS
@pytest.mark.parametrize("end", ["our close", "our close of a full inbox", "the peer has left", "the handler is over"])
async def test_what_is_dropped_is_not_inflated(server, work, end):
    """16 MiB come after our close frame, or stand unread when their sender has left."""
    sent = trio.Event()
    before: list[int] = []

    async def body(ws):
        try:
            await sent.wait()
            while end == "our close of a full inbox" and not ws._channel.paused:
                await trio.sleep(0.001)
        finally:  # a peer that leaves cancels who does not read
            before.append(work.inflated)
        if end == "the peer has left" and server.network != "memory":  # where its leaving is not seen behind data
            await trio.sleep_forever()
        elif end != "the handler is over":
            await ws.close()

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, compression=True)
        _, peer = await server.dial(OFFER)
        await peer.send(bomb(b"x" * MIB) * COUNT)
        if end == "the peer has left":
            await peer.leave()
        sent.set()
        if end != "the peer has left":
            await peer.rest()
        await server.all_gone()
        nursery.cancel_scope.cancel()
    # The inbox may have filled up before, and what had begun is what one turn takes.
    assert work.inflated <= before[0] + 2 * MIB + 2 * WORK_BYTES
    assert work.most_inflated <= MOST_INFLATED


async def test_after_our_close_frame_nothing_is_inflated_at_all(work):
    rig, closing = Rig("server", "memory"), trio.Event()

    async def body(ws):
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.close()
        ws._channel.begin_close(1000, "")
        closing.set()

    async with trio.open_nursery() as nursery:
        await rig.serve(nursery, body, compression=True)
        _, peer = await rig.dial(OFFER)
        assert await peer.next() == ("close", (1000, ""))
        await peer.send(bomb(b"x" * MIB) * COUNT)
        await peer.close()
        assert await peer.rest() == []
        await rig.all_gone()
        nursery.cancel_scope.cancel()
    assert work.inflated == 0


@pytest.mark.parametrize("kind", ["view", "listener", "slow listener"])
async def test_json_of_an_application_is_parsed_in_small_steps(work, kind):
    app, received = App(limits=Limits(inbox_messages=1000, inbox_bytes=64 * MIB)), []

    if kind == "view":

        @app.websocket("/", value_type="json")
        async def view(ws):
            async for value in ws:
                received.append(len(value))

    else:

        @app.listener("/", concurrency=1 if kind == "listener" else 4)
        async def listen(data: list[int]) -> None:
            received.append(len(data))

    sizes = [1000, 20_000, 70_000, MIB // 2 - 1] * 8
    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for size in sizes:
            await ws.send_text(numbers(2 * size + 2).decode())
        while len(received) < len(sizes):
            await trio.lowlevel.checkpoint()
    assert sorted(received) == sorted(sizes)
    assert work.most_parsed <= MOST_PARSED


async def test_a_large_json_message_survives_a_cancellation_while_it_is_parsed():
    """The message is out of the inbox by then: the parsing ends, and the next checkpoint is cancelled."""
    app, received = App(), []

    @app.websocket("/", value_type="json")
    async def view(ws):
        inbox = ws._channel._inbox
        while len(inbox.items) < 2:
            await trio.sleep(0.001)
        with trio.CancelScope() as scope:

            class Cancelling(trio.abc.Instrument):
                def after_task_step(self, task):
                    if len(inbox.items) < 2:
                        scope.cancel()

            instrument = Cancelling()
            trio.lowlevel.add_instrument(instrument)
            received.append(len(await ws.receive()))
            trio.lowlevel.remove_instrument(instrument)
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        received.append(await ws.receive())

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send_text(json.dumps([0] * 100_000))
        await ws.send_text('"next"')
        with trio.fail_after(LONG):
            while len(received) < 2:
                await trio.sleep(0.001)
    assert received == [100_000, "next"]
