"""Commands that are sent to Redis together, each with its own outcome.

An outcome is an answer or an exception. A command that Redis refuses, or that coredis cannot send, spoils no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from trio_ws.rooms.redis.client import is_cluster, is_expected

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client

__all__ = ["Command", "alone", "together"]

logger: Final = logging.getLogger("trio_ws")

Command: TypeAlias = Callable[["Client"], Any]
"""Calls one method of a client, or of its pipeline."""


async def together(client: Client, commands: Sequence[Command]) -> Sequence[Any]:
    """Send commands together, and return the outcome of each.

    On a cluster they run in any order.

    Raises:
        Exception: the link broke.
    """
    if not commands:
        return ()
    if is_cluster(client):
        return await _beside_each_other(client, commands)
    try:
        async with client.pipeline(transaction=False, raise_on_error=False) as pipe:
            for command in commands:
                command(pipe)
        results: Sequence[Any] = pipe.results
    except Exception as error:
        if is_expected(error):
            raise
        logger.exception("a command cannot be sent to Redis: those beside it are sent one by one")
        return [await alone(client, command) for command in commands]
    return results


async def alone(client: Client, command: Command) -> Any:
    """Send one command, and return its outcome."""
    try:
        return await command(client)
    except Exception as error:
        return error


async def _beside_each_other(client: Client, commands: Sequence[Command]) -> Sequence[Any]:
    outcomes: list[Any] = [None] * len(commands)

    async def send(place: int, command: Command) -> None:
        outcomes[place] = await alone(client, command)

    async with trio.open_nursery() as nursery:
        for place, command in enumerate(commands):
            nursery.start_soon(send, place, command)
    return outcomes
