"""Calls of a function with each message, decoded as the route's `receive_type` says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.handlers import app_of

from trio_ws import WebSocket, WebSocketDisconnect, WebSocketException
from trio_ws.connection.incremental_json import PIECE

LARGE = list(range(PIECE))
"""More than is decoded in one step."""


@pytest.mark.parametrize(
    ("receive_type", "sent", "received"),
    [
        ("json", [b'{"a": 1}', "[2]", json.dumps(LARGE), "null", "3"], [{"a": 1}, [2], LARGE, None, 3]),
        ("text", ["a", "b"], ["a", "b"]),
        ("bytes", [b"a", b"b"], [b"a", b"b"]),
    ],
)
async def test_a_function_gets_what_the_route_receives(receive_type: Any, sent: list[Any], received: list[Any]) -> None:
    got: list[Any] = []

    async def view(ws: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnect):
            await ws.call_for_each_message(got.append)

    async with app_of(view, receive_type=receive_type).test_client() as client, client.websocket_connect("/") as ws:
        for message in sent:
            await ws.send(message)
    assert got == received


@pytest.mark.parametrize("large", [False, True])
async def test_an_error_of_the_function_ends_the_call(large: bool) -> None:
    """The same whether the reading task or the handler's calls the function."""
    got: list[Any] = []

    def refuse(value: Any) -> None:
        got.append(value)
        raise WebSocketException(4003, "why")

    async def view(ws: WebSocket) -> None:
        await ws.call_for_each_message(refuse)

    async with app_of(view, receive_type="json").test_client() as client:
        with pytest.raises(WebSocketDisconnect) as caught:
            async with client.websocket_connect("/") as ws:
                await ws.send(json.dumps(LARGE if large else [1]))
                await ws.send("[2]")
                await ws.receive()
    assert caught.value.code == 4003
    assert got == [LARGE if large else [1]]
