"""TLS on this machine: fixtures, to be imported, contexts without fixtures, and a client that shows its records."""

from __future__ import annotations

import functools
import socket
import ssl
import struct

import pytest
import trio
import trustme


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture
def server_tls(authority):
    """A server's TLS context, with a certificate for localhost and 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return a client's TLS context that trusts an authority, and nobody else: reading the system's takes long."""
    return ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())


@pytest.fixture
def client_tls(authority):
    """A client's TLS context that trusts the authority."""
    return trusting(authority)


@functools.cache
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts of a server for localhost, and of clients that trust it, for whoever has no fixtures."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    return server, trusting(authority)


def tls_over(stream: trio.abc.Stream, *, server: bool) -> trio.SSLStream[trio.abc.Stream]:
    """One side of TLS over a stream, with these contexts, the handshake still to be done."""
    context = contexts()[0 if server else 1]
    name = None if server else "localhost"
    return trio.SSLStream(stream, context, server_side=server, server_hostname=name, https_compatible=True)


class TLSPeer:
    """A TLS client over a socket, whose records a test can cut, hold back and spoil.

    Args:
        stream: the socket.
        context: a client's.
    """

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.notified = False
        """Whether the server's close_notify came before the end."""

    async def shake_hands(self) -> None:
        with trio.fail_after(20):
            while True:
                try:
                    self.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await self.stream.send_all(self.outgoing.read())
                    self.incoming.write(await self.stream.receive_some())
            await self.stream.send_all(self.outgoing.read())

    def sealed(self, data: bytes) -> bytes:
        """Return records with `data`."""
        while data:
            data = data[self.tls.write(data) :]
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """Return a close_notify."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(self.sealed(data))

    async def some(self) -> bytes:
        """Return what comes next, b"" at the end."""
        with trio.fail_after(20):
            while True:
                try:
                    data = self.tls.read(65536)
                    self.notified = self.notified or not data
                    return data
                except ssl.SSLZeroReturnError:
                    self.notified = True
                    return b""
                except ssl.SSLWantReadError:
                    more = await self.stream.receive_some(65536)
                    if not more:
                        return b""
                    self.incoming.write(more)

    async def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self.some()
            assert more, "the stream has ended"
            data += more
        return data

    async def reset(self) -> None:
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self.stream.aclose()
