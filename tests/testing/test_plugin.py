"""The pytest plugin, used here as its users use it."""

from __future__ import annotations

import inspect

import pytest
from support.handlers import app_of

from tests.testing.responders import Routes, echo
from trio_ws import WebSocket, open_websocket
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
    async def greet(ws: WebSocket, name: str) -> None:
        await ws.send(f"hello {name}")

    server = await websocket_server(app_of(greet, "/{name}"))
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


@pytest.mark.slow
def test_an_error_in_a_handler_fails_the_test(pytester: pytest.Pytester, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(pytester._request.config.rootpath))
    pytester.makepyfile(FAILING)
    result = pytester.runpytest_inprocess("-p", "no:anyio", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1, failed=1)
    result.stdout.fnmatch_lines(["*KeyError: 'ours'*"])


PROPERTIES = """
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.responders import Routes
from trio_ws.testing import TestClient
from trio_ws.testing.strategies import texts

pytest_plugins = ["trio_ws.testing.plugin"]

@settings(max_examples=5)
@given(texts(max_size=200))
async def test_echo(autojump_clock, text):
    began = autojump_clock.current_time()
    async with TestClient(Routes()) as client, client.websocket_connect("/echo") as ws:
        await trio.sleep(3600)
        await ws.send(text)
        assert await ws.receive() == text
    assert (began, autojump_clock.current_time()) == (0, 3600)

class TestInAClass:
    @pytest.mark.parametrize("seconds", [60, 120])
    @settings(max_examples=2)
    @given(st.booleans())
    async def test_each_example_begins_at_zero(self, autojump_clock, seconds, any):
        await trio.sleep(seconds)
        assert autojump_clock.current_time() == trio.current_time() == seconds

async def test_without_given(autojump_clock):
    await trio.sleep(60)
    assert autojump_clock.current_time() == 60
"""


@pytest.mark.slow
def test_given_takes_autojump_clock_without_suppression(pytester: pytest.Pytester, monkeypatch) -> None:
    """A user's file that suppresses no health check: each example has a clock of its own."""
    monkeypatch.syspath_prepend(str(pytester._request.config.rootpath))
    pytester.makeini("[pytest]\ntrio_mode = true")
    pytester.makepyfile(PROPERTIES)
    result = pytester.runpytest_inprocess("-v", "-p", "no:anyio", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*::test_echo PASSED*"])


def test_the_typed_options_are_those_of_the_functions() -> None:
    for options, function in (
        (ClientKeywords, TestClient.__init__),
        (ConnectKeywords, TestClient.websocket_connect),
    ):
        keywords = inspect.signature(function).parameters.values()
        assert set(options.__annotations__) == {each.name for each in keywords if each.kind is each.KEYWORD_ONLY}
