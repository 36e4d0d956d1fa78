"""JSON on routes: whatever `receive_json` accepts, every sender can send."""

from __future__ import annotations

import dataclasses
import datetime
import json
from http.cookies import SimpleCookie
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

import attrs
import pytest
from pydantic import BaseModel, Field, Json, SecretStr, field_serializer
from support.endings import code_of, refusal_of, status_of
from support.handlers import app_of, app_of_listener, echo

from trio_ws import App, BlockingWebSocket, Ok, Sessions, WebSocket
from trio_ws.app.replies import NotAReply, encode_reply
from trio_ws.connection.serialization import MAX_DEPTH

TAKEN = [
    r'"\ud83d"',
    r'{"\ud83d":["\udc00 grüße"]}',
    "1e308",
    "[" * MAX_DEPTH + "]" * MAX_DEPTH,
    '{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH,
]
REFUSED = ["1e999", "[-1e999]", '{"a":NaN}', "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "[" * 50_000, "9" * 5000]

taken = pytest.mark.parametrize("text", TAKEN, ids=lambda text: text[:12])
refused = pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:12])


class Box(BaseModel):
    content: Any


def senders() -> App:
    app = App()

    app.websocket("/echo", value_type="json")(echo)

    @app.websocket("/plain", value_type="json")
    def plain(ws: BlockingWebSocket) -> None:
        for message in ws:
            ws.send(message)

    @app.listener("/reply")
    async def reply(data):
        return data

    @app.listener("/ok")
    async def ok(data):
        return Ok(data)

    @app.listener("/model")
    async def model(data: Any) -> Box:
        return Box(content=data)

    @app.websocket("/publish")
    async def publish(ws: WebSocket) -> None:
        async with app.room("hall").join(ws) as room:
            await room.publish([await ws.receive_json()])

    @app.websocket("/broadcast")
    async def broadcast(ws: WebSocket) -> None:
        value = await ws.receive_json()
        await app.broadcast([value])

    @app.websocket("/member")
    async def member(ws: WebSocket) -> None:
        async with app.room("members").join(ws, said=await ws.receive_json()) as room:
            await ws.send_json(room.members[0].info["said"])

    return app


def unwrapped(path: str, value: Any) -> Any:
    match path:
        case "/ok":
            return value["body"]
        case "/model":
            return value["content"]
        case "/publish" | "/broadcast":
            return value[0]
    return value


PATHS = [
    *((path, text) for path in ("/echo", "/plain", "/reply", "/ok", "/member") for text in TAKEN),
    # A text alone is published as text: the list makes JSON of it, and is a level of its own.
    *((path, text) for path in ("/publish", "/broadcast") for text in TAKEN[:3]),
]


@pytest.mark.parametrize(("path", "text"), PATHS, ids=[f"{path[1:]}-{text[:12]}" for path, text in PATHS])
async def test_what_is_taken_in_can_be_sent(path: str, text: str) -> None:
    async with senders().test_client() as client, client.websocket_connect(path) as ws:
        await ws.send_text(text)
        assert unwrapped(path, json.loads(await ws.receive_text())) == json.loads(text)


@pytest.mark.parametrize("text", TAKEN[:3], ids=lambda text: text[:12])
async def test_a_model_that_holds_what_was_taken_in_can_be_sent(text: str) -> None:
    async with senders().test_client() as client, client.websocket_connect("/model") as ws:
        await ws.send_text(text)
        assert unwrapped("/model", json.loads(await ws.receive_text())) == json.loads(text)


@refused
@pytest.mark.parametrize("path", ["/echo", "/plain"])
async def test_what_is_refused_closes_a_view_with_1007(path: str, text: str) -> None:
    async with senders().test_client() as client, client.websocket_connect(path) as ws:
        await ws.send_text(text)
        assert await code_of(ws) == 1007


@refused
async def test_what_is_refused_is_a_400_of_a_listener(text: str) -> None:
    async with senders().test_client() as client, client.websocket_connect("/reply") as ws:
        await ws.send_text(text)
        answer = await ws.receive_json()
        assert answer["statusCode"] == 400
        assert answer["body"]["errorList"][0]["type"] == "json_invalid"
        await ws.send_text("1")
        assert await ws.receive_json() == 1


