"""Cafeto's document on WebSockets: each example of it, and each sentence that can be observed.

The ports are in `ports/cafeto_*.py`. A comment in quotation marks is the part of the document that a test is about.
"""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import pytest
from support.endings import code_of

from trio_ws import App, Controller, ModelWSResponse, Ok, WebSocket, WebSocketDisconnect
from trio_ws.app import BadRequest, Created, NotAReply, RegistrationError
from trio_ws.testing import BlockingTestClient

from .ports import (
    cafeto_classic,
    cafeto_dtos,
    cafeto_methods_classic,
    cafeto_methods_unified,
    cafeto_traditional,
    cafeto_unified,
)
from .ports.cafeto_chat import ChatRequestDto, ChatResponseDto
from .ways import Way, visit_rudely

CALLBACK_PORTS = [cafeto_unified, cafeto_classic, cafeto_methods_unified, cafeto_methods_classic]
ALL_PORTS = [cafeto_traditional, *CALLBACK_PORTS]

ENVELOPE = {"statusCode": 200, "body": {"message": "Hi", "user": "System"}}
MISSING = {
    "statusCode": 400,
    "body": {"errorList": [{"loc": ["message"], "type": "missing", "msg": "Field required"}]},
}


def short(port: ModuleType) -> str:
    return port.__name__.rpartition("cafeto_")[2]


def error_in(caplog: pytest.LogCaptureFixture) -> str:
    """Return the text of the one error that was logged."""
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.exc_info is not None
    return str(record.exc_info[1])


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    for port in ALL_PORTS:
        port.app.state.seen = []


@pytest.fixture(params=CALLBACK_PORTS, ids=short)
def port(request: pytest.FixtureRequest) -> ModuleType:
    """Each example of the callback method: two styles, with functions and with methods."""
    chosen: ModuleType = request.param
    return chosen


# --- "offers two ways to implement it" --------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ALL_PORTS, ids=short)
async def test_each_example_talks_both_ways_over_one_connection(way: Way, port: ModuleType) -> None:
    """Each example talks in both directions over one connection."""
    # "bidirectional communication"; "a single persistent socket connection"
    async with way.visit(port.app) as visitor, visitor.connect("/chat") as ws:
        for _ in range(3):
            await ws.send_json({"message": "Hello"})
            reply = await ws.receive_json()
            assert reply.get("body", reply) == {"message": "Hi", "user": "System"}
        assert port.app.state.seen.count("connect") == 1


@pytest.mark.parametrize("port", ALL_PORTS, ids=short)
async def test_on_connect_on_receive_and_on_disconnect_run_in_order(way: Way, port: ModuleType) -> None:
    """The code on_connect on_receive and on_disconnect runs in this order."""
    # "Your code on connect here", "on receive", "on disconnect"
    async with way.visit(port.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"message": "Hello"})
        await ws.receive()
    connected, _, left = port.app.state.seen  # in the middle, the message
    assert (connected, left) == ("connect", "disconnect")


# --- "Traditional Method" ---------------------------------------------------------------------------------------------


