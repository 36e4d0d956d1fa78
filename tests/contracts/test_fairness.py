"""No step of any task does more for one peer than a bound in bytes: inflated bytes count, and so does parsed JSON."""

from __future__ import annotations

import json
import zlib
from copy import copy
from functools import cache, partial

import pytest
import trio
from support.turns import Work
from trio.testing import memory_stream_pair

from contracts.rig import LONG, PATIENT, Rig, status_of
from trio_ws import App, Compression, Limits, broadcast, open_websocket
from trio_ws.connection.inbox import STEP_BYTES
from trio_ws.connection.incremental_json import PIECE
from trio_ws.protocol import compressors, deflate
from trio_ws.protocol.endpoint import WORK_BYTES
from trio_ws.protocol.frames import BINARY, TEXT, encode_frame
from trio_ws.testing import RawPeer
from trio_ws.testing.network import MemoryListener

MIB = 1 << 20
LARGE = 1 << 18
"""Four steps of deflating."""
COUNT = 16
"""Messages of a MiB of which nearly none may be inflated."""
FEW = 2
"""Such that all are."""
KEY = b"\x11\xa2\x73\xf4"
OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover"
MOST_INFLATED = WORK_BYTES + STEP_BYTES + 2 * 16 * 1024
"""One turn's work; what was received before it; and what zlib holds back."""
MOST_PARSED = STEP_BYTES + 4 * PIECE
"""Small messages up to the step's share; and a piece, which may have been tried in vain before."""

WAYS_TO_RECEIVE = ("iterate", "receive_json", "receive_stream")
NETWORKS = pytest.mark.parametrize("network", ["poller", "tls", "stream", "memory"], indirect=True)


