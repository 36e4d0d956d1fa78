"""Sending of messages, fragments, pings and pongs, each committed in one step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import checkpoint_if_cancelled

from trio_ws.codes import CloseCode
from trio_ws.connection.flow import FlowControl, TransportProgress
from trio_ws.connection.inbox import YIELD_EVERY
from trio_ws.connection.pings import Pings
from trio_ws.native.choice import WriterState
from trio_ws.protocol.codec import CODEC
from trio_ws.protocol.deflate import DEFLATED_AT_ONCE
from trio_ws.protocol.states import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.connection.closing import ClosingHandshake
    from trio_ws.connection.inbox import Inbox
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.protocol.endpoint import Endpoint
    from trio_ws.protocol.items import Ping
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.transport.base import Transport
    from trio_ws.transport.outbox import Outbox

__all__ = ["CONTROL_RESERVE", "MessageWriter"]

_plain_message = CODEC.plain_message
_OPEN = State.OPEN  # each look into the class would cost more than the comparison
CONTROL_RESERVE: Final = 4 * 1024
"""Bytes that pongs may take in the outbox above its mark: some thirty of the largest."""


class MessageWriter(WriterState):
    """The sending part of a connection over a transport.

    Args:
        transport: its outbox takes the frames.
        endpoint: encodes them.
        inbox: while it holds messages, replies are held back for a moment.
        closing: the end of the same connection.
        now: the time by Trio's clock.

    Attributes:
        sent: messages that were committed.
        message_time: when the last message was committed, by Trio's clock; kept up only for an `idle_timeout`.
        blocked: an unfinished fragmented message, or the end of the network, is in the way of messages.
    """

    __slots__ = (
        "_closing",
        "_flow",
        "_pending_ping",
    )

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        inbox: Inbox,
        closing: ClosingHandshake,
        *,
        now: float,
    ) -> None:
        self.sent: int = 0
        self.message_time: float = now
        self.blocked: bool = False
        self._transport = transport
        self._endpoint = endpoint
        self._inbox = inbox
        self._closing = closing
        self._streaming = False
        self._pending_ping: Ping | None = None  # its pong waits for room
        self._clocked = closing.timeouts.idle_timeout != math.inf
        self._flow: FlowControl | None = None  # until a sender finds the outbox full

    # --- messages ------------------------------------------------------------------------------------------------

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then commit one message in one step.

        Raises:
            WebSocketDisconnect: the connection has ended.
            trio.Cancelled: nothing was sent.
        """
        # `Inbox.step` and, in `offer` too, `_committed` are inlined: each call here is made for each message.
        inbox = self._inbox
        inbox.streak += 1
        if inbox.streak < YIELD_EVERY:
            await checkpoint_if_cancelled()
        else:
            await inbox.let_others_run()
        transport = self._transport
        outbox = transport.outbox
        endpoint = self._endpoint
        if self.blocked or outbox.size >= outbox.high_water or outbox.closed or endpoint.state is not _OPEN:
            await self._wait_for_room()
        encoder = endpoint.encoder
        if encoder.plain:
            frame = _plain_message(data)
        else:
            frame = await self._deflated(data) if encoder.compresses else encoder.message(data)
        transport.write(frame, hold=True if inbox.items else False)  # noqa: SIM210 - it is a call less
        self.sent += 1
        if self._clocked:
            self.message_time = trio.current_time()
        if outbox.size >= outbox.high_water:
            self._watch_outbox()

    async def _deflated(self, data: str | bytes | bytearray | memoryview) -> bytes:
        """Return the frame of a message, to be written at once; others run while a large one is deflated."""
        encoder = self._endpoint.encoder
        deflating = encoder.begin(data)
        if deflating is None:
            frame = encoder.message(data)
            self._inbox.count_work(2 * len(data))  # each byte takes longer than one that is parsed
            return frame
        while deflating.step():
            await trio.lowlevel.checkpoint()  # cancelled here, nothing was sent, and nothing has moved
        self._inbox.count_work(2 * DEFLATED_AT_ONCE)
        await self._wait_for_room()
        return encoder.end(deflating, text=isinstance(data, str))

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room; return False if there is none."""
        endpoint = self._endpoint
        if endpoint.state is not _OPEN:
            return True
        transport = self._transport
        outbox = transport.outbox
        if self.blocked or (outbox.size and outbox.full):
            return self._closing.network_ended
        encoder = endpoint.encoder
        frame = message.plain if encoder.plain else None
        transport.write(frame or message.frame(encoder), hold=True if hold or self._inbox.items else False)  # noqa: SIM210
        self.sent += 1
        if self._clocked:
            self.message_time = trio.current_time()
        if outbox.size >= outbox.high_water:
            self._watch_outbox()
        return True

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return the encoder's `kind` of a message of `size` bytes for many connections."""
        return self._endpoint.encoder.kind(size)

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Send one message in fragments, each as soon as it is there; other messages wait until it is complete.

        Raises:
            WebSocketDisconnect: the connection has ended.
            trio.Cancelled: the message cannot be completed; if any of it was sent, the connection is failed with 1011.
        """
        await self._room()
        self._streaming = self.blocked = True
        first, complete = True, False
        try:
            held: str | bytes | bytearray | memoryview = b""
            any_held = False
            async for chunk in chunks:
                for part in self._endpoint.encoder.cut(chunk):
                    if any_held:
                        await self._send_fragment(held, first=first, final=False)
                        first = False
                    held, any_held = part, True
            await self._send_fragment(held, first=first, final=True)
            complete = True
        finally:
            self._streaming = False
            self.blocked = self._closing.network_ended
            if self._closing.open and not (first or complete):
                # No frame says that the message will not be completed: the connection must end. The caller gets the
                # exception that is being raised, and needs no report.
                self._closing.notified = True
                self._closing.fail(CloseCode.INTERNAL_ERROR, "message was not completed")
            self._closing.wake_changed()
            if self._flow is not None:
                self._flow.call_if_writable()
        self._committed(self._transport.outbox)

    async def _send_fragment(self, data: str | bytes | bytearray | memoryview, *, first: bool, final: bool) -> None:
        await self._room(within_message=True)
        self._transport.write(self._endpoint.fragment(data, first=first, final=final))
        if self._endpoint.encoder.compresses:
            self._inbox.count_work(2 * len(data))
        self._watch_outbox()

    def _committed(self, outbox: Outbox) -> None:
        self.sent += 1
        if self._clocked:
            self.message_time = trio.current_time()
        if outbox.size >= outbox.high_water:
            self._watch_outbox()

    # --- flow control --------------------------------------------------------------------------------------------

    @property
    def log(self) -> ConnectionLog | None:
        """The log that names the connection in its records."""
        return self._transport.log

    @property
    def accepts(self) -> bool:
        """True unless a fragmented message is unfinished."""
        return not self._streaming

    @property
    def flow(self) -> FlowControl:
        """The tasks and callbacks that wait for room; made when the first of them does."""
        if self._flow is None:
            closing = self._closing
            self._flow = FlowControl(self._transport.outbox, self, closing.timers, closing.timeouts.send_timeout)
        return self._flow

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `offer` may succeed again."""
        self.flow.add_callback(callback)

    def call_writable_soon(self) -> None:
        """Call the callbacks of `when_writable` in the next turn if there is room."""
        self.flow.call_soon()

    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Cancel `when_writable` if `callback` was not called yet."""
        if self._flow is not None:
            self._flow.remove_callback(callback)

    async def _room(self, *, within_message: bool = False) -> None:
        """Be a checkpoint, and wait until a frame may be committed.

        Args:
            within_message: it may stand between the fragments of a message (RFC 6455 5.4).
        """
        await self._inbox.step()
        await self._wait_for_room(within_message=within_message)

    async def _wait_for_room(self, *, within_message: bool = False) -> None:
        closing = self._closing
        outbox = self._transport.outbox
        waited = False
        while True:
            if closing.network_ended or not closing.open or (outbox.closed and closing.notified):
                raise closing.raised_end(while_sending=True)  # a variable would be a cycle of exception and frame
            if outbox.closed:
                await closing.wait_changed()
            elif outbox.full:
                waited = True
                await self.flow.wait()
            elif self._streaming and not within_message:
                await closing.wait_changed()
            else:
                if waited:
                    self.flow.call_if_writable()
                return

    def _watch_outbox(self) -> None:
        if self._transport.outbox.full:
            self.flow.watch()

    def measure_progress(self) -> TransportProgress:
        """Begin to measure what the peer takes."""
        progress = TransportProgress(self._transport)
        self._closing.taking = progress.delivery
        return progress

    def on_stalled(self) -> None:
        """End the connection: the peer took nothing for `send_timeout`."""
        self._closing.abort(CloseCode.TRY_AGAIN_LATER, "peer does not read")

    # --- the reading part's calls --------------------------------------------------------------------------------

    def on_outbox_moved(self) -> None:
        """Use the room in the outbox, or handle a network that takes no more data."""
        outbox = self._transport.outbox
        if self._nothing_waits and not outbox.closed:
            return
        if outbox.closed:
            self._closing.on_broken()
        if self._pending_ping is not None and not self.pongs_wait:
            item, self._pending_ping = self._pending_ping, None
            self._transport.write(self._endpoint.answer(item))
        if not outbox.size:
            self._closing.on_all_sent()
        if self._flow is not None:
            self._flow.on_moved()

    @property
    def _nothing_waits(self) -> bool:
        """True if room in the outbox changes nothing (the common case)."""
        return (
            self._endpoint.state is _OPEN
            and self._pending_ping is None
            and (self._flow is None or not self._flow.has_callbacks)
            and not self._closing.waited_for
        )

    def answer_ping(self, item: Ping) -> None:
        """Send a pong, behind the others in a full outbox only for the latest ping."""
        if self.pongs_wait:
            self._pending_ping = item
        else:
            self._transport.write(self._endpoint.answer(item), hold=bool(self._inbox.items))
            self._watch_outbox()

    @property
    def pongs_wait(self) -> bool:
        """True if the outbox is so full that only the latest ping will be answered."""
        outbox = self._transport.outbox
        return outbox.size >= outbox.high_water + CONTROL_RESERVE

    def stop(self) -> None:
        """Stop the send timeout: the network connection has ended."""
        if self._flow is not None:
            self._flow.stop()

    # --- pings ---------------------------------------------------------------------------------------------------

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Send a ping; with `wait`, wait for its pong, and return the seconds between, else 0.0.

        Raises:
            WebSocketDisconnect: the connection has ended.
            LocalProtocolError: a ping with that payload is outstanding.
            trio.Cancelled: the ping may have been sent; its pong is ignored.
        """
        await self._room(within_message=True)
        closing = self._closing
        if closing.pings is None:
            closing.pings = Pings()
        pings = closing.pings
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
                if not closing.open or closing.peer_ended:
                    raise closing.raised_end()
                await pings.wait()
        finally:
            pings.forget(payload)
        return trio.current_time() - sent

    async def pong(self, payload: bytes) -> None:
        """Send an unsolicited pong (RFC 6455 5.5.3)."""
        await self._room(within_message=True)
        self._transport.write(self._endpoint.encoder.pong(payload))
        self._watch_outbox()

    def send_keepalive(self) -> bool:
        """Send a ping whose pong is not waited for; return False, and send none, if the outbox is too full."""
        if self.pongs_wait:
            return False
        self._transport.write(self._endpoint.encoder.ping(b"keepalive"))
        return True
