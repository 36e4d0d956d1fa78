"""What a transport owes the connection above it, and what the connection owes the transport.

All calls are synchronous and run to their end without another task in between: that is why a frame cannot be torn.
Only `aclose`, which waits for the transport's own tasks, is asynchronous.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from trio_ws.runtime.log import ConnectionLog
from trio_ws.transport.outbox import Buffer, Outbox
from trio_ws.transport.socket_options import Uptake, uptake_of

if TYPE_CHECKING:
    import trio

__all__ = ["Receiver", "Transport"]


class Receiver(Protocol):
    """Who takes what a transport reads: first the opening handshake, then the connection."""

    def wants_data(self) -> bool:
        """Say whether more bytes may be read now. After a False, call `Transport.resume` when that has changed."""

    def data_received(self, data: memoryview, now: float, /) -> None:
        """Take `data`, read at the time `now` of Trio's clock. Its memory is used again as soon as this returns."""

    def peer_departed(self) -> None:
        """The peer will send no more, though bytes that it has sent are still unread because nobody wants them."""

    def network_ended(self) -> None:
        """Nothing more will be read: end of stream or reset. Called at most once."""

    def outbox_moved(self) -> None:
        """The network took bytes that had waited in the outbox, or takes nothing any more: the outbox is closed."""


class _NullReceiver:
    """Who hears of a transport that is closed: its receiver is let go of, so that memory does not wait for a cycle."""

    def wants_data(self) -> bool:
        return False

    def data_received(self, data: memoryview, now: float, /) -> None:
        pass

    def peer_departed(self) -> None:
        pass

    def network_ended(self) -> None:
        pass

    def outbox_moved(self) -> None:
        pass


NULL_RECEIVER: Final[Receiver] = _NullReceiver()


class Transport(ABC):
    """One network connection.

    Attributes:
        outbox: what waits to be written.
        receiver: who is told of what arrives. Set it before `start`; it may be exchanged between two calls.
        log: says in the records about it which connection it is; None until somebody knows.
    """

    __slots__ = ("log", "outbox", "receiver")

    closes_at_once: ClassVar[bool] = False
    """Whether nothing is left of the network connection when `close` returns."""
    log: ConnectionLog | None
    outbox: Outbox
    receiver: Receiver

    @property
    def established(self) -> bool:
        """Whether what is written can reach the peer: not before TLS's handshake is done."""
        return True

    @property
    def step_time(self) -> float:
        """When TLS's handshake last took a step, on Trio's clock: an answer to the peer, or its end."""
        return -math.inf

    @abstractmethod
    def start(self, nursery: trio.Nursery) -> None:
        """Begin to work. Tasks that are needed run in `nursery` and end by themselves after `close`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close, and wait until nothing of the transport is left. It is shielded from cancellation and bounded."""

    @abstractmethod
    def write(self, data: Buffer, *, hold: bool = False) -> None:
        """Commit `data`: it will be sent whole and in order, or the connection ends.

        Args:
            data: bytes that must not change.
            hold: more is likely to follow: wait for it, until the end of this scheduler turn at most.
        """

    @abstractmethod
    def flush(self) -> None:
        """Hand what is held back to the network now, as far as the transport can without waiting."""

    @abstractmethod
    def resume(self) -> None:
        """Read on: the receiver wants data again."""

    def look(self) -> bool:
        """Read and write once what can be without waiting, before a deadline judges; return False to look again later.

        A transport whose own task reads has done so by the time a deadline comes.
        """
        return True

    @abstractmethod
    def finish(self) -> None:
        """Half-close once the outbox is empty: the peer sees the end of the stream after all that was written."""

    @abstractmethod
    def close(self) -> None:
        """End the network connection now, dropping what was not sent. The receiver hears nothing more."""

    def uptake(self) -> Uptake:
        """Return how far the peer has come with what was written. It may ask the kernel: not for each message."""
        return uptake_of(None, self.outbox.size, self.outbox.written)

    def give_up(self) -> None:
        """Log the error that is being handled, and end this one connection as if the network had ended.

        What a transport's task calls must not raise; if it does all the same (memory is short, say), the task, and with
        it every other connection, lives on.
        """
        (self.log or ConnectionLog(0, None)).exception("error in the connection %s: it is ended, others go on")
        with contextlib.suppress(Exception):  # it says no more than the first
            self.receiver.network_ended()
        self.close()
