"""One encoder for all JSON that is sent: objects of the application, and `App(json=...)`."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs
import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.dataclasses import dataclass as pydantic_dataclass
from support.endings import code_of, refusal_of
from support.handlers import app_of, app_of_listener

from trio_ws import (
    App,
    BlockingWebSocket,
    NotFound,
    Ok,
    RegistrationError,
    Sessions,
    WebSocket,
)
from trio_ws.connection.encoders import encoder_from
from trio_ws.connection.serialization import MAX_DEPTH, to_json


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    number: int = Field(default=1, alias="no")
    secret: SecretStr = SecretStr("hunter2")


@dataclasses.dataclass
class Data:
    held: Any


@attrs.frozen
class Attributes:
    _held: Any


@pydantic_dataclass
class Checked:
    shown: int = 1
    password: str = Field(default="hunter3", exclude=True)


NOW = datetime.datetime(2026, 11, 30, 12, 5, tzinfo=datetime.UTC)
ID = uuid.UUID(int=7)
OBJECTS = [
    (Model(), {"no": 1, "secret": "**********"}),
    (Data(Attributes(Model(no=2))), {"held": {"held": {"no": 2, "secret": "**********"}}}),
    (Checked(), {"shown": 1}),
    (NOW, "2026-11-30T12:05:00Z"),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.timedelta(seconds=90), "PT1M30S"),
    (ID, str(ID)),
    (decimal.Decimal("1.10"), "1.10"),
    (Colour.RED, "red"),
    ({Colour.RED: ID, ID: [Colour.RED]}, {"red": str(ID), str(ID): ["red"]}),
    (MappingProxyType({"a": Data(1)}), {"a": {"held": 1}}),
    (frozenset({1}), [1]),
    ({"bytes": b"text"}, {"bytes": "text"}),
    ({None: 1, True: NOW}, {"null": 1, "true": "2026-11-30T12:05:00Z"}),
]
VALUE = [value for value, _ in OBJECTS]
SENT = [sent for _, sent in OBJECTS]


class Shown(BaseModel):
    number: int


def application(**options: Any) -> App:
    app = App(sessions=Sessions(secret_key="s" * 32), **options)

    @app.websocket("/send_json")
    async def send_json(ws: WebSocket) -> None:
        await ws.send_json(VALUE)

    @app.websocket("/send", send_type="json")
    async def send(ws: WebSocket) -> None:
        await ws.send(VALUE)

    @app.websocket("/offer")
    async def offer(ws: WebSocket) -> None:
        assert ws.offer(VALUE)

    @app.websocket("/plain")
    def plain(ws: BlockingWebSocket) -> None:
        ws.send_json(VALUE)

    @app.listener("/reply")
    async def reply(data: Any) -> Any:
        return VALUE

    @app.listener("/ok")
    async def ok(data: Any) -> Any:
        return Ok(VALUE)

    @app.websocket("/publish")
    async def publish(ws: WebSocket) -> None:
        async with app.room("hall").join(ws) as room:
            await room.publish(VALUE)

    @app.websocket("/stamp")
    async def stamp(ws: WebSocket) -> None:
        async with app.room("stamped", stamp=lambda _id, _message: VALUE).join(ws) as room:
            await room.publish("")

    @app.websocket("/broadcast")
    async def broadcast(ws: WebSocket) -> None:
        await app.broadcast(VALUE)

    @app.websocket("/presence")
    async def presence(ws: WebSocket) -> None:
        async with app.room("members").join(ws, said=VALUE) as room:
            (member,) = await room.presence()
            await ws.send_json(member.info.get("said", dict(member.info)))

    app.page("/page", lambda _: VALUE)
    app.page("/model", lambda _: Model())
    return app


@asynccontextmanager
async def reader(app: App, path: str) -> AsyncIterator[Any]:
    async with app.test_client() as client:
        if path == "/page":
            yield (await client.get(path)).json()
            return
        async with client.websocket_connect(path) as ws:
            if path in ("/reply", "/ok"):
                await ws.send_json(None)
            yield json.loads(await ws.receive_text())


WAYS = ["send_json", "send", "offer", "plain", "reply", "ok", "publish", "stamp", "broadcast", "presence", "page"]


@pytest.mark.parametrize("way", WAYS)
async def test_every_sender_takes_the_same_objects(way: str) -> None:
    async with reader(application(), f"/{way}") as sent:
        assert (sent["body"] if way == "ok" else sent) == SENT


@pytest.mark.parametrize("way", [*WAYS, "session"])
async def test_json_option_encodes_for_every_sender(way: str) -> None:
    """Of an unmistakable encoder's, and nothing else, is what arrives."""
    seen: list[Any] = []

    def encode(value: Any) -> bytes:
        seen.append(value)
        return b'{"encoded":"here"}'

    app = application(json=encode)

    @app.websocket("/session", auto_accept=False)
    async def session(ws: WebSocket) -> None:
        ws.session["user"] = Model()
        await ws.accept()
        await ws.send_text(json.dumps(dict(ws.session), default=repr))

    async with reader(app, f"/{way}") as sent:
        # What is asserted of a session is its cookie, which the connection itself does not read.
        assert seen if way == "session" else sent == {"encoded": "here"}


