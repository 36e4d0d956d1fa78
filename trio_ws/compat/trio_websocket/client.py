"""The functions that open a client's connection."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import trio

from trio_ws.client import client
from trio_ws.compat.trio_websocket.connection import HeaderPairs, WebSocketConnection
from trio_ws.compat.trio_websocket.ending import closed_within, leave, limits_for, timeouts_for
from trio_ws.compat.trio_websocket.errors import (
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
)
from trio_ws.compat.trio_websocket.values import MAX_MESSAGE_SIZE, MESSAGE_QUEUE_SIZE, RECEIVE_BYTES, TIMEOUT
from trio_ws.errors import ConnectError
from trio_ws.errors import ConnectionRejected as Rejection
from trio_ws.protocol.server_handshake import OWNED_HEADERS

if TYPE_CHECKING:
    from trio_ws.config import Limits

__all__ = [
    "connect_websocket",
    "connect_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "wrap_client_stream",
]

_NETWORK_PHASES = ("dns", "tcp", "tls")


@asynccontextmanager
async def open_websocket(
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    connect_timeout: float = TIMEOUT,
    disconnect_timeout: float = TIMEOUT,
) -> AsyncGenerator[WebSocketConnection, None]:
    """Connect to a server for the time of a block, and close the connection at its end.

    Args:
        host: a name or an address.
        port: the TCP port.
        resource: the path, with its query.
        use_ssl: False for none, True for TLS with the system's authorities, or a context.
        subprotocols: those to offer, the favourite first.
        extra_headers: further headers of the request; those of the handshake itself are left out.
        message_queue_size: messages that may wait to be received while another one is on its way to the caller.
        max_message_size: bytes of a message; a larger one closes with 1009.
        receive_buffer_size: without effect: all connections read into one buffer.
        connect_timeout: seconds for everything up to the server's answer.
        disconnect_timeout: seconds for the closing handshake, 60 at most.

    Raises:
        HandshakeError: the connection could not be opened; `ConnectionRejected` if the server's answer was not 101.
        ConnectionTimeout: it took longer than `connect_timeout`.
        DisconnectionTimeout: the server did not answer the close frame.
        TypeError: an argument is of another kind.
        ValueError: an argument makes no sense.
        trio.Cancelled: the server gets a close frame.
    """
    options: dict[str, Any] = {
        "use_ssl": use_ssl,
        "subprotocols": subprotocols,
        "extra_headers": extra_headers,
        "message_queue_size": message_queue_size,
        "max_message_size": max_message_size,
        "receive_buffer_size": receive_buffer_size,
    }
    failure: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                connection = await _open(
                    connect_timeout, partial(connect_websocket, nursery, host, port, resource, **options)
                )
            except BaseException as error:
                failure = error
            else:
                try:
                    yield connection
                except BaseException as error:
                    failure = error
                try:
                    await _close(connection, disconnect_timeout)
                except trio.Cancelled as error:
                    failure = failure or error
                except BaseException as error:
                    error.__context__ = failure
                    failure = error
    except (BaseExceptionGroup, trio.Cancelled):  # the caller is cancelled, and the block's error comes first
        if failure is None:
            raise
    if failure is not None:
        raise failure


async def _open(seconds: float, connect: Any) -> WebSocketConnection:
    try:
        with trio.fail_after(seconds):
            connection: WebSocketConnection = await connect()
            return connection
    except trio.TooSlowError:
        raise ConnectionTimeout(f"no connection within {seconds:g} seconds") from None
    except OSError as error:
        raise HandshakeError(str(error)) from error


async def _close(connection: WebSocketConnection, seconds: float) -> None:
    if not await closed_within(min(seconds, TIMEOUT), connection.websocket, connection.aclose):
        raise DisconnectionTimeout(f"no answer to the close frame within {seconds:g} seconds")


async def connect_websocket(
    nursery: trio.Nursery,
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketConnection:
    """Connect to a server; the caller closes the connection.

    Args:
        nursery: runs the connection's task; it ends with the connection.
        host: as in `open_websocket`, like all that follow.
        port: the TCP port.
        resource: the path, with its query.
        use_ssl: False for none, True for TLS with the system's authorities, or a context.
        subprotocols: those to offer.
        extra_headers: further headers of the request.
        message_queue_size: messages that may wait to be received.
        max_message_size: bytes of a message.
        receive_buffer_size: without effect.

    Raises:
        OSError: there is no way to the server.
        HandshakeError: the server's answer was none; `ConnectionRejected` if it was not 101.
        TypeError: an argument is of another kind.
        ValueError: an argument makes no sense.
    """
    if not isinstance(use_ssl, bool | ssl.SSLContext):
        raise TypeError(f"use_ssl takes True, False, or an ssl.SSLContext, not {use_ssl!r}")
    name = f"[{host}]" if ":" in host else host
    return await _connect(
        nursery,
        f"{'ws' if use_ssl is False else 'wss'}://{name}:{port}{_absolute(resource)}",
        limits_for(message_queue_size, max_message_size),
        ssl_context=None if isinstance(use_ssl, bool) else use_ssl,
        subprotocols=tuple(subprotocols or ()),
        headers=_further(extra_headers),
    )


def open_websocket_url(
    url: str,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    connect_timeout: float = TIMEOUT,
    disconnect_timeout: float = TIMEOUT,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Connect to a URL for the time of a block; see `open_websocket`.

    Args:
        url: a ws or wss URL.
        ssl_context: for wss; None: certificates are checked against the system's authorities.
        subprotocols: as in `open_websocket`, like all that follow.
        extra_headers: further headers of the request.
        message_queue_size: messages that may wait to be received.
        max_message_size: bytes of a message.
        connect_timeout: seconds up to the server's answer.
        disconnect_timeout: seconds for the closing handshake.
        receive_buffer_size: without effect.

    Raises:
        ValueError: the URL is none of these, or has a context though it needs none.
    """
    host, port, resource, use_ssl = _parts(url, ssl_context)
    return open_websocket(
        host,
        port,
        resource,
        use_ssl=use_ssl,
        subprotocols=subprotocols,
        extra_headers=extra_headers,
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
    )


