"""Clients that take their time over the opening handshake: one deadline from accept to 101, TLS included."""

from __future__ import annotations

import ssl

import pytest
import trio
from support.handlers import noted_when_cancelled

from hostile.arena import Arena, Arenas
from hostile.attacker import request
from trio_ws import Timeouts

OPEN_TIMEOUT = 0.2
IMPATIENT = Timeouts(open_timeout=OPEN_TIMEOUT, close_timeout=0.5, cleanup_timeout=0.5)
LINGER = 1.0
"""What a refused client has to read why (opening.LINGER)."""


async def test_silent_client_is_answered_408(arenas: Arenas) -> None:
    """Not a byte: an answer at open_timeout, not before and not much later."""
    async with arenas.open(timeouts=IMPATIENT) as arena, arena.attack() as attacker:
        began = trio.current_time()
        answer = await attacker.answer()
        took = trio.current_time() - began
        assert answer.status == 408
        assert OPEN_TIMEOUT * 0.9 <= took < OPEN_TIMEOUT + LINGER


@pytest.mark.parametrize("length", [1, 30, len(request()) - 1])
async def test_client_that_stops_within_its_head_is_answered_408(arenas: Arenas, length: int) -> None:
    async with arenas.open(timeouts=IMPATIENT) as arena:
        assert (await arena.ask(request()[:length])).status == 408


async def test_dripping_client_is_answered_408(arenas: Arenas) -> None:
    """Bytes that come do not move the deadline."""
    async with arenas.open(timeouts=IMPATIENT) as arena, arena.attack() as attacker:

        async def drip() -> None:
            for byte in request(("X-Long", "a" * 1000)):
                await attacker.send(bytes([byte]))
                await trio.sleep(OPEN_TIMEOUT / 20)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await attacker.answer()).status == 408
            nursery.cancel_scope.cancel()


async def test_many_silent_clients_are_all_answered(arenas: Arenas) -> None:
    async with arenas.open(timeouts=IMPATIENT) as arena:
        statuses: list[int] = []

        async def wait(arena: Arena) -> None:
            async with arena.attack() as attacker:
                statuses.append((await attacker.answer()).status)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(wait, arena)
        assert statuses == [408] * 50


async def test_client_that_never_reads_its_408_is_cut_off(arenas: Arenas) -> None:
    """It neither reads nor leaves: the server ends the connection itself, after the linger."""
    async with arenas.open(timeouts=IMPATIENT) as arena, arena.attack():
        await arena.all_gone()


async def test_tls_handshake_that_stalls_ends_at_open_timeout(
    arenas: Arenas, certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """There is no TLS to answer over: the connection ends, and one line says why."""
    async with arenas.open(timeouts=IMPATIENT, tls=certificates) as arena:

        async def stall(beginning: bytes) -> None:
            async with arena.attack(plain=True) as attacker:
                began = trio.current_time()
                assert await attacker.send(beginning)
                await attacker.rest()
                assert OPEN_TIMEOUT * 0.9 <= trio.current_time() - began < OPEN_TIMEOUT + LINGER + 3

        async with trio.open_nursery() as nursery:
            for beginning in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
                nursery.start_soon(stall, beginning)


async def test_tls_handshake_and_request_share_one_deadline(
    arenas: Arenas, certificates: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """A client that is slow with TLS has no time left for its request."""
    timeouts = Timeouts(open_timeout=0.6)
    async with arenas.open(timeouts=timeouts, tls=certificates) as arena, arena.attack() as attacker:
        began = trio.current_time()
        await trio.sleep(0.4)
        assert await attacker.send(request()[:-1])
        answer = await attacker.answer()
        assert answer.status == 408
        assert trio.current_time() - began < 0.6 + LINGER


@pytest.mark.parametrize(
    "garbage", [request(), b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000, b"SSH-2.0-x\r\n"]
)
async def test_garbage_instead_of_tls_ends_the_connection(
    arenas: Arenas, certificates: tuple[ssl.SSLContext, ssl.SSLContext], garbage: bytes
) -> None:
    async with arenas.open(tls=certificates) as arena, arena.attack(plain=True) as attacker:
        await attacker.send(garbage)
        await attacker.rest()


async def test_client_without_handler_answer_is_refused_in_time(arenas: Arenas) -> None:
    """The deadline counts up to our answer: a handler that does not decide is cancelled, and the client told 503."""
    cancelled: list[bool] = []

    async with arenas.open(lambda ws: noted_when_cancelled(cancelled), timeouts=IMPATIENT, auto_accept=False) as arena:
        answer = await arena.ask(request())
        assert answer.status == 503
        assert cancelled == [True]
        assert not arena.ended
