"""Time limits for tests that wait for their server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel, ChannelReader, ChannelWriter, Iteration

__all__ = ["TestTimeout", "bound_waits", "bounded_wait", "check_timeout"]

Part = TypeVar("Part")


class TestTimeout(trio.TooSlowError):
    """A wait of a test exceeded its `timeout`; the message names the awaited event.

    Example:
        async with app.test_client(timeout=1) as client, client.websocket_connect("/silent") as ws:
            with pytest.raises(TestTimeout, match="after 1 s"):
                await ws.receive()
    """

    __test__ = False


@contextmanager
def bounded_wait(seconds: float, event: str) -> Iterator[None]:
    """Bound the waiting in a block.

    Args:
        seconds: the timeout; infinity for none.
        event: the awaited event, for the error's message.

    Raises:
        TestTimeout: the block took longer, and was cancelled.
    """
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TestTimeout(f"timed out after {seconds:g} s waiting for {event}")


def bound_waits(channel: Channel, seconds: float, where: str) -> None:
    """Bound the waiting for the other side in a channel's reader and writer; closing is bounded anyway.

    Args:
        channel: the channel.
        seconds: the bound of each wait.
        where: the address of the server, for the error's message.
    """
    channel.reader = cast("ChannelReader", TimeoutReader(channel.reader, seconds, where))
    channel.writer = cast("ChannelWriter", TimeoutWriter(channel.writer, seconds, where))


class _TimeoutPart(Generic[Part]):
    """A part of a channel whose waiting is bounded; all other attributes are those of the wrapped one.

    Args:
        wrapped: reads or writes the messages.
        seconds: the bound of each wait.
        where: the address of the server, for the error's message.
    """

    __slots__ = ("_seconds", "_where", "_wrapped")

    def __init__(self, wrapped: Part, seconds: float, where: str) -> None:
        self._wrapped = wrapped
        self._seconds = seconds
        self._where = where

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class TimeoutReader(_TimeoutPart["ChannelReader"]):
    """A reader whose waiting is bounded."""

    __slots__ = ()

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message."""
        with bounded_wait(self._seconds, f"a message from {self._where}"):
            return await self._wrapped.receive(iteration)

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message, and True if it is the last."""
        with bounded_wait(self._seconds, f"a part of a message from {self._where}"):
            return await self._wrapped.receive_chunk(first=first)


class TimeoutWriter(_TimeoutPart["ChannelWriter"]):
    """A writer whose waiting is bounded."""

    __slots__ = ()

    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then send a message."""
        with bounded_wait(self._seconds, f"room to send: {self._where} does not read"):
            await self._wrapped.send(data)

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Send a ping; if `wait`, wait for its pong and return the seconds between."""
        with bounded_wait(self._seconds, f"a pong from {self._where}"):
            return await self._wrapped.ping(payload, wait=wait)


def check_timeout(timeout: float) -> float:
    """Return the timeout if it is valid.

    Raises:
        TypeError: the timeout is no number.
        ValueError: the timeout is not more than 0.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout takes a number of seconds, or math.inf to wait forever, not {timeout!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, or math.inf to wait forever, not {timeout!r}")
    return timeout
