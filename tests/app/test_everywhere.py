"""What applications of size use, on each transport, under hypercorn, and with rooms in memory and on Redis.

Here are encoder, guards and pages. Rooms, replies, budgets, credentials and the endpoint for publishers have such tests
with their own.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import attrs
import pytest
from documented.ways import Way
from pydantic import BaseModel
from support.redis import collects_coredis, forgives_coredis, needs_redis, redis_server

from trio_ws import App, Depends, Header, Ok, Unauthorized, WebSocket

pytestmark = [forgives_coredis, collects_coredis]
ID = uuid.UUID(int=7)


@attrs.frozen
class User:
    name: str


class Note(BaseModel):
    id: uuid.UUID
    text: str


@pytest.fixture(params=["memory", "poller", "stream", "http1", "http2"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def make_app(request: pytest.FixtureRequest) -> Iterator[Callable[..., App]]:
    if request.param == "memory":
        yield App
    else:
        with redis_server() as server:
            yield lambda **options: App(backplane=server.url, **options)


async def test_one_encoder_serves_messages_rooms_and_replies(way: Way, make_app: Callable[..., App]) -> None:
    app = make_app(json=lambda value: json.dumps(value, default=str, sort_keys=True))

    @app.listener("/notes", rooms=["notes"])
    async def notes(data: Note, ws: WebSocket) -> Ok:
        await ws.send_json({"sent": data.id})
        await app.room("notes").publish({"published": data.id})
        return Ok({"replied": data.id})

    expected = [{"sent": str(ID)}, {"published": str(ID)}, {"statusCode": 200, "body": {"replied": str(ID)}}]
    async with way.visit(app) as visitor, visitor.connect("/notes") as ws:
        await ws.send_json({"id": ID, "text": "hello"})
        received = [await ws.receive_json() for _ in expected]
    assert all(each in received for each in expected)  # a room's message comes when it does


async def test_a_guard_hands_its_value_over_until_the_end(way: Way, make_app: Callable[..., App]) -> None:
    happened: list[Any] = []

    async def current_user(ws: WebSocket, authorization: str = Header(default="")) -> User:
        happened.append("asked")
        if not authorization:
            raise Unauthorized
        ws.state.greeting = f"hello {authorization}"
        return User(authorization)

    app = make_app(guards=[Depends(current_user)])

    @app.listener("/hello")
    async def hello(data: str, ws: WebSocket, user: Annotated[User, Depends(current_user)]) -> str:
        return f"{data}: {ws.state.greeting}, {user.name}"

    @hello.on_disconnect
    async def leave(ws: WebSocket, user: Annotated[User, Depends(current_user)]) -> None:
        happened.append((user.name, ws.state.greeting))

    async with way.visit(app) as visitor, visitor.connect("/hello", headers={"Authorization": "Ada"}) as ws:
        await ws.send_json("hi")
        assert await ws.receive_json() == "hi: hello Ada, Ada"
    assert happened == ["asked", ("Ada", "hello Ada")]


async def test_description_and_browser_client_are_pages(way: Way, make_app: Callable[..., App]) -> None:
    app = make_app()
    app.asyncapi_page("/docs", json_path="/asyncapi.json")
    app.client_script()

    @app.listener("/notes")
    async def notes(data: Note) -> Note:
        """Keep a note."""
        return data

    async with way.visit(app) as visitor:
        document = json.loads((await visitor.get("/asyncapi.json")).body)
        page, script = await visitor.get("/docs"), await visitor.get("/trio_ws.js")
    assert document["channels"]["notes"]["summary"] == "Keep a note."
    assert page.headers["content-type"].startswith("text/html")
    assert b"Keep a note." in page.body
    assert "javascript" in script.headers["content-type"]
    assert b"export function connect" in script.body
