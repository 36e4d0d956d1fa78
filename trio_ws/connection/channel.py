"""The interface of an open connection, and of a handshake that waits for its answer.

Two pairs implement it: our own connection over a transport, and the one under an ASGI server.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

import trio

from trio_ws.codes import CloseCode
from trio_ws.errors import WebSocketDisconnect
from trio_ws.native.choice import ChannelState

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine
    from typing import Any

    from trio_ws.connection.prepared import PreparedMessage
    from trio_ws.errors import HeaderSource
    from trio_ws.protocol.closing import CloseInfo
    from trio_ws.transport.socket_options import AnySocket

__all__ = [
    "HANDSHAKE_OVER",
    "Channel",
    "ChannelClosing",
    "ChannelReader",
    "ChannelWriter",
    "ConnectionObserver",
    "Iteration",
    "PendingHandshake",
    "disconnect_of",
    "end_for",
]


class Iteration(Protocol):
    """An iteration over the messages of a connection."""

    # The object itself is passed to `receive`: its bound method would be one more in each idle connection.
    def is_normal_close(self, code: int) -> bool:
        """Return True if a close code counts as a normal end."""


class ConnectionObserver(Protocol):
    """The disconnect rule of a connection, as its channel calls it."""

    def on_closed(self, cause: str, *, waited_for: bool) -> None:
        """Handle the end of the connection, or of the peer's side, that no call of `close` caused. Called once.

        Args:
            cause: for log records.
            waited_for: a task was waiting for the connection, and is about to get the exception.
        """

    def on_drain(self, *, waited_for: bool) -> None:
        """Handle the server's shutdown, which gives the handler a grace. Called instead of `on_closed`.

        Args:
            waited_for: as in `on_closed`.
        """

    def on_peer_gone(self, cause: str) -> None:
        """Handle the end of the network connection after `on_drain`: the peer has answered, or its time is over.

        Args:
            cause: for log records.
        """

    def on_end_raised(self) -> None:
        """Handle the raising of `WebSocketDisconnect` in a task of the handler."""

    def on_read_after_end(self) -> None:
        """Handle the receipt of a message that arrived before the end."""


class ChannelReader(Protocol):
    """The receiving part of a channel.

    Attributes:
        reads: a receiving method was called.
        received: messages that arrived so far, 0 if they are not counted.
    """

    reads: bool
    received: int

    @property
    def pending(self) -> bool:
        """True if messages wait to be received."""

    def receive(self, iteration: Iteration | None = None) -> Coroutine[Any, Any, str | bytes]:
        """Return the next message.

        Args:
            iteration: decides if the close code is a normal end: then `StopAsyncIteration` is raised.

        Raises:
            WebSocketDisconnect: the connection has ended, and all messages were received.
            trio.BusyResourceError: another task is receiving.
            trio.Cancelled: no message is lost.
        """

    async def receive_chunk(self, *, first: bool) -> tuple[str | bytes, bool]:
        """Return the next part of a message, and True if it is the last; `first` begins a new message."""

    def count_work(self, size: int) -> None:
        """Count `size` bytes of work for the peer against the current task's share of the loop.

        With the messages that were received and sent it decides when `receive` and `send` let other tasks run.
        """


class ChannelWriter(Protocol):
    """The sending part of a channel.

    Attributes:
        sent: messages that were committed so far, 0 if they are not counted.
    """

    sent: int

    def send(self, data: str | bytes | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Wait for room, then commit one message.

        Raises:
            WebSocketDisconnect: the connection has ended.
            trio.Cancelled: nothing was sent.
        """

    async def send_stream(self, chunks: AsyncIterable[str | bytes]) -> None:
        """Send one message in fragments as `chunks` come; no other message gets between them."""

    def offer(self, message: PreparedMessage, *, hold: bool = False) -> bool:
        """Commit one message of many connections if there is room; return False if there is none.

        It neither waits nor raises: a connection that has ended takes every message, and drops it.

        Args:
            message: encoded once for all connections where it can be.
            hold: more will follow within this scheduler turn.
        """

    def frame_kind(self, size: int) -> tuple[int, ...] | None:
        """Return the encoder's `kind` of a whole message of `size` bytes; None if the frames are made elsewhere."""

    def when_writable(self, callback: Callable[[], None]) -> None:
        """Call `callback`, which may neither wait nor raise, once, when `offer` may succeed again after a False.

        If the connection ends before, it is not called.
        """

    def call_writable_soon(self) -> None:
        """Call the callbacks of `when_writable` in the next turn if there is room, to share the loop."""

    def forget_writable(self, callback: Callable[[], None]) -> None:
        """Cancel `when_writable` if `callback` was not called yet."""

    async def ping(self, payload: bytes | None, *, wait: bool) -> float:
        """Send a ping; with `wait`, wait for its pong, and return the seconds between, else 0.0."""

    async def pong(self, payload: bytes) -> None:
        """Send an unsolicited pong."""


