"""Our runner for hypercorn, over TLS and both versions of HTTP, beside Starlette, and from the command line."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from contracts.rig import Peer, read_head, request, status_of
from support.asgi import VERSIONS, Version, config_of, open_network, plain_hypercorn, serving
from support.handlers import app_of, echo, stall, until_gone
from support.tls import trusting
from support.tunnel import Tunnel

from trio_ws import App, Timeouts, WebSocket, WebSocketDisconnect, asgi, open_websocket
from trio_ws.asgi import ASGIApplication
from trio_ws.connection.settings import Settings
from trio_ws.http.url import URL
from trio_ws.testing.http import fetch

LONG = 120.0
TIMES = Timeouts(ping_interval=None, close_timeout=0.5, shutdown_grace=0.5)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Version:
    given: Version = request.param
    return given


@pytest.fixture
def app() -> App:
    app = App(timeouts=TIMES)
    app.state.codes = []
    app.page("/page", lambda request: f"{request.url.scheme} {request.url.host}")

    app.websocket("/echo")(echo)

    @app.listener("/listener")
    async def listener(data: Any) -> Any:
        return data

    @listener.on_disconnect
    async def note(ws: WebSocket, code: int) -> None:
        app.state.codes.append(code)

    return app


async def dial(port: int, version: Version, target: str = "/echo") -> Peer:
    stream = await open_network(port, version)
    await stream.send_all(request(target))
    head, early = await read_head(stream)
    assert status_of(head) == 101
    return Peer(stream, client=True, early=early)


async def test_inline_listeners_answer_in_order(app: App, version: Version) -> None:
    """The handler's task calls the function; the contract of inline listeners has a network of its own."""
    app.listener("/inline", inline=True)(lambda data: data)
    with trio.fail_after(LONG):
        async with serving(ASGIApplication(app)) as bridge:
            peer = await dial(bridge.port, version, "/inline")
            for number in range(20):
                await peer.message(str(number))
            for number in range(20):
                assert await peer.next() == ("text", str(number))
            await peer.close()
            assert await peer.rest() == [("close", (1000, ""))]


# --- the end of the server -------------------------------------------------------------------------------------------


async def test_a_shutdown_tells_everyone_at_once(app: App, version: Version) -> None:
    with trio.fail_after(LONG):
        async with serving(ASGIApplication(app)) as bridge:
            peers = [await dial(bridge.port, version, "/listener") for _ in range(3)]
            assert bridge.urls == (f"ws://127.0.0.1:{bridge.port}",)
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(peer.rest)
                bridge.shutdown(1012, reason="new version")
            assert [peer.seen for peer in peers] == [[("close", (1012, "new version"))]] * 3
    assert app.state.codes == [1012] * 3


async def test_cancelling_it_is_a_graceful_shutdown(app: App, version: Version) -> None:
    with trio.fail_after(LONG):
        async with trio.open_nursery() as outer:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    bridge = await nursery.start(partial(asgi.serve, app, config_of([])))
                    peer = await dial(bridge.port, version)
                    outer.start_soon(peer.rest)
                    scope.cancel()
            assert scope.cancelled_caught
    assert peer.seen == [("close", (1012, ""))]


async def test_while_it_drains_it_answers_503(app: App) -> None:
    patient = Settings(timeouts=Timeouts(ping_interval=None))
    with trio.fail_after(LONG):
        async with serving(ASGIApplication(app, settings=patient)) as bridge:
            peer = await dial(bridge.port, "http1")
            bridge.shutdown()
            stream = await open_network(bridge.port, "http1")
            assert (await fetch(stream, URL.parse("ws://localhost/healthz"), ())).status == 503
            stream = await open_network(bridge.port, "http1")
            async with stream:
                await stream.send_all(request("/echo"))
                assert status_of((await read_head(stream))[0]) == 503
            assert await peer.rest() == [("close", (1001, ""))]


async def test_an_application_that_cannot_begin_is_an_error() -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise ValueError("no database")
        yield

    with trio.fail_after(LONG), pytest.raises(ExceptionGroup) as caught:
        await asgi.serve(App(lifespan=lifespan), config_of([]))
    assert "no database" in str(_leaf(caught.value))


async def test_an_address_that_is_taken_is_one_error_which_names_it(app: App) -> None:
    def create_sockets() -> None:  # hypercorn's own leaves its socket open
        raise OSError(errno.EADDRINUSE, "in use")

    with trio.fail_after(LONG), pytest.raises(OSError, match="in use") as caught:
        await asgi.serve(app, config_of([], bind=["[::1]:80"], create_sockets=create_sockets))
    assert caught.value.__notes__ == ["while hypercorn tried to listen on [::1]:80"]


