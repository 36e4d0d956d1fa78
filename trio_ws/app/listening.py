"""A listener's run on one connection.

The three documented forms, `@app.listener`, `accept_callback` and methods of a controller, all end in `run_listener`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from trio_ws.app.exchange import BoundListener, Exchange
from trio_ws.errors import WebSocketDisconnect

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel
    from trio_ws.connection.serialization import Payload
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["run_listener"]


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


@attrs.frozen(eq=False, repr=False)
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
