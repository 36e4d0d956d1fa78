"""A reader whose messages are looked at before the application has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from trio_ws.connection.wrapped_reader import HoldingReader

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel, ChannelReader, Iteration

__all__ = ["Intercept", "InterceptedReader", "intercept_channel"]

Intercept: TypeAlias = "Callable[[str | bytes], Awaitable[None] | None]"
"""Returns None for a message that is the application's; else what is awaited until it is taken."""


def intercept_channel(channel: Channel, intercept: Intercept) -> None:
    """Wrap a channel's reader."""
    channel.reader = InterceptedReader(channel.reader, intercept)


class InterceptedReader(HoldingReader):
    """A reader that returns the messages that are not taken before.

    A message is held until it is taken, so that a cancelled `receive` loses none.

    Args:
        wrapped: receives the messages.
        intercept: takes messages.
    """

    __slots__ = ("_intercept",)

    def __init__(self, wrapped: ChannelReader, intercept: Intercept) -> None:
        super().__init__(wrapped)
        self._intercept = intercept

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message that is not taken, as the wrapped reader does."""
        with self.alone():
            while True:
                message = await self.wrapped.receive(iteration) if self.held is None else self.held
                taken = self._intercept(message)
                if taken is None:
                    self.held = None
                    return message
                self.held = message
                await taken
                self.held = None

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message, and True if it is the last; none is taken."""
        with self.alone():
            if self.held is not None and first:
                message, self.held = self.held, None
                return message, True
            return await self.wrapped.receive_chunk(first=first)
