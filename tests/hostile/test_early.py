"""Bytes behind the request in the same packet, and ends and resets at any point: nothing lost, nothing left."""

from __future__ import annotations

import socket

import pytest
import trio
from support.handlers import noted_when_cancelled
from support.internals import internal

from hostile.arena import Arenas, sees_end, until
from hostile.attacker import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    close_codes,
    close_frame,
    frame,
    frames_of,
    request,
)
from trio_ws import Limits, WebSocket

EARLY = frame(TEXT, b"early") + frame(PING, b"p") + frame(BINARY, bytes(300))
LATE_ACCEPT = 0.05
"""Seconds that a slow handler takes to accept: long enough for every byte to have arrived."""


async def slow_echo(ws: WebSocket) -> None:
    await trio.sleep(LATE_ACCEPT)
    async with ws:
        async for message in ws:
            await ws.send(message)


async def test_messages_behind_the_request_are_answered(arenas: Arenas) -> None:
    async with arenas.open() as arena, arena.websocket(behind=EARLY) as (attacker, rest):
        frames = await attacker.frames(rest) if await attacker.send(close_frame(3001)) else []
        assert sorted(frames[:3]) == [(TEXT, b"early"), (BINARY, bytes(300)), (PONG, b"p")]
        assert close_codes(frames) == [3001]


async def test_messages_and_close_behind_the_request_reach_the_handler(arenas: Arenas) -> None:
    """A whole life in one packet: the handler receives it all, though it cannot answer any more."""
    received: list[object] = []
    ends: list[int] = []

    async with arenas.open(lambda ws: sees_end(ws, ends, received)) as arena:
        answer = await arena.ask(request() + EARLY + close_frame(3001, b"bye"))
        assert answer.status == 101
        assert frames_of(answer.rest) == [(PONG, b"p"), (CLOSE, b"\x0b\xb9bye")]
        await until(lambda: arena.ended)
        assert received == ["early", bytes(300)]
        assert ends == [3001]
        assert [code for _, code in arena.ended] == [3001]


async def test_messages_wait_for_a_handler_that_is_slow_to_accept(arenas: Arenas) -> None:
    async with arenas.open(slow_echo, auto_accept=False) as arena, arena.websocket(behind=EARLY) as (attacker, rest):
        assert await attacker.send(close_frame(3001))
        frames = await attacker.frames(rest)
        assert sorted(frames[:3]) == [(TEXT, b"early"), (BINARY, bytes(300)), (PONG, b"p")]


async def test_megabytes_behind_the_request_wait_without_being_read(arenas: Arenas) -> None:
    """A slow handler keeps 64 KiB and one read at most; the rest waits in the network, and none of it is lost."""
    message = frame(BINARY, bytes(60_000))
    received: list[int] = []

    async def count(ws: WebSocket) -> None:
        await trio.sleep(LATE_ACCEPT)
        early = internal(ws.context.handshake.receiver, "_early")  # type: ignore[union-attr]
        received.append(len(early))
        async with ws:
            received.extend([len(data) async for data in ws])

    async with arenas.open(count, auto_accept=False) as arena, arena.attack() as attacker:
        assert await attacker.send(request() + message * 100 + close_frame())
        assert close_codes(frames_of((await attacker.answer()).rest)) == [1000]
        await until(lambda: arena.ended)
    kept, *sizes = received
    assert 0 < kept < 64 * 1024 + 256 * 1024
    assert sizes == [60_000] * 100


async def test_violation_behind_the_request_is_answered_like_any_other(arenas: Arenas) -> None:
    async with arenas.open(slow_echo, auto_accept=False) as arena, arena.attack() as attacker:
        assert await attacker.send(request() + frame(TEXT, b"fine") + b"\xff\xff\xff")
        answer = await attacker.answer()
        assert answer.status == 101
        assert close_codes(frames_of(answer.rest)) == [1002]
        await until(lambda: arena.ended)
        assert [code for _, code in arena.ended] == [1002]


@pytest.mark.parametrize("cut", [0, 1, 20, len(request()) - 1, len(request()), len(request()) + 4])
@pytest.mark.parametrize("how", ["reset", "half-close", "close"])
async def test_end_at_any_point_before_the_answer_is_seen(arenas: Arenas, cut: int, how: str) -> None:
    """Before 101 a client may go at any byte: its handler, if there is one, is cancelled without an answer."""
    ends: list[str] = []

    async with arenas.open(lambda ws: noted_when_cancelled(ends, "cancelled"), auto_accept=False) as arena:
        async with arena.attack() as attacker:
            assert await attacker.send((request() + EARLY)[:cut])
            if cut >= len(request()):
                await until(lambda: arena.websockets)
            if how == "reset":
                await attacker.reset()
            elif how == "half-close":
                await attacker.stream.send_eof()  # type: ignore[attr-defined]
                assert await attacker.rest() == b""
        await arena.all_gone()
        assert ends == ["cancelled"] * (cut >= len(request()))
        assert not arena.ended
        assert arena.server.statistics().accepted == 1


@pytest.mark.parametrize("limit", [Limits(), Limits(inbox_messages=1)], ids=["inbox free", "inbox full"])
async def test_reset_at_any_point_of_a_conversation_ends_it_with_1006(arenas: Arenas, limit: Limits) -> None:
    """After 101, in the midst of frames and between them: the handler hears of it, and on_disconnect runs once."""
    session = EARLY + frame(TEXT, b"a" * 1000)
    points = [0, 1, 2, 5, 8, 11, len(session) - 500, len(session)]
    ends: list[int] = []

    async with arenas.open(lambda ws: sees_end(ws, ends), limits=limit) as arena:
        for point in points:
            async with arena.websocket() as (attacker, _):
                assert await attacker.send(session[:point])
                await attacker.reset()
        await until(lambda: len(arena.ended) == len(points))
        assert ends == [1006] * len(points)
        assert [code for _, code in arena.ended] == [1006] * len(points)


async def test_reset_while_the_server_sends_ends_the_sender(arenas: Arenas) -> None:
    """A handler that only sends is told by its send, or cancelled: either way it ends."""
    sent = 0

    async def pour(ws: WebSocket) -> None:
        nonlocal sent
        while True:
            await ws.send(bytes(10_000))
            sent += 1

    async with arenas.open(pour) as arena:
        for _ in range(5):
            async with arena.websocket(small=True) as (attacker, _):
                await attacker.receive()
                await attacker.reset()
        await until(lambda: len(arena.ended) == 5)
        assert [code for _, code in arena.ended] == [1006] * 5
        assert sent


async def test_reset_in_the_closing_handshake_is_no_error(arenas: Arenas) -> None:
    async with arenas.open(lambda ws: ws.close(3000, "go")) as arena:
        async with arena.websocket() as (attacker, rest):
            assert close_codes(frames_of(await attacker.at_least(1, rest))) == [3000]
            await attacker.reset()
        await until(lambda: arena.ended)
        assert [code for _, code in arena.ended] == [3000]


async def test_reset_before_accept_yields_a_dead_connection(arenas: Arenas) -> None:
    """Connections that are reset while they wait to be accepted end, and no one else."""
    async with arenas.open() as arena:
        for _ in range(30):
            arena.attackers += 1
            sock = socket.create_connection(("127.0.0.1", arena.server.port))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            sock.close()
        await until(lambda: arena.server.statistics().refused >= 30)
