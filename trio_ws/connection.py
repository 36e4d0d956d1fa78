"""Connection: an open connection over a transport. It joins the protocol endpoint, the inbox and the outbox.

It knows no handler and no handshake: `lifecycle` runs the handler, `opening` and `client` do the handshake. Everything
that touches the network here is synchronous; what waits, waits for room, for a message or for the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio
from wsproto.events import BytesMessage, Ping, Pong, TextMessage

from trio_ws.closing import LINGER, Closing
from trio_ws.codes import CloseCode
from trio_ws.inbox import Inbox
from trio_ws.keepalive import Keepalive
from trio_ws.pings import Pings
from trio_ws.protocol.endpoint import Endpoint
from trio_ws.protocol.states import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.config import Limits, Timeouts
    from trio_ws.inbox import Chunk, Received
    from trio_ws.prepared import Prepared
    from trio_ws.protocol.decoder import Item
    from trio_ws.protocol.extensions import DeflateSettings
    from trio_ws.timers import Timer, Timers
    from trio_ws.transport.interface import Transport

__all__ = ["Connection"]

CONTROL_RESERVE = 4 * 1024
"""Bytes that pongs may take in the outbox above its mark: some thirty of the largest."""
DISCARD_ITEMS = 64
"""Items that are parsed at once while messages are dropped: only memory in use for a moment depends on it."""
YIELD_EVERY = 64
"""Messages that one task may receive or send in a row without letting other tasks run."""


class Connection(Closing):
    """One open connection over a transport.

    Args:
        transport: the network connection; the connection becomes its receiver.
        client: True on the side that dialled.
        limits: bounds of inbox, outbox and messages.
        timeouts: of keepalive, closing and sending.
        timers: calls the deadlines.
        deflate: what was agreed about compression.
    """

    __slots__ = (
        "_clocked",
        "_in_stream",
        "_keepalive",
        "_parts",
        "_pong_due",
        "_rest",
        "_send_timer",
        "_senders_waiting",
        "_streak",
        "_streaming_out",
        "_writable_callbacks",
        "heard_time",
        "message_time",
        "paused",
        "received",
        "sent",
    )

    def __init__(
        self,
        transport: Transport,
        *,
        client: bool,
        limits: Limits,
        timeouts: Timeouts,
        timers: Timers,
        deflate: DeflateSettings | None = None,
    ) -> None:
        super().__init__(
            transport,
            Endpoint(client=client, limits=limits, deflate=deflate),
            Inbox(limits.inbox_messages, limits.inbox_bytes),
            client=client,
            timeouts=timeouts,
            timers=timers,
        )
        self.received: int = 0
        """Messages that arrived."""
        self.sent: int = 0
        """Messages that were committed."""
        self.paused: bool = False
        """Whether reading stops until the inbox is empty."""
        self.heard_time: float = trio.current_time()
        self.message_time: float = self.heard_time
        self._rest = memoryview(b"")  # read, and not parsed yet because the inbox was full
        self._parts: list[Chunk] = []  # of a message that was asked for as a stream, and is now received whole
        self._in_stream = False  # the parts that come next belong to a message whose beginning was handed out
        self._streaming_out = False
        self._senders_waiting = 0
        self._writable_callbacks: dict[Callable[[], None], None] | None = None  # in the order in which they came
        self._streak = 0
        self._pong_due: Ping | None = None
        self._send_timer: Timer | None = None
        self._clocked = timeouts.idle_timeout != math.inf
        self._keepalive: Keepalive | None = Keepalive(self, timeouts, timers)
        transport.receiver = self

    # --- what the transport calls --------------------------------------------------------------------------------

    def wants_data(self) -> bool:
        """Say whether to read on: not while messages wait that nobody takes, and always once they are dropped."""
        if self._wanted and (self._rest or self._inbox.full):
            self.paused = True
            return False
        return True

    def data_received(self, data: memoryview) -> None:
        """Parse `data` as far as the inbox has room, and keep the rest of it."""
        self.heard_time = trio.current_time()
        if self._rest:
            # A read that was under way when the inbox filled up: its turn comes after what is kept.
            self._rest = memoryview(b"".join((self._rest, data)))
            return
        consumed = self._parse(data)
        if consumed < len(data):
            self._rest = memoryview(bytes(data[consumed:]))
            self.paused = True

    def peer_departed(self) -> None:
        """The peer has closed its side behind data that we do not read now."""
        self._departed = True
        self._announce_end()

    def network_ended(self) -> None:
        """Nothing more will arrive; what has arrived can still be received."""
        self._departed = self._network_over = True
        if self._rest and self._wanted:
            self._announce_end()
        else:
            self._lose()

    def outbox_moved(self) -> None:
        """There is room again, for the latest pong at least; or the network takes nothing any more."""
        if self._transport.outbox.closed and not self._notified:
            # Reading is to say how it ended, since it may meet a close frame; but nobody waits for it for ever.
            self._timers.after(LINGER, self._announce_end)
        if self._pong_due is not None and not self._pongs_wait:
            item, self._pong_due = self._pong_due, None
            self._transport.write(self._endpoint.answer(item))
        if not self._transport.outbox.size:
            self._all_is_out()
        if not self._senders_waiting:
            self._call_if_writable()

    # --- bytes to messages ---------------------------------------------------------------------------------------

    def _parse(self, data: memoryview) -> int:
        """Parse `data` until it or the inbox's room is used up; return how much was parsed."""
        inbox = self._inbox
        consumed = 0
        while True:
            if self._wanted:
                items_room = inbox.max_items - len(inbox.items)
                bytes_room = inbox.max_bytes - inbox.size
                if items_room <= 0 or bytes_room <= 0:
                    return consumed
            else:
                items_room = bytes_room = DISCARD_ITEMS
            items: list[Item] = []
            used = self._endpoint.decoder.decode(data, items, items_room, bytes_room)
            consumed += used
            if items:
                self._dispatch(items)
            if used == len(data):
                return consumed
            data = data[used:]

    def _dispatch(self, items: list[Item]) -> None:
        wanted = self._wanted  # what comes after our own close frame is dropped
        for item in items:
            if isinstance(item, (str, bytes, TextMessage, BytesMessage)):
                if wanted:
                    self._inbox.put(item)
                    self.received += 1
                    self.message_time = self.heard_time
            elif isinstance(item, Pong):
                if self._pings is not None:
                    self._pings.answer(item.payload)
            elif isinstance(item, Ping) and self._pongs_wait:
                self._pong_due = item
            elif isinstance(item, Ping):
                self._transport.write(self._endpoint.answer(item), hold=bool(self._inbox.items))
                self._watch_outbox()
            else:
                # The end is not held back: nobody would hear when what was held back has left.
                self._transport.write(self._endpoint.answer(item))
                self._settle()

    @property
    def _wanted(self) -> bool:
        """Whether messages are taken in."""
        return self._endpoint.state is State.OPEN and not self._dropping

    @property
    def _pongs_wait(self) -> bool:
        """Whether so much waits for the network that only the latest ping will be answered."""
        outbox = self._transport.outbox
        return outbox.size >= outbox.high_water + CONTROL_RESERVE

    def _read_on(self) -> None:
        """The inbox is empty, or not wanted: parse what was kept, and read on when that is used up."""
        rest, self._rest = self._rest, memoryview(b"")
        self._rest = rest[self._parse(rest) :]
        if self._rest:
            return
        self.paused = False
        if self._network_over:
            self._lose()
        else:
            self.heard_time = trio.current_time()  # a pong may have waited behind what was not read
            self._transport.resume()

    # --- receiving -----------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Return the next message; raise `WebSocketDisconnect` when there will be none."""
        if self._in_stream:
            self._parts.clear()  # they belong to the message that was begun as a stream and abandoned
        while True:
            item = await self._next()
            if isinstance(item, (str, bytes)):
                return item
            if not self._in_stream:
                self._parts.append(item)
            if item.message_finished:
                self._in_stream = False
                if self._parts:
                    return self._join_parts()

    def _join_parts(self) -> str | bytes:
        parts, self._parts = self._parts, []
        if isinstance(parts[0], TextMessage):
            return "".join(part.data for part in parts if isinstance(part, TextMessage))
        return b"".join(part.data for part in parts if isinstance(part, BytesMessage))

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message and whether it is the last; a whole message is a last part.

        Args:
            first: begin with the next message, and drop what is left of the one before. Else go on with that one; if
                nothing is left of it, because it was dropped, return an empty last part.
        """
        if not first and not self._in_stream:
            await self._step()
            return b"", True
        if first and self.open and not self._in_stream and not self._inbox.items and not self._parts:
            begun = self._endpoint.decoder.stream_next()
            if begun is not None:
                self._inbox.put(begun)
        while True:
            if self._parts:
                item: Received = self._parts.pop(0)
            else:
                item = await self._next()
            if isinstance(item, (str, bytes)):
                return item, True
            left_over = first and self._in_stream
            self._in_stream = not item.message_finished
            if not left_over:
                data = item.data if isinstance(item, TextMessage) else bytes(item.data)
                return data, item.message_finished
            if item.message_finished:
                return await self.receive_chunk(first=True)

    async def _next(self) -> Received:
        self.reads = True
        inbox = self._inbox
        while True:
            if inbox.items:
                await self._step()
                if inbox.items:
                    return self._take()
            elif self.close_info is not None:
                await self._step()  # who asks again and again lets others run, the one who will cancel it among them
                raise self._disconnected()
            else:
                if self._transport.outbox.size:
                    self._transport.flush()
                await inbox.wait()

    def _take(self) -> Received:
        item = self._inbox.take()
        if self.paused and not self._inbox.items:
            self._read_on()
        if self._notified and self.watcher is not None:
            self.watcher.reading()
        return item

    async def _step(self) -> None:
        """Be a checkpoint, and now and then let others run."""
        self._streak += 1
        if self._streak < YIELD_EVERY:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._streak = 0
            await trio.lowlevel.checkpoint()

    # --- sending -------------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then commit one message in one step."""
        await self._room()
        self._transport.write(self._endpoint.encoder.message(data), hold=bool(self._inbox.items))
        self._committed()

    def offer(self, message: Prepared, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room for it now; return False if there is not."""
        if self._network_over or self._endpoint.state is not State.OPEN:
            return True
        transport = self._transport
        outbox = transport.outbox
        if self._streaming_out or (outbox.size and outbox.full):
            return False
        transport.write(message.frame(self._endpoint.encoder), hold=hold or bool(self._inbox.items))
        self._committed()
        return True

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `offer` may succeed again."""
        if self._writable_callbacks is None:
            self._writable_callbacks = {}
        self._writable_callbacks[callback] = None

    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Do not call `callback` any more, if it was to be called."""
        if self._writable_callbacks is not None:
            self._writable_callbacks.pop(callback, None)

    def _call_if_writable(self) -> None:
        if self._writable_callbacks and not self._streaming_out and not self._transport.outbox.full:
            callbacks, self._writable_callbacks = self._writable_callbacks, None
            for callback in callbacks:
                callback()

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Send one message in fragments, each as soon as it is there; other messages wait until it is complete."""
        await self._room()
        self._streaming_out = True
        first, complete = True, False
        try:
            held: str | bytes = b""
            any_held = False
            async for chunk in chunks:
                if any_held:
                    await self._send_fragment(held, first=first, final=False)
                    first = False
                held, any_held = chunk, True
            await self._send_fragment(held, first=first, final=True)
            complete = True
        finally:
            self._streaming_out = False
            if self.open and not (first or complete):
                # The peer cannot be told that the message will not be completed, only that the connection ends. The
                # caller knows by the exception that is on its way.
                self._notified = True
                self.fail(CloseCode.INTERNAL_ERROR, "message was not completed")
            self._wake_changed()
            self._call_if_writable()
        self._committed()

    async def _send_fragment(self, data: str | bytes, *, first: bool, final: bool) -> None:
        await self._room(within_message=True)
        self._transport.write(self._endpoint.encoder.fragment(data, first=first, final=final))
        self._watch_outbox()

    async def _room(self, *, within_message: bool = False) -> None:
        """Be a checkpoint and wait until a message may be committed, or what may stand within one (RFC 6455 5.4)."""
        await self._step()
        waited = False
        while True:
            if self._network_over or not self.open:
                raise self._disconnected()
            if self._transport.outbox.closed:
                if self._notified:
                    raise self._disconnected()
                await self._wait_changed()
            elif self._transport.outbox.full:
                waited = True
                await self._wait_for_outbox()
            elif self._streaming_out and not within_message:
                await self._wait_changed()
            else:
                if waited:
                    self._call_if_writable()
                return

    async def _wait_for_outbox(self) -> None:
        """Wait for room. One sender goes first when there is some, then those who offer: so neither side starves."""
        self._senders_waiting += 1
        try:
            await self._transport.outbox.wait()
        except trio.Cancelled:
            self._call_if_writable()  # there may be room since: those who offer waited for this sender to go first
            raise
        finally:
            self._senders_waiting -= 1

    def _committed(self) -> None:
        self.sent += 1
        if self._clocked:
            self.message_time = trio.current_time()
        if self._transport.outbox.size:
            self._watch_outbox()

    def _watch_outbox(self) -> None:
        """While the outbox is full, look after `send_timeout` whether it moves."""
        outbox = self._transport.outbox
        if outbox.full and self._send_timer is None:
            outbox.progress_time = trio.current_time()
            self._send_timer = self._timers.after(self._timeouts.send_timeout, self._look_at_outbox)

    def _look_at_outbox(self) -> None:
        self._send_timer = None
        outbox = self._transport.outbox
        if not outbox.full:
            return
        left = outbox.progress_time + self._timeouts.send_timeout - trio.current_time()
        if left > 0:
            self._send_timer = self._timers.after(left, self._look_at_outbox)
        else:
            self.abort(CloseCode.TRY_AGAIN_LATER, "peer does not read")

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Send a ping; if it is to `wait`, wait for its pong and return the seconds between, else 0.0."""
        await self._room(within_message=True)
        if self._pings is None:
            self._pings = Pings()
        pings = self._pings
        if payload is None:
            payload = pings.fresh_payload()
        frame = self._endpoint.encoder.ping(payload)
        sent = pings.add(payload)
        self._transport.write(frame)
        self._watch_outbox()
        if not wait:
            pings.forget(payload)
            return 0.0
        try:
            while pings.outstanding(payload):
                if self.close_info is not None or self._departed:
                    raise self._disconnected()
                await pings.wait()
        finally:
            pings.forget(payload)
        return trio.current_time() - sent

    async def pong(self, payload: bytes) -> None:
        """Send a pong that nobody asked for (RFC 6455 5.5.3)."""
        await self._room(within_message=True)
        self._transport.write(self._endpoint.encoder.pong(payload))
        self._watch_outbox()

    def send_keepalive(self) -> bool:
        """Send a ping that nobody waits for; not behind so much that it would only add to it: then return False."""
        if self._pongs_wait:
            return False
        self._transport.write(self._endpoint.encoder.ping(b"keepalive"))
        return True

    def _hang_up(self) -> None:
        super()._hang_up()
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None  # which knows this connection
        if self._send_timer is not None:
            self._send_timer.cancel()
