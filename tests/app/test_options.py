"""Options that can never work: each is refused where it is given, by a message that names it."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio

from trio_ws import (
    App,
    Budget,
    Compression,
    Controller,
    Depends,
    Limits,
    Query,
    Reject,
    Router,
    Server,
    Sessions,
    Timeouts,
    WebSocket,
    open_websocket,
)
from trio_ws.app import RegistrationError, listener, websocket
from trio_ws.codes import CloseCode
from trio_ws.connection.settings import Settings
from trio_ws.server.serve import serve_websocket

KEY = "k" * 32


def asynchronous(app: App) -> Any: ...


async def coroutine(app: App) -> None: ...


def generator(app: App) -> Any:
    yield


class Car(Controller):
    @websocket("/drive")
    async def drive(self) -> None: ...


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"controllers": Car}, r"controllers=\[Car\]"),
    ({"controllers": [Car()]}, "a controller is a class"),
    ({"controllers": None}, "controllers takes a list"),
    ({"guards": asynchronous}, r"guards=\[.*asynchronous\]"),
    ({"guards": "guard"}, "guards takes a list"),
    ({"guards": None}, "guards takes a list"),
    ({"lifespan": "lifespan"}, "lifespan takes a function"),
    ({"lifespan": coroutine}, "coroutine must be an `async def` that yields once"),
    ({"lifespan": generator}, "generator must be an `async def` that yields once"),
    ({"lifespan": lambda: None}, "lifespan takes a function that is called with the application"),
    ({"limits": Timeouts()}, r"limits takes Limits\(\.\.\.\).*give that as timeouts="),
    ({"timeouts": Limits()}, r"timeouts takes Timeouts\(\.\.\.\).*give that as limits="),
    ({"limits": 0}, "limits takes Limits"),
    ({"timeouts": 10}, "timeouts takes Timeouts"),
    ({"compression": "deflate"}, "compression takes a Compression"),
    ({"origins": "https://example.org"}, r"origins=\['https://example.org'\]"),
    ({"origins": ["*"]}, re.escape('write origins="*"')),
    ({"origins": ["example.org"]}, "the scheme is missing"),
    ({"origins": ["https://example.org/"]}, "it ends after host and port"),
    ({"origins": ["https://example.org/chat"]}, "it ends after host and port"),
    ({"origins": ["https://*.example.org"]}, "origins lists origins"),
    ({"origins": ["wss://example.org"]}, 'a page is at "https://example.org"'),
    ({"origins": ["https://"]}, "origins lists origins"),
    ({"origins": [re.compile(".*")]}, "origins lists origins"),
    ({"origins": 1}, "origins takes a list"),
    ({"trusted_proxies": "10.0.0.1"}, r"trusted_proxies=\['10.0.0.1'\]"),
    ({"trusted_proxies": 1}, "trusted_proxies takes a list"),
    ({"trusted_proxies": [10]}, 'takes addresses, networks and "unix", not 10'),
    ({"trusted_proxies": b"10.0.0.1"}, "trusted_proxies takes a list"),
    ({"guards": ["admin"]}, "a guard is a function"),
    ({"instruments": 1}, "instruments takes a list"),
    ({"sessions": KEY}, r"sessions takes Sessions\(secret_key=\.\.\.\), not an object of str"),
    ({"sessions": True}, "sessions takes Sessions"),
    ({"backplane": 6379}, "backplane takes the URL of a Redis"),
    ({"converters": [("hex", int)]}, "converters takes a mapping"),
    ({"converters": {"hex": int}}, "'hex' is <class 'int'>"),
    ({"not_found_status": 200}, "not_found_status must be from 400 to 499"),
    ({"not_found_status": "404"}, "not_found_status takes a whole number"),
    ({"max_threads": 0}, "max_threads must be at least 1"),
    ({"max_threads": 1.5}, "max_threads takes a whole number"),
    ({"max_threads": True}, "max_threads takes a whole number"),
]


def name_of(options: Any) -> str | None:
    if not isinstance(options, dict):
        return ""
    # Addresses differ between processes, and tests that run in several must have the same names in all of them.
    return "-".join(re.sub(r" at 0x\w+", "", f"{name}={value!r}")[:40] for name, value in options.items())


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=name_of)
def test_an_app_refuses_options_that_never_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        App(**options)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("origin", "kept"),
    [
        ("https://example.org", "https://example.org:443"),
        ("https://example.org:", "https://example.org:443"),
        ("HTTP://Example.org:8080", "http://example.org:8080"),
        ("https://faß.example", "https://xn--fa-hia.example:443"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("null", "null"),
        ("file://", "file://"),
        ("app://obsidian.md", "app://obsidian.md"),
    ],
)
def test_an_app_keeps_origins_as_browsers_send_them(origin: str, kept: str) -> None:
    assert App(origins=[origin]).settings.origins == (kept,)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Limits, {"max_message_size": "1 MiB"}, "max_message_size takes a whole number"),
        (Limits, {"max_message_size": 1.5}, "max_message_size takes a whole number"),
        (Limits, {"max_message_size": None}, "max_message_size takes a whole number"),
        (Limits, {"inbox_messages": True}, "inbox_messages takes a whole number"),
        (Limits, {"max_connections": "9"}, "max_connections .*or None for no bound"),
        (Limits, {"drain_rate": "9"}, "drain_rate takes a number per second, more than 0, or None"),
        (Timeouts, {"open_timeout": "10"}, "open_timeout takes a number of seconds"),
        (Timeouts, {"open_timeout": None}, "open_timeout takes a number of seconds"),
        (Timeouts, {"open_timeout": float("nan")}, "open_timeout must be a number of seconds"),
        (Timeouts, {"ping_interval": False}, "ping_interval takes a number of seconds, more than 0, or None"),
        (Compression, {"level": 6.5}, "level takes a whole number from 0 to 9"),
        (Compression, {"send_context": "yes"}, "send_context takes True or False"),
        (Compression, {"receive_window_bits": 8}, "receive_window_bits must be from 9 to 15"),
        (Settings, {"limits": Timeouts()}, "give that as timeouts="),
        (Sessions, {"secret_key": "x"}, "a secret_key of 1 bytes is no secret"),
        (Sessions, {"secret_key": b"x"}, "a secret_key of 1 bytes is no secret"),
        (Sessions, {"secret_key": [KEY, "x"]}, "a secret_key of 1 bytes is no secret"),
        (Sessions, {"secret_key": []}, "sessions need a secret_key"),
        (Sessions, {"secret_key": [KEY, ""]}, "sessions need a secret_key"),
        (Sessions, {"secret_key": [1]}, "secret_key takes text"),
        (Sessions, {"secret_key": None}, "secret_key takes a list"),
        (Sessions, {"secret_key": KEY, "cookie": "a b"}, "cookie is the name of a cookie"),
        (Sessions, {"secret_key": KEY, "cookie": ""}, "cookie is the name of a cookie"),
        (Sessions, {"secret_key": KEY, "cookie": "__Host-s"}, "refuse the cookie __Host-s without https_only"),
        (Sessions, {"secret_key": KEY, "cookie": "__Host-s", "https_only": True, "path": "/a"}, "refuse the cookie"),
        (Sessions, {"secret_key": KEY, "max_age": 0}, "max_age must be at least 1"),
        (Sessions, {"secret_key": KEY, "max_age": "1 day"}, "max_age takes a whole number"),
        (Sessions, {"secret_key": KEY, "path": "app"}, "path is the path that the cookie is for"),
        (Sessions, {"secret_key": KEY, "path": "/; Domain=example.org"}, "path is the path"),
        (Sessions, {"secret_key": KEY, "domain": "https://example.org"}, "domain is a name"),
        (Sessions, {"secret_key": KEY, "domain": "example.org:80"}, "domain is a name"),
        (Sessions, {"secret_key": KEY, "same_site": "Lax"}, "same_site is"),
        (Sessions, {"secret_key": KEY, "https_only": 1}, "https_only takes True or False"),
        (Sessions, {"secret_key": KEY, "sliding": "yes"}, "sliding takes True or False"),
        (Router, {"prefix": None}, "prefix takes text"),
        (Router, {"guards": asynchronous}, "guards takes a list"),
        (Router, {"converters": {"hex": int}}, "converters takes a mapping"),
    ],
    ids=lambda value: name_of(value) or getattr(value, "__name__", None),
)
def test_a_value_of_options_that_never_works_is_refused(
    kind: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        kind(**options)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": Timeouts()}, "limits takes Limits.*give that as timeouts="),
        ({"timeouts": 5}, "timeouts takes Timeouts"),
        ({"guards": asynchronous}, "guards takes a list"),
        ({"subprotocols": ["a b"]}, "subprotocol 'a b' is not a token"),
        ({"subprotocols": [b"chat"]}, "subprotocols takes a list of names, not of b'chat'"),
        ({"subprotocols": None}, "subprotocols takes a list of names"),
        ({"subprotocols": {"chat": 1}}, "subprotocols takes a list of names"),
        ({"guards": [False]}, "a guard is a function"),
        ({"receive_type": ["json"]}, 'receive_type must be "json"'),
        ({"value_type": {"json": 1}}, 'value_type must be "json"'),
        ({"caught_close_codes": ["1000"]}, "caught_close_codes takes a list of codes"),
        ({"caught_close_codes": [2000]}, "no connection ends with 2000"),
        ({"caught_close_codes": [403]}, "a code in caught_close_codes must be from 1000 to 4999"),
        ({"auto_accept": "no"}, "auto_accept takes True or False"),
        ({"name": 7}, "name takes text"),
        ({"use_extra_handler": True}, r"no option 'use_extra_handler': register the function with @app\.listener\(\)"),
        ({"recieve_type": "json"}, "no option 'recieve_type': did you mean 'receive_type'"),
        ({"subprotocol": "chat"}, "no option 'subprotocol': did you mean 'subprotocols'"),
        ({"encoding": "text"}, r"no option 'encoding': it is an option of @app\.listener\(\)"),
        (
            {"on_disconnect": print},
            r"a view does that in a finally block .*@app\.listener\(\) functions have @name\.on_disc",
        ),
        ({"on_connect": print}, r"a view does that in its function before it receives.*have @name\.on_connect"),
        ({"zzz": 1}, "@websocket has no option 'zzz'; it has auto_accept, "),
    ],
    ids=name_of,
)
def test_a_route_refuses_options_that_never_work(options: dict[str, Any], message: str) -> None:
    for decorate in (App().websocket, Router().websocket, websocket):
        with pytest.raises((TypeError, ValueError), match=message):
            decorate("/a", **options)


def test_codes_that_are_never_on_the_wire_may_be_caught() -> None:
    codes = [CloseCode.NO_STATUS_RECEIVED, 1006, 4000]
    App().websocket("/a", caught_close_codes=codes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 1.5}, "concurrency takes a whole number"),
        ({"concurrency": 0}, "concurrency must be at least 1"),
        ({"on_disconnect": print}, r"@listener has no option 'on_disconnect': decorate a function with @name\.on_disc"),
        ({"encodng": "text"}, r"@listener has no option 'encodng': did you mean 'encoding'\?"),
        ({"concurency": 2}, r"@listener has no option 'concurency': did you mean 'concurrency'\?"),
    ],
    ids=name_of,
)
def test_a_listener_refuses_options_that_never_work(options: dict[str, Any], message: str) -> None:
    for decorate in (App().listener, listener):
        with pytest.raises((TypeError, ValueError), match=message):
            decorate("/a", **options)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda app: app.page(b"/x", str), "path takes text"),
        (lambda app: app.page(None, str), "path takes text"),
        (lambda app: app.static(7, "."), "prefix takes text"),
        (lambda app: app.close_on(KeyError, "4000"), "code takes a whole number"),
        (lambda app: app.close_on(KeyError, True), "code takes a whole number"),
        (lambda app: Query(alias=7), "alias takes text"),
        (lambda app: Depends(str, use_cache="no"), "use_cache takes True or False"),
        (lambda app: Depends(str, in_loop=1), "in_loop takes True or False"),
    ],
)
def test_registering_refuses_values_of_a_wrong_type(register: Callable[[App], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        register(App())


@pytest.mark.parametrize(
    "take",
    [
        lambda code: App().close_on(KeyError, code),
        lambda code: Budget(messages=1, over="close", code=code),
        lambda code: App().websocket("/a", close_codes={code: "meaning"}),
    ],
    ids=["close_on", "Budget", "close_codes"],
)
def test_close_codes_are_taken_from_1000_to_4999(take: Callable[[int], Any]) -> None:
    for code in (1000, 4999):
        take(code)
    for code in (999, 5000):
        with pytest.raises(ValueError, match=str(code)):
            take(code)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": Timeouts()}, "give that as timeouts="),
        ({"limits": 0}, "limits takes Limits"),
        ({"timeouts": 5}, "timeouts takes Timeouts"),
        ({"caught_close_codes": "1000"}, "caught_close_codes takes a list of codes"),
        ({"caught_close_codes": [2000]}, "no connection ends with 2000"),
        ({"poller": "epoll"}, "poller takes True, False or None"),
        ({"compression": 1}, "compression takes a Compression"),
        ({"receive_type": "xml"}, "receive_type must be"),
    ],
    ids=name_of,
)
async def test_a_client_refuses_options_that_never_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        async with open_websocket("ws://127.0.0.1:1/", **options):
            pass


def test_on_error_takes_function_of_connection_and_error() -> None:
    """on_error takes a function of the connection and the error."""
    with pytest.raises(TypeError, match="on_error takes a function that is called with the connection and the error"):
        App().on_error(lambda error: None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings": Limits()}, "settings takes Settings"),
        ({"ssl_context": "cert.pem"}, "ssl_context takes a context of ssl.create_default_context"),
        ({"poller": "epoll"}, "poller takes True, False or None"),
        ({"strict": "yes"}, "strict takes True or False"),
    ],
    ids=name_of,
)
def test_a_server_refuses_options_that_never_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Server(App().responder, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": "8000"}, "port takes a whole number"),
        ({"port": 70000}, "port must be from 0 to 65535"),
        ({"listeners": socket.socket}, "listeners takes a list"),
        ({"limits": 0}, "limits takes Limits"),
    ],
    ids=name_of,
)
async def test_serving_refuses_options_that_never_work(options: dict[str, Any], message: str) -> None:
    async def handler(ws: WebSocket) -> None: ...

    with pytest.raises((TypeError, ValueError), match=message):
        await serve_websocket(handler, "127.0.0.1", **options)


# --- addresses that are taken ------------------------------------------------------------------------------------


def taken() -> tuple[socket.socket, str]:
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    message = (
        f"cannot listen on 127.0.0.1:{port}: [Errno {errno.EADDRINUSE}] Address already in use. "
        "End the server that has it, or choose another one"
    )
    return sock, message


async def test_a_taken_port_is_an_os_error_that_says_what_to_do() -> None:
    begun: list[str] = []

    async def lifespan(app: App) -> Any:
        begun.append("begun")
        yield

    async def handler(ws: WebSocket) -> None: ...

    sock, message = taken()
    with sock:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match=re.escape(message)) as caught:
            await App(lifespan=lifespan).serve("127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match=re.escape(message)):
            await serve_websocket(handler, "127.0.0.1", port)
    assert begun == []


def test_running_on_a_taken_port_is_the_same_os_error() -> None:
    sock, message = taken()
    with sock, pytest.raises(OSError, match=re.escape(message)):
        App().run("127.0.0.1", sock.getsockname()[1])


async def test_a_listener_is_closed_if_the_application_does_not_start() -> None:
    async def lifespan(app: App) -> Any:
        raise ZeroDivisionError
        yield

    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        with pytest.raises((ZeroDivisionError, ExceptionGroup)):
            await App(lifespan=lifespan).serve(None, None, listeners=[sock])
        assert sock.fileno() == -1
    await trio.lowlevel.checkpoint()


# --- controllers, and small forms that work ----------------------------------------------------------------------


def test_a_model_of_pydantics_is_no_controller() -> None:
    from pydantic import BaseModel

    class Model(BaseModel):
        x: int = 1

        @websocket("/a")
        async def view(self) -> None: ...

    for register in (App().controller("/m"), App().add_controller, lambda kind: App(controllers=[kind])):
        with pytest.raises(RegistrationError, match="Model is a pydantic model: derive it from Controller"):
            register(Model)


async def test_no_reason_is_an_empty_one_and_headers_may_be_bytes() -> None:
    app = App()

    @app.websocket("/accept", auto_accept=False)
    async def accept(ws: WebSocket) -> None:
        await ws.accept(headers=[(b"x", b"y")])
        await ws.close(1000, None)

    @app.websocket("/reject", auto_accept=False)
    async def reject(ws: WebSocket) -> None:
        raise Reject(401, [(b"x", b"y")])

    async with app.test_client() as client:
        async with client.websocket_connect("/accept", headers=[(b"a", b"b")]) as ws:
            message = await ws.recv()
            assert (ws.response_headers or {})["x"] == "y"
            assert message is not None
            assert (message.code, message.reason) == (1000, "")
        with pytest.raises(Exception, match="401") as caught:
            async with client.websocket_connect("/reject"):
                pass
        assert caught.value.headers["x"] == "y"  # type: ignore[attr-defined]
