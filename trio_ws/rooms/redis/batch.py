"""Calls that are sent to Redis together, each with its own outcome.

An outcome is an answer or an exception. A call that Redis refuses, or that coredis cannot send, affects no other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from trio_ws.rooms.redis.client import is_cluster, is_expected

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client

__all__ = ["ClientCall", "send_one", "send_together"]

logger: Final = logging.getLogger("trio_ws")

ClientCall: TypeAlias = Callable[["Client"], Any]
"""Calls one method of a client, or of its pipeline."""


async def send_together(client: Client, calls: Sequence[ClientCall]) -> Sequence[Any]:
    """Send calls together, and return the outcome of each.

    On a cluster they run in any order.

    Raises:
        Exception: the connection broke.
    """
    if not calls:
        return ()
    if is_cluster(client):
        return await _send_concurrently(client, calls)
    try:
        async with client.pipeline(transaction=False, raise_on_error=False) as pipe:
            for call in calls:
                call(pipe)
        results: Sequence[Any] = pipe.results
    except Exception as error:
        if is_expected(error):
            raise
        logger.exception("cannot send a batch to Redis, sending its calls one by one")
        return [await send_one(client, call) for call in calls]
    return results


async def send_one(client: Client, call: ClientCall) -> Any:
    """Send one call, and return its outcome."""
    try:
        return await call(client)
    except Exception as error:
        return error


async def _send_concurrently(client: Client, calls: Sequence[ClientCall]) -> Sequence[Any]:
    outcomes: list[Any] = [None] * len(calls)

    async def send(index: int, call: ClientCall) -> None:
        outcomes[index] = await send_one(client, call)

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(send, index, call)
    return outcomes
