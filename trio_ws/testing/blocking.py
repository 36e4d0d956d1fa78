"""The test client and its WebSockets for plain `def` tests, with blocking methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trio_ws.app.blocking import BlockingWebSocket

if TYPE_CHECKING:
    from trio_ws.errors import HeaderSource
    from trio_ws.server.server import Server
    from trio_ws.testing.http import TestResponse
    from trio_ws.testing.portal import BlockingPortal
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["BlockingTestClient", "BlockingTestWebSocket"]

T = TypeVar("T")


class BlockingTestWebSocket(BlockingWebSocket):
    """A client's `WebSocket` with blocking methods."""

    __slots__ = ("_client_websocket", "_portal")

    def __init__(self, websocket: WebSocket, portal: BlockingPortal) -> None:
        super().__init__(websocket)
        self._client_websocket = websocket
        self._portal = portal

    def _run(self, method: Callable[..., Awaitable[T]], *args: Any) -> T:
        return self._portal.run(method, *args)

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol; None if there is none."""
        return self._client_websocket.subprotocol

    @property
    def close_reason(self) -> str | None:
        """The reason in the first close frame; None while the connection is open."""
        return self._client_websocket.close_reason


class AsyncTestClient(Protocol):
    """The methods of a `TestClient` that its blocking form calls."""

    @property
    def errors(self) -> list[BaseException]:
        """The unhandled errors of the server so far."""

    @property
    def server(self) -> Server:
        """The server."""

    @property
    def websocket_connect(self) -> Callable[..., AbstractContextManager[BlockingTestWebSocket]]:
        """The method that connects a WebSocket."""

    async def get(self, path: str, *, headers: HeaderSource = ()) -> TestResponse:
        """Request a page with a plain HTTP GET."""


class BlockingTestClient:
    """A `TestClient` for plain tests: `with TestClient(app) as client`. Its server runs in a thread.

    Args:
        client: the async test client, entered.
        portal: the portal to its Trio loop.
    """

    def __init__(self, client: AsyncTestClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def websocket_connect(self, path: str, **options: Any) -> AbstractContextManager[BlockingTestWebSocket]:
        """Connect a WebSocket: `with client.websocket_connect("/chat") as websocket_client`.

        Args:
            path: path and query.
            options: those of `TestClient.websocket_connect`.
        """
        return self._client.websocket_connect(path, **options)

    def get(self, path: str, *, headers: HeaderSource = ()) -> TestResponse:
        """Request a page with a plain HTTP GET. It raises the errors of `TestClient.get`."""

        async def get() -> TestResponse:
            return await self._client.get(path, headers=headers)

        return self._portal.run(get)

    @property
    def errors(self) -> list[BaseException]:
        """The unhandled errors of the server so far."""
        return self._client.errors

    @property
    def server(self) -> Server:
        """The server. It runs in another thread, so only its attributes may be read."""
        return self._client.server
