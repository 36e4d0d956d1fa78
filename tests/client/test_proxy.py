"""Proxies: their URLs, which one the environment names, HTTP CONNECT, SOCKS4 and SOCKS5."""

from __future__ import annotations

import base64
import builtins
import sys
import urllib.request

import pytest
import trio

from trio_ws.client.backoff import should_reconnect
from trio_ws.client.connector import dial
from trio_ws.client.proxy import Proxy, environment_proxy
from trio_ws.errors import ConnectError, ConnectionRejected
from trio_ws.http.url import URL
from trio_ws.testing import RawRequest, leaves_nothing
from trio_ws.transport.tls_session import TLSStream

from .servers import (
    cancelled_at_every_step,
    listen,
    read_request,
    redirect,
    tunnel,
    wait_for_end,
)


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "proxy"),
        [
            ("http://p", Proxy("http", "p", 80)),
            ("HTTP://P:3128/", Proxy("http", "p", 3128)),
            ("https://p", Proxy("https", "p", 443)),
            ("socks4://p", Proxy("socks4", "p", 1080)),
            (f"socks5://{'n' * 255}:{'p' * 255}@p", Proxy("socks5", "p", 1080, "n" * 255, "p" * 255)),
            ("socks5h://u:p%40ss@[::1]:9", Proxy("socks5h", "::1", 9, "u", "p@ss")),
            ("http://%C3%BC@p", Proxy("http", "p", 80, "ü")),
        ],
    )
    def test_is_read_from_a_url(self, text, proxy):
        assert Proxy.parse(text) == proxy

    @pytest.mark.parametrize(
        "text",
        [
            "p:3128",
            "ftp://p",
            "http://",
            "http://p:70000",
            "http://p:x",
            "http://[::",
            "http://p/path",
            "http://p?q",
            "http://p#f",
            "http://sec%3Aret:x@p",
            f"socks5://{'secret' + 'x' * 250}@p",
            f"socks5://u:{'secret' + 'x' * 250}@p",
            "socks5://s%C3%A9cret@p",
        ],
    )
    def test_invalid_url_is_a_value_error_without_the_password(self, text):
        """That makes no sense is a ValueError which gives nothing away."""
        with pytest.raises(ValueError, match="prox") as caught:
            Proxy.parse(text)
        assert "cret" not in str(caught.value)

    def test_is_shown_without_the_password(self):
        assert "secret" not in repr(Proxy.parse("http://u:secret@p"))


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def empty(self, monkeypatch):
        for kind in ("ws", "wss", "http", "https", "socks", "all", "no"):
            monkeypatch.delenv(f"{kind}_proxy", raising=False)
            monkeypatch.delenv(f"{kind.upper()}_PROXY", raising=False)
        # Not the settings of the system that the tests run on.
        monkeypatch.setattr(urllib.request, "getproxies", urllib.request.getproxies_environment)
        monkeypatch.setattr(urllib.request, "proxy_bypass", urllib.request.proxy_bypass_environment)

    @pytest.mark.parametrize(
        ("variables", "ws", "wss"),
        [
            ({}, None, None),
            ({"HTTP_PROXY": "http://h"}, "h", None),
            ({"HTTPS_PROXY": "http://s"}, "s", "s"),
            ({"HTTP_PROXY": "http://h", "HTTPS_PROXY": "http://s"}, "s", "s"),
            ({"ALL_PROXY": "http://a", "HTTP_PROXY": "http://h"}, "h", "a"),
            ({"SOCKS_PROXY": "socks5://k", "HTTPS_PROXY": "http://s"}, "k", "k"),
            ({"WS_PROXY": "http://w", "WSS_PROXY": "http://x", "SOCKS_PROXY": "socks5://k"}, "w", "x"),
            ({"https_proxy": "http://s"}, "s", "s"),
            ({"HTTPS_PROXY": ""}, None, None),
            ({"HTTPS_PROXY": "http://s", "NO_PROXY": "example.org"}, None, None),
            ({"HTTPS_PROXY": "http://s", "NO_PROXY": "example.org:8080"}, None, "s"),
            ({"HTTPS_PROXY": "http://s", "NO_PROXY": "*"}, None, None),
            ({"HTTPS_PROXY": "http://s", "NO_PROXY": "other.org"}, "s", "s"),
        ],
    )
    def test_names_the_proxy(self, monkeypatch, variables, ws, wss):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        found = [
            environment_proxy(URL.parse(f"{url}/")) for url in ("ws://www.example.org:8080", "wss://www.example.org")
        ]
        assert [proxy and proxy.host for proxy in found] == [ws, wss]

    @pytest.mark.parametrize(
        ("exceptions", "host", "direct"),
        [
            ("10.0.0.0/8", "10.1.2.3", True),
            ("10.0.0.0/8", "11.1.2.3", False),
            ("10.1.2.3/8", "10.9.9.9", True),
            ("x, 192.168.0.0/16 ,y", "192.168.7.7", True),
            ("fd00::/8", "[fd12::1]", True),
            ("[fd00::]/8", "[fd12::1]", True),
            ("fd00::/8", "[fe80::1]", False),
            ("::1", "[0:0::1]", True),
            ("[::1]", "[::1]", True),
            ("127.0.0.1", "127.0.0.1", True),
            ("10.0.0.0/8", "host.example", False),
            ("10.0.0.0/33, 10.0.0.0/x, /", "10.0.0.1", False),
            ("*.example", "host.example", True),
            ("*.example", "example", False),
            ("HOST.example", "host.example.", True),
            ("host.example.", "host.example", True),
            ("*.example:8000", "host.example", True),
            ("*.example:81", "host.example", False),
            ("bücher.example", "a.bücher.example", True),
            ("*.bücher.example", "bücher.example", False),
            ("x y.example host.example", "host.example", True),
            ("x,*", "host.example", True),
            ("[fd00::1]:8000", "[fd00:0::1]", True),
            ("[fd00::1]:81", "[fd00::1]", False),
            ("10.0.0.0/8", "[::ffff:10.1.2.3]", True),
            ("a..b, .", "host.example", False),
            ("st.example", "host.example", False),
            ("", "10.0.0.1", False),
        ],
    )
    @pytest.mark.parametrize("scheme", ["ws", "wss"])
    def test_no_proxy_has_networks_and_addresses(self, monkeypatch, scheme, exceptions, host, direct):
        monkeypatch.setenv("HTTPS_PROXY", "http://s")
        monkeypatch.setenv("NO_PROXY", exceptions)
        assert (environment_proxy(URL.parse(f"{scheme}://{host}:8000/")) is None) == direct

    def test_a_proxy_s_name_outside_ascii_is_encoded_as_browsers_do(self):
        assert Proxy.parse("http://faß.example").host == "xn--fa-hia.example"
        assert Proxy.parse("http://[::1]:80").host == "::1"

    @pytest.mark.parametrize(
        ("variable", "value", "scheme"),
        [
            ("HTTPS_PROXY", "p:3128", "http"),
            ("HTTPS_PROXY", "socks5://p:3128", "socks5"),
            ("SOCKS_PROXY", "p:3128", "socks5h"),
            ("SOCKS_PROXY", "socks://p:3128", "socks5h"),
            ("SOCKS_PROXY", "http://p:3128", "socks5h"),
            ("SOCKS_PROXY", "socks4://p:3128", "socks4"),
        ],
    )
    def test_may_leave_the_scheme_out(self, monkeypatch, variable, value, scheme):
        monkeypatch.setenv(variable, value)
        assert environment_proxy(URL.parse("wss://x/")) == Proxy(scheme, "p", 3128)

    def test_invalid_url_is_a_value_error_naming_the_variable(self, monkeypatch):
        """That makes no sense is a ValueError naming the variable."""
        monkeypatch.setenv("HTTPS_PROXY", "ftp://p")
        with pytest.raises(ValueError, match=r"^HTTPS_PROXY: "):
            environment_proxy(URL.parse("wss://x/"))

    async def test_is_used_with_true_only(self, monkeypatch, serve, http_proxy):
        server = await serve()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{http_proxy.port}")
        for proxy, seen in ((None, 0), (False, 0), (True, 1)):
            done = await dial(f"ws://localhost:{server.port}/", proxy=proxy)
            await done.stream.aclose()
            assert len(http_proxy.requests) == seen

    async def test_may_name_no_proxy(self, serve):
        server = await serve()
        done = await dial(f"ws://localhost:{server.port}/", proxy=True)
        await done.stream.aclose()