async def test_the_traditional_method_receives_json_as_it_is(way: Way) -> None:
    # "received as JSON without being assigned to a DTO"
    anything = {"no": ["DTO", 1, None], "message": {"text": "Hello"}}
    async with way.visit(cafeto_traditional.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json(anything)
        await ws.receive()
        assert cafeto_traditional.app.state.seen == ["connect", anything]


async def test_the_traditional_method_sends_the_json_alone(way: Way) -> None:
    # "the response is a JSON with the format"
    async with way.visit(cafeto_traditional.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send("{}")
        assert await ws.receive() == '{"message":"Hi","user":"System"}'


async def test_handler_accepting_after_its_route_gets_an_error(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """A handler that accepts by itself is told if the route did before."""
    # "await self.websocket.accept()": the document's handlers always do it, so their routes say auto_accept=False.
    app = App()

    @app.controller()
    class WsController(Controller):
        @app.websocket("/chat")
        async def chat(self) -> None:
            await self.websocket.accept()

    async with way.visit(app, strict=False) as visitor, visitor.connect("/chat") as ws:
        assert await code_of(ws) == 1011
    assert "auto_accept=False" in error_in(caplog)


async def test_programming_error_in_loop_is_no_client_disconnect(way: Way) -> None:
    """A mistake in the loop is not taken for a client that left."""
    # "except Exception as e" would: the port catches the end of the connection, and nothing else.
    async with way.visit(cafeto_traditional.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send("no JSON")
        assert await code_of(ws) == 1007
        assert cafeto_traditional.app.state.seen == ["connect"]


# --- "Callback Method" ------------------------------------------------------------------------------------------------


async def test_the_reply_has_a_status_code_and_a_body(way: Way, port: ModuleType) -> None:
    # "would have the following format"
    async with way.visit(port.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"message": "Hello", "user": "Ada"})
        assert await ws.receive() == json.dumps(ENVELOPE, separators=(",", ":"))


async def test_messages_arrive_in_a_dto(way: Way, port: ModuleType) -> None:
    # "messages arrive in a DTO"
    async with way.visit(port.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"message": "Hello"})
        await ws.receive()
        assert port.app.state.seen == ["connect", ChatRequestDto(message="Hello", user="Anonymous")]


async def test_message_failing_validation_is_answered_with_error_list(way: Way, port: ModuleType) -> None:
    """A message that fails validation is answered with the error list."""
    # "if the DTO validations fail"
    async with way.visit(port.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({})
        assert await ws.receive_json() == MISSING
        assert port.app.state.seen == ["connect"]
        await ws.send_json({"message": "now it is right"})
        assert await ws.receive_json() == ENVELOPE


@pytest.mark.parametrize(
    ("message", "problems"),
    [
        ({"message": 1}, [(["message"], "string_type")]),
        ({"message": "x" * 201}, [(["message"], "string_too_long")]),
        ({"user": "not a word"}, [(["message"], "missing"), (["user"], "string_pattern_mismatch")]),
        (["message", "Hello"], [([], "model_type")]),
    ],
    ids=["type", "length", "two", "shape"],
)
async def test_all_validations_of_a_dto_hold(way: Way, message: Any, problems: list[tuple[list[str], str]]) -> None:
    # "with all the validations and features"
    async with way.visit(cafeto_unified.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json(message)
        reply = await ws.receive_json()
        assert reply["statusCode"] == 400
        assert [(each["loc"], each["type"]) for each in reply["body"]["errorList"]] == problems
        assert all(set(each) == {"loc", "type", "msg"} for each in reply["body"]["errorList"])


async def test_message_that_is_no_json_is_answered_like_invalid_one(way: Way) -> None:
    """A message that is no JSON is answered like one that fails validation."""
    # The document does not say what becomes of it.
    async with way.visit(cafeto_unified.app) as visitor, visitor.connect("/chat") as ws:
        await ws.send("Hello")
        reply = await ws.receive_json()
        assert reply["statusCode"] == 400
        assert [(each["loc"], each["type"]) for each in reply["body"]["errorList"]] == [([], "json_invalid")]
        await ws.send_json({"message": "now it is right"})
        assert await ws.receive_json() == ENVELOPE


async def test_statuses_of_http_can_be_emulated(way: Way) -> None:
    # "the response of HTTP requests can be emulated"
    app = App()

    @app.websocket("/chat", auto_accept=False)
    async def chat(ws: WebSocket) -> None:
        async def on_receive(data: ChatRequestDto) -> Any:
            if data.message == "again":
                return BadRequest({"errorList": []})
            return Created(ChatResponseDto(message=data.message, user=data.user))

        await ws.accept_callback(on_receive=on_receive)

    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"message": "new"})
        assert await ws.receive_json() == {"statusCode": 201, "body": {"message": "new", "user": "Anonymous"}}
        await ws.send_json({"message": "again"})
        assert await ws.receive_json() == {"statusCode": 400, "body": {"errorList": []}}


async def test_a_bare_return_is_the_body_alone(way: Way) -> None:
    # "on_receive(data) -> ChatResponseDto": taken literally, as the examples annotate it, it is a reply too.
    app = App()

    @app.websocket("/chat", auto_accept=False)
    async def chat(ws: WebSocket) -> None:
        async def on_receive(data: ChatRequestDto) -> ChatResponseDto:
            return ChatResponseDto(message="Hi", user="System")

        await ws.accept_callback(on_receive=on_receive)

    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"message": "Hello"})
        assert await ws.receive_json() == {"message": "Hi", "user": "System"}


def test_the_classic_name_is_the_unified_one() -> None:
    # "Unified Style" and "Classic Style": two names for one reply
    response = ChatResponseDto(message="Hi", user="System")
    assert ModelWSResponse(response) == Ok(response)


async def test_response_not_for_websockets_is_refused_by_name(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    """A response that is not for websockets is refused by name."""
    # "JSONResponse, PlainTextResponse, and HTMLResponse are not available"
    app = App()

    class HTMLResponse:
        pass

    @app.websocket("/chat", auto_accept=False)
    async def chat(ws: WebSocket) -> None:
        async def on_receive(data: ChatRequestDto) -> HTMLResponse:
            return HTMLResponse()

        await ws.accept_callback(on_receive=on_receive)

    async with way.visit(app, strict=False) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"message": "Hello"})
        assert await code_of(ws) == 1011
    assert "HTMLResponse, which is no reply" in error_in(caplog)


