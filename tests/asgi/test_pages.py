"""Plain HTTP calls, the lifespan, and an application beside ours, on an ASGI server that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from support.asgi import plain_hypercorn
from support.handlers import app_of, echo
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_ws import App, Limits, Response, Timeouts, WebSocket
from trio_ws.asgi import ASGIApplication
from trio_ws.asgi.lifespan import CompanionFailed, run_lifespan_of

from .server import Call, calling, scope_of, seen_as


@asynccontextmanager
async def living(application: Any, **scope: Any) -> AsyncIterator[Call]:
    """Hold an application's lifespan open."""
    call = Call(application, {"type": "lifespan", "asgi": {"version": "3.0"}, **scope})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call.run)
        call.put("lifespan.startup")
        await call.next(1)
        yield call
        call.put("lifespan.shutdown")
        await call.ended()


async def ask(
    application: Any, path: str = "/", *, events: Any = None, **given: Any
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask for a page: status, headers, body."""
    raw, _, query = path.partition("?")
    scope = scope_of("http", path=raw, raw_path=raw.encode(), query_string=query.encode(), **given)
    call = Call(application, scope)
    for event in events or [{"body": b"", "more_body": False}]:
        call.put("http.request", **event)
    with trio.fail_after(60):
        await call.run()
    start, body = call.sent
    assert (start["type"], body["type"]) == ("http.response.start", "http.response.body")
    return start["status"], dict(start["headers"]), body["body"]


@pytest.fixture
def app() -> App:
    app = App()
    app.page("/page", lambda request: f"hello {request.query_parameters.get('name', '')}")
    app.page("/broken", lambda request: 5)  # type: ignore[arg-type, return-value]
    app.page("/wrong", lambda request: Response(headers={"Connection": "close"}))
    app.page("/nothing", lambda request: Response(status=204))

    app.websocket("/echo")(echo)

    return app


async def test_hypercorn_closes_where_the_client_wants_it(app: App, tmp_path: Path) -> None:
    """hypercorn closes in the call that takes the last part, and reports a disconnect meanwhile."""
    (tmp_path / "large").write_bytes(b"x" * 300_000)
    app.static("/files", tmp_path)
    with trio.fail_after(60):
        async with plain_hypercorn(app) as port:
            for path, size in (("/page", 6), ("/files/large", 300_000), ("/files/none", 10)):
                for version in ("1.0", "1.1"):
                    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                        head = f"GET {path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                        await stream.send_all(head.encode())
                        got = b"".join([data async for data in stream])
                    assert len(got.partition(b"\r\n\r\n")[2]) == size


async def test_a_request_of_http_1_0_needs_no_host(app: App) -> None:
    """Health checks are often such ones; our own server answers them."""
    async with living(app):
        assert (await ask(app, "/healthz", headers=[], http_version="1.0"))[0] == 200
        assert (await ask(app, "/healthz", headers=[], http_version="1.1"))[0] == 400


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_pages_are_answered_with_their_length(app: App) -> None:
    async with living(app):
        status, headers, body = await ask(app, "/page?name=Ann")
        assert (status, body, headers[b"content-length"]) == (200, b"hello Ann", b"9")
        assert headers[b"content-type"] == b"text/html; charset=utf-8"
        status, headers, body = await ask(app, "/page", method="HEAD")
        assert (status, body, headers[b"content-length"]) == (200, b"", b"6")
        status, headers, body = await ask(app, "/nothing")
        assert (status, body, b"content-length" in headers) == (204, b"", False)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/none", "GET", 404),
        ("/page/", "GET", 307),
        ("/page", "POST", 405),
        ("/broken", "GET", 500),
        ("/wrong", "GET", 500),
        ("/healthz", "GET", 200),
        ("/echo", "GET", 426),
    ],
)
async def test_other_answers(app: App, path: str, method: str, status: int) -> None:
    async with living(app):
        assert (await ask(app, path, method=method))[0] == status


async def test_an_upgrade_is_asked_for_as_each_version_of_http_has_it(app: App) -> None:
    async with living(app):
        _, headers, _ = await ask(app, "/echo")
        assert (headers[b"upgrade"], headers[b"connection"]) == (b"websocket", b"upgrade")
        _, headers, _ = await ask(app, "/echo", http_version="2")
        assert b"upgrade" not in headers
        assert b"connection" not in headers


async def test_large_file_is_several_events_with_content_length(app: App, tmp_path: Path) -> None:
    """A large file is several events with its length in the head."""
    content = bytes(range(256)) * 2000
    (tmp_path / "large.bin").write_bytes(content)
    app.static("/files", tmp_path)
    async with living(app):
        for method, pieces in (("GET", 4), ("HEAD", 0)):
            call = Call(app, scope_of("http", path="/files/large.bin", raw_path=b"/files/large.bin", method=method))
            call.put("http.request", body=b"", more_body=False)
            await call.run()
            start, *bodies, last = call.sent
            assert dict(start["headers"])[b"content-length"] == b"512000"
            assert (len(bodies), last["more_body"], last["body"]) == (pieces, False, b"")
            assert b"".join(event["body"] for event in bodies) == (content if pieces else b"")


async def test_the_path_is_relative_to_the_root_path(app: App) -> None:
    async with living(app):
        assert (await ask(app, "/sub/page", root_path="/sub"))[0] == 200
        assert (await ask(app, "/page", root_path="/sub"))[0] == 200  # a proxy took it off already
        assert (await ask(app, "/subpage", root_path="/sub"))[0] == 404
        assert (await ask(app, "/sub", root_path="/sub"))[0] == 404


async def test_a_scope_without_what_is_optional(app: App) -> None:
    async with living(app):
        call = Call(app, scope_of("http", path="/page"))
        for name in ("raw_path", "client", "root_path", "http_version", "extensions"):
            del call._scope[name]
        call.put("http.request")
        await call.run()
        assert call.sent[0]["status"] == 200


async def test_the_answer_waits_until_the_body_has_come(app: App, autojump_clock: MockClock) -> None:
    """hypercorn would fail over HTTP/2 if it came behind the answer."""

    async def made_in_the_loop(request: Any) -> str:  # a thread would let the virtual clock jump
        return "hello"

    app.page("/made", made_in_the_loop)
    async with living(app):
        call = Call(app, scope_of("http", method="POST"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            call.put("http.request", body=b"a", more_body=True)
            await wait_all_tasks_blocked()
            assert call.sent == []
            call.put("http.request", body=b"b")
            await call.next(2)
        assert call.sent[0]["status"] == 405
        start = trio.current_time()
        assert (await ask(app, "/made", events=[{"body": b"", "more_body": True}]))[0] == 200
        assert trio.current_time() - start == Timeouts().open_timeout


async def test_a_client_that_leaves_cancels_the_page(autojump_clock: MockClock) -> None:
    app, began = App(), trio.Event()

    async def slow(request: Any) -> str:
        began.set()
        await trio.sleep_forever()
        return "never"

    app.page("/slow", slow)
    async with living(app):
        call = Call(app, scope_of("http", path="/slow", raw_path=b"/slow"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            call.put("http.request")
            await began.wait()
            call.put("http.disconnect")
        assert call.sent == []


async def test_a_page_that_takes_longer_than_open_timeout_is_a_503(autojump_clock: MockClock) -> None:
    app = App()

    async def slow(request: Any) -> str:
        await trio.sleep_forever()
        return "never"

    app.page("/slow", slow)
    async with living(app):
        start = trio.current_time()
        call = Call(app, scope_of("http", path="/slow", raw_path=b"/slow"))
        call.put("http.request")
        await call.run()
        assert call.sent[0]["status"] == 503
        assert trio.current_time() - start == Timeouts().open_timeout


@pytest.mark.parametrize(("behind", "status"), [(b"", 200), (b"x", 413)])
async def test_a_body_of_the_most_bytes_is_read_to_its_end(behind: bytes, status: int) -> None:
    class Endpoint:
        max_body = 100

        def refusal(self, request: Any) -> None:
            pass

        async def answer(self, request: Any, body: bytes) -> Response:
            return Response(body=body)

    app = App()
    app.services.pages.add_endpoint("/echo", Endpoint())
    async with living(app):
        call = Call(app, scope_of("http", path="/echo", raw_path=b"/echo", method="POST"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.run)
            call.put("http.request", body=bytes(100), more_body=True)
            await wait_all_tasks_blocked()
            assert call.sent == []
            call.put("http.request", body=behind)
        assert call.sent[0]["status"] == status


@pytest.mark.parametrize(("more_body", "status"), [(True, 408), (False, 503)])
async def test_a_late_body_is_a_408_and_a_late_answer_a_503(
    autojump_clock: MockClock, more_body: bool, status: int
) -> None:
    class Endpoint:
        max_body = 100

        def refusal(self, request: Any) -> None:
            pass

        async def answer(self, request: Any, body: bytes) -> Response:
            await trio.sleep_forever()
            raise AssertionError

    app = App()
    app.services.pages.add_endpoint("/late", Endpoint())
    async with living(app):
        start = trio.current_time()
        call = Call(app, scope_of("http", path="/late", raw_path=b"/late", method="POST"))
        call.put("http.request", body=b"a", more_body=more_body)
        await call.run()
        assert call.sent[0]["status"] == status
        assert trio.current_time() - start == Timeouts().open_timeout


async def test_without_pages_a_get_is_told_to_upgrade() -> None:
    class NoPages:
        async def page(self, request: Any) -> None:
            pass

    status, headers, _ = await ask(ASGIApplication(NoPages()))  # type: ignore[arg-type]
    assert (status, headers[b"sec-websocket-version"]) == (426, b"13")


async def test_health_says_that_the_server_drains(app: App) -> None:
    async with living(app):
        app.server.shutdown()
        assert app.server.draining
        assert (await ask(app, "/healthz"))[0] == 503


async def test_metrics_are_those_of_the_bridge(app: App) -> None:
    app.metrics()
    async with living(app):
        async with calling(app, path="/echo", raw_path=b"/echo") as call:
            await call.next(1)
            _, _, body = await ask(app, "/metrics")
            assert b"trio_ws_websockets 1.0" in body
            call.leave()


# --- lifespan --------------------------------------------------------------------------------------------------------


async def test_the_application_runs_between_startup_and_shutdown() -> None:
    steps: list[str] = []

    async def lifespan(app: App) -> AsyncIterator[None]:
        app.state.pool = "the pool"
        steps.append("begins")
        yield
        steps.append("ends")

    app = App(lifespan=lifespan)
    state: dict[str, Any] = {}
    async with living(app, state=state) as call:
        assert steps == ["begins"]
        assert state == {"pool": "the pool"}
        assert app.nursery is not None
        assert app.server.statistics().connections == 0
        with pytest.raises(RuntimeError, match="port"):
            _ = app.server.port
    assert steps == ["begins", "ends"]
    assert [event["type"] for event in call.sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    async with living(app):  # and again
        pass
    assert steps == ["begins", "ends"] * 2


@pytest.mark.parametrize("stage", ["startup", "shutdown"])
async def test_a_lifespan_that_fails_says_so(stage: str, caplog: pytest.LogCaptureFixture) -> None:
    async def lifespan(app: App) -> AsyncIterator[None]:
        if stage == "startup":
            raise ValueError("no database")
        yield
        raise ValueError("no database")

    call = Call(App(lifespan=lifespan), {"type": "lifespan", "asgi": {}})
    call.put("lifespan.startup")
    call.put("lifespan.shutdown")
    await call.run()
    assert call.sent[-1]["type"] == f"lifespan.{stage}.failed"
    assert "no database" in call.sent[-1]["message"]
    assert f"{stage} of the application failed" in caplog.text


async def test_what_is_left_of_connections_still_has_the_application(autojump_clock: MockClock) -> None:
    app, seen = App(), []

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
                seen.append(app.nursery)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            lifespan = Call(app, {"type": "lifespan"})
            nursery.start_soon(lifespan.run)
            lifespan.put("lifespan.startup")
            await lifespan.next(1)
            call = Call(app, scope_of())
            nursery.start_soon(call.run)
            call.put("websocket.connect")
            await call.next(1)
            scope.cancel()
    assert len(seen) == 1
    assert seen_as(call.sent[-1]) == ("close", 1001)


@pytest.mark.parametrize(("busy", "waited"), [(5, 5), (100, 2 * (2 + 3))], ids=["soon over", "never over"])
async def test_the_end_of_the_lifespan_waits_a_bounded_time(autojump_clock: MockClock, busy: int, waited: int) -> None:
    """It waits for handlers that clean up, at most twice cleanup_timeout and close_timeout."""

    async def handler(ws: WebSocket) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(busy)

    app = app_of(handler, "/", App(timeouts=Timeouts(ping_interval=None, cleanup_timeout=2, close_timeout=3)))
    async with trio.open_nursery() as nursery:
        async with living(app):
            call = Call(app, scope_of())
            nursery.start_soon(call.run)
            call.put("websocket.connect")
            await call.next(1)
            call.leave()
            began = trio.current_time()
        assert trio.current_time() - began == waited


async def test_application_without_lifespan_reports_the_missing_start(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    """An application that nobody has started says what is missing."""
    assert (await ask(app, "/page"))[0] == 500
    async with calling(app, path="/echo", raw_path=b"/echo") as call:
        await call.next(2)
    assert seen_as(call.sent[0]) == ("status", 500)
    assert "lifespan" in caplog.text


async def test_a_call_of_an_unknown_kind_is_refused(app: App) -> None:
    with pytest.raises(ValueError, match="novelty"):
        await app({"type": "novelty"}, None, None)


def test_a_server_that_runs_on_asyncio_is_told_which_one_to_take(app: App) -> None:
    """As uvicorn calls it, and hypercorn without `-k trio`."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(event: Any) -> None:
        sent.append(event)

    asyncio.run(app({"type": "lifespan"}, receive, send))
    (event,) = sent
    assert event["type"] == "lifespan.startup.failed"
    assert "start it with `hypercorn -k trio module:app`" in event["message"]
    for kind in ("http", "websocket"):  # where nobody has asked for the lifespan
        with pytest.raises(RuntimeError, match="hypercorn -k trio"):
            asyncio.run(app(scope_of(kind), receive, send))


# --- beside ----------------------------------------------------------------------------------------------------------


class Other:
    """Another ASGI application: it answers everything with its name, and notes its lifespan."""

    def __init__(self, *, lifespan: str = "complete") -> None:
        self.seen: list[str] = []
        self.state: Any = None
        self._lifespan = lifespan

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append(f"{scope['type']} {scope.get('path', '')}".strip())
        match scope["type"]:
            case "lifespan":
                await self._live(scope, receive, send)
            case "http":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"other"})
            case "websocket":
                await receive()
                await send({"type": "websocket.accept", "subprotocol": "other"})

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        if self._lifespan == "none":
            raise NotImplementedError
        self.state = scope["state"]
        while True:
            stage = (await receive())["type"]
            self.seen.append(stage)
            if self._lifespan == "late error" and stage.endswith("shutdown"):
                raise ValueError("at the end")
            await send({"type": f"{stage}.{'failed' if self._lifespan == 'failed' else 'complete'}", "message": "no"})
            if stage.endswith("shutdown"):
                return


