"""The names that users of other libraries reach for: those that work, and those that lead to ours."""

from __future__ import annotations

import pydoc
import re
import sys
from inspect import signature
from typing import Annotated, Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from support.endings import end_of, refusal_of

import trio_ws
from trio_ws import (
    URL,
    App,
    BlockingWebSocket,
    Depends,
    GuardContext,
    Headers,
    Limits,
    LocalProtocolError,
    QueryParameters,
    Request,
    Room,
    UnexpectedMessage,
    WebSocket,
    WebSocketDisconnect,
    WebSocketState,
    open_websocket,
    serve_websocket,
)
from trio_ws.app.options import RouteKeywords
from trio_ws.websocket.context import ConnectionContext
from trio_ws.websocket.other_names import ELSEWHERE

GET = {"target": "/chat/7?tag=a&tag=b", "headers": Headers([("X-Token", "a"), ("X-Token", "b")])}


def unanswered(**given: Any) -> WebSocket:
    return WebSocket(Request(**(GET | given)))


# --- names that work


def test_names_of_starlette_give_the_parts_of_a_request() -> None:
    ws = unanswered(path_parameters={"id": 7})
    assert ws.query_params is ws.query_parameters
    assert ws.request.query_params["tag"] == "b"
    assert ws.query_params.getlist("tag") == ["a", "b"]
    assert ws.path_params == ws.request.path_params == {"id": 7}
    assert ws.headers.getlist("x-token") == ["a", "b"]


def test_address_of_a_client_is_a_tuple_with_names() -> None:
    client = unanswered(client=("192.0.2.1", 1234)).client
    assert isinstance(client, tuple)
    assert (client.host, client.port) == client == ("192.0.2.1", 1234)
    assert unanswered(client="/run/app.sock").client == "/run/app.sock"
    assert unanswered().client is None
    assert unanswered(client=client).client is client  # no second object, as a log keeps it too


def test_a_url_equals_its_text_and_nothing_less() -> None:
    url = unanswered().url
    assert url == "ws://localhost/chat/7?tag=a&tag=b"
    assert {url: 1}["ws://localhost/chat/7?tag=a&tag=b"] == 1
    assert url == URL.parse(str(url))
    assert url != "ws://localhost/chat/7"
    assert url != 7


def test_a_url_with_a_password_equals_no_text() -> None:
    """Its text has none, so that two that differ would both equal one text."""
    url = URL.parse("ws://ada:secret@localhost/")
    assert url != str(url)
    assert url != URL.parse(str(url))
    assert url == URL.parse("ws://ada:secret@localhost/")


async def test_iterators_take_messages_of_their_kind_until_the_end() -> None:
    app, got = App(), []

    @app.websocket("/")
    async def take(ws: WebSocket) -> None:
        async for text in ws.iter_text():
            got.append(text)
            if text == "bytes":
                break
        async for data in ws.iter_bytes():
            got.append(data)
            if data == b"json":
                break
        async for value in ws.iter_json():
            got.append(value)
        got.append("end")

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for message in ("a", "bytes", b"b", b"json", '{"c": 1}', b"[2]"):
            await ws.send(message)
        await ws.close()
    assert got == ["a", "bytes", b"b", b"json", {"c": 1}, [2], "end"]


async def test_an_iterator_raises_for_other_kinds_and_codes() -> None:
    app, raised = App(), []

    @app.websocket("/")
    async def take(ws: WebSocket) -> None:
        try:
            async for _ in ws.iter_text():
                pass
        except UnexpectedMessage as error:
            raised.append(error)
        try:
            async for _ in ws.iter_json():
                pass
        except WebSocketDisconnect as error:
            raised.append(error.code)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send(b"bytes")
        await ws.close(4000, reason=None)
    assert isinstance(raised[0], UnexpectedMessage)
    assert raised[1:] == [4000]