class ChannelClosing(Protocol):
    """The end of a channel.

    Attributes:
        observer: is called at the end of the connection.
    """

    observer: ConnectionObserver | None

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; None while messages may be sent."""

    @property
    def gone(self) -> bool:
        """True once the network connection has ended, as far as that is known: then there is nothing to wait for."""

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame unless one was sent or received; wait for the peer's, a bounded time."""

    def begin_close(self, code: int, reason: str) -> None:
        """Send a close frame unless one was sent or received or the peer has ended its side, without waiting."""

    def retire(self, code: int, reason: str) -> None:
        """Begin the closing handshake of an open connection, and report the end to the observer."""

    def abort(self, code: int, reason: str) -> None:
        """Fail an open connection, and end the network connection at once; a close frame is sent if it can be."""

    def dismiss(self, code: int, reason: str) -> None:
        """Fail an open connection; its data and a close frame have `close_timeout` to be sent."""

    async def wait_ended(self) -> None:
        """Wait until `close_info` is known, which is bounded after `begin_close`."""

    async def wait_gone(self) -> None:
        """Wait until the network connection has ended, which is bounded once the connection is not open."""


class Channel(ChannelState):
    """An open connection: three parts, and the questions about their state.

    Callers address the parts: a method that forwards would cost a call for each message.

    Attributes:
        reader: receives messages; instrumentation replaces it by a wrapper.
        writer: sends messages; likewise.
        closing: ends the connection.
        callbacks: callbacks of a listener that are at work on a message.
        open_time: when the handshake was answered, by Trio's clock.
    """

    __slots__ = ("callbacks", "closing")

    reader: ChannelReader
    writer: ChannelWriter
    closing: ChannelClosing

    def __init__(self) -> None:
        self.callbacks: int = 0
        self.open_time: float = trio.current_time()

    @property
    def origin(self) -> object:
        """The mark of the `WebSocketDisconnect`s of this connection."""
        return self.closing

    @property
    def close_info(self) -> CloseInfo | None:
        """How the connection ended; None while messages may be sent."""
        return self.closing.close_info

    @property
    def closed_cleanly(self) -> bool:
        """Whether both sides have sent a close frame, as far as that is known."""
        info = self.close_info
        return info is not None and info.by in ("local", "peer")

    @property
    def sock(self) -> AnySocket | None:
        """The socket below the connection, None without one and once it is closed."""
        return None


def end_for(iteration: Iteration | None, end: WebSocketDisconnect) -> WebSocketDisconnect | StopAsyncIteration:
    """Return the exception for the caller of `ChannelReader.receive` at the end."""
    return end if iteration is None or not iteration.is_normal_close(end.code) else StopAsyncIteration()


def disconnect_of(origin: object, code: int, reason: str = "") -> WebSocketDisconnect:
    """Return the exception for the end of one connection, marked with its origin.

    Args:
        origin: its handshake before that is answered, its channel's `origin` after.
        code: the close code.
        reason: the close reason.
    """
    end = WebSocketDisconnect(code, reason)
    end.origin = origin
    return end


class PendingHandshake(ABC):
    """A handshake that waits for its answer."""

    __slots__ = ()

    status: int = 0
    """HTTP status of the answer; 0 before it, and if the server does not report it."""

    @property
    def sock(self) -> AnySocket | None:
        """The socket below the connection, None without one and once it is closed."""
        return None

    @abstractmethod
    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> Channel:
        """Accept the connection.

        Raises:
            WebSocketDisconnect: the client has left.
        """

    @abstractmethod
    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Answer with an HTTP status."""


class _HandshakeOver(PendingHandshake):
    """A handshake that can be answered no more."""

    __slots__ = ()

    async def accept(self, subprotocol: str | None, headers: HeaderSource) -> Channel:
        """Raise the end of the connection."""
        await trio.lowlevel.checkpoint()
        raise WebSocketDisconnect(CloseCode.ABNORMAL_CLOSURE, "the handshake is over")

    async def reject(self, status: int, headers: HeaderSource, body: bytes) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()


HANDSHAKE_OVER: Final[PendingHandshake] = _HandshakeOver()
"""Replaces a handshake after its answer."""