async def test_unknown_requests_go_to_the_fallback_application(app: App) -> None:
    """What the application does not know goes to the one beside."""
    app.static("/static", "tests")
    app.state.shared = 1
    other = Other()
    bridge = ASGIApplication(app, fallback=other)
    async with living(bridge, state={}):
        assert other.state == {"shared": 1}
        for path in ("/page", "/page/", "/healthz", "/echo", "/static/none"):
            assert (await ask(bridge, path))[2] != b"other", path
        assert (await ask(bridge, "/api/users"))[2] == b"other"
        assert (await ask(bridge, "/page", method="POST"))[0] == 405
        async with calling(bridge, path="/theirs", raw_path=b"/theirs") as call:
            assert await call.ended() == [("accept", "other")]
        async with calling(bridge, path="/echo", raw_path=b"/echo") as call:
            await call.next(1)
            call.leave()
        assert call.sent[0]["subprotocol"] is None
        async with calling(bridge, headers=[(b"host", b"a b")]) as call:
            assert ("status", 400) in [seen_as(event) for event in await call.next(2)]
    assert other.seen == [
        "lifespan", "lifespan.startup", "http /api/users", "websocket /theirs", "lifespan.shutdown",
    ]  # fmt: skip


async def test_an_application_beside_may_know_no_lifespan(app: App) -> None:
    bridge = ASGIApplication(app, fallback=Other(lifespan="none"))
    async with living(bridge):
        assert (await ask(bridge, "/theirs"))[2] == b"other"


