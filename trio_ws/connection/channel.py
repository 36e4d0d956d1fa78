"""The small interface under `WebSocket`: a Gate before the handshake is answered, a Channel after.

Two pairs exist: our own connection over a transport, and the ASGI one. The application layer cannot tell them apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

import trio

from trio_ws.codes import CloseCode
from trio_ws.errors import WebSocketDisconnect

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable

    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.errors import HeaderSource, WebSocketDisconnect
    from trio_ws.protocol.endpoint import CloseInfo

__all__ = [
    "HANDSHAKE_OVER",
    "Channel",
    "ConnectionObserver",
    "Iteration",
    "PendingHandshake",
    "disconnect_of",
    "end_for",
]


class Iteration(Protocol):
    """Who goes through the messages of a connection until it ends."""

    # The object itself is given to `Channel.receive`: its bound method would be one more in each idle connection.
    def _is_good(self, code: int) -> bool:
        """Say whether a connection that ended with `code` has come to a good end."""


class ConnectionObserver(Protocol):
    """Who is told of the end of a connection, and of what its users do then: the disconnect rule."""

    def ended(self, why: str, *, waited_for: bool) -> None:
        """The connection has ended, or its peer has left, and not because a user called `close`. Called once.

        Args:
            why: for people.
            waited_for: some task was waiting for something of the connection, and is about to be told.
        """

    def draining(self, *, waited_for: bool) -> None:
        """The server says goodbye, and its users have their grace, whatever the peer does. Called instead of `ended`.

        Args:
            waited_for: as in `ended`.
        """

    def left(self, why: str) -> None:
        """The peer that the server said goodbye to is gone: it has answered, or its time is over.

        Args:
            why: for people.
        """

    def told(self) -> None:
        """A user was told of the end by an exception or a return value."""

    def reading(self) -> None:
        """A user, not told yet, asks for what had arrived before the end."""


class Channel(ABC):
    """An open connection, as the parts above need it.

    Attributes:
        watcher: told of the end of the connection.
        reads: whether somebody has called a receiving method so far.
        callbacks: how many callbacks of a listener's are at work on a message.
        received: messages that arrived so far, 0 where nobody counts.
        sent: messages that were committed so far, likewise.
    """

    __slots__ = ("callbacks", "reads", "watcher")

    watcher: ConnectionObserver | None
    reads: bool
    callbacks: int
    received: int = 0
    sent: int = 0

    @property
    def origin(self) -> object:
        """The mark of this connection's disconnects; a wrapper has that of the channel below it."""
        return self

    @property
    @abstractmethod
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; None while messages may be sent."""

    @property
    def departed(self) -> bool:
        """Whether the peer has left, however much of what it sent is yet to be received."""
        return self.close_info is not None

    @property
    def gone(self) -> bool:
        """Whether the network connection has ended, as far as that is known: then nothing is left to wait for."""
        return False

    @property
    @abstractmethod
    def pending(self) -> bool:
        """Whether messages wait that nobody has received."""

    @abstractmethod
    async def receive(self, iteration: Iteration | None = None) -> str | bytes:
        """Return the next message; raise `WebSocketDisconnect` when there will be none.

        Args:
            iteration: who iterates: if it calls the close code a good end, `StopAsyncIteration` is raised instead.
        """

    @abstractmethod
    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message and whether it is the last; `first` begins a new message."""

    @abstractmethod
    def worked(self, size: int) -> None:
        """Count `size` bytes of work that was done for the peer within the current task's step.

        With the messages that were received and sent it decides when `receive` and `send` let other tasks run.
        """

    @abstractmethod
    async def send(self, data: str | bytes | bytearray | memoryview) -> None:
        """Wait for room, then commit one message; raise `WebSocketDisconnect` if the connection has ended."""

    @abstractmethod
    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Send one message in fragments as `chunks` come; no other message gets between them."""

    @abstractmethod
    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room for it now; return False if there is not.

        It waits for nothing, and tells nobody of the end: a connection that has ended takes everything, and drops it.

        Args:
            message: encoded once for all connections where it can be.
            hold: more will follow within this scheduler turn.
        """

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return the encoder's `kind` of a whole message of `size` bytes; None where frames are not made here."""
        return None

    @abstractmethod
    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback`, which may neither wait nor raise, once, when `offer` may succeed again after a False.

        If the connection ends before, it is not called.
        """

    @abstractmethod
    def call_writable_soon(self) -> None:
        """Call what waits for `when_writable` in the next turn, if there is room: what it offers now is enough."""

    @abstractmethod
    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Do not call `callback` any more, if it was to be called."""

    @abstractmethod
    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Send a ping; if it is to `wait`, wait for its pong and return the seconds between, else 0.0."""

    @abstractmethod
    async def pong(self, payload: bytes) -> None:
        """Send a pong that nobody asked for."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """Send a close frame unless one was sent or received; wait for the peer's, a bounded time."""

    @abstractmethod
    def begin_close(self, code: int, reason: str) -> None:
        """Send a close frame unless one was sent or received or the peer has left, and wait for nothing."""

    @abstractmethod
    def abort(self, code: int, reason: str) -> None:
        """Give an open connection's peer up: tell it why if it can be told at once, and end the network connection."""

    @abstractmethod
    def dismiss(self, code: int, reason: str) -> None:
        """Give an open connection's peer up, with a close frame.

        The frame goes out behind what waits, within `close_timeout`; then the network connection ends.
        """

    @abstractmethod
    async def wait_ended(self) -> None:
        """After `begin_close`: wait until `close_info` says how the connection ended, which is bounded."""

    @abstractmethod
    async def wait_gone(self) -> None:
        """Wait until the network connection has ended, which is bounded once the connection is not open."""


def end_for(iteration: Iteration | None, end: WebSocketDisconnect) -> WebSocketDisconnect | StopAsyncIteration:
    """Return what tells the caller of `Channel.receive` of the end."""
    return end if iteration is None or not iteration._is_good(end.code) else StopAsyncIteration()


def disconnect_of(origin: object, code: int, reason: str = "") -> WebSocketDisconnect:
    """Return the exception for the end of one connection, marked so that it is not taken for another's.

    Args:
        origin: its gate before the handshake is answered, its channel after.
        code: the close code.
        reason: the close reason.
    """
    end = WebSocketDisconnect(code, reason)
    end._origin = origin
    return end


class PendingHandshake(ABC):
    """A handshake that waits for its answer."""

    __slots__ = ()

    status: int = 0
    """The HTTP status that was answered, whoever did it; 0 before, or where nobody takes note."""

    @abstractmethod
    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> Channel:
        """Answer yes; raise `WebSocketDisconnect` if the client has left."""

    @abstractmethod
    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Answer with an HTTP status."""


class _HandshakeOver(PendingHandshake):
    """The gate of a handshake whose time is over, be it answered or not."""

    __slots__ = ()

    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> Channel:
        """Say that there is nobody to accept."""
        await trio.lowlevel.checkpoint()
        raise WebSocketDisconnect(CloseCode.ABNORMAL_CLOSURE, "the handshake is over")

    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Nobody is there to be rejected."""
        await trio.lowlevel.checkpoint()


HANDSHAKE_OVER: Final[PendingHandshake] = _HandshakeOver()
