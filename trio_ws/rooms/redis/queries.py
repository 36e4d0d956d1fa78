"""Queries about the streams of rooms, each of which fails alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from trio_ws.rooms.redis.batch import send_together
from trio_ws.rooms.redis.calls import run_scripts
from trio_ws.rooms.redis.client import is_cluster, is_connection_error, is_transient, refusal_from
from trio_ws.rooms.redis.command import ScriptCall, list_of_outcomes
from trio_ws.rooms.redis.faults import OngoingFaults

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client

__all__ = ["Query", "QueryRunner", "ScriptQuery"]

logger: Final = logging.getLogger("trio_ws")

_ROOMS: Final = 128
"""Rooms about which one call asks, so that Redis serves others in between: it takes some microseconds for each."""


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
class ScriptQuery:
    """One room's part in a script that asks about many rooms."""

    room: str
    method: str
    """Names the query in the log."""
    key: str
    arguments: tuple[str | int, ...]


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

    async def run_script(
        self, client: Client, script: str, common: tuple[int, ...], queries: Sequence[ScriptQuery]
    ) -> Sequence[Any]:
        """Return the answers of a script that has one for each of its keys; see `run`.

        Args:
            client: runs it, for many rooms in one call, or in a cluster for each in its own.
            script: the script.
            common: its first arguments.
            queries: the keys, and the arguments for each.

        Raises:
            trio.TooSlowError: they took too long.
            Exception: the connection broke, or Redis answers nothing just now.
        """
        size = 1 if is_cluster(client) else _ROOMS
        parts = [queries[start : start + size] for start in range(0, len(queries), size)]
        calls = [
            ScriptCall(
                part[0].room,
                script,
                [query.key for query in part],
                [*common, *chain.from_iterable(query.arguments for query in part)],
            )
            for part in parts
        ]
        with trio.fail_after(self.seconds):
            found = await run_scripts(client, calls)
        outcomes = chain.from_iterable(
            list_of_outcomes(outcome, len(part)) for part, outcome in zip(parts, found, strict=True)
        )
        return [self._answer(query, outcome) for query, outcome in zip(queries, outcomes, strict=True)]

    def note_readable(self, rooms: Iterable[str]) -> None:
        """Note that Redis would have read rooms, but there was nothing to read."""
        if self._unreadable:
            for room in rooms:
                self._unreadable.ends(room, "xread")

    def _answer(self, query: Query | ScriptQuery, outcome: Any) -> Any:
        if not isinstance(outcome, Exception):
            self._unreadable.ends(query.room, query.method)
            return outcome
        if is_connection_error(outcome) or is_transient(outcome):
            raise outcome
        if self._unreadable.begins(query.room, query.method):
            logger.error("room %r is not read until this changes: %s", query.room, refusal_from(outcome))
        return ()
