"""A test client that serves an application in memory and connects to it.

Server and `WebSocket` are those of production; real bytes go between them through memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Self, cast

import trio

from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.serialization import to_json
from trio_ws.connection.settings import Settings
from trio_ws.errors import HeaderSource
from trio_ws.headers import header_pairs
from trio_ws.http.url import URL
from trio_ws.runtime.background import open_background
from trio_ws.server.server import Server
from trio_ws.testing.blocking import BlockingTestClient
from trio_ws.testing.clock import ClientClock, time_held_for_threads
from trio_ws.testing.connecting import TestConnection
from trio_ws.testing.cookies import ClientCookies
from trio_ws.testing.extras import Extras
from trio_ws.testing.failures import raise_failures
from trio_ws.testing.http import TestResponse, fetch
from trio_ws.testing.network import MemoryNetwork, Network, check_network
from trio_ws.testing.portal import BlockingPortal
from trio_ws.testing.raw_peer import RawPeer
from trio_ws.testing.recorder import LeakedTask, ServerRecorder
from trio_ws.testing.timeouts import bounded_wait, check_timeout
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES, CaughtCodes

if TYPE_CHECKING:
    from logging import LogRecord
    from types import TracebackType

    from trio_ws.connection.serialization import ValueType
    from trio_ws.server.context import HasResponder, Responder
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["TestClient", "TestConnection"]

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds that each wait of a test may take by default."""


