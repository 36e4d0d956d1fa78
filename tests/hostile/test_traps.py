"""Traps that other libraries fell into (design, section 6), each by the name of what happened there.

Three more are shown where their classes of input are: bytes after the handshake in the same packet are lost
(`test_early`), a protocol error closes TCP without a close frame (`test_violations`), and a ping flood that fills the
outbox (`test_floods`).
"""

from __future__ import annotations

import itertools
import math
import random
import zlib
from functools import partial
from typing import Any

import pytest
import trio
from support.handlers import noted_when_cancelled

from hostile.arena import Arenas, echo, sees_end, until
from hostile.attacker import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    attack,
    close_codes,
    close_frame,
    frame,
    frames_of,
    request,
)
from trio_ws import (
    Compression,
    Limits,
    LocalProtocolError,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    open_websocket,
    serve_websocket,
)
from trio_ws.connection.connection import Connection

OFFER = ("Sec-WebSocket-Extensions", "permessage-deflate")


@pytest.mark.parametrize("value", [b"caf\xc3\xa9", b"\xff", b"chat, \xe2\x98\x83", b"chat;\x80"])
async def test_subprotocol_outside_ascii_ends_the_server(arenas: Arenas, value: bytes) -> None:
    """It is a 400, also where subprotocols are spoken."""
    async with arenas.open(subprotocols=("chat",)) as arena:
        assert (await arena.ask(request(("Sec-WebSocket-Protocol", value)))).status == 400


async def test_bad_parameters_of_permessage_deflate_end_the_server(arenas: Arenas) -> None:
    """What RFC 7692 does not have is declined, what is no list of extensions is a 400."""
    declined = (
        "server_max_window_bits=16",
        "server_max_window_bits=7",
        "server_max_window_bits=x",
        "server_max_window_bits=",
        "server_max_window_bits",
        "client_max_window_bits=99999999999999999999",
        "client_max_window_bits=-1",
        "server_no_context_takeover=1",
        "unknown",
        "server_no_context_takeover; server_no_context_takeover",
    )
    malformed = ("=", "server_max_window_bits=10 11", '"', 'server_max_window_bits="1', ";;")
    async with arenas.open(compression=True) as arena:
        for parameters in (*declined, *malformed):
            async with arena.attack() as attacker:
                await attacker.send(request(("Sec-WebSocket-Extensions", f"permessage-deflate; {parameters}")))
                await attacker.send(close_frame())
                answer = await attacker.answer()
            bad = parameters in malformed or parameters == "server_max_window_bits="
            assert answer.status == (400 if bad else 101), parameters
            assert "sec-websocket-extensions" not in answer.headers, parameters


async def test_pong_raised_while_closing_ends_the_server(arenas: Arenas) -> None:
    """Pings, pongs and messages between our close frame and the peer's are taken in silence."""

    async def goodbye(ws: WebSocket) -> None:
        closed = trio.Event()

        async def talk() -> None:
            while not closed.is_set():
                await trio.lowlevel.checkpoint()
            for method in (ws.ping, ws.pong):
                with pytest.raises(WebSocketDisconnect):
                    await method(b"late")

        ws.nursery.start_soon(talk)
        ws.context.open_channel().closing.begin_close(3000, "")
        closed.set()
        await ws.context.open_channel().closing.close(3000, "")

    async with arenas.open(goodbye) as arena, arena.websocket() as (attacker, rest):
        assert frames_of(await attacker.at_least(1, rest)) == [(CLOSE, b"\x0b\xb8")]
        noise = frame(PING, b"a") + frame(PONG, b"b") + frame(TEXT, b"c") + frame(PONG)
        await attacker.send(noise * 10 + close_frame(3000))
        assert await attacker.frames() == []
        await until(lambda: arena.ended)
        assert [code for _, code in arena.ended] == [3000]


async def test_ping_hangs_after_close(arenas: Arenas) -> None:
    """A ping under way when the connection ends raises, and so does every later one."""
    raised: list[str] = []

    async def pinging(ws: WebSocket) -> None:
        for when in ("under way", "afterwards", "again"):
            with pytest.raises(WebSocketDisconnect):
                await ws.ping()
            raised.append(when)

    async with arenas.open(pinging) as arena, arena.websocket() as (attacker, rest):
        assert frames_of(await attacker.at_least(1, rest))[0][0] == PING
        await attacker.send(close_frame())
        await until(lambda: len(raised) == 3)


