"""WebSocket: what application code holds of a connection. It is a thin face over a channel, ours or ASGI's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import trio

from trio_ws.codes import CloseCode, check_close, is_normal_close
from trio_ws.connection import serialization
from trio_ws.connection.incremental_json import read_json
from trio_ws.errors import LocalProtocolError, WebSocketDisconnect
from trio_ws.handler.unwinding import unwound
from trio_ws.messages import WebSocketMessage
from trio_ws.websocket import asgi_events
from trio_ws.websocket.close_code import CloseDecision, close_decision_for, leaves
from trio_ws.websocket.handshake import Handshake
from trio_ws.websocket.message_stream import MessageStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from types import TracebackType

    from trio_ws.connection.serialization import ValueType
    from trio_ws.http.request import Request
    from trio_ws.protocol.endpoint import CloseInfo
    from trio_ws.runtime.log import ConnectionLog

__all__ = ["CaughtCodes", "DisconnectCallback", "WebSocket"]

CaughtCodes: TypeAlias = "Collection[int] | Callable[[Iterable[object]], bool]"
"""Close codes that count as a good end; the built-in `all` stands for every code.

Where 1000 does, a close frame without a code (1005) does, too: it is what a browser's `close()` sends."""

DisconnectCallback: TypeAlias = "Callable[[WebSocket, int], Awaitable[object]]"
"""Called with the connection and its close code when it is over."""

NORMAL_CLOSE_CODES = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY)


