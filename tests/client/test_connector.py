"""dial(): the handshake over every kind of stream, its failures, timeouts and cancellation."""

from __future__ import annotations

import math
import ssl
import sys

import pytest
import trio
import trustme
from support.internals import internal
from support.tls import trusting
from trio.testing import memory_stream_pair

import trio_ws
from trio_ws.client.connector import dial
from trio_ws.client.plan import USER_AGENT
from trio_ws.config import Limits
from trio_ws.errors import ConnectError, ConnectionRejected, ConnectTimeout, RemoteProtocolError
from trio_ws.headers import Headers
from trio_ws.http.url import URL
from trio_ws.testing import RawRequest, leaves_nothing
from trio_ws.transport.tls_session import TLSStream

from .servers import (
    accept,
    answer,
    cancelled_at_every_step,
    listen,
    read_request,
    redirect,
)


async def shake_hands(stream: trio.abc.Stream, *extra: str, behind: bytes = b"") -> RawRequest:
    request = await read_request(stream)
    await stream.send_all(accept(request, *extra) + behind)
    return request


class TestAccepted:
    async def test_plain_tcp_comes_back_as_a_socket_stream(self, serve):
        server = await serve()
        done = await dial(f"ws://localhost:{server.port}/path?a=1")
        async with done.stream:
            assert type(done.stream) is trio.SocketStream
            assert done.url == URL.parse(f"ws://localhost:{server.port}/path?a=1")
            assert (done.accepted.subprotocol, done.accepted.extensions, done.leftover) == (None, "", b"")
            assert done.request.startswith(b"GET /path?a=1 HTTP/1.1\r\n")
        assert server.requests[0].line == "GET /path?a=1 HTTP/1.1"

    @pytest.mark.parametrize(
        ("options", "sent"),
        [
            ({}, USER_AGENT),
            ({"user_agent": "mine/1"}, "mine/1"),
            ({"user_agent": None}, None),
            ({"headers": {"user-agent": "theirs"}}, "theirs"),
            ({"headers": {"user-agent": "theirs"}, "user_agent": None}, "theirs"),
        ],
    )
    async def test_the_user_agent(self, serve, options, sent):
        server = await serve()
        done = await dial(f"ws://localhost:{server.port}/", **options)
        await done.stream.aclose()
        assert server.requests[0].headers.get("user-agent") == sent
        assert f"trio-ws/{trio_ws.__version__}" == USER_AGENT

    async def test_two_user_agents_are_refused(self):
        with pytest.raises(ValueError, match="'User-Agent' is given twice"):
            await dial("ws://localhost:1/", headers={"User-Agent": "a"}, user_agent="b")

    async def test_what_was_asked_for_is_in_the_request(self, serve):
        server = await serve(
            lambda request: accept(
                request, "Sec-WebSocket-Protocol: two", "Sec-WebSocket-Extensions: permessage-deflate"
            )
        )
        done = await dial(
            f"ws://user:pa%20ss@localhost:{server.port}/",
            headers=[("X-One", "1"), ("X-One", "2")],
            cookies={"a": "1", "b": '"2"'},
            origin="https://example.org",
            subprotocols=["one", "two"],
            extensions="permessage-deflate; client_max_window_bits",
        )
        await done.stream.aclose()
        (request,) = server.requests
        assert [value for name, value in request.headers.pairs if name == "x-one"] == ["1", "2"]
        assert request.headers.get("cookie") == 'a=1; b="2"'
        assert request.headers.get("origin") == "https://example.org"
        assert request.headers.get("sec-websocket-protocol") == "one, two"
        assert request.headers.get("sec-websocket-extensions") == "permessage-deflate; client_max_window_bits"
        assert request.headers.get("authorization") == "Basic dXNlcjpwYSBzcw=="
        assert done.accepted.subprotocol == "two"
        assert done.accepted.extensions == "permessage-deflate"

    @pytest.mark.parametrize(
        "headers", [{"X-One": "1"}, Headers({"X-One": "1"}), [("X-One", "1")], [(b"X-One", b"1")], {b"X-One": b"1"}]
    )
    async def test_headers_come_in_every_form(self, serve, headers):
        server = await serve()
        done = await dial(f"ws://localhost:{server.port}/", headers=headers)
        await done.stream.aclose()
        assert server.requests[0].headers.get("x-one") == "1"

    async def test_bytes_behind_the_answer_are_kept(self, serve):
        server = await serve(lambda request: accept(request) + b"\x81\x02hi")
        done = await dial(f"ws://localhost:{server.port}/")
        await done.stream.aclose()
        assert done.leftover == b"\x81\x02hi"

    async def test_tls(self, serve, server_tls, client_tls, detachable):
        server = await serve(context=server_tls)
        done = await dial(f"wss://localhost:{server.port}/", ssl_context=client_tls, detachable=detachable)
        assert type(done.stream) is (TLSStream if detachable else trio.SSLStream)
        await done.stream.aclose()
        assert server.requests[0].headers.get("host") == f"localhost:{server.port}"

    async def test_tls_to_an_address(self, serve, server_tls, client_tls, detachable):
        server = await serve(context=server_tls)
        done = await dial(f"wss://127.0.0.1:{server.port}/", ssl_context=client_tls, detachable=detachable)
        await done.stream.aclose()

    async def test_tls_without_a_context_trusts_the_system(self, serve, server_tls, system_trusts, detachable):
        server_tls.set_alpn_protocols(["h2", "http/1.1"])
        server = await serve(context=server_tls)
        done = await dial(f"https://localhost:{server.port}/", detachable=detachable)
        tls = internal(done.stream.session, "_tls") if detachable else done.stream
        assert tls.selected_alpn_protocol() == "http/1.1"
        await done.stream.aclose()

    async def test_server_hostname_is_what_the_certificate_must_hold_for(
        self, serve, server_tls, client_tls, detachable
    ):
        server = await serve(context=server_tls)
        url = f"wss://other.test:{server.port}/"
        done = await dial(url, ssl_context=client_tls, detachable=detachable, server_hostname="localhost")
        await done.stream.aclose()

    @pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
    async def test_unix_socket(self, tmp_path, nursery):
        path = tmp_path / "socket"
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(str(path))
        listener.listen()
        nursery.start_soon(trio.serve_listeners, shake_hands, [trio.SocketListener(listener)])
        done = await dial("ws://anything/", uds=path)
        assert type(done.stream) is trio.SocketStream
        await done.stream.aclose()

    async def test_given_stream(self, nursery):
        client, server = memory_stream_pair()
        nursery.start_soon(shake_hands, server)
        assert (await dial("ws://anything/", stream=client)).stream is client

    async def test_wss_starts_tls_on_a_given_stream(self, nursery, server_tls, client_tls):
        client, server = memory_stream_pair()
        nursery.start_soon(shake_hands, trio.SSLStream(server, server_tls, server_side=True))
        done = await dial("wss://localhost/", stream=client, ssl_context=client_tls)
        assert type(done.stream) is trio.SSLStream
        assert done.stream.transport_stream is client

    async def test_tls_on_what_is_no_socket_stays_on_trios_stream(self, nursery, server_tls, client_tls):
        client, server = memory_stream_pair()
        nursery.start_soon(shake_hands, trio.SSLStream(server, server_tls, server_side=True))
        done = await dial("wss://localhost/", stream=client, ssl_context=client_tls, detachable=True)
        assert type(done.stream) is trio.SSLStream

    async def test_wss_takes_a_given_ssl_stream_as_it_is(self, nursery, server_tls, client_tls):
        client, server = memory_stream_pair()
        nursery.start_soon(shake_hands, trio.SSLStream(server, server_tls, server_side=True))
        secure = trio.SSLStream(client, client_tls, server_hostname="localhost")
        assert (await dial("wss://localhost/", stream=secure)).stream is secure

    async def test_an_answer_byte_by_byte_in_no_hurry(self, nursery, autojump_clock):
        client, server = memory_stream_pair()

        async def slowly() -> None:
            for byte in accept(await read_request(server)):
                await trio.sleep(0.01)
                await server.send_all(bytes([byte]))

        nursery.start_soon(slowly)
        assert (await dial("ws://anything/", stream=client)).stream is client


