"""`WebSocket`, the connection as application code sees it, over our channel or ASGI's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import trio

from trio_ws.codes import CloseCode
from trio_ws.connection import serialization
from trio_ws.connection.incremental_json import read_json
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.errors import LocalProtocolError, WebSocketDisconnect
from trio_ws.messages import WebSocketMessage
from trio_ws.options import check_when_full
from trio_ws.runtime.unwinding import unwound
from trio_ws.websocket import asgi_events, compiled
from trio_ws.websocket.close_code import NORMAL_CLOSE_CODES, CaughtCodes
from trio_ws.websocket.context import ConnectionContext
from trio_ws.websocket.iteration import MessageIterator
from trio_ws.websocket.message_stream import MessageStream
from trio_ws.websocket.other_names import WithoutHints, install_hints
from trio_ws.websocket.routed import Routed
from trio_ws.websocket.typed_message import in_mode, of_mode, send_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from types import TracebackType

    from trio_ws.connection.encoders import ToJSON
    from trio_ws.connection.serialization import ValueType
    from trio_ws.http.request import Request
    from trio_ws.options import WhenFull
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.websocket.typed_message import JSONMode

__all__ = ["DisconnectCallback", "WebSocket"]

DisconnectCallback: TypeAlias = "Callable[[WebSocket, int], Awaitable[object]]"
"""Called with the connection and its close code after it has ended."""


class WebSocket(Routed, metaclass=WithoutHints):
    """One WebSocket connection, on either side.

    Every method may be called from several tasks, but for the receiving ones: a message goes to one of them, and to
    wait for one in two tasks at once is a `trio.BusyResourceError`. Every `async` method is a checkpoint.

    A connection that has ended raises `WebSocketDisconnect` from every receive and send. Messages that came before
    the end can still be received.
    """

    __slots__ = ()

    def __init__(
        self,
        request: Request,
        *,
        receive_type: ValueType | None = None,
        send_type: ValueType | None = None,
        caught_close_codes: CaughtCodes = NORMAL_CLOSE_CODES,
        subprotocols: Sequence[str] = (),
        log: ConnectionLog | None = None,
        encode_json: ToJSON = serialization.to_json,
    ) -> None:
        super().__init__(
            ConnectionContext(
                request,
                caught_close_codes=caught_close_codes,
                subprotocols=subprotocols,
                log=log,
                encode_json=encode_json,
            )
        )
        self._decode = None if receive_type is None else serialization.decoder_of[receive_type]
        self._encode = None if send_type is None else serialization.encoder_for(send_type, encode_json)

    @property
    def nursery(self) -> trio.Nursery:
        """The connection's nursery: its tasks are cancelled when the handler has ended.

        Raises:
            LocalProtocolError: the handler does not run.
        """
        context = self.context
        if context.nursery is None:
            raise LocalProtocolError("the connection's nursery is open only while its handler runs")
        context.nursery_used = True
        return context.nursery

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
        channel = self.context.channel
        if channel is None:
            channel = self.context.open_channel()
        # Returned and not awaited: a coroutine of its own would only be passed through at each message.
        received = channel.reader.receive()
        return received if self._decode is None else self._decoded(received, self._decode)

    async def _decoded(self, received: Coroutine[Any, Any, str | bytes], decode: Callable[[str | bytes], Any]) -> Any:
        message = await received
        if decode is serialization.from_json:
            return await read_json(message, self.context.open_channel())
        return decode(message)

    async def receive_text(self) -> str:
        """Return the next message, which must be text. It raises what `receive` does."""
        return serialization.as_text(await self.context.open_channel().reader.receive())

    async def receive_bytes(self) -> bytes:
        """Return the next message, which must be binary. It raises what `receive` does."""
        return serialization.as_bytes(await self.context.open_channel().reader.receive())

    async def receive_json(self, mode: JSONMode | None = None) -> Any:
        """Return the value of the next message, which must be JSON. It raises what `receive` does.

        Args:
            mode: "text" or "binary", for messages of that kind only, as Starlette has it; None for both.
        """
        channel = self.context.open_channel()
        message = await channel.reader.receive()
        return await read_json(message if mode is None else of_mode(message, mode), channel)

    async def recv(self) -> WebSocketMessage | None:
        """Return the next message, then the peer's close as one close message, then None. It follows Cello.

        Raises:
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: nothing is lost.
        """
        try:
            message = await self.context.open_channel().reader.receive()
        except WebSocketDisconnect:
            info = self.close_info
            if info is None or info.by != "peer" or self.context.reported == "close":
                return None
            self.context.reported = "close"
            return WebSocketMessage("close", code=info.code, reason=info.reason)
        return WebSocketMessage.text(message) if isinstance(message, str) else WebSocketMessage.binary(message)

    async def receive_event(self) -> dict[str, Any]:
        """Return the next ASGI event: connect, receive, or, once, disconnect.

        `websocket.connect` comes first if the handshake is not answered yet.

        Raises:
            WebSocketDisconnect: the disconnect event was returned before.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: nothing is lost.
        """
        return await asgi_events.receive(self.context)

    def receive_stream(self) -> MessageStream:
        """Return the next message as an asynchronous iterator over its parts, as they arrive.

        The parts are `str` for text and `bytes` for binary; the network and the peer decide where they are cut. A part
        raises what `receive` does. The next receive drops parts that were not iterated over.
        """
        return MessageStream(self.context)

    async def call_for_each_message(self, function: Callable[[Any], object], *, when_full: WhenFull = "pause") -> None:
        """Call a plain function with each message, in the turn of the loop in which it arrived, until the end.

        Args:
            function: called with what `receive` would return. It must not wait: all connections would. It answers with
                `offer`. What it raises is raised here.
            when_full: "pause": while the outbox is full, messages wait, and the peer is read no further; "call": it is
                called all the same, and `offer` returns False.

        Raises:
            WebSocketDisconnect: the connection has ended, and the function was called with all that came before.
            ValueError: `when_full` is something else.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: the function is not called any more.
        """
        from trio_ws.connection.callback import call_for_each_message, inline_call  # noqa: PLC0415 - few need it

        check_when_full(when_full)
        channel = self.context.open_channel()
        await call_for_each_message(channel, inline_call(function, channel, self._decode, when_full))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        context = self.context
        channel = context.channel
        if channel is None:
            channel = context.open_channel()
        received = channel.reader.receive(context)
        return received if self._decode is None else self._decoded(received, self._decode)

    def iter_text(self) -> MessageIterator[str]:
        """Iterate over the messages, which must be text, as `async for` over the connection does."""
        return MessageIterator(self.context, serialization.as_text)

    def iter_bytes(self) -> MessageIterator[bytes]:
        """Iterate over the messages, which must be binary, as `async for` over the connection does."""
        return MessageIterator(self.context, serialization.as_bytes)

    def iter_json(self) -> MessageIterator[Any]:
        """Iterate over the values of the messages, which must be JSON, as `async for` over the connection does."""
        return MessageIterator(self.context, None)

    # --- sending -------------------------------------------------------------------------------------------------

    def send(self, data: Any) -> Coroutine[Any, Any, None]:
        """Send a message: a `WebSocketMessage`, or a value of the route's `send_type`, or plain text or bytes.

        Raises:
            WebSocketDisconnect: the connection has ended.
            TypeError: the route does not send such a thing.
            ValueError: it cannot be encoded.
            trio.Cancelled: nothing was sent.
        """
        channel = self.context.channel
        if channel is None:
            channel = self.context.open_channel()
        if not isinstance(data, str) and isinstance(data, WebSocketMessage):
            return send_message(self.context, data)
        return channel.writer.send(data if self._encode is None else self._encode(data))

    async def send_text(self, text: str) -> None:
        """Send a text message. It raises what `send` does."""
        await self.context.open_channel().writer.send(serialization.only_text(text))

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary message. It raises what `send` does."""
        await self.context.open_channel().writer.send(serialization.only_bytes(data))

    send_binary = send_bytes

    def offer(self, data: Any) -> bool:
        """Send a message now if there is room for it; return False, and send nothing, if there is none.

        It does not wait. A connection that has ended takes every message, and drops it.

        Args:
            data: as of `send`, but for control messages.

        Raises:
            TypeError: the route does not send such a thing.
            ValueError: it cannot be encoded.
        """
        data = data if self._encode is None or isinstance(data, WebSocketMessage) else self._encode(data)
        return self.context.open_channel().writer.offer(PreparedMessage(data, self.context.encode_json))

    async def send_json(self, value: Any, mode: JSONMode = "text") -> None:
        """Send a value as compact JSON. It raises what `send` does.

        Args:
            value: values of JSON; models of pydantic, dataclasses, instances of attrs classes, mappings, sets, dates
                and times, UUIDs, Decimals, enum members; and containers of these.
            mode: "text", or "binary" for UTF-8 in a binary message.
        """
        text = self.context.encode_json(value)
        await self.context.open_channel().writer.send(text if mode == "text" else in_mode(text, mode))

    async def send_event(self, event: Mapping[str, Any]) -> None:
        """Perform an ASGI event: `websocket.accept`, `.send` or `.close` (before the answer: reject with 403).

        Raises:
            ValueError: it is no event of an application.
        """
        await asgi_events.send(self.context, event)

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
        channel = self.context.open_channel()
        if isinstance(chunks, AsyncGenerator):
            async with unwound(aclosing(chunks), self.context):
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
        return await self.context.open_channel().writer.ping(payload, wait=True)

    async def pong(self, payload: bytes = b"") -> None:
        """Send an unsolicited pong (RFC 6455 5.5.3). Pings are answered automatically."""
        await self.context.open_channel().writer.pong(payload)

    # --- as a block ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if not self.accepted:
            await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not self.connected:
            return error is not None and self.context.is_normal_end(error)
        match error:
            case None | Exception():
                decision = self.context.decide_close(error)
                await self.ensure_closed(decision.code, decision.reason)
            case _:  # cancelled: there is no time to wait for the answer
                self.context.open_channel().closing.begin_close(CloseCode.GOING_AWAY, "")
        return False

    def __repr__(self) -> str:
        state = "open" if self.connected else str(self.close_info or "not accepted")
        return f"<WebSocket {self.request.target} {state}>"


compiled.replace_methods(WebSocket)
install_hints(WebSocket)
