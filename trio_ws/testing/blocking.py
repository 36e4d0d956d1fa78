"""Blocking: what a plain `def` test holds of the test client: the same, but every method blocks until it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from trio_ws.app.blocking import BlockingWebSocket

if TYPE_CHECKING:
    from trio_ws.errors import HeaderSource
    from trio_ws.server.server import Server
    from trio_ws.testing.client import TestClient, TestConnection
    from trio_ws.testing.http import TestResponse
    from trio_ws.testing.portal import BlockingPortal
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["BlockingTestClient", "BlockingTestWebSocket"]

T = TypeVar("T")


class BlockingTestWebSocket(BlockingWebSocket):
    """A client's `WebSocket` for plain tests."""

    __slots__ = ("_portal",)

    def __init__(self, websocket: WebSocket, portal: BlockingPortal) -> None:
        super().__init__(websocket)
        self._portal = portal

    def _run(self, method: Callable[..., Awaitable[T]], *args: Any) -> T:
        return self._portal.run(method, *args)

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that was agreed on; None if there is none."""
        return self._websocket.subprotocol

    @property
    def close_reason(self) -> str | None:
        """The reason in the first close frame; None while the connection is open."""
        return self._websocket.close_reason


class BlockingTestClient:
    """A `TestClient` for plain tests, whose server runs in a thread of its own: `with TestClient(app) as client`.

    Args:
        client: entered.
        portal: to the loop that it was entered in.
    """

    def __init__(self, client: TestClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def websocket_connect(self, path: str, **options: Any) -> TestConnection:
        """Connect a WebSocket: `with client.websocket_connect("/chat") as websocket_client`.

        Args:
            path: path and query.
            options: those of `TestClient.websocket_connect`.
        """
        return self._client.websocket_connect(path, **options)

    def get(self, path: str, *, headers: HeaderSource = ()) -> TestResponse:
        """Ask for a page with a plain HTTP GET. It raises what `TestClient.get` does."""

        async def get() -> TestResponse:
            return await self._client.get(path, headers=headers)

        return self._portal.run(get)

    @property
    def errors(self) -> list[BaseException]:
        """The errors of the server so far."""
        return self._client.errors

    @property
    def server(self) -> Server:
        """The server. It lives in another thread: only look at it."""
        return self._client.server