class TestMisuse:
    """Misuse is found before anything is connected, and a given stream stays open."""

    @pytest.mark.parametrize(
        ("url", "arguments", "message"),
        [
            ("ftp://x/", {}, "scheme"),
            ("ws://x/#a", {}, "fragment"),
            ("ws://x/", {"open_timeout": -1}, "open_timeout"),
            ("ws://x/", {"open_timeout": math.nan}, "open_timeout"),
            ("ws://x/", {"max_redirects": -1}, "max_redirects"),
            ("ws://x/", {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, "are for wss"),
            ("ws://x/", {"server_hostname": "x"}, "are for wss"),
            ("ws://x/", {"uds": "a", "proxy": True}, "three ways"),
            ("ws://x/", {"stream": memory_stream_pair()[0], "uds": "a"}, "three ways"),
            ("ws://x/", {"stream": memory_stream_pair()[0], "proxy": "http://p"}, "three ways"),
            ("ws://x/", {"proxy": "ftp://p"}, "proxy's URL begins with"),
            ("ws://x/", {"cookies": {"a b": "1"}}, "name of a cookie"),
            ("ws://x/", {"cookies": {"a": "1; b=2"}}, "cookie 'a' cannot be sent"),
            ("ws://x/", {"cookies": {"a": "1\r\nX: y"}}, "cookie 'a' cannot be sent"),
            ("ws://x/", {"cookies": {"a": "1"}, "headers": {"cookie": "b=2"}}, "given twice"),
            ("ws://x/", {"origin": "http://x", "headers": [("ORIGIN", "y")]}, "given twice"),
            ("ws://x/", {"headers": {"X": "a\r\nY: b"}}, "cannot be sent"),
            ("ws://x/", {"headers": {"Upgrade": "h2c"}}, "set by the library"),
            ("ws://x/", {"subprotocols": ["a b"]}, "not a token"),
        ],
    )
    async def test_is_a_value_error(self, monkeypatch, url, arguments, message):
        monkeypatch.delattr(trio, "open_tcp_stream")
        with pytest.raises(ValueError, match=message):
            await dial(url, **arguments)

    @pytest.mark.parametrize(("url", "arguments"), [(b"ws://x/", {}), ("ws://x/", {"subprotocols": "chat"})])
    async def test_is_a_type_error(self, monkeypatch, url, arguments):
        monkeypatch.delattr(trio, "open_tcp_stream")
        with pytest.raises(TypeError):
            await dial(url, **arguments)

    async def test_leaves_a_given_stream_open(self):
        client, server = memory_stream_pair()
        with pytest.raises(ValueError, match="not a token"):
            await dial("ws://x/", stream=client, subprotocols=["a b"])
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"


class TestFailures:
    async def fails(self, url: str, phase: str, **arguments) -> ConnectError:
        async with leaves_nothing():
            with pytest.raises(ConnectError) as caught:
                await dial(url, **arguments)
        assert caught.value.phase == phase
        assert str(caught.value).startswith(f"{phase}: ")
        assert not isinstance(caught.value, ConnectTimeout)
        return caught.value

    async def test_unknown_name(self, resolver):
        error = await self.fails("ws://nobody.invalid/", "dns")
        assert "nobody.invalid" in str(error)

    async def test_refused_port(self, resolver):
        listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
        port = listener.socket.getsockname()[1]
        await listener.aclose()
        error = await self.fails(f"ws://localhost:{port}/", "tcp")
        assert "refused" in str(error)

    async def test_no_unix_socket(self, tmp_path):
        error = await self.fails("ws://x/", "tcp", uds=tmp_path / "none")
        assert "No such file" in str(error)

    async def test_untrusted_certificate(self, serve, server_tls, detachable):
        server = await serve(context=server_tls)
        context = trusting(trustme.CA())
        error = await self.fails(f"wss://localhost:{server.port}/", "tls", ssl_context=context, detachable=detachable)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
        assert server.requests == []

    async def test_certificate_for_another_name(self, serve, server_tls, client_tls, detachable):
        server = await serve(context=server_tls)
        error = await self.fails(
            f"wss://other.test:{server.port}/", "tls", ssl_context=client_tls, detachable=detachable
        )
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)

    async def test_no_tls_at_all(self, nursery, resolver, client_tls, detachable):
        async def speak_plainly(stream: trio.abc.Stream) -> None:
            await stream.send_all(answer(400))

        port = await listen(nursery, speak_plainly)
        await self.fails(f"wss://localhost:{port}/", "tls", ssl_context=client_tls, detachable=detachable)

    async def test_closed_during_tls(self, nursery, resolver, client_tls, detachable):
        port = await listen(nursery, lambda stream: stream.aclose())
        await self.fails(f"wss://localhost:{port}/", "tls", ssl_context=client_tls, detachable=detachable)

    @pytest.mark.parametrize("name", [".localhost", "", "a..b", "a" * 64])
    async def test_a_name_that_no_certificate_can_have(self, name):
        with pytest.raises(ValueError, match=r"server_hostname .* cannot stand in a certificate"):
            await dial("wss://localhost:1/", server_hostname=name)

    async def test_the_dot_of_the_root_is_not_in_sni_nor_in_certificates(
        self, serve, resolver, server_tls, client_tls, detachable
    ):
        names = []
        server_tls.sni_callback = lambda _, name, __: names.append(name)
        server = await serve(context=server_tls)
        resolver.names["localhost."] = ["127.0.0.1"]
        url = f"wss://localhost.:{server.port}/"
        done = await dial(url, ssl_context=client_tls, detachable=detachable)
        await done.stream.aclose()
        assert names == ["localhost"]
        assert server.requests[0].headers.get("host") == f"localhost.:{server.port}"

    async def test_a_name_outside_ascii_is_the_one_that_browsers_go_to(self, serve, resolver):
        """IDNA 2003 made another host of it, `fass.example`."""
        server = await serve()
        resolver.names["xn--fa-hia.example"] = ["127.0.0.1"]
        done = await dial(f"ws://faß.example:{server.port}/")
        await done.stream.aclose()
        assert server.requests[0].headers.get("host") == f"xn--fa-hia.example:{server.port}"

    async def test_server_hostname_outside_ascii_is_encoded_alike(self, serve, authority, client_tls, detachable):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("xn--fa-hia.example").configure_cert(context)
        server = await serve(context=context)
        done = await dial(
            f"wss://localhost:{server.port}/",
            ssl_context=client_tls,
            detachable=detachable,
            server_hostname="faß.example",
        )
        await done.stream.aclose()

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 426, 500, 503])
    async def test_another_status(self, serve, status):
        server = await serve(lambda _: answer(status, "Retry-After: 7", body=b"no, sorry"))
        error = await self.fails(f"ws://localhost:{server.port}/", "handshake")
        assert isinstance(error, ConnectionRejected)
        assert (error.status, error.body) == (status, b"no, sorry")
        assert isinstance(error.headers, Headers)
        assert error.headers["Retry-After"] == "7"

    @pytest.mark.parametrize(
        "respond",
        [
            lambda _: b"SSH-2.0-OpenSSH_9.6\r\n",
            lambda request: accept(request).replace(b"Accept: ", b"Accept: x"),
            lambda request: accept(request, "Sec-WebSocket-Protocol: never-offered"),
            lambda request: accept(request, "Sec-WebSocket-Extensions: never-offered"),
            lambda request: accept(request, f"X: {'x' * 2000}"),
        ],
        ids=["no HTTP", "accept token", "subprotocol", "extension", "too large"],
    )
    async def test_an_answer_that_breaks_the_protocol(self, serve, respond):
        server = await serve(respond)
        error = await self.fails(f"ws://localhost:{server.port}/", "handshake", limits=Limits(max_header_size=1024))
        assert isinstance(error.__cause__, RemoteProtocolError)

    @pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 101 Swit"])
    async def test_closed_before_the_answer_is_no_breach_of_the_protocol(self, sent):
        client, server = memory_stream_pair()
        await server.send_all(sent)
        await server.send_eof()
        error = await self.fails("ws://x/", "handshake", stream=client)
        assert "closed the connection" in str(error)
        assert error.__cause__ is None

    async def test_lost_before_the_answer(self):
        client, server = memory_stream_pair()
        await server.aclose()
        error = await self.fails("ws://x/", "handshake", stream=client)
        assert "lost" in str(error)

    @pytest.mark.parametrize("end", ["lost", "silent"])
    async def test_lost_in_the_body_of_a_refusal_the_status_is_known(self, end, autojump_clock):
        client, server = memory_stream_pair()
        await server.send_all(answer(401, body=b"sorry")[:-1])
        if end == "lost":
            await server.send_stream.aclose()
        with pytest.raises(ConnectionRejected) as caught:
            await dial("ws://x/", stream=client)
        assert (caught.value.status, caught.value.body) == (401, b"sorr")

    async def test_reset_in_the_body_of_a_refusal_the_status_is_known(self):
        client, server = memory_stream_pair()
        await server.send_all(answer(401, body=b"sorry")[:-1])
        received = client.receive_some

        async def receive_some(max_bytes: int | None = None) -> bytes:
            client.receive_some = reset
            return await received(max_bytes)

        async def reset(max_bytes: int | None = None) -> bytes:
            raise trio.BrokenResourceError

        client.receive_some = receive_some
        with pytest.raises(ConnectionRejected) as caught:
            await dial("ws://x/", stream=client)
        assert caught.value.status == 401

    async def test_a_given_stream_that_is_closed(self):
        client, _server = memory_stream_pair()
        await client.aclose()
        await self.fails("ws://x/", "handshake", stream=client)

    async def test_a_given_stream_is_closed_by_a_failure(self):
        client, server = memory_stream_pair()
        await server.send_all(b"nonsense")
        await self.fails("ws://x/", "handshake", stream=client)
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")


