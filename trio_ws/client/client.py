"""The client's `open_websocket` and the life of its connection.

`connector` makes the connection, `reconnect` makes it again and again. The body of `async with` is cancelled when the
server is gone, by the same rule as a handler on a server.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_ws.client.connector import Dialled, follow
from trio_ws.client.plan import USER_AGENT, Plan, make_plan
from trio_ws.codes import CloseCode
from trio_ws.config import Compression, Limits, Timeouts
from trio_ws.connection.factory import TransportFactory
from trio_ws.connection.serialization import resolve_types
from trio_ws.connection.settings import compression_of
from trio_ws.errors import ConnectError, HeaderSource, RemoteProtocolError, WebSocketDisconnect
from trio_ws.handler.disconnect import DisconnectRule, WhenPeerLeaves, check_policy
from trio_ws.headers import Headers
from trio_ws.http.request import Request
from trio_ws.options import hint_unknown_options, of_kind, optional_bool
from trio_ws.protocol.negotiation import DeflateSettings, check_response, make_offer
from trio_ws.runtime.in_trio import check_in_trio
from trio_ws.transport.poller import Poller
from trio_ws.transport.socket_options import abandon
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES, CaughtCodes, caught_codes
from trio_ws.websocket.websocket import WebSocket

if TYPE_CHECKING:
    import ssl

    from trio_ws.connection.connection import Connection
    from trio_ws.connection.serialization import ValueType

__all__ = ["ClientOptions", "connect", "hold_connection", "open_websocket", "plan_connection"]


INTERRUPTED_FLUSH = 0.1
"""Seconds to write the close frame after Ctrl-C: a server that reads takes it at once."""


@attrs.frozen(kw_only=True)
class ClientOptions:
    """The options of a client's open connections."""

    limits: Limits = attrs.field(factory=Limits, validator=of_kind(Limits))
    timeouts: Timeouts = attrs.field(factory=Timeouts, validator=of_kind(Timeouts))
    compression: Compression | None = attrs.field(default=None, converter=compression_of)
    receive_type: ValueType | None = None
    send_type: ValueType | None = None
    caught_close_codes: CaughtCodes = attrs.field(default=NORMAL_CLOSE_CODES, converter=caught_codes)
    when_peer_leaves: WhenPeerLeaves = attrs.field(default="drain", validator=check_policy)
    poller: bool | None = attrs.field(default=None, validator=optional_bool)

    @property
    def polled(self) -> bool:
        """Whether sockets are read without Trio's streams."""
        return Poller.available() if self.poller is None else self.poller

    def __attrs_post_init__(self) -> None:
        resolve_types(self.receive_type, self.send_type, None)


@attrs.frozen
class Connected:
    """A connection whose handshake is done, not read yet."""

    dialled: Dialled
    deflate: DeflateSettings | None