@pytest.mark.parametrize("text", [r'{"\ud83d": "x"}', r'{"\ud83d": []}', r'"\ud83d"'], ids=ascii)
async def test_a_surrogate_where_a_model_wants_text_is_a_400(text: str) -> None:
    async def ints(data: dict[str, int]) -> None: ...

    async with app_of_listener(ints, "/ints").test_client() as client, client.websocket_connect("/ints") as ws:
        await ws.send_text(text)
        assert (await ws.receive_json())["statusCode"] == 400


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999"])
async def test_a_float_that_json_lacks_is_a_400(text: str) -> None:
    """Texts become floats as well as numbers do: what a stranger writes there must be sendable, too."""
    app = App()

    @app.websocket("/query")
    async def query(ws: WebSocket, x: float) -> None: ...

    @app.websocket("/many")
    async def many(ws: WebSocket, x: list[float | None]) -> None: ...

    @app.websocket("/path/{x}")
    async def path(ws: WebSocket, x: float) -> None: ...

    @app.listener("/number")
    async def number(data: float) -> float:
        return data

    @app.listener("/numbers")
    async def numbers(data: dict[str, list[float]]) -> Any:
        return data

    async with app.test_client() as client:
        for target in (f"/query?x={text}", f"/many?x=1&x={text}", f"/path/{text}"):
            assert await status_of(client, target) == 400
        for target, value in (("/number", text), ("/numbers", {"a": [1.5, text]})):
            async with client.websocket_connect(target) as ws:
                await ws.send_json(value)
                assert (await ws.receive_json())["statusCode"] == 400


async def test_a_float_may_be_infinite_if_its_type_says_so() -> None:
    async def query(ws: WebSocket, x: Annotated[float, Field(allow_inf_nan=True)]) -> None:
        await ws.send_text(str(x))

    async with app_of(query, "/query").test_client() as client, client.websocket_connect("/query?x=inf") as ws:
        assert await ws.receive_text() == "inf"


@refused
async def test_json_in_a_text_is_bounded_as_messages_are(text: str) -> None:
    app = App()

    @app.websocket("/query")
    async def query(ws: WebSocket, x: Json[Any]) -> None: ...

    @app.listener("/body")
    async def body(data: Json[Any]) -> Any:
        return data

    @app.listener("/bodies")
    async def bodies(data: list[Json]) -> Any:
        return data

    async with app.test_client() as client:
        if len(text) < 6000:
            caught = await refusal_of(client, f"/query?x={quote(text)}")
            assert (caught.status, json.loads(caught.body)["errorList"][0]["type"]) == (400, "json_invalid")
        for path, value in (("/body", text), ("/bodies", [text])):
            async with client.websocket_connect(path) as ws:
                await ws.send_json(value)
                assert (await ws.receive_json())["body"]["errorList"][0]["type"] == "json_invalid"


@taken
async def test_a_session_holds_what_was_taken_in(text: str) -> None:
    app = App(sessions=Sessions(secret_key="s" * 32))
    value = json.loads(text)

    @app.websocket("/write", auto_accept=False)
    async def write(ws: WebSocket) -> None:
        ws.session["said"] = value
        await ws.reject(401)

    @app.websocket("/read")
    async def read(ws: WebSocket) -> None:
        await ws.send_json(ws.session["said"])

    async with app.test_client() as client:
        caught = await refusal_of(client, "/write")
        jar = SimpleCookie(dict(caught.headers)["set-cookie"])
        async with client.websocket_connect("/read", cookies={"session": jar["session"].value}) as ws:
            assert json.loads(await ws.receive_text()) == value


async def test_a_session_refuses_what_json_does_not_have() -> None:
    async def write(ws: WebSocket) -> None:
        ws.session["said"] = float("nan")
        await ws.accept()

    app = app_of(write, "/write", App(sessions=Sessions(secret_key="s" * 32)), auto_accept=False)
    async with app.test_client(raise_server_errors=False) as client:
        assert await status_of(client, "/write") == 500


