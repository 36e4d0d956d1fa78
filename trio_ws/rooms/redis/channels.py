"""Channels of Redis, over a connection that fails instead of being made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trio_ws.rooms.redis.wire import Wire

__all__ = ["Channels"]

_NAMES: Final = 64 * 1024
"""Bytes of channels in one command: Redis holds all its acknowledgements, and ends a connection for 32 MB."""


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

    async def _change(self, word: bytes, *channels: bytes) -> None:
        self._expected += len(channels)
        self._acknowledged = trio.Event()
        for part in _parts(channels):
            self.wire.subscribe((word, *part))
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


def _parts(channels: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield parts of channels, each of one command."""
    part: list[bytes] = []
    size = 0
    for channel in channels:
        if part and size + len(channel) > _NAMES:
            yield part
            part, size = [], 0
        part.append(channel)
        size += len(channel)
    yield part
