"""Redirects of the handshake: where they lead, and what does not go along."""

from __future__ import annotations

import re
import ssl

import pytest
import trio
from trio.testing import memory_stream_pair

from trio_ws.client.backoff import should_reconnect
from trio_ws.client.connector import dial
from trio_ws.client.plan import USER_AGENT
from trio_ws.client.redirects import redirect_target
from trio_ws.client.tls import default_context, without_certificate
from trio_ws.errors import ConnectError, ConnectionRejected, RemoteProtocolError
from trio_ws.headers import Headers
from trio_ws.http.url import URL
from trio_ws.testing import RawRequest, leaves_nothing

from .servers import accept, answer, listen, read_request, redirect


def lead(url: str, location: str, status: int = 302) -> str:
    return str(redirect_target(URL.parse(url), status, Headers({"Location": location})))


class SystemVerifier(ssl.SSLContext):
    """A context that leaves certificates to the system, and has none to list, as that of truststore."""

    def get_ca_certs(self, binary_form=False):
        raise NotImplementedError


def test_a_context_over_the_systems_verifier_has_a_substitute():
    assert without_certificate(SystemVerifier(ssl.PROTOCOL_TLS_CLIENT)) is default_context()


class Site:
    """Answers by path: a path in `redirects` with a redirect, every other one with the 101."""

    def __init__(self, redirects: dict[str, bytes]) -> None:
        self.redirects = redirects

    def __call__(self, request: RawRequest) -> bytes:
        return self.redirects.get(request.line.split()[1]) or accept(request)


class TestTarget:
    @pytest.mark.parametrize(
        ("url", "location", "target"),
        [
            ("ws://a/b/c?d", "e", "ws://a/b/e"),
            ("ws://a/b/c", "/e?f", "ws://a/e?f"),
            ("ws://a/b/c", "../e", "ws://a/e"),
            ("wss://a:8443/b", "?q", "wss://a:8443/b?q"),
            ("ws://a/b", "//c/d", "ws://c/d"),
            ("ws://a/", "http://b:81/c", "ws://b:81/c"),
            ("ws://a/", "https://a/", "wss://a/"),
            ("ws://a/", "wss://a/", "wss://a/"),
            ("wss://a/", "https://b/#part", "wss://b/"),
            ("ws://a/", '/caf\xc3\xa9 b?q=\xc3\xa9 "<>\x7f', "ws://a/caf%C3%A9%20b?q=%C3%A9%20%22%3C%3E%7F"),
            ("ws://a/", "/100%/%41", "ws://a/100%/%41"),
            ("ws://a/", "/\xe9", "ws://a/%E9"),
            ("ws://a/", "http://b\xc3\xbccher.example/", "ws://xn--bcher-kva.example/"),
            ("ws://a/", "http://fa\xc3\x9f.example/", "ws://xn--fa-hia.example/"),
        ],
    )
    def test_location_is_resolved_and_its_scheme_mapped(self, url, location, target):
        assert lead(url, location) == target

    @pytest.mark.parametrize("location", ["ws://a/", "http://a/", "http://b/"])
    def test_no_way_leads_from_wss_to_ws(self, location):
        with pytest.raises(RemoteProtocolError, match="from wss to ws"):
            lead("wss://a/", location)

    @pytest.mark.parametrize(
        "location",
        ["ftp://a/", "javascript:alert(1)", "http://", "http://a:99999/", "http://a b/", "http://[::/", "http://\xff/"],
    )
    def test_a_location_that_is_no_websocket_url_is_a_breach(self, location):
        with pytest.raises(RemoteProtocolError, match="no WebSocket URL"):
            lead("ws://a/", location)

    def test_a_redirect_without_location_is_a_breach(self):
        with pytest.raises(RemoteProtocolError, match="without a Location"):
            redirect_target(URL.parse("ws://a/"), 301, Headers())

    def test_a_redirect_with_two_locations_is_a_breach(self):
        with pytest.raises(RemoteProtocolError, match="with several Location"):
            redirect_target(URL.parse("ws://a/"), 301, Headers([("Location", "/b"), ("Location", "/c")]))


SECRETS = {"Authorization": "Bearer x", "X-Api-Key": "x", "User-Agent": "me"}