@pytest.mark.parametrize("text", [r'{"\ud83d":1}', '"grüße"'], ids=ascii)
async def test_a_page_of_json_is_utf_8(text: str) -> None:
    app = App()
    app.page("/data", lambda _: [json.loads(text)])
    async with app.test_client() as client:
        assert (await client.get("/data")).json() == [json.loads(text)]


@attrs.frozen
class Attributes:
    content: Any


@dataclasses.dataclass
class Data:
    content: Any


@pytest.mark.parametrize("kind", [Attributes, Data, Box, lambda content: {"content": content}])
def test_a_lone_surrogate_in_a_key_is_sent_whatever_holds_it(kind: Any) -> None:
    when = datetime.date(2026, 1, 2)
    value = {"\ud83d": [kind(content=when), kind(content=kind(content={"\udc00": when}))]}
    inner = {"content": {"content": {"\udc00": "2026-01-02"}}}
    text = encode_reply(Ok(value), "json")
    assert isinstance(text, str)
    assert json.loads(text) == {"statusCode": 200, "body": {"\ud83d": [{"content": "2026-01-02"}, inner]}}


class Guarded(BaseModel):
    """Its password is masked in JSON only, so that a key of a stranger's must not lead around that."""

    content: Any
    password: str = "hunter2"
    token: SecretStr = SecretStr("hunter3")
    counts: dict[UUID, int] = {UUID(int=1): 2}

    @field_serializer("password", when_used="json")
    def _mask(self, _: str) -> str:
        return "*"


class Pair(NamedTuple):
    left: Any
    right: Any


@attrs.frozen(slots=True)
class Slotted:
    content: Any


@dataclasses.dataclass(frozen=True, slots=True)
class SlottedData:
    content: Any


@pytest.mark.parametrize("key", ["\ud83d", "plain"], ids=ascii)
@pytest.mark.parametrize(
    "hold", [lambda x: [x], Slotted, SlottedData, lambda x: Box(content=x), lambda x: Pair(x, (1,))]
)
def test_a_model_is_serialized_alike_whatever_keys_it_holds(hold: Any, key: str) -> None:
    held = hold(Guarded(content={key: {"\udc00a": {UUID(int=3): 4, "b": datetime.date(2026, 1, 2)}}}))
    text = encode_reply(held, "json")
    assert isinstance(text, str)
    reply = json.loads(text)
    while "password" not in reply:
        reply = reply[0] if isinstance(reply, list) else reply["content"]
    inner = {str(UUID(int=3)): 4, "b": "2026-01-02"}
    assert reply == {
        "content": {key: {"\udc00a": inner}},
        "password": "*",
        "token": "**********",
        "counts": {str(UUID(int=1)): 2},
    }


def test_what_contains_itself_and_a_lone_surrogate_is_no_reply() -> None:
    value: dict[str, Any] = {"\ud83d": 1}
    value["self"] = value
    with pytest.raises(NotAReply, match="contains itself"):
        encode_reply(value, "json")


def test_what_is_no_reply_beside_a_lone_surrogate_is_none() -> None:
    with pytest.raises(NotAReply, match="no reply"):
        encode_reply({"\ud83d": object()}, "json")


@pytest.mark.parametrize("reference", [None, {"id": 1}], ids=["alone", "with reference"])
@pytest.mark.parametrize("wrap", [lambda body: body, Ok], ids=["bare", "Reply"])
@pytest.mark.parametrize("kind", [list, dict])
def test_level_around_the_body_of_a_reply_does_not_count(kind: type, wrap: Any, reference: Any) -> None:
    def nested(levels: int) -> Any:
        body: Any = 1
        for _ in range(levels):
            body = [body] if kind is list else {"a": body}
        return body

    assert encode_reply(wrap(nested(MAX_DEPTH)), "json", None, reference)
    with pytest.raises(NotAReply, match="nested deeper"):
        encode_reply(wrap(nested(MAX_DEPTH + 1)), "json", None, reference)