@pytest.mark.parametrize(
    ("message", "code", "raised"),
    [
        ('{"message": "bye"}', 1000, None),
        ('{"message": "bye"}', 1001, None),
        ('{"message": "bye"}', 4000, WebSocketDisconnect),
        ('{"message": "wrong"}', None, NotAReply),
        ('{"message": "fail"}', None, ZeroDivisionError),
    ],
)
async def test_what_accept_callback_raises(message: str, code: int | None, raised: type[Exception] | None) -> None:
    # not in the document: what a view has to expect
    app = App()
    seen: list[type[BaseException] | None] = []

    @app.websocket("/chat", auto_accept=False)
    async def chat(ws: WebSocket) -> None:
        async def on_receive(data: ChatRequestDto):  # type: ignore[no-untyped-def]
            if data.message == "fail":
                raise ZeroDivisionError
            return object() if data.message == "wrong" else data

        with pytest.raises(RegistrationError, match="nothing provides it"):
            await ws.accept_callback(on_receive=on_receive, on_connect=lambda ws, request, lock: None)
        try:
            await ws.accept_callback(on_receive=on_receive)
        except Exception as error:
            seen.append(type(error))
        else:
            seen.append(None)

    async with app.test_client() as client, client.websocket_connect("/chat") as ws:
        await ws.send(message)
        if code is not None:
            await ws.receive()
            await ws.close(code)
        else:
            await ws.recv()
    assert seen == [raised]


# --- "Only the on_receive callback is required" -----------------------------------------------------------------------


@pytest.mark.parametrize("given", [(), ("on_connect",), ("on_disconnect",), ("on_connect", "on_disconnect")])
async def test_on_connect_and_on_disconnect_are_optional(way: Way, given: tuple[str, ...]) -> None:
    # "`on_connect` and `on_disconnect` are optional"
    app = App()
    called: list[str] = []
    callbacks = {name: lambda name=name: called.append(name) for name in given}

    @app.websocket("/chat", auto_accept=False)
    async def chat(ws: WebSocket) -> None:
        await ws.accept_callback(on_receive=lambda data: data, **callbacks)

    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json(1)
        assert await ws.receive_json() == 1
    assert called == list(given)


async def test_on_receive_is_required(way: Way) -> None:
    # "Only the `on_receive` callback is required"
    app = App()
    said: list[str] = []

    @app.websocket("/chat", auto_accept=False)
    async def chat(ws: WebSocket) -> None:
        try:
            await ws.accept_callback()  # type: ignore[call-arg]
        except TypeError as error:
            said.append(str(error))
        await ws.accept()

    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        assert await code_of(ws) == 1000
    assert "on_receive" in said[0]


async def test_accept_callback_accepts_unless_already_accepted(way: Way) -> None:
    """accept_callback accepts unless the connection is accepted."""
    # "self.websocket.accept_callback(": it works on a route that accepts by itself, too.
    app = App()

    @app.websocket("/chat")
    async def chat(ws: WebSocket) -> None:
        await ws.accept_callback(on_receive=lambda data: data)

    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json("Hello")
        assert await ws.receive_json() == "Hello"


async def test_on_disconnect_runs_once_however_the_connection_ends(way: Way, port: ModuleType) -> None:
    # "Your code on disconnect here"
    async with way.visit(port.app) as visitor:
        for code in (1000, 3000, 4000):
            async with visitor.connect("/chat") as ws:
                await ws.send_json({})
                await ws.close(code)
        await visit_rudely(visitor, "/chat")
        async with visitor.connect("/chat") as ws:
            await ws.send_json({})
            await ws.receive()
            visitor.server.shutdown()
            assert await code_of(ws) == 1001
    assert port.app.state.seen.count("disconnect") == port.app.state.seen.count("connect") == 5


# --- DTOs of every kind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dto", cafeto_dtos.KINDS)
async def test_a_dto_is_what_the_annotation_says(way: Way, dto: type[Any]) -> None:
    # "messages arrive in a DTO": in one of pydantic's as there, or of another kind
    app, seen = cafeto_dtos.make_app(dto)
    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"message": "Hello"})
        assert await ws.receive_json() == {"statusCode": 200, "body": {"message": "Hello"}}
        await ws.send_json({})
        assert await ws.receive_json() == MISSING
    assert seen == [dto(message="Hello")]


def test_a_dto_that_nobody_knows_is_refused_with_the_fix() -> None:
    # "ChatRequestDto": the document's examples do not import it
    app = App()

    with pytest.raises(RegistrationError, match=r"on_receive: parameter 'data'.*'UnknownDto'.*import what it names"):

        @app.listener("/chat")
        async def on_receive(data: UnknownDto) -> None:  # type: ignore[name-defined]  # noqa: F821
            raise AssertionError("it is never called")


# --- in plain tests ---------------------------------------------------------------------------------------------------


class TestInPlainTests:
    """The examples in `def` tests, over the blocking twin of the test client."""

    client: BlockingTestClient

    @pytest.fixture(autouse=True)
    def setup(self, port: ModuleType) -> Any:
        with port.app.test_client() as self.client:
            yield

    def test_a_reply(self) -> None:
        with self.client.websocket_connect("/chat") as websocket_client:
            websocket_client.send_json({"message": "Hello"})
            assert websocket_client.receive_json() == ENVELOPE

    def test_an_error_list(self) -> None:
        with self.client.websocket_connect("/chat") as websocket_client:
            websocket_client.send_json({"user": "Ada"})
            assert websocket_client.receive_json() == MISSING
