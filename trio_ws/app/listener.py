"""Listeners, which are routes with callbacks for messages, connect and disconnect.

The three documented forms, `@app.listener`, `accept_callback` and methods of a controller, all end in `run_listener`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import closing
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, assert_never, overload

import attrs
import trio

from trio_ws.app.errors import ErrorDetail, ParameterError, RegistrationError
from trio_ws.app.replies import NotAReply, Reply, encode_reply
from trio_ws.connection.incremental_json import PIECE, read_json
from trio_ws.connection.serialization import as_bytes, as_text
from trio_ws.errors import InvalidMessage, WebSocketDisconnect
from trio_ws.handler.unwinding import use_and_close
from trio_ws.options import integer

if TYPE_CHECKING:
    from trio_ws.app.output import Output
    from trio_ws.app.parameters.validation import Validator
    from trio_ws.connection.channel import Channel
    from trio_ws.connection.serialization import Payload, ValueType
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["BoundListener", "Listener", "ListenerOptions", "OnInvalid", "run_listener"]

F = TypeVar("F", bound=Callable[..., Any])

OnInvalid: TypeAlias = "Literal['reply', 'close'] | Callable[[ParameterError], Any]"
"""The answer to an invalid message. It is the documented envelope with status 400; that, then a close with 1007; or the
result of a function of the error.
"""


@attrs.frozen(kw_only=True)
class ListenerOptions:
    """How a listener treats messages.

    Raises:
        ValueError: an option makes no sense.
    """

    encoding: ValueType = "json"
    on_invalid: OnInvalid = "reply"
    concurrency: int = attrs.field(default=1, validator=integer(1))

    def __attrs_post_init__(self) -> None:
        if self.encoding not in ("json", "text", "bytes"):
            raise ValueError(f'encoding is "json", "text" or "bytes", not {self.encoding!r}')
        if not callable(self.on_invalid) and self.on_invalid not in ("reply", "close"):
            raise ValueError(f'on_invalid is "reply", "close" or a function, not {self.on_invalid!r}')


class Listener:
    """The callbacks of one route, made by `@app.listener`.

    Args:
        on_receive: called with each message.
        options: how messages are treated.
    """

    def __init__(self, on_receive: Callable[..., Any], options: ListenerOptions) -> None:
        self.receive_callback = on_receive
        self.connect_callback: Callable[..., Any] | None = None
        self.disconnect_callback: Callable[..., Any] | None = None
        self.options = options
        self.checks: list[Callable[[], object]] = []
        """Called after a callback was added; an error refuses it."""
        self.__name__: str = getattr(on_receive, "__name__", "listener")
        self.__doc__ = on_receive.__doc__
        self.__wrapped__ = on_receive

    def on_connect(self, function: F) -> F:
        """Call `function` when a client has connected.

        It may take the connection, and route parameters by name.

        Raises:
            RegistrationError: there is one already, or it has a parameter without a source.
        """
        self._check_free(self.connect_callback, "on_connect")
        self.connect_callback = function
        try:
            self._check()
        except BaseException:
            self.connect_callback = None
            raise
        return function

    def on_disconnect(self, function: F) -> F:
        """Call `function` exactly once when a client has disconnected.

        It may take the connection, `code`, and route parameters by name.

        Raises:
            RegistrationError: there is one already, or it has a parameter without a source.
        """
        self._check_free(self.disconnect_callback, "on_disconnect")
        self.disconnect_callback = function
        try:
            self._check()
        except BaseException:
            self.disconnect_callback = None
            raise
        return function

    @overload
    def __get__(self, instance: None, owner: type) -> Listener: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Callable[..., Any]: ...
    def __get__(self, instance: object, owner: type) -> Listener | Callable[..., Any]:
        """Return the callback for messages, bound as in `await self.chat(data)`."""
        return self if instance is None else MethodType(self.receive_callback, instance)

    def _check(self) -> None:
        for check in self.checks:
            check()

    def _check_free(self, callback: Callable[..., Any] | None, name: str) -> None:
        if callback is not None:
            raise RegistrationError(f"listener {self.__name__!r} has an {name} callback already: {callback!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as in a test of it."""
        return self.receive_callback(*args, **kwargs)


@attrs.frozen
class BoundListener:
    """A listener's callbacks for one connection, with bound parameters."""

    receive: Callable[[Any], Any]
    """Called with a body that was validated; its result is the reply, awaited if it can be."""
    body: Validator | None
    """Validates a body; None takes it as it is."""
    options: ListenerOptions
    name: str
    """Of the function that is called, for the log."""
    output: Output | None = None
    """Narrows replies; None sends all that there is."""


Send: TypeAlias = "Callable[[Payload], Awaitable[None]]"


