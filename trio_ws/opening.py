"""Opening: a server's connection until its handshake is answered. It reads the request, and is the gate to answer it.

Bytes that come behind the request are kept for the connection that the answer makes, and a client that leaves meanwhile
is noticed. What the answer is, others decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from trio_ws.channel import Gate
from trio_ws.codes import CloseCode
from trio_ws.connection import Connection
from trio_ws.errors import WebSocketDisconnect
from trio_ws.protocol import handshake
from trio_ws.protocol.extensions import accept_offer
from trio_ws.protocol.request import BadRequest, HeadReader, RequestHead
from trio_ws.protocol.response import response

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.config import Compression, Limits, Timeouts
    from trio_ws.errors import HeaderSource
    from trio_ws.protocol.handshake import Upgrade
    from trio_ws.timers import Timers
    from trio_ws.transport.interface import Transport
    from trio_ws.transport.outbox import Outbox

__all__ = ["LINGER", "Opening", "ServerGate", "Terms"]

EARLY_BYTES: Final = 64 * 1024
"""What a client may send behind its request before it is answered; then it is not read on until the answer."""
LINGER: Final = 1.0
"""Seconds that a refused client has to read why, before the connection is aborted."""


class Opening:
    """The receiver of a transport's bytes up to the answer.

    Args:
        limits: of the request's head.
    """

    __slots__ = (
        "_answered",
        "_changed",
        "_early",
        "_head",
        "_on_left",
        "_problem",
        "_reader",
        "left",
        "network_over",
    )

    def __init__(self, limits: Limits) -> None:
        self.left: bool = False
        """Whether the client has gone."""
        self.network_over: bool = False
        """Whether nothing more will arrive."""
        self._reader = HeadReader(limits)
        self._head: RequestHead | None = None
        self._problem: BadRequest | None = None
        self._early = b""
        self._answered = False
        self._on_left: Callable[[], None] | None = None
        self._changed = trio.lowlevel.ParkingLot()

    # --- what the transport calls --------------------------------------------------------------------------------

    def wants_data(self) -> bool:
        """Say whether to read on: not while more waits than is kept of a client without an answer."""
        return len(self._early) < EARLY_BYTES

    def data_received(self, data: memoryview, _: float) -> None:
        """Take a part of the request, or keep what comes behind it."""
        if self._answered or self._problem is not None:
            return
        if self._head is not None:
            self._early += data
            return
        try:
            self._head = self._reader.feed(data)
        except BadRequest as problem:
            self._problem = problem
        if self._head is not None:
            self._early = self._reader.leftover
            del self._reader  # an idle connection has no use for it
        if self._head is not None or self._problem is not None:
            self._changed.unpark_all()

    def peer_departed(self) -> None:
        """The client has left behind bytes that are not read yet."""
        self.left = True
        if self._on_left is not None:
            self._on_left()
        self._changed.unpark_all()

    def network_ended(self) -> None:
        """The client has left."""
        self.network_over = True
        self.peer_departed()

    def outbox_moved(self) -> None:
        """The client takes the last answer, which was more than the network takes at once."""
        self._changed.unpark_all()

    # --- what the server calls -----------------------------------------------------------------------------------

    async def read_head(self) -> RequestHead | None:
        """Return the head of the request, None if the client left or was refused before it was complete.

        Raises:
            BadRequest: it is none that can be answered with anything but an error.
        """
        while self._head is None and self._problem is None and not self.left and not self._answered:
            await self._changed.park()
        if self._answered:
            return None
        if self._problem is not None:
            raise self._problem
        return self._head

    def expire(self) -> None:
        """The client has had its time: what it did not ask by now is not answered."""
        if self._head is None and self._problem is None:
            self._problem = BadRequest(408, "the request took longer than open_timeout")
            self._changed.unpark_all()

    def call_when_left(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the client leaves, at once if it has."""
        self._on_left = callback
        if self.left and callback is not None:
            callback()

    def hand_over(self) -> bytes:
        """Return what came behind the request: the connection is somebody else's from now on."""
        early, self._early = self._early, b""
        del self._changed  # nobody waits here any more
        return early

    def refuse(self, transport: Transport, answer: bytes) -> None:
        """Send the last answer, unless there was one; what the client sends from now on is dropped."""
        if self._answered:
            return
        self._answered = True
        self._early = b""
        self._problem = None  # its traceback knows this object
        transport.write(answer)
        transport.finish()
        transport.resume()
        self._changed.unpark_all()

    async def linger(self, outbox: Outbox, patience: float) -> None:
        """Give the client time to take the last answer, and to read it: a reset would take it away.

        Args:
            outbox: what of the answer waits for the network.
            patience: seconds that it may wait there and not move.
        """
        while not self.network_over:
            with trio.move_on_after(patience if outbox.size else LINGER) as scope:
                await self._changed.park()
            if scope.cancelled_caught:
                break


@attrs.frozen
class Terms:
    """What holds for a connection once it is accepted."""

    limits: Limits
    timeouts: Timeouts
    compression: Compression | None


class ServerGate(Gate):
    """The answer to one upgrade request.

    Args:
        opening: what has read it.
        transport: where the answer goes.
        upgrade: the request, checked.
        terms: of the connection that a yes makes.
        timers: of that connection.
    """

    __slots__ = ("_opening", "_terms", "_timers", "_transport", "_upgrade", "answered", "connection", "status")

    def __init__(self, opening: Opening, transport: Transport, upgrade: Upgrade, terms: Terms, timers: Timers) -> None:
        self._opening = opening
        self._transport = transport
        self._upgrade = upgrade
        self._terms = terms
        self._timers = timers
        self.answered: bool = False
        """Whether an answer was given, by whomever."""
        self.status: int = 0
        self.connection: Connection | None = None
        """What a yes has made."""

    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> Connection:
        """Answer 101, and return the connection with what came early already in it."""
        agreed = None
        if self._terms.compression is not None and self._upgrade.extensions:
            agreed = accept_offer(self._upgrade.extensions, self._terms.compression)
        answer = handshake.accept(
            self._upgrade, subprotocol=subprotocol, extensions=agreed[0] if agreed else None, headers=headers
        )
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._opening.left or self.answered:
            raise WebSocketDisconnect(CloseCode.ABNORMAL_CLOSURE, "client left before the answer")
        self._opening.call_when_left(None)
        self.answered = True
        self.status = 101
        self._transport.write(answer)
        self._transport.outbox.high_water = self._terms.limits.outbox_bytes
        self.connection = connection = Connection(
            self._transport,
            client=False,
            limits=self._terms.limits,
            timeouts=self._terms.timeouts,
            timers=self._timers,
            deflate=agreed[1] if agreed else None,
        )
        early = self._opening.hand_over()
        if early:
            connection.data_received(memoryview(early), trio.current_time())
        self._transport.resume()
        return connection

    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Answer with an HTTP status."""
        answer = response(status, headers, body)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._opening.call_when_left(None)
        if not self.answered:
            self.answered = True
            self.status = status
            self._opening.refuse(self._transport, answer)
