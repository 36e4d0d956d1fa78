"""The server, and the function that serves one stream."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import trio

from trio_ws.compat.trio_websocket.connection import WebSocketRequest
from trio_ws.compat.trio_websocket.ending import closed_within, leave, limits_for, timeouts_for
from trio_ws.compat.trio_websocket.errors import ConnectionClosed, HandshakeError
from trio_ws.compat.trio_websocket.values import (
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    RECEIVE_BYTES,
    TIMEOUT,
    Endpoint,
    endpoint_of,
)
from trio_ws.connection.settings import Settings
from trio_ws.server.serve import one_service, serve_stream
from trio_ws.server.server import Server
from trio_ws.transport.listeners import SocketListener, bind_tcp, get_own_address

if TYPE_CHECKING:
    import ssl

    from trio_ws.config import Limits
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["RequestHandler", "WebSocketServer", "serve_websocket", "wrap_server_stream"]

RequestHandler = Callable[[WebSocketRequest], Awaitable[object]]
"""Called with each request, in a task of its own."""
_SERVICE: dict[str, Any] = {"auto_accept": False, "when_peer_leaves": "finish", "caught_close_codes": all}


class WebSocketServer:
    """A server on any number of listeners.

    An error of a handler ends its own connection, with 1011, and is logged; it does not end the server.

    Args:
        handler: called with each request; the connection is closed when it returns.
        listeners: listeners of Trio's, or listening sockets; they are closed at the end.
        handler_nursery: runs the connections' tasks; None: one of the server's own.
        message_queue_size: messages of a connection that may wait to be received.
        max_message_size: bytes of a message; a larger one closes with 1009.
        receive_buffer_size: without effect: all connections read into one buffer.
        connect_timeout: seconds for the opening handshake, up to the handler's answer.
        disconnect_timeout: seconds for the closing handshake.
        ssl_context: serve TLS on the listeners that are plain sockets.

    Raises:
        ValueError: there is no listener, or an option makes no sense.
    """

    def __init__(
        self,
        handler: RequestHandler,
        listeners: Sequence[SocketListener],
        *,
        handler_nursery: trio.Nursery | None = None,
        message_queue_size: int = MESSAGE_QUEUE_SIZE,
        max_message_size: int = MAX_MESSAGE_SIZE,
        receive_buffer_size: int | None = RECEIVE_BYTES,
        connect_timeout: float = TIMEOUT,
        disconnect_timeout: float = TIMEOUT,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if not listeners:
            raise ValueError("listeners is empty: there is nothing to listen on")
        self._listeners = list(listeners)
        self._handler_nursery = handler_nursery
        self._secure = ssl_context is not None
        self._server = Server(
            one_service(partial(_handle, handler, disconnect_timeout), dict(_SERVICE)),
            Settings(
                limits=limits_for(message_queue_size, max_message_size),
                timeouts=timeouts_for(connect_timeout, disconnect_timeout),
                origins="*",
            ),
            ssl_context=ssl_context,
        )

    @property
    def port(self) -> int:
        """The TCP port of the only listener.

        Raises:
            RuntimeError: there are several listeners, or it has no port.
        """
        if len(self._listeners) > 1:
            raise RuntimeError("there are several listeners: see `listeners`")
        listener = self.listeners[0]
        if isinstance(listener, Endpoint):
            return listener.port
        raise RuntimeError(f"this listener has no port: {listener}")

    @property
    def listeners(self) -> list[Endpoint | str]:
        """The address of each listener; the `repr` of one without an address."""
        return [self._endpoint(listener) for listener in self._listeners]

    def _endpoint(self, listener: object) -> Endpoint | str:
        below = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
        sock = below.socket if isinstance(below, trio.SocketListener) else below
        secure = below is not listener or (self._secure and sock is listener)
        address = get_own_address(sock) if isinstance(sock, socket.socket | trio.socket.SocketType) else None
        return endpoint_of(address, secure=secure, otherwise=listener)

    async def run(self, *, task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Serve until cancelled. It is called once.

        Args:
            task_status: `await nursery.start(server.run)` returns the server once it accepts.

        Raises:
            trio.Cancelled: after all handlers were cancelled, and their connections closed with 1001.
        """
        started = _Announcement(self, task_status)
        await self._server.serve(self._listeners, handler_nursery=self._handler_nursery, task_status=started)
        raise AssertionError("unreachable: nothing else ends the server")


