"""Channels of Redis, over a connection that fails instead of being made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.rooms.redis.wire import Wire

__all__ = ["Channels"]


class Channels:
    """Subscriptions to channels.

    Args:
        wire: a connection.
        timeout: seconds to wait for an acknowledgement.
    """

    def __init__(self, wire: Wire, timeout: float) -> None:
        self.wire: Wire = wire
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

    async def _change(self, *words: bytes) -> None:
        self._expected += len(words) - 1
        self._acknowledged = trio.Event()
        self.wire.subscribe(words)
        with trio.fail_after(self._timeout):
            await self._acknowledged.wait()

    async def listen(self, on_message: Callable[[bytes, bytes], None]) -> None:
        """Call a function with the channel and the data of each message, until the connection breaks.

        Raises:
            Exception: the connection broke, or gives no sign of life.
        """

        def on_push(pushed: list[Any]) -> None:
            match pushed:
                case [b"message", channel, data]:
                    on_message(channel, data)
                case [b"subscribe" | b"unsubscribe", *_]:
                    self._expected -= 1
                    if not self._expected:
                        self._acknowledged.set()

        await self.wire.run(on_push)