@pytest.mark.parametrize("package", ["orjson", "msgspec"])
@pytest.mark.parametrize("way", ["send_json", "reply", "publish"])
async def test_named_package_sends_what_the_library_does(package: str, way: str) -> None:
    pytest.importorskip(package)
    async with reader(application(json=package), f"/{way}") as sent:
        if package == "msgspec":  # encodes dataclasses and attrs classes, and bytes, by its own rules
            sent[1:3] = SENT[1:3]
            sent[12] = SENT[12]
        assert sent == SENT


def dumps(value: Any) -> str:
    """Knows nothing of objects, as most encoders."""
    return json.dumps(value, separators=(", ", ": "))


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        ({"a": [1]}, '{"a": [1]}'),  # of the function
        ({"a": Model()}, '{"a":{"no":1,"secret":"**********"}}'),
        ({Colour.RED: 1}, '{"red":1}'),
    ],
)
def test_library_encodes_what_the_function_refuses(value: Any, sent: str) -> None:
    assert encoder_from(dumps)(value) == sent


@pytest.mark.parametrize("package", ["orjson", "msgspec"])
@pytest.mark.parametrize("text", [r'"\ud83d"', r'{"\ud83d":["\udc00 grüße"]}', "1" * 50, "[" * 100 + "]" * 100])
def test_packages_send_whatever_was_received(package: str, text: str) -> None:
    pytest.importorskip(package)
    assert json.loads(encoder_from(package)(json.loads(text))) == json.loads(text)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("option", [None, "orjson", "msgspec", json.dumps])
@pytest.mark.parametrize("hold", [lambda value: value, Data, lambda value: {Colour.RED: value}])
def test_depth_is_bounded_whatever_holds_it(option: Any, hold: Any) -> None:
    if isinstance(option, str):
        pytest.importorskip(option)
    encode = encoder_from(option)
    levels = MAX_DEPTH if hold(0) == 0 else MAX_DEPTH - 1
    assert json.loads(encode(hold(nested(levels))))
    with pytest.raises(ValueError, match="nested deeper"):
        encode(hold(nested(levels + 1)))


def looped(key: Any) -> Any:
    value: dict[Any, Any] = {}
    value[key] = [value]
    return value


@pytest.mark.parametrize(
    "value", [looped("a"), looped(ID), Data(looped("a")), [math.nan], Data(math.inf), {ID: math.nan}]
)
def test_what_json_cannot_hold_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"contains itself|not JSON compliant|[Cc]ircular"):
        to_json(value)


@pytest.mark.parametrize(
    "value", [object(), [object()], {"a": Data(object())}, {object(): 1}, b"x", bytearray(b"x"), Model]
)
def test_what_has_no_form_in_json_is_a_type_error(value: Any) -> None:
    for option in (None, json.dumps):
        with pytest.raises(TypeError):
            encoder_from(option)(value)


def test_nan_in_a_model_is_sent_as_its_configuration_sets() -> None:
    class Text(BaseModel):
        model_config = ConfigDict(ser_json_inf_nan="strings")
        x: float = math.nan

    class Null(BaseModel):
        x: float = math.inf

    assert to_json([Text(), {ID: Null()}, NOW]) == f'[{{"x":"NaN"}},{{"{ID}":{{"x":null}}}},"2026-11-30T12:05:00Z"]'


