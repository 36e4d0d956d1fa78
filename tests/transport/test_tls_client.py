"""TLS on a client, from its stream to its transport: nothing of what came is lost where one follows the other."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager

import pytest
import trio
from support.receivers import Recorder
from support.tls import contexts
from trio.testing import assert_checkpoints

from trio_ws.connection.factory import TransportFactory
from trio_ws.transport.poller import Poller
from trio_ws.transport.tls import TLSTransport
from trio_ws.transport.tls_session import TLSStream

pytestmark = pytest.mark.skipif(not Poller.available(), reason="this platform has no poller")

HIGH_WATER = 64 * 1024


class Server:
    """The other side, whose records a test can hold back and send together.

    Args:
        sock: its socket, which does not block for what is sent here.
    """

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = contexts()[0].wrap_bio(self.incoming, self.outgoing, server_side=True)

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                self.incoming.write(await self.sock.recv(65536))
            else:
                await self.flush()
                return

    def sealed(self, data: bytes) -> bytes:
        """Return one record with `data`."""
        self.tls.write(data)
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """Return a close_notify."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def flush(self) -> None:
        await self.sock.send(self.outgoing.read())

    async def receive(self) -> bytes:
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(await self.sock.recv(65536))


@asynccontextmanager
async def shaken():
    """A client's stream and the server, after TLS's handshake."""
    ours, theirs = trio.socket.socketpair()
    with trio.fail_after(5):
        with theirs:
            stream, server = TLSStream(trio.SocketStream(ours), contexts()[1], "localhost"), Server(theirs)
            async with stream:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(server.shake_hands)
                    await stream.do_handshake()
                yield stream, server


async def test_bytes_pass_both_ways_and_both_are_checkpoints():
    async with shaken() as (stream, server):
        with assert_checkpoints():
            await stream.send_all(b"hello")
        assert await server.receive() == b"hello"
        await server.sock.send(server.sealed(b"hi"))
        with assert_checkpoints():
            assert await stream.receive_some(1) == b"hi"
        await stream.wait_send_all_might_not_block()


@pytest.mark.parametrize("polite", [True, False], ids=["close_notify", "cut"])
async def test_the_end_is_told_with_and_without_close_notify(polite):
    async with shaken() as (stream, server):
        if polite:
            await server.sock.send(server.goodbye())
        server.sock.close()
        assert await stream.receive_some() == b""


async def test_what_is_no_tls_is_a_broken_stream():
    async with shaken() as (stream, server):
        await server.sock.send(b"HTTP/1.1 400 what?\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await stream.send_all(b"x")
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_a_transport_takes_over_what_was_read_and_what_follows(nursery):
    """The server's answer, three messages and its goodbye come in one packet; the socket says nothing more of them."""
    async with shaken() as (stream, server):
        await server.sock.send(b"".join(map(server.sealed, (b"101", b"one ", b"two ", b"three"))))
        assert await stream.receive_some(16384) == b"101"
        engine = TransportFactory(solo=True)
        engine.start(nursery)
        transport = engine.stream_transport(stream, HIGH_WATER)
        assert type(transport) is TLSTransport
        transport.receiver = receiver = Recorder()
        transport.start(nursery)
        await receiver.until(lambda: receiver.data == b"one two three")
        transport.write(b"answer")
        assert await server.receive() == b"answer"
        await server.sock.send(server.sealed(b" four") + server.goodbye())
        await receiver.until(lambda: receiver.ended)
        assert receiver.data == b"one two three four"
        transport.close()
        engine.stop()


async def test_a_goodbye_that_was_read_with_the_answer_is_the_end(nursery):
    async with shaken() as (stream, server):
        await server.sock.send(server.sealed(b"101") + server.goodbye())
        assert await stream.receive_some(16384) == b"101"
        engine = TransportFactory(solo=True)
        engine.start(nursery)
        transport = engine.stream_transport(stream, HIGH_WATER)
        transport.receiver = receiver = Recorder()
        transport.start(nursery)
        await receiver.until(lambda: receiver.ended)
        await transport.aclose()
        engine.stop()
