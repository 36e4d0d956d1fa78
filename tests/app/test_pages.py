"""Pages beside the WebSockets: files, functions, folders, health; and nothing outside of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import trio
from support.handlers import app_of

from trio_ws import App, Response
from trio_ws.app.pages import Pages, StaticFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "a b.txt").write_text("text")
    (tmp_path / "static" / "deep").mkdir()
    (tmp_path / "static" / "deep" / "x.js").write_text("js")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "static" / "link.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "index.html").write_text("<h1>hi</h1>")
    return tmp_path


async def test_a_page_is_a_file_with_the_type_of_its_name(folder: Path) -> None:
    app = App()
    app.page("/", folder / "index.html")
    async with app.test_client() as client:
        answer = await client.get("/")
        assert (answer.status, answer.text) == (200, "<h1>hi</h1>")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        (folder / "index.html").unlink()
        assert (await client.get("/")).status == 404


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        ("<p>", "text/html; charset=utf-8", b"<p>"),
        (b"\x00", "application/octet-stream", b"\x00"),
        ({"a": [1]}, "application/json", b'{"a": [1]}'),
        (["ü"], "application/json", '["ü"]'.encode()),
        (Response(status=201, headers={"Content-Type": "x/y"}, body=b"r"), "x/y", b"r"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_page_may_be_made_by_a_function(content: object, kind: str, body: bytes, is_async: bool) -> None:
    app = App()

    async def later(request: object) -> object:
        await trio.lowlevel.checkpoint()
        return content

    app.page("/p", later if is_async else lambda request: content)
    async with app.test_client() as client:
        answer = await client.get("/p?q=1")
        assert (answer.headers["content-type"], answer.body) == (kind, body)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "not NoneType"),
        (1.5, "not float"),
        (object(), "not object"),
        (date(2026, 1, 2), "not date"),
        ({"a": object()}, "object cannot be expressed in JSON"),
    ],
    ids=["None", "number", "object", "value", "dict"],
)
async def test_what_is_no_page_is_named_in_the_error(
    content: object, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    app.page("/p", lambda request: content)
    async with app.test_client(raise_server_errors=False) as client:
        assert (await client.get("/p")).status == 500
    assert said in caplog.text
    assert ("a page is str, bytes" in caplog.text) == (not isinstance(content, dict))


async def test_failing_page_function_is_a_500_and_server_goes_on() -> None:
    """A page function that fails is a 500 and the server goes on."""
    app = App()
    app.page("/bad", lambda request: 3)
    app.page("/good", lambda request: "good")
    async with app.test_client(raise_server_errors=False) as client:
        assert (await client.get("/bad")).status == 500
        assert (await client.get("/good")).text == "good"


async def test_only_a_trailing_slash_too_few_or_many_redirects_a_page() -> None:
    app = App()
    app.page("/a", lambda request: "a")
    app.page("/b/", lambda request: "b")
    async with app.test_client() as client:
        for path, location in (("/a/?q=1", "/a?q=1"), ("/b", "/b/")):
            answer = await client.get(path)
            assert (answer.status, answer.headers["location"]) == (307, location)
        assert (await client.get("/c")).status == 404
        assert (await client.get("//a/")).status == 404


async def test_a_static_folder_serves_its_files_and_nothing_else(folder: Path) -> None:
    app = App()
    app.static("/files", folder / "static")
    async with app.test_client() as client:
        assert (await client.get("/files/a%20b.txt")).text == "text"
        script = await client.get("/files/deep/x.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for path in (
            "/files/",
            "/files/none.txt",
            "/files/deep",
            "/files/link.txt",
            "/files/../secret.txt",
            "/files/%2e%2e/secret.txt",
            "/files/deep/..%2f..%2f..%2fsecret.txt",
            "/files//etc/passwd",
            "/files/%2fetc/passwd",
            "/files/a%00.txt",
            "/files/..%5csecret.txt",
            "/elsewhere/a.txt",
        ):
            assert (await client.get(path)).status == 404, path


@pytest.mark.parametrize("path", ["/other/x", "/files"])
async def test_a_folder_does_not_answer_for_other_paths(folder: Path, path: str) -> None:
    assert await StaticFolder("/files/", folder).page(path) is None


def test_pages_that_cannot_work_are_refused(folder: Path) -> None:
    pages = Pages()
    pages.add("/a", folder / "index.html")
    with pytest.raises(ValueError, match="already"):
        pages.add("/a", folder / "index.html")
    with pytest.raises(ValueError, match="slash"):
        pages.add("b", folder / "index.html")
    with pytest.raises(FileNotFoundError, match=r"none\.html"):
        pages.add("/b", folder / "none.html")
    with pytest.raises(ValueError, match="slash"):
        pages.add_folder("files", folder)
    with pytest.raises(NotADirectoryError):
        pages.add_folder("/files", folder / "index.html")


async def test_health_is_ok_then_503_while_draining() -> None:
    async def slow(ws) -> None: ...

    app = app_of(slow, "/slow", when_peer_leaves="finish")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(app.serve, "127.0.0.1", 0)
        assert app.server is server
        assert (await app.responder.page(_Healthz())).body == b"ok\n"
        server.shutdown()
        assert (await app.responder.page(_Healthz())).status == 503
    with pytest.raises(RuntimeError, match="no server"):
        _ = app.server


async def test_load_balancer_connection_gets_503_while_draining() -> None:
    """A load balancer whose connection is open when the server drains is told 503."""
    app = App()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(app.serve, "127.0.0.1", 0)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\n")
            while server.statistics().connections < 1:
                await trio.sleep(0.001)
            server.shutdown()
            answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 503 ")


async def test_request_for_impossible_file_name_is_404_and_not_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A request for a file that no name can be of is a 404 and no line in the log."""
    app = App()
    app.static("/s", folder / "static")
    (folder / "static" / "circle").symlink_to(folder / "static" / "circle")
    async with app.test_client() as client:
        for name in ("x" * 3000, "circle", "%00", "%ff", "a b.txt/b"):
            assert (await client.get(f"/s/{name.replace(' ', '%20')}")).status == 404
    assert not caplog.records


class _Healthz:
    raw_path = "/healthz"


async def test_a_page_of_ones_own_takes_the_place_of_health() -> None:
    app = App()
    app.page("/healthz", lambda request: "mine")
    async with app.test_client() as client:
        assert (await client.get("/healthz")).text == "mine"


async def test_a_plain_get_for_a_websocket_says_what_it_is() -> None:
    async def view(ws) -> None: ...

    async with app_of(view, "/ws").test_client() as client:
        answer = await client.get("/ws")
    assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
