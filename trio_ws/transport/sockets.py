"""Stream sockets (TCP, Unix) that a poller reads, without a task."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.native.choice import SocketState
from trio_ws.transport.base import NULL_RECEIVER, Transport
from trio_ws.transport.outbox import Outbox
from trio_ws.transport.selector import ERROR_OR_HANGUP, PEER_CLOSED, READABLE, WRITABLE
from trio_ws.transport.socket_options import Uptake, get_uptake, shut_down

if TYPE_CHECKING:
    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.transport.outbox import Buffer
    from trio_ws.transport.watching import PollerClient, SocketPoller

__all__ = ["SocketTransport", "shared_buffer"]

BUFFER_BYTES: Final = 256 * 1024
"""The most that is read from one socket in one turn: a large message in few calls, and no long turn."""
CORK_BYTES: Final = 16 * 1024
"""Held-back replies are sent at this size: a larger one saves nothing that can be measured."""

_ABOUT_READING: Final = READABLE | PEER_CLOSED | ERROR_OR_HANGUP

_buffer: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("trio_ws read buffer")


def shared_buffer(kind: trio.lowlevel.RunVar[memoryview] = _buffer) -> memoryview:
    """Return this Trio run's buffer of a kind.

    One is enough, since data in it is parsed before anything else runs. Each client has a poller of its own, and there
    may be thousands.
    """
    try:
        return kind.get()
    except LookupError:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        kind.set(buffer)
        return buffer


class SocketTransport(SocketState, Transport):
    """A transport over a plain stream socket on a poller.

    It has no task, and reads into the poller's shared buffer.

    Args:
        poller: reads for it.
        sock: a connected socket; it is made non-blocking and owned from now on.
        high_water: of the outbox, in bytes.
    """

    closes_at_once = True

    __slots__ = (
        "_owner",
        "_poller",
        "log",
    )

    def __init__(self, poller: SocketPoller, sock: socket.socket, high_water: int) -> None:
        sock.setblocking(False)
        self.log: ConnectionLog | None = None
        self.outbox: Outbox = Outbox(high_water)
        self._poller: SocketPoller = poller
        self._sock: socket.socket | None = sock
        self._fd = -1  # while it is not watched
        self._interest = READABLE | PEER_CLOSED
        self._owner: PollerClient | None = None
        self._corked = False
        self._dead = False
        self._finishing = False
        self._reading_over = False
        self._write_broken = False

    def start(self, nursery: trio.Nursery) -> None:
        """Begin to read; the poller's task does the work."""
        if self._sock is not None:
            fd = self._sock.fileno()
            self._poller.add(self._owner or self, fd, self._interest)
            self._fd = fd

    @property
    def sock(self) -> socket.socket | None:
        """The socket, None once it is closed."""
        return self._sock

    def attach(self, owner: PollerClient) -> None:
        """Let the poller call `owner` in place of this transport.

        It is a transport over this one, which passes the calls on.

        Call it before `start`.
        """
        self._owner = owner

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: Buffer, *, hold: bool = False) -> None:
        """Send `data` at once if nothing waits before it, else later."""
        outbox = self.outbox
        if hold or outbox.size:
            if data and not outbox.closed:  # as `outbox.put`, written out: replies to many messages come here
                if outbox.chunks is None:
                    outbox.chunks = [data]
                else:
                    outbox.chunks.append(data)
                outbox.size += len(data)
            if self._interest & WRITABLE:
                return
            if hold and outbox.size < CORK_BYTES:
                if not self._corked:
                    self.cork()
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
        """Put the unsent rest of `data` into the outbox."""
        try:
            self.outbox.put(memoryview(data)[sent:])
            self._watch_for(self._interest | WRITABLE)
        except BaseException:  # memory is short, or Ctrl-C: no other frame may follow a part of this one
            self._break_writing()
            raise

    def flush(self) -> None:
        """Send held-back data as far as the socket takes it."""
        outbox = self.outbox
        while outbox.size:
            data = outbox.peek()
            sent = self._send(data)
            outbox.advance(sent)
            if sent < len(data):
                self._watch_for(self._interest | WRITABLE)
                break
        else:
            if self._interest & WRITABLE:
                self._watch_for(self._interest & ~WRITABLE)
            if self._finishing:
                self._shut_down_writing()
        if self._sock is not None:
            self.receiver.outbox_moved()

    def uncork(self) -> None:
        """Do the work put off to the end of a turn.

        Replies were held back, writing failed, or a dead socket was resumed.
        """
        self._corked = False
        if self._write_broken or (self.outbox.size and not self._interest & WRITABLE):
            self.flush()
        if self._dead and self._sock is not None and not self._reading_over and self.receiver.wants_data():
            self._read(self._sock, trio.current_time())
            self.cork()  # to read on in the next turn

    def cork(self) -> None:
        """Schedule `uncork` for the end of this scheduler turn."""
        if not self._corked:
            self._corked = True
            self._poller.cork(self._owner or self)

    def _send(self, data: Buffer) -> int:
        """Return how many bytes of `data` the socket took.

        A broken connection takes, and drops, everything.
        """
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
        """Give up writing after an error of the socket.

        Data that the peer sent before may still be unread: reading goes on, and meets the end itself.
        """
        self._write_broken = True
        self.outbox.close()
        self.cork()  # the receiver, which may be writing, is called later

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
        """Return how much the peer has taken of the written data."""
        outbox = self.outbox
        if self._write_broken:
            return Uptake((outbox.written, 0), 0, pending=False)
        return get_uptake(self._sock, outbox.size, outbox.written)

    # --- reading -------------------------------------------------------------------------------------------------

    def ready(self, events: int, now: float) -> None:
        """Handle selector events of the socket.

        Args:
            events: epoll bits.
            now: the time by Trio's clock.
        """
        sock = self._sock
        if events == READABLE and sock is not None and not self._reading_over and self.receiver.wants_data():
            # Nearly always: as `_attend` and `_read`, written out.
            buffer = self._poller.buffer
            try:
                size = sock.recv_into(buffer)
            except OSError:
                size = 0
            if size:
                self.receiver.data_received(buffer[:size], now)
                return
        self._attend(events, now)

    def _attend(self, events: int, now: float) -> None:
        if events & WRITABLE:
            self.flush()
        sock = self._sock
        if sock is None or not events & _ABOUT_READING:
            return
        if self._reading_over:
            self._break_off()  # only errors are reported then
        elif not self.receiver.wants_data():
            self._leave_unread(events)
        else:
            self._read(sock, now)

    def _read(self, sock: socket.socket, now: float) -> None:
        buffer = self._poller.buffer
        try:
            size = sock.recv_into(buffer)
        except BlockingIOError:
            if not self._dead:
                return
            size = 0  # everything was read, and nothing will arrive
        except OSError:
            size = 0
        if size:
            self.receiver.data_received(buffer[:size], now)
        else:
            self._end_reading()

    def _end_reading(self) -> None:
        self.stop_reading()
        self.receiver.network_ended()

    def stop_reading(self) -> None:
        """Read no more, for good."""
        self._reading_over = True
        self._watch_for(self._interest & WRITABLE)

    def _leave_unread(self, events: int) -> None:
        """Pause reading, and report an end that lies behind unread data."""
        self._watch_for(self._interest & ~(READABLE | events & PEER_CLOSED))
        if events & (PEER_CLOSED | ERROR_OR_HANGUP):
            self.receiver.peer_closed()
        if events & ERROR_OR_HANGUP:
            self._break_off()

    def _break_off(self) -> None:
        """Stop watching a socket that is dead in both directions.

        The kernel would report it in every turn. Data that it received before can still be read.
        """
        if self._sock is None:
            return
        self._dead = self._write_broken = True
        self.outbox.close()
        self._unwatch()
        self.receiver.outbox_moved()

    def has_unread(self) -> bool:
        """Return whether the socket has unread data; it asks the kernel."""
        try:
            return self._sock is not None and bool(self._sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def resume(self) -> None:
        """Continue reading."""
        if self._sock is None or self._reading_over:
            return
        if self._dead:
            self.cork()
        elif not self._interest & READABLE:
            self._watch_for(self._interest | READABLE)

    def look(self) -> bool:
        """Read and write once without waiting, before a deadline takes effect.

        The poller serves some of its sockets in each turn: after the loop was held up, this one's turn may be far.
        """
        try:
            if self._interest & WRITABLE:
                self.flush()
            if self._sock is not None and not self._reading_over and self.receiver.wants_data():
                self._read(self._sock, trio.current_time())
        except Exception:
            (self._owner or self).give_up()
        return True

    def read_at_once(self) -> None:
        """Read what has arrived."""
        self.look()

    def _watch_for(self, interest: int) -> None:
        if interest != self._interest:
            self._interest = interest
            if self._fd >= 0:
                self._poller.selector.change(self._fd, interest)

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
        self._owner = None

    async def aclose(self) -> None:
        """Close the socket; there is nothing to wait for."""
        self.close()

    def _unwatch(self) -> None:
        if self._fd >= 0:
            self._poller.remove(self._fd)
            self._fd = -1
