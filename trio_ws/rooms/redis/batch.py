"""Calls that are sent to Redis together, each with its own outcome.

An outcome is an answer or an exception. A call that Redis refuses, or that coredis cannot send, affects no other.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import trio

from trio_ws.rooms.redis.client import is_answer, is_cluster, is_expected

if TYPE_CHECKING:
    from trio_ws.rooms.redis.client import Client

__all__ = ["ClientCall", "HeldClient", "held", "send_one", "send_together"]

logger: Final = logging.getLogger("trio_ws")

_CONNECTIONS: Final = 4
"""Of a client that has one to hold: three are for channels, reading and the presence."""

ClientCall: TypeAlias = Callable[["Client"], Any]
"""Calls one method of a client, or of its pipeline."""


@attrs.frozen
class HeldClient:
    """A client, and a connection that one task holds to send its calls: to ask the pool each time costs a fifth."""

    client: Client
    connection: Any

    async def send(self, calls: Sequence[ClientCall]) -> Sequence[Any]:
        """Send calls together, and return the outcome of each.

        Raises:
            Exception: the connection broke, or coredis cannot send one of them.
        """
        commands = [call(self.client) for call in calls]
        responses = await self.connection.create_request_batch(commands)
        for response in responses:
            if isinstance(response, BaseException) and not is_answer(response):
                raise response
        return [
            response if isinstance(response, BaseException) else command.callback(response)
            for command, response in zip(commands, responses, strict=True)
        ]


@asynccontextmanager
async def held(client: Client) -> AsyncGenerator[Client, None]:
    """Hold a connection of a client within a block, unless it has too few, or is that of a cluster."""
    if is_cluster(client) or client.connection_pool.max_connections < _CONNECTIONS:
        yield client
        return
    async with client.connection_pool.acquire() as connection:
        yield HeldClient(client, connection) if hasattr(connection, "create_request_batch") else client


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
        if isinstance(client, HeldClient):
            if client.connection.usable:
                return await client.send(calls)
            client = client.client
        async with client.pipeline(transaction=False, raise_on_error=False) as pipe:
            for call in calls:
                call(pipe)
        results: Sequence[Any] = pipe.results
    except Exception as error:
        if is_expected(error):
            raise
        logger.exception("cannot send a batch to Redis, sending its calls one by one")
        client = client.client if isinstance(client, HeldClient) else client
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