class HTTPProxy:
    """Answers CONNECT with `answers`, each in a packet of its own, then is a tunnel unless it `refuses`."""

    def __init__(self) -> None:
        self.requests: list[RawRequest] = []
        self.refuses = False
        self.answers = [b"HTTP/1.1 200 Connection established\r\n\r\n"]
        self.port = 0

    async def __call__(self, stream: trio.abc.Stream) -> None:
        try:
            request = await read_request(stream)
            self.requests.append(request)
            for answer in self.answers[:-1]:
                await stream.send_all(answer)
                await trio.testing.wait_all_tasks_blocked(0.005)
            if self.refuses:
                await stream.send_all(self.answers[-1])
                await stream.send_eof()
                await wait_for_end(stream)
                return
            host, _, port = request.line.split()[1].rpartition(":")
            await tunnel(stream, host, int(port), self.answers[-1])
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)


@pytest.fixture
async def http_proxy(nursery, resolver):
    proxy = HTTPProxy()
    proxy.port = await listen(nursery, proxy)
    return proxy


class TestHTTP:
    async def test_gets_only_the_address_and_its_own_credentials(self, serve, http_proxy):
        """Gets the address and its own credentials and nothing else."""
        server = await serve()
        async with leaves_nothing():
            done = await dial(
                f"ws://me:pass@localhost:{server.port}/",
                headers={"Authorization": "Bearer x", "X-Api-Key": "x"},
                cookies={"a": "1"},
                proxy=f"http://us%C3%A9r:p%40ss@localhost:{http_proxy.port}",
            )
            assert type(done.stream) is trio.SocketStream
            await done.stream.aclose()
        (request,) = http_proxy.requests
        target = f"localhost:{server.port}"
        assert request.line == f"CONNECT {target} HTTP/1.1"
        credentials = base64.b64encode("usér:p@ss".encode()).decode()
        assert request.headers.pairs == (("host", target), ("proxy-authorization", f"Basic {credentials}"))
        assert server.requests[0].headers.get("proxy-authorization") is None

    async def test_tls_goes_through(self, serve, server_tls, client_tls, http_proxy, detachable):
        server = await serve(context=server_tls)
        url = f"wss://localhost:{server.port}/"
        proxy = f"http://localhost:{http_proxy.port}"
        done = await dial(url, ssl_context=client_tls, proxy=proxy, detachable=detachable)
        assert type(done.stream) is (TLSStream if detachable else trio.SSLStream)
        await done.stream.aclose()
        assert [name for name, _ in http_proxy.requests[0].headers.pairs] == ["host"]

    async def test_tls_goes_through_tls(self, serve, nursery, server_tls, client_tls, system_trusts):
        server = await serve(context=server_tls)
        proxy = HTTPProxy()
        port = await listen(nursery, proxy, server_tls)
        url = f"wss://localhost:{server.port}/"
        async with leaves_nothing():
            proxied = f"https://localhost:{port}"
            done = await dial(url, ssl_context=client_tls, proxy=proxied, detachable=True)
            assert type(done.stream) is trio.SSLStream, "the proxy's TLS is no socket"
            await done.stream.aclose()
        assert len(proxy.requests) == 1

    async def test_an_address_in_brackets_stays_in_brackets(self, http_proxy):
        http_proxy.refuses, http_proxy.answers = True, [b"HTTP/1.1 403 no\r\n\r\n"]
        with pytest.raises(ConnectError):
            await dial("ws://[::1]:9/", proxy=f"http://localhost:{http_proxy.port}")
        assert http_proxy.requests[0].line == "CONNECT [::1]:9 HTTP/1.1"

    @pytest.mark.parametrize(
        "answers",
        [
            [b"HTTP/1.1 200 OK\r\n", b"\r\n"],
            [b"HTTP/1.1 200 OK\r\nVia: x", b"\r\n\r", b"\n"],
            [b"HTTP/1.1 100 Wait\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"],
            [b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n"],
            [b"HTTP/1.1 299 OK\r\n\r\n"],
        ],
    )
    async def test_the_answer_may_come_in_pieces(self, serve, http_proxy, answers):
        server = await serve()
        http_proxy.answers = answers
        done = await dial(f"ws://localhost:{server.port}/", proxy=f"http://localhost:{http_proxy.port}")
        await done.stream.aclose()

    @pytest.mark.parametrize(("status", "again"), [(300, False), (407, False), (403, False), (502, True), (503, True)])
    async def test_a_refusal_is_a_proxy_error(self, http_proxy, status, again):
        http_proxy.refuses = True
        http_proxy.answers = [b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nno" % status]
        async with leaves_nothing():
            with pytest.raises(ConnectError, match=f"status {status}") as caught:
                await dial("ws://x/", proxy=f"http://localhost:{http_proxy.port}")
        assert caught.value.phase == "proxy"
        assert not isinstance(caught.value, ConnectionRejected)
        assert isinstance(caught.value.__cause__, ConnectionRejected)
        assert should_reconnect(caught.value) is again

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 204",
            b"HTTP/1.1 204 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
            b"HTTP/1.1 204 OK\r\n\r\n\x00",
        ],
        ids=["nothing", "no HTTP", "cut off", "too large", "more than an answer"],
    )
    async def test_an_answer_that_is_none_is_a_proxy_error(self, http_proxy, answer):
        http_proxy.refuses, http_proxy.answers = True, [answer]
        async with leaves_nothing():
            with pytest.raises(ConnectError) as caught:
                await dial("ws://x/", proxy=f"http://localhost:{http_proxy.port}")
        assert caught.value.phase == "proxy"

    async def test_a_dropped_connection_is_a_proxy_error(self, nursery, resolver):
        async def drop(stream: trio.SocketStream) -> None:
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            await stream.receive_some(1)
            await stream.aclose()

        port = await listen(nursery, drop)
        with pytest.raises(ConnectError, match="dropped") as caught:
            await dial("ws://x/", proxy=f"http://localhost:{port}")
        assert caught.value.phase == "proxy"

    @pytest.mark.parametrize("proxy", ["http://nobody.invalid", "https://nobody.invalid"])
    async def test_a_proxy_that_is_not_there_is_a_proxy_error(self, resolver, proxy):
        with pytest.raises(ConnectError, match=r"^proxy: .*nobody\.invalid") as caught:
            await dial("ws://x/", proxy=proxy)
        assert caught.value.phase == "proxy"

    async def test_its_certificate_is_checked(self, nursery, resolver, server_tls, system_trusts):
        port = await listen(nursery, HTTPProxy(), server_tls)
        async with leaves_nothing():
            with pytest.raises(ConnectError, match="certificate") as caught:
                await dial("ws://x/", proxy=f"https://other.test:{port}")
        assert caught.value.phase == "proxy"
        assert should_reconnect(caught.value) is False

    async def test_redirects_go_through_it_too(self, serve, http_proxy):
        server = await serve()
        ok = server.respond
        server.respond = lambda request: redirect("/b") if " /a " in request.line else ok(request)
        done = await dial(f"ws://localhost:{server.port}/a", proxy=f"http://localhost:{http_proxy.port}")
        await done.stream.aclose()
        assert len(http_proxy.requests) == 2

    async def test_cancellation_leaks_nothing_wherever_it_strikes(self, serve, http_proxy):
        server = await serve()
        url, proxy = f"ws://localhost:{server.port}/", f"http://localhost:{http_proxy.port}"
        assert await cancelled_at_every_step(lambda: dial(url, proxy=proxy)) > 5