def deflated(message: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def bomb(message: bytes, *, opcode: int = TEXT, mask: bytes | None = KEY) -> bytes:
    """Return a compressed message, small on the wire."""
    return encode_frame(opcode, deflated(message), rsv1=True, mask=mask)


@cache
def hexadecimal(size: int) -> str:
    """Return a text that deflates to a half."""
    return "".join(f"{number:x}" for number in range(size // 2))[:size]


def numbers(size: int) -> bytes:
    """Return a JSON array of a byte less than `size`, which is even."""
    return b"[" + b"0," * (size // 2 - 2) + b"0]"


@pytest.fixture
async def work(monkeypatch):
    return Work(monkeypatch)


@pytest.mark.parametrize(
    ("network", "way"),
    [
        *(("memory", way) for way in WAYS_TO_RECEIVE),
        *zip(("poller", "tls", "stream"), WAYS_TO_RECEIVE, strict=True),
    ],
    indirect=["network"],
)
async def test_messages_that_inflate_a_lot_are_inflated_in_small_steps(server, work, way):
    """Messages that inflate to much are inflated in small steps."""
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
        await peer.send(bomb(numbers(MIB)) * FEW + bomb(numbers(100)))
        with trio.fail_after(12 * LONG):
            while len(received) < FEW:
                await trio.sleep(0.001)
            await peer.close()
            await peer.rest()
        nursery.cancel_scope.cancel()
    assert sum(received) >= FEW * (MIB - 1)
    assert work.inflated >= FEW * (MIB - 1)
    assert work.most_inflated <= MOST_INFLATED
    assert work.most_parsed <= MOST_PARSED


async def test_a_client_inflates_and_parses_in_small_steps(work):
    ours, theirs = memory_stream_pair()
    received = []

    async def answer():
        peer = RawPeer(theirs, side="server")
        await peer.accept([tuple(OFFER.split(": "))])
        await peer.send(bomb(numbers(MIB), mask=None) * FEW)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with open_websocket("ws://x/", stream=ours, timeouts=PATIENT, compression=True) as ws:
            while len(received) < FEW:
                received.append(len(await ws.receive_json()))
            await theirs.aclose()
    assert received == [MIB // 2 - 1] * FEW
    assert work.most_inflated <= MOST_INFLATED
    assert work.most_parsed <= MOST_PARSED


async def test_a_message_of_any_size_is_inflated_in_small_steps(work):
    """A larger limit does not make a step longer."""
    rig, size = Rig("server", "memory"), 4 * MIB
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
            while end == "our close of a full inbox" and not ws.context.channel.reader.paused:
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
        ws.context.channel.closing.begin_close(1000, "")
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

    sizes = [1000, 20_000, 70_000, 1000, MIB // 2 - 1, 1000, 20_000, 1000]
    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for size in sizes:
            await ws.send_text(numbers(2 * size + 2).decode())
        while len(received) < len(sizes):
            await trio.lowlevel.checkpoint()
    assert sorted(received) == sorted(sizes)
    assert work.most_parsed <= MOST_PARSED


async def test_large_json_message_survives_cancellation_during_parsing():
    """The message is out of the inbox by then: the parsing ends, and the next checkpoint is cancelled."""
    app, received = App(), []

    @app.websocket("/", value_type="json")
    async def view(ws):
        inbox = ws.context.channel.reader.inbox
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


# --- what is sent ---


class Deflated(trio.abc.Instrument):
    """Counts the bytes that are deflated in each step of a task."""

    def __init__(self, patch):
        self.most = self._now = 0
        for module in (compressors, deflate):
            patch.setattr(module, "make_compressor", self._counting(module.make_compressor))
        patch.setattr(deflate, "_shared", compressors.Shared(compressors.get_library))
        patch.setattr(deflate, "copy", self._wrapped)
        trio.lowlevel.add_instrument(self)

    def before_task_step(self, task):
        self._now = 0

    def count(self, size):
        self._now += size
        self.most = max(self.most, self._now)

    def _counting(self, make):
        return lambda *arguments, **more: Counted(make(*arguments, **more), self)

    def _wrapped(self, counted):
        return Counted(copy(counted.stream), self)


class Counted:
    def __init__(self, stream, deflated):
        self.stream = stream
        self._deflated = deflated

    def compress(self, data):
        self._deflated.count(len(data))
        return self.stream.compress(data)

    def flush(self, mode):
        return self.stream.flush(mode)


async def inflated_messages(peer, count):
    """Return the messages that a peer is sent compressed, with one context for all of them."""
    stream, data, messages = zlib.decompressobj(-15), peer.early, []
    while True:
        while len(data) >= 2:
            form = data[1] & 0x7F
            start = 2 + {126: 2, 127: 8}.get(form, 0)
            size = int.from_bytes(data[2:start]) if start > 2 else form
            if len(data) < start + size:
                break
            payload, compressed = data[start : start + size], data[0] & 0x40
            messages.append(stream.decompress(payload + b"\x00\x00\xff\xff") if compressed else payload)
            data = data[start + size :]
        if len(messages) >= count:
            return messages[:count]
        with trio.fail_after(LONG):
            data += await peer.stream.receive_some(1 << 20)


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("size", [1000, 30_000, LARGE])
async def test_messages_are_deflated_in_small_steps(monkeypatch, context, size):
    rig, count = Rig("server", "memory"), 2 * LARGE // size if size > 1000 else 300
    message = hexadecimal(size)
    offer = OFFER if not context else "Sec-WebSocket-Extensions: permessage-deflate"
    deflated = Deflated(monkeypatch)

    async def body(ws):
        for _ in range(count):
            await ws.send(message)

    compression = Compression(send_context=context)
    async with trio.open_nursery() as nursery:
        await rig.serve(nursery, body, compression=compression, limits=Limits(outbox_bytes=64 * MIB))
        _, peer = await rig.dial(offer)
        assert await inflated_messages(peer, count) == [message.encode()] * count
        await peer.leave()
        nursery.cancel_scope.cancel()
    assert 0 < deflated.most <= STEP_BYTES


@pytest.mark.parametrize("context", [False, True])
async def test_messages_sent_during_large_deflate_keep_stream_whole(context):
    """They overtake it, and where there is one context it is deflated again, after them."""
    rig, large = Rig("server", "memory"), hexadecimal(MIB)
    offer = OFFER if not context else "Sec-WebSocket-Extensions: permessage-deflate"

    async def body(ws):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, large)
            for number in range(3):
                await trio.lowlevel.checkpoint()
                await ws.send(f"small {number} " * 100)
        await ws.send("last " * 100)

    async with trio.open_nursery() as nursery:
        await rig.serve(nursery, body, compression=Compression(send_context=context))
        _, peer = await rig.dial(offer)
        *small, first, second = await inflated_messages(peer, 5)
        assert small == [f"small {number} ".encode() * 100 for number in range(3)]
        assert (first, second) == (large.encode(), b"last " * 100)
        await peer.leave()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("context", [False, True])
async def test_large_message_cancelled_during_deflate_is_not_sent(context):
    """A large message whose deflating is cancelled was not sent."""
    rig, large = Rig("server", "memory"), hexadecimal(MIB)
    offer = OFFER if not context else "Sec-WebSocket-Extensions: permessage-deflate"

    async def body(ws):
        await ws.send("first " * 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, large)
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await ws.send("second " * 100)

    async with trio.open_nursery() as nursery:
        await rig.serve(nursery, body, compression=Compression(send_context=context))
        _, peer = await rig.dial(offer)
        assert await inflated_messages(peer, 2) == [b"first " * 100, b"second " * 100]
        await peer.leave()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("size", [5000, 60_000, LARGE])
@pytest.mark.parametrize("way", ["broadcast", "room", "stamping room", "app"])
async def test_a_message_for_many_is_deflated_in_small_steps(monkeypatch, context, size, way):
    """Peers ask for any window, and may keep a context: each would be deflated for on its own, in one step."""
    app = App(compression=Compression(send_context=context, send_window_bits=15))
    stamp = (lambda _, message: message) if way == "stamping room" else None
    room, connections = app.room("hall", **({} if stamp is None else {"stamp": stamp})), []
    message = hexadecimal(size)
    offer = OFFER if not context else "Sec-WebSocket-Extensions: permessage-deflate"
    send = {"broadcast": lambda: broadcast(connections, message), "app": lambda: app.broadcast(message)}

    @app.websocket("/")
    async def view(ws):
        async with room.join(ws):
            connections.append(ws)
            await ws.send("first " * 100)
            await trio.sleep_forever()

    rig = Rig("server", "memory")
    rig._listener = MemoryListener(1 << 40)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(app.serve, None, None, listeners=[rig._listener]))
        peers = [
            (await rig.dial(f"{offer}; server_max_window_bits={9 + count % 7}"))[1]
            for count in range({5000: 14, 60_000: 7, LARGE: 3}[size])
        ]
        while len(connections) < len(peers):
            await trio.sleep(0.001)
        deflated = Deflated(monkeypatch)
        await send.get(way, lambda: room.publish(message))()
        for ws in connections:
            await ws.send("last " * 100)
        for peer in peers:
            assert await inflated_messages(peer, 3) == [b"first " * 100, message.encode(), b"last " * 100]
            await peer.leave()
        nursery.cancel_scope.cancel()
    assert deflated.most <= STEP_BYTES + 16 * 1024  # and what the handlers send


@pytest.mark.parametrize("kind", [str, bytes])
@pytest.mark.parametrize("context", [False, True])
async def test_a_chunk_of_a_stream_is_deflated_in_small_steps(monkeypatch, context, kind):
    """It is sent in several fragments, whose borders mean nothing (RFC 6455 5.4)."""
    rig, received = Rig("server", "memory"), []
    text = hexadecimal(LARGE)
    chunks = [text, "", text[::-1]] if kind is str else [text.encode(), b"", text[::-1].encode()]
    offer = OFFER if not context else "Sec-WebSocket-Extensions: permessage-deflate"
    deflated = Deflated(monkeypatch)

    async with trio.open_nursery() as nursery:
        await rig.serve(nursery, lambda ws: ws.send_stream(chunks), compression=Compression(send_context=context))
        _, peer = await rig.dial(offer)
        with trio.fail_after(LONG):
            while b"\x88\x02\x03\xe8" not in peer.early[-4:]:
                peer.early += await peer.stream.receive_some(1 << 20)
        data, stream, position = peer.early, zlib.decompressobj(-15), 0
        while data[position] & 0x0F < 8:
            form = data[position + 1]
            start = position + 2 + {126: 2, 127: 8}.get(form, 0)
            size = int.from_bytes(data[position + 2 : start]) if form > 125 else form
            received.append(stream.decompress(data[start : start + size]))
            position = start + size
        await peer.leave()
        nursery.cancel_scope.cancel()
    assert b"".join(received) + stream.flush() == (text + text[::-1]).encode()
    assert 0 < deflated.most <= STEP_BYTES


async def test_stream_cancelled_in_first_chunk_ends_the_connection():
    """A part of it was sent: the message cannot be completed."""
    rig, text = Rig("server", "memory"), hexadecimal(MIB)

    async def body(ws):
        with trio.CancelScope() as scope:

            async def stop():
                for _ in range(6):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            ws.nursery.start_soon(stop)
            await ws.send_stream([text])
        assert scope.cancelled_caught

    async with trio.open_nursery() as nursery:
        await rig.serve(nursery, body, compression=True)
        _, peer = await rig.dial(OFFER)
        with trio.fail_after(LONG):
            while rig.websocket is None or rig.websocket.close_info is None:
                await trio.sleep(0.001)
        assert rig.websocket.close_code == 1011
        await peer.leave()
        nursery.cancel_scope.cancel()
