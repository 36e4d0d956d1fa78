"""A connection, and the request for one, with the methods of trio-websocket."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar

import trio

from trio_ws.codes import CloseCode
from trio_ws.compat.trio_websocket.ending import flush
from trio_ws.compat.trio_websocket.errors import ConnectionClosed
from trio_ws.compat.trio_websocket.values import CloseReason, endpoint_of
from trio_ws.errors import LocalProtocolError, WebSocketDisconnect
from trio_ws.protocol.server_handshake import OWNED_HEADERS
from trio_ws.transport.socket_options import socket_below

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from trio_ws.compat.trio_websocket.values import Endpoint
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["WebSocketConnection", "WebSocketRequest"]

HeaderPairs = list[tuple[bytes, bytes]]


class WebSocketConnection(trio.abc.AsyncResource):
    """An open connection, of a client or of a server.

    The functions of this package make it. Several tasks may send, and several may wait for messages.

    Args:
        websocket: the connection below, whose handshake is done.
        client: whether this side has dialled.
        stream: the stream that the connection was wrapped around, if it was.

    Attributes:
        websocket: the connection below, with everything that this library adds.
    """

    _numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self, websocket: WebSocket, *, client: bool, stream: trio.abc.Stream | None = None) -> None:
        self.websocket: WebSocket = websocket
        self._client = client
        self._stream = stream
        self._number = next(self._numbers)
        self._closing = False  # by this side: what the peer has sent before is dropped
        self._receiving = trio.Lock()
        self._local: Endpoint | str | None = None
        self._remote: Endpoint | str | None = None

    # --- state ---------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> CloseReason | None:
        """How the connection ended or is about to; None while it is open."""
        info = self.websocket.close_info
        if info is not None:
            return CloseReason(int(info.code), info.reason or None)
        return CloseReason(int(CloseCode.NORMAL_CLOSURE), None) if self._closing else None

    @property
    def is_client(self) -> bool:
        """Whether this side has dialled."""
        return self._client

    @property
    def is_server(self) -> bool:
        """Whether this side has accepted."""
        return not self._client

    @property
    def local(self) -> Endpoint | str:
        """The address of this side; the stream's `repr` without one."""
        if self._local is None:
            websocket = self.websocket
            self._local = endpoint_of(
                websocket.local_address, secure=websocket.request.secure, otherwise=self._stream or websocket
            )
        return self._local

    @property
    def remote(self) -> Endpoint | str:
        """The address of the other side; the stream's `repr` without one."""
        if self._remote is None:
            websocket = self.websocket
            address = websocket.remote_address or websocket.client
            self._remote = endpoint_of(address, secure=websocket.request.secure, otherwise=self._stream or websocket)
        return self._remote

    @property
    def path(self) -> str:
        """The path of the request, with its query."""
        return self.websocket.request.target

    @property
    def subprotocol(self) -> str | None:
        """The negotiated subprotocol, None if there is none."""
        return self.websocket.subprotocol

    @property
    def handshake_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers that the other side sent, without those of the handshake itself, the names in lower case."""
        headers = self.websocket.response_headers if self._client else self.websocket.headers
        return () if headers is None else tuple(pair for pair in headers.raw if pair[0] not in OWNED_HEADERS)

    def __str__(self) -> str:
        return f"{'client' if self._client else 'server'}-{self._number}"

    # --- messages ------------------------------------------------------------------------------------------------

    async def get_message(self) -> str | bytes:
        """Return the next message.

        Raises:
            ConnectionClosed: the connection has ended, and all that came before was received; or this side has
                closed it.
            trio.Cancelled: nothing is lost.
        """
        lock = self._receiving
        try:
            lock.acquire_nowait()
        except trio.WouldBlock:
            await lock.acquire()
        try:
            if self._closing:
                await trio.lowlevel.checkpoint()
                raise ConnectionClosed(self.closed)
            message: str | bytes = await self.websocket.receive()
        except WebSocketDisconnect as end:
            raise self._closed_by(end) from None
        else:
            return message
        finally:
            lock.release()

    async def send_message(self, message: str | bytes) -> None:
        """Send a message: `str` as text, `bytes` as binary.

        Raises:
            ConnectionClosed: the connection has ended, or is about to.
            ValueError: it is neither.
            trio.Cancelled: nothing was sent.
        """
        self._check_open()
        if not isinstance(message, str | bytes):
            raise ValueError(f"a message is str or bytes, not {type(message).__name__}")  # noqa: TRY004 - theirs
        try:
            await self._look()
            await self.websocket.send(message)
            await self._flush()
        except WebSocketDisconnect as end:
            raise self._closed_by(end) from None

    async def ping(self, payload: bytes | None = None) -> None:
        """Send a ping, and wait for its pong, or for that of a later ping.

        Args:
            payload: at most 125 bytes, other ones than those of a ping that waits; None for random ones.

        Raises:
            ConnectionClosed: the connection has ended, or ends meanwhile.
            ValueError: a ping with this payload waits already, or it is too long.
        """
        self._check_open()
        try:
            await self._look()
            await self.websocket.ping(payload)
        except WebSocketDisconnect as end:
            raise self._closed_by(end) from None
        except LocalProtocolError as error:
            raise ValueError(str(error)) from None

    async def pong(self, payload: bytes | None = None) -> None:
        """Send a pong that was not asked for.

        Args:
            payload: at most 125 bytes; None for none.

        Raises:
            ConnectionClosed: the connection has ended.
            ValueError: the payload is too long.
        """
        self._check_open()
        try:
            await self._look()
            await self.websocket.pong(payload or b"")
            await self._flush()
        except WebSocketDisconnect as end:
            raise self._closed_by(end) from None

    def _check_open(self) -> None:
        if self._closing or self.websocket.close_info is not None:
            raise ConnectionClosed(self.closed)

    async def _look(self) -> None:
        """Find out whether the owner of a wrapped stream has closed it."""
        if self._stream is not None:
            await trio.lowlevel.checkpoint()  # the reading task finds out, unless it has not begun yet
            sock = socket_below(self._stream)
            if sock is not None and sock.fileno() < 0:
                raise ConnectionClosed(self.closed or CloseReason(int(CloseCode.ABNORMAL_CLOSURE), None))

    async def _flush(self) -> None:
        """Wait until a wrapped stream has all that was sent: its owner may close it next."""
        if self._stream is not None:
            await flush(self.websocket)

    def _closed_by(self, end: WebSocketDisconnect) -> ConnectionClosed:
        return ConnectionClosed(self.closed or CloseReason(int(end.code), end.reason or None))

    # --- ending --------------------------------------------------------------------------------------------------

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection, and wait for the other side's close frame, a bounded time.

        Messages that were not received are dropped. Nothing happens if the connection has ended.

        Args:
            code: the close code.
            reason: at most 123 bytes of UTF-8.

        Raises:
            ValueError: code or reason cannot be sent.
            trio.Cancelled: the close frame is sent, and its answer not awaited.
        """
        if self._closing or not self.websocket.connected:
            await trio.lowlevel.checkpoint()
            return
        self._closing = True
        try:
            await self.websocket.close(code, reason or "")
        except trio.Cancelled:
            self.websocket.context.open_channel().closing.begin_close(code, reason or "")
            raise
        except ValueError:
            self._closing = False
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        except trio.Cancelled:
            if error is None:
                raise