class SocksProxy:
    """SOCKS4, 4a and 5 with and without credentials (RFC 1928, RFC 1929)."""

    def __init__(self) -> None:
        self.credentials: list[tuple[str, str]] = []
        self.targets: list[tuple[str, int]] = []
        self.reply = 0
        self.port = 0

    async def __call__(self, stream: trio.abc.Stream) -> None:
        try:
            version = (await read(stream, 1))[0]
            await (self.four(stream) if version == 4 else self.five(stream))
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def four(self, stream: trio.abc.Stream) -> None:
        _, high, low, *address = await read(stream, 7)
        self.credentials.append((await read_text(stream), ""))
        host = ".".join(map(str, address))
        if address[:3] == [0, 0, 0]:
            host = await read_text(stream)
        await self.connect(stream, host, high * 256 + low, bytes([0, 90 + bool(self.reply), 0, 0, 0, 0, 0, 0]))

    async def five(self, stream: trio.abc.Stream) -> None:
        methods = await read(stream, (await read(stream, 1))[0])
        await stream.send_all(b"\x05" + bytes([max(methods)]))
        if max(methods) == 2:
            await read(stream, 1)
            name, password = [(await read(stream, (await read(stream, 1))[0])).decode() for _ in ("name", "password")]
            self.credentials.append((name, password))
            await stream.send_all(b"\x01\x00")
        kind = (await read(stream, 4))[3]
        if kind == 1:
            host = ".".join(map(str, await read(stream, 4)))
        else:
            host = (await read(stream, (await read(stream, 1))[0])).decode()
        port = int.from_bytes(await read(stream, 2), "big")
        await self.connect(stream, host, port, bytes([5, self.reply, 0, 1, 127, 0, 0, 1, 0, 0]))

    async def connect(self, stream: trio.abc.Stream, host: str, port: int, reply: bytes) -> None:
        self.targets.append((host, port))
        if self.reply:
            await stream.send_all(reply)
            await wait_for_end(stream)
        else:
            await tunnel(stream, host, port, reply)


