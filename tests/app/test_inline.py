"""What can be an inline listener, and what is refused when it is registered."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from typing import Annotated, Any

import pytest
import trio
from support.handlers import app_of_listener

from trio_ws import App, BadRequest, BlockingWebSocket, Controller, Depends, WebSocket, WebSocketDisconnect
from trio_ws.app import RegistrationError, listener


async def waits(data: str) -> str:
    return data


def yields(data: str) -> Iterator[str]:
    yield data


async def yields_and_waits(data: str) -> AsyncIterator[str]:
    yield data


@wraps(waits)
def decorated(data: str) -> Any:
    return waits(data)


class Called:
    async def __call__(self, data: str) -> None: ...


@pytest.mark.parametrize("function", [waits, yields, yields_and_waits, decorated, partial(waits), Called()])
def test_a_function_that_would_wait_is_refused(function: Callable[..., Any]) -> None:
    app = App()
    with pytest.raises(RegistrationError, match="make it a plain function that does not wait"):
        app.listener("/", inline=True)(function)
    assert list(app.routes()) == []


def of_route(ws: BlockingWebSocket) -> str:
    return "text"


def blocks(ws: BlockingWebSocket, data: str) -> None: ...


def depends(data: str, value: Annotated[str, Depends(of_route)]) -> None: ...


@pytest.mark.parametrize("function", [blocks, depends])
def test_a_connection_that_blocks_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(RegistrationError, match=r"take a WebSocket, and answer with its offer\(\)"):
        App().listener("/", inline=True)(function)


@pytest.mark.parametrize(
    ("error", "options", "text"),
    [
        (ValueError, {"inline": True, "concurrency": 2}, "leave concurrency= out"),
        (ValueError, {"inline": True, "when_full": "drop"}, 'when_full is "pause" or "call"'),
        (ValueError, {"when_full": "call"}, "is for inline=True"),
        (TypeError, {"inline": "yes"}, "inline"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(error: type[Exception], options: dict[str, Any], text: str) -> None:
    with pytest.raises(error, match=text):
        App().listener("/", **options)
    with pytest.raises(error, match=text):
        listener("/", **options)


def test_a_view_is_told_what_it_has_instead() -> None:
    with pytest.raises(RegistrationError, match=r"call_for_each_message\(\)"):
        App().websocket("/", inline=True)  # type: ignore[call-arg]


async def test_dependencies_may_wait_as_they_are_made_once() -> None:
    made = []

    async def connected() -> AsyncIterator[str]:
        await trio.lowlevel.checkpoint()
        made.append("value")
        yield "value"
        made.append("left")

    def in_thread() -> str:
        return "thread"

    class Chat(Controller):
        @listener("/{room}", inline=True)
        def receive(
            self,
            data: str,
            room: str,
            value: Annotated[str, Depends(connected)],
            other: Annotated[str, Depends(in_thread)],
        ) -> list[str]:
            return [data, room, value, other, self.websocket.url.path]

    app = App(controllers=[Chat])
    async with app.test_client() as client, client.websocket_connect("/news") as ws:
        for text in ("a", "b"):
            await ws.send_json(text)
            assert await ws.receive_json() == [text, "news", "value", "thread", "/news"]
        assert made == ["value"]
    assert made == ["value", "left"]


async def test_a_coroutine_as_a_result_is_no_reply(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    app.listener("/", inline=True)(partial(lambda function, data: function(data), waits))
    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect, match="1011"), caplog.at_level(logging.ERROR):
            async with client.websocket_connect("/") as ws:
                await ws.send_json("a")
                await ws.receive()
    assert "coroutine, which is no reply" in caplog.text


async def test_replies_to_errors_are_made_in_the_task() -> None:
    async def explain(error: Exception) -> str:
        await trio.lowlevel.checkpoint()
        return "explained"

    def take(ws: WebSocket, number: int) -> int:
        if number < 0:
            raise BadRequest("negative")
        return number

    app = app_of_listener(take, inline=True, on_invalid=explain)
    async with app.test_client() as client, client.websocket_connect("/") as ws:
        for message in ("no number", -1, 1):
            await ws.send_json(message)
        assert await ws.receive_json() == "explained"
        assert await ws.receive_json() == {"statusCode": 400, "body": "negative"}
        assert await ws.receive_json() == 1


async def test_a_reply_repeats_its_reference() -> None:
    def add(data: dict[str, int]) -> int:
        return data["a"] + 1

    app = app_of_listener(add, inline=True, reference="id")
    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send_json({"id": 7, "a": 1})
        assert await ws.receive_json() == {"body": 2, "id": 7}
        await ws.send_json({"id": 8, "a": "x"})
        assert (await ws.receive_json())["id"] == 8
