"""TLS over a socket on a poller, without a task.

Ciphertext is read into the poller's shared buffer and decrypted into a second shared one; plaintext is encrypted when
the socket can take it. A server does the handshake here, a client has done it on a `TLSStream`.
"""

from __future__ import annotations

import math
import ssl
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.transport.base import NULL_RECEIVER, Transport
from trio_ws.transport.outbox import WRITE_BYTES, Outbox
from trio_ws.transport.selector import WRITABLE
from trio_ws.transport.socket_options import Uptake
from trio_ws.transport.sockets import CORK_BYTES, SocketTransport, shared_buffer

if TYPE_CHECKING:
    import socket

    from trio_ws.runtime.log import ConnectionLog
    from trio_ws.transport.base import Receiver
    from trio_ws.transport.outbox import Buffer
    from trio_ws.transport.tls_session import TLSSession
    from trio_ws.transport.watching import SocketPoller

__all__ = ["TLSTransport"]

HANDSHAKES: Final = 8
"""Steps of handshakes in one turn: each may cost a millisecond, and a hundred clients may come at once."""
MAX_PENDING_OUTPUT: Final = 64 * 1024
"""Bytes of TLS's own records, such as answers to key updates, that may wait; a peer with more does not read."""

_plaintext: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("trio_ws TLS buffer")


