"""docs/coming-from-starlette.md: its program runs, and the rows that no other test shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
import starlette.status
import trio
from support.endings import end_of, refusal_of

from trio_ws import (
    App,
    CloseCode,
    Depends,
    LocalProtocolError,
    Request,
    TestClient,
    WebSocket,
    WebSocketException,
)

from .programs import program_of


async def test_the_program_of_the_page_answers(capsys: pytest.CaptureFixture[str]) -> None:
    names = program_of("coming-from-starlette")
    with trio.fail_after(10):
        await names["main"]()
    assert capsys.readouterr().out.splitlines() == [
        "{'user': 'Ada', 'item': 7, 'q': 'x', 'text': 'Hello!'}",
        "Ada has left",
    ]


async def test_an_exception_before_the_answer_is_a_403() -> None:
    app = program_of("coming-from-starlette")["app"]

    @app.websocket("/late")
    async def late(ws: WebSocket) -> None:
        raise WebSocketException(code=1008, reason="no")

    async with app.test_client() as client:
        refused = await refusal_of(client, "/items/7")
        async with client.websocket_connect("/late") as ws:
            end = await end_of(ws)
    assert refused.status == 403
    assert (end.code, end.reason) == (1008, "no")


async def test_a_path_with_a_converter_registers_a_function() -> None:
    app = App()

    async def endpoint(websocket: WebSocket, item_id: int) -> None:
        await websocket.send_json([item_id, websocket.path_params["item_id"]])

    app.websocket("/items/{item_id:int}")(endpoint)
    async with app.test_client() as client, client.websocket_connect("/items/7") as ws:
        assert await ws.receive_json() == [7, 7]


async def test_a_dependency_on_the_request_serves_both() -> None:
    app = App()

    def language(request: Request) -> str:
        return request.headers.get("accept-language", "en")

    @app.websocket("/ws")
    async def greet(ws: WebSocket, chosen: Annotated[str, Depends(language)]) -> None:
        await ws.send(chosen)

    app.page("/page", language)
    async with app.test_client() as client:
        assert (await client.get("/page", headers={"Accept-Language": "fi"})).text == "fi"
        async with client.websocket_connect("/ws") as ws:
            assert await ws.receive() == "en"


async def test_an_endpoint_is_a_listener_with_callbacks() -> None:
    app, seen = App(), []

    @app.listener("/", encoding="text")
    async def on_receive(data: str, ws: WebSocket) -> str:
        return f"you said {data}"

    @on_receive.on_connect
    async def on_connect(ws: WebSocket) -> None:
        seen.append("connect")

    @on_receive.on_disconnect
    async def on_disconnect(ws: WebSocket, code: int) -> None:
        seen.append(code)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send("hi")
        assert await ws.receive() == "you said hi"
    assert seen == ["connect", 1000]


async def test_a_manager_of_connections_is_a_room() -> None:
    app = App()

    @app.websocket("/ws/{client_id}")
    async def chat(websocket: WebSocket, client_id: int) -> None:
        async with app.room("all").join(websocket) as room:
            try:
                async for data in websocket.iter_text():
                    await websocket.send_text(f"You wrote: {data}")
                    await room.publish(f"#{client_id} says: {data}")
            finally:
                await room.publish(f"#{client_id} has left")

    async with app.test_client() as client, client.websocket_connect("/ws/1") as one:
        async with client.websocket_connect("/ws/2") as two:
            await two.send_text("hi")
            assert await two.receive() == "You wrote: hi"
            assert await one.receive() == await two.receive() == "#2 says: hi"
        assert await one.receive() == "#2 has left"


async def test_the_lifespan_fills_the_state_of_the_application() -> None:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        app.state.database = {"a": 1}
        yield

    app = App(lifespan=lifespan)

    @app.websocket("/")
    async def look(websocket: WebSocket) -> None:
        await websocket.send_json([websocket.app.state.database, vars(websocket.state)])

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        assert await ws.receive_json() == [{"a": 1}, {}]


def test_the_test_client_is_used_like_starlette_s() -> None:
    app = App()

    @app.websocket("/ws")
    async def hello(websocket: WebSocket) -> None:
        await websocket.send_json({"msg": "Hello WebSocket"})
        await websocket.close()

    with TestClient(app) as client, client.websocket_connect("/ws") as websocket:
        assert websocket.receive_json() == {"msg": "Hello WebSocket"}


async def test_a_close_before_the_answer_is_an_error() -> None:
    app = App()

    @app.websocket("/", auto_accept=False)
    async def refuse(websocket: WebSocket) -> None:
        with pytest.raises(LocalProtocolError, match="not accepted yet"):
            await websocket.close(1008)
        await websocket.reject(403)

    await refusal_of(app, "/")


def test_each_close_code_of_starlette_s_is_one_of_ours() -> None:
    theirs = {int(name[3:7]) for name in starlette.status.__all__ if name.startswith("WS_1")}
    assert theirs - {1004} <= {int(code) for code in CloseCode}  # reserved, without a meaning (RFC 6455 7.4.1)
    assert CloseCode.POLICY_VIOLATION == starlette.status.WS_1008_POLICY_VIOLATION
