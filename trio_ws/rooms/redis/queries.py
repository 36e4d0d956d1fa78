"""Queries about the streams of rooms, each of which fails alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.rooms.redis.batch import send_together
from trio_ws.rooms.redis.client import is_connection_error, is_transient, refusal_from
from trio_ws.rooms.redis.faults import OngoingFaults

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client

__all__ = ["Query", "QueryRunner"]

logger: Final = logging.getLogger("trio_ws")


class Query:
    """A call of a client's method that asks about one room.

    Args:
        room: the room's name.
        method: the name of the method.
        arguments: the method's.
        options: the method's.
    """

    __slots__ = ("_arguments", "_options", "method", "room")

    def __init__(self, room: str, method: str, *arguments: object, **options: object) -> None:
        self.room: str = room
        self.method: str = method
        self._arguments = arguments
        self._options = options

    def __call__(self, client: Client) -> Any:
        """Send the query, by a client or in a pipeline."""
        return getattr(client, self.method)(*self._arguments, **self._options)


@attrs.frozen
class QueryRunner:
    """Runs queries, and logs which rooms cannot be read."""

    seconds: float
    """How long all answers may take together."""
    _unreadable: OngoingFaults = attrs.field(factory=OngoingFaults, init=False)

    async def run(self, client: Client, queries: Sequence[Query]) -> Sequence[Any]:
        """Return the answers to queries.

        If Redis refuses to read a room, its answer is empty, and the refusal is logged once.

        Raises:
            trio.TooSlowError: they took too long.
            Exception: the connection broke, or Redis answers nothing just now.
        """
        with trio.fail_after(self.seconds):
            outcomes = await send_together(client, queries)
        return [self._answer(*each) for each in zip(queries, outcomes, strict=True)]

    def _answer(self, query: Query, outcome: Any) -> Any:
        if not isinstance(outcome, Exception):
            self._unreadable.ends(query.room, query.method)
            return outcome
        if is_connection_error(outcome) or is_transient(outcome):
            raise outcome
        if self._unreadable.begins(query.room, query.method):
            logger.error("room %r is not read until this changes: %s", query.room, refusal_from(outcome))
        return ()
