"""The server under test, and a first look at whether it can be tested at all."""

from __future__ import annotations

import ssl

import attrs
import trio

from trio_ws.conformance.finding import Finding
from trio_ws.conformance.frames import HELLO, close
from trio_ws.conformance.handshakes import HandshakeContext
from trio_ws.conformance.log import WireLog
from trio_ws.conformance.opening import PLAIN_REQUEST, OpeningHead
from trio_ws.conformance.opening_checks import check_response
from trio_ws.conformance.peer import Pace, SuitePeer
from trio_ws.http.url import URL

__all__ = ["CannotTest", "ServerUnderTest", "first_look"]

NOT_THERE = "is the server running, and is this its address?"


class CannotTest(Exception):  # noqa: N818 - what it says
    """The server cannot be tested; the message says what to do."""


@attrs.frozen
class ServerUnderTest:
    """A server under test.

    Args:
        url: of its echo endpoint.
        headers: further header lines of each request.
        subprotocols: that each request offers.
        ssl_context: for a wss URL.
    """

    url: URL
    headers: tuple[str, ...] = ()
    subprotocols: tuple[str, ...] = ()
    ssl_context: ssl.SSLContext | None = None

    def context(self) -> HandshakeContext:
        """Return the address and the headers of all its handshakes."""
        return HandshakeContext(self.url.netloc, self.url.target, self.headers, self.subprotocols)

    async def connect(self, seconds: float) -> trio.abc.Stream:
        """Open a connection.

        Args:
            seconds: that this may take.

        Raises:
            CannotTest: nothing listens there, or TLS fails.
        """
        where = f"{self.url.hostname}:{self.url.port}"
        try:
            with trio.fail_after(seconds):
                return await self._secured(await trio.open_tcp_stream(self.url.hostname, self.url.port))
        except OSError as error:
            raise CannotTest(f"cannot connect to {where}: {error}: {NOT_THERE}") from None
        except trio.TooSlowError:
            raise CannotTest(f"cannot connect to {where} within {seconds:g} s: {NOT_THERE}") from None
        except trio.BrokenResourceError as error:
            cause = error.__cause__ or error
            raise CannotTest(
                f"TLS with {where} fails: {cause} (--cafile FILE trusts a certificate, --insecure any)"
            ) from None

    async def _secured(self, stream: trio.SocketStream) -> trio.abc.Stream:
        """Return the connection under TLS if the URL says so; close it if that fails, or is cancelled."""
        if self.ssl_context is None:
            return stream
        secured = trio.SSLStream(stream, self.ssl_context, server_hostname=self.url.hostname, https_compatible=True)
        try:
            await secured.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secured


async def first_look(target: ServerUnderTest, pace: Pace) -> OpeningHead:
    """Open a connection and have one message echoed; return the server's response.

    Raises:
        CannotTest: it is no WebSocket server that echoes; the message says what came instead.
    """
    stream = await target.connect(pace.timeout)
    peer = SuitePeer(stream, client=True, pace=pace, log=WireLog())
    try:
        with trio.move_on_after(pace.timeout):
            return await _look(target, peer)
        raise CannotTest(f"no {peer.waiting} within {pace.timeout:g} s: does {target.url} echo every message?")
    except Finding as finding:
        raise CannotTest(f"{target.url} does not speak WebSocket: {finding}") from None
    finally:
        await peer.close()


async def _look(target: ServerUnderTest, peer: SuitePeer) -> OpeningHead:
    context = target.context()
    peer.waiting = "answer to the opening handshake"
    await peer.send_head(PLAIN_REQUEST.encode(context.host, context.target, context.request_lines()))
    head = await peer.read_head()
    if head is None:
        raise CannotTest(f"{target.url} ends the connection without an answer to the opening handshake")
    if head.status != 101:
        raise CannotTest(
            f"{target.url} refuses the opening handshake: {head.line} (is the path right? --header and --subprotocol "
            "add what the server needs)"
        )
    check_response(head, PLAIN_REQUEST.key, (), target.subprotocols)
    peer.agree(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.read)
        await peer.send((HELLO,))
        await peer.wait_for(lambda: bool(peer.messages) or peer.closing is not None, "echo of a message")
        if not peer.ended and peer.closing is None:
            await peer.send((close(1000),))
        nursery.cancel_scope.cancel(reason="seen enough")
    if peer.messages != [HELLO]:
        came = peer.messages[0] if peer.messages else peer.closing or "the end of the connection"
        raise CannotTest(f"{target.url} does not echo: {HELLO} was sent, {came} came back")
    return head