class TestTimeouts:
    async def times_out(self, url: str, phase: str, **arguments) -> None:
        before = trio.current_time()
        with pytest.raises(ConnectTimeout, match="within 3 seconds") as caught:
            await dial(url, open_timeout=3, **arguments)
        assert caught.value.phase == phase
        assert trio.current_time() - before == pytest.approx(3)

    async def test_without_time_it_is_over_at_once(self, autojump_clock):
        client, _server = memory_stream_pair()
        with pytest.raises(ConnectTimeout, match="within 0 seconds"):
            await dial("ws://x/", stream=client, open_timeout=0)

    async def test_in_the_handshake(self, autojump_clock):
        client, _server = memory_stream_pair()
        await self.times_out("ws://x/", "handshake", stream=client)
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")

    @pytest.mark.parametrize("status", [302, 401])
    async def test_in_the_body_of_a_refusal_the_status_is_known(self, autojump_clock, status):
        client, server = memory_stream_pair()
        await server.send_all(f"HTTP/1.1 {status} x\r\nRetry-After: 9\r\n\r\nsome".encode())
        with pytest.raises(ConnectionRejected) as caught:
            await dial("ws://x/", stream=client, open_timeout=3)
        refusal = caught.value
        assert (refusal.status, refusal.headers.pairs, refusal.body) == (status, (("retry-after", "9"),), b"some")

    async def test_after_a_redirect_its_status_is_not_the_answer(self, autojump_clock, resolver, monkeypatch):
        servers = []

        async def connect(host: str, port: int) -> trio.abc.Stream:
            client, server = memory_stream_pair()
            servers.append(server)
            if len(servers) == 1:
                await server.send_all(redirect("/next"))
            return client

        monkeypatch.setattr(trio, "open_tcp_stream", connect)
        await self.times_out("ws://localhost/", "handshake")

    async def test_in_tls(self, autojump_clock):
        client, _server = memory_stream_pair()
        await self.times_out("wss://x/", "tls", stream=client)
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")

    async def test_in_tls_that_is_detachable(self, autojump_clock):
        client, server = trio.socket.socketpair()
        with server:
            await self.times_out("wss://x/", "tls", stream=trio.SocketStream(client), detachable=True)
            assert client.fileno() == -1

    async def test_in_tcp(self, autojump_clock, resolver, monkeypatch):
        async def hang(host: str, port: int) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(trio, "open_tcp_stream", hang)
        await self.times_out("ws://localhost/", "tcp")

    async def test_in_dns(self, autojump_clock, resolver):
        resolver.hang = True
        await self.times_out("ws://localhost/", "dns")

    async def test_in_a_proxy(self, autojump_clock, resolver, monkeypatch):
        streams = memory_stream_pair()

        async def connect(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return streams[0]

        monkeypatch.setattr(trio, "open_tcp_stream", connect)
        await self.times_out("ws://x/", "proxy", proxy="http://localhost")
        with pytest.raises(trio.ClosedResourceError):
            await streams[0].send_all(b"x")

    async def test_is_one_for_everything(self, autojump_clock, resolver, monkeypatch):
        """Redirects that take two seconds each do not get three seconds each."""

        async def connect(host: str, port: int) -> trio.abc.Stream:
            client, server = memory_stream_pair()
            await trio.sleep(2)
            await server.send_all(redirect("/next"))
            return client

        monkeypatch.setattr(trio, "open_tcp_stream", connect)
        await self.times_out("ws://localhost/", "tcp")

    async def test_an_outer_timeout_is_not_ours(self, autojump_clock):
        client, _server = memory_stream_pair()
        with trio.move_on_after(1) as scope:
            await dial("ws://x/", stream=client, open_timeout=3)
        assert scope.cancelled_caught


class TestCancellation:
    @pytest.mark.slow
    async def test_leaks_nothing_wherever_it_strikes(self, serve, server_tls, client_tls, detachable):
        """It strikes at every step of: TCP, TLS, a redirect, TCP, TLS, handshake; without a redirect for Trio's TLS."""
        server = await serve(lambda request: redirect("/b") if " /a " in request.line else accept(request), server_tls)
        url = f"wss://localhost:{server.port}/{'a' if detachable else 'b'}"
        assert await cancelled_at_every_step(lambda: dial(url, ssl_context=client_tls, detachable=detachable)) > 10

    async def test_closes_a_given_stream(self):
        client, _server = memory_stream_pair()
        with trio.CancelScope() as scope:
            scope.cancel()
            await dial("ws://x/", stream=client)
        assert scope.cancelled_caught
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"x")
