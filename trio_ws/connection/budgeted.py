"""A reader that receives no more than accounts allow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import trio

from trio_ws.connection.wrapped_reader import HoldingReader

if TYPE_CHECKING:
    from trio_ws.connection.channel import Channel, ChannelReader, Iteration

__all__ = ["Account", "BudgetedReader", "Over", "limit_channel"]

Over: TypeAlias = Literal["slow", "reply", "close"]
"""The outcome of a message beyond a budget: the next one waits; it is dropped, and answered; the connection ends."""


class Account(Protocol):
    """An account that pays for a connection's messages."""

    @property
    def over(self) -> Over:
        """The outcome of a message that is too early."""

    @property
    def code(self) -> int:
        """The close code under "close"."""

    async def spend(self, size: int) -> float:
        """Spend for one message; return 0.0, or the seconds that it is too early."""


MakeReply: TypeAlias = "Callable[[str | bytes, float], Awaitable[str | bytes | bytearray | memoryview]]"
"""Makes the reply to a message that is dropped, of the message and the seconds until another may pass."""

_REASON = "too many messages"


def limit_channel(channel: Channel, accounts: Sequence[Account], make_reply: MakeReply) -> None:
    """Wrap a channel's reader."""
    channel.reader = BudgetedReader(channel.reader, channel, tuple(accounts), make_reply)


class BudgetedReader(HoldingReader):
    """A reader that spends for each message before it is returned.

    A message that was taken from the wrapped reader is held until it is paid, so that a cancelled `receive` loses none.

    Args:
        wrapped: receives the messages.
        channel: the channel of the reader.
        accounts: pay for each message, in order.
        make_reply: makes the reply to one that is dropped.
    """

    __slots__ = ("_accounts", "_channel", "_make_reply", "_resume_at", "_unpaid")

    def __init__(
        self, wrapped: ChannelReader, channel: Channel, accounts: tuple[Account, ...], make_reply: MakeReply
    ) -> None:
        super().__init__(wrapped)
        self._channel = channel
        self._accounts = accounts
        self._make_reply = make_reply
        self._unpaid: tuple[Account, ...] = ()
        self._resume_at = 0.0  # from when on messages are received again

    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message that the accounts pay for, as the wrapped reader does."""
        with self.alone():
            return await self._receive(iteration)

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message, and True if it is the last; a part beyond the budget is only late."""
        with self.alone():
            return await self._receive_chunk(first=first)

    async def _receive(self, iteration: Iteration | None) -> str | bytes:
        while True:
            if self.held is None:
                await self._wait()
                self.held = await self.wrapped.receive(iteration)
                self._unpaid = self._accounts
            message = self.held
            refused = await self._pay(_size(message))
            self.held = None
            if refused is None:
                return message
            account, seconds = refused
            if account.over == "close":
                await self._end(account, iteration)
            await self._channel.writer.send(await self._make_reply(message, seconds))

    async def _receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        if self.held is not None and first:
            message, self.held = self.held, None
            return message, True
        await self._wait()
        part, last = await self.wrapped.receive_chunk(first=first)
        self._unpaid = self._accounts if first else ()
        refused = await self._pay(_size(part)) if first else None
        if refused is not None:
            account, seconds = refused
            if account.over == "close":
                await self._end(account, None)
            self._resume_at = trio.current_time() + seconds
        return part, last

    async def _wait(self) -> None:
        """Wait until a debt is paid, or the connection ends; earlier messages are received at once."""
        if trio.current_time() < self._resume_at:
            self.wrapped.reads = True
            with trio.move_on_at(self._resume_at):
                await self._channel.closing.wait_ended()
            self._resume_at = 0.0

    async def _pay(self, size: int) -> tuple[Account, float] | None:
        """Spend for the message; return the account that refuses it, with the seconds until it would not."""
        while self._unpaid:
            account = self._unpaid[0]
            seconds = await account.spend(size)
            self._unpaid = self._unpaid[1:]
            if seconds and account.over != "slow":
                self._unpaid = ()
                return account, seconds
            if seconds:
                self._resume_at = max(self._resume_at, trio.current_time() + seconds)
        return None

    async def _end(self, account: Account, iteration: Iteration | None) -> None:
        """Close the connection, and drop all further messages.

        Raises:
            WebSocketDisconnect: the end of the connection.
        """
        self._channel.closing.dismiss(account.code, _REASON)
        while True:
            await self.wrapped.receive(iteration)


def _size(message: str | bytes) -> int:
    """Return the size of a message in bytes; of a text that is not ASCII it takes one pass."""
    return len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