class TestClient:
    """Serves an application in memory, and connects to it.

    `async with TestClient(app) as client` in async tests, `with TestClient(app) as client` in plain ones. At the end
    of the block the server shuts down and its unhandled errors are raised, and `LeakedTask` if tasks of a connection
    are still running `timeout` seconds later.

    Args:
        responder: an `App`, or another responder that a `Server` takes. Its `lifespan_context()`, if any, is entered
            before it is served, and its `served_by(server)` is called. Errors of the lifespan are raised unchanged.
        settings: settings of the server; None for the `settings` of the responder, or the defaults.
        timeout: seconds that each wait for the server may take before `TestTimeout` is raised; `math.inf` for no
            bound.
        raise_server_errors: False to keep errors of handlers in `errors` without raising them; `LeakedTask` is raised.
        base_url: the URL of the server, for the Host header. None for the first of its `hosts`, else
            `ws://testserver`.
        network: the way to the server, such as a `ChaosNetwork`; None for a `MemoryNetwork`.
        overrides: substitutes by what they stand for: a dependency or a guard of the application, `Query(alias=...)`,
            `Header(alias=...)`, `Cookie(alias=...)`, or `Backplane`. A callable for a dependency is called with its own
            parameters filled; True, False or a guard stands for a guard; other values are taken as they are.
        virtual_time: True for a clock that jumps over waiting: in plain tests the client's own, in which time passes
            only while a method of the client waits. Async tests bring theirs, `virtual_time` or `autojump_clock`.
        log_level: collect the library's log records from this level on in `log_records`; None for none.

    Raises:
        NoVirtualTime: (entering) an async test does not run in virtual time, or the network has real sockets.
        RegistrationError: (entering) an override cannot be one.
        TypeError: (entering) there are overrides, and the responder is no `App`.
        UnusedOverride: (leaving) an override was not used, so it may be a mistake.
        TypeError: the network, the overrides, the level or the timeout is of another type.
        ValueError: the timeout or the URL is invalid.

    Example:
        async with TestClient(app) as client, client.websocket_connect("/echo") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
    """

    __test__ = False

    def __init__(
        self,
        responder: HasResponder | Responder,
        *,
        settings: Settings | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        raise_server_errors: bool = True,
        base_url: str | None = None,
        network: Network | None = None,
        overrides: Mapping[Any, Any] | None = None,
        virtual_time: bool = False,
        log_level: int | None = None,
    ) -> None:
        self._responder = cast("Responder", getattr(responder, "responder", responder))
        self._settings = settings or getattr(self._responder, "settings", None) or Settings()
        self._timeout = check_timeout(timeout)
        self._raise_server_errors = raise_server_errors
        self._base = URL.parse(_first_host(self._settings) if base_url is None else base_url)
        self._recorder = ServerRecorder(self._responder)
        self._server: Server | None = None
        self.network: Network = MemoryNetwork() if network is None else check_network(network)
        """The way to the server: `await client.network.connect()` opens a stream."""
        self.cookies: ClientCookies = ClientCookies(self._base.host)
        """The cookies that the server has set, and those that the test puts in."""
        self.clock: ClientClock = ClientClock()
        """The time of server and client."""
        self._extras = Extras(self._responder, overrides or {}, log_level, virtual_time=virtual_time)
        self._serving: AbstractAsyncContextManager[None] | None = None
        self.portal: BlockingPortal | None = None
        """The way to the loop of a client that is entered in a plain test; None otherwise."""
        self._stack = ExitStack()

    # --- serving -------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._serving is not None:
            raise RuntimeError("this test client is in use: create another one")
        serving = self._serve()
        await serving.__aenter__()
        self._serving = serving
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        serving, self._serving = self._serving, None
        return None if serving is None else await serving.__aexit__(kind, error, trace)

    def __enter__(self) -> BlockingTestClient:
        return BlockingTestClient(self, self.enter_portal())

    def enter_portal(self) -> BlockingPortal:
        """Enter the client in a loop of its own, for plain tests."""
        with ExitStack() as stack:
            portal = stack.enter_context(BlockingPortal(self._extras.portal_clock(self.network)))
            stack.enter_context(portal.hold(self))
            self._stack = stack.pop_all()
        self.portal = portal
        return portal

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.portal = None
        return self._stack.__exit__(kind, error, trace)

    @asynccontextmanager
    async def _serve(self) -> AsyncGenerator[None, None]:
        """Serve while the block runs, then raise the errors of test and server."""
        self._extras.check_clock()
        with time_held_for_threads(), self._extras.entered():
            async with self._serve_now():
                yield

    @asynccontextmanager
    async def _serve_now(self) -> AsyncGenerator[None, None]:
        import trio_ws.protocol.client_handshake  # noqa: F401, PLC0415 - else the first connection waits for it

        lifespan = getattr(self._responder, "lifespan_context", None)
        self._recorder = recorder = ServerRecorder(self._responder)
        failure: BaseException | None = None
        lifespan_errors: list[BaseException] = []
        try:
            async with nullcontext() if lifespan is None else lifespan(), open_background() as nursery:
                self._server = server = Server(recorder, self._settings)
                served_by = getattr(self._responder, "served_by", None)
                if served_by is not None:
                    served_by(server)
                await nursery.start(server.serve, [self.network.listen()])
                try:
                    try:
                        yield
                    except trio.Cancelled:
                        raise
                    except BaseException as error:
                        failure = error
                    await recorder.find_leaks(server, self._timeout)
                finally:
                    server.shutdown(grace=0)
        except Exception as error:
            recorder.errors.append(error)
            lifespan_errors.append(error)
        always = [error for error in self.errors if isinstance(error, LeakedTask) or error in lifespan_errors]
        raise_failures(failure, self.errors if self._raise_server_errors else always, self.network.describe())

    @property
    def errors(self) -> list[BaseException]:
        """The unhandled errors of the server so far. At the end of the block those in the list are raised."""
        return self._recorder.errors

    @property
    def server(self) -> Server:
        """The server, e.g. for its `statistics()` or `shutdown()`.

        Raises:
            RuntimeError: the client is not entered.
        """
        if self._server is None:
            raise RuntimeError("there is no server yet: enter the test client first")
        return self._server

    @property
    def server_websockets(self) -> list[WebSocket]:
        """The server's sides of the connections so far, in the order in which their handlers began."""
        return self._recorder.websockets

    @property
    def log_records(self) -> list[LogRecord]:
        """The log records of the library since the client was entered.

        Raises:
            RuntimeError: they are not collected.
        """
        return self._extras.log_records

    # --- connecting ----------------------------------------------------------------------------------------------

    def websocket_connect(
        self,
        path: str,
        *,
        headers: HeaderSource = (),
        cookies: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        origin: str | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        compression: Compression | bool | None = None,
        receive_type: ValueType | None = None,
        send_type: ValueType | None = None,
        caught_close_codes: CaughtCodes = NORMAL_CLOSE_CODES,
        timeout: float | None = None,
    ) -> TestConnection:
        """Connect a WebSocket: `async with client.websocket_connect("/chat") as ws`, or `with` in plain tests.

        It differs from `open_websocket` in three ways: waiting is bounded; the block is not cancelled when the server
        disconnects; and a `WebSocketDisconnect` always leaves the block, so that no assertion after it is skipped
        silently.

        A client that is not entered serves while the connection lasts.

        Args:
            path: path and query, or a complete ws URL, whose host becomes the Host header.
            headers: further headers of the request.
            cookies: names and values for the Cookie header.
            subprotocols: subprotocols to offer, in order of preference.
            origin: the Origin header.
            limits: limits of the client's side of the connection.
            timeouts: of the client's side of the connection.
            compression: offer permessage-deflate.
            receive_type: the type that `receive` returns: "json", "text", "bytes", or None for str or bytes.
            send_type: the type that `send` takes.
            caught_close_codes: close codes that end iteration silently.
            timeout: seconds that each wait may take; None for the client's.

        Raises:
            ConnectionRejected: (entering) the server answered with the HTTP status in `status`.
            ConnectTimeout: (entering) the server did not answer in time.
            TestTimeout: (in the block) the server did not do in time what was waited for.
            WebSocketDisconnect: (in the block) the connection has ended.
            ValueError: an argument makes no sense.
        """
        seconds = self._timeout if timeout is None else check_timeout(timeout)
        return TestConnection(
            self,
            self._url(path),
            seconds,
            {
                "headers": headers,
                "cookies": cookies,
                "subprotocols": subprotocols,
                "origin": origin,
                "limits": limits,
                "timeouts": timeouts or Timeouts(open_timeout=seconds),
                "compression": compression,
                "receive_type": receive_type,
                "send_type": send_type,
                "caught_close_codes": caught_close_codes,
            },
        )

    @asynccontextmanager
    async def raw(
        self,
        path: str,
        *,
        handshake: bool = True,
        headers: HeaderSource = (),
        without: Iterable[str] = (),
        check: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - of each wait in the block
    ) -> AsyncGenerator[RawPeer, None]:
        """Connect a peer whose bytes are those of the test: `async with client.raw("/chat") as peer`.

        Args:
            path: path and query, or a complete ws URL.
            handshake: whether to request a WebSocket; False leaves all bytes to the test.
            headers: further headers of the request.
            without: names of headers of the handshake to leave out.
            check: whether frames of the server that break RFC 6455 raise `InvalidFrame`.
            timeout: seconds that each wait may take; None for the client's.

        Raises:
            ConnectionRejected: (entering) the server answered with another status than 101.
            TestTimeout: the server did not do in time what was waited for.
        """
        seconds = self._timeout if timeout is None else check_timeout(timeout)
        url = self._url(path)
        async with self.serving():
            stream = await self.network.connect()
            async with RawPeer(stream, timeout=seconds, check=check, where=str(url)) as peer:
                if handshake:
                    await peer.handshake(url.target, headers, host=url.netloc, without=without)
                yield peer

    async def get(self, path: str, *, headers: HeaderSource = ()) -> TestResponse:
        """Request a page with a plain HTTP GET; redirects are not followed.

        Args:
            path: path and query, or a complete URL.
            headers: further headers of the request.

        Raises:
            TestTimeout: the server did not answer in time.
            ConnectError: the answer is incomplete.
            ValueError: path or headers are invalid.
        """
        with bounded_wait(self._timeout, f"the answer to GET {path}"):
            async with self.serving():
                return await self._fetch(self._url(path), headers)

    async def post(
        self, path: str, body: bytes | None = None, *, json: Any = None, headers: HeaderSource = ()
    ) -> TestResponse:
        """Send a POST, such as to `App.publish_endpoint`.

        Args:
            path: path and query, or a complete URL.
            body: the bytes of the body; None for `json`.
            json: the body as a value, with its Content-Type.
            headers: further headers of the request.

        Raises:
            TestTimeout: the server did not answer in time.
            ConnectError: the answer is incomplete.
            ValueError: path, headers or `json` are invalid; likewise TypeError.
        """
        kind = () if body is not None else (("Content-Type", "application/json"),)
        sent = to_json(json).encode() if body is None else body
        with bounded_wait(self._timeout, f"the answer to POST {path}"):
            async with self.serving():
                return await self._fetch(self._url(path), [*kind, *header_pairs(headers)], sent)

    def _url(self, path: str) -> URL:
        if not isinstance(path, str):
            raise TypeError(f"a path is text such as '/chat', not {path!r}")
        if not path.startswith("/") and "://" not in path:
            raise ValueError(f"a path begins with a slash, a URL with ws://: write {'/' + path!r}")
        return URL.parse(f"{self._base.scheme}://{self._base.netloc}{path}" if path.startswith("/") else path)

    async def _fetch(self, url: URL, headers: HeaderSource, body: bytes | None = None) -> TestResponse:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.sent_to(url).items())
        pairs = list(header_pairs(headers))
        if cookies and not any(name.lower() == "cookie" for name, _ in pairs):
            pairs.append(("Cookie", cookies))
        response = await fetch(await self.network.connect(), url, pairs, body=body)
        self.cookies.take_from(url, response.headers)
        return response

    def serving(self) -> AbstractAsyncContextManager[object]:
        """Return a context that serves for its duration, unless the client is entered already."""
        return self if self._serving is None else nullcontext()


def _first_host(settings: Settings) -> str:
    """Return the URL of the first host in `Settings.hosts` without a pattern."""
    names = [f"ws://{host.authority}" for host in settings.hosts or () if host.authority]
    return names[0] if names else "ws://testserver"
