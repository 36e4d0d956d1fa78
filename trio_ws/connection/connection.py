"""Connection: an open connection over a transport. It joins the protocol endpoint, the inbox and the outbox.

Here is what arrives; `sending` and `closing` are its lower halves. It knows no handler and no handshake: `lifecycle`
runs the handler, `opening` and `client` do the handshake. Everything that touches the network is synchronous; what
waits, waits for room, for a message or for the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio
from trio.lowlevel import checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from trio_ws.connection.channel import end_for
from trio_ws.connection.closing import LINGER
from trio_ws.connection.inbox import Inbox, joined
from trio_ws.connection.keepalive import Keepalive
from trio_ws.connection.writer import YIELD_EVERY, MessageWriter
from trio_ws.protocol.endpoint import PATIENCE, Endpoint
from trio_ws.protocol.states import State
from trio_ws.runtime.wakeup import RESUME

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trio_ws.config import Limits, Timeouts
    from trio_ws.connection.channel import Iteration
    from trio_ws.connection.inbox import Chunk, Received
    from trio_ws.protocol.events import Event, ViolationEvent
    from trio_ws.protocol.negotiation import DeflateSettings
    from trio_ws.runtime.timers import Timers
    from trio_ws.transport.base import Transport

__all__ = ["Connection"]

_OPEN = State.OPEN  # each look into the class would cost more than the comparison
_NOTHING = memoryview(b"")
_MESSAGES: Final = (str, bytes, TextMessage, BytesMessage)
DISCARD_ITEMS = 64
"""Control frames that are parsed at once while messages are dropped: only memory in use for a moment depends on it."""


class Connection(MessageWriter):
    """One open connection over a transport.

    Args:
        transport: the network connection; the connection becomes its receiver.
        client: True on the side that dialled.
        limits: bounds of inbox, outbox and messages.
        timeouts: of keepalive, closing and sending.
        timers: calls the deadlines.
        deflate: what was agreed about compression.
        inbox: takes what arrives, with the bounds of `limits`; None: one that is like any other.
    """

    __slots__ = (
        "_in_stream",
        "_keepalive",
        "_parts",
        "_pong_due",
        "_put_off",
        "_rest",
        "heard_time",
        "paused",
        "received",
    )

    message_time: float
    reads: bool

    def __init__(
        self,
        transport: Transport,
        *,
        client: bool,
        limits: Limits,
        timeouts: Timeouts,
        timers: Timers,
        deflate: DeflateSettings | None = None,
        inbox: Inbox | None = None,
    ) -> None:
        super().__init__(
            transport,
            Endpoint(client=client, limits=limits, deflate=deflate),
            inbox or Inbox(limits.inbox_messages, limits.inbox_bytes),
            client=client,
            timeouts=timeouts,
            timers=timers,
        )
        self.received: int = 0
        """Messages that arrived."""
        self.paused: bool = False
        """Whether reading stops until the inbox is empty."""
        self.heard_time: float = self.message_time
        self._rest = _NOTHING  # read, and not parsed yet because the inbox was full
        self._parts: list[Chunk] | None = None  # of a message that was asked for as a stream, and is now received whole
        self._in_stream = False  # the parts that come next belong to a message whose beginning was handed out
        self._pong_due: Ping | None = None
        self._put_off = False  # what is kept will be parsed in the next turn
        self._keepalive: Keepalive | None = Keepalive(self, timeouts, timers)
        transport.receiver = self

    # --- what the transport calls --------------------------------------------------------------------------------

    def wants_data(self) -> bool:
        """Say whether to read on: not while messages wait that nobody takes, and always once they are dropped."""
        return not self.paused or not (self._wanted or self._rest)

    def data_received(self, data: memoryview, now: float) -> None:
        """Parse `data` as far as the inbox has room, and keep the rest of it."""
        self.heard_time = now
        if self._rest:
            # A read that was under way when the inbox filled up: its turn comes after what is kept.
            self._rest = memoryview(b"".join((self._rest, data)))
            return
        inbox = self._inbox
        items = inbox.items
        before = len(items)
        room = inbox.max_bytes - inbox.size
        endpoint = self._endpoint
        if endpoint.state is _OPEN and before < inbox.max_items and room > 0 and not self._dropping:
            # Whole messages go straight into the inbox; nearly always that is all.
            decoder = endpoint.decoder
            consumed = decoder.decode_whole(data, items, inbox.max_items, room)
            count = len(items)
            if count > before:
                self.received += count - before
                self.message_time = now
                budget = decoder.budget
                inbox.size = inbox.max_bytes - budget
                if count >= inbox.max_items or budget <= 0:
                    self.paused = True
                reader = inbox.reader
                if reader is not None:  # as `inbox.wake`, written out
                    inbox.reader = None
                    reschedule(reader, RESUME)
            if consumed == len(data):
                return
            data = data[consumed:]
        consumed = self._parse(data)
        if consumed < len(data):
            self._rest = memoryview(bytes(data[consumed:]))

    def peer_closed(self) -> None:
        """The peer has closed its side behind data that we do not read now."""
        self._departed = True
        self._announce_end()

    def network_ended(self) -> None:
        """Nothing more will arrive; what has arrived can still be received."""
        self._departed = self._network_over = True
        if self._rest:
            self._announce_end()
        else:
            self._lose()

    def outbox_moved(self) -> None:
        """There is room again, for the latest pong at least; or the network takes nothing any more."""
        if self._untroubled:
            return
        if self._transport.outbox.closed and not self._notified:
            # Reading is to say how it ended, since it may meet a close frame; but nobody waits for it for ever.
            self._timers.call_later(LINGER, self._announce_broken)
        if self._pong_due is not None and not self._pongs_wait:
            item, self._pong_due = self._pong_due, None
            self._transport.write(self._endpoint.answer(item))
        if not self._transport.outbox.size:
            self._all_is_out()
        if not self._senders_waiting:
            self._call_if_writable()

    def _announce_broken(self) -> None:
        self.look()
        self._announce_end()

    # --- bytes to messages ---------------------------------------------------------------------------------------

    def _parse(self, data: memoryview) -> int:
        """Parse `data` until it, the inbox's room or this turn's patience is used up; return how much was parsed.

        It pauses reading unless all was parsed and there is room left.
        """
        inbox = self._inbox
        decoder = self._endpoint.decoder
        consumed = slow = 0
        while True:
            wanted = self._wanted
            if wanted:
                items_room = inbox.max_items - len(inbox.items)
                bytes_room = inbox.max_bytes - inbox.size
                if items_room <= 0 or bytes_room <= 0:
                    self.paused = True
                    return consumed
            else:
                decoder.discard()
                items_room = bytes_room = DISCARD_ITEMS
            items: list[Event] = []
            used = decoder.decode(data, items, items_room, bytes_room)
            consumed += used
            if items:
                self._dispatch(items, bytes_room - decoder.budget)
            if used == len(data):
                if (decoder.budget <= 0 or len(inbox.items) >= inbox.max_items) and self._wanted:
                    self.paused = True
                return consumed
            # Either there is no room for more, or these were control frames, or the decoder wants to be asked again.
            slow += len(items) if len(items) >= items_room else PATIENCE
            if slow >= PATIENCE and not (wanted and inbox.full):
                self.paused = True
                if not self._put_off:
                    self._put_off = True
                    self._timers.call_later(0, self._go_on)
                return consumed
            data = data[used:]

    def _dispatch(self, items: list[Event], size: int) -> None:
        """Hand out what was parsed: messages of `size` bytes in all, and everything else."""
        inbox = self._inbox
        wanted = self._wanted  # what comes after our own close frame is dropped
        if wanted:
            inbox.size += size
        for item in items:
            if isinstance(item, _MESSAGES):
                if wanted:
                    inbox.items.append(item)
                    self.received += 1
                    self.message_time = self.heard_time
                    if inbox.reader is not None:
                        inbox.wake()
            else:
                self._dispatch_control(item)

    def _dispatch_control(self, item: Ping | Pong | CloseConnection | ViolationEvent) -> None:
        if isinstance(item, Pong):
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
    def _untroubled(self) -> bool:
        """Whether nobody waits for the outbox to move, nor would do anything if it does: as it nearly always is."""
        return (
            self._changed is None
            and self._pong_due is None
            and not self._writable_callbacks
            and self._endpoint.state is _OPEN
            and not self._transport.outbox.closed
        )

    @property
    def _wanted(self) -> bool:
        """Whether messages are taken in."""
        return self._endpoint.state is _OPEN and not self._dropping

    def _go_on(self) -> None:
        """Others have had their turn: parse what was left for this one, if nobody has done it."""
        self._put_off = False
        if self._rest and not self._gone:
            self._read_on()

    def _read_on(self) -> None:
        """The inbox is empty, or not wanted: parse what was kept, and read on when that is used up.

        What was put off to the next turn waits for that. The work counts against the share of the task that receives.
        """
        if self._put_off:
            return
        rest, self._rest = self._rest, _NOTHING
        self.paused = False
        inflated = self._endpoint.decoder.inflated
        consumed = self._parse(rest)
        self.worked(consumed + self._endpoint.decoder.inflated - inflated)
        self._rest = rest[consumed:]
        if self._rest:
            return
        if self._network_over:
            self._lose()
        else:
            self.heard_time = trio.current_time()  # a pong may have waited behind what was not read
            self._transport.resume()

    # --- receiving -----------------------------------------------------------------------------------------------

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message; raise what says that there will be none."""
        # `_arrival`, `_step` and `_take` are written out: what is called here is called for each message.
        self.reads = True
        inbox = self._inbox
        items = inbox.items
        while True:
            if items:
                self._streak += 1
                if self._streak < YIELD_EVERY:
                    await checkpoint_if_cancelled()
                else:
                    await self._let_others_run()
            elif inbox.reader is not None or self._transport.outbox.size or self._endpoint.close_info is not None:
                await self._arrival(iteration)
            else:
                self._streak = 0
                inbox.reader = current_task()
                await wait_task_rescheduled(inbox)
            if not items:
                continue
            item = items.pop(0)
            if not items:
                inbox.size = 0
                if self.paused:
                    self._read_on()
            if self._notified and self.watcher is not None:
                self.watcher.reading()
            if isinstance(item, str) or isinstance(item, bytes):  # noqa: SIM101 - together they take twice as long
                return item
            message = self._add_part(item)
            if message is not None:
                return message

    def _add_part(self, part: Chunk) -> str | bytes | None:
        """Add a part to the message that is received whole, and return that once it is complete."""
        if self._in_stream:
            self._parts = None  # they belong to the message that was begun as a stream and abandoned
        else:
            if self._parts is None:
                self._parts = []
            self._parts.append(part)
        if not part.message_finished:
            return None
        self._in_stream = False
        parts, self._parts = self._parts, None
        return joined(parts) if parts else None

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
                self._inbox.put(begun, 0)  # it is taken at once, below
        while True:
            if self._parts:
                await self._step()
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
        items = self._inbox.items
        if items:
            await self._step()
        while not items:
            await self._arrival()
        return self._take()

    def _arrival(self, iteration: Iteration | None = None) -> Coroutine[Any, Any, Any]:
        """Return what is to be awaited at once until something may have come; it raises when nothing will."""
        if self._endpoint.close_info is not None:
            return self._tell_the_end(iteration)
        if self._transport.outbox.size:
            self._transport.flush()
        self._streak = 0  # others will run
        return self._inbox.wait()

    async def _tell_the_end(self, iteration: Iteration | None) -> NoReturn:
        await self._step()  # who asks again and again lets others run, the one who will cancel it among them
        raise end_for(iteration, self._disconnected())

    def _take(self) -> Received:
        inbox = self._inbox
        item = inbox.items.pop(0)
        if not inbox.items:
            inbox.size = 0
            if self.paused:
                self._read_on()
        if self._notified and self.watcher is not None:
            self.watcher.reading()
        return item

    def _hang_up(self) -> None:
        super()._hang_up()
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None  # which knows this connection
