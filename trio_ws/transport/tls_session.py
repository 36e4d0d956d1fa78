"""TLS in memory, without I/O, and a stream for clients' handshakes.

A `TLSTransport` takes over the socket and the session of a client's stream; `trio.SSLStream` would not give them away.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final

import trio

from trio_ws.transport.socket_options import shut_down

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_ws.transport.outbox import Buffer

__all__ = ["RECORDS", "RECORD_BYTES", "TLSSession", "TLSStream"]

RECORD_BYTES: Final = 16 * 1024
"""The most plaintext in one record (RFC 8446 5.1). No more is put into a `MemoryBIO` at once: it keeps its memory."""
RECORDS: Final = 64
"""Records that are decrypted in one turn: a large message has fewer, and peers with tiny ones wait for the others."""

_NOTHING: Final = memoryview(b"")


class TLSSession:
    """One side of TLS, an `ssl.SSLObject` between two buffers of ciphertext.

    Ciphertext from the network goes in with `feed` and comes out as plaintext of `decrypt`; ciphertext for the network
    is returned by `encrypt` and `take_ciphertext`. The end of the input without TLS's close_notify is an end like any
    other. Renegotiation (TLS 1.2) is not supported.

    Args:
        context: of a server or a client.
        server_hostname: for a client, the name that the certificate must hold for; None on a server.

    Attributes:
        handshake_done: whether data can be encrypted.
        has_input: whether `decrypt` has more to return, or the end, without another `feed`.
        eof: whether the input has ended, with close_notify or by an error.
        error: the error that ended the session, if one did.

    Raises:
        ValueError: no certificate can have the name.
    """

    __slots__ = ("_incoming", "_outgoing", "_pending_ciphertext", "_tls", "eof", "error", "handshake_done", "has_input")

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._pending_ciphertext = _NOTHING  # fed, and not in the BIO yet
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )
        self.handshake_done: bool = False
        self.has_input: bool = False
        self.eof: bool = False
        self.error: ssl.SSLError | None = None

    @property
    def pending_output(self) -> int:
        """Bytes of ciphertext for the network, such as answers to key updates."""
        return self._outgoing.pending

    # --- the handshake -------------------------------------------------------------------------------------------

    def do_handshake(self) -> bool:
        """Continue the handshake; return whether it is done.

        Raises:
            ssl.SSLError: it failed. An alert for the peer may be in the output.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                if not self._fill():
                    self.has_input = False
                    return False
            except ssl.SSLError as error:
                self._fail(error)
                raise
            else:
                self.handshake_done = True
                self.has_input = bool(self._incoming.pending or self._pending_ciphertext)
                return True

    # --- input ---------------------------------------------------------------------------------------------------

    def feed(self, data: Buffer) -> None:
        """Take ciphertext from the network.

        Its memory must not change until `do_handshake` or `decrypt` has returned.
        """
        self.has_input = True
        if self._pending_ciphertext:
            self._pending_ciphertext = memoryview(b"".join((self._pending_ciphertext, data)))
        elif len(data) <= RECORD_BYTES:
            self._incoming.write(data)
        else:
            view = memoryview(data)
            self._incoming.write(view[:RECORD_BYTES])
            self._pending_ciphertext = view[RECORD_BYTES:]

    def feed_eof(self) -> None:
        """Note the end of the network's input."""
        self._incoming.write_eof()

    def decrypt(self, buffer: memoryview) -> int:
        """Decrypt one turn's work of the input into `buffer`.

        Afterwards `has_input`, `eof` and `error` are up to date.

        Returns:
            The size of the plaintext.
        """
        incoming, most = self._incoming, len(buffer) - RECORD_BYTES
        read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment]  # typeshed: without buffer
        size = 0
        for _ in range(RECORDS):
            if not incoming.pending and not (self._pending_ciphertext and self._fill()):
                self.has_input = False
                return size
            if size > most:
                break  # the next record might not have room
            try:
                count = read(len(buffer), buffer[size:])
            except ssl.SSLWantReadError:
                continue  # it was a part of a record, or one of TLS's own
            except ssl.SSLError as error:
                self._fail(error)
                return size
            if not count:  # close_notify
                self.abort()
                return size
            size += count
        self._pending_ciphertext = memoryview(bytes(self._pending_ciphertext))  # its memory is a shared buffer
        return size

    def read(self) -> bytes | None:
        """Return one record's plaintext, b"" at the end, None without input.

        Raises:
            ssl.SSLError: the input is not TLS.
        """
        try:
            data = self._tls.read(RECORD_BYTES)
        except ssl.SSLWantReadError:
            data = None
        except ssl.SSLEOFError:
            data = b""
        self.eof = data == b""
        self.has_input = self.eof or bool(self._incoming.pending)
        return data

    def _fill(self) -> bool:
        """Put more pending ciphertext into the BIO, if there is some."""
        pending = self._pending_ciphertext
        if not pending:
            return False
        self._incoming.write(pending[:RECORD_BYTES])
        self._pending_ciphertext = pending[RECORD_BYTES:] if len(pending) > RECORD_BYTES else _NOTHING
        return True

    def abort(self) -> None:
        """End the input, and drop the rest of it."""
        self.eof = self.has_input = True
        self._pending_ciphertext = _NOTHING

    def _fail(self, error: ssl.SSLError) -> None:
        self.error = error
        self.abort()

    # --- output --------------------------------------------------------------------------------------------------

    def encrypt(self, data: Buffer) -> bytes:
        """Return `data` in records, behind pending output.

        Raises:
            ssl.SSLError: the session has failed.
        """
        if len(data) <= RECORD_BYTES:
            self._write(data)
            return self._outgoing.read()
        records = []
        view = memoryview(data)
        for start in range(0, len(view), RECORD_BYTES):
            self._write(view[start : start + RECORD_BYTES])
            records.append(self._outgoing.read())
        return b"".join(records)

    def _write(self, data: Buffer) -> None:
        written = self._tls.write(data)
        while written < len(data):  # the peer has asked for shorter records (RFC 6066 4)
            written += self._tls.write(memoryview(data)[written:])

    def take_ciphertext(self) -> bytes:
        """Return pending output, which the caller sends."""
        return self._outgoing.read()

    def close_notify(self) -> bytes:
        """End the output with close_notify (RFC 8446 6.1) and return it, behind pending output."""
        with contextlib.suppress(ssl.SSLError):  # the peer's own is missing
            self._tls.unwrap()
        return self._outgoing.read()


