"""Openings while the loop is held up: each step that came in time is answered, and has its consequences."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest
import trio
from support.tls import contexts
from trio.testing import MockClock

from contracts.held import HELD, ROUNDS, answer_to, clock, poller, push, settle
from contracts.rig import request
from trio_ws import App, ConnectTimeout, Timeouts, WebSocket, open_websocket
from trio_ws.transport.tls_session import TLSSession

__all__ = ["clock", "poller"]  # fixtures

TIMES = Timeouts(open_timeout=10, close_timeout=5, ping_interval=None)


class Client:
    """A client on a socket that sends without a turn of the loop, through TLS or not."""

    def __init__(self, stream: trio.SocketStream, *, tls: bool) -> None:
        self.stream = stream
        self.secured = TLSSession(contexts()[1], "localhost") if tls else None

    def shake(self) -> bool:
        """Take a step of the handshake; return whether it is done."""
        assert self.secured is not None
        done = self.secured.do_handshake()
        push(self.stream, self.secured.take_ciphertext())
        return done

    async def take(self) -> None:
        assert self.secured is not None
        with trio.fail_after(1):
            self.secured.feed(await self.stream.receive_some(65536))

    def ask(self, data: bytes) -> None:
        if self.secured is None:
            push(self.stream, data)
        else:
            push(self.stream, self.secured.encrypt(data))

    async def status(self) -> bytes:
        with trio.fail_after(1):
            while self.secured is not None:
                data = self.secured.read()
                if data is not None:
                    return data[:12]
                await self.take()
            return bytes(await self.stream.receive_some(65536))[:12]


def application() -> App:
    """Everything in it needs several turns of the loop, and some time."""
    app = App(timeouts=TIMES)

    async def guard(context: Any) -> bool:
        await trio.sleep(1)
        await trio.sleep(1)
        return True

    @app.websocket("/", guards=[guard])
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async def page(request: Any) -> str:
        await trio.sleep(1)
        await trio.sleep(1)
        return "made"

    app.page("/page", page)
    return app


async def hold(clock: MockClock) -> None:
    """Let the time of a held-up loop pass, then two seconds for the application."""
    clock.jump(HELD)
    for _ in range(5):
        await settle()
        clock.jump(1)
    await settle()


ASKED = {
    "upgrade": (request(), b"HTTP/1.1 101"),
    "page": (b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200"),
}


@pytest.mark.parametrize(("words", "status"), ASKED.values(), ids=ASKED.keys())
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_request_in_time_has_time_for_its_answer(words, status, tls, poller, clock) -> None:
    """Guards and pages that wait begin only when the loop goes on: the time is not over by then."""
    context = contexts()[0] if tls else None
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        serve = partial(application().serve, "127.0.0.1", 0, ssl_context=context, poller=poller)
        server = await nursery.start(serve)
        for _ in range(ROUNDS):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
            client = Client(stream, tls=tls)
            while tls and not client.shake():
                await client.take()
            await settle()
            client.ask(words)
            await hold(clock)
            assert await client.status() == status
        clock.autojump_threshold = 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("crowd", [1, 30])
async def test_a_tls_handshake_goes_on_after_each_hold(crowd, poller, clock) -> None:
    """Its steps are there in time; the next one can only follow the server's answer."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        serve = partial(application().serve, "127.0.0.1", 0, ssl_context=contexts()[0], poller=poller)
        server = await nursery.start(serve)
        clients = []
        for _ in range(crowd):
            stream = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", server.port))
            clients.append(Client(stream, tls=True))
        await settle()
        for client in clients:
            assert not client.shake()
        clock.jump(HELD)
        await settle()
        for client in clients:
            await client.take()
        for client in clients:
            assert client.shake()
        clock.jump(HELD)
        await settle()
        for client in clients:
            client.ask(request())
        await hold(clock)
        for client in clients:
            assert await client.status() == b"HTTP/1.1 101"
        clock.autojump_threshold = 0
        nursery.cancel_scope.cancel()


async def test_a_clients_tls_handshake_goes_on_after_a_hold(poller, clock) -> None:
    """The server's part of it is there in time; what follows can only come later."""
    for _ in range(ROUNDS):
        opened = trio.Event()
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with trio.open_nursery() as nursery, listener:
            url = f"wss://localhost:{listener.socket.getsockname()[1]}/"

            async def connect(url: str = url, opened: trio.Event = opened) -> None:
                context = contexts()[1]
                async with open_websocket(
                    url, timeouts=TIMES, poller=poller, ssl_context=context, caught_close_codes=all
                ):
                    opened.set()

            nursery.start_soon(connect)
            stream = await listener.accept()
            server = Client(stream, tls=False)
            server.secured = TLSSession(contexts()[0])
            await server.take()
            assert not server.shake()
            clock.jump(HELD)
            await settle()
            await server.take()
            assert server.shake()
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                data = server.secured.read()
                if data is not None:
                    head += data
                else:
                    await server.take()
            server.ask(answer_to(head))
            await settle()
            assert opened.is_set()
            await trio.aclose_forcefully(stream)
            clock.autojump_threshold = 0
        clock.autojump_threshold = math.inf


async def test_a_server_that_is_silent_after_a_hold_is_given_up(poller, clock) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        failures: list[ConnectTimeout] = []

        async def connect() -> None:
            try:
                async with open_websocket(f"ws://localhost:{listener.socket.getsockname()[1]}/", timeouts=TIMES):
                    pass
            except ConnectTimeout as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            stream = await listener.accept()
            await settle()
            clock.jump(TIMES.open_timeout + 0.01)
            await settle()
            assert [error.phase for error in failures] == ["handshake"]
            await stream.aclose()
