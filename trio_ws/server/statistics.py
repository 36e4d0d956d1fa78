"""Counts of a server's connections and messages, summed on request.

Connections count their own messages; `Counters` has the totals of those that have ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Protocol

import attrs

from trio_ws.codes import CloseCode

if TYPE_CHECKING:
    from trio_ws.protocol.endpoint import CloseInfo

__all__ = ["ConnectionCounters", "Counters", "Statistics"]


class ConnectionCounters(Protocol):
    """The counts of an accepted WebSocket, ours or ASGI's."""

    @property
    def received(self) -> int:
        """Messages that arrived."""

    @property
    def sent(self) -> int:
        """Messages that were committed."""

    @property
    def close_info(self) -> CloseInfo | None:
        """How it ended; None while it is open."""

    @property
    def inbox_messages(self) -> int:
        """Received messages that wait for the handler."""

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait for the network."""


@attrs.frozen(kw_only=True)
class Statistics:
    """Counts of a server, since its start and now.

    Bytes are not counted: that would cost time for each message, and proxies and the kernel do it anyway.
    """

    connections: int
    """Network connections now."""
    websockets: int
    """Accepted WebSockets that have not ended."""
    accepted: int
    """WebSockets accepted so far."""
    refused: int
    """Network connections that ended without a WebSocket."""
    messages_received: int
    """Messages received so far."""
    messages_sent: int
    """Messages sent so far."""
    handler_errors: int
    """Handlers that ended with an unhandled error."""
    closed: Mapping[int, int] = attrs.field(factory=dict)
    """Ended WebSockets by close code: that of the first close frame in either direction, 1006 if there was none."""
    responses: Mapping[int, int] = attrs.field(factory=dict)
    """Pages and refusals by HTTP status, counted when their connections have ended."""
    inbox_messages: int = 0
    """Received messages that wait for their handlers now."""
    outbox_bytes: int = 0
    """Sent bytes that wait for the network now."""
    over_budget: Mapping[str, int] = attrs.field(factory=dict)
    """Messages beyond a `Budget`, by what happened to them: "slow", "reply" or "close"."""


class Counters:
    """The totals of ended connections."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._closed: Counter[int] = Counter()
        self._responses: Counter[int] = Counter()

    def add(self, connection: ConnectionCounters | None, status: int, error: Exception | None) -> None:
        """Count an ended network connection.

        Args:
            connection: the accepted WebSocket, None without one.
            status: the HTTP status of another answer, 0 for none.
            error: an unhandled error, None without one.
        """
        totals = self._totals
        totals["handler_errors"] += error is not None
        if connection is None:
            totals["refused"] += 1
            if status:
                self._responses[status] += 1
            return
        totals["accepted"] += 1
        totals["received"] += connection.received
        totals["sent"] += connection.sent
        end = connection.close_info
        self._closed[int(CloseCode.ABNORMAL_CLOSURE if end is None else end.code)] += 1

    def statistics(
        self, connections: int, websockets: Collection[ConnectionCounters], over_budget: Mapping[str, int]
    ) -> Statistics:
        """Return the totals, with the counts of open network connections and WebSockets, and of the application."""
        totals = self._totals
        return Statistics(
            connections=connections,
            websockets=len(websockets),
            accepted=totals["accepted"] + len(websockets),
            refused=totals["refused"],
            messages_received=totals["received"] + sum(each.received for each in websockets),
            messages_sent=totals["sent"] + sum(each.sent for each in websockets),
            handler_errors=totals["handler_errors"],
            closed=dict(self._closed),
            responses=dict(self._responses),
            inbox_messages=sum(each.inbox_messages for each in websockets),
            outbox_bytes=sum(each.outbox_bytes for each in websockets),
            over_budget=dict(over_budget),
        )
