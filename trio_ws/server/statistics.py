"""Statistics: what a server has done so far. It is summed when somebody asks, so that no message pays for it.

Connections count their own messages; here are the totals of those that are over.
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
    """What of an accepted WebSocket is counted, whoever reads and writes its frames."""

    @property
    def received(self) -> int:
        """Messages that arrived."""

    @property
    def sent(self) -> int:
        """Messages that were committed."""

    @property
    def close_info(self) -> CloseInfo | None:
        """How it ended."""

    @property
    def inbox_messages(self) -> int:
        """Messages that wait."""

    @property
    def outbox_bytes(self) -> int:
        """Bytes that wait for the network."""


@attrs.frozen(kw_only=True)
class Statistics:
    """What a server has done so far, and does now.

    Bytes are not counted: that would cost something for each message, and whoever is in front of the server, or the
    kernel, does it anyway.
    """

    connections: int
    """Network connections now."""
    websockets: int
    """Accepted WebSockets that are not over."""
    accepted: int
    """WebSockets accepted so far."""
    refused: int
    """Network connections that ended without a WebSocket."""
    messages_received: int
    messages_sent: int
    handler_errors: int
    """Handlers that ended with an error nobody foresaw."""
    closed: Mapping[int, int] = attrs.field(factory=dict)
    """WebSockets that are over, by close code: that of the first close frame either way, 1006 if there was none."""
    answered: Mapping[int, int] = attrs.field(factory=dict)
    """Requests that were answered with an HTTP status, by that status: pages and refusals, over or not counted yet."""
    inbox_messages: int = 0
    """Messages that have arrived and wait for their handlers now."""
    outbox_bytes: int = 0
    """Bytes that were sent and wait for the network now."""


class Counters:
    """The totals of the connections that are over."""

    def __init__(self) -> None:
        self._totals: Counter[str] = Counter()
        self._closed: Counter[int] = Counter()
        self._answered: Counter[int] = Counter()

    def add(self, connection: ConnectionCounters | None, status: int, error: Exception | None) -> None:
        """Count a network connection that is over.

        Args:
            connection: what an accepted WebSocket was.
            status: the HTTP status that was answered otherwise, 0 for none.
            error: what nobody foresaw.
        """
        totals = self._totals
        totals["handler_errors"] += error is not None
        if connection is None:
            totals["refused"] += 1
            if status:
                self._answered[status] += 1
            return
        totals["accepted"] += 1
        totals["received"] += connection.received
        totals["sent"] += connection.sent
        end = connection.close_info
        self._closed[int(CloseCode.ABNORMAL_CLOSURE if end is None else end.code)] += 1

    def statistics(self, connections: int, websockets: Collection[ConnectionCounters]) -> Statistics:
        """Return the totals together with what is there now: network connections, and the accepted ones of them."""
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
            answered=dict(self._answered),
            inbox_messages=sum(each.inbox_messages for each in websockets),
            outbox_bytes=sum(each.outbox_bytes for each in websockets),
        )
