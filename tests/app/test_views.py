"""Views: what `App.websocket` promises, over the test client (real bytes, in memory)."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
import trio
from support.endings import refusal_of, status_of
from support.handlers import app_of

from trio_ws import (
    App,
    Depends,
    InvalidMessage,
    Reject,
    Router,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from trio_ws.app import RegistrationError
from trio_ws.blocking.websocket import BlockingWebSocket


async def test_view_gets_connection_and_converted_parameters() -> None:
    """A view gets the connection path and query parameters converted."""

    async def view(ws: WebSocket, room_id: int, topic: str, loud: bool = False) -> None:
        await ws.send_json([room_id, topic, loud])

    app = app_of(view, "/rooms/{room_id:int}/{topic}")
    async with app.test_client() as client, client.websocket_connect("/rooms/7/tea%20time?loud=yes") as ws:
        assert await ws.receive_json() == [7, "tea time", True]


async def test_unconvertible_values_are_a_400_with_all_problems() -> None:
    """A value that does not convert is a 400 with all problems."""

    async def view(ws: WebSocket, count: int, ratio: float = 1.0) -> None: ...

    caught = await refusal_of(app_of(view, "/n"), "/n?ratio=much")
    assert caught.status == 400
    assert b'"loc":["query","count"],"type":"missing"' in caught.body
    assert b'"loc":["query","ratio"],"type":"float_parsing"' in caught.body


@pytest.mark.parametrize(("options", "status"), [({}, 403), ({"not_found_status": 404}, 404)])
async def test_an_unknown_path_is_rejected(options: dict[str, int], status: int) -> None:
    async with App(**options).test_client() as client:
        assert await status_of(client, "/nowhere") == status


async def test_a_trailing_slash_makes_another_path_for_an_upgrade() -> None:
    async def view(ws: WebSocket) -> None: ...

    await refusal_of(app_of(view, "/a"), "/a/")


async def test_routers_nest_with_prefixes_and_guards_from_outside_in() -> None:
    asked: list[str] = []

    def guard(name: str):
        def ask(context) -> bool:
            asked.append(name)
            return True

        return ask

    inner = Router("/inner", guards=[guard("inner")])
    outer = Router("/outer", guards=[guard("outer")])
    app = App(guards=[guard("app")])
    outer.include(inner)
    app.include(outer, "/v1")

    @inner.websocket("/{name}", guards=[guard("route")])
    async def view(ws: WebSocket, name: str) -> None:
        await ws.send(name)

    async with app.test_client() as client, client.websocket_connect("/v1/outer/inner/x") as ws:
        assert await ws.receive() == "x"
    assert asked == ["app", "outer", "inner", "route"]
    assert app.url_for("view", name="a b") == "/v1/outer/inner/a%20b"


def test_url_for_an_unknown_route_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="'nothing'"):
        App().url_for("nothing")


def test_second_route_of_same_shape_is_refused_and_not_kept() -> None:
    """Two routes of one shape are refused and the second is not kept."""
    app = App()

    @app.websocket("/a/{x}")
    async def first(ws: WebSocket, x: str) -> None: ...

    with pytest.raises(RegistrationError, match="two routes match the same paths"):

        @app.websocket("/a/{y}")
        async def second(ws: WebSocket, y: str) -> None: ...

    other = Router()
    other.websocket("/a/{z}")(first)
    with pytest.raises(RegistrationError, match="two routes"):
        app.include(other)
    assert [route.name for route in app.routes()] == ["first"]


def test_unprovided_parameter_of_view_is_refused_at_registration() -> None:
    """A parameter that no one provides is refused at registration."""
    app = App()
    with pytest.raises(RegistrationError, match="'lock'"):

        @app.websocket("/a")
        async def view(ws: WebSocket, lock: trio.Lock) -> None: ...

    assert not list(app.routes())


@pytest.mark.parametrize("prefix", ["x", "/x/", "/"])
def test_a_prefix_begins_with_a_slash_and_ends_without(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        Router(prefix)


def test_options_that_make_no_sense_are_refused_at_registration() -> None:
    app = App()
    with pytest.raises(ValueError, match="value_type"):
        app.websocket("/a", value_type="json", receive_type="text")
    with pytest.raises(ValueError, match="when_peer_leaves"):
        app.websocket("/a", when_peer_leaves="sometimes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"subprotocols=\['chat'\]"):
        app.websocket("/a", subprotocols="chat")
    with pytest.raises(ValueError, match="not_found_status"):
        App(not_found_status=200)


async def test_dependencies_live_as_long_as_the_connection() -> None:
    events: list[str] = []

    async def database():
        events.append("open")
        yield "db"
        events.append("close")

    async def view(ws: WebSocket, db: str = Depends(database)) -> None:
        events.append(db)
        async for _ in ws:
            events.append("message")

    async with app_of(view, "/a").test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send("x")
    assert events == ["open", "db", "message", "close"]


async def test_dependencies_run_after_the_guards_and_before_the_answer() -> None:
    events: list[object] = []
    app = App()

    def guard() -> bool:
        events.append("guard")
        return True

    async def entered(ws: WebSocket):
        events.append(ws.accepted)
        try:
            yield
        finally:
            events.append("left")

    async def visitor(name: str, session: None = Depends(entered)) -> str:
        if name == "Mallory":
            raise Reject(401, body=b"not you")
        return name

    @app.websocket("/a", guards=[guard])
    async def view(ws: WebSocket, name: str = Depends(visitor)) -> None:
        events.append(name)

    @app.listener("/b", guards=[guard])
    async def listener(data: str, name: str = Depends(visitor)) -> None: ...

    async with app.test_client() as client:
        for path in ("/a", "/b"):
            events.clear()
            caught = await refusal_of(client, f"{path}?name=Mallory")
            assert (caught.status, caught.body) == (401, b"not you")
            assert events == ["guard", False, "left"]
        events.clear()
        async with client.websocket_connect("/a?name=Ada"):
            pass
    assert events == ["guard", False, "Ada", "left"]


async def test_close_on_uses_the_code_of_the_most_derived_error() -> None:
    """An error that close_on maps closes with its code the most derived counts."""
    app = App()
    app.close_on(LookupError, 4004)
    app.close_on(KeyError, 4005)

    @app.websocket("/{kind}")
    async def view(ws: WebSocket, kind: str) -> None:
        raise {"key": KeyError, "index": IndexError}[kind]()

    async with app.test_client() as client:
        for kind, code in (("key", 4005), ("index", 4004)):
            with pytest.raises(WebSocketDisconnect) as caught:
                async with client.websocket_connect(f"/{kind}") as ws:
                    await ws.receive()
            assert caught.value.code == code
    with pytest.raises(ValueError, match="may not be sent"):
        app.close_on(ValueError, 1006)


async def test_close_on_may_precede_view_and_name_errors_with_codes() -> None:
    """close_on may stand above a view and may name an error that has a code anyhow."""
    app = App()

    @app.close_on(Exception, 4000)
    @app.close_on(InvalidMessage, 4007)
    @app.websocket("/a/{kind}", value_type="json")
    async def view(ws: WebSocket, kind: str) -> None:
        if kind == "mine":
            raise WebSocketException(4003)
        if kind == "any":
            raise LookupError
        await ws.receive()

    codes = []
    async with app.test_client(raise_server_errors=False) as client:
        for kind in ("mine", "any", "json"):
            async with client.websocket_connect(f"/a/{kind}", caught_close_codes=all) as ws:
                if kind == "json":
                    await ws.send("{")
                async for _ in ws:
                    pass
            codes.append(ws.close_code)
    assert codes == [4003, 4000, 4007]


@pytest.mark.parametrize("error", ["x", int, KeyboardInterrupt, ValueError("x")])
def test_close_on_takes_types_of_errors(error: Any) -> None:
    with pytest.raises(TypeError, match="close_on"):
        App().close_on(error, 4000)


async def test_on_error_hears_of_errors_that_nobody_foresaw() -> None:
    heard: list[BaseException] = []
    app = App()

    @app.on_error
    async def note(ws: WebSocket, error: BaseException) -> None:
        heard.append(error)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        raise ValueError("boom")

    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect) as caught:
            async with client.websocket_connect("/a") as ws:
                await ws.receive()
    assert caught.value.code == 1011
    assert [str(error) for error in heard] == ["boom"]


# --- plain def ---------------------------------------------------------------------------------------------------


async def test_plain_function_runs_in_thread_on_blocking_connection() -> None:
    """A plain function runs in a thread on a blocking connection."""
    threads: set[int] = set()

    def view(ws, request) -> None:
        threads.add(threading.get_ident())
        assert isinstance(ws, BlockingWebSocket)
        ws.send_text(f"{request.params['name']} {ws.path_parameters['name']} {ws.headers['host']}")
        ws.send_binary(b"\x00")
        ws.send_json({"url": str(ws.url), "query": ws.query_parameters["q"], "open": ws.connected})
        for message in ws:
            ws.send(message)
        threads.add(ws.close_code)

    async with app_of(view, "/ws/{name}").test_client() as client, client.websocket_connect("/ws/a?q=1") as ws:
        assert await ws.receive() == "a a testserver"
        assert await ws.receive() == b"\x00"
        assert await ws.receive_json() == {"url": "ws://testserver/ws/a?q=1", "query": "1", "open": True}
        await ws.send("again")
        assert await ws.receive() == "again"
    assert 1000 in threads
    assert threading.get_ident() not in threads


async def test_plain_function_accepts_rejects_closes_and_gets_the_end() -> None:
    """A plain function accepts rejects closes and is told of the end."""
    ends: list[object] = []

    def view(ws: BlockingWebSocket, reject: bool = False) -> None:
        if reject:
            ws.reject(401, {"WWW-Authenticate": "Basic"})
        ws.accept()
        ws.send("in")
        ends.append(ws.recv().text)
        ends.append(ws.recv().is_close())
        ends.append(ws.recv())
        ws.ensure_closed()

    async with app_of(view, "/ws", auto_accept=False).test_client() as client:
        assert await status_of(client, "/ws?reject=1") == 401
        async with client.websocket_connect("/ws") as ws:
            assert await ws.receive() == "in"
            await ws.send("x")
    assert ends == ["x", True, None]


async def test_an_error_in_a_plain_function_closes_with_its_code() -> None:
    def view(ws: BlockingWebSocket) -> None:
        assert ws.ping() >= 0
        raise WebSocketException(4003, "why")

    async with app_of(view, "/ws").test_client() as client:
        with pytest.raises(WebSocketDisconnect) as caught:
            async with client.websocket_connect("/ws") as ws:
                await ws.receive()
    assert (caught.value.code, caught.value.reason) == (4003, "why")


async def test_the_blocking_methods_do_what_their_namesakes_do() -> None:
    def view(ws: BlockingWebSocket) -> None:
        ws.send_json([ws.receive_text(), list(ws.receive_bytes()), ws.receive_json(), ws.receive(), ws.request.path])
        with pytest.raises(WebSocketDisconnect):
            for _ in ws:
                pass
        ws.close(1006)  # after the peer's end any code is a no-op

    app = app_of(view, "/ws", caught_close_codes=())
    async with app.test_client() as client, client.websocket_connect("/ws") as ws:
        await ws.send("t")
        await ws.send(b"\x01")
        await ws.send_json({})
        await ws.send("last")
        assert await ws.receive_json() == ["t", [1], {}, "last", "/ws"]


async def test_all_texts_are_converted_before_any_guard_is_asked() -> None:
    async def never(context) -> bool:
        return False

    async def typed(context, token: int) -> bool:
        return True

    async def view(ws: WebSocket) -> None: ...

    async with app_of(view, "/a", guards=[never, typed]).test_client() as client:
        for query, status in (("token=x", 400), ("token=1", 403)):
            assert await status_of(client, f"/a?{query}") == status


async def test_functions_and_dependencies_may_ask_for_the_application() -> None:
    app = App()
    app.state.name = "mine"

    def name_of(running: App) -> str:
        return running.state.name

    @app.websocket("/a")
    async def view(ws: WebSocket, running: App, name: str = Depends(name_of)) -> None:
        await ws.send_json([running is app, name])

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive_json() == [True, "mine"]


def test_an_async_function_cannot_ask_for_a_blocking_connection() -> None:
    app = App()
    with pytest.raises(RegistrationError, match=r"route '/a'.*BlockingWebSocket is for plain functions"):

        @app.websocket("/a")
        async def view(ws: BlockingWebSocket) -> None: ...


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_an_error_that_a_dependency_swallows_leaves_a_record(
    asynchronous: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def swallow_in_the_loop():
        with contextlib.suppress(ZeroDivisionError):
            yield

    def swallow_in_a_thread():
        with contextlib.suppress(ZeroDivisionError):
            yield

    async def view(ws: WebSocket, x: Any = Depends(swallow_in_the_loop if asynchronous else swallow_in_a_thread)):
        raise ZeroDivisionError

    async with app_of(view, "/a").test_client() as client, client.websocket_connect("/a") as ws:
        assert (await ws.recv()).code == 1000
    (record,) = [each for each in caplog.records if "swallowed" in each.message]
    assert (record.levelname, record.exc_info[0]) == ("ERROR", ZeroDivisionError)
