"""The test client and its WebSockets for plain `def` tests, with blocking methods."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from trio_ws.blocking.websocket import BlockingWebSocket

if TYPE_CHECKING:
    from logging import LogRecord

    from typing_extensions import Unpack

    from trio_ws.errors import HeaderSource
    from trio_ws.headers import Headers
    from trio_ws.server.server import Server
    from trio_ws.testing.clock import ClientClock
    from trio_ws.testing.cookies import ClientCookies
    from trio_ws.testing.http import TestResponse
    from trio_ws.testing.options import ConnectKeywords
    from trio_ws.testing.portal import BlockingPortal
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["BlockingClock", "BlockingTestClient", "BlockingTestWebSocket"]

T = TypeVar("T")


class BlockingTestWebSocket(BlockingWebSocket):
    """A client's `WebSocket` with blocking methods.

    Example:
        with app.test_client() as client, client.websocket_connect("/numbers/2") as ws:
            assert (ws.receive_json(), ws.receive_json()) == (0, 1)
    """

    __slots__ = ("_client_websocket", "_portal")

    def __init__(self, websocket: WebSocket, portal: BlockingPortal) -> None:
        super().__init__(websocket)
        self._client_websocket = websocket
        self._portal = portal

    def _run(self, method: Callable[..., Awaitable[T]], *args: Any) -> T:
        return self._portal.run(method, *args)

    @property
    def websocket(self) -> WebSocket:
        """The async `WebSocket`, for functions that `run` calls."""
        return self._client_websocket

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an async function in the loop of client and server; return its value or raise its error.

        Args:
            function: awaited in a task of the loop.
            args: its arguments.

        Example:
            with app.test_client() as client, client.websocket_connect("/chat") as ws:
                seconds = ws.run(ws.websocket.ping)
        """
        return self._portal.run(function, *args)

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol; None if there is none."""
        return self._client_websocket.subprotocol

    @property
    def response_headers(self) -> Headers | None:
        """The headers of the server's answer to the handshake."""
        return self._client_websocket.response_headers

    @property
    def close_reason(self) -> str | None:
        """The reason in the first close frame; None while the connection is open."""
        return self._client_websocket.close_reason


class AsyncTestClient(Protocol):
    """The methods of a `TestClient` that its blocking form calls."""

    clock: ClientClock
    cookies: ClientCookies

    @property
    def server_websockets(self) -> list[WebSocket]:
        """The server's sides of the connections so far."""

    @property
    def log_records(self) -> list[LogRecord]:
        """The collected log records."""

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

    async def post(
        self, path: str, body: bytes | None = None, *, json: Any = None, headers: HeaderSource = ()
    ) -> TestResponse:
        """Send a POST."""


class BlockingClock:
    """The clock of a blocking test client.

    Example:
        with app.test_client(virtual_time=True) as client, client.websocket_connect("/echo") as ws:
            client.clock.sleep(3600)
            ws.send("still there?")

    Args:
        clock: of the async client.
        portal: the portal to its Trio loop.
    """

    def __init__(self, clock: ClientClock, portal: BlockingPortal) -> None:
        self._clock = clock
        self._portal = portal

    @property
    def virtual(self) -> bool:
        """True for virtual time, which passes only while a method of the client waits."""
        return self._portal.run_sync(lambda: self._clock.virtual)

    def now(self) -> float:
        """Return the time in seconds; only differences have a meaning."""
        return self._portal.run_sync(self._clock.now)

    def sleep(self, seconds: float) -> None:
        """Let time pass for the server and the client.

        Args:
            seconds: 0 or more.

        Raises:
            ValueError: it is less than 0.
        """
        self._portal.run(self._clock.sleep, seconds)


class BlockingTestClient:
    """A `TestClient` for plain tests: `with TestClient(app) as client`. Its server runs in a thread.

    Args:
        client: the async test client, entered.
        portal: the portal to its Trio loop.

    Example:
        with TestClient(app) as client, client.websocket_connect("/echo") as ws:
            ws.send("hello")
            assert ws.receive() == "hello"
    """

    def __init__(self, client: AsyncTestClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal
        self.clock: BlockingClock = BlockingClock(client.clock, portal)
        """The time of server and client."""

    @property
    def cookies(self) -> ClientCookies:
        """The cookies that the server has set, and those that the test puts in."""
        return self._client.cookies

    @property
    def server_websockets(self) -> list[WebSocket]:
        """The server's sides of the connections so far, for functions that `BlockingTestWebSocket.run` calls."""
        return self._client.server_websockets

    @property
    def log_records(self) -> list[LogRecord]:
        """The log records of the library since the client was entered; see `TestClient.log_records`."""
        return self._client.log_records

    def websocket_connect(
        self, path: str, **options: Unpack[ConnectKeywords]
    ) -> AbstractContextManager[BlockingTestWebSocket]:
        """Connect a WebSocket: `with client.websocket_connect("/chat") as websocket_client`.

        Args:
            path: path and query.
            options: those of `TestClient.websocket_connect`.
        """
        return self._client.websocket_connect(path, **options)

    def raw(self, path: str, **options: object) -> NoReturn:
        """Refuse: a raw peer sends and receives at the same time, which takes the tasks of an async test.

        Raises:
            TypeError: always; the message has the form that works.
        """
        raise TypeError(f"raw peers are for async tests: `async with client.raw({path!r}) as peer` below @virtual_time")

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Call an async function in the loop of client and server; return its value or raise its error.

        Args:
            function: awaited in a task of the loop.
            args: its arguments.

        Example:
            with app.test_client() as client:
                client.run(trio.sleep, 0.1)
        """
        return self._portal.run(function, *args)

    def get(self, path: str, *, headers: HeaderSource = ()) -> TestResponse:
        """Request a page with a plain HTTP GET. It raises the errors of `TestClient.get`."""

        async def get() -> TestResponse:
            return await self._client.get(path, headers=headers)

        return self._portal.run(get)

    def post(
        self, path: str, body: bytes | None = None, *, json: Any = None, headers: HeaderSource = ()
    ) -> TestResponse:
        """Send a POST. It has the arguments of `TestClient.post`, and raises its errors."""

        async def post() -> TestResponse:
            return await self._client.post(path, body, json=json, headers=headers)

        return self._portal.run(post)

    @property
    def errors(self) -> list[BaseException]:
        """The unhandled errors of the server so far."""
        return self._client.errors

    @property
    def server(self) -> Server:
        """The server. It runs in another thread, so only its attributes may be read."""
        return self._client.server
