"""What readers that wrap another one have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_ws.connection.channel import ChannelReader

__all__ = ["WrappedReader"]


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