async def read(stream: trio.abc.Stream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.receive_some(size - len(data))
        if not piece:
            raise trio.BrokenResourceError
        data += piece
    return data


async def read_text(stream: trio.abc.Stream) -> str:
    text = b""
    while not text.endswith(b"\0"):
        text += await read(stream, 1)
    return text[:-1].decode()


@pytest.fixture
async def socks_proxy(nursery, resolver):
    proxy = SocksProxy()
    proxy.port = await listen(nursery, proxy)
    return proxy


class TestSOCKS:
    @pytest.mark.parametrize(
        ("scheme", "host"),
        [
            ("socks4", "127.0.0.1"),
            ("socks4a", "localhost"),
            ("socks5", "127.0.0.1"),
            ("socks5h", "localhost"),
        ],
    )
    async def test_resolves_the_name_here_or_there(self, serve, socks_proxy, scheme, host):
        server = await serve()
        async with leaves_nothing():
            proxy = f"{scheme}://localhost:{socks_proxy.port}"
            done = await dial(f"ws://localhost:{server.port}/", proxy=proxy)
            assert type(done.stream) is trio.SocketStream
            await done.stream.aclose()
        assert socks_proxy.targets == [(host, server.port)]

    @pytest.mark.parametrize(("scheme", "password"), [("socks4a", ""), ("socks5h", "p@ss")])
    async def test_gets_its_credentials(self, serve, socks_proxy, scheme, password):
        server = await serve()
        proxy = f"{scheme}://user:p%40ss@localhost:{socks_proxy.port}"
        done = await dial(f"ws://localhost:{server.port}/", proxy=proxy)
        await done.stream.aclose()
        assert socks_proxy.credentials == [("user", password)]
        assert server.requests[0].headers.get("proxy-authorization") is None

    async def test_tls_goes_through(self, serve, server_tls, client_tls, socks_proxy, detachable):
        server = await serve(context=server_tls)
        proxy = f"socks5h://localhost:{socks_proxy.port}"
        url = f"wss://localhost:{server.port}/"
        done = await dial(url, ssl_context=client_tls, proxy=proxy, detachable=detachable)
        assert type(done.stream) is (TLSStream if detachable else trio.SSLStream)
        await done.stream.aclose()

    @pytest.mark.parametrize("scheme", ["socks4a", "socks5h"])
    async def test_a_refusal_is_a_proxy_error(self, socks_proxy, scheme):
        socks_proxy.reply = 5
        async with leaves_nothing():
            with pytest.raises(ConnectError) as caught:
                await dial("ws://x/", proxy=f"{scheme}://localhost:{socks_proxy.port}")
        assert caught.value.phase == "proxy"

    @pytest.mark.parametrize("answer", [b"", b"\x05", b"HTTP/1.1 400 X\r\n\r\n", b"\x05\x02", b"\x05\x00" * 9])
    async def test_an_answer_that_is_none_is_a_proxy_error(self, nursery, resolver, answer):
        async def talk(stream: trio.SocketStream) -> None:
            await stream.send_all(answer)
            await stream.send_eof()
            await wait_for_end(stream)
            await stream.aclose()

        port = await listen(nursery, talk)
        async with leaves_nothing():
            with pytest.raises(ConnectError) as caught:
                await dial("ws://x/", proxy=f"socks5h://localhost:{port}")
        assert caught.value.phase == "proxy"

    async def test_a_proxy_that_is_not_there_is_a_proxy_error(self, resolver):
        with pytest.raises(ConnectError) as caught:
            await dial("ws://x/", proxy="socks5://nobody.invalid")
        assert caught.value.phase == "proxy"

    async def test_without_python_socks_the_extra_is_named(self, monkeypatch, resolver):
        for name in [name for name in sys.modules if name.startswith("python_socks")]:
            monkeypatch.delitem(sys.modules, name)
        real_import = builtins.__import__

        def without(name, *rest):
            if name.startswith("python_socks"):
                raise ImportError(name)
            return real_import(name, *rest)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ImportError, match=r"pip install 'trio-ws\[proxy\]'"):
            await dial("ws://x/", proxy="socks5://localhost")

    async def test_cancellation_leaks_nothing_wherever_it_strikes(self, serve, socks_proxy):
        server = await serve()
        url, proxy = f"ws://localhost:{server.port}/", f"socks5h://localhost:{socks_proxy.port}"
        assert await cancelled_at_every_step(lambda: dial(url, proxy=proxy)) > 5