class WebSocket(Handshake):
    """One WebSocket connection, on either side.

    Every method may be called from several tasks, but for the receiving ones: a message goes to one of them, and to
    wait for one in two tasks at once is a `trio.BusyResourceError`. Every `async` method is a checkpoint.

    A connection that has ended raises `WebSocketDisconnect` from every receive and send. Messages that came before
    the end can still be received.
    """

    __slots__ = (
        "_caught",
        "_close_called",
        "_close_code_of",
        "_close_reported",
        "_connect_reported",
        "_decode",
        "_encode",
        "_farewells",
        "_finished",
        "_listen",
        "_nursery",
        "_nursery_known",
    )

    def __init__(
        self,
        request: Request,
        *,
        receive_type: ValueType | None = None,
        send_type: ValueType | None = None,
        caught_close_codes: CaughtCodes = NORMAL_CLOSE_CODES,
        subprotocols: Sequence[str] = (),
        log: ConnectionLog | None = None,
    ) -> None:
        super().__init__(request, subprotocols=subprotocols, log=log)
        self._decode = None if receive_type is None else serialization.decoder_of[receive_type]
        self._encode = None if send_type is None else serialization.encoder_of[send_type]
        self._caught = caught_close_codes
        self._close_called = False
        self._close_code_of: Callable[[BaseException], int | None] | None = None
        self._close_reported = False
        self._connect_reported = False
        self._finished = False
        self._nursery: trio.Nursery | None = None
        self._nursery_known = False  # to anybody who may have started something in it
        self._farewells: tuple[DisconnectCallback, ...] = ()
        self._listen: Callable[..., Awaitable[None]] | None = None

    # --- state ---------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether messages may be sent."""
        return self._channel is not None and self._channel.close_info is None

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended, with code, reason and who closed; None while it is open."""
        return None if self._channel is None else self._channel.close_info

    @property
    def close_code(self) -> int | None:
        """The code of the first close frame, ours or the peer's; 1005 if it held none, 1006 if there was none."""
        return None if self.close_info is None else self.close_info.code

    @property
    def close_reason(self) -> str | None:
        """The reason in the first close frame; None while the connection is open."""
        return None if self.close_info is None else self.close_info.reason

    @property
    def nursery(self) -> trio.Nursery:
        """The connection's nursery: its tasks are cancelled when the handler has ended.

        Raises:
            LocalProtocolError: the handler does not run.
        """
        if self._nursery is None:
            raise LocalProtocolError("the connection's nursery is open only while its handler runs")
        self._nursery_known = True
        return self._nursery

    # --- receiving -----------------------------------------------------------------------------------------------

    def receive(self) -> Coroutine[Any, Any, Any]:
        """Return the next message: in the route's `receive_type`, or `str` for text and `bytes` for binary.

        Raises:
            WebSocketDisconnect: the connection has ended, and all that came before was received.
            UnexpectedMessage: a message of the wrong kind for the route; it is lost.
            InvalidMessage: the route takes JSON, and this is none; it is lost.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: nothing is lost; the message is still there for the next call.
        """
        channel = self._channel
        if channel is None:
            channel = self._open_channel()
        # Returned and not awaited: a coroutine of its own would only be passed through at each message.
        return (
            channel.reader.receive() if self._decode is None else self._decoded(channel.reader.receive(), self._decode)
        )

    async def _decoded(self, coming: Coroutine[Any, Any, str | bytes], decode: Callable[[str | bytes], Any]) -> Any:
        message = await coming
        return (
            decode(message) if decode is not serialization.from_json else await read_json(message, self._open_channel())
        )

    async def receive_text(self) -> str:
        """Return the next message, which must be text. It raises what `receive` does."""
        return serialization.as_text(await self._open_channel().reader.receive())

    async def receive_bytes(self) -> bytes:
        """Return the next message, which must be binary. It raises what `receive` does."""
        return serialization.as_bytes(await self._open_channel().reader.receive())

    async def receive_json(self) -> Any:
        """Return the value of the next message, which must be JSON, text or binary. It raises what `receive` does."""
        channel = self._open_channel()
        return await read_json(await channel.reader.receive(), channel)

    async def recv(self) -> WebSocketMessage | None:
        """Return the next message, then the peer's close as one close message, then None. It follows Cello.

        Raises:
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: nothing is lost.
        """
        try:
            message = await self._open_channel().reader.receive()
        except WebSocketDisconnect:
            info = self.close_info
            if info is None or info.by != "peer" or self._close_reported:
                return None
            self._close_reported = True
            return WebSocketMessage("close", code=info.code, reason=info.reason)
        return WebSocketMessage.text(message) if isinstance(message, str) else WebSocketMessage.binary(message)

    async def receive_event(self) -> dict[str, Any]:
        """Return the next thing that happens as an ASGI event: connect, receive, or, once, disconnect.

        `websocket.connect` comes first if the handshake is not answered yet.

        Raises:
            WebSocketDisconnect: the disconnect event was returned before.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: nothing is lost.
        """
        return await asgi_events.receive(self)

    def receive_stream(self) -> MessageStream:
        """Return the next message as an asynchronous iterator over its parts, as they come.

        The parts are `str` for text and `bytes` for binary; they are cut wherever the network or the peer cut them.
        A part raises what `receive` does. What is not iterated over is dropped by the next receive.
        """
        return MessageStream(self)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        channel = self._channel
        if channel is None:
            channel = self._open_channel()
        coming = channel.reader.receive(self)
        return coming if self._decode is None else self._decoded(coming, self._decode)

    # --- sending -------------------------------------------------------------------------------------------------

    def send(self, data: Any) -> Coroutine[Any, Any, None]:
        """Send a message: a `WebSocketMessage`, or a value of the route's `send_type`, or plain text or bytes.

        Raises:
            WebSocketDisconnect: the connection has ended.
            TypeError: the route does not send such a thing.
            ValueError: it cannot be encoded.
            trio.Cancelled: nothing was sent.
        """
        channel = self._channel
        if channel is None:
            channel = self._open_channel()
        if not isinstance(data, str) and isinstance(data, WebSocketMessage):
            return self._send_message(data)
        return channel.writer.send(data if self._encode is None else self._encode(data))

    async def _send_message(self, message: WebSocketMessage) -> None:
        match message.msg_type:
            case "text":
                await self.send_text(message.text or "")
            case "binary":
                await self.send_bytes(message.data or b"")
            case "ping":
                await self._open_channel().writer.ping(message.data or b"", wait=False)
            case "pong":
                await self.pong(message.data or b"")
            case "close":
                await self.close(message.code or CloseCode.NORMAL_CLOSURE, message.reason)

    async def send_text(self, text: str) -> None:
        """Send a text message. It raises what `send` does."""
        await self._open_channel().writer.send(serialization.only_text(text))

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message. It raises what `send` does."""
        await self._open_channel().writer.send(serialization.only_bytes(data))

    send_binary = send_bytes

    async def send_json(self, value: Any) -> None:
        """Send a value as compact JSON in a text message. It raises what `send` does."""
        await self._open_channel().writer.send(serialization.to_json(value))

    async def send_event(self, event: Mapping[str, Any]) -> None:
        """Do what an ASGI event says: `websocket.accept`, `.send` or `.close` (before the answer: reject with 403).

        Raises:
            ValueError: it is no event that an application sends.
        """
        await asgi_events.send(self, event)

    async def send_stream(self, chunks: AsyncIterable[str | bytes] | Iterable[str | bytes]) -> None:
        """Send one message in fragments, each as soon as the next is there (RFC 6455 5.4).

        Args:
            chunks: `str` for a text message, `bytes` for a binary one, all of one kind. Other senders wait until the
                message is complete; pings and pongs do not.

        Raises:
            WebSocketDisconnect: the connection has ended.
            TypeError: a chunk is neither, or of the other kind than the first.
            trio.Cancelled: likewise any error in `chunks`: the message cannot be completed, and if any of it was sent
                the connection is closed with 1011.
        """
        channel = self._open_channel()
        if isinstance(chunks, AsyncGenerator):
            async with unwound(aclosing(chunks), self):
                await channel.writer.send_stream(chunks)
        else:
            async with aclosing(asgi_events.as_async(chunks)) as parts:
                await channel.writer.send_stream(parts)

    async def ping(self, payload: bytes | None = None) -> float:
        """Send a ping, wait for its pong, and return the seconds between (RFC 6455 5.5.2).

        Args:
            payload: at most 125 bytes, None for one that no other ping has.

        Raises:
            WebSocketDisconnect: the connection has ended.
            LocalProtocolError: a ping with that payload waits already.
            ValueError: the payload is too long.
            trio.Cancelled: the ping may have been sent; its pong is ignored.
        """
        return await self._open_channel().writer.ping(payload, wait=True)

    async def pong(self, payload: bytes = b"") -> None:
        """Send a pong that nobody asked for (RFC 6455 5.5.3). Pings are answered without you."""
        await self._open_channel().writer.pong(payload)

    async def accept_callback(
        self,
        *,
        on_receive: Callable[..., Any],
        on_connect: Callable[..., Any] | None = None,
        on_disconnect: Callable[..., Any] | None = None,
        **options: Any,
    ) -> None:
        """Accept the connection unless it is accepted, and call back until it ends. It follows Cafeto.

        Args:
            on_receive: called with each message, validated into what its parameter's annotation says; what it returns
                is the reply.
            on_connect: called after the handshake was answered.
            on_disconnect: called exactly once when the connection is over.
            options: `encoding=`, `on_invalid=` and `concurrency=`, as `App.listener` has them.

        Raises:
            LocalProtocolError: there is no application behind this connection.
            RegistrationError: a callback's parameters cannot be provided.
            WebSocketDisconnect: the connection ended with a code that is not caught.
        """
        if self._listen is None:
            raise LocalProtocolError("accept_callback() needs an App behind the connection")
        await self._listen(on_receive, on_connect, on_disconnect, **options)

    # --- ending --------------------------------------------------------------------------------------------------

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> None:
        """Close the connection, and wait for the peer's answer at most `close_timeout` (RFC 6455 7.1.2).

        The wait begins anew while the peer still takes what was sent before; `delivery_timeout` bounds it in all. After
        the peer's end it does nothing, whatever the code.

        Args:
            code: 1000 to 1003, 1007 to 1014, or 3000 to 4999.
            reason: at most 123 bytes of UTF-8; None is "".

        Raises:
            LocalProtocolError: it was called before (it is a `RuntimeError`); `ensure_closed` never complains.
            ValueError: code or reason cannot be sent.
            trio.Cancelled: nothing was sent if the connection is still open; else the closing handshake goes on
                without you.
        """
        channel, reason = self._open_channel(), reason or ""
        await trio.lowlevel.checkpoint_if_cancelled()  # before it counts as called
        if self._close_called and not self._finished:
            raise LocalProtocolError("close() was called before: ensure_closed() closes whatever the state")
        if channel.close_info is None:
            check_close(code, reason)
            self._close_called = True
        else:
            code = CloseCode.NORMAL_CLOSURE
        await channel.closing.close(int(code), reason)

    async def ensure_closed(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str | None = "") -> None:
        """Close the connection if it is open; it never complains about the state.

        Raises:
            ValueError: the connection is open, and code or reason cannot be sent.
        """
        if self.connected:
            await self.close(code, reason)
        else:
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close the connection with 1000 if it is open, as `trio.abc.AsyncResource` has it."""
        await self.ensure_closed()

    async def __aenter__(self) -> Self:
        if not self.accepted:
            await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self.connected:
            return error is not None and self._is_good_end(error)
        match error:
            case None | Exception():
                verdict = self._judge(error)
                await self.ensure_closed(verdict.code, verdict.reason)
            case _:  # cancelled: there is no time to wait for the answer
                self._open_channel().closing.begin_close(CloseCode.GOING_AWAY, "")
        return False

    def _judge(self, error: Exception | None) -> CloseDecision:
        return close_decision_for(error, is_own=self._owns, close_code_of=self._close_code_of)

    def _is_good_end(self, error: BaseException) -> bool:
        """Say whether an error, or all of a group, tells of a good end of this connection."""
        return self._owns(error) and all(
            self.is_normal_close(leaf.code) for leaf in leaves(error) if isinstance(leaf, WebSocketDisconnect)
        )

    def is_normal_close(self, code: int) -> bool:
        """Return True if a close code counts as a normal end."""
        if self._caught is all or not isinstance(self._caught, Collection):
            return self._caught is all
        if self.close_info is not None and self.close_info.by == "unknown":
            # It may have been a good end: who catches those is not to hear of an error whenever a client leaves.
            return any(each in self._caught for each in (code, *NORMAL_CLOSE_CODES))
        return is_normal_close(code, self._caught)

    def __repr__(self) -> str:
        state = "open" if self.connected else str(self.close_info or "not accepted")
        return f"<WebSocket {self.request.target} {state}>"