async def test_json_may_be_asked_for_and_sent_by_mode() -> None:
    app, seen = App(), []

    @app.websocket("/")
    async def modes(ws: WebSocket) -> None:
        seen.append(await ws.receive_json(mode="text"))
        seen.append(await ws.receive_json(mode="binary"))
        with pytest.raises(UnexpectedMessage):
            await ws.receive_json(mode="binary")
        await ws.send_json([1], mode="binary")
        await ws.send_json([2], mode="text")
        with pytest.raises(ValueError, match='mode is "text" or "binary"'):
            await ws.send_json([3], mode="bytes")  # type: ignore[arg-type]

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for message in ("1", b"2", "3"):
            await ws.send(message)
        assert await ws.receive() == b"[1]"
        assert await ws.receive() == "[2]"
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        (PlainTextResponse("no", status_code=401, headers={"X-Why": "token"}), 401, b"no"),
        (JSONResponse({"detail": "no"}, status_code=404), 404, b'{"detail":"no"}'),
    ],
)
async def test_a_denial_is_a_response_of_starlette_s(response: Any, status: int, body: bytes) -> None:
    app, states = App(), []

    @app.websocket("/", auto_accept=False)
    async def deny(ws: WebSocket) -> None:
        states.append(ws.client_state)
        await ws.send_denial_response(response)
        states.append(ws.application_state)
        await end_of(ws)
        states.append("on")

    refused = await refusal_of(app, "/")
    assert (refused.status, refused.body) == (status, body)
    assert refused.headers.get("x-why") == ("token" if status == 401 else None)
    assert refused.headers.getlist("content-length") == [str(len(body))]
    assert states == [WebSocketState.CONNECTING, WebSocketState.DISCONNECTED, "on"]


async def test_a_denial_without_a_whole_body_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="whole body, not StreamingResponse"):
        await unanswered().send_denial_response(StreamingResponse(iter(["no"])))  # type: ignore[arg-type]


async def test_states_are_those_of_starlette() -> None:
    app, states = App(), []

    @app.websocket("/", auto_accept=False)
    async def look(ws: WebSocket) -> None:
        states.append(ws.client_state.name)
        await ws.accept()
        states.append(ws.application_state.name)
        async for _ in ws:
            pass
        states.append(ws.client_state.name)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.close()
    assert states == ["CONNECTING", "CONNECTED", "DISCONNECTED"]
    assert [(state.name, state.value) for state in WebSocketState] == [
        ("CONNECTING", 0),
        ("CONNECTED", 1),
        ("DISCONNECTED", 2),
    ]


async def test_state_is_one_namespace_from_guard_to_callback() -> None:
    app, seen = App(), []

    def allow(context: GuardContext) -> bool:
        context.state.user = context.request.query_params["user"]
        return True

    def current_user(ws: WebSocket) -> str:
        user: str = ws.state.user
        return user

    @app.listener("/", guards=[allow])
    async def hello(data: str, ws: WebSocket, user: Annotated[str, Depends(current_user)]) -> str:
        seen.append(ws.state.user)
        return user

    @hello.on_disconnect
    async def bye(ws: WebSocket) -> None:
        seen.append(ws.state.user)

    async with app.test_client() as client:
        for user in ("Ada", "Bob"):
            async with client.websocket_connect(f"/?user={user}") as ws:
                await ws.send_json("hi")
                assert await ws.receive_json() == user
    assert seen == ["Ada", "Ada", "Bob", "Bob"]


async def test_state_takes_no_memory_before_it_is_used() -> None:
    ws = unanswered()
    assert ws.context.state is None
    assert ws.state is ws.state
    assert ws.context.state is ws.state


def test_an_idle_connection_has_no_attribute_more_than_before() -> None:
    """With Python's own state: 24 slots of the context, 11 of the request, none of the connection itself."""
    slots = ConnectionContext.__slots__
    assert len(slots) <= 24
    assert len(Request.__slots__) <= 11
    assert WebSocket.__slots__ == ()
    assert not hasattr(unanswered(), "__dict__")


