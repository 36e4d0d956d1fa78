"""Options of the client, of `serve_websocket` and of the settings: what can never work is refused when it is given.

Each error says what the right form is.
"""

from __future__ import annotations

import datetime
import math
import re
import socket
import ssl

import pytest
import trio

from trio_ws import Compression, Limits, Timeouts, open_websocket, reconnect, serve_websocket
from trio_ws.connection.settings import Settings, origins_of
from trio_ws.server.server import Server

CLIENT = [
    ({"limits": Timeouts()}, TypeError, "limits takes Limits(...), not Timeouts(...): give that as timeouts="),
    ({"timeouts": Limits()}, TypeError, "timeouts takes Timeouts(...), not Limits(...): give that as limits="),
    ({"timeouts": 5}, TypeError, "timeouts takes Timeouts(...)"),
    ({"limits": 0}, TypeError, "limits takes Limits(...)"),
    ({"limits": {}}, TypeError, "limits takes Limits(...)"),
    ({"compression": 6}, TypeError, "compression takes a Compression, True or False"),
    ({"compression": Limits}, TypeError, "compression takes a Compression, True or False"),
    ({"open_timeout": 5}, TypeError, "write timeouts=Timeouts(open_timeout=...)"),
    ({"max_message_size": 5}, TypeError, "write limits=Limits(max_message_size=...)"),
    ({"threshold": 5}, TypeError, "write compression=Compression(threshold=...)"),
    ({"subprotocol": "x"}, TypeError, "did you mean 'subprotocols'?"),
    ({"extra_headers": {}}, TypeError, "'extra_headers'"),
    ({"subprotocols": "chat"}, TypeError, "write subprotocols=['chat']"),
    ({"subprotocols": None}, TypeError, "subprotocols takes a list"),
    ({"subprotocols": [b"chat"]}, TypeError, "not of b'chat'"),
    ({"subprotocols": ["a b"]}, ValueError, "is not a token"),
    ({"subprotocols": ["a", "a"]}, ValueError, "twice"),
    ({"headers": "X: y"}, TypeError, "headers takes a mapping, or pairs"),
    ({"headers": ["X: y"]}, TypeError, "headers takes a mapping, or pairs"),
    ({"headers": [(b"X", "y")]}, TypeError, "headers takes a mapping, or pairs"),
    ({"headers": None}, TypeError, "headers takes a mapping, or pairs"),
    ({"headers": {"X": 5}}, ValueError, "'X' cannot be sent"),
    ({"headers": {"Upgrade": "x"}}, ValueError, "set by the library"),
    ({"cookies": "a=1"}, TypeError, "cookies takes a mapping"),
    ({"cookies": {"a": 1}}, ValueError, "cookie 'a' cannot be sent"),
    ({"ssl_context": True}, TypeError, "ssl.create_default_context()"),
    ({"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)}, ValueError, "ssl_context is a server's"),
    ({"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, ValueError, "are for wss"),
    ({"server_hostname": 5}, TypeError, "server_hostname must be a str"),
    ({"proxy": ("h", 80)}, TypeError, "proxy takes a URL"),
    ({"proxy": 1}, TypeError, "proxy takes a URL"),
    ({"proxy": "http://a b"}, ValueError, "host must be a name or an address"),
    ({"proxy": "http://a%00"}, ValueError, "host must be a name or an address"),
    ({"proxy": "proxy.example:3128"}, ValueError, "a proxy's URL begins with http://"),
    ({"max_redirects": "5"}, TypeError, "max_redirects takes a whole number"),
    ({"max_redirects": True}, TypeError, "max_redirects takes a whole number"),
    ({"max_redirects": -1}, ValueError, "max_redirects must be at least 0"),
    ({"redirect_origins": "*"}, TypeError, "write redirect_origins=['*']"),
    ({"redirect_origins": None}, TypeError, "redirect_origins takes a list"),
    ({"redirect_origins": ["example.org"]}, ValueError, 'as in "https://example.org"'),
    ({"redirect_origins": ["app://example.org"]}, ValueError, "no redirect leads to app://example.org"),
    ({"receive_type": "xml"}, ValueError, 'receive_type must be "json"'),
    ({"caught_close_codes": 1000}, TypeError, "takes a list of codes, or the built-in all"),
    ({"caught_close_codes": any}, TypeError, "takes a list of codes, or the built-in all"),
    ({"caught_close_codes": ["1000"]}, TypeError, "takes a list of codes, or the built-in all"),
    ({"when_peer_leaves": "never"}, ValueError, "when_peer_leaves must be"),
    ({"poller": "yes"}, TypeError, "poller takes True, False or None"),
    ({"poller": 1}, TypeError, "poller takes True, False or None"),
]


@pytest.mark.parametrize(("options", "error", "hint"), CLIENT)
async def test_open_websocket_refuses_what_cannot_work(options, error, hint):
    with pytest.raises(error, match=re.escape(hint)):
        async with open_websocket("ws://localhost:1/", **options):
            pass


@pytest.mark.parametrize("name", ["a.example:443", "*.example", "a b", "a\0", "%00", "[::1]", "::1::"])
async def test_a_name_that_no_certificate_holds_is_refused(name):
    with pytest.raises(ValueError, match="cannot stand in a certificate"):
        async with open_websocket("wss://localhost:1/", server_hostname=name):
            pass


@pytest.mark.parametrize(("options", "error", "hint"), CLIENT)
def test_reconnect_refuses_the_same_when_it_is_called(options, error, hint):
    with pytest.raises(error, match=re.escape(hint)):
        reconnect("ws://localhost:1/", **options)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        ({"url": 5}, TypeError, "takes a URL or a function that returns one, not 5"),
        ({"url": "localhost:1"}, ValueError, "a WebSocket URL begins with"),
        ({"backoff": 5.0}, TypeError, "backoff takes BackoffSettings(...)"),
        ({"stream": trio.testing.memory_stream_pair()[0]}, ValueError, "stream= is one connection"),
    ],
)
def test_reconnect_refuses_a_bad_url_backoff_and_stream(arguments, error, hint):
    with pytest.raises(error, match=re.escape(hint)):
        reconnect(**{"url": "ws://localhost:1/", **arguments})


async def test_a_stream_is_one_of_trio_s():
    with socket.socket() as sock:
        with pytest.raises(TypeError, match=r"such as trio.SocketStream"):
            async with open_websocket("ws://localhost:1/", stream=sock):
                pass


async def handler(ws):
    pass


async def generator(ws):
    yield


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        ({"limits": Timeouts()}, TypeError, "limits takes Limits(...), not Timeouts(...): give that as timeouts="),
        ({"limits": 0}, TypeError, "limits takes Limits(...)"),
        ({"timeouts": {"ping_interval": 5}}, TypeError, "timeouts takes Timeouts(...)"),
        ({"compression": "deflate"}, TypeError, "compression takes a Compression, True or False"),
        ({"ping_interval": 5}, TypeError, "write timeouts=Timeouts(ping_interval=...)"),
        ({"max_connections": 5}, TypeError, "write limits=Limits(max_connections=...)"),
        ({"subprotocol": ["x"]}, TypeError, "did you mean 'subprotocols'?"),
        ({"orgins": []}, TypeError, "did you mean 'origins'?"),
        ({"guards": []}, TypeError, "no option 'guards'"),
        ({"subprotocols": "chat"}, TypeError, "write subprotocols=['chat']"),
        ({"caught_close_codes": 1000}, TypeError, "takes a list of codes, or the built-in all"),
        ({"ssl_context": "cert.pem"}, TypeError, "ssl.create_default_context()"),
        ({"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}, ValueError, "ssl_context is a client's"),
        ({"origins": ["*"]}, ValueError, 'write origins="*"'),
        ({"hosts": ["*"]}, ValueError, "leave hosts out"),
        ({"hosts": "example.org"}, TypeError, "write hosts=['example.org']"),
        ({"trusted_proxies": "10.0.0.1"}, TypeError, "write trusted_proxies=['10.0.0.1']"),
        ({"trusted_proxies": None}, TypeError, "trusted_proxies takes a list"),
        ({"trusted_proxies": [5]}, TypeError, 'takes addresses, networks and "unix"'),
        ({"trusted_proxies": ["*"]}, ValueError, 'takes addresses, networks and "unix"'),
        ({"host": 8000}, TypeError, "host takes a name or an address"),
        ({"port": "8000"}, TypeError, "port takes a whole number from 0 to 65535"),
        ({"port": 65536}, ValueError, "port must be from 0 to 65535"),
        ({"port": -1}, ValueError, "port must be from 0 to 65535"),
        ({"listeners": ["127.0.0.1"]}, TypeError, "listeners takes listening sockets"),
        ({"listeners": None}, TypeError, "listeners takes a list"),
        ({"poller": "yes"}, TypeError, "poller takes True, False or None"),
        ({"handler": 5}, TypeError, "handler takes an async function"),
        ({"handler": generator}, TypeError, "is a generator"),
    ],
)
async def test_serve_websocket_refuses_what_cannot_work(options, error, hint):
    with trio.fail_after(5), pytest.raises(error, match=re.escape(hint)):
        await serve_websocket(**{"handler": handler, "host": "127.0.0.1", "port": 0, **options})


async def test_a_handler_that_was_called_is_refused():
    with pytest.raises(TypeError, match="give it without calling it"):
        await serve_websocket(handler(None), "127.0.0.1", 0)


def test_settings_are_settings():
    with pytest.raises(TypeError, match=r"settings takes Settings\(\.\.\.\)"):
        Server(object(), Limits())
    with pytest.raises(TypeError, match=r"timeouts takes Timeouts\(\.\.\.\)"):
        Settings(timeouts=None)


@pytest.mark.parametrize(
    ("kind", "options", "error", "hint"),
    [
        (Limits, {"max_message_size": "1 MiB"}, TypeError, "max_message_size takes a whole number"),
        (Limits, {"max_message_size": 1e6}, TypeError, "max_message_size takes a whole number"),
        (Limits, {"max_message_size": None}, TypeError, "max_message_size takes a whole number"),
        (Limits, {"max_message_size": True}, TypeError, "max_message_size takes a whole number"),
        (Limits, {"max_message_size": 0}, ValueError, "max_message_size must be at least 1"),
        (Limits, {"max_connections": 0}, ValueError, "or None for no bound"),
        (Limits, {"max_connections": 1.5}, TypeError, "or None for no bound"),
        (Limits, {"drain_rate": "5"}, TypeError, "drain_rate takes a number per second"),
        (Limits, {"open_timeout": 5}, TypeError, "it is one of Timeouts(...)"),
        (Limits, {"max_size": 5}, TypeError, "no option 'max_size'"),
        (Limits, {"max_mesage_size": 5}, TypeError, "did you mean 'max_message_size'?"),
        (Timeouts, {"open_timeout": None}, TypeError, "open_timeout takes a number of seconds"),
        (Timeouts, {"open_timeout": datetime.timedelta(1)}, TypeError, "open_timeout takes a number of seconds"),
        (Timeouts, {"open_timeout": math.nan}, ValueError, "open_timeout must be"),
        (Timeouts, {"ping_interval": "20s"}, TypeError, "or None to turn it off"),
        (Timeouts, {"ping_interval": False}, TypeError, "or None to turn it off"),
        (Timeouts, {"max_message_size": 5}, TypeError, "it is one of Limits(...)"),
        (Compression, {"level": 6.0}, TypeError, "level takes a whole number from 0 to 9"),
        (Compression, {"level": 10}, ValueError, "level must be from 0 to 9"),
        (Compression, {"send_window_bits": "12"}, TypeError, "send_window_bits takes a whole number"),
        (Compression, {"threshold": None}, TypeError, "threshold takes a whole number"),
        (Compression, {"receive_context": 1}, TypeError, "receive_context takes True or False"),
        (Compression, {"ping_interval": 1}, TypeError, "it is one of Timeouts(...)"),
    ],
)
def test_settings_refuse_what_cannot_work(kind, options, error, hint):
    with pytest.raises(error, match=re.escape(hint)):
        kind(**options)


@pytest.mark.parametrize(
    ("value", "error", "hint"),
    [
        (["*"], ValueError, 'write origins="*", without brackets'),
        (["https://example.org", "*"], ValueError, 'write origins="*", without brackets'),
        (["example.org"], ValueError, 'the scheme is missing, as in "https://example.org"'),
        (["https://example.org/"], ValueError, 'it ends after host and port, as in "https://example.org"'),
        (["https://example.org/app?x"], ValueError, 'it ends after host and port, as in "https://example.org"'),
        (["https://example.org#"], ValueError, 'it ends after host and port, as in "https://example.org"'),
        (["wss://example.org"], ValueError, 'a page is at "https://example.org"'),
        (["https://*.example.org"], ValueError, "origins lists origins such as"),
        (["https://u:p@example.org"], ValueError, "origins lists origins such as"),
        (["https://example.org:0"], ValueError, "it has a scheme, a host and perhaps a port"),
        (["https://"], ValueError, "origins lists origins such as"),
        ([""], ValueError, "the scheme is missing"),
        (["NULL"], ValueError, "the scheme is missing"),
        (["ws://"], ValueError, "a page is at"),
        (["app://*"], ValueError, "no patterns"),
        ([re.compile("https://.*")], TypeError, "origins lists origins such as"),
        ([None], TypeError, "origins lists origins such as"),
        (re.compile("https://.*"), TypeError, "origins takes a list"),
        ("https://example.org", TypeError, "write origins=['https://example.org']"),
        (True, TypeError, "origins takes a list"),
    ],
)
def test_origins_that_no_page_has_are_refused(value, error, hint):
    with pytest.raises(error, match=re.escape(hint)):
        origins_of(value)


def test_origins_that_pages_have_are_taken():
    listed = ["HTTPS://Example.org", "http://localhost:3000", "https://bücher.example", "null", "FILE://", "app://x"]
    assert origins_of(listed) == (
        "https://example.org:443",
        "http://localhost:3000",
        "https://xn--bcher-kva.example:443",
        "null",
        "file://",
        "app://x",
    )
    webviews = ["app://.", f"vscode-webview://{64 * 'a'}"]
    assert origins_of(webviews) == tuple(webviews)
    assert origins_of(None) is None
    assert origins_of("*") == "*"
    assert origins_of([]) == ()
