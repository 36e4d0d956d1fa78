"""open_websocket: the ways to a server (TLS, Unix sockets, listeners, streams), and what goes wrong on them."""

from __future__ import annotations

import socket

import attrs
import pytest
import trio
import trustme
from support.endings import code_of, end_of
from support.handlers import QUICK, Ends, serve, until_gone
from support.tls import trusting
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from client.servers import accept, read_request
from trio_ws import (
    Compression,
    ConnectError,
    ConnectionRejected,
    ConnectTimeout,
    Limits,
    Reject,
    WebSocket,
    WebSocketDisconnect,
    open_websocket,
)
from trio_ws.connection.inbox import Inbox
from trio_ws.protocol import frames
from trio_ws.testing import leaves_nothing
from trio_ws.transport.stream import StreamTransport
from trio_ws.transport.tls import TLSTransport


def text(data: bytes) -> bytes:
    """Return a server's frame with a text message."""
    return frames.encode_frame(frames.TEXT, data, mask=None)


def close(code: int, reason: bytes = b"") -> bytes:
    """Return a server's close frame."""
    return frames.encode_frame(frames.CLOSE, code.to_bytes(2) + reason, mask=None)


HELLO = text(b"hello")
GOODBYE = close(4001, b"enough")


async def greet(ws: WebSocket) -> None:
    """Send the first message, then the rest of an echo."""
    await ws.send(f"hello {ws.client}")
    async for message in ws:
        await ws.send(message)


async def talk(ws: WebSocket) -> None:
    """Exchange messages small and large with `greet`."""
    assert (await ws.receive()).startswith("hello")
    for message in ("text", b"\xff" * 300_000, ""):
        await ws.send(message)
        assert await ws.receive() == message


class TestTLS:
    async def test_messages_pass_and_both_sides_know(self, nursery, server_tls, client_tls, poller):
        ends = Ends()
        server = await serve(nursery, greet, ssl_context=server_tls, on_disconnect=ends)
        assert server.urls[0].startswith("wss://127.0.0.1:")
        async with open_websocket(server.urls[0], ssl_context=client_tls, poller=poller) as ws:
            await talk(ws)
            assert ws.request.secure
            assert type(ws.context.channel.transport) is (TLSTransport if poller else StreamTransport)
        assert await ends.first() == 1000

    async def test_the_certificate_may_be_for_another_name(self, nursery, server_tls, client_tls, poller):
        server = await serve(nursery, greet, ssl_context=server_tls)
        url = f"wss://127.0.0.1:{server.port}"
        async with open_websocket(url, ssl_context=client_tls, poller=poller, server_hostname="localhost") as ws:
            await talk(ws)
        with pytest.raises(ConnectError) as caught:
            async with open_websocket(url, ssl_context=client_tls, poller=poller, server_hostname="example.org"):
                pass
        assert caught.value.phase == "tls"

    async def test_unknown_authority_is_a_tls_error_and_server_goes_on(self, nursery, server_tls, client_tls, poller):
        """An unknown authority is a TLS error and the server lives on."""
        server = await serve(nursery, greet, ssl_context=server_tls)
        with pytest.raises(ConnectError) as caught:
            async with open_websocket(server.urls[0], ssl_context=trusting(trustme.CA()), poller=poller):
                pass
        assert caught.value.phase == "tls"
        async with open_websocket(server.urls[0], ssl_context=client_tls, poller=poller) as ws:
            await talk(ws)

    async def test_shutdown_tells_1001_over_tls_too(self, nursery, server_tls, client_tls, poller):
        server = await serve(nursery, greet, ssl_context=server_tls)
        async with open_websocket(server.urls[0], ssl_context=client_tls, poller=poller, caught_close_codes=()) as ws:
            await ws.receive()
            server.shutdown()
            assert await code_of(ws) == 1001

    async def test_listeners_of_trios_may_do_the_tls(self, nursery, server_tls, client_tls, poller):
        listeners = await trio.open_ssl_over_tcp_listeners(0, server_tls, host="127.0.0.1")
        server = await serve(nursery, greet, listeners=listeners)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        async with open_websocket(f"wss://127.0.0.1:{port}", ssl_context=client_tls, poller=poller) as ws:
            await talk(ws)
        server.shutdown()