class _Announcement(trio.TaskStatus[object]):
    """A task status that announces a given value in place of that of the task.

    Args:
        value: the value.
        task_status: gets it.
    """

    def __init__(self, value: WebSocketServer, task_status: trio.TaskStatus[WebSocketServer]) -> None:
        self._value = value
        self._task_status = task_status

    def started(self, value: object = None) -> None:
        """Announce the given value."""
        self._task_status.started(self._value)


async def serve_websocket(
    handler: RequestHandler,
    host: str | bytes | None,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    handler_nursery: trio.Nursery | None = None,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    connect_timeout: float = TIMEOUT,
    disconnect_timeout: float = TIMEOUT,
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve on a TCP port until cancelled.

    Args:
        handler: called with each request; the connection is closed when it returns.
        host: a name or an address; None for all interfaces.
        port: the TCP port, 0 for one that is free.
        ssl_context: serve TLS; None for none.
        handler_nursery: runs the connections' tasks; None: one of the server's own.
        message_queue_size: messages of a connection that may wait to be received.
        max_message_size: bytes of a message; a larger one closes with 1009.
        receive_buffer_size: without effect.
        connect_timeout: seconds for the opening handshake, up to the handler's answer.
        disconnect_timeout: seconds for the closing handshake.
        task_status: `await nursery.start(serve_websocket, ...)` returns the server once it accepts.

    Raises:
        OSError: the address cannot be listened on.
        ValueError: an option makes no sense.
        trio.Cancelled: as `WebSocketServer.run` has it.
    """
    name = host.decode() if isinstance(host, bytes) else host
    server = WebSocketServer(
        handler,
        await bind_tcp(name, port),
        handler_nursery=handler_nursery,
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
        ssl_context=ssl_context,
    )
    await server.run(task_status=task_status)


async def wrap_server_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    message_queue_size: int = MESSAGE_QUEUE_SIZE,
    max_message_size: int = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
) -> WebSocketRequest:
    """Read a client's request from a stream that was accepted; closing the stream ends the connection.

    Args:
        nursery: runs the connection's task.
        stream: any connected stream.
        message_queue_size: messages that may wait to be received.
        max_message_size: bytes of a message.
        receive_buffer_size: without effect.

    Raises:
        HandshakeError: the client sent no request for a WebSocket.
        ValueError: an option makes no sense.
    """
    request: WebSocketRequest = await nursery.start(
        _serve_stream, stream, limits_for(message_queue_size, max_message_size), name="wrapped connection"
    )
    return request


# --- below -------------------------------------------------------------------------------------------------------


async def _handle(handler: RequestHandler, disconnect_timeout: float, websocket: WebSocket) -> None:
    """Run a handler of requests as one of this library's handlers, and close the connection."""
    try:
        await handler(WebSocketRequest(websocket))
        if websocket.accepted:
            await closed_within(disconnect_timeout, websocket, websocket.ensure_closed)
    except trio.Cancelled:
        await leave(websocket)
        raise
    except ConnectionClosed:
        if websocket.connected:  # another connection's
            raise


async def _serve_stream(
    stream: trio.abc.Stream, limits: Limits, *, task_status: trio.TaskStatus[WebSocketRequest]
) -> None:
    """Serve one stream, and keep its connection open until it is closed."""
    requested = False

    async def announce(request: WebSocketRequest, websocket: WebSocket) -> None:
        nonlocal requested
        requested = True
        task_status.started(request)
        try:
            await request.wait_over()
        except trio.Cancelled:
            await leave(websocket)
            raise

    async def handler(websocket: WebSocket) -> None:
        await announce(WebSocketRequest(websocket, stream), websocket)

    await serve_stream(handler, stream, limits=limits, timeouts=timeouts_for(), origins="*", poller=False, **_SERVICE)
    if not requested:
        raise HandshakeError("the client sent no request for a WebSocket")
