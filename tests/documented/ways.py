"""Ways to reach an application: over sockets, served by either transport or by hypercorn, and through the test client.

A documented example has to behave in the same way on all of them, so its test is written once, for a `Way`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, Literal, Protocol

import attrs
import trio
from support.asgi import Version, open_network
from support.asgi import serving as under_hypercorn

from trio_ws import URL, App, Server, Timeouts, WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.asgi import ASGIApplication
from trio_ws.testing import TestResponse
from trio_ws.testing.http import fetch
from trio_ws.testing.recorder import ServerRecorder

PATIENCE = 60.0
"""Seconds that a whole test may take."""
QUICK = Timeouts(open_timeout=5.0, close_timeout=2.0, ping_interval=None)


class Visitor(Protocol):
    """A client of one application that is being served."""

    def connect(self, path: str, **options: Any) -> AbstractAsyncContextManager[WebSocket]:
        """Connect a WebSocket: `async with visitor.connect("/chat") as ws`."""

    async def get(self, path: str) -> TestResponse:
        """Ask for a page."""

    async def post(self, path: str, body: bytes, headers: Any) -> TestResponse:
        """Send a POST."""

    async def open_stream(self) -> trio.abc.Stream:
        """Open a network connection, and say nothing on it."""

    @property
    def server(self) -> Server:
        """The server."""


@attrs.frozen
class Way:
    """One way to reach an application.

    Args:
        name: "memory" for the test client, "http1" and "http2" for what a client of hypercorn's speaks, else the
            transport of a server on a socket.
    """

    name: Literal["poller", "stream", "memory", "http1", "http2"]

    @asynccontextmanager
    async def visit(self, app: App, *, strict: bool = True) -> AsyncGenerator[Visitor, None]:
        """Serve an application for as long as the block runs.

        Args:
            app: not running yet.
            strict: an error of a handler's fails the test; False where that is what the test is about.
        """
        with trio.fail_after(PATIENCE):
            if self.name == "memory":
                async with app.test_client(raise_server_errors=strict) as client:
                    yield _TestVisitor(client)
            elif self.name in ("http1", "http2"):
                observed = Observed(app.responder)
                async with under_hypercorn(ASGIApplication(observed)) as bridge:
                    yield _SocketVisitor(bridge, self.name)
                if strict and observed.errors:
                    raise BaseExceptionGroup("errors of handlers", observed.errors)
            else:
                async with trio.open_nursery() as nursery:
                    serve = partial(app.serve, "127.0.0.1", 0, poller=self.name == "poller", strict=strict)
                    server = await nursery.start(serve)
                    yield _SocketVisitor(server)
                    server.shutdown()


class Observed(ServerRecorder):
    """An application's responder, whose errors are seen."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._responder, name)


@attrs.frozen
class _TestVisitor:
    client: Any

    def connect(self, path: str, **options: Any) -> AbstractAsyncContextManager[WebSocket]:
        connection: AbstractAsyncContextManager[WebSocket] = self.client.websocket_connect(path, **options)
        return connection

    async def get(self, path: str) -> TestResponse:
        page: TestResponse = await self.client.get(path)
        return page

    async def post(self, path: str, body: bytes, headers: Any) -> TestResponse:
        answer: TestResponse = await self.client.post(path, body, headers=headers)
        return answer

    async def open_stream(self) -> trio.abc.Stream:
        stream: trio.abc.Stream = await self.client.network.connect()
        return stream

    @property
    def server(self) -> Server:
        running: Server = self.client.server
        return running


@attrs.frozen
class _SocketVisitor:
    server: Any
    version: Version = "http1"

    @asynccontextmanager
    async def connect(self, path: str, **options: Any) -> AsyncIterator[WebSocket]:
        """Connect, with the test client's semantics: the block is never cancelled, and no disconnect is swallowed."""
        end: WebSocketDisconnect | None = None
        url = f"ws://127.0.0.1:{self.server.port}{path}"
        if self.version == "http2":
            options["stream"] = await self.open_stream()
        async with open_websocket(url, when_peer_leaves="finish", timeouts=QUICK, **options) as websocket:
            try:
                yield websocket
            except WebSocketDisconnect as error:
                end = error
        if end is not None:
            raise end

    async def get(self, path: str) -> TestResponse:
        return await fetch(await self.open_stream(), URL.parse(f"ws://127.0.0.1:{self.server.port}{path}"), ())

    async def post(self, path: str, body: bytes, headers: Any) -> TestResponse:
        url = URL.parse(f"ws://127.0.0.1:{self.server.port}{path}")
        return await fetch(await self.open_stream(), url, headers, body=body)

    async def open_stream(self) -> trio.abc.Stream:
        return await open_network(self.server.port, self.version)


async def visit_rudely(visitor: Visitor, path: str) -> None:
    """Connect, wait for the answer, and end the network connection without a close frame."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    stream = await visitor.open_stream()
    await stream.send_all(request.encode())
    assert (await stream.receive_some(1024)).startswith(b"HTTP/1.1 101 ")
    await trio.aclose_forcefully(stream)