class TestUnixSockets:
    @pytest.mark.parametrize("server_poller", [True, False], ids=["poller", "stream"])
    async def test_messages_pass(self, nursery, poller, server_poller, tmp_path):
        path = tmp_path / "socket"
        server = await serve(nursery, greet, uds=path, poller=server_poller)
        assert server.urls == (f"ws+unix://{path}",)
        async with open_websocket("ws://localhost/", uds=path, poller=poller) as ws:
            await talk(ws)

    async def test_without_a_server_it_is_a_tcp_error(self, tmp_path):
        with pytest.raises(ConnectError) as caught:
            async with open_websocket("ws://localhost/", uds=tmp_path / "nobody"):
                pass
        assert caught.value.phase == "tcp"


class TestListenersAndStreams:
    async def test_listeners_of_trios_are_served(self, nursery, poller):
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = await serve(nursery, greet, listeners=listeners)
        assert server.port == listeners[0].socket.getsockname()[1]
        async with open_websocket(f"ws://127.0.0.1:{server.port}", poller=poller) as ws:
            await talk(ws)

    async def test_listening_sockets_are_served(self, nursery, poller):
        sock = socket.create_server(("127.0.0.1", 0))
        server = await serve(nursery, greet, listeners=[sock])
        async with open_websocket(server.urls[0], poller=poller) as ws:
            await talk(ws)

    async def test_a_stream_of_the_caller_s_is_used_and_closed(self, nursery, poller):
        server = await serve(nursery, greet)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with open_websocket("ws://example.org/", stream=stream, poller=poller) as ws:
            await talk(ws)
            assert ws.headers["host"] == "example.org"
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")

    async def test_any_stream_will_do(self, autojump_clock):
        client, server = memory_stream_pair()

        async def answer_it() -> None:
            await server.send_all(accept(await read_request(server)) + HELLO)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_it)
            async with open_websocket("ws://example.org/", stream=client) as ws:
                assert isinstance(ws.context.channel.transport, StreamTransport)
                assert type(ws.context.channel.reader.inbox) is Inbox, "there is no socket to wait for"
                assert await ws.receive() == "hello"
                await server.send_all(close(1000))
                await server.send_eof()


class TestLeftover:
    """What comes in the same packet as the 101."""

    async def open(self, nursery: trio.Nursery, behind: bytes, **options):
        client, server = memory_stream_pair()

        async def answer_it() -> None:
            await server.send_all(accept(await read_request(server)) + behind)
            await server.send_eof()

        nursery.start_soon(answer_it)
        return open_websocket("ws://example.org/", stream=client, **options)

    async def test_a_message_and_the_end_are_received(self, nursery, autojump_clock):
        async with await self.open(nursery, HELLO + HELLO + GOODBYE, caught_close_codes=all) as ws:
            assert await ws.receive() == "hello"
            assert await ws.receive() == "hello"
            caught = await end_of(ws)
        assert (caught.code, caught.reason) == (4001, "enough")

    async def test_a_message_cut_in_the_middle_is_1006(self, nursery, autojump_clock):
        async with await self.open(nursery, HELLO + HELLO[:-1], caught_close_codes=all) as ws:
            assert [message async for message in ws] == ["hello"]
        assert ws.close_code == 1006

    async def test_more_than_the_inbox_takes_is_received_in_order(self, nursery, autojump_clock):
        behind = b"".join(text(b"%d" % number) for number in range(500)) + GOODBYE
        async with await self.open(nursery, behind, limits=Limits(inbox_messages=3), caught_close_codes=all) as ws:
            assert [message async for message in ws] == [str(number) for number in range(500)]

    async def test_a_block_that_does_not_read_is_cancelled_at_once(self, nursery, autojump_clock):
        began = trio.current_time()
        async with await self.open(nursery, GOODBYE, caught_close_codes=all):
            try:
                await trio.sleep_forever()
            finally:
                assert trio.current_time() == began

    async def test_what_is_no_frame_is_answered_with_1002(self, nursery, autojump_clock):
        with pytest.raises(WebSocketDisconnect) as caught:
            async with await self.open(nursery, b"\xff\xff\xff") as ws:
                await ws.receive()
        assert caught.value.code == 1002