async def run_listener(websocket: WebSocket, callbacks: BoundListener) -> None:
    """Call back with each message until the connection ends.

    Raises:
        WebSocketDisconnect: it ended with a code that is not caught.
        UnexpectedMessage: a message of the wrong kind; it closes with 1003.
        InvalidMessage: after the reply, under `on_invalid="close"`; it closes with 1007.
        NotAReply: a callback returned something that cannot be sent, half of a surrogate pair included; it closes with
            1011.
    """
    channel = websocket._open_channel()
    try:
        if callbacks.options.concurrency == 1:
            while True:
                await _answer(websocket, await channel.reader.receive(), callbacks, channel.writer.send)
        else:
            await _run_concurrently(websocket, channel, callbacks)
    except WebSocketDisconnect as end:
        if not websocket._is_good_end(end):
            raise


async def _run_concurrently(websocket: WebSocket, channel: Channel, callbacks: BoundListener) -> None:
    """Process several messages at once, with replies in their order."""
    slots = trio.Semaphore(callbacks.options.concurrency)
    end: WebSocketDisconnect | None = None
    async with trio.open_nursery() as nursery:
        before = trio.Event()
        before.set()
        while end is None:
            await slots.acquire()
            try:
                message = await channel.reader.receive()
            except WebSocketDisconnect as error:
                end = error  # the callbacks that run may end in peace
            else:
                slot = _ReplySlot(before)
                nursery.start_soon(_answer_in_order, websocket, message, callbacks, slot, slots)
                before = slot.done
    if end is not None:
        raise end


@attrs.frozen
class _ReplySlot:
    """The place of a message's replies behind those of earlier messages."""

    before: trio.Event
    done: trio.Event = attrs.field(factory=trio.Event)


async def _answer_in_order(
    websocket: WebSocket, message: str | bytes, callbacks: BoundListener, slot: _ReplySlot, slots: trio.Semaphore
) -> None:
    channel = websocket._open_channel()

    async def send(reply: Payload) -> None:
        await slot.before.wait()
        await channel.writer.send(reply)

    try:
        await _answer(websocket, message, callbacks, send)
    except Exception as error:
        if not websocket._owns(error):
            raise
    await slot.before.wait()
    slot.done.set()
    slots.release()  # not before its turn: else what has no reply would pile up behind what takes long


async def _answer(websocket: WebSocket, message: str | bytes, callbacks: BoundListener, send: Send) -> None:
    """Call back with one message, and send what it is answered with."""
    channel = websocket._open_channel()
    channel.callbacks += 1
    if channel.closing.observer is not None:
        channel.closing.observer.on_read_after_end()  # it has a callback's time, also if the peer left before it began
    try:
        try:
            body = await _decode(channel, message, callbacks)
        except ParameterError as error:
            await _answer_invalid(websocket, message, error, callbacks, send)
        else:
            await _send_result(websocket, callbacks.receive(body), callbacks, send)
    finally:
        channel.callbacks -= 1


async def _decode(channel: Channel, message: str | bytes, callbacks: BoundListener) -> Any:
    match callbacks.options.encoding:
        case "text":
            text = as_text(message)
            return text if callbacks.body is None else callbacks.body.from_text(text)
        case "bytes":
            body = as_bytes(message)
            return body if callbacks.body is None else callbacks.body.from_body(body)
        case "json":
            try:
                return await _read_body(channel, message, callbacks.body)
            except InvalidMessage as error:
                raise ParameterError([ErrorDetail((), "json_invalid", str(error))]) from None
        case other:
            assert_never(other)


async def _read_body(channel: Channel, message: str | bytes, body: Validator | None) -> Any:
    """Return the validated body; large JSON is decoded in pieces."""
    if body is None:
        return await read_json(message, channel)
    if len(message) > PIECE:
        return body.from_json(message, value=await read_json(message, channel))
    channel.reader.count_work(len(message))
    return body.from_json(message)


async def _answer_invalid(
    websocket: WebSocket, message: str | bytes, error: ParameterError, callbacks: BoundListener, send: Send
) -> None:
    on_invalid = callbacks.options.on_invalid
    if callable(on_invalid):
        await _send_result(websocket, on_invalid(error), attrs.evolve(callbacks, output=None), send)
        return
    await send(encode_reply(Reply(400, {"errorList": error.error_list}), "json"))
    if on_invalid == "close":
        raise InvalidMessage("body does not validate", message)


async def _send_result(websocket: WebSocket, result: Any, callbacks: BoundListener, send: Send) -> None:
    """Send a callback's result: one reply, several yielded ones, or none."""
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, AsyncGenerator):
        await use_and_close(websocket, result, partial(_send_all, result, callbacks, send))
    elif isinstance(result, Generator):
        with closing(result):
            for reply in result:
                await _send_reply(reply, callbacks, send)
    else:
        await _send_reply(result, callbacks, send)


async def _send_all(replies: AsyncGenerator[Any, Any], callbacks: BoundListener, send: Send) -> None:
    async for reply in replies:
        await _send_reply(reply, callbacks, send)


async def _send_reply(reply: Any, callbacks: BoundListener, send: Send) -> None:
    if reply is None:
        return
    try:
        await send(encode_reply(reply, callbacks.options.encoding, callbacks.output))
    except (NotAReply, UnicodeEncodeError) as error:
        raise NotAReply(f"{callbacks.name}: {error}") from None
