"""The delivery of a room's entries to the members in this process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from trio_ws.connection.many import offer_to_each
from trio_ws.rooms.orders import parse_order

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.rooms.backplane import Entry, SeenAhead
    from trio_ws.rooms.member_queue import MemberQueue
    from trio_ws.rooms.stamps import Stamper
    from trio_ws.websocket.websocket import WebSocket

__all__ = ["Delivery"]

logger: Final = logging.getLogger("trio_ws")


class Delivery:
    """The queues of a room's members, and the entries that some of them have already.

    Args:
        stamper: makes the messages from entries.
    """

    __slots__ = ("_queues", "_seen_ahead", "_stamper")

    def __init__(self, stamper: Stamper) -> None:
        self._queues: dict[WebSocket, MemberQueue] = {}
        self._seen_ahead: dict[MemberQueue, SeenAhead] = {}  # of members that have some of the entries to come
        self._stamper = stamper

    def __iter__(self) -> Iterator[MemberQueue]:
        return iter(self._queues.values())

    def __getitem__(self, websocket: WebSocket) -> MemberQueue:
        return self._queues[websocket]

    def add(self, websocket: WebSocket, queue: MemberQueue, ahead: SeenAhead | None) -> None:
        """Add a member.

        Args:
            websocket: its connection.
            queue: its queue.
            ahead: entries to come that it has already; None if there is none.
        """
        self._queues[websocket] = queue
        if ahead is not None:
            self._seen_ahead[queue] = ahead

    def remove(self, websocket: WebSocket) -> None:
        """Remove a member, and drop the messages that wait for it."""
        queue = self._queues.pop(websocket)
        self._seen_ahead.pop(queue, None)
        queue.clear()

    def deliver(self, entry: Entry, *, hold: bool) -> None:
        """Send an entry to the members, or let it wait in their queues; carry out an order.

        Args:
            entry: the entry.
            hold: whether more follows at once, so that messages leave in few system calls.
        """
        if entry.order:
            self._carry_out(entry)
            return
        common, exclude, seen_ahead = self._stamper.message_for(entry), entry.exclude, self._seen_ahead
        if common is None:
            return
        ready: list[MemberQueue] = []
        for queue in self._queues.values():
            if exclude and queue.member_id in exclude:
                continue
            if seen_ahead and queue in seen_ahead:
                self._deliver_unseen(queue, entry, hold=hold)
            elif queue.backlog:
                queue.enqueue(common)
            else:
                ready.append(queue)
        for position in offer_to_each([queue.channel.writer for queue in ready], common, hold=hold):
            ready[position].enqueue(common)

    def _deliver_unseen(self, queue: MemberQueue, entry: Entry, *, hold: bool) -> None:
        """Send a member the part of an entry that it does not have already."""
        message = self._unseen_message(queue, entry)
        if message is not None and (queue.backlog or not queue.channel.writer.offer(message, hold=hold)):
            queue.enqueue(message)

    def _carry_out(self, entry: Entry) -> None:
        """Close the connections of members, unless an order was carried out for them in another process."""
        unseen = [
            queue
            for queue in self._queues.values()
            if queue not in self._seen_ahead or self._unseen(queue, entry) is not None
        ]
        try:
            order = parse_order(entry.message.data)
        except ValueError as error:
            logger.warning("order %s of a room is left out: %s", entry.id, error)
            return
        for queue in unseen:
            if order.concerns(queue.member_id):
                queue.disconnect(order.code, order.reason)

    def _unseen_message(self, queue: MemberQueue, entry: Entry) -> PreparedMessage | None:
        """Return the message for a member; None if it has that already."""
        unseen = self._unseen(queue, entry)
        return None if unseen is None else self._stamper.message_for(unseen)

    def _unseen(self, queue: MemberQueue, entry: Entry) -> Entry | None:
        """Return the entry for a member; None if it has that already."""
        seen = self._seen_ahead[queue]
        taken = seen.take(entry)
        if seen.is_exhausted:
            del self._seen_ahead[queue]
        return taken
