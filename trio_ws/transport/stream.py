"""A transport over any `trio.abc.Stream`, with two tasks.

It serves in-memory streams, TLS that users bring or that is spoken within TLS, and every platform without a poller.
"""

from __future__ import annotations

import math
import select
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.transport.base import NULL_RECEIVER, Transport
from trio_ws.transport.outbox import WRITE_BYTES, Outbox
from trio_ws.transport.socket_options import Uptake, get_uptake, shut_down, socket_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.transport.base import Receiver
    from trio_ws.transport.outbox import Buffer

__all__ = ["StreamTransport"]

READ_BYTES: Final = 64 * 1024
"""The size of one `receive_some`: a buffer of this size is made for each call."""
CHECK_INTERVAL: Final = 0.25
"""Seconds between two checks for the end of a peer while reading is paused."""
STEP_TURNS: Final = 8
"""Turns of the loop that a step of TLS's handshake takes at most between reading and writing."""
CLOSE_NOTIFY_TIMEOUT: Final = 1.0
"""Seconds that TLS's close_notify may take; a peer that does not read does not get it."""

_RDHUP: Final[int] = getattr(select, "POLLRDHUP", 0)
"""0 on platforms that do not report a peer's end behind unread data."""
_CONNECTION_LOST = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class StreamTransport(Transport):
    """A transport over a `trio.abc.Stream`, which it owns.

    Args:
        stream: connected, with any TLS handshake done or left to the first read or write.
        high_water: of the outbox, in bytes.
    """

    __slots__ = (
        "_closed",
        "_established",
        "_finishing",
        "_reader",
        "_scope",
        "_started",
        "_step_time",
        "_stopped",
        "_stream",
        "_turns",
        "_write_broken",
        "_writer",
        "log",
        "outbox",
        "receiver",
    )

    def __init__(self, stream: trio.abc.Stream, high_water: int) -> None:
        self.log: ConnectionLog | None = None
        self.outbox: Outbox = Outbox(high_water)
        self._stream = stream
        # Close frames are sent while the surroundings are cancelled already; `close` ends the tasks.
        self._scope = trio.CancelScope(shield=True)
        self._reader = trio.lowlevel.ParkingLot()
        self._writer = trio.lowlevel.ParkingLot()
        self._established = not isinstance(stream, trio.SSLStream)
        self._step_time = -math.inf
        self._turns = 0 if self._established else STEP_TURNS
        self._started = False
        self._stopped = trio.Event()
        self._finishing = False
        self._write_broken = False
        self._closed = False

    @property
    def established(self) -> bool:
        """Whether written data can reach the peer.

        False before TLS's handshake is done.
        """
        return self._established

    @property
    def step_time(self) -> float:
        """The time of the last step of TLS's handshake.

        A step is an answer to the peer, or its end.
        """
        return self._step_time

    @property
    def sock(self) -> trio.socket.SocketType | None:
        """The socket below, None without one."""
        return socket_below(self._stream)

    def start(self, nursery: trio.Nursery) -> None:
        """Start the reader and the writer."""
        self._started = True
        nursery.start_soon(self._work, name=f"{self._name} transport")

    @property
    def _name(self) -> str:
        """The connection's name in names of tasks, before there is a request."""
        return "connection" if self.log is None else self.log.task_name

    async def _work(self) -> None:
        try:
            with self._scope:
                if await self._shake_hands():
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._read, name=f"{self._name} reader")
                        nursery.start_soon(self._write, name=f"{self._name} writer")
        except Exception:
            self.give_up()
        finally:
            await self._close_stream()

    async def _shake_hands(self) -> bool:
        """Complete a TLS handshake; return whether it succeeded.

        If reader and writer both began it, one of them would wait for ever when it fails for the other.
        """
        if isinstance(self._stream, trio.SSLStream):
            below = self._stream.transport_stream
            self._stream.transport_stream = _WriteObserver(below, self._step)
            try:
                await self._stream.do_handshake()
            except _CONNECTION_LOST as error:
                if self.log is not None and isinstance(error.__cause__, ssl.SSLError):
                    self.log.tls_failed(error.__cause__.reason)
                self._write_broken = True
                self.outbox.close()
                self.receiver.network_ended()
                return False
            finally:
                self._stream.transport_stream = below
        self._established = True
        self._step()
        return True

    def _step(self) -> None:
        self._step_time = trio.current_time()
        self._turns = STEP_TURNS

    def look(self) -> bool:
        """Return False while the reader may be about to complete a step.

        That is a step of TLS's handshake.
        """
        if self._established or not self._turns:
            return True
        self._turns -= 1
        return False

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: Buffer, *, hold: bool = False) -> None:
        """Queue `data` for the writer task, which sends all that has gathered."""
        self.outbox.put(data)
        self._writer.unpark_all()

    def flush(self) -> None:
        """Do nothing: the writer task sends without being asked."""

    def finish(self) -> None:
        """Half-close once the outbox is empty, if the stream can."""
        self._finishing = True
        self._writer.unpark_all()

    async def _write(self) -> None:
        outbox = self.outbox
        try:
            while True:
                while not outbox.size:
                    if self._finishing:
                        await self._send_eof()
                        return
                    await self._writer.park()
                # Not more at once, so that a slow peer's progress is visible.
                data = outbox.peek()[:WRITE_BYTES]
                await self._stream.send_all(data)
                outbox.advance(len(data))
                self.receiver.outbox_moved()
        except _CONNECTION_LOST:
            # Data that the peer sent before may still be unread: reading goes on, and meets the end itself.
            self._write_broken = True
            outbox.close()
            self.receiver.outbox_moved()
            self._reader.unpark_all()

    def uptake(self) -> Uptake:
        """Return how much the peer has taken of the written data."""
        outbox = self.outbox
        if self._write_broken or self._stopped.is_set():
            return Uptake((outbox.written, 0), 0, pending=False)
        return get_uptake(socket_below(self._stream), outbox.size, outbox.written)

    async def _send_eof(self) -> None:
        # TLS has no half-close that peers can be relied on to take well (RFC 8446 6.1): TCP's below it does.
        stream = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        if isinstance(stream, trio.abc.HalfCloseableStream):
            await stream.send_eof()

    # --- reading -------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while True:
                if not self.receiver.wants_data():
                    await self._wait_until_wanted()
                data = await self._stream.receive_some(READ_BYTES)
                if not data:
                    break
                self.receiver.data_received(memoryview(data), trio.current_time())
        except _CONNECTION_LOST:
            pass
        self.receiver.network_ended()

    async def _wait_until_wanted(self) -> None:
        """Wait for `resume`, and report a peer that leaves meanwhile.

        That is seen if writing fails, or by the platform's poll.
        """
        sock = _socket_of(self._stream)
        peer_closed = False
        while not self.receiver.wants_data():
            if not peer_closed and (self._write_broken or (sock is not None and _is_peer_closed(sock))):
                peer_closed = True
                self.receiver.peer_closed()
            with trio.move_on_after(math.inf if sock is None or peer_closed else CHECK_INTERVAL):
                await self._reader.park()

    def resume(self) -> None:
        """Continue reading."""
        self._reader.unpark_all()

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the tasks; they close the stream in the next turn."""
        if not self._closed:
            self._closed = True
            self._scope.cancel(reason="connection closed")
            self.outbox.close()
            self.receiver: Receiver = NULL_RECEIVER

    async def aclose(self) -> None:
        """Stop the tasks and wait until the stream is closed."""
        self.close()
        if not self._started:
            await self._close_stream()
        with trio.CancelScope(shield=True):
            await self._stopped.wait()

    async def _close_stream(self) -> None:
        """Close the stream, with TLS's close_notify if the peer still reads."""
        with (
            _shut_down_at_exit(self._stream),
            trio.move_on_after(0 if self._write_broken else CLOSE_NOTIFY_TIMEOUT, shield=True),
        ):
            try:
                await self._stream.aclose()
            except _CONNECTION_LOST:
                pass
        self._stopped.set()


class _WriteObserver(trio.abc.Stream):
    """The stream below TLS during its handshake, which reports writes.

    Args:
        stream: to write to and read from.
        note: called before each write.
    """

    def __init__(self, stream: trio.abc.Stream, note: Callable[[], None]) -> None:
        self._stream = stream
        self._note = note

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._note()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@contextmanager
def _shut_down_at_exit(stream: trio.abc.Stream) -> Iterator[None]:
    """Shut down the socket of a stream that the block closes.

    The peer sees the end also if forked processes hold the socket. TLS sends close_notify when it is closed, and closes
    the socket itself, so a duplicate is shut down afterwards.
    """
    sock = socket_below(stream)
    try:
        duplicate = None if sock is None or sock.fileno() < 0 else sock.dup()
    except OSError:
        duplicate = None  # out of descriptors
    if duplicate is None:
        yield
        return
    try:
        yield
    finally:
        shut_down(duplicate)
        duplicate.close()


def _socket_of(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """Return the stream's socket if the platform can report its peer's end."""
    return socket_below(stream) if _RDHUP else None


def _is_peer_closed(sock: trio.socket.SocketType) -> bool:
    poll = select.poll()
    poll.register(sock.fileno(), _RDHUP)
    return bool(poll.poll(0))