async def test_app_and_url_for_reach_the_application_of_the_route() -> None:
    app, guest, seen = App(), App(), []

    @guest.websocket("/room/{name}", name="room")
    async def enter(ws: WebSocket, name: str) -> None:
        seen.append(ws)
        assert ws.app is guest
        assert ws.url_for("room", name="a b") == "ws://testserver/live/room/a%20b"
        with pytest.raises(LookupError):
            ws.url_for("nowhere")

    app.include(guest, prefix="/live")
    async with app.test_client() as client, client.websocket_connect("/live/room/tea?x=1") as ws:
        with pytest.raises(LocalProtocolError, match="no App"):
            _ = ws.app
    with pytest.raises(LocalProtocolError, match="its handler has ended"):
        _ = seen[0].app


async def test_a_plain_handler_has_the_names_too() -> None:
    app, seen = App(), []

    @app.websocket("/{name}", name="plain")
    def plain(ws: BlockingWebSocket, name: str) -> None:
        ws.state.user = ws.query_params["user"]
        seen.append((ws.path_params, ws.state.user, ws.app is app, ws.url_for("plain", name="x").path))
        ws.send_json(ws.receive_json(mode="text"), mode="binary")

    async with app.test_client() as client, client.websocket_connect("/a?user=Ada") as ws:
        await ws.send_json([1])
        assert await ws.receive() == b"[1]"
    assert seen == [({"name": "a"}, "Ada", True, "/x")]


# --- names that lead to ours


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_name_of_another_library_leads_to_ours(name: str) -> None:
    ws = unanswered()
    with pytest.raises(AttributeError, match=re.escape(f"'WebSocket' object has no attribute '{name}': ")) as raised:
        getattr(ws, name)
    hint = str(raised.value).partition(": ")[2]
    calls = {*re.findall(r"([\w.]+)\(", hint), *re.findall(r"`([\w.]+)`", hint)}
    keywords = set(re.findall(r"(\w+)=", hint))
    assert calls | keywords
    assert [call for call in calls if not exists(call, ws)] == []
    assert keywords <= KEYWORDS
    assert not hasattr(ws, name)


OWNERS = {"room": Room, "app": App, "App": App, "trio_ws": trio_ws, "request": Request, "ws": WebSocket}
TAKERS = (App.__init__, App.websocket, open_websocket, serve_websocket, Limits)
KEYWORDS = {name for taker in TAKERS for name in signature(taker).parameters} | set(RouteKeywords.__annotations__)


def exists(call: str, ws: WebSocket) -> bool:
    """Return whether what a hint writes is there: a name of `trio_ws`, or of a connection, or `owner.name`."""
    owner, _, name = call.rpartition(".")
    if owner == "ws.state":
        return hasattr(WebSocket, "state")
    if call == ".join":
        return hasattr(Room, name)
    if owner:
        return hasattr(OWNERS[owner], name)
    return hasattr(trio_ws, name) or name in dir(ws) or name in dir(Request)


def test_names_that_lead_elsewhere_are_not_listed() -> None:
    listed = {*dir(unanswered()), *dir(WebSocket)}
    assert listed.isdisjoint(ELSEWHERE)
    assert {"send", "query_params"} <= listed
    assert "send_str" not in pydoc.render_doc(WebSocket)


def test_a_heir_of_a_connection_lists_no_hints_either() -> None:
    class Heir(WebSocket):
        closed = True

    assert "closed" in dir(Heir)
    assert "emit" not in dir(Heir)
    assert Heir(Request(**GET)).closed


def test_attributes_of_a_connection_are_found_without_a_hook() -> None:
    """A `__getattr__` or `__getattribute__` would cost instructions at each access."""
    assert not hasattr(WebSocket, "__getattr__")
    assert WebSocket.__getattribute__ is object.__getattribute__
    assert sys.getsizeof(unanswered()) == sys.getsizeof(WebSocket(Request(target="/", headers=Headers())))
    assert isinstance(unanswered().query_params, QueryParameters)
