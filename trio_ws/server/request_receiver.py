"""The receiver of a server transport's bytes until the handshake is answered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import current_task, reschedule, wait_task_rescheduled

from trio_ws.http.head import MalformedRequest
from trio_ws.http.parser import RequestHead, RequestParser
from trio_ws.transport.progress import DeliveryProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.lowlevel import RaiseCancelT, Task

    from trio_ws.config import Limits
    from trio_ws.transport.base import Transport

__all__ = ["EARLY_BYTES", "LINGER", "RequestReceiver"]

EARLY_BYTES: Final = 64 * 1024
"""Bytes kept of what a client sends behind its request; with more, reading pauses until the answer."""
LINGER: Final = 1.0
"""Seconds that a refused client has to read the answer, before the connection is aborted."""


class RequestReceiver:
    """Reads the request's head, keeps early bytes, and sends the last HTTP answer.

    Bytes behind the request are kept for the connection that a 101 makes. A client that leaves before the answer is
    noticed.

    Args:
        limits: of the request's head.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_early",
        "_head",
        "_on_left",
        "_on_outbox_moved",
        "_parser",
        "_problem",
        "_waiter",
        "answered",
        "left",
        "network_over",
        "request_time",
    )

    def __init__(self, limits: Limits) -> None:
        self.left: bool = False
        """Whether the client has left."""
        self.network_over: bool = False
        """Whether nothing more will arrive."""
        self.answered: bool = False
        """Whether the last answer, or its head, was sent."""
        self.request_time: float = -math.inf
        """The time at which the request was complete, or found malformed, on Trio's clock."""
        self._parser = RequestParser(limits)
        self._head: RequestHead | None = None
        self._problem: MalformedRequest | None = None
        self._early = b""
        self._body: bytearray | None = None  # while it is read
        self._body_size = 0
        self._on_left: Callable[[], None] | None = None
        self._on_outbox_moved: Callable[[], None] | None = None
        self._waiter: Task | None = None  # the connection's task, while it waits for a change

    # --- called by the transport ---------------------------------------------------------------------------------

    def wants_data(self) -> bool:
        """Return False while the bytes behind the request fill their buffer, or its body is complete."""
        return len(self._early) < EARLY_BYTES if self._body is None else self.body_missing

    def data_received(self, data: memoryview, now: float) -> None:
        """Parse a part of the request, or keep what follows it."""
        if self.answered or self._problem is not None:
            return
        if self._body is not None:
            self._body += data
            self._wake()
            return
        if self._head is not None:
            self._early += data
            return
        try:
            self._head = self._parser.feed(data)
        except MalformedRequest as problem:
            self._problem = problem
        if self._head is not None:
            self._early = self._parser.leftover
            del self._parser  # an idle connection has no use for it
        if self._head is not None or self._problem is not None:
            self.request_time = now
            self._wake()

    def peer_closed(self) -> None:
        """Handle the client's end of stream, with bytes not read yet."""
        self.left = True
        if self._on_left is not None:
            self._on_left()
        self._wake()

    def network_ended(self) -> None:
        """Handle the end of the network connection."""
        self.network_over = True
        self.peer_closed()

    def outbox_moved(self) -> None:
        """Handle progress of a large last answer, or a network that takes nothing more."""
        if self._on_outbox_moved is not None:
            self._on_outbox_moved()
        self._wake()

    # --- called by the handshake ---------------------------------------------------------------------------------

    async def read_head(self) -> RequestHead | None:
        """Return the head of the request, None if the client left or was refused before it was complete.

        Raises:
            MalformedRequest: the request can only be answered with an error.
        """
        while self._head is None and self._problem is None and not self.left and not self.answered:
            await self._wait()
        if self.answered:
            return None
        if self._problem is not None:
            raise self._problem
        return self._head

    @property
    def body_missing(self) -> bool:
        """True while a part of the body that is read has not arrived."""
        return self._body is not None and len(self._body) < self._body_size

    async def read_body(self, transport: Transport, size: int) -> bytes | None:
        """Return the body of the request; None if the client left, or was answered, before it was complete.

        Args:
            transport: of the client.
            size: bytes of the body.
        """
        body = self._body = bytearray(self._early)
        self._early, self._body_size = b"", size
        transport.resume()
        while self.body_missing and not self.left:
            await self._wait()
        return None if self.answered or len(body) < size else bytes(body[:size])

    def expire(self) -> None:
        """Treat a request that is not complete as one that took too long."""
        if self._head is None and self._problem is None:
            self._problem = MalformedRequest(408, "the request took longer than open_timeout")
            self._wake()

    def call_when_left(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the client leaves, at once if it has left."""
        self._on_left = callback
        if self.left and callback is not None:
            callback()

    def call_when_moved(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the outbox has moved, or was closed."""
        self._on_outbox_moved = callback

    def take_early_bytes(self) -> bytes:
        """Return the bytes behind the request, for the connection that takes over."""
        early, self._early = self._early, b""
        return early

    def send_answer(self, transport: Transport, answer: bytes) -> None:
        """Send the last answer, unless one was sent; later bytes of the client are dropped."""
        if self.send_head(transport, answer):
            transport.finish()

    def send_head(self, transport: Transport, head: bytes) -> bool:
        """Send the head of the last answer, unless one was sent; return whether its body may follow."""
        if self.answered:
            return False
        self.answered = True
        self._early, self._body = b"", None
        self._problem = None  # its traceback refers to this object
        transport.write(head)
        transport.resume()
        self._wake()
        return True

    async def write(self, transport: Transport, piece: bytes, patience: float) -> bool:
        """Send a piece of the last answer's body, and wait for room for another.

        Args:
            transport: of the client.
            piece: of the body.
            patience: seconds in which the network must take something of what waits for it.

        Returns:
            False if it takes nothing any more.
        """
        transport.write(piece)
        outbox = transport.outbox
        while outbox.full:
            waiting = outbox.size
            with trio.move_on_after(patience) as scope:
                await self._wait()
            if scope.cancelled_caught:
                await trio.lowlevel.checkpoint()  # after a busy loop only this look shows what the network took
                transport.look()
                if outbox.size == waiting:
                    return False
        await trio.lowlevel.checkpoint()
        return not outbox.closed

    async def linger(self, transport: Transport, patience: float, total: float) -> None:
        """Wait for the client to take and read the last answer: a reset would discard it.

        A client that has half-closed still takes the answer.

        Args:
            transport: carries the answer.
            patience: seconds that the client may take nothing of it.
            total: seconds that the client may take for all of it.
        """
        progress = DeliveryProgress()
        until = progress.time + total
        progress.look(transport, progress.time)
        pending = transport.outbox.size > 0
        while transport.outbox.size or not self.network_over:
            wait = patience if pending else LINGER
            with trio.move_on_at(min(trio.current_time() + wait, until)) as scope:
                await self._wait()
            if scope.cancelled_caught:
                await trio.lowlevel.checkpoint()
                transport.look()
            now = trio.current_time()
            uptake = progress.look(transport, now)
            if now >= until or (scope.cancelled_caught and progress.time < now):
                break
            pending = uptake.pending if scope.cancelled_caught else transport.outbox.size > 0

    # --- the one waiting task ------------------------------------------------------------------------------------

    async def _wait(self) -> None:
        self._waiter = current_task()
        await wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: RaiseCancelT) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            reschedule(waiter)
