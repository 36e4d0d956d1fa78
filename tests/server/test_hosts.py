"""`hosts=`: requests for another host are refused before anything of the application sees them."""

from __future__ import annotations

import pytest
import trio
from support.handlers import echo, serve

from trio_ws import App, ConnectionRejected, WebSocket, open_websocket
from trio_ws.asgi import ASGIApplication
from trio_ws.asgi.scope import read_request
from trio_ws.connection.settings import Settings
from trio_ws.http.head import MalformedRequest
from trio_ws.testing import request_bytes


async def status_of(port: int, request: bytes) -> int:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        return int((await stream.receive_some()).split()[1])


def application() -> tuple[App, list[str]]:
    app, seen = App(hosts=["example.org", "127.0.0.1"]), list[str]()

    def guard(context: object) -> bool:
        seen.append("guard")
        return True

    @app.websocket("/", guards=[guard])
    async def view(ws: WebSocket) -> None:
        seen.append("view")

    app.page("/page", lambda request: seen.append("page") or "hello")
    return app, seen


@pytest.mark.parametrize("path", ["/", "/page", "/healthz", "/nowhere"])
@pytest.mark.parametrize("upgrade", [True, False])
async def test_another_host_gets_421_before_guards_and_pages(nursery, path, upgrade):
    app, seen = application()
    server = await nursery.start(app.serve, "127.0.0.1", 0)
    request = request_bytes() if upgrade else b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    request = request.replace(b"/", path.encode(), 1).replace(b"localhost", b"rebound.example")
    assert await status_of(server.port, request) == 421
    assert await status_of(server.port, request.replace(b"rebound.example", b"")) == 421
    absolute = request.replace(b" /", b" http://rebound.example/", 1).replace(b": rebound.example", b": example.org")
    assert await status_of(server.port, absolute) == 421
    assert seen == []


async def test_a_listed_host_is_served(nursery):
    app, seen = application()
    server = await nursery.start(app.serve, "127.0.0.1", 0)
    async with open_websocket(server.urls[0], headers={"Host": "example.org"}):
        pass
    assert await status_of(server.port, b"GET /page HTTP/1.1\r\nHost: example.org:80\r\n\r\n") == 200
    assert seen == ["guard", "view", "page"]


async def test_serve_websocket_takes_hosts(nursery):
    server = await serve(nursery, echo, hosts=["localhost"])
    with pytest.raises(ConnectionRejected) as caught:
        async with open_websocket(server.urls[0]):
            pass
    assert caught.value.status == 421


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_under_an_asgi_server_another_host_gets_421(kind):
    app, seen = application()
    bridge = ASGIApplication(app)
    sent = []
    scope = {
        "type": kind,
        "method": "GET",
        "path": "/page" if kind == "http" else "/",
        "headers": [(b"host", b"rebound.example")],
        "extensions": {"websocket.http.response": {}},
    }
    events = iter([{"type": f"{kind}.connect"}] if kind == "websocket" else [{"type": "http.request"}])

    async def receive():
        event = next(events, None)
        return await trio.sleep_forever() if event is None else event

    async def send(event):
        sent.append(event)

    async with app.lifespan_context():
        await bridge(scope, receive, send)
    assert next(event["status"] for event in sent if "status" in event) == 421
    assert seen == []


@pytest.mark.parametrize(
    ("path", "served"), [("http://example.org/app/page", True), ("http://rebound.example/app/", False)]
)
def test_under_an_asgi_server_an_absolute_target_counts(path, served):
    """hypercorn gives the target as it came; the host in it counts, whatever Host said (RFC 9112 3.2.2)."""
    headers = [(b"host", b"rebound.example" if served else b"example.org"), (b"x", b"y")]
    scope = {
        "type": "http",
        "method": "GET",
        "root_path": "/app",
        "path": path,
        "raw_path": path.encode(),
        "headers": headers,
    }
    settings = Settings(hosts=["example.org"])
    if served:
        request = read_request({**scope, "query_string": b"q"}, settings)
        assert (request.target, request.headers["host"], request.headers["x"]) == ("/page?q", "example.org", "y")
    else:
        with pytest.raises(MalformedRequest, match="421"):
            read_request(scope, settings)


async def test_a_test_client_asks_for_the_first_host_that_is_served():
    app, _ = application()
    async with app.test_client() as client:
        assert (await client.get("/page")).status == 200
        async with client.websocket_connect("/") as ws:
            assert ws.headers["host"] == "example.org"
    async with app.test_client(base_url="ws://testserver") as client:
        assert (await client.get("/page")).status == 421
    async with App(hosts=["*.example.org", "[::1]:8000"]).test_client() as client:
        assert (await client.get("/healthz")).status == 200
    async with App(hosts=["*.example.org"]).test_client() as client:
        assert (await client.get("/healthz")).status == 421