@hint_unknown_options
@asynccontextmanager
async def open_websocket(
    url: str,
    *,
    headers: HeaderSource = (),
    cookies: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    origin: str | None = None,
    user_agent: str | None = USER_AGENT,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: str | bool | None = None,
    max_redirects: int = 5,
    redirect_origins: Iterable[str] = (),
    stream: trio.abc.Stream | None = None,
    uds: str | os.PathLike[str] | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    compression: Compression | bool | None = None,
    receive_type: ValueType | None = None,
    send_type: ValueType | None = None,
    caught_close_codes: CaughtCodes = NORMAL_CLOSE_CODES,
    when_peer_leaves: WhenPeerLeaves = "drain",
    poller: bool | None = None,
) -> AsyncGenerator[WebSocket, None]:
    """Connect to a WebSocket server.

    Use it as `async with open_websocket("ws://localhost:8000/") as ws`.

    Leaving the block closes the connection with 1000, or with 1011 on an error. The block is cancelled when the server
    is gone and the block does not notice; a `WebSocketDisconnect` with a caught code ends it silently, others leave it.

    Args:
        url: a ws or wss URL; http and https mean the same. Username and password become an Authorization header.
        headers: further headers of the request.
        cookies: names and values for the Cookie header.
        subprotocols: those to offer, the favourite first.
        origin: the Origin header.
        user_agent: the User-Agent header; None for none. One in `headers` comes before the default.
        ssl_context: for wss; None: certificates are checked against the system's authorities.
        server_hostname: for wss: the name that the certificate must hold for, if it is not the URL's.
        proxy: a proxy's URL, True for the environment's, None for none. See `dial`.
        max_redirects: how many redirects are followed.
        redirect_origins: origins, such as "https://example.org", that a redirect may take headers, cookies,
            subprotocols, Origin and the client certificate to. To others only what the library makes goes along.
        stream: use this connected stream.
        uds: connect to this Unix socket.
        limits: bounds of the resources that the server can use.
        timeouts: how long to wait; `open_timeout` holds for everything up to the server's 101.
        compression: offer permessage-deflate: True, or a `Compression`.
        receive_type: the type that `receive` returns, "json", "text", "bytes", or None as they arrive.
        send_type: the type that `send` takes.
        caught_close_codes: close codes that end iteration and the block silently.
        when_peer_leaves: the rule for the block when the server is gone.
        poller: False reads a socket, TLS on it too, through Trio's streams instead.

    Raises:
        ConnectError: with the phase that failed: dns, tcp, proxy, tls or handshake.
        ConnectTimeout: it took longer than `open_timeout`.
        ConnectionRejected: the server answered with another status than 101.
        WebSocketDisconnect: the connection ended with a code that is not caught.
        RuntimeError: asyncio runs it, not Trio.
        TypeError: an argument is of another kind, or there is no such argument.
        ValueError: the URL is malformed, or another argument makes no sense.
        trio.Cancelled: the server gets 1001, and its answer is not awaited; likewise KeyboardInterrupt.
    """
    options = ClientOptions(
        limits=Limits() if limits is None else limits,
        timeouts=Timeouts() if timeouts is None else timeouts,
        compression=compression,
        receive_type=receive_type,
        send_type=send_type,
        caught_close_codes=caught_close_codes,
        when_peer_leaves=when_peer_leaves,
        poller=poller,
    )
    plan = plan_connection(
        url,
        options,
        headers=headers,
        cookies=cookies,
        subprotocols=subprotocols,
        origin=origin,
        user_agent=user_agent,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        proxy=proxy,
        max_redirects=max_redirects,
        redirect_origins=redirect_origins,
        stream=stream,
        uds=uds,
    )
    async with hold_connection(await connect(plan, options), options) as websocket:
        yield websocket


def plan_connection(url: str, options: ClientOptions, **dialling: Any) -> Plan:
    """Check the arguments for a connection.

    Args:
        url: where to.
        options: its limits, `open_timeout` and compression.
        dialling: the other arguments of `make_plan`.

    Raises:
        ValueError: likewise TypeError, as `make_plan` raises them.
    """
    return make_plan(
        url,
        extensions=None if options.compression is None else make_offer(options.compression),
        limits=options.limits,
        open_timeout=options.timeouts.open_timeout,
        detachable=options.polled,
        **dialling,
    )


async def connect(plan: Plan, options: ClientOptions) -> Connected:
    """Make a connection, up to the server's 101.

    Args:
        plan: from `plan_connection`.
        options: its compression.

    Raises:
        ConnectError: as `open_websocket` does. Nothing stays open, after cancellation neither.
    """
    check_in_trio("open_websocket()")
    dialled = await follow(plan)
    if options.compression is None:
        return Connected(dialled, None)
    try:
        return Connected(dialled, check_response(dialled.accepted.extensions, options.compression))
    except RemoteProtocolError as error:
        await abandon(dialled.stream)
        raise ConnectError("handshake", str(error)) from error