class TLSTransport(Transport):
    """A transport with a TLS session over a `SocketTransport`.

    It is that one's receiver, and the poller calls it in place of that one.

    The outbox counts plaintext until its records have left. At most `WRITE_BYTES` of it are encrypted already and wait
    in the socket's outbox. A handshake that fails, or a record that cannot be decrypted, is a lost connection; the peer
    may end TCP without TLS's close_notify, since WebSocket has a closing handshake of its own.

    Args:
        poller: the poller that reads the socket.
        sock: a connected socket; it is made non-blocking and owned from now on.
        session: a server's, without input, or one whose handshake is done.
        high_water: of the outbox, in bytes.
    """

    closes_at_once = True

    __slots__ = (
        "_closed",
        "_encrypted_bytes",
        "_finishing",
        "_plaintext",
        "_poller",
        "_reading_over",
        "_session",
        "_socket",
        "_step_time",
        "_write_broken",
        "log",
        "outbox",
        "receiver",
    )

    def __init__(self, poller: SocketPoller, sock: socket.socket, session: TLSSession, high_water: int) -> None:
        self.log: ConnectionLog | None = None
        self.outbox: Outbox = Outbox(high_water)
        self._poller = poller
        self._session = session
        self._socket = SocketTransport(poller, sock, high_water)
        self._socket.receiver = self
        self._socket.attach(self)
        self._plaintext = shared_buffer(_plaintext)
        self._encrypted_bytes = 0  # the beginning of the outbox that waits, encrypted, in the socket's outbox
        self._closed = False
        self._finishing = False
        self._reading_over = False
        self._step_time = -math.inf
        self._write_broken = False

    @property
    def established(self) -> bool:
        """Whether written data can reach the peer.

        False before the handshake is done.
        """
        return self._session.handshake_done

    @property
    def step_time(self) -> float:
        """The time of the last step of the handshake.

        A step is an answer to the peer, or its end.
        """
        return self._step_time

    @property
    def sock(self) -> socket.socket | None:
        """The socket, None once it is closed."""
        return self._socket.sock

    def start(self, nursery: trio.Nursery) -> None:
        """Begin to read, first the input of a client's session."""
        self._socket.start(nursery)
        if self._session.has_input:
            self._socket.cork()

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: Buffer, *, hold: bool = False) -> None:
        """Send `data` at once if nothing waits before it, else later."""
        outbox = self.outbox
        if hold or outbox.size:
            outbox.put(data)
            if hold and outbox.size < CORK_BYTES:
                self._socket.cork()
            else:
                self.flush()
            return
        sent = self._send(data)
        if sent < len(data):
            outbox.put(memoryview(data)[sent:])

    def flush(self) -> None:
        """Encrypt and send held-back data as far as the socket takes it."""
        if self._closed or not self._can_encrypt():
            return
        outbox = self.outbox
        while outbox.size:
            data = outbox.peek()
            sent = self._send(data)
            outbox.advance(sent)
            if sent < len(data):
                break
        self._finish_if_sent()
        self.receiver.outbox_moved()

    def _can_encrypt(self) -> bool:
        """Return whether the handshake is done and no ciphertext waits."""
        return self._session.handshake_done and not self._socket.outbox.size

    def _send(self, data: Buffer) -> int:
        """Encrypt and send; return how many bytes of `data` have left.

        Bytes in ciphertext that waits do not count. A broken connection takes, and drops, everything.
        """
        size = len(data)
        if self._write_broken or self._closed:
            return size
        if not self._can_encrypt():
            return 0
        below, sent = self._socket, 0
        while sent < size:
            part = data if size <= WRITE_BYTES else memoryview(data)[sent : sent + WRITE_BYTES]
            try:
                below.write(self._session.encrypt(part))
            except ssl.SSLError:
                self._break_writing()
                return size
            if below.outbox.closed:
                self._drop_output()
                return size
            if below.outbox.size:
                self._encrypted_bytes = len(part)
                return sent
            sent += len(part)
        return size

    def _send_output(self) -> None:
        """Send TLS's own records, unless ciphertext waits before them."""
        if self._session.pending_output and not self._socket.outbox.size:
            self._socket.write(self._session.take_ciphertext())

    def _break_writing(self) -> None:
        """Give up writing after an error of TLS."""
        self._drop_output()
        self._socket.cork()  # the receiver, which may be writing, is called later

    def _drop_output(self) -> None:
        self._write_broken = True
        self.outbox.close()

    def outbox_moved(self) -> None:
        """Encrypt more if all ciphertext was taken, or give up writing."""
        below = self._socket.outbox
        if below.closed:
            self._drop_output()
            self.receiver.outbox_moved()
        elif not below.size:
            encrypted, self._encrypted_bytes = self._encrypted_bytes, 0
            self.outbox.advance(encrypted)
            self._send_output()
            self.flush()

    def finish(self) -> None:
        """Half-close once everything has left."""
        self._finishing = True
        self._finish_if_sent()

    def _finish_if_sent(self) -> None:
        if not self._finishing:
            return
        self._send_output()
        # TLS has no half-close that peers can be relied on to take well (RFC 8446 6.1): TCP's below it does.
        if self._can_encrypt() and not self.outbox.size:
            self._socket.finish()

    def uptake(self) -> Uptake:
        """Return how much the peer has taken of the written data."""
        if self._write_broken:
            return Uptake((self.outbox.written, 0), 0, pending=False)
        below = self._socket.uptake()
        waiting = self.outbox.size - self._encrypted_bytes
        return Uptake(below.taken, below.backlog + waiting, below.pending or waiting > 0)

    # --- reading -------------------------------------------------------------------------------------------------

    def ready(self, events: int, now: float) -> None:
        """Handle readiness events of the socket.

        They are reported again in the next turn if they are not handled in this one.

        Args:
            events: epoll bits.
            now: the time by Trio's clock.
        """
        session = self._session
        if not session.handshake_done and self._poller.handshakes >= HANDSHAKES:
            return
        if session.has_input and self.receiver.wants_data():
            events &= WRITABLE  # its turn to read comes after the rest of the input
        self._socket.ready(events, now)

    def wants_data(self) -> bool:
        """Return whether the session can take more input."""
        return not self._session.has_input and self.receiver.wants_data()

    def data_received(self, data: memoryview, now: float, /) -> None:
        """Continue the handshake, or decrypt and deliver."""
        self._session.feed(data)
        if self._session.handshake_done or self._continue_handshake():
            self._deliver(now)

    def peer_closed(self) -> None:
        """Pass on that the peer has closed its side."""
        self.receiver.peer_closed()

    def network_ended(self) -> None:
        """Pass on that nothing more will be read."""
        self._reading_over = True
        self.receiver.network_ended()

    def _continue_handshake(self) -> bool:
        """Continue the handshake; return whether it is done."""
        self._poller.handshakes += 1
        try:
            done = self._session.do_handshake()
        except ssl.SSLError as error:
            self._fail(error)
            self._socket.stop_reading()
            self.network_ended()
            return False
        if done or self._session.pending_output:
            self._step_time = trio.current_time()
        self._send_output()
        if done and (self.outbox.size or self._finishing):
            self.flush()
        return done

    def _deliver(self, now: float) -> None:
        """Give the receiver one turn's work of the input."""
        session, size = self._session, 0
        if not session.eof:
            size = session.decrypt(self._plaintext)
            if session.pending_output:
                self._send_output()
                if session.pending_output > MAX_PENDING_OUTPUT:
                    session.abort()
                    self._break_writing()
            if session.error is not None:
                self._fail(session.error)
        if size:
            self.receiver.data_received(self._plaintext[:size], now)
        if self._closed or not session.has_input:
            return
        if not session.eof:
            self._socket.cork()
        elif self.receiver.wants_data():
            self._socket.stop_reading()
            self.network_ended()
        else:
            self.receiver.peer_closed()

    def _deliver_rest(self) -> None:
        """Give the receiver more of the input if it wants it."""
        if self._session.has_input and not self._reading_over and self.receiver.wants_data():
            self._deliver(trio.current_time())
            if self.wants_data():
                self._socket.resume()

    def _fail(self, error: ssl.SSLError) -> None:
        """Log an error of TLS, send its alert, and give up writing.

        The alert is sent only if the socket takes it at once.
        """
        if self.log is not None:
            self.log.tls_failed(error.reason)
        self._send_output()
        self._break_writing()

    def uncork(self) -> None:
        """Do the work put off to the end of a turn.

        Replies were held back, writing failed, or there was more input than one turn's work.
        """
        self._socket.uncork()
        if self._write_broken and not self._socket.outbox.closed:
            self.receiver.outbox_moved()
        elif self.outbox.size:
            self.flush()
        self._deliver_rest()

    def resume(self) -> None:
        """Continue reading, first the rest of the input."""
        if self._closed or self._reading_over:
            return
        self._socket.resume()
        if self._session.has_input:
            self._socket.cork()

    def look(self) -> bool:
        """Read and write once without waiting, before a deadline takes effect.

        Returns:
            False to be called again in the next turn: this one has had its handshakes, and there is input.
        """
        if not self._session.handshake_done and self._poller.handshakes >= HANDSHAKES:
            return not self._socket.has_unread()
        self._socket.look()
        try:
            self._deliver_rest()
        except Exception:
            self.give_up()
        return True

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket now.

        Before that close_notify (RFC 8446 6.1) is sent, if everything else has left and the socket takes it.
        """
        if self._closed:
            return
        self._closed = True
        if self._can_encrypt() and not (self.outbox.size or self._finishing or self._write_broken):
            self._socket.write(self._session.close_notify())
        self._socket.close()
        self.outbox.close()
        self.receiver: Receiver = NULL_RECEIVER

    async def aclose(self) -> None:
        """Close the socket; there is nothing to wait for."""
        self.close()
