"""A WebSocket of a test client, in its async and in its blocking form."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from trio_ws.client.client import open_websocket
from trio_ws.errors import ConnectionRejected, WebSocketDisconnect
from trio_ws.headers import header_pairs
from trio_ws.testing.blocking import BlockingTestWebSocket
from trio_ws.testing.timeouts import bound_waits

if TYPE_CHECKING:
    from types import TracebackType

    from trio_ws.http.url import URL
    from trio_ws.testing.cookies import ClientCookies
    from trio_ws.testing.network import Network
    from trio_ws.testing.portal import BlockingPortal
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["ConnectingClient", "TestConnection"]


class ConnectingClient(Protocol):
    """The parts of a `TestClient` that its connections use."""

    network: Network
    cookies: ClientCookies

    @property
    def portal(self) -> BlockingPortal | None:
        """The portal of a client that is entered in a plain test."""

    def serving(self) -> AbstractAsyncContextManager[object]:
        """Return a context that serves for its duration."""

    def enter_portal(self) -> BlockingPortal:
        """Enter the client in a portal."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Leave the portal."""


class TestConnection:
    """A connection of `TestClient.websocket_connect`, opened by `async with` or `with`."""

    __test__ = False

    def __init__(self, client: ConnectingClient, url: URL, seconds: float, options: dict[str, Any]) -> None:
        self._client = client
        self._url = url
        self._seconds = seconds
        self._options = options
        self._open = self._connect()
        self._stack = ExitStack()

    @asynccontextmanager
    async def _connect(self) -> AsyncGenerator[WebSocket, None]:
        client = self._client
        end: WebSocketDisconnect | None = None
        async with client.serving(), self._opened() as websocket:
            bound_waits(websocket.context.open_channel(), self._seconds, str(self._url))
            try:
                yield websocket
            except WebSocketDisconnect as error:
                end = error
        if end is not None:
            raise end

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[WebSocket, None]:
        """Open the connection with the client's cookies, and store those of the response."""
        url, jar = self._url, self._client.cookies
        stream = await self._client.network.connect()
        opening = open_websocket(str(url), stream=stream, when_peer_leaves="finish", **self._arguments())
        opened = False
        try:
            async with opening as websocket:
                opened = True
                if websocket.response_headers is not None:
                    jar.take_from(url, websocket.response_headers)
                yield websocket
        except ConnectionRejected as rejected:
            if not opened:
                jar.take_from(url, rejected.headers)
            raise

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments of `open_websocket`, with the client's cookies unless there is a Cookie header."""
        written = any(name.lower() == "cookie" for name, _ in header_pairs(self._options["headers"]))
        stored = {} if written else self._client.cookies.sent_to(self._url)
        cookies = stored | dict(self._options["cookies"] or {})
        return {**self._options, "cookies": cookies or None}

    async def __aenter__(self) -> WebSocket:
        return await self._open.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._open.__aexit__(kind, error, trace)

    def __enter__(self) -> BlockingTestWebSocket:
        with ExitStack() as stack:
            portal = self._client.portal
            if portal is None:
                portal = self._client.enter_portal()
                stack.push(self._client.__exit__)
            websocket = stack.enter_context(portal.hold(self))
            self._stack = stack.pop_all()
        return BlockingTestWebSocket(websocket, portal)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)