@asynccontextmanager
async def hold_connection(connected: Connected, options: ClientOptions) -> AsyncGenerator[WebSocket, None]:
    """Run a connection in its own nursery until the block ends."""
    engine = TransportFactory(poller=options.poller, solo=True)
    transport = engine.stream_transport(connected.dialled.stream, options.limits.outbox_bytes)
    connection = engine.connection(transport, options.limits, timeouts=options.timeouts, deflate=connected.deflate)
    websocket = _websocket(connected.dialled, options, connection)
    context = websocket.context
    transport.log = context.log
    scope = trio.CancelScope()
    rule = DisconnectRule(connection, scope, options.when_peer_leaves, options.timeouts, engine.timers, context.log)
    failure: BaseException | None = None
    async with trio.open_nursery() as shared:
        engine.start(shared)
        try:
            transport.start(shared)
            if connected.dialled.leftover:
                connection.reader.data_received(memoryview(connected.dialled.leftover), trio.current_time())
            try:
                with scope:
                    async with trio.open_nursery() as nursery:
                        context.nursery = nursery
                        yield websocket
                        nursery.cancel_scope.cancel(reason="the block has ended")
            except BaseException as error:
                failure = _unwrapped(error, websocket)
            context.nursery = None
            rule.stop()
            if scope.cancelled_caught and failure is None:
                failure = connection.closing.raised_end()
            if isinstance(failure, Exception | None):  # else the close frame is sent, and its answer is not awaited
                failure = await _closed(websocket, failure)
                await connection.closing.wait_gone()
        except trio.Cancelled:
            if failure is None:  # else the cancellation is met again at the next checkpoint
                raise
        finally:
            await _flush(connection, INTERRUPTED_FLUSH if _is_interrupt(failure) else math.inf)
            await transport.aclose()
            engine.stop()
    if failure is not None:
        raise failure


async def _closed(websocket: WebSocket, failure: Exception | None) -> Exception | None:
    """Close as the block's outcome demands; return the error to raise."""
    silent = await websocket.__aexit__(None if failure is None else type(failure), failure, None)
    if failure is None or not silent:
        return failure
    _log_early_end(websocket, failure)
    return None


def _log_early_end(websocket: WebSocket, end: Exception) -> None:
    """Log a block that ended at a receive or send, or was cancelled, because the connection had ended."""
    connection_log, info = websocket.context.log, websocket.close_info
    if isinstance(end, WebSocketDisconnect) and end.while_sending and info is not None and info.by == "local":
        connection_log.warning("%s: send() after this side's own close(), with %d: nothing was sent", int(end.code))
    else:
        connection_log.info("%s: the block ended early: the connection was closed (%s)", str(info))


async def _flush(connection: Connection, seconds: float) -> None:
    """Send 1001 unless a close frame was sent, and everything before it, even if cancelled."""
    with trio.CancelScope(shield=True):
        connection.closing.begin_close(CloseCode.GOING_AWAY, "")
        with trio.move_on_after(seconds):
            await connection.closing.flush()


def _unwrapped(error: BaseException, websocket: WebSocket) -> BaseException:
    """Return the block's error without the nursery's group.

    The same disconnect in several tasks counts once.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error

    def own(each: BaseException) -> bool:  # Python 3.11 takes no method
        return websocket.context.is_own_disconnect(each)

    disconnects, others = error.split(own)
    if disconnects is not None and others is None:
        return _first_leaf(disconnects)
    return error.exceptions[0] if len(error.exceptions) == 1 else error


def _is_interrupt(failure: BaseException | None) -> bool:
    """Return whether the program is to end, not only the block.

    That is on KeyboardInterrupt and SystemExit.
    """
    if isinstance(failure, BaseExceptionGroup):
        return any(map(_is_interrupt, failure.exceptions))
    return not isinstance(failure, Exception | trio.Cancelled | None)


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _websocket(dialled: Dialled, options: ClientOptions, connection: Connection) -> WebSocket:
    """Make the `WebSocket` of a connection that this side has opened."""
    request = Request(
        target=dialled.url.target,
        headers=_headers_of(dialled.request),
        secure=dialled.url.secure,
    )
    websocket = WebSocket(
        request,
        receive_type=options.receive_type,
        send_type=options.send_type,
        caught_close_codes=options.caught_close_codes,
    )
    context = websocket.context
    context.cleanup_timeout = options.timeouts.cleanup_timeout
    context.subprotocol = dialled.accepted.subprotocol
    context.response_headers = dialled.accepted.headers
    context.channel = connection
    context.log.set_request(dialled.url.target, dialled.url.netloc)
    return websocket


def _headers_of(request: bytes) -> Headers:
    """Parse the headers of a request that was sent."""
    lines = request.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
    return Headers([(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)])
