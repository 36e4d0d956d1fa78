"""TLS on the poller: an `ssl.SSLObject` between the socket and the receiver, and no task, as for a plain socket.

Ciphertext is read into the poller's shared buffer and decrypted into a second one that is shared too; what is written
is encrypted when the socket can take it. A server shakes hands here, a client has done it while it dialled.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.transport.outbox import WRITE_BYTES
from trio_ws.transport.selector import WRITABLE
from trio_ws.transport.sockets import BUFFER_BYTES, SocketTransport, shared_buffer
from trio_ws.transport.tls_session import RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.transport.outbox import Buffer
    from trio_ws.transport.sockets import SocketPoller
    from trio_ws.transport.tls_session import TLSSession

__all__ = ["TLSTransport"]

RECORDS: Final = 64
"""Records that are decrypted in one turn: a large message has fewer, who sends tiny ones waits for the others."""
HANDSHAKES: Final = 8
"""Steps of handshakes in one turn: each may cost a millisecond, and a hundred clients may come at once."""
OWED_BYTES: Final = 64 * 1024
"""What TLS itself may have to say to a peer that does not read, answers to key updates say; then it is given up."""

_NOTHING: Final = memoryview(b"")

_plain: trio.lowlevel.RunVar[memoryview] = trio.lowlevel.RunVar("trio_ws TLS buffer")


class TLSTransport(SocketTransport):
    """TLS over a plain stream socket on a poller.

    The outbox counts plaintext: what was written, and has not left in records. At most `WRITE_BYTES` of it are
    encrypted already and wait for the socket. A handshake that fails is a lost connection, and so is a record that
    cannot be decrypted; the peer may end TCP without TLS's close_notify, since WebSocket has a goodbye of its own.

    Args:
        poller: reads for it.
        sock: a connected socket; it is made non-blocking and owned from now on.
        secured: the state of TLS: a server's, with nothing read from the socket, or one whose handshake is done.
            Renegotiation (TLS 1.2) is not supported.
        high_water: of the outbox, in bytes.
    """

    __slots__ = (
        "_cipher",
        "_incoming",
        "_left",
        "_outgoing",
        "_over",
        "_plain",
        "_sealed",
        "_shaken",
        "_step_time",
        "_tls",
        "_unfed",
    )

    def __init__(self, poller: SocketPoller, sock: socket.socket, secured: TLSSession, high_water: int) -> None:
        super().__init__(poller, sock, high_water)
        self._incoming = secured.incoming
        self._outgoing = secured.outgoing
        self._tls = secured.tls
        self._plain = shared_buffer(_plain)
        self._shaken = secured.shaken
        self._step_time = -math.inf
        self._cipher = _NOTHING  # encrypted, and waiting for the socket
        self._sealed = 0  # the beginning of the outbox that is in `_cipher`
        self._unfed = _NOTHING  # read from the socket, and not in the BIO yet
        self._left = bool(self._incoming.pending)  # the receiver can be given more, or the end, without the socket
        self._over = False  # TLS has no more to give: the peer said so, or it failed

    @property
    def established(self) -> bool:
        """Whether what is written can reach the peer: not before the handshake is done."""
        return self._shaken

    @property
    def step_time(self) -> float:
        """When the handshake last took a step: an answer to the peer, or its end."""
        return self._step_time

    def start(self, nursery: trio.Nursery) -> None:
        """Begin to read; what came with the answer to a client's handshake is there already."""
        super().start(nursery)
        if self._left:
            self._cork()

    # --- writing -------------------------------------------------------------------------------------------------

    def write(self, data: Buffer, *, hold: bool = False) -> None:
        """Send `data` at once if nothing waits before it, else in its turn."""
        if hold or self.outbox.size:
            super().write(data, hold=hold)
            return
        sent = self._send(data)
        if sent < len(data):
            self._keep(data, sent)

    def flush(self) -> None:
        """Send what is held back, as far as the socket takes it."""
        if not self._cipher or self._push():
            super().flush()

    def _send(self, data: Buffer) -> int:
        """Encrypt and send; return how much of `data` has left, not counting what is encrypted and waits."""
        size = len(data)
        if self._sock is None or self._write_broken:
            return size
        if not self._shaken or (self._cipher and not self._push()):
            return 0
        sent = 0
        while sent < size and not self._write_broken:
            part = data if size <= WRITE_BYTES else memoryview(data)[sent : sent + WRITE_BYTES]
            cipher = self._seal(part)
            taken = super()._send(cipher)
            if taken < len(cipher):
                self._cipher = memoryview(cipher)[taken:]
                self._sealed = len(part)
                return sent
            sent += len(part)
        return size

    def _seal(self, part: Buffer) -> bytes:
        """Encrypt `part`, and take along what TLS itself has to say."""
        try:
            if len(part) <= RECORD_BYTES:
                self._put(part)
                return self._outgoing.read()
            records = []
            whole = memoryview(part)
            for start in range(0, len(whole), RECORD_BYTES):
                self._put(whole[start : start + RECORD_BYTES])
                records.append(self._outgoing.read())
            return b"".join(records)
        except ssl.SSLError:
            self._break_writing()
            return b""

    def _put(self, part: Buffer) -> None:
        written = self._tls.write(part)
        while written < len(part):  # the peer has asked for shorter records (RFC 6066 4)
            written += self._tls.write(memoryview(part)[written:])

    def _push(self) -> bool:
        """Send what is encrypted, and what TLS itself has to say; return whether all of it has left."""
        while True:
            if self._cipher:
                taken = super()._send(self._cipher)
                if taken < len(self._cipher):
                    self._cipher = self._cipher[taken:]
                    self._want(self._wanted)
                    return False
                self._cipher = _NOTHING
                sealed, self._sealed = self._sealed, 0
                self.outbox.advance(sealed)
            if not self._outgoing.pending:
                return True
            self._cipher = memoryview(self._outgoing.read())

    def _want(self, wanted: int) -> None:
        if self._cipher:
            wanted |= WRITABLE
        elif not self._shaken:
            wanted &= ~WRITABLE  # what stands in the outbox waits for the peer's part of the handshake
        super()._want(wanted)

    def _shut_down_writing(self) -> None:
        # TLS has no half-close that peers can be relied on to take well (RFC 8446 6.1): TCP's below it does.
        if self._shaken and not self._cipher:
            super()._shut_down_writing()

    # --- reading -------------------------------------------------------------------------------------------------

    def ready(self, matter: int, now: float) -> None:
        """The poller found something the matter with the socket, at the time `now`."""
        self._attend(matter, now)

    def _read(self, sock: socket.socket, now: float) -> None:
        if self._left:
            self._deliver(now)
            return
        if not self._shaken and self._poller.handshakes >= HANDSHAKES:
            return  # it is reported again in the next turn
        buffer = self._poller.buffer
        try:
            size = sock.recv_into(buffer)
        except BlockingIOError:
            if not self._dead:
                return
            size = 0  # nothing is left, and nothing will come
        except OSError:
            size = 0
        if not size:
            self._end_reading()
            return
        if not self._shaken:
            self._poller.handshakes += 1
        self._incoming.write(buffer[: min(size, RECORD_BYTES)])
        if size > RECORD_BYTES:
            self._unfed = buffer[RECORD_BYTES:size]
        if self._shaken or self._shake_hands():
            self._deliver(now)

    def look(self) -> bool:
        """Read and write once what can be without waiting, before a deadline judges; return False to look again later.

        That is when this turn has had its handshakes, and there is something to read.
        """
        if self._shaken or self._poller.handshakes < HANDSHAKES:
            return super().look()
        return not self._something_to_read()

    def _something_to_read(self) -> bool:
        try:
            return self._sock is not None and bool(self._sock.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def _feed(self) -> bool:
        """Put the next part of what was read into the BIO; return whether there was one."""
        unfed = self._unfed
        if not unfed:
            return False
        self._incoming.write(unfed[:RECORD_BYTES])
        self._unfed = unfed[RECORD_BYTES:] if len(unfed) > RECORD_BYTES else _NOTHING
        return True

    def _shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is done."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                if not self._feed():
                    if self._outgoing.pending:
                        self._step_time = trio.current_time()
                    self._push()
                    return False
            except ssl.SSLError as error:
                self._fail(error)
                self._end_reading()
                return False
        self._shaken = True
        self._step_time = trio.current_time()
        self._push()
        if self.outbox.size or self._finishing:
            self.flush()  # they waited for it
        return True

    def _deliver(self, now: float) -> None:
        """Give the receiver one turn's work of what was read."""
        size = 0 if self._over else self._decrypt()
        if self._outgoing.pending and not self._push() and self._outgoing.pending > OWED_BYTES:
            self._left = self._over = True
            self._break_writing()
        if size:
            self.receiver.data_received(self._plain[:size], now)
        if self._sock is None or not self._left:
            return
        if not self._over:
            self._cork()
        elif self.receiver.wants_data():
            self._end_reading()
        else:
            self.receiver.peer_departed()

    def _decrypt(self) -> int:
        """Decrypt one turn's work of what was read into the shared buffer; return how many bytes it gave."""
        incoming, plain = self._incoming, self._plain
        read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment]  # typeshed: without buffer
        size = 0
        self._left = True
        for _ in range(RECORDS):
            if not incoming.pending and not (self._unfed and self._feed()):
                self._left = False
                return size
            if size > BUFFER_BYTES - RECORD_BYTES:
                break  # the next record might not have room
            try:
                count = read(BUFFER_BYTES, plain[size:])
            except ssl.SSLWantReadError:
                continue  # it was a part of a record, or one of TLS's own
            except ssl.SSLError as error:
                self._fail(error)
                return size
            if not count:
                self._over = True  # close_notify
                return size
            size += count
        self._unfed = memoryview(bytes(self._unfed))  # others read into the shared buffer before this one's next turn
        return size

    def _fail(self, error: ssl.SSLError) -> None:
        """TLS is at its end: tell the peer if it can be told at once, and nobody else but those who look for it."""
        if self.log is not None:
            self.log.debug("%s: TLS failed: %s", error.reason, tls_error=error.reason)
        self._push()
        self._over = True
        self._break_writing()

    def uncork(self) -> None:
        """The scheduler turn is over in which replies were held back, or one turn's work was not all there was."""
        super().uncork()
        if self._left and self._sock is not None and not self._reading_over and self.receiver.wants_data():
            self._deliver(trio.current_time())

    def resume(self) -> None:
        """Read on, first what was read from the socket and not given to the receiver."""
        super().resume()
        if self._left and self._sock is not None and not self._reading_over:
            self._cork()

    # --- ending --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket now, with close_notify (RFC 8446 6.1) if all was sent before and the socket takes it."""
        all_sent = not (self._cipher or self.outbox.size)
        if self._sock is not None and self._shaken and all_sent and not (self._finishing or self._write_broken):
            with contextlib.suppress(ssl.SSLError):  # the peer has yet to say its own
                self._tls.unwrap()
            with contextlib.suppress(OSError):
                self._sock.send(self._outgoing.read())
        super().close()
