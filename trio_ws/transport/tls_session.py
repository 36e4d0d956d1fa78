"""Secured: one side of TLS in memory, and the stream over it on which a client shakes hands, with TLS and with HTTP.

Afterwards a `TLSTransport` takes socket and TLS out of the stream; `trio.SSLStream` would not give TLS away.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from trio_ws.transport.socket_options import shut_down

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RECORD_BYTES", "TLSSession", "TLSStream"]

RECORD_BYTES: Final = 16 * 1024
"""The most plaintext in one record (RFC 8446 5.1). No more is put into a `MemoryBIO` at once: it keeps its memory."""

Result = TypeVar("Result")


class TLSSession:
    """One side of TLS: an `ssl.SSLObject` between two buffers of ciphertext.

    Args:
        context: of a server or a client.
        server_hostname: for a client: the name that the certificate must hold for; None on a server.

    Attributes:
        incoming: what was read from the network.
        outgoing: what is to be written to it.
        shaken: the handshake is done.
        tls: makes one of the other.

    Raises:
        ValueError: a name that no certificate can have.
    """

    __slots__ = ("incoming", "outgoing", "shaken", "tls")

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        self.incoming: ssl.MemoryBIO = ssl.MemoryBIO()
        self.outgoing: ssl.MemoryBIO = ssl.MemoryBIO()
        self.shaken: bool = False
        self.tls: ssl.SSLObject = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )


class TLSStream(trio.abc.Stream):
    """TLS over a socket, on a client: for one task, which sends and receives by turns.

    The end of TCP without TLS's close_notify is an end like any other, and `aclose` sends none: it is for failures.

    Args:
        stream: the socket.
        context: a client's.
        server_hostname: the name that the certificate must hold for.

    Attributes:
        secured: the state of TLS.
    """

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext, server_hostname: str) -> None:
        self._stream = stream
        self.secured: TLSSession = TLSSession(context, server_hostname)

    def detach(self) -> socket.socket:
        """Give the socket away. The stream is of no use any more."""
        return socket.socket(fileno=self._stream.socket.detach())

    async def do_handshake(self) -> None:
        """Shake hands.

        Raises:
            ssl.SSLError: that failed.
            trio.BrokenResourceError: the connection is lost.
            trio.Cancelled: the stream can only be closed.
        """
        await self._work(self.secured.tls.do_handshake)
        self.secured.shaken = True

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`; cancelled, it may have been sent in part. It raises what streams do."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._work(lambda: self.secured.tls.write(data))
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what one record brought, b"" at the end. It raises what streams do.

        Args:
            max_bytes: not looked at: what a record brought must not stay behind in it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            return await self._work(lambda: self.secured.tls.read(RECORD_BYTES))
        except ssl.SSLEOFError:
            return b""
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error

    async def _work(self, step: Callable[[], Result]) -> Result:
        """Repeat a step until it is done; bring it what it wants to read, and send what it has to say."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._send_pending()
                await self._receive()
            else:
                await self._send_pending()
                return result

    async def _send_pending(self) -> None:
        outgoing = self.secured.outgoing
        if outgoing.pending:
            await self._stream.send_all(outgoing.read())

    async def _receive(self) -> None:
        data = await self._stream.receive_some(RECORD_BYTES)
        if data:
            self.secured.incoming.write(data)
        else:
            self.secured.incoming.write_eof()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the socket takes something."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the socket."""
        shut_down(self._stream.socket)
        await self._stream.aclose()
