"""Sending: messages, fragments and pings into the outbox, one step each, and those who wait for room in it.

It is the middle of `Connection`: how it ends is in `closing`, what arrives is in `connection`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import checkpoint_if_cancelled

from trio_ws.codes import CloseCode
from trio_ws.connection.closing import ClosingHandshake
from trio_ws.connection.pings import Pings
from trio_ws.protocol.codec import CODEC
from trio_ws.protocol.deflate import DEFLATED_AT_ONCE
from trio_ws.protocol.states import State
from trio_ws.transport.progress import LOOKS, DeliveryProgress

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine

    from trio_ws.config import Timeouts
    from trio_ws.connection.inbox import Inbox
    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.protocol.endpoint import Endpoint
    from trio_ws.runtime.timers import Timer, Timers
    from trio_ws.transport.base import Transport
    from trio_ws.transport.outbox import Outbox
    from trio_ws.transport.socket_options import Uptake

__all__ = ["MessageWriter"]

_plain_message = CODEC.plain_message
_OPEN = State.OPEN  # each look into the class would cost more than the comparison
CONTROL_RESERVE = 4 * 1024
"""Bytes that pongs may take in the outbox above its mark: some thirty of the largest."""
YIELD_EVERY = 64
"""Messages that one task may receive or send in a row without letting other tasks run."""
STEP_BYTES = 64 * 1024
"""Bytes that are inflated or decoded for one task in a row; each `STEP_BYTES // YIELD_EVERY` count as a message."""


class MessageWriter(ClosingHandshake):
    """What a connection over a transport sends, as long as it is open.

    Args:
        transport: its outbox takes what is sent.
        endpoint: encodes it.
        inbox: while messages wait there, replies are held back for a moment.
        client: True on the side that dialled.
        timeouts: `send_timeout` of it, and those of closing.
        timers: calls the deadlines.
    """

    __slots__ = (
        "_clocked",
        "_send_timer",
        "_senders_waiting",
        "_streak",
        "_streaming_out",
        "_writable_callbacks",
        "_writable_soon",
        "message_time",
        "sent",
    )

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        inbox: Inbox,
        *,
        client: bool,
        timeouts: Timeouts,
        timers: Timers,
    ) -> None:
        super().__init__(transport, endpoint, inbox, client=client, timeouts=timeouts, timers=timers)
        self.sent: int = 0
        """Messages that were committed."""
        self.message_time: float = trio.current_time()
        """When the last message passed, if somebody wants to know."""
        self._streaming_out = False
        self._senders_waiting = 0
        self._writable_soon = False
        self._writable_callbacks: dict[Callable[[], None], None] | None = None  # in the order in which they came
        self._streak = 0
        self._send_timer: Timer | None = None
        self._clocked = timeouts.idle_timeout != math.inf

    @property
    def _pongs_wait(self) -> bool:
        """Whether so much waits for the network that only the latest ping will be answered."""
        outbox = self._transport.outbox
        return outbox.size >= outbox.high_water + CONTROL_RESERVE

    def _step(self) -> Coroutine[Any, Any, None]:
        """Be a checkpoint, and now and then let others run; to be awaited at once."""
        # Returned and not awaited: a coroutine of its own would only be passed through at each message.
        self._streak += 1
        if self._streak < YIELD_EVERY:
            return checkpoint_if_cancelled()  # noqa: ASYNC105
        return self._let_others_run()

    async def _let_others_run(self) -> None:
        self._streak = 0
        await trio.lowlevel.checkpoint()

    def worked(self, size: int) -> None:
        """Count `size` bytes of work that was done for the peer within the current task's step."""
        self._streak += size * YIELD_EVERY // STEP_BYTES

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then commit one message in one step."""
        # `_step` and, in `offer` too, `_committed` are written out: what is called here is called for each message.
        self._streak += 1
        if self._streak < YIELD_EVERY:
            await checkpoint_if_cancelled()
        else:
            await self._let_others_run()
        transport = self._transport
        outbox = transport.outbox
        endpoint = self._endpoint
        if (
            outbox.size >= outbox.high_water
            or outbox.closed
            or self._streaming_out
            or self._network_over
            or endpoint.state is not _OPEN
        ):
            await self._wait_for_room()
        encoder = endpoint.encoder
        if encoder.plain:
            frame = _plain_message(data)
        else:
            frame = await self._deflated(data) if encoder.compresses else encoder.message(data)
        transport.write(frame, hold=True if self._inbox.items else False)  # noqa: SIM210 - it is a call less
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
            self.worked(2 * len(data))  # each byte takes longer than one that is parsed
            return frame
        while deflating.step():
            await trio.lowlevel.checkpoint()  # cancelled here, nothing was sent, and nothing has moved
        self.worked(2 * DEFLATED_AT_ONCE)
        await self._wait_for_room()
        return encoder.end(deflating, text=isinstance(data, str))

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return what decides the frame of a message for many."""
        return self._endpoint.encoder.kind(size)

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room for it now; return False if there is not."""
        endpoint = self._endpoint
        if self._network_over or endpoint.state is not _OPEN:
            return True
        transport = self._transport
        outbox = transport.outbox
        if self._streaming_out or (outbox.size and outbox.full):
            return False
        encoder = endpoint.encoder
        frame = message.plain if encoder.plain else None
        transport.write(frame or message.frame(encoder), hold=True if hold or self._inbox.items else False)  # noqa: SIM210
        self.sent += 1
        if self._clocked:
            self.message_time = trio.current_time()
        if outbox.size >= outbox.high_water:
            self._watch_outbox()
        return True

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when `offer` may succeed again."""
        if self._writable_callbacks is None:
            self._writable_callbacks = {}
        self._writable_callbacks[callback] = None

    def call_writable_soon(self) -> None:
        """Call what waits for `when_writable` in the next turn, if there is room."""
        if not self._writable_soon:
            self._writable_soon = True
            self._timers.call_later(0, self._call_now)

    def _call_now(self) -> None:
        self._writable_soon = False
        self._call_if_writable()

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
            self._streaming_out = False
            if self.open and not (first or complete):
                # The peer cannot be told that the message will not be completed, only that the connection ends. The
                # caller knows by the exception that is on its way.
                self._notified = True
                self.fail(CloseCode.INTERNAL_ERROR, "message was not completed")
            self._wake_changed()
            self._call_if_writable()
        self._committed(self._transport.outbox)

    async def _send_fragment(self, data: str | bytes | bytearray | memoryview, *, first: bool, final: bool) -> None:
        await self._room(within_message=True)
        self._transport.write(self._endpoint.fragment(data, first=first, final=final))
        if self._endpoint.encoder.compresses:
            self.worked(2 * len(data))
        self._watch_outbox()

    async def _room(self, *, within_message: bool = False) -> None:
        """Be a checkpoint and wait until a message may be committed, or what may stand within one (RFC 6455 5.4)."""
        await self._step()
        await self._wait_for_room(within_message=within_message)

    async def _wait_for_room(self, *, within_message: bool = False) -> None:
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

    def _committed(self, outbox: Outbox) -> None:
        self.sent += 1
        if self._clocked:
            self.message_time = trio.current_time()
        if outbox.size >= outbox.high_water:
            self._watch_outbox()

    def _watch_outbox(self) -> None:
        """While the outbox is full, look whether the peer takes something within each `send_timeout`."""
        if self._transport.outbox.full and self._send_timer is None:
            # The first look is soon, since what the peer took before it does not count.
            self._taking = DeliveryProgress()
            self._look_later(self._timeouts.send_timeout / LOOKS**2)

    def _look_later(self, seconds: float) -> None:
        self._send_timer = self._timers.call_later(seconds, self._look_at_outbox)

    def _look_at_outbox(self) -> None:
        self._send_timer = None
        progress = self._taking
        if progress is None or not self._transport.outbox.full:
            return
        now = trio.current_time()
        progress.look(self._transport, now)
        left = progress.time + self._timeouts.send_timeout - now
        if left <= 0:
            self.look()
            if self._send_timer is not None or not self._transport.outbox.full:
                return
            progress.look(self._transport, now)
            left = progress.time + self._timeouts.send_timeout - now
        if left > 0:
            self._look_later(min(left, self._timeouts.send_timeout / LOOKS))
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

    def uptake(self) -> Uptake:
        """Return how far the peer has come with what was sent."""
        return self._transport.uptake()

    def send_keepalive(self) -> bool:
        """Send a ping that nobody waits for; not behind so much that it would only add to it: then return False."""
        if self._pongs_wait:
            return False
        self._transport.write(self._endpoint.encoder.ping(b"keepalive"))
        return True

    def _hang_up(self) -> None:
        super()._hang_up()
        if self._send_timer is not None:
            self._send_timer.cancel()
