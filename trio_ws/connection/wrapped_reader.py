"""Base classes of readers that wrap another reader."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trio_ws.connection.inbox import busy_receiving

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel, ChannelReader

__all__ = ["HoldingReader", "WrappedReader", "release_readers"]


class WrappedReader:
    """A reader around another one, without its receiving methods.

    Args:
        wrapped: receives the messages.
    """

    __slots__ = ("wrapped",)

    def __init__(self, wrapped: ChannelReader) -> None:
        self.wrapped: ChannelReader = wrapped

    @property
    def reads(self) -> bool:
        """True once a receiving method was called."""
        return self.wrapped.reads

    @reads.setter
    def reads(self, reads: bool) -> None:
        self.wrapped.reads = reads

    @property
    def received(self) -> int:
        """Messages that arrived."""
        return self.wrapped.received

    @received.setter
    def received(self, received: int) -> None:
        self.wrapped.received = received

    @property
    def pending(self) -> bool:
        """True if messages wait to be received."""
        return self.wrapped.pending

    def count_work(self, size: int) -> None:
        """Count work for the peer against the current task's share of the loop."""
        self.wrapped.count_work(size)


class HoldingReader(WrappedReader):
    """A reader that may hold a message which it has received, for one task.

    Args:
        wrapped: receives the messages.
    """

    __slots__ = ("_busy", "held")

    def __init__(self, wrapped: ChannelReader) -> None:
        super().__init__(wrapped)
        self.held: str | bytes | None = None
        self._busy = False  # a task receives

    @property
    def pending(self) -> bool:
        """True if messages wait to be received."""
        return self.held is not None or self.wrapped.pending

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Receive in the block.

        Raises:
            trio.BusyResourceError: another task is receiving.
        """
        if self._busy:
            raise busy_receiving()
        self._busy = True
        try:
            yield
        finally:
            self._busy = False


def release_readers(channel: Channel) -> None:
    """Remove the readers that may hold a message: they refer to the channel, and would delay its release."""
    while isinstance(channel.reader, HoldingReader):
        channel.reader = channel.reader.wrapped
    reader = channel.reader
    while isinstance(reader, WrappedReader):
        while isinstance(reader.wrapped, HoldingReader):
            reader.wrapped = reader.wrapped.wrapped
        reader = reader.wrapped
