"""The interface between a transport and its receiver.

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
from trio_ws.transport.socket_options import AnySocket, Uptake, get_uptake

if TYPE_CHECKING:
    import trio

__all__ = ["Receiver", "Transport"]


class Receiver(Protocol):
    """The consumer of a transport's input: the opening handshake, later the connection."""

    def wants_data(self) -> bool:
        """Return whether more bytes may be read now.

        After False, call `Transport.resume` when that has changed.
        """

    def data_received(self, data: memoryview, now: float, /) -> None:
        """Process `data`, read at the time `now` of Trio's clock.

        Its memory is reused as soon as this returns.
        """

    def peer_closed(self) -> None:
        """Note that the peer has closed its side while reading is paused.

        There may be unread bytes before the end.
        """

    def network_ended(self) -> None:
        """Note that nothing more will be read: end of stream or reset.

        Called at most once.
        """

    def outbox_moved(self) -> None:
        """Note that the outbox has drained by some bytes, or was closed.

        It is closed when the network takes nothing any more.
        """


class _NullReceiver:
    """A receiver that ignores everything, for a closed transport.

    It replaces the real one, so that closing breaks their reference cycle.
    """

    def wants_data(self) -> bool:
        return False

    def data_received(self, data: memoryview, now: float, /) -> None:
        pass

    def peer_closed(self) -> None:
        pass

    def network_ended(self) -> None:
        pass

    def outbox_moved(self) -> None:
        pass


NULL_RECEIVER: Final[Receiver] = _NullReceiver()


class Transport(ABC):
    """One network connection.

    Attributes:
        outbox: data that waits to be written.
        receiver: the consumer of input. Set it before `start`; it may be exchanged between two calls.
        log: logger of the connection; None before it has a number.
    """

    if not TYPE_CHECKING:
        __slots__ = ()  # each transport has slots of its own for the attributes: one has them in C

    closes_at_once: ClassVar[bool] = False
    """Whether nothing is left of the network connection when `close` returns."""
    log: ConnectionLog | None
    outbox: Outbox
    receiver: Receiver

    @property
    def established(self) -> bool:
        """Whether written data can reach the peer.

        False before TLS's handshake is done.
        """
        return True

    @property
    def step_time(self) -> float:
        """The time of the last step of TLS's handshake, on Trio's clock.

        A step is an answer to the peer, or its end.
        """
        return -math.inf

    @property
    def sock(self) -> AnySocket | None:
        """The socket below, None without one and once it is closed."""
        return None

    @abstractmethod
    def start(self, nursery: trio.Nursery) -> None:
        """Begin to read and write.

        Tasks that are needed run in `nursery` and end by themselves after `close`.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close, and wait until nothing of the transport is left.

        It is shielded from cancellation and bounded in time.
        """

    @abstractmethod
    def write(self, data: Buffer, *, hold: bool = False) -> None:
        """Commit `data` to be sent whole and in order.

        If that fails, the connection ends.

        Args:
            data: bytes that must not change.
            hold: more is likely to follow: wait for it, until the end of this scheduler turn at most.
        """

    @abstractmethod
    def flush(self) -> None:
        """Pass held-back data to the network now, without waiting."""

    @abstractmethod
    def resume(self) -> None:
        """Continue reading: the receiver wants data again."""

    def look(self) -> bool:
        """Read and write once without waiting, before a deadline takes effect.

        A transport whose own task reads has done so by the time a deadline fires.

        Returns:
            False to be called again in the next turn.
        """
        return True

    def read_at_once(self) -> None:  # noqa: B027 - streams have a task for it, and TLS its handshake
        """Read what has arrived, if that needs no other task."""

    @abstractmethod
    def finish(self) -> None:
        """Half-close once the outbox is empty.

        The peer sees the end of the stream after all that was written.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the network connection now and drop unsent data.

        The receiver gets no further calls.
        """

    def uptake(self) -> Uptake:
        """Return how much the peer has taken of the written data.

        It may be a system call: do not call it for each message.
        """
        return get_uptake(None, self.outbox.size, self.outbox.written)

    def give_up(self) -> None:
        """Log the current exception and end this connection as lost.

        A receiver must not raise. If it does all the same (memory is short, say), the transport's task, and with it
        every other connection, goes on.
        """
        (self.log or ConnectionLog(0, None)).exception("unexpected error in connection %s, closing it")
        with contextlib.suppress(Exception):  # a second error has no news
            self.receiver.network_ended()
        self.close()
