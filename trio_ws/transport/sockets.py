"""Polled: a plain stream socket (TCP, Unix) without a task. A `Poller` or a `Solo` says what it is ready for."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final, Protocol

import trio

from trio_ws.transport.base import NULL_RECEIVER, Transport
from trio_ws.transport.outbox import Outbox
from trio_ws.transport.selector import ERROR_OR_HANGUP, PEER_CLOSED, READABLE, WRITABLE
from trio_ws.transport.socket_options import Uptake, shut_down, uptake_of

if TYPE_CHECKING:
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.transport.outbox import Buffer

__all__ = ["SocketPoller", "SocketTransport", "shared_buffer"]

BUFFER_BYTES: Final = 256 * 1024
"""What is read from one socket in one turn: a large message in few calls, and no turn that is long."""
CORK_BYTES: Final = 16 * 1024
"""Held-back replies leave when they are this many: more in one call saves nothing that can be measured."""

_ABOUT_READING: Final = READABLE | PEER_CLOSED | ERROR_OR_HANGUP

_buffer: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("trio_ws read buffer")


def shared_buffer(kind: trio.lowlevel.RunVar[memoryview] = _buffer) -> memoryview:
    """Return the buffer of a kind of this run of Trio: what is in it is parsed before anything else is, so one does.

    Each client has a watcher of its own, and there may be thousands.
    """
    try:
        return kind.get()
    except LookupError:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        kind.set(buffer)
        return buffer


class SocketPoller(Protocol):
    """Who watches a transport's socket, and calls `ready` and `uncork` of the transport: a `Poller` or a `Solo`."""

    buffer: memoryview
    handshakes: int

    @property
    def readiness(self) -> InterestSet:
        """What is told when something else is wanted of a socket."""

    def add(self, transport: SocketTransport, fd: int, wanted: int) -> None:
        """Begin to watch a transport's socket."""

    def remove(self, fd: int) -> None:
        """Stop watching a socket that is about to be closed."""

    def cork(self, transport: SocketTransport) -> None:
        """Flush `transport` at the end of this scheduler turn."""


class InterestSet(Protocol):
    """What of `Readiness` a transport uses."""

    def change(self, fd: int, wanted: int, /) -> None:
        """Watch `fd` for something else."""