class WebSocketRequest:
    """The request of a client, which a server's handler accepts or rejects.

    Args:
        websocket: the connection below, whose handshake is not answered yet.
        stream: the stream that was wrapped, if one was.
    """

    def __init__(self, websocket: WebSocket, stream: trio.abc.Stream | None = None) -> None:
        self._websocket = websocket
        self._stream = stream
        self._answered = trio.Event()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """All headers of the request, as pairs of bytes, the names in lower case."""
        return list(self._websocket.headers.raw)

    @property
    def path(self) -> str:
        """The path of the request, with its query."""
        return self._websocket.request.target

    @property
    def proposed_subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client offers, its favourite first."""
        return self._websocket.request.subprotocols

    @property
    def local(self) -> Endpoint | str:
        """The address of this side; the stream's `repr` without one."""
        websocket = self._websocket
        return endpoint_of(
            websocket.local_address, secure=websocket.request.secure, otherwise=self._stream or websocket
        )

    @property
    def remote(self) -> Endpoint | str:
        """The address of the client; the stream's `repr` without one."""
        websocket = self._websocket
        address = websocket.remote_address or websocket.client
        return endpoint_of(address, secure=websocket.request.secure, otherwise=self._stream or websocket)

    async def accept(
        self, *, subprotocol: str | None = None, extra_headers: HeaderPairs | None = None
    ) -> WebSocketConnection:
        """Accept the connection.

        Args:
            subprotocol: one of `proposed_subprotocols`.
            extra_headers: further headers of the answer.

        Raises:
            ConnectionClosed: the client has left.
            trio_ws.LocalProtocolError: the request was answered before, or the subprotocol was not offered.
            ValueError: a header cannot be sent, or is one that the handshake sets itself.
        """
        try:
            await self._websocket.accept(subprotocol, extra_headers or [])
        except WebSocketDisconnect as end:
            raise ConnectionClosed(CloseReason(int(end.code), end.reason or None)) from None
        self._answered.set()
        if self._stream is not None:
            await flush(self._websocket)  # its owner may close it next
        return WebSocketConnection(self._websocket, client=False, stream=self._stream)

    async def reject(
        self, status_code: int, *, extra_headers: HeaderPairs | None = None, body: bytes | None = None
    ) -> None:
        """Answer with an HTTP status; the handler goes on.

        Args:
            status_code: 300 to 599.
            extra_headers: further headers of the answer.
            body: of the answer; None for none.

        Raises:
            trio_ws.LocalProtocolError: the request was answered before.
            ValueError: the status is out of range, or a header cannot be sent.
        """
        await self._websocket.context.reject(status_code, extra_headers or [], body or b"", leave=False)
        self._answered.set()

    async def wait_over(self) -> None:
        """Wait until the request was rejected, or its connection has ended."""
        await self._answered.wait()
        if self._websocket.accepted:
            await self._websocket.wait_closed()
