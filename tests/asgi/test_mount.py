"""Under a mount: routes are relative to it, what leads back to the application has it in front."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from support.asgi import plain_hypercorn
from trio.testing import wait_all_tasks_blocked

from trio_ws import App, BlockingWebSocket, WebSocket, open_websocket

from .server import calling
from .test_pages import ask, living


@pytest.fixture
def app() -> App:
    app = App()
    app.page("/page", lambda request: [str(request.url), request.path, request.root_path, app.url_for("item", n=3)])
    app.page("/folder/", lambda request: "folder")

    @app.websocket("/items/{n:int}", name="item")
    async def item(ws: WebSocket, n: int) -> None:
        await ws.send_json([str(ws.url), ws.url.raw_path, ws.request.path, app.url_for("item", n=n + 1)])

    @app.websocket("/plain")
    def plain(ws: BlockingWebSocket) -> None:
        ws.send(app.url_for("item", n=1))

    return app


@pytest.mark.parametrize(
    ("root", "path", "shown"),
    [
        ("/sub", "/sub", "/sub"),
        ("/sub/", "/sub", "/sub"),
        ("/sub", "", "/sub"),  # a proxy took it off already
        ("/a/b", "/a/b", "/a/b"),
        ("/größe", "/gr%C3%B6%C3%9Fe", "/gr%C3%B6%C3%9Fe"),
        ("/größe", "/gr%c3%b6%c3%9fe", "/gr%C3%B6%C3%9Fe"),
        ("", "", ""),
    ],
)
async def test_what_leads_back_begins_with_the_root_path(app: App, root: str, path: str, shown: str) -> None:
    async with living(app):
        status, _, body = await ask(app, f"{path}/page?a=1", root_path=root)
        assert status == 200
        assert body.decode() == f'["ws://localhost{shown}/page?a=1", "/page", "{shown}", "{shown}/items/3"]'
        status, headers, _ = await ask(app, f"{path}/page/?a=1", root_path=root)
        assert (status, headers[b"location"]) == (307, f"{shown}/page?a=1".encode())
        status, headers, _ = await ask(app, f"{path}/folder", root_path=root)
        assert (status, headers[b"location"]) == (307, f"{shown}/folder/".encode())
        for route, sent in (
            ("/items/7", f'["ws://localhost{shown}/items/7","{shown}/items/7","/items/7","{shown}/items/8"]'),
            ("/plain", f"{shown}/items/1"),
        ):
            raw = f"{path}{route}".encode()
            async with calling(app, path=raw.decode(), raw_path=raw, root_path=root) as call:
                await call.next(2)
                call.leave(1000)
            assert call.sent[1]["text"] == sent


@pytest.mark.parametrize("root", ["//evil.example", "///evil.example", "evil.example"])
async def test_a_root_path_never_leads_to_another_host(app: App, root: str) -> None:
    """A mount with a parameter takes its path from the client: "//host" in a Location is another host."""
    async with living(app):
        status, headers, _ = await ask(app, "/folder", root_path=root)
        assert (status, headers[b"location"]) == (307, b"/evil.example/folder/")
        _, _, body = await ask(app, "/page", root_path=root)
        assert b'"/evil.example/items/3"' in body


async def test_a_root_path_that_is_not_in_front_stays(app: App) -> None:
    async with living(app):
        for path in ("/subpage", "/su%2Fb/page", "/sub%2Fpage"):
            assert (await ask(app, path, root_path="/sub"))[0] == 404


async def test_url_for_outside_of_a_request_has_no_root_path(app: App) -> None:
    async with living(app):
        await ask(app, "/sub/page", root_path="/sub")
        got = []

        async def background() -> None:
            got.append(app.url_for("item", n=1))

        app.nursery.start_soon(background)
        await wait_all_tasks_blocked()
        assert got == ["/items/1"]


async def test_hypercorn_and_starlette_mount_one_inside_the_other(app: App) -> None:
    applications = pytest.importorskip("starlette.applications")
    routing = pytest.importorskip("starlette.routing")

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with app.lifespan_context():
            yield

    outer = applications.Starlette(routes=[routing.Mount("/live", app=app)], lifespan=lifespan)
    with trio.fail_after(60):
        async with plain_hypercorn(outer, root_path="/edge") as port:
            async with open_websocket(f"ws://127.0.0.1:{port}/edge/live/items/7") as ws:
                where = f"ws://127.0.0.1:{port}/edge/live/items/7"
                assert await ws.receive_json() == [where, "/edge/live/items/7", "/items/7", "/edge/live/items/8"]
