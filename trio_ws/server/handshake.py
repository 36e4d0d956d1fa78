"""Opening: who takes the bytes of a server's connection until its handshake is answered. It reads the request.

Bytes that come behind the request are kept for the connection that the answer makes, and a client that leaves meanwhile
is noticed. What the answer is, others decide.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import current_task, reschedule, wait_task_rescheduled

from trio_ws.http.parser import MalformedRequest, RequestHead, RequestParser
from trio_ws.transport.progress import DeliveryProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.lowlevel import RaiseCancelT, Task

    from trio_ws.config import Limits
    from trio_ws.transport.base import Transport

__all__ = ["LINGER", "ServerHandshake"]

EARLY_BYTES: Final = 64 * 1024
"""What a client may send behind its request before it is answered; then it is not read on until the answer."""
LINGER: Final = 1.0
"""Seconds that a refused client has to read why, before the connection is aborted."""


class ServerHandshake:
    """The receiver of a transport's bytes up to the answer.

    Args:
        limits: of the request's head.
    """

    __slots__ = (
        "_early",
        "_head",
        "_on_left",
        "_on_moved",
        "_problem",
        "_reader",
        "_waiter",
        "answered",
        "asked_time",
        "left",
        "network_over",
    )

    def __init__(self, limits: Limits) -> None:
        self.left: bool = False
        """Whether the client has gone."""
        self.network_over: bool = False
        """Whether nothing more will arrive."""
        self.asked_time: float = -math.inf
        """When the request, or what is wrong with it, was known."""
        self._reader = RequestParser(limits)
        self._head: RequestHead | None = None
        self._problem: MalformedRequest | None = None
        self._early = b""
        self.answered: bool = False
        """Whether the last answer has been sent, or its head."""
        self._on_left: Callable[[], None] | None = None
        self._on_moved: Callable[[], None] | None = None
        self._waiter: Task | None = None  # the conversation's task, while it waits for a change

    # --- what the transport calls --------------------------------------------------------------------------------

    def wants_data(self) -> bool:
        """Say whether to read on: not while more waits than is kept of a client without an answer."""
        return len(self._early) < EARLY_BYTES

    def data_received(self, data: memoryview, now: float) -> None:
        """Take a part of the request, or keep what comes behind it."""
        if self.answered or self._problem is not None:
            return
        if self._head is not None:
            self._early += data
            return
        try:
            self._head = self._reader.feed(data)
        except MalformedRequest as problem:
            self._problem = problem
        if self._head is not None:
            self._early = self._reader.leftover
            del self._reader  # an idle connection has no use for it
        if self._head is not None or self._problem is not None:
            self.asked_time = now
            self._wake()

    def peer_closed(self) -> None:
        """The client has left behind bytes that are not read yet."""
        self.left = True
        if self._on_left is not None:
            self._on_left()
        self._wake()

    def network_ended(self) -> None:
        """The client has left."""
        self.network_over = True
        self.peer_closed()

    def outbox_moved(self) -> None:
        """The client takes the last answer, which was more than the network takes at once, or nothing any more."""
        if self._on_moved is not None:
            self._on_moved()
        self._wake()

    # --- what the server calls -----------------------------------------------------------------------------------

    async def read_head(self) -> RequestHead | None:
        """Return the head of the request, None if the client left or was refused before it was complete.

        Raises:
            MalformedRequest: it is none that can be answered with anything but an error.
        """
        while self._head is None and self._problem is None and not self.left and not self.answered:
            await self._wait()
        if self.answered:
            return None
        if self._problem is not None:
            raise self._problem
        return self._head

    def expire(self) -> None:
        """The client has had its time: what it did not ask by now is not answered."""
        if self._head is None and self._problem is None:
            self._problem = MalformedRequest(408, "the request took longer than open_timeout")
            self._wake()

    def call_when_left(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the client leaves, at once if it has."""
        self._on_left = callback
        if self.left and callback is not None:
            callback()

    def call_when_moved(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the outbox has moved, or was closed."""
        self._on_moved = callback

    def hand_over(self) -> bytes:
        """Return what came behind the request: the connection is somebody else's from now on."""
        early, self._early = self._early, b""
        return early

    def refuse(self, transport: Transport, answer: bytes) -> None:
        """Send the last answer, unless there was one; what the client sends from now on is dropped."""
        if self.begin(transport, answer):
            transport.finish()

    def begin(self, transport: Transport, head: bytes) -> bool:
        """Send the head of the last answer, unless there was one; return whether its body may follow."""
        if self.answered:
            return False
        self.answered = True
        self._early = b""
        self._problem = None  # its traceback knows this object
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
                await trio.lowlevel.checkpoint()  # a loop that was held up sees only now what the network takes
                transport.look()
                if outbox.size == waiting:
                    return False
        await trio.lowlevel.checkpoint()
        return not outbox.closed

    async def linger(self, transport: Transport, patience: float, total: float) -> None:
        """Give the client time to take the last answer, and to read it: a reset would take it away.

        A client that has said all it has to say (half-closed) still takes the answer.

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

    # --- the one task that waits ---------------------------------------------------------------------------------

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