class TestFailures:
    @pytest.mark.parametrize("url", ["ftp://localhost", "ws://", "localhost:80", "ws://localhost:99999"])
    async def test_a_url_that_is_none_is_a_value_error(self, url):
        with pytest.raises(ValueError, match=r"URL|port|host"):
            async with open_websocket(url):
                pass

    async def test_a_name_that_is_none_is_a_dns_error(self):
        class Nowhere(trio.abc.HostnameResolver):
            async def getaddrinfo(self, *_):
                raise trio.socket.gaierror(trio.socket.EAI_NONAME, "Name or service not known")

            async def getnameinfo(self, *_):
                raise NotImplementedError

        trio.socket.set_custom_hostname_resolver(Nowhere())
        with pytest.raises(ConnectError) as caught:
            async with open_websocket("ws://nowhere.test/"):
                pass
        assert caught.value.phase == "dns"

    async def test_a_port_that_nobody_listens_on_is_a_tcp_error(self):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        with pytest.raises(ConnectError) as caught:
            async with open_websocket(f"ws://127.0.0.1:{port}"):
                pass
        assert caught.value.phase == "tcp"

    async def test_a_rejection_has_status_headers_and_body(self, nursery):
        async def refuse(ws: WebSocket) -> None:
            raise Reject(418, {"X-Why": "tea"}, b"short and stout")

        server = await serve(nursery, refuse, auto_accept=False)
        await wait_all_tasks_blocked()
        async with leaves_nothing():
            with pytest.raises(ConnectionRejected) as caught:
                async with open_websocket(server.urls[0]):
                    pass
            assert caught.value.phase == "handshake"
            assert (caught.value.status, caught.value.body) == (418, b"short and stout")
            assert caught.value.headers["X-Why"] == "tea"

    async def test_a_server_that_does_not_answer_is_a_timeout(self, autojump_clock):
        client, _server = memory_stream_pair()
        with pytest.raises(ConnectTimeout) as caught:
            async with open_websocket("ws://example.org/", stream=client, timeouts=attrs.evolve(QUICK, open_timeout=3)):
                pass
        assert caught.value.phase == "handshake"
        assert trio.current_time() == pytest.approx(3)

    @pytest.mark.parametrize(
        ("compression", "header"),
        [
            (None, "permessage-deflate"),
            (True, "permessage-bzip2"),
            (True, "permessage-deflate, permessage-deflate"),
            (True, "permessage-deflate; server_max_window_bits=7"),
            (True, "permessage-deflate; no_such_thing"),
            (Compression(receive_window_bits=10), "permessage-deflate; server_max_window_bits=11"),
            (True, "permessage-deflate;"),
        ],
    )
    async def test_extension_not_offered_in_this_form_is_handshake_error(self, compression, header):
        """An extension that was not offered so is a handshake error."""
        client, server = memory_stream_pair()
        async with trio.open_nursery() as nursery:

            async def answer_it() -> None:
                await server.send_all(accept(await read_request(server), f"Sec-WebSocket-Extensions: {header}"))
                assert await server.receive_some() == b"", "the connection is closed"

            nursery.start_soon(answer_it)
            with pytest.raises(ConnectError) as caught:
                async with open_websocket("ws://example.org/", stream=client, compression=compression):
                    pass
        assert caught.value.phase == "handshake"

    async def test_cancellation_while_it_dials_leaves_nothing_open(self):
        client, server = memory_stream_pair()
        with trio.move_on_after(0.01) as scope:
            async with open_websocket("ws://example.org/", stream=client):
                pytest.fail("there was no answer")
        assert scope.cancelled_caught
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")
        await read_request(server)
        assert await server.receive_some() == b""

    @pytest.mark.parametrize("cancelled", [False, True], ids=["returns", "cancelled"])
    async def test_nothing_stays_open_of_a_paused_connection(self, nursery, poller, cancelled):
        """The block ends while its inbox is full: what the server still sends is read and dropped up to its answer."""

        async def flood(ws: WebSocket) -> None:
            while True:
                await ws.send(bytes(1000))

        server = await serve(nursery, flood)
        await wait_all_tasks_blocked()
        async with leaves_nothing():
            with trio.fail_after(30), trio.CancelScope() as scope:
                options = {"limits": Limits(inbox_messages=1), "timeouts": attrs.evolve(QUICK, close_timeout=60.0)}
                async with open_websocket(server.urls[0], poller=poller, **options) as ws:
                    while not ws.context.channel.reader.paused:
                        await trio.sleep(0.001)
                    if cancelled:
                        scope.cancel()
                        await trio.sleep_forever()
            assert cancelled or ws.context.channel.closing.gone
            assert cancelled or (ws.close_info.code, ws.close_info.by) == (1000, "local")
            await until_gone(server)

    async def test_nothing_stays_open_after_many_connections(self, nursery, poller):
        server = await serve(nursery, greet)
        await wait_all_tasks_blocked()
        async with leaves_nothing():
            for _ in range(20):
                async with open_websocket(server.urls[0], poller=poller) as ws:
                    await ws.receive()
            await until_gone(server)
