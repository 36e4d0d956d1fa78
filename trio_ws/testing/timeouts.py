"""Patience: a test waits for its server only so long, and is told what it waited for in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import trio

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel, ChannelReader, ChannelWriter, Iteration

__all__ = ["TestTimeout", "bound_waits", "bounded_wait", "seconds_of"]


class TestTimeout(trio.TooSlowError):
    """What a test waited for did not happen within its `timeout`; the message says what that was."""

    __test__ = False


@contextmanager
def bounded_wait(seconds: float, what: str) -> Iterator[None]:
    """Bound the waiting in a block.

    Args:
        seconds: how long; infinity for ever.
        what: what is waited for, for the error's message.

    Raises:
        TestTimeout: the block took longer, and was cancelled.
    """
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TestTimeout(f"waited {seconds:g} seconds for {what} in vain")


def bound_waits(channel: Channel, seconds: float, where: str) -> None:
    """Bound the waiting for the other side in a channel's reader and writer; closing is bounded anyway.

    Args:
        channel: the channel.
        seconds: the bound of each wait.
        where: the address of the server, for the error's message.
    """
    channel.reader = cast("ChannelReader", TimeoutReader(channel.reader, seconds, where))
    channel.writer = cast("ChannelWriter", TimeoutWriter(channel.writer, seconds, where))


class TimeoutReader:
    """A reader whose waiting is bounded; all other attributes are those of the wrapped one.

    Args:
        wrapped: receives the messages.
        seconds: the bound of each wait.
        where: the address of the server, for the error's message.
    """

    __slots__ = ("_seconds", "_where", "_wrapped")

    def __init__(self, wrapped: ChannelReader, seconds: float, where: str) -> None:
        self._wrapped = wrapped
        self._seconds = seconds
        self._where = where

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message."""
        with bounded_wait(self._seconds, f"a message from {self._where}"):
            return await self._wrapped.receive(iteration)

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message, and True if it is the last."""
        with bounded_wait(self._seconds, f"a part of a message from {self._where}"):
            return await self._wrapped.receive_chunk(first=first)


class TimeoutWriter:
    """A writer whose waiting is bounded; all other attributes are those of the wrapped one.

    Args:
        wrapped: sends the messages.
        seconds: the bound of each wait.
        where: the address of the server, for the error's message.
    """

    __slots__ = ("_seconds", "_where", "_wrapped")

    def __init__(self, wrapped: ChannelWriter, seconds: float, where: str) -> None:
        self._wrapped = wrapped
        self._seconds = seconds
        self._where = where

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Send a message, once there is room."""
        with bounded_wait(self._seconds, f"room to send: {self._where} does not read"):
            await self._wrapped.send(data)

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Send a ping; with `wait`, wait for its pong."""
        with bounded_wait(self._seconds, f"a pong from {self._where}"):
            return await self._wrapped.ping(payload, wait=wait)


def seconds_of(timeout: float) -> float:
    """Return a timeout that makes sense.

    Raises:
        ValueError: it does not.
    """
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, or math.inf to wait for ever, not {timeout!r}")
    return timeout
