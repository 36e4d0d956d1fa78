"""docs/recipes.md: each program runs beside the library that it is about."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import pytest
import trio
from support.asgi import open_network, serving

from trio_ws import App, Request, Response, WebSocket, WebSocketDisconnect, open_websocket

from .programs import program_of

PATIENCE = 20


def needs(module: str, why: str) -> pytest.MarkDecorator:
    """Skip a test without a module."""
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is not installed: {why}")


needs_httpx = needs("httpx", "its recipes")
needs_quart = needs("quart_trio", "its recipe")
needs_asks = needs("asks", "its recipe. It demands an anyio that does not run on this Trio (docs/recipes.md)")


async def post(port: int, path: str, body: str) -> str:
    """Send a POST with JSON; return the answer's head and body."""
    async with await open_network(port, "http1") as stream:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        await stream.send_all(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = bytearray()
        while not answer.rstrip().endswith(b"}"):
            answer += await stream.receive_some()
    return answer.decode()


async def publishes_into_the_room(names: dict[str, Any], port: int) -> None:
    """Connect a member, publish by HTTP, and look at both ends."""
    async with open_websocket(f"ws://127.0.0.1:{port}/news", receive_type="json") as member:
        while not names["app"].room("news").count:
            await trio.sleep(0.001)
        answer = await post(port, "/publish", '{"text": "hi"}')
        assert answer.startswith("HTTP/1.1 200 ")
        assert answer.replace(" ", "").rstrip().endswith('{"members":1}')
        assert await member.receive() == {"text": "hi"}


async def test_starlette_publishes_into_a_room() -> None:
    names = program_of("recipes", 0)
    with trio.fail_after(PATIENCE):
        async with serving(names["application"]) as bridge:
            await publishes_into_the_room(names, bridge.port)


@pytest.mark.filterwarnings("default")  # those of Quart and Flask are not ours
@needs_quart
async def test_quart_trio_publishes_into_a_room() -> None:
    names = program_of("recipes", 1)
    with trio.fail_after(PATIENCE):
        async with serving(names["application"]) as bridge:
            await publishes_into_the_room(names, bridge.port)
            async with open_websocket(f"ws://127.0.0.1:{bridge.port}/echo") as theirs:
                await theirs.send("to Quart")
                assert await theirs.receive() == "to Quart"


def weather_of(request: Request) -> dict[str, str] | Response:
    city = request.query_params["city"]
    return {"city": city, "sky": "clear"} if city != "Atlantis" else Response(status=503)


@asynccontextmanager
async def weather_service() -> AsyncIterator[str]:
    """Serve the page that the recipes ask; gives its URL."""
    service = App()
    service.page("/weather", weather_of)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(service.serve, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.port}/weather"
        nursery.cancel_scope.cancel()


@needs_httpx
async def test_a_handler_asks_with_httpx() -> None:
    names = program_of("recipes", 2)
    with trio.fail_after(PATIENCE):
        async with weather_service() as names["API"], names["app"].test_client() as client:
            async with client.websocket_connect("/weather") as ws:
                await ws.send("Oslo")
                assert await ws.receive_json() == {"city": "Oslo", "sky": "clear"}
                await ws.send("Atlantis")
                with pytest.raises(WebSocketDisconnect) as end:
                    await ws.receive()
    assert (end.value.code, end.value.reason) == (1013, "the weather service is not available")


@needs_httpx
async def test_cookies_of_httpx_go_into_the_handshake() -> None:
    names = program_of("recipes", 3)
    app = App()

    def sign_in(request: Request) -> Response:
        return Response(headers={"Set-Cookie": f"user={request.query_params['user']}; Path=/"}, body=b"ok")

    app.page("/sign-in", sign_in)

    @app.websocket("/greeting")
    async def greet(ws: WebSocket) -> None:
        await ws.send(f"Hello, {ws.cookies['user']}!")

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(app.serve, "127.0.0.1", 0)
            assert await names["watch"](f"127.0.0.1:{server.port}") == "Hello, Ada!"
            nursery.cancel_scope.cancel()


@needs_asks
async def test_a_handler_asks_with_asks() -> None:
    names = program_of("recipes", 4)
    with trio.fail_after(PATIENCE):
        async with weather_service() as names["API"], names["app"].test_client() as client:
            async with client.websocket_connect("/weather") as ws:
                await ws.send("Oslo")
                assert await ws.receive_json() == {"city": "Oslo", "sky": "clear"}
