"""Listeners, which are routes with callbacks for messages, connect and disconnect.

The three documented forms, `@app.listener`, `accept_callback` and methods of a controller, all end in `run_listener`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import attrs
import trio

from trio_ws.app.errors import RegistrationError
from trio_ws.app.exchange import BoundListener, Exchange
from trio_ws.errors import WebSocketDisconnect

if TYPE_CHECKING:
    from trio_ws.app.listener_options import ListenerOptions
    from trio_ws.connection.channel import Channel
    from trio_ws.connection.serialization import Payload
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Listener", "run_listener"]

F = TypeVar("F", bound=Callable[..., Any])


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


async def run_listener(websocket: WebSocket, callbacks: BoundListener) -> None:
    """Call back with each message until the connection ends.

    Raises:
        WebSocketDisconnect: it ended with a code that is not caught.
        UnexpectedMessage: a message of the wrong kind; it closes with 1003.
        InvalidMessage: after the reply, under `on_invalid="close"`; it closes with 1007.
        NotAReply: a callback returned something that cannot be sent, half of a surrogate pair included; it closes with
            1011.
    """
    channel = websocket.context.open_channel()
    try:
        if callbacks.options.concurrency == 1:
            while True:
                await Exchange(websocket, await channel.reader.receive(), callbacks, channel.writer.send).run()
        else:
            await _run_concurrently(websocket, channel, callbacks)
    except WebSocketDisconnect as end:
        if not websocket.context.is_normal_end(end):
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
    channel = websocket.context.open_channel()

    async def send(reply: Payload) -> None:
        await slot.before.wait()
        await channel.writer.send(reply)

    try:
        await Exchange(websocket, message, callbacks, send).run()
    except Exception as error:
        if not websocket.context.is_own_disconnect(error):
            raise
    await slot.before.wait()
    slot.done.set()
    slots.release()  # not before its turn: else what has no reply would pile up behind what takes long
