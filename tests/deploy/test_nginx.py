"""docs/deploy/nginx.conf, in an nginx that runs: what passes through it, and what it is not allowed to pass on."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from support.endings import status_of

from trio_ws import (
    App,
    Limits,
    Server,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    open_websocket,
)

from .nginx import PATIENCE, needs_nginx, nginx

pytestmark = needs_nginx

LARGE = 5 * 1024 * 1024
SILENT = Timeouts(ping_interval=None)


def chat(**options: Any) -> App:
    """An application that does what clients ask for."""
    app = App(limits=Limits(max_message_size=LARGE), **options)
    app.metrics()
    app.page("/", lambda request: f"{request.url} from {request.client[0]}")

    @app.websocket("/echo/{name}")
    async def echo(ws: WebSocket, name: str) -> None:
        await ws.send_json({"url": str(ws.url), "client": ws.client, "path": name})
        async for message in ws:
            await ws.send(message)

    @app.websocket("/close", caught_close_codes=all)
    async def close(ws: WebSocket) -> None:
        code = await ws.receive_json()
        await ws.close(code, "as you wish")

    return app


class Site:
    """Servers behind nginx."""

    def __init__(self, port: int, context: ssl.SSLContext, servers: list[Server]) -> None:
        self.port = port
        self.servers = servers
        self._context = context

    def connect(self, path: str, **options: Any) -> Any:
        options = {"ssl_context": self._context, "limits": Limits(max_message_size=LARGE)} | options
        return open_websocket(f"wss://127.0.0.1:{self.port}{path}", **options)

    async def get(self, path: str, *headers: str) -> str:
        """Ask for a page; return the whole answer."""
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", self.port, ssl_context=self._context, https_compatible=True
        )
        async with stream:
            lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Connection: close", *headers, "", ""]
            await stream.send_all("\r\n".join(lines).encode())
            return b"".join([piece async for piece in stream]).decode()


@pytest.fixture
def site(tmp_path: Path, authority: trustme.CA, client_tls: ssl.SSLContext) -> Any:
    """A function that serves applications behind nginx for as long as a block runs."""

    @asynccontextmanager
    async def run(*apps: App, **options: Any) -> AsyncGenerator[Site, None]:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                servers = [await nursery.start(app.serve, "127.0.0.1", 0) for app in apps]
                async with nginx(tmp_path, authority, *(server.port for server in servers), **options) as port:
                    yield Site(port, client_tls, servers)
                nursery.cancel_scope.cancel()

    return run


async def test_messages_pass_both_ways_with_original_path_and_query(site: Any) -> None:
    """Messages pass both ways with path and query as they were."""
    async with site(chat(trusted_proxies=["127.0.0.1"])) as here:
        async with here.connect("/echo/a%20b%2Fc?x=%C3%BC&y") as ws:
            assert await ws.receive_json() == {
                "url": f"wss://127.0.0.1:{here.port}/echo/a%20b%2Fc?x=%C3%BC&y",
                "client": ["127.0.0.1", 0],
                "path": "a b/c",
            }
            for message in ("text", b"bytes", "", "x" * LARGE, bytes(LARGE)):
                await ws.send(message)
                assert await ws.receive() == message


async def test_pages_pass_and_figures_do_not(site: Any) -> None:
    async with site(chat(trusted_proxies=["127.0.0.1"])) as here:
        answer = await here.get("/?q=1")
        assert answer.startswith("HTTP/1.1 200 ")
        assert f"https://127.0.0.1:{here.port}/?q=1 from 127.0.0.1" in answer.replace("wss://", "https://")
        assert (await here.get("/metrics")).startswith("HTTP/1.1 404 ")
        assert (await here.get("/healthz")).endswith("ok\n")


async def test_close_codes_and_reasons_pass_both_ways(site: Any) -> None:
    codes = []

    async with site(app := chat()) as here:

        @app.listener("/told")
        def told() -> None: ...

        @told.on_disconnect
        def gone(ws: WebSocket, code: int) -> None:
            codes.append((code, ws.close_reason))

        async with here.connect("/close", caught_close_codes=all) as ws:
            await ws.send("4002")
            with pytest.raises(WebSocketDisconnect):
                await ws.receive()
            assert (ws.close_code, ws.close_reason) == (4002, "as you wish")
        async with here.connect("/told") as ws:
            await ws.close(4001, "I wish")
        while not codes:
            await trio.sleep(0.001)
        assert codes == [(4001, "I wish")]


@pytest.mark.parametrize("interval", [0.2, None], ids=["pings", "no pings"])
async def test_our_pings_bridge_silence_beyond_proxy_read_timeout(site: Any, interval: float | None) -> None:
    """Silence that is longer than proxy_read_timeout is bridged by our pings."""
    app = chat(timeouts=Timeouts(ping_interval=interval))
    async with site(app, read_timeout="1s") as here:
        async with here.connect("/echo/x", timeouts=SILENT, caught_close_codes=all) as ws:
            await ws.receive_json()
            with trio.move_on_after(1.5 if interval else PATIENCE) as silence:
                with pytest.raises(WebSocketDisconnect, match="1006"):
                    await ws.receive()
            assert silence.cancelled_caught == (interval is not None)
            if interval is not None:
                await ws.send("still here")
                assert await ws.receive() == "still here"


@pytest.mark.parametrize(
    ("trusted", "scheme", "client"),
    [(["127.0.0.1"], "wss", ["127.0.0.2", 0]), ([], "ws", "127.0.0.1"), (["192.0.2.0/24"], "ws", "127.0.0.1")],
    ids=["trusted", "none", "another"],
)
async def test_client_address_is_taken_from_trusted_proxies_only(
    site: Any, trusted: list[str], scheme: str, client: Any
) -> None:
    """Who the client is only a trusted proxy may say and never the client."""
    async with site(chat(trusted_proxies=trusted)) as here:
        stream = await trio.open_tcp_stream("127.0.0.1", here.port, local_address="127.0.0.2")
        lies = {"X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http", "Forwarded": "for=192.0.2.67"}
        over_tls = trio.SSLStream(stream, here._context, server_hostname="127.0.0.1", https_compatible=True)
        async with here.connect("/echo/x", stream=over_tls, headers=lies, ssl_context=None) as ws:
            seen = await ws.receive_json()
            assert seen["url"] == f"{scheme}://127.0.0.1:{here.port}/echo/x"
            assert seen["client"] == client or seen["client"][0] == client


@pytest.mark.parametrize("trusted", [["127.0.0.1"], []], ids=["trusted", "not trusted"])
async def test_same_origin_page_connects_with_tls_ending_at_nginx(site: Any, trusted: list[str]) -> None:
    """A page of the same origin connects although TLS ends at nginx."""
    async with site(chat(trusted_proxies=trusted)) as here:
        async with here.connect("/echo/x", origin=f"https://127.0.0.1:{here.port}") as ws:
            await ws.receive_json()
        others = ["https://127.0.0.1", "https://example.org"]
        if trusted:  # only then it is known that the page came over TLS
            others.append(f"http://127.0.0.1:{here.port}")
        for origin in others:
            assert await status_of(here, "/echo/x", origin=origin) == 403


async def test_process_answering_503_or_gone_is_passed_over(site: Any) -> None:
    """A process that answers 503 is passed over and so is one that is gone."""
    full = App(limits=Limits(max_connections=1))

    @full.websocket("/echo/{name}")
    async def hold(ws: WebSocket, name: str) -> None:
        await ws.receive()

    async with site(full, chat()) as here:
        async with open_websocket(f"ws://127.0.0.1:{here.servers[0].port}/echo/x"):
            for _ in range(2):
                async with here.connect("/echo/x") as ws:
                    assert (await ws.receive_json())["path"] == "x"
        here.servers[0].shutdown(grace=0)
        for _ in range(2):
            async with here.connect("/echo/x") as ws:
                assert (await ws.receive_json())["path"] == "x"


class TestWhatTheLinesAreFor:
    """What the documentation says of each line, shown by its absence."""

    @pytest.mark.parametrize(
        "line",
        [
            "proxy_set_header Upgrade $http_upgrade;",
            "proxy_set_header Connection $chat_connection;",
            "proxy_http_version 1.1;",
        ],
    )
    async def test_without_those_of_the_upgrade_no_handshake_passes(self, site: Any, line: str) -> None:
        async with site(chat(), without=[line]) as here:
            assert await status_of(here, "/echo/x") == 400

    async def test_without_host_pages_are_refused(self, site: Any) -> None:
        async with site(chat(), without=["proxy_set_header Host $http_host;"]) as here:
            assert await status_of(here, "/echo/x", origin=f"https://127.0.0.1:{here.port}") == 403

    async def test_without_x_forwarded_nobody_knows_the_client(self, site: Any) -> None:
        lines = [
            "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
            "proxy_set_header X-Forwarded-Proto $scheme;",
        ]
        async with site(chat(trusted_proxies=["127.0.0.1"]), without=lines) as here:
            async with here.connect("/echo/x") as ws:
                seen = await ws.receive_json()
        assert seen["url"].startswith("ws:")
        assert seen["client"][1] != 0, "it is nginx, whose port we know"

    async def test_full_process_refuses_clients_without_next_upstream(self, site: Any) -> None:
        """Without proxy_next_upstream a process that is full turns clients away."""
        full = App(limits=Limits(max_connections=1))

        @full.websocket("/x")
        async def hold(ws: WebSocket) -> None:
            await ws.receive()

        async with site(full, without=["proxy_next_upstream error timeout http_503;"]) as here:
            async with open_websocket(f"ws://127.0.0.1:{here.servers[0].port}/x"):
                assert await status_of(here, "/x") == 503

    async def test_without_its_location_everyone_may_read_the_figures(self, site: Any) -> None:
        async with site(chat(), without=["location = /metrics {\n        return 404;\n    }"]) as here:
            assert "trio_ws_websockets 0.0" in await here.get("/metrics")


async def test_a_unix_socket_does_instead_of_a_port(
    tmp_path: Path, authority: trustme.CA, client_tls: ssl.SSLContext, nursery: trio.Nursery
) -> None:
    app = chat(trusted_proxies=["unix"])
    path = tmp_path / "chat.sock"
    server = await nursery.start(lambda task_status: app.serve(None, None, uds=path, task_status=task_status))
    with trio.fail_after(PATIENCE):
        async with nginx(tmp_path, authority, f"unix:{path}") as port:
            async with Site(port, client_tls, [server]).connect("/echo/x") as ws:
                assert await ws.receive_json() == {
                    "url": f"wss://127.0.0.1:{port}/echo/x",
                    "client": ["127.0.0.1", 0],
                    "path": "x",
                }