class TLSStream(trio.abc.Stream):
    """TLS over a client's socket, for one task.

    The end of TCP without TLS's close_notify is an end like any other, and `aclose` sends none: it is for failures.

    Args:
        stream: the socket.
        context: a client's.
        server_hostname: the name that the certificate must hold for.

    Attributes:
        session: the state of TLS.
    """

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext, server_hostname: str) -> None:
        self._stream = stream
        self.session: TLSSession = TLSSession(context, server_hostname)

    def detach(self) -> socket.socket:
        """Give the socket away. The stream cannot be used any more."""
        return socket.socket(fileno=self._stream.socket.detach())

    async def do_handshake(self) -> None:
        """Do the handshake.

        Raises:
            ssl.SSLError: it failed.
            trio.BrokenResourceError: the connection is lost.
            trio.Cancelled: the stream can only be closed.
        """
        while not self.session.do_handshake():
            await self._send_pending()
            await self._receive()
        await self._send_pending()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`. Cancelled, it may have been sent in part.

        Raises:
            trio.BrokenResourceError: the connection is lost, or TLS failed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            ciphertext = self.session.encrypt(bytes(data))
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        await self._stream.send_all(ciphertext)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the plaintext of one record, b"" at the end.

        Args:
            max_bytes: ignored: a record is never returned in parts.

        Raises:
            trio.BrokenResourceError: the connection is lost, or TLS failed.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            while (data := self.session.read()) is None:
                await self._send_pending()
                await self._receive()
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        if data:
            await self._send_pending()
        return data

    async def _send_pending(self) -> None:
        if self.session.pending_output:
            await self._stream.send_all(self.session.take_ciphertext())

    async def _receive(self) -> None:
        data = await self._stream.receive_some(RECORD_BYTES)
        if data:
            self.session.feed(data)
        else:
            self.session.feed_eof()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes something."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket."""
        shut_down(self._stream.socket)
        await self._stream.aclose()