async def connect_websocket_url(
    nursery: trio.Nursery,
    url: str,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketConnection:
    """Connect to a URL; the caller closes the connection. See `connect_websocket`.

    Args:
        nursery: runs the connection's task.
        url: a ws or wss URL.
        ssl_context: for wss; None: certificates are checked against the system's authorities.
        subprotocols: as in `open_websocket`, like all that follow.
        extra_headers: further headers of the request.
        message_queue_size: messages that may wait to be received.
        max_message_size: bytes of a message.
        receive_buffer_size: without effect.

    Raises:
        ValueError: the URL is none of these, or has a context though it needs none.
        Exception: as `connect_websocket` raises it.
    """
    host, port, resource, use_ssl = _parts(url, ssl_context)
    return await connect_websocket(
        nursery,
        host,
        port,
        resource,
        use_ssl=use_ssl,
        subprotocols=subprotocols,
        extra_headers=extra_headers,
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
    )


async def wrap_client_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    host: str,
    resource: str,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderPairs | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketConnection:
    """Open a connection on a stream that is connected to a server; closing the stream ends the connection.

    Args:
        nursery: runs the connection's task.
        stream: any connected stream.
        host: for the Host header, with the port where it is not the scheme's.
        resource: the path, with its query.
        subprotocols: as in `open_websocket`, like all that follow.
        extra_headers: further headers of the request.
        message_queue_size: messages that may wait to be received.
        max_message_size: bytes of a message.
        receive_buffer_size: without effect.

    Raises:
        HandshakeError: the server's answer was none; `ConnectionRejected` if it was not 101.
        ValueError: an argument makes no sense.
    """
    return await _connect(
        nursery,
        f"{'wss' if isinstance(stream, trio.SSLStream) else 'ws'}://{host}{_absolute(resource)}",
        limits_for(message_queue_size, max_message_size),
        stream=stream,
        subprotocols=tuple(subprotocols or ()),
        headers=_further(extra_headers),
        poller=False,  # else the socket would be taken out of the stream
    )


# --- below -------------------------------------------------------------------------------------------------------


async def _connect(
    nursery: trio.Nursery, url: str, limits: Limits, *, stream: trio.abc.Stream | None = None, **options: Any
) -> WebSocketConnection:
    """Start a connection's task in a nursery, with this library's client in it."""
    hold = partial(_hold, url, stream, limits=limits, stream=stream, **options)
    try:
        connection: WebSocketConnection = await nursery.start(hold, name=f"connection to {url}")
    except Rejection as error:
        raise ConnectionRejected(error.status, error.headers.raw, error.body) from None
    except ConnectError as error:
        if error.phase in _NETWORK_PHASES:
            raise OSError(str(error)) from error
        raise HandshakeError(str(error)) from error
    return connection


async def _hold(
    url: str,
    wrapped: trio.abc.Stream | None,
    *,
    task_status: trio.TaskStatus[WebSocketConnection],
    **options: Any,
) -> None:
    """Keep a connection open until it is closed."""
    async with client.open_websocket(
        url,
        user_agent=None,
        max_redirects=0,
        timeouts=timeouts_for(),
        caught_close_codes=all,
        when_peer_leaves="finish",
        **options,
    ) as websocket:
        task_status.started(WebSocketConnection(websocket, client=True, stream=wrapped))
        try:
            await websocket.wait_closed()
        except trio.Cancelled:
            await leave(websocket)
            raise


def _parts(url: object, ssl_context: ssl.SSLContext | None) -> tuple[str, int, str, bool | ssl.SSLContext]:
    """Return host, port, path with query, and the TLS of a URL, which may be an object of `yarl`."""
    parts = urlsplit(str(url))
    if parts.scheme not in ("ws", "wss"):
        raise ValueError(f"{str(url)!r} is neither a ws nor a wss URL")
    secure = parts.scheme == "wss"
    if ssl_context is not None and not secure:
        raise ValueError(f"{str(url)!r} has no TLS: give no ssl_context, or a wss URL")
    if not parts.hostname:
        raise ValueError(f"{str(url)!r} has no host")
    resource = (parts.path or "/") + (f"?{parts.query}" if "?" in str(url) else "")
    return parts.hostname, parts.port or (443 if secure else 80), resource, ssl_context or secure


def _absolute(resource: str) -> str:
    return resource if resource.startswith("/") else f"/{resource}"


def _further(headers: HeaderPairs | None) -> HeaderPairs:
    """Return headers without those that the handshake sets itself."""
    return [pair for pair in headers or () if pair[0].lower() not in OWNED_HEADERS]
