"""Clients behind a proxy that the server trusts: who they are for handlers, pages, the origin check and the log."""

from __future__ import annotations

import logging
from typing import Any

from support.endings import refusal_of, status_of
from support.handlers import serve

from trio_ws import App, Limits, WebSocket, open_websocket

FORWARDED = {"X-Forwarded-For": "203.0.113.9, 192.0.2.7:4711", "X-Forwarded-Proto": "https"}


async def tell(ws: WebSocket) -> None:
    await ws.send_json([ws.client, str(ws.url), ws.request.secure])


async def ask(server: Any, **options: Any) -> Any:
    async with open_websocket("ws://chat.example/x", headers=FORWARDED, receive_type="json", **options) as ws:
        return await ws.receive()


async def test_over_a_unix_socket(nursery, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "trio_ws")
    path = tmp_path / "socket"
    server = await serve(nursery, tell, uds=path, trusted_proxies=["unix"])
    assert await ask(server, uds=path) == [["192.0.2.7", 4711], "wss://chat.example/x", True]
    assert caplog.records[0].peer == "192.0.2.7:4711"


async def test_a_unix_socket_is_not_trusted_by_default(nursery, tmp_path):
    path = tmp_path / "socket"
    server = await serve(nursery, tell, uds=path)
    assert await ask(server, uds=path) == ["", "ws://chat.example/x", False]


async def test_an_application_s_pages_and_views_know_the_client(nursery):
    app = App(trusted_proxies=["127.0.0.0/8"])
    app.page("/", lambda request: {"client": request.client})
    app.websocket("/x")(tell)
    server = await nursery.start(app.serve, "127.0.0.1", 0)
    async with open_websocket(f"{server.urls[0]}/x", headers=FORWARDED, receive_type="json") as ws:
        client, url, secure = await ws.receive()
    assert (client, secure) == (["192.0.2.7", 4711], True)
    assert url.startswith("wss://127.0.0.1:")


async def test_http_page_is_another_origin_if_the_proxy_reports_tls(nursery):
    """An HTTP page is another origin once the proxy says that the connection is TLS."""
    server = await serve(nursery, tell, trusted_proxies=["127.0.0.1"])
    page = f"http://127.0.0.1:{server.port}"
    async with open_websocket(server.urls[0], origin=page):
        pass
    async with open_websocket(server.urls[0], origin=page.replace("http", "https"), headers=FORWARDED):
        pass
    await refusal_of(open_websocket, server.urls[0], origin=page, headers=FORWARDED)


async def test_the_bound_for_one_address_counts_the_proxy(nursery):
    """It acts before there is a request: documented, and not to be mistaken for a bound of clients behind it."""

    limits = Limits(max_connections_per_ip=1)
    server = await serve(nursery, lambda ws: ws.receive(), trusted_proxies=["127.0.0.1"], limits=limits)
    async with open_websocket(server.urls[0], headers={"X-Forwarded-For": "192.0.2.1"}):
        assert await status_of(open_websocket, server.urls[0], headers={"X-Forwarded-For": "192.0.2.2"}) == 503
