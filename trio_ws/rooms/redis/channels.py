"""Channels of Redis, over one connection that fails instead of being made anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.rooms.redis.client import Client

__all__ = ["Channels", "open_channels"]


class Channels:
    """Subscriptions to channels.

    Args:
        connection: a connection of coredis that nothing else uses.
        timeout: seconds to wait for an acknowledgement, and without a sign of life.
    """

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._expected = 0  # acknowledgements that have not come
        self._acknowledged = trio.Event()

    async def subscribe(self, *channels: bytes) -> None:
        """Subscribe to channels, and wait until Redis has; `listen` has to run.

        Raises:
            trio.TooSlowError: Redis has not.
        """
        await self._change(b"SUBSCRIBE", *channels)

    async def unsubscribe(self, *channels: bytes) -> None:
        """End subscriptions; see `subscribe`."""
        await self._change(b"UNSUBSCRIBE", *channels)

    async def _change(self, command: bytes, *channels: bytes) -> None:
        self._expected += len(channels)
        self._acknowledged = trio.Event()
        self._connection.send_command(command, *channels)
        with trio.fail_after(self._timeout):
            await self._acknowledged.wait()

    async def listen(self, on_message: Callable[[bytes, bytes], None]) -> None:
        """Call a function with the channel and the data of each message, until the connection breaks.

        Raises:
            Exception: the connection broke, or gives no sign of life.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._check_life)
            async for kind, channel, data in self._connection.push_messages:
                if kind == b"message":
                    on_message(channel, data)
                    continue
                self._expected -= 1
                if not self._expected:
                    self._acknowledged.set()
            raise ConnectionResetError("the connection for notifications has ended")

    async def _check_life(self) -> None:
        while True:
            await trio.sleep(self._timeout)
            with trio.fail_after(self._timeout):
                await self._connection.create_request(b"PING")


@asynccontextmanager
async def open_channels(client: Client, patience: float) -> AsyncGenerator[Channels, None]:
    """Hold a connection for channels within a block.

    Args:
        client: has the connection.
        patience: the `timeout` of `Channels`.

    Raises:
        ValueError: the client decodes what it reads.
    """
    if client.decode_responses:
        raise ValueError(
            "the backplane needs a client of coredis that leaves bytes as they are: decode_responses=False"
        )
    async with client.connection_pool.acquire() as connection:
        yield Channels(connection, patience)
