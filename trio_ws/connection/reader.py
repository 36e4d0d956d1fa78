"""Receiving over a transport, from bytes to messages in the inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio
from trio.lowlevel import checkpoint_if_cancelled, current_task, reschedule, wait_task_rescheduled

from trio_ws.connection.channel import end_for
from trio_ws.connection.inbox import YIELD_EVERY, join_parts
from trio_ws.native.choice import ReaderState
from trio_ws.protocol.endpoint import PATIENCE
from trio_ws.protocol.items import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from trio_ws.protocol.states import State
from trio_ws.runtime.wakeup import RESUME

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trio_ws.connection.channel import Iteration
    from trio_ws.connection.closing import ClosingHandshake
    from trio_ws.connection.inbox import Chunk, Inbox, Received
    from trio_ws.connection.keepalive import Keepalive
    from trio_ws.connection.writer import MessageWriter
    from trio_ws.protocol.endpoint import Endpoint
    from trio_ws.protocol.events import Event, ViolationEvent
    from trio_ws.transport.base import Transport

__all__ = ["DISCARD_ITEMS", "MessageReader"]

_OPEN = State.OPEN  # each look into the class would cost more than the comparison
_NOTHING = memoryview(b"")
_MESSAGES: Final = (str, bytes, TextMessage, BytesMessage)
DISCARD_ITEMS: Final = 64
"""Control frames that are parsed at once while messages are dropped: a bound on memory in use for a moment."""


class MessageReader(ReaderState):
    """The receiving part of a connection over a transport, and that transport's receiver.

    Args:
        transport: the network connection.
        endpoint: parses what it reads.
        inbox: takes the messages.
        writer: the sending part of the same connection; it answers pings.
        closing: the end of the same connection.
        now: the time by Trio's clock.

    Attributes:
        keepalive: stopped at the end of the network connection; None afterwards.
        received: messages that arrived.
        message_time: when the last message arrived, by Trio's clock.
        read_time: when data last arrived, by Trio's clock.
        paused: reading stops until the inbox is empty.
        reads: a receiving method was called.
        on_messages: called in the turn in which messages were put into the inbox, if it is not None.
        end_reported: the observer has a report of the end, and gets one of each message that is received now.
    """

    __slots__ = (
        "_parts",
        "_unparsed",
        "keepalive",
        "transport",
        "writer",
    )

    inbox: Inbox

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        inbox: Inbox,
        writer: MessageWriter,
        closing: ClosingHandshake,
        *,
        now: float,
    ) -> None:
        self.inbox = inbox
        self.keepalive: Keepalive | None = None
        self.received: int = 0
        self.message_time: float = now
        self.read_time: float = now
        self.paused: bool = False
        self.reads: bool = False
        self.end_reported: bool = False
        self.on_messages: Callable[[], None] | None = None
        self.transport: Transport = transport
        self.writer: MessageWriter = writer
        self.closing: ClosingHandshake = closing
        self._endpoint = endpoint
        self._outbox = transport.outbox
        self._unparsed = _NOTHING  # kept back because the inbox was full
        self._parts: list[Chunk] | None = None  # of a message that was begun as a stream, and is now received whole
        self._in_stream = False  # the next parts belong to a message whose beginning was returned
        self._resume_scheduled = False  # `_unparsed` is parsed in the next turn

    # --- the transport's calls -----------------------------------------------------------------------------------

    def wants_data(self) -> bool:
        """Return True if the transport is to read on: not while the inbox is full, always once messages are dropped."""
        return not self.paused or not (self._endpoint.state is _OPEN or self._unparsed)

    def data_received(self, data: memoryview, now: float) -> None:
        """Parse `data` as far as the inbox has room, and keep the rest of it."""
        self.read_time = now
        if self._unparsed:
            # A read that was under way when the inbox filled up: it follows the data that was kept.
            self._unparsed = memoryview(b"".join((self._unparsed, data)))
            return
        inbox = self.inbox
        items = inbox.items
        before = len(items)
        room = inbox.max_bytes - inbox.size
        endpoint = self._endpoint
        if endpoint.state is _OPEN and before < inbox.max_items and room > 0:
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
                if reader is not None and self.on_messages is None:  # `inbox.wake`, inlined
                    inbox.reader = None
                    reschedule(reader, RESUME)
            if consumed == len(data):
                if self.on_messages is not None:
                    self.on_messages()
                return
            data = data[consumed:]
        consumed = self._parse(data)
        if consumed < len(data):
            self._unparsed = memoryview(bytes(data[consumed:]))
        if self.on_messages is not None:
            self.on_messages()

    def peer_closed(self) -> None:
        """Handle the peer's end of stream behind data that is not read now."""
        self.closing.on_peer_ended()

    def network_ended(self) -> None:
        """Handle the end of the network connection; messages that arrived can still be received."""
        self.writer.blocked = True
        self.closing.on_network_ended(all_read=not self._unparsed)

    def outbox_moved(self) -> None:
        """Use the room in the outbox, or handle a network that takes no more data."""
        self.writer.on_outbox_moved()

    # --- bytes to messages ---------------------------------------------------------------------------------------

    def _parse(self, data: memoryview) -> int:
        """Parse `data` until it, the inbox's room or this turn's share is used up; return how much was parsed.

        It pauses reading unless all was parsed and there is room left.
        """
        inbox = self.inbox
        decoder = self._endpoint.decoder
        consumed = frames = 0
        while True:
            wanted = self._endpoint.state is _OPEN
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
                self.dispatch(items, bytes_room - decoder.budget)
            if used == len(data):
                if (decoder.budget <= 0 or len(inbox.items) >= inbox.max_items) and self._endpoint.state is _OPEN:
                    self.paused = True
                return consumed
            # Either there is no room for more, or these were control frames, or the decoder has used up its share.
            frames += len(items) if len(items) >= items_room else PATIENCE
            if frames >= PATIENCE and not (wanted and inbox.full):
                self.paused = True
                if not self._resume_scheduled:
                    self._resume_scheduled = True
                    self.closing.timers.call_later(0, self._resume_parsing)
                return consumed
            data = data[used:]

    def dispatch(self, items: list[Event], size: int) -> None:
        """Put messages of `size` bytes into the inbox, and handle all other items."""
        inbox = self.inbox
        wanted = self._endpoint.state is _OPEN  # messages after our own close frame are dropped
        if wanted:
            inbox.size += size
        for item in items:
            if isinstance(item, _MESSAGES):
                if wanted:
                    inbox.items.append(item)
                    self.received += 1
                    self.message_time = self.read_time
                    if inbox.reader is not None:
                        inbox.wake()
            else:
                self._dispatch_control(item)

    def _dispatch_control(self, item: Ping | Pong | CloseConnection | ViolationEvent) -> None:
        match item:
            case Ping():
                self.writer.answer_ping(item)
            case Pong():
                if self.closing.pings is not None:
                    self.closing.pings.answer(item.payload)
            case _:
                self.closing.on_item(item)

    def _resume_parsing(self) -> None:
        """Parse, after other tasks have run, the data that was left for this turn."""
        self._resume_scheduled = False
        if self._unparsed and not self.closing.gone:
            self.read_on()

    def read_on(self) -> None:
        """Parse the data that was kept back, and read on when it is used up.

        Data that was left for the next turn waits for that. The work counts against the receiving task's share.
        """
        if self._resume_scheduled:
            return
        unparsed, self._unparsed = self._unparsed, _NOTHING
        self.paused = False
        inflated, received = self._endpoint.decoder.inflated, self.received
        consumed = self._parse(unparsed)
        self.inbox.count_work(consumed + self._endpoint.decoder.inflated - inflated, self.received - received)
        self._unparsed = unparsed[consumed:]
        if self._unparsed:
            return
        if self.closing.network_ended:
            self.closing.on_network_ended(all_read=True)
        else:
            self.read_time = trio.current_time()  # a pong may have waited behind unread data
            self.transport.resume()

    def stop(self) -> None:
        """Cancel the connection's timers: the network connection has ended."""
        self.writer.stop()
        self.inbox.release()
        if self.keepalive is not None:
            self.keepalive.stop()
            self.keepalive = None  # it refers to this connection

    # --- receiving -----------------------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """True if messages wait to be received."""
        return bool(self.inbox.items)

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message.

        Args:
            iteration: decides if the close code is a normal end: then `StopAsyncIteration` is raised.

        Raises:
            WebSocketDisconnect: the connection has ended, and all messages were received.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: no message is lost.
        """
        # `arrival`, `Inbox.step` and `take` are inlined: each call here is made for each message.
        self.reads = True
        inbox = self.inbox
        items = inbox.items
        while True:
            if items:
                inbox.streak += 1
                if inbox.streak < YIELD_EVERY:
                    await checkpoint_if_cancelled()
                else:
                    await inbox.let_others_run()
            elif inbox.reader is not None or self._outbox.size or self._endpoint.close_info is not None:
                await self.arrival(iteration)
            else:
                inbox.streak = 0
                inbox.reader = current_task()
                await wait_task_rescheduled(inbox)
            if not items:
                continue
            item = items.pop(0)
            if not items:
                inbox.size = 0
                if self.paused:
                    self.read_on()
            if self.end_reported:
                self.closing.report_read()
            if isinstance(item, str) or isinstance(item, bytes):  # noqa: SIM101 - together they take twice as long
                return item
            message = self.add_part(item)
            if message is not None:
                return message

    def add_part(self, part: Chunk) -> str | bytes | None:
        """Add a part to the message that is received whole; return the message once it is complete."""
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
        return join_parts(parts) if parts else None

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message, and True if it is the last; a whole message is a last part.

        Args:
            first: begin with the next message, and drop the rest of the one before. Else go on with that one; if
                its rest was dropped, return an empty last part.

        Raises:
            WebSocketDisconnect: the connection has ended, and all messages were received.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: no part is lost.
        """
        if not first and not self._in_stream:
            await self.inbox.step()
            return b"", True
        if first and self.closing.open and not self._in_stream and not self.inbox.items and not self._parts:
            begun = self._endpoint.decoder.stream_next()
            if begun is not None:
                self.inbox.put(begun, 0)  # it is taken at once, below
        while True:
            if self._parts:
                await self.inbox.step()
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
        items = self.inbox.items
        if items:
            await self.inbox.step()
        while not items:
            await self.arrival()
        return self.take()

    def arrival(self, iteration: Iteration | None = None) -> Coroutine[Any, Any, Any]:
        """Wait until a message may have arrived; raise the end if none will. Await it at once."""
        if self._endpoint.close_info is not None:
            return self._raise_end(iteration)
        if self.transport.outbox.size:
            self.transport.flush()
        self.inbox.streak = 0  # other tasks will run
        return self.inbox.wait()

    async def _raise_end(self, iteration: Iteration | None) -> NoReturn:
        await self.inbox.step()  # a caller that repeats lets others run, the task that will cancel it among them
        raise end_for(iteration, self.closing.raised_end())

    def take(self) -> Received:
        """Remove and return the oldest item of the inbox; read on when that was the last."""
        inbox = self.inbox  # `Inbox.take` is inlined: it is called for each message
        item = inbox.items.pop(0)
        if not inbox.items:
            inbox.size = 0
            if self.paused:
                self.read_on()
        if self.end_reported:
            self.closing.report_read()
        return item

    def count_work(self, size: int) -> None:
        """Count `size` bytes of work for the peer against the current task's share of the loop."""
        self.inbox.count_work(size)