class SocketTransport(Transport):
    """A plain stream socket on a poller.

    `write`, `ready`, `_send` and `_read` are all that touches its bytes: TLS puts itself in their place.

    Args:
        poller: reads for it.
        sock: a connected socket; it is made non-blocking and owned from now on.
        high_water: of the outbox, in bytes.
    """

    closes_at_once = True

    __slots__ = (
        "_corked",
        "_dead",
        "_fd",
        "_finishing",
        "_poller",
        "_reading_over",
        "_sock",
        "_wanted",
        "_write_broken",
    )

    def __init__(self, poller: SocketPoller, sock: socket.socket, high_water: int) -> None:
        sock.setblocking(False)
        self.log: ConnectionLog | None = None
        self.outbox: Outbox = Outbox(high_water)
        self._poller: SocketPoller = poller
        self._sock: socket.socket | None = sock
        self._fd = -1  # while nobody watches it
        self._wanted = READABLE | PEER_CLOSED
        self._corked = False
        self._dead = False
        self._finishing = False
        self._reading_over = False
        self._write_broken = False

    def start(self, nursery: trio.Nursery) -> None:
        """Begin to read; the poller's task does the work."""
        if self._sock is not None:
            fd = self._sock.fileno()
            self._poller.add(self, fd, self._wanted)
            self._fd = fd

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: Buffer, *, hold: bool = False) -> None:
        """Send `data` at once if nothing waits before it, else in its turn."""
        outbox = self.outbox
        if hold or outbox.size:
            if data and not outbox.closed:  # as `outbox.put`, written out: replies to many messages come here
                outbox.chunks.append(data)
                outbox.size += len(data)
            if self._wanted & WRITABLE:
                return
            if hold and outbox.size < CORK_BYTES:
                if not self._corked:
                    self._cork()
            else:
                self.flush()
            return
        sock = self._sock
        if sock is None or self._write_broken:
            return
        try:  # as `_send`, written out
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break_writing()
            return
        if sent < len(data):
            self._keep(data, sent)

    def _keep(self, data: Buffer, sent: int) -> None:
        """Let what the socket did not take wait until it takes more."""
        self.outbox.put(memoryview(data)[sent:])
        self._want(self._wanted | WRITABLE)

    def flush(self) -> None:
        """Send what is held back, as far as the socket takes it."""
        outbox = self.outbox
        while outbox.size:
            data = outbox.peek()
            sent = self._send(data)
            outbox.advance(sent)
            if sent < len(data):
                self._want(self._wanted | WRITABLE)
                break
        else:
            if self._wanted & WRITABLE:
                self._want(self._wanted & ~WRITABLE)
            if self._finishing:
                self._shut_down_writing()
        if self._sock is not None:
            self.receiver.outbox_moved()

    def uncork(self) -> None:
        """The scheduler turn is over in which replies were held back, writing failed, or a dead socket was resumed."""
        self._corked = False
        if self._write_broken or (self.outbox.size and not self._wanted & WRITABLE):
            self.flush()
        if self._dead and self._sock is not None and not self._reading_over and self.receiver.wants_data():
            self._read(self._sock, trio.current_time())
            self._cork()  # to read on in the next turn

    def _cork(self) -> None:
        if not self._corked:
            self._corked = True
            self._poller.cork(self)

    def _send(self, data: Buffer) -> int:
        """Return how much of `data` the socket took; a broken connection takes, and forgets, everything."""
        if self._sock is None or self._write_broken:
            return len(data)
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._break_writing()
            return len(data)

    def _break_writing(self) -> None:
        """The network takes nothing any more.

        What the peer sent before it left may still be unread: reading goes on, and meets the end itself.
        """
        self._write_broken = True
        self.outbox.close()
        self._cork()  # to tell the receiver when it is not in the middle of a write

    def finish(self) -> None:
        """Half-close once the outbox is empty."""
        self._finishing = True
        if not self.outbox.size:
            self._shut_down_writing()

    def _shut_down_writing(self) -> None:
        if self._sock is not None and not self._write_broken:
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._write_broken = True

    def uptake(self) -> Uptake:
        """Return how far the peer has come with what was written."""
        outbox = self.outbox
        if self._write_broken:
            return Uptake((outbox.written, 0), 0, pending=False)
        return uptake_of(self._sock, outbox.size, outbox.written)

    # --- reading -------------------------------------------------------------------------------------------------

    def ready(self, matter: int, now: float) -> None:
        """The poller found something the matter with the socket, at the time `now`."""
        sock = self._sock
        if matter == READABLE and sock is not None and not self._reading_over and self.receiver.wants_data():
            # Nearly always: as `_attend` and `_read`, written out.
            buffer = self._poller.buffer
            try:
                size = sock.recv_into(buffer)
            except OSError:
                size = 0
            if size:
                self.receiver.data_received(buffer[:size], now)
                return
        self._attend(matter, now)

    def _attend(self, matter: int, now: float) -> None:
        if matter & WRITABLE:
            self.flush()
        sock = self._sock
        if sock is None or not matter & _ABOUT_READING:
            return
        if self._reading_over:
            self._break_off()  # nothing else is asked for then
        elif not self.receiver.wants_data():
            self._leave_unread(matter)
        else:
            self._read(sock, now)

    def _read(self, sock: socket.socket, now: float) -> None:
        buffer = self._poller.buffer
        try:
            size = sock.recv_into(buffer)
        except BlockingIOError:
            if not self._dead:
                return
            size = 0  # nothing is left, and nothing will come
        except OSError:
            size = 0
        if size:
            self.receiver.data_received(buffer[:size], now)
        else:
            self._end_reading()

    def _end_reading(self) -> None:
        self._reading_over = True
        self._want(self._wanted & WRITABLE)
        self.receiver.network_ended()

    def _leave_unread(self, matter: int) -> None:
        """Nobody wants data now: stop asking for it, and pass on that the peer has left behind it."""
        self._want(self._wanted & ~(READABLE | matter & PEER_CLOSED))
        if matter & (PEER_CLOSED | ERROR_OR_HANGUP):
            self.receiver.peer_departed()
        if matter & ERROR_OR_HANGUP:
            self._break_off()

    def _break_off(self) -> None:
        """The socket is dead in both directions, which the kernel would go on reporting: stop watching it.

        What it received before can still be read.
        """
        if self._sock is None:
            return
        self._dead = self._write_broken = True
        self.outbox.close()
        self._unwatch()
        self.receiver.outbox_moved()

    def resume(self) -> None:
        """Read on."""
        if self._sock is None or self._reading_over:
            return
        if self._dead:
            self._cork()
        elif not self._wanted & READABLE:
            self._want(self._wanted | READABLE)

    def look(self) -> bool:
        """Read and write once what can be without waiting, before a deadline judges; return False to look again later.

        The poller serves some of its sockets in each turn: after the loop was held up, this one's may be far.
        """
        try:
            if self._wanted & WRITABLE:
                self.flush()
            if self._sock is not None and not self._reading_over and self.receiver.wants_data():
                self._read(self._sock, trio.current_time())
        except Exception:
            self.give_up()
        return True

    def _want(self, wanted: int) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            if self._fd >= 0:
                self._poller.readiness.change(self._fd, wanted)

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket now."""
        if self._sock is None:
            return
        self._unwatch()
        sock, self._sock = self._sock, None
        shut_down(sock)
        sock.close()
        self.outbox.close()
        self.receiver = NULL_RECEIVER

    async def aclose(self) -> None:
        """Close the socket; there is nothing to wait for."""
        self.close()

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._poller.remove(self._fd)
            self._fd = -1
