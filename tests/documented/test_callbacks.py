"""docs/callbacks.md does what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import trio

from trio_ws import App, open_websocket, serve_messages

PAGE = (Path(__file__).parents[2] / "docs" / "callbacks.md").read_text(encoding="utf-8")
SERVER, RELAY, QUOTE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def test_the_function_of_the_page_answers_each_message() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    exec(SERVER, names)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_messages, names["on_message"], "127.0.0.1", 0)
        async with open_websocket(f"ws://127.0.0.1:{server.port}") as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
        nursery.cancel_scope.cancel()


async def test_the_route_of_the_page_has_its_parameter() -> None:
    seen: list[tuple[str, object]] = []
    names: dict[str, Any] = {"app": App(), "handle": lambda *given: seen.append(given)}
    exec(f"from trio_ws import WebSocket\n\n{RELAY}", names)
    async with names["app"].test_client() as client:
        async with client.websocket_connect("/relay/news") as ws:
            await ws.send("hello")
    assert seen == [("news", "hello")]


async def test_the_inline_listener_of_the_page_replies() -> None:
    names: dict[str, Any] = {"app": App(), "Order": int, "Quote": float, "price": lambda market, order: order * 1.5}
    exec(QUOTE, names)
    async with names["app"].test_client() as client, client.websocket_connect("/prices/here") as ws:
        await ws.send_json(3)
        assert await ws.receive_json() == 4.5