@pytest.mark.parametrize(
    ("option", "error", "match"),
    [
        ("ujson", ValueError, '"orjson", "msgspec" or a function'),
        (json, TypeError, "give its dumps"),
        (7, TypeError, "not 7"),
        (json.JSONEncoder, TypeError, "function"),
    ],
)
def test_json_option_that_cannot_work_is_refused(option: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        App(json=option)


@pytest.mark.parametrize("result", [None, {"a": 1}, 7])
def test_function_that_returns_no_text_is_an_error(result: Any) -> None:
    with pytest.raises(TypeError, match="json= returned"):
        encoder_from(lambda _: result)(1)


async def test_error_of_the_function_ends_its_own_caller_only() -> None:
    def refuse(value: Any) -> str:
        raise ValueError("not today")

    app = App(json=refuse)

    @app.websocket("/caught")
    async def caught(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="not today"):
            await ws.send_json(1)
        await ws.send("goes on")

    @app.listener("/reply")
    async def reply(data: Any) -> Any:
        return data

    async with app.test_client(raise_server_errors=False) as client:
        async with client.websocket_connect("/caught") as ws:
            assert await ws.receive() == "goes on"
        async with client.websocket_connect("/reply") as ws:
            await ws.send_json(1)
            assert await code_of(ws) == 1011


def test_included_app_has_the_encoder_of_its_host() -> None:
    host = App(json=json.dumps)
    host.include(App(), "/a")
    host.include(App(json=json.dumps), "/b")
    with pytest.raises(RegistrationError, match="json="):
        host.include(App(json=repr), "/c")


async def test_session_with_a_model_is_plain_next_time() -> None:
    app = App(sessions=Sessions(secret_key="s" * 32))

    @app.websocket("/write", auto_accept=False)
    async def write(ws: WebSocket) -> None:
        ws.session["user"] = {ID: Data(NOW)}
        await ws.accept()
        with pytest.raises(RuntimeError, match="read-only"):
            ws.session["user"]["x"] = 1

    @app.websocket("/read")
    async def read(ws: WebSocket) -> None:
        await ws.send_json(ws.session["user"])

    async with app.test_client() as client:
        async with client.websocket_connect("/write") as ws:
            pass
        async with client.websocket_connect("/read") as ws:
            assert await ws.receive_json() == {str(ID): {"held": "2026-11-30T12:05:00Z"}}


async def test_model_of_a_session_changed_after_the_answer_is_an_error() -> None:
    async def write(ws: WebSocket) -> None:
        ws.session["user"] = Data(1)
        await ws.accept()
        ws.session["user"].held = 2

    app = app_of(write, "/write", App(sessions=Sessions(secret_key="s" * 32)), auto_accept=False)
    async with app.test_client(raise_server_errors=False) as client, client.websocket_connect("/write") as ws:
        assert await code_of(ws) == 1011


async def test_page_of_a_model_is_json() -> None:
    async with application().test_client() as client:
        answer = await client.get("/model")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == SENT[0]


@pytest.mark.parametrize("option", [None, partial(json.dumps, allow_nan=False)])
async def test_reference_is_beside_the_fields_of_a_model(option: Any) -> None:
    class Reading(BaseModel):
        degrees: float = math.nan

    async def read(data: Any) -> Any:
        return {"model": Reading(), "at": NOW} if data["deep"] else Reading()

    app = app_of_listener(read, "/read", App(json=option), reference="ref")
    async with app.test_client() as client, client.websocket_connect("/read") as ws:
        await ws.send_json({"ref": 1, "deep": False})
        assert await ws.receive_json() == {"degrees": None, "ref": 1}
        await ws.send_json({"ref": 2, "deep": True})
        assert await ws.receive_json() == {"model": {"degrees": None}, "at": "2026-11-30T12:05:00Z", "ref": 2}


async def test_refusal_is_encoded_by_the_option() -> None:
    def refuse() -> None:
        raise NotFound({"id": ID})

    async def view(ws: WebSocket) -> None: ...

    refused = await refusal_of(app_of(view, "/", App(json=lambda _: '{"encoded":"here"}'), guards=[refuse]), "/")
    assert (refused.status, refused.body) == (404, b'{"encoded":"here"}')


def test_struct_of_msgspec_is_an_object_for_every_encoder() -> None:
    msgspec = pytest.importorskip("msgspec")
    point = msgspec.defstruct("Point", [("x", int), ("at", Any)])(1, NOW)
    for option in (None, "orjson", "msgspec"):
        if option == "orjson":
            pytest.importorskip("orjson")
        assert json.loads(encoder_from(option)([point])) == [{"x": 1, "at": "2026-11-30T12:05:00Z"}]


def test_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(ImportError, match=r"pip install trio-ws\[orjson\]"):
        App(json="orjson")


async def test_reply_inside_a_value_is_its_envelope() -> None:
    assert to_json([Ok(Model())]) == '[{"statusCode":200,"body":{"no":1,"secret":"**********"}}]'


async def test_info_that_json_cannot_express_stays_in_this_process() -> None:
    app, held = App(), object()

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        async with app.room("r").join(ws, held=held) as room:
            (member,) = await room.presence()
            assert member.info["held"] is held

    async with app.test_client() as client, client.websocket_connect("/"):
        pass