class TestFollowing:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_each_kind_is_followed(self, serve, status):
        server = await serve(Site({"/a": redirect("b?c=1", status)}))
        async with leaves_nothing():
            done = await dial(f"ws://localhost:{server.port}/a", headers=SECRETS, cookies={"a": "1"})
            await done.stream.aclose()
        assert done.url.target == "/b?c=1"
        assert done.request.startswith(b"GET /b?c=1 ")
        first, second = server.requests
        assert first.headers.get("sec-websocket-key") != second.headers.get("sec-websocket-key")

    async def test_the_same_origin_gets_the_same_headers(self, serve):
        server = await serve(Site({"/a": redirect("/b")}))
        url = f"ws://user:pass@localhost:{server.port}/a"
        done = await dial(url, headers={"X-Api-Key": "x"}, cookies={"a": "1"})
        await done.stream.aclose()
        for request in server.requests:
            assert request.headers.get("authorization") == "Basic dXNlcjpwYXNz"
            assert (request.headers.get("x-api-key"), request.headers.get("cookie")) == ("x", "a=1")

    @pytest.mark.parametrize("host", ["other.test", "127.0.0.1"])
    async def test_another_origin_gets_what_the_library_makes_only(self, serve, host):
        """Any header may be a secret, and tokens are put into subprotocols, too."""
        server = await serve()
        server.respond = Site({"/a": redirect(f"http://{host}:{server.port}/b")})
        url = f"ws://localhost:{server.port}/a"
        headers = {**SECRETS, "Host": "virtual.test", "Tenant": "x", "Accept-Language": "fr"}
        done = await dial(
            url,
            headers=headers,
            cookies={"a": "1"},
            origin="http://x",
            subprotocols=["token.x"],
            extensions="permessage",
        )
        await done.stream.aclose()
        _, request = server.requests
        assert dict(request.headers).keys() == {
            "connection",
            "host",
            "sec-websocket-extensions",
            "sec-websocket-key",
            "sec-websocket-version",
            "upgrade",
            "user-agent",
        }
        assert request.headers.get("host") == f"{host}:{server.port}"
        assert request.headers.get("user-agent") == USER_AGENT

    async def test_a_trusted_origin_gets_all_but_host(self, serve):
        server = await serve()
        other = f"http://other.test:{server.port}"
        server.respond = Site({"/a": redirect(f"{other}/b"), "/b": redirect(f"http://127.0.0.1:{server.port}/c")})
        done = await dial(
            f"ws://localhost:{server.port}/a",
            headers={**SECRETS, "Host": "virtual.test"},
            cookies={"a": "1"},
            origin="http://x",
            subprotocols=["one"],
            redirect_origins=[other.upper()],
        )
        await done.stream.aclose()
        _, trusted, untrusted = server.requests
        names = ("authorization", "x-api-key", "cookie", "origin", "sec-websocket-protocol")
        assert [trusted.headers.get(name) for name in names] == ["Bearer x", "x", "a=1", "http://x", "one"]
        assert trusted.headers.get("host") == f"other.test:{server.port}"
        assert [untrusted.headers.get(name) for name in names] == [None] * 5

    @pytest.mark.parametrize(
        ("value", "error", "hint"),
        [
            (["other.test"], ValueError, "the scheme is missing"),
            (["wss://other.test"], ValueError, 'a page is at "https://other.test"'),
            (["https://other.test/"], ValueError, "ends after host and port"),
            ([re.compile("x")], TypeError, "redirect_origins lists origins"),
            ("https://other.test", TypeError, "write redirect_origins="),
        ],
    )
    async def test_redirect_origins_of_another_form_are_refused(self, value, error, hint):
        with pytest.raises(error, match=re.escape(hint)):
            await dial("ws://localhost:1/", redirect_origins=value)

    async def test_a_client_certificate_stays_at_home(self, serve, authority, server_tls, client_tls, nursery):
        """The other origin asks for one, and is still checked by the authorities of the user's context."""
        presented = []
        authority.issue_cert("client@localhost").configure_cert(client_tls)
        demanding = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost", "other.test").configure_cert(demanding)
        authority.configure_trust(demanding)
        demanding.verify_mode = ssl.CERT_OPTIONAL

        async def take(stream):
            secure = trio.SSLStream(stream, demanding, server_side=True, https_compatible=True)
            request = await read_request(secure)
            presented.append(bool(secure.getpeercert()))
            await secure.send_all(accept(request) if request.line.split()[1] == "/b" else redirect(away))
            await secure.receive_some()

        port = await listen(nursery, take)
        away = f"https://other.test:{port}/b"
        done = await dial(f"wss://localhost:{port}/a", ssl_context=client_tls)
        await trio.aclose_forcefully(done.stream)
        assert presented == [True, False]
        done = await dial(
            f"wss://localhost:{port}/a", ssl_context=client_tls, redirect_origins=[f"https://other.test:{port}"]
        )
        await trio.aclose_forcefully(done.stream)
        assert presented == [True, False, True, True]

    async def test_another_port_and_the_url_s_password_too(self, serve):
        target = await serve()
        server = await serve(Site({"/": redirect(f"http://localhost:{target.port}/")}))
        done = await dial(f"ws://user:pass@localhost:{server.port}/")
        await done.stream.aclose()
        assert server.requests[0].headers.get("authorization") is not None
        assert target.requests[0].headers.get("authorization") is None

    async def test_credentials_do_not_come_back_after_a_detour(self, serve):
        server = await serve()
        home, away = (f"http://{host}:{server.port}" for host in ("localhost", "other.test"))
        server.respond = Site({"/a": redirect(f"{away}/b"), "/b": redirect(f"{home}/c")})
        done = await dial(f"{home}/a", headers=SECRETS)
        await done.stream.aclose()
        assert [request.headers.get("authorization") for request in server.requests] == ["Bearer x", None, None]
        assert [request.headers.get("user-agent") for request in server.requests] == ["me", USER_AGENT, USER_AGENT]

    async def test_server_hostname_is_for_the_first_origin_only(self, serve, server_tls, client_tls):
        """The second origin, other.test, has no certificate of its name, which must be noticed."""
        server = await serve(context=server_tls)
        server.respond = Site({"/a": redirect(f"https://other.test:{server.port}/b")})
        with pytest.raises(ConnectError, match=r"^tls: with 'other.test'"):
            await dial(f"wss://localhost:{server.port}/a", ssl_context=client_tls, server_hostname="localhost")
        assert len(server.requests) == 1

    async def test_from_ws_to_wss(self, serve, server_tls, system_trusts):
        secure = await serve(context=server_tls)
        server = await serve(Site({"/": redirect(f"https://localhost:{secure.port}/")}))
        done = await dial(f"ws://localhost:{server.port}/", headers=SECRETS)
        await done.stream.aclose()
        assert done.url.secure
        assert secure.requests[0].headers.get("authorization") is None

    async def test_from_wss_to_ws_is_refused(self, serve, server_tls, client_tls):
        plain = await serve()
        server = await serve(Site({"/": redirect(f"http://localhost:{plain.port}/")}), server_tls)
        async with leaves_nothing():
            with pytest.raises(ConnectionRejected, match="from wss to ws") as caught:
                await dial(f"wss://localhost:{server.port}/", ssl_context=client_tls)
        assert (caught.value.phase, caught.value.status) == ("handshake", 302)
        assert plain.requests == []
        assert should_reconnect(caught.value) is False

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("extra", [(), ("Location: ftp://a/",), ("Location: http://a:99999/",), ("Location:",)])
    async def test_one_that_leads_nowhere_is_a_rejection(self, serve, status, extra):
        server = await serve(lambda _: answer(status, *extra, body=b"why"))
        with pytest.raises(ConnectionRejected) as caught:
            await dial(f"ws://localhost:{server.port}/x")
        assert (caught.value.status, caught.value.body) == (status, b"why")
        assert should_reconnect(caught.value) is False

    async def test_a_location_in_raw_utf_8_is_followed(self, serve):
        server = await serve(Site({"/a": redirect("/caf\xc3\xa9 b")}))
        done = await dial(f"ws://localhost:{server.port}/a")
        await done.stream.aclose()
        assert done.url.target == "/caf%C3%A9%20b"

    async def test_a_loop_ends(self, serve):
        server = await serve(Site({"/a": redirect("/b"), "/b": redirect("/a")}))
        async with leaves_nothing():
            with pytest.raises(ConnectError, match="more than 5 redirects") as caught:
                await dial(f"ws://localhost:{server.port}/a")
        assert len(server.requests) == 6
        assert should_reconnect(caught.value) is False

    async def test_as_many_as_allowed_are_followed(self, serve):
        server = await serve(Site({"/a": redirect("/b"), "/b": redirect("/c")}))
        url = f"ws://localhost:{server.port}/a"
        done = await dial(url, max_redirects=2)
        await done.stream.aclose()
        with pytest.raises(ConnectError, match="more than 1 redirects"):
            await dial(url, max_redirects=1)

    async def test_zero_makes_them_rejections(self, serve):
        server = await serve(Site({"/": redirect("/b")}))
        with pytest.raises(ConnectionRejected) as caught:
            await dial(f"ws://localhost:{server.port}/", max_redirects=0)
        assert caught.value.status == 302
        assert caught.value.headers["Location"] == "/b"

    @pytest.mark.parametrize("status", [300, 304, 305])
    async def test_other_3xx_are_rejections(self, serve, status):
        server = await serve(lambda _: answer(status, "Location: /b"))
        with pytest.raises(ConnectionRejected):
            await dial(f"ws://localhost:{server.port}/")

    async def test_on_a_given_stream_they_are_rejections(self):
        client, server = memory_stream_pair()
        await server.send_all(redirect("/b"))
        with pytest.raises(ConnectionRejected):
            await dial("ws://x/", stream=client)


class TestUnixSockets:
    @pytest.fixture
    async def at_socket(self, tmp_path, nursery):
        import trio

        from .servers import Server

        path = str(tmp_path / "socket")
        listener = trio.socket.socket(trio.socket.AF_UNIX)
        await listener.bind(path)
        listener.listen()
        server = Server(Site({"/a": redirect("/b"), "/away": redirect("http://elsewhere/")}))
        nursery.start_soon(trio.serve_listeners, server, [trio.SocketListener(listener)])
        return path

    async def test_redirects_within_the_origin_stay_on_the_socket(self, at_socket):
        done = await dial("ws://x/a", uds=at_socket)
        await done.stream.aclose()
        assert str(done.url) == "ws://x/b"

    async def test_redirects_to_another_origin_are_not_followed(self, at_socket):
        with pytest.raises(ConnectionRejected, match="from a Unix socket to another origin"):
            await dial("ws://x/away", uds=at_socket)