async def test_an_application_beside_that_cannot_begin_ends_both(app: App, caplog: pytest.LogCaptureFixture) -> None:
    call = Call(ASGIApplication(app, fallback=Other(lifespan="failed")), {"type": "lifespan"})
    call.put("lifespan.startup")
    await call.run()
    assert call.sent[0]["type"] == "lifespan.startup.failed"
    assert "other application failed: no" in caplog.text


async def test_an_application_beside_that_fails_at_its_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with run_lifespan_of(Other(lifespan="late error"), {}):
        pass
    assert "error in the lifespan" in caplog.text


async def test_a_companion_that_cannot_begin_is_an_error() -> None:
    with pytest.RaisesGroup(CompanionFailed):
        async with run_lifespan_of(Other(lifespan="failed"), {}):
            raise AssertionError("it began")


async def test_a_responder_without_an_opinion_knows_everything() -> None:
    class Pages:
        async def page(self, request: Any) -> Response:
            return Response(body=b"ours")

    bridge = ASGIApplication(Pages(), fallback=Other())  # type: ignore[arg-type]
    assert (await ask(bridge, "/anything"))[2] == b"ours"


async def test_limits_of_the_application_hold(app: App) -> None:
    assert ASGIApplication(App(limits=Limits(max_connections=3))).settings.limits.max_connections == 3
