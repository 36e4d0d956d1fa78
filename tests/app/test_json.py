"""JSON on routes: whatever `receive_json` accepts, every sender can send."""

from __future__ import annotations

import dataclasses
import datetime
import json
from http.cookies import SimpleCookie
from typing import Any

import attrs
import pytest
from pydantic import BaseModel

from trio_ws import App, BlockingWebSocket, ConnectionRejected, Ok, Sessions, WebSocket, WebSocketDisconnect
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

    @app.websocket("/echo", value_type="json")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

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
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
    assert caught.value.code == 1007


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
    app = App()

    @app.listener("/ints")
    async def ints(data: dict[str, int]) -> None: ...

    async with app.test_client() as client, client.websocket_connect("/ints") as ws:
        await ws.send_text(text)
        assert (await ws.receive_json())["statusCode"] == 400


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
        with pytest.raises(ConnectionRejected) as caught:
            async with client.websocket_connect("/write"):
                pass
        jar = SimpleCookie(dict(caught.value.headers)["set-cookie"])
        async with client.websocket_connect("/read", cookies={"session": jar["session"].value}) as ws:
            assert json.loads(await ws.receive_text()) == value


async def test_a_session_refuses_what_json_does_not_have() -> None:
    app = App(sessions=Sessions(secret_key="s" * 32))

    @app.websocket("/write", auto_accept=False)
    async def write(ws: WebSocket) -> None:
        ws.session["said"] = float("nan")
        await ws.accept()

    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(ConnectionRejected) as caught:
            async with client.websocket_connect("/write"):
                pass
    assert caught.value.status == 500


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


def test_what_is_no_reply_beside_a_lone_surrogate_is_none() -> None:
    with pytest.raises(NotAReply, match="no reply"):
        encode_reply({"\ud83d": object()}, "json")
