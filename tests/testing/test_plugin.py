"""The pytest plugin, used here as its users use it."""

from __future__ import annotations

import inspect

import pytest

from tests.testing.responders import Routes, echo
from trio_ws import App, WebSocket, open_websocket
from trio_ws.testing import TestClient
from trio_ws.testing.options import ClientKeywords, ConnectKeywords

pytest_plugins = ["trio_ws.testing.plugin", "pytester"]


def test_test_client_makes_clients_that_are_entered(test_client) -> None:
    client = test_client(Routes(), timeout=2)
    with client.websocket_connect("/echo") as ws:
        ws.send("hi")
        assert ws.receive() == "hi"


async def test_websocket_server_serves_a_handler_on_a_free_port(websocket_server) -> None:
    server = await websocket_server(echo, subprotocols=("chat",))
    assert server.urls == (f"ws://127.0.0.1:{server.port}",)
    async with open_websocket(server.urls[0], subprotocols=["chat"]) as ws:
        await ws.send("hi")
        assert await ws.receive() == "hi"
        assert ws.subprotocol == "chat"


async def test_websocket_server_serves_an_app(websocket_server) -> None:
    app = App()

    @app.websocket("/{name}")
    async def greet(ws: WebSocket, name: str) -> None:
        await ws.send(f"hello {name}")

    server = await websocket_server(app)
    async with open_websocket(f"{server.urls[0]}/you") as ws:
        assert await ws.receive() == "hello you"


FAILING = """
import inspect

import pytest
from tests.testing.responders import Routes
from trio_ws import open_websocket

pytest_plugins = ["trio_ws.testing.plugin"]

async def fail(websocket):
    raise KeyError("ours")

def test_plain(test_client):
    with test_client(Routes({"/": fail})).websocket_connect("/"):
        pass

@pytest.mark.trio
async def test_async(websocket_server):
    server = await websocket_server(fail)
    async with open_websocket(server.urls[0]) as ws:
        async for _ in ws:
            pass
"""


def test_an_error_in_a_handler_fails_the_test(pytester: pytest.Pytester, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(pytester._request.config.rootpath))
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_inprocess("-p", "no:anyio", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1, failed=1)
    result.stdout.fnmatch_lines(["*KeyError: 'ours'*"])


def test_the_typed_options_are_those_of_the_functions() -> None:
    for options, function in (
        (ClientKeywords, TestClient.__init__),
        (ConnectKeywords, TestClient.websocket_connect),
    ):
        keywords = inspect.signature(function).parameters.values()
        assert set(options.__annotations__) == {each.name for each in keywords if each.kind is each.KEYWORD_ONLY}