async def test_size_limit_counted_in_characters(arenas: Arenas) -> None:
    """1,000 bytes are 1,000 bytes of UTF-8: 500 characters of two pass, 501 do not, in one frame or in two."""
    async with arenas.open(limits=Limits(max_message_size=1000)) as arena:
        for count, code in ((500, 1000), (501, 1009)):
            data = ("ß" * count).encode()
            for frames in (
                frame(TEXT, data),
                frame(TEXT, data[:333], fin=False) + frame(0, data[333:]),
            ):
                async with arena.websocket() as (attacker, rest):
                    await attacker.send(frames + close_frame())
                    assert close_codes(await attacker.frames(rest)) == [code]


async def test_inflate_limit_without_unconsumed_tail(arenas: Arenas) -> None:
    """A message that inflates to just the limit arrives whole, one byte more is a 1009, whatever zlib's steps are."""
    limit = 3_000_000
    sizes: list[int] = []
    ends: list[int] = []

    async def measure(ws: WebSocket) -> None:
        received: list[object] = []
        await sees_end(ws, ends, received)
        sizes.extend(len(message) for message in received if isinstance(message, bytes))

    async with arenas.open(measure, compression=True, limits=Limits(max_message_size=limit)) as arena:
        for size in (limit, limit + 1):
            stream = zlib.compressobj(9, zlib.DEFLATED, -15)
            data = (stream.compress(b"ab" * (size // 2) + b"c" * (size % 2)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
            async with arena.websocket(OFFER) as (attacker, _):
                await attacker.send(frame(BINARY, data, rsv1=True) + close_frame())
                await attacker.rest()
        await until(lambda: len(ends) == 2)
    assert sizes == [limit]
    assert ends == [1000, 1009]


async def test_empty_message_taken_for_none(arenas: Arenas) -> None:
    """An empty message is one, in every way to receive; None comes after the close message only."""
    received: list[object] = []

    async def every_way(ws: WebSocket) -> None:
        received.append(await ws.receive())
        received.append(await ws.receive_bytes())
        received.append(await ws.receive_text())
        message = await ws.recv()
        assert message is not None
        received.append((message.msg_type, message.data))
        received.append([part async for part in ws.receive_stream()])
        received.extend([each async for each in ws])
        received.append("over")

    async with arenas.open(every_way) as arena, arena.websocket() as (attacker, _):
        for opcode in (BINARY, BINARY, TEXT, BINARY, BINARY, BINARY, TEXT, BINARY):
            await attacker.send(frame(opcode))
        await attacker.send(close_frame())
        await attacker.rest()
        await until(lambda: "over" in received)
    assert received == [b"", b"", "", ("binary", b""), [], b"", "", b"", "over"]


@pytest.mark.parametrize("how", ["reset", "closed"])
async def test_full_queue_hides_the_disconnect(arenas: Arenas, how: str) -> None:
    """A handler that does not read is cancelled though its inbox is full and the end is behind what nobody reads."""
    cancelled: list[bool] = []

    async def busy(ws: WebSocket) -> None:
        await noted_when_cancelled(cancelled)

    async with arenas.open(busy, limits=Limits(inbox_messages=2)) as arena, arena.attack() as attacker:
        await attacker.handshake(behind=frame(TEXT, b"x") * 1000)
        channel = arena.websockets[0].context.channel
        assert isinstance(channel, Connection)
        await until(lambda: channel.reader.paused)
        if how == "reset":
            await attacker.reset()
        else:
            await attacker.stream.aclose()
        await until(lambda: cancelled, 3)
        await until(lambda: arena.ended)


async def test_compressor_out_of_step_after_a_cancelled_send(arenas: Arenas) -> None:
    """Sends that are cancelled while they wait for room leave the context, which both sides keep, as it was."""
    sent: list[str] = []
    cancelled = 0

    async def pour(ws: WebSocket) -> None:
        nonlocal cancelled
        for number in itertools.count():
            text = f"{number}: {random.Random(number).randbytes(8000).hex()}"
            with trio.move_on_after(0.005 if cancelled < 20 else math.inf) as scope:
                await ws.send(text)
                sent.append(text)
            cancelled += scope.cancelled_caught
            if cancelled >= 20:
                reading.set()
            if len(sent) % 10 == 0 and reading.is_set():
                break

    reading = trio.Event()
    options: dict[str, Any] = {"compression": Compression(send_context=True, receive_context=True)}
    async with arenas.open(pour, **options) as arena, arena.attack(small=True) as attacker:
        url = f"ws://127.0.0.1:{arena.server.port}/attack"
        limits = Limits(inbox_messages=1)
        async with open_websocket(url, stream=attacker.stream, poller=False, limits=limits, **options) as ws:
            await reading.wait()
            received = [message async for message in ws]
        assert received == sent
        assert cancelled == 20


async def test_keepalive_kills_a_peer_that_we_stopped_reading_from(arenas: Arenas) -> None:
    """Its pongs sit behind what we do not read: the deadline is frozen, and nothing is lost."""
    received: list[object] = []
    ends: list[int] = []

    async def slow(ws: WebSocket) -> None:
        await trio.sleep(0.6)
        await sees_end(ws, ends, received)

    timeouts = Timeouts(ping_interval=0.1, ping_timeout=0.1)
    async with arenas.open(slow, timeouts=timeouts, limits=Limits(inbox_messages=1)) as arena:
        async with arena.websocket(behind=frame(TEXT, b"x") * 100) as (attacker, _):
            await until(lambda: received)
            await attacker.send(close_frame(3000))
            await attacker.rest()
        await until(lambda: ends)
    assert received == ["x"] * 100
    assert ends == [3000]


async def test_close_code_of_the_peer_arrives_as_1006(arenas: Arenas) -> None:
    """Handler and on_disconnect get the peer's own code and reason."""
    seen: list[tuple[int, str]] = []

    async def note(ws: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
        seen.append((caught.value.code, caught.value.reason))

    async with arenas.open(note) as arena:
        for code in (1000, 1001, 3456, 4999):
            async with arena.websocket(behind=close_frame(code, b"why")) as (attacker, _):
                await attacker.rest()
        await until(lambda: len(arena.ended) == 4)
        assert seen == [(1000, "why"), (1001, "why"), (3456, "why"), (4999, "why")]
        assert [code for _, code in arena.ended] == [1000, 1001, 3456, 4999]


async def test_second_receive_after_a_disconnect_hangs(arenas: Arenas) -> None:
    """It raises again, at once, every time; recv() answers None, and iteration ends."""
    seen: list[object] = []

    async def insist(ws: WebSocket) -> None:
        for _ in range(3):
            with pytest.raises(WebSocketDisconnect):
                await ws.receive()
        seen.append(await ws.recv())
        seen.append(await ws.recv())
        seen.append([message async for message in ws])

    async with arenas.open(insist) as arena, arena.websocket(behind=close_frame()) as (attacker, _):
        await attacker.rest()
        await until(lambda: len(seen) == 3)
    first, *others = seen
    assert getattr(first, "msg_type", None) == "close"
    assert others == [None, []]


async def test_shutdown_sends_no_close_frame(arenas: Arenas) -> None:
    """Everyone gets 1001: who is silent, who is served, and who stands in the middle of a frame."""
    codes: list[int] = []

    async def client(port: int, data: bytes, *, task_status: trio.TaskStatus[None]) -> None:
        async with attack(port) as attacker:
            rest = await attacker.handshake()
            await attacker.send(data)
            task_status.started()
            while not close_codes(frames_of(rest)):
                part = await attacker.receive()
                assert part, "no close frame"
                rest += part
            codes.extend(close_codes(frames_of(rest)))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, echo, "127.0.0.1", 0, poller=arenas.poller))
        for data in (b"", frame(TEXT, b"x"), frame(TEXT, b"hello")[:4]):
            await nursery.start(client, server.port, data)
        server.shutdown(grace=0.2)
    assert codes == [1001] * 3


async def test_subprotocol_that_was_not_offered_ends_the_server(arenas: Arenas) -> None:
    """accept() raises in the handler, which may still accept without it; uncaught it is a 500."""

    async def stubborn(ws: WebSocket) -> None:
        with pytest.raises(LocalProtocolError):
            await ws.accept("chess")
        if ws.url.path == "/attack":
            await ws.accept("chess")
        await ws.accept()

    async with arenas.open(stubborn, auto_accept=False, errors=1) as arena:
        assert (await arena.ask(request(("Sec-WebSocket-Protocol", "chat")))).status == 500
        async with arena.attack() as attacker:
            line = "GET /other HTTP/1.1"
            await attacker.send(request(("Sec-WebSocket-Protocol", "chat"), line=line) + close_frame())
            assert (await attacker.answer()).status == 101
