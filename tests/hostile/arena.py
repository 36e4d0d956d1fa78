"""The arena: a server on loopback with a canary, a well-behaved client that echoes as long as the attack goes on.

Leaving it checks what holds after every attack: the canary's connection went on, a new client is served, every other
connection has ended, nothing was an error of ours, and the log has at most one line for each attacking connection,
with nothing in it that a terminal would take for anything but text.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from hostile.attacker import Answer, Attacker, attack
from trio_ws import Server, WebSocket, WebSocketDisconnect, open_websocket, serve_websocket

Handler = Callable[[WebSocket], Awaitable[object]]

PACE = 0.005
"""Seconds between two of the canary's round trips: it shall measure the server, not fill it."""
MORE_TRIPS = 3
"""What the canary must still manage when the attack is over."""


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something that a server does in its own time."""
    with trio.fail_after(seconds):
        while not condition():
            await trio.sleep(0.002)


class Canary:
    """A well-behaved client: what it sends comes back, again and again, on one connection."""

    def __init__(self) -> None:
        self.trips = 0
        self.slowest = 0.0

    async def sing(self, url: str, *, task_status: trio.TaskStatus[None], **options: Any) -> None:
        async with open_websocket(url, **options) as ws:
            await self._trip(ws)
            task_status.started()
            while True:
                await self._trip(ws)
                await trio.sleep(PACE)

    async def _trip(self, ws: WebSocket) -> None:
        began = trio.current_time()
        song = f"canary {self.trips}"
        await ws.send(song)
        assert await ws.receive() == song
        self.trips += 1
        self.slowest = max(self.slowest, trio.current_time() - began)


class Arena:
    """What an attack is made on."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.canary = Canary()
        self.attackers = 0
        self.websockets: list[WebSocket] = []
        """Those that attackers opened, in the order in which their handlers began."""
        self.ended: list[tuple[WebSocket, int]] = []
        """Those whose `on_disconnect` ran, with its code."""
        self._tls = tls

    def attack(self, *, plain: bool = False, small: bool = False) -> AbstractAsyncContextManager[Attacker]:
        """Connect one more attacker; `plain`: without TLS, whatever the server expects."""
        self.attackers += 1
        return attack(self.server.port, tls=None if plain else self._tls, small=small)

    @asynccontextmanager
    async def websocket(
        self, *extra: tuple[str, str | bytes], behind: bytes = b"", **how: Any
    ) -> AsyncIterator[tuple[Attacker, bytes]]:
        """Connect one more attacker that opens a WebSocket; what came behind the 101 is beside it."""
        async with self.attack(**how) as attacker:
            yield attacker, await attacker.handshake(*extra, behind=behind)

    async def ask(self, data: bytes) -> Answer:
        """Connect one more attacker that sends bytes; return the server's last answer."""
        async with self.attack() as attacker:
            assert await attacker.send(data)
            return await attacker.answer()

    @property
    def alone(self) -> bool:
        """Whether the canary's is the only connection."""
        return self.server.statistics().connections == 1

    async def all_gone(self) -> None:
        """Wait until the server has seen every attacker off."""
        await until(lambda: self.alone)


class Arenas:
    """Makes arenas on one kind of transport; `caplog` sees what they log."""

    def __init__(self, caplog: pytest.LogCaptureFixture, *, poller: bool) -> None:
        self.poller = poller
        self.caplog = caplog

    @asynccontextmanager
    async def open(
        self,
        handler: Handler = echo,
        *,
        errors: int = 0,
        log_lines: int | None = None,
        tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
        **options: Any,
    ) -> AsyncIterator[Arena]:
        """Serve, let the canary sing, and check afterwards.

        Args:
            handler: of all connections but the canary's.
            errors: handlers that end with an error, which is then part of the test.
            log_lines: how many lines are allowed, one for each attacking connection if None.
            tls: the contexts of server and clients.
            options: of `serve_websocket`.
        """
        self.caplog.set_level(logging.INFO)
        arena: Arena

        async def dispatch(ws: WebSocket) -> None:
            if ws.url.path == "/canary":
                async with ws:
                    await echo(ws)
            else:
                arena.websockets.append(ws)
                await handler(ws)

        async def gone(ws: WebSocket, code: int) -> None:
            if ws.url.path != "/canary":
                arena.ended.append((ws, code))

        server_tls, client_tls = tls or (None, None)
        serve = partial(
            serve_websocket,
            dispatch,
            "127.0.0.1",
            0,
            poller=self.poller,
            ssl_context=server_tls,
            on_disconnect=gone,
            **options,
        )
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            arena = Arena(server, client_tls)
            scheme, host = ("wss", "localhost") if client_tls else ("ws", "127.0.0.1")
            url = f"{scheme}://{host}:{server.port}/canary"
            dial = {} if client_tls is None else {"ssl_context": client_tls}
            await nursery.start(partial(arena.canary.sing, url, **dial))
            yield arena
            await arena.all_gone()
            await _sings_on(arena.canary)
            await _serves_on(url, dial)
            self._check(arena, errors, arena.attackers if log_lines is None else log_lines)
            nursery.cancel_scope.cancel()

    def _check(self, arena: Arena, errors: int, log_lines: int) -> None:
        assert arena.server.statistics().handler_errors == errors
        assert len({id(ws) for ws, _ in arena.ended}) == len(arena.ended), "on_disconnect ran twice"
        records = self.caplog.records
        assert len(records) <= log_lines, [record.getMessage() for record in records]
        for record in records:
            assert record.name == "trio_ws"
            assert record.levelno < logging.ERROR or errors
            message = record.getMessage()
            assert message.isascii(), ascii(message)
            assert message.isprintable(), ascii(message)
        self.caplog.clear()


async def _sings_on(canary: Canary) -> None:
    goal = canary.trips + MORE_TRIPS
    await until(lambda: canary.trips >= goal)


async def _serves_on(url: str, dial: dict[str, Any]) -> None:
    with trio.fail_after(60):
        async with open_websocket(url, **dial) as ws:
            await ws.send("still there?")
            assert await ws.receive() == "still there?"


async def sees_end(ws: WebSocket, ends: list[int], messages: list[object] | None = None) -> None:
    """Receive to the end, and note the code in `ends`; what comes before it in `messages`."""
    try:
        while True:
            message = await ws.receive()
            if messages is not None:
                messages.append(message)
    except WebSocketDisconnect as end:
        ends.append(end.code)
