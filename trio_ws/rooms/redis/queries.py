"""Queries about the streams of rooms, each of which fails alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.rooms.redis.batch import together
from trio_ws.rooms.redis.client import is_link_error, is_passing, refusal
from trio_ws.rooms.redis.records import Records

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client

__all__ = ["Queries", "Query"]

logger: Final = logging.getLogger("trio_ws")


class Query:
    """A command that asks about one room.

    Args:
        room: the room's name.
        command: names a method of clients.
        arguments: the method's.
        options: the method's.
    """

    __slots__ = ("_arguments", "_options", "command", "room")

    def __init__(self, room: str, command: str, *arguments: object, **options: object) -> None:
        self.room = room
        self.command = command
        self._arguments = arguments
        self._options = options

    def __call__(self, client: Client) -> Any:
        """Send it: by a client, or as a part of a pipeline."""
        return getattr(client, self.command)(*self._arguments, **self._options)


@attrs.frozen
class Queries:
    """Asks; see the module."""

    seconds: float
    """How long all answers may take together."""
    _unreadable: Records = attrs.field(factory=Records, init=False)

    async def ask(self, client: Client, queries: Sequence[Query]) -> Sequence[Any]:
        """Return the answers; a room that Redis does not let us read is like an empty one, and has one record.

        Raises:
            trio.TooSlowError: they have taken too long.
            Exception: the link broke, or Redis answers nothing just now.
        """
        with trio.fail_after(self.seconds):
            outcomes = await together(client, queries)
        return [self._answer(*each) for each in zip(queries, outcomes, strict=True)]

    def _answer(self, query: Query, outcome: Any) -> Any:
        if not isinstance(outcome, Exception):
            self._unreadable.ends(query.room, query.command)
            return outcome
        if is_link_error(outcome) or is_passing(outcome):
            raise outcome
        if self._unreadable.begins(query.room, query.command):
            logger.error("the room %r is not read until that changes: %s", query.room, refusal(outcome))
        return ()