async def test_other_listen_errors_of_hypercorn_are_raised_unchanged(app: App) -> None:
    """What else keeps hypercorn from listening is raised as it is."""

    def create_sockets() -> None:
        raise ValueError("no such scheme")

    with trio.fail_after(LONG), pytest.raises(ExceptionGroup) as caught:
        await asgi.serve(app, config_of([], create_sockets=create_sockets))
    assert str(_leaf(caught.value)) == "no such scheme"


async def test_a_code_that_may_not_be_sent_is_refused_at_once(app: App) -> None:
    with pytest.raises(ValueError, match="1005"):
        await asgi.serve(app, config_of([]), code=1005)


async def test_without_hypercorn_it_says_what_to_install(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypercorn.trio", None)
    with pytest.raises(ImportError, match=r"trio-ws\[asgi\]"):
        await asgi.serve(app)


def _leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@pytest.mark.parametrize("given", [None, 7.0])
async def test_hypercorn_pings_as_often_as_we_would(given: float | None) -> None:
    seen, app = [], app_of(stall, "/echo", App(timeouts=Timeouts(ping_interval=0.05)))
    with trio.fail_after(LONG):
        async with serving(
            ASGIApplication(app), **({} if given is None else {"websocket_ping_interval": given})
        ) as bridge:
            peer = await dial(bridge.port, "http1")
            seen.append(await peer.next())
            with trio.move_on_after(LONG if given is None else 0.2):
                seen.append(await peer.next())
            await peer.leave()
    assert seen == [("ping", b"")] * (2 if given is None else 1)


def test_run_ends_with_a_signal(app: App) -> None:
    seen: list[Any] = []

    async def lifespan(app: App) -> AsyncIterator[None]:
        app.nursery.start_soon(visit)
        yield
        seen.append("ended")

    async def visit() -> None:
        while True:
            try:
                port = app.server.port
                break
            except RuntimeError:  # it does not listen yet
                await trio.sleep(0.005)
        async with open_websocket(f"ws://127.0.0.1:{port}/echo", caught_close_codes=(1012,)) as ws:
            await ws.send("x")
            assert await ws.receive() == "x"
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(WebSocketDisconnect) as caught:
                await ws.receive()
            seen.append(caught.value.code)

    app.services.lifespan = App(lifespan=lifespan).services.lifespan
    asgi.run(app, config_of([]))
    assert sorted(map(str, seen)) == ["1012", "ended"]


async def test_under_hypercorns_own_shutdown_everyone_is_told_1001(app: App) -> None:
    """Over HTTP/1.1; over HTTP/2 hypercorn does not send it on (the row http2-shutdown)."""
    trigger = trio.Event()
    with trio.fail_after(LONG):
        async with plain_hypercorn(app, shutdown_trigger=trigger.wait, graceful_timeout=0.05) as port:
            peer = await dial(port, "http1", "/listener")
            trigger.set()
            assert await peer.rest() == [("close", (1001, ""))]
    assert app.state.codes == [1001]


@pytest.mark.slow
async def test_http2_hypercorn_shutdown_sends_closes_and_is_bounded(app: App) -> None:
    """Under hypercorn's own shutdown over HTTP/2 the farewells run and the end is bounded."""
    trigger = trio.Event()
    with trio.fail_after(LONG):
        async with plain_hypercorn(app, shutdown_trigger=trigger.wait, graceful_timeout=0.05) as port:
            peer = await dial(port, "http2", "/listener")
            trigger.set()
            assert await peer.rest() == []
    assert app.state.codes == [1001]


# --- what would end hypercorn ----------------------------------------------------------------------------------------


async def test_bad_deflate_window_is_refused_and_others_go_on(app: App, version: Version) -> None:
    """A bad window of permessage-deflate is refused and others go on."""
    with trio.fail_after(LONG):
        async with serving(ASGIApplication(app)) as bridge:
            peer = await dial(bridge.port, version)
            stream = await open_network(bridge.port, version)
            async with stream:
                offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=zz"
                await stream.send_all(request("/echo", offer))
                assert status_of((await read_head(stream))[0]) == 400
            await peer.message("x")
            assert await peer.next() == ("text", "x")
            await peer.leave()


async def test_late_answer_to_our_close_frame_is_harmless(version: Version) -> None:
    """An answer to our close frame that comes late harms nobody."""

    async def closes(ws: WebSocket) -> None:
        if "stay" not in ws.query_parameters:
            await ws.close(4000)
        await ws.receive()

    app = app_of(closes, "/echo", App(timeouts=Timeouts(ping_interval=None, close_timeout=0.05)))
    with trio.fail_after(LONG):
        async with serving(ASGIApplication(app)) as bridge:
            other = await dial(bridge.port, version, "/echo?stay=1")
            peer = await dial(bridge.port, version)
            assert await peer.next() == ("close", (4000, ""))
            await until_gone(bridge, 1)
            if version == "http2":  # over HTTP/1.1 the connection has ended
                await peer.close(4000)
            await peer.leave()
            await trio.sleep(0.05)
            await other.message("goes on")
            assert await other.next() == ("close", (1000, ""))
            await other.leave()


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_over_tls_both_versions_are_agreed_on(app: App, protocol: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = trusting(authority)
    context.set_alpn_protocols([protocol])
    files = {"certfile": str(tmp_path / "both.pem"), "keyfile": str(tmp_path / "both.pem")}

    async def connect() -> trio.abc.Stream:
        stream = await trio.open_ssl_over_tcp_stream(
            "localhost", bridge.port, ssl_context=context, https_compatible=True
        )
        await stream.do_handshake()
        assert stream.selected_alpn_protocol() == protocol
        return await Tunnel.open(stream, secure=True) if protocol == "h2" else stream

    with trio.fail_after(LONG):
        async with serving(ASGIApplication(app), **files) as bridge:
            assert bridge.urls == (f"wss://127.0.0.1:{bridge.port}",)
            url = f"wss://localhost:{bridge.port}/echo"
            stream = await connect()
            async with open_websocket(
                url.replace("wss", "ws"), stream=stream, origin=f"https://localhost:{bridge.port}"
            ) as ws:
                await ws.send("over TLS")
                assert await ws.receive() == "over TLS"
            page = await fetch(await connect(), URL.parse(f"wss://localhost:{bridge.port}/page"), ())
            assert page.text == "wss localhost"


# --- beside others ---------------------------------------------------------------------------------------------------


def starlette_beside(app: App) -> Any:
    """A Starlette application with a lifespan, and ours in front of it."""
    applications = pytest.importorskip("starlette.applications")
    responses = pytest.importorskip("starlette.responses")
    routing = pytest.importorskip("starlette.routing")

    async def users(request: Any) -> Any:
        body = (await request.body()).decode()
        return responses.JSONResponse({"path": request.url.path, "body": body, "pool": request.state.pool})

    async def theirs(websocket: Any) -> None:
        await websocket.accept()
        await websocket.send_text(f"Starlette got {await websocket.receive_text()}")
        await websocket.close(4000)

    app.state.pool = "shared"
    other = applications.Starlette(
        routes=[
            routing.Route("/api/users", users, methods=["GET", "POST"]),
            routing.WebSocketRoute("/theirs", theirs),
        ]
    )
    return ASGIApplication(app, fallback=other)


async def test_starlette_answers_what_the_application_does_not_know(app: App, version: Version) -> None:
    with trio.fail_after(LONG):
        async with serving(starlette_beside(app)) as bridge:
            peer = await dial(bridge.port, version)
            await peer.message("x")
            assert await peer.next() == ("text", "x")
            await peer.leave()
            peer = await dial(bridge.port, version, "/theirs")
            await peer.message("y")
            assert await peer.next() == ("text", "Starlette got y")
            assert await peer.next() == ("close", (4000, ""))
            await peer.leave()
            stream = await open_network(bridge.port, version)
            async with stream:
                await stream.send_all(b"POST /api/users HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody")
                head, body = await read_head(stream)
                assert status_of(head) == 200
                while not body.endswith(b"}"):
                    body += await stream.receive_some()
                assert body == b'{"path":"/api/users","body":"body","pool":"shared"}'


async def test_application_mounted_in_starlette_runs_its_lifespan(app: App) -> None:
    """Mounted in Starlette the application runs with its lifespan."""
    applications = pytest.importorskip("starlette.applications")
    routing = pytest.importorskip("starlette.routing")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with app.lifespan_context():
            yield

    outer = applications.Starlette(routes=[routing.Mount("/live", app=app)], lifespan=lifespan)
    with trio.fail_after(LONG):
        async with plain_hypercorn(outer) as port:
            peer = await dial(port, "http1", "/live/echo")
            await peer.message("x")
            assert await peer.next() == ("text", "x")
            await peer.close()
            await peer.rest()


@pytest.mark.slow
async def test_the_command_of_hypercorn_serves_an_application(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        "from trio_ws import App\n"
        "app = App()\n"
        "@app.websocket('/echo')\n"
        "async def echo(ws):\n"
        "    async for message in ws:\n"
        "        await ws.send(message)\n"
    )
    command = [sys.executable, "-m", "hypercorn", "-k", "trio", "-b", "127.0.0.1:0", "module:app"]
    with trio.fail_after(3 * LONG):
        process = await trio.lowlevel.open_process(command, cwd=tmp_path, stderr=-1)
        try:
            assert process.stderr is not None
            said = b""
            while b"Running on http://" not in said:
                more = await process.stderr.receive_some()
                assert more, said
                said += more
            port = int(said.split(b"127.0.0.1:")[1].split(b" ")[0])
            async with open_websocket(f"ws://127.0.0.1:{port}/echo") as ws:
                await ws.send("x")
                assert await ws.receive() == "x"
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
