"""Inline listeners: a function that is called where a message was parsed, on each transport and under an instrument."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
from support.handlers import parts

from trio_ws import App, Limits, WebSocket, WebSocketDisconnect, WebSocketException, open_websocket
from trio_ws.handler.instruments import Instrument


class Observer(Instrument):
    """One that takes messages, so that the handler's task calls the function."""

    def message_received(self, websocket: WebSocket, message: str | bytes | None) -> None: ...


@pytest.fixture(params=["server-poller", "server-stream", "server-observed"])
def kind(request: pytest.FixtureRequest) -> str:
    """How the application is served."""
    return str(request.param)


Connect = Callable[..., AbstractAsyncContextManager[WebSocket]]


@pytest.fixture
def connect(kind: str) -> Connect:
    """Serve a listener at "/" that is made of a function, and connect to it."""

    @asynccontextmanager
    async def connect(
        function: Callable[..., Any],
        *,
        limits: Limits | None = None,
        on_connect: Callable[..., Any] | None = None,
        **options: Any,
    ) -> AsyncIterator[WebSocket]:
        app = App(limits=limits, instruments=[Observer()] if kind == "server-observed" else [])
        app.close_on(LookupError, 4010)
        made = app.listener("/", inline=True, **options)(function)
        if on_connect is not None:
            made.on_connect(on_connect)
        async with trio.open_nursery() as nursery:
            poller = kind != "server-stream" and None
            server = await nursery.start(
                lambda task_status: app.serve("127.0.0.1", 0, poller=poller, task_status=task_status)
            )
            with trio.fail_after(10):
                async with open_websocket(f"ws://127.0.0.1:{server.port}/") as ws:
                    yield ws
            nursery.cancel_scope.cancel()

    return connect


async def test_each_message_gets_its_reply_in_order(connect: Connect) -> None:
    def double(number: int) -> int | None:
        return 2 * number if number % 7 else None

    async with connect(double) as ws:
        for number in range(200):
            await ws.send(str(number))
        await ws.send('"no number"')
        await ws.send("no JSON")
        for number in range(200):
            if number % 7:
                assert await ws.receive_json() == 2 * number
        for kind in ("int_parsing", "json_invalid"):
            answer = await ws.receive_json()
            assert answer["statusCode"] == 400
            assert answer["body"]["errorList"][0]["type"] == kind


async def test_the_connection_and_the_callbacks_are_a_listeners(connect: Connect) -> None:
    async def greet(ws: WebSocket) -> None:
        await trio.lowlevel.checkpoint()
        await ws.send("welcome")

    def answer(ws: WebSocket, data: bytes) -> bytes:
        ws.offer(data + b"1")
        return data + b"2"

    async with connect(answer, encoding="bytes", on_connect=greet) as ws:
        await ws.send(b"a")
        assert [await ws.receive() for _ in range(3)] == ["welcome", b"a1", b"a2"]


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        ({}, '"4003"', 4003),
        ({}, '"lookup"', 4010),
        ({}, '"other"', 1011),
        ({}, '"no reply"', 1011),
        ({"encoding": "text"}, b"binary", 1003),
        ({"on_invalid": "close"}, "1", 1007),
    ],
)
async def test_an_error_closes_with_the_code_of_a_handlers(
    connect: Connect, options: dict[str, Any], message: str | bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(text: str) -> object:
        match text:
            case "4003":
                raise WebSocketException(4003, "why")
            case "lookup":
                raise LookupError(text)
            case "no reply":
                return object()
            case _:
                raise OSError(text)

    caplog.set_level(logging.CRITICAL, "trio_ws")
    async with connect(answer, **options) as ws:
        await ws.send(message)
        with pytest.raises(WebSocketDisconnect) as caught:
            while True:
                assert json.loads(await ws.receive())["statusCode"] == 400
        assert caught.value.code == code


async def test_a_full_outbox_pauses_the_peer(connect: Connect) -> None:
    """Each reply is a thousand times its message, and the client reads none before all was sent."""

    def answer(text: str) -> str:
        return text * 1000

    async with connect(answer, encoding="text", limits=Limits(outbox_bytes=4096)) as ws:
        for _ in range(100):
            await ws.send("x" * 100)
        for _ in range(100):
            assert await ws.receive() == "x" * 100_000


async def test_a_full_outbox_drops_replies_if_asked(connect: Connect) -> None:
    called = []
    all_called = trio.Event()

    def answer(text: str) -> str:
        called.append(text)
        if len(called) == 200:
            all_called.set()
        return text * 1000

    async with connect(answer, encoding="text", when_full="call", limits=Limits(outbox_bytes=4096)) as ws:
        for _ in range(200):
            await ws.send("x" * 100)
        with trio.fail_after(5):
            await all_called.wait()
        assert await ws.receive() == "x" * 100_000


async def test_no_reply_is_lost_behind_a_stream(connect: Connect) -> None:
    """A message in fragments is in the way of replies: they wait for its end."""
    may_end = trio.Event()

    def answer(ws: WebSocket, text: str) -> str:
        if text == "a":
            # A part is sent when the next is there.
            ws.nursery.start_soon(ws.send_stream, parts("begin", ", more", may_end, "end"))
        if text == "c":
            ws.offer("full")
        return text

    async with connect(answer, encoding="text") as ws:
        await ws.send("a")
        assert await ws.receive() == "a"
        stream = ws.receive_stream()
        assert await anext(stream) == "begin"
        await ws.send("b")
        await ws.send("c")
        await ws.ping()  # its pong says that they have arrived
        may_end.set()
        assert "".join([part async for part in stream]) == ", moreend"
        assert [await ws.receive() for _ in range(3)] == ["b", "full", "c"]


async def test_large_json_is_decoded_by_the_handlers_task(connect: Connect, kind: str) -> None:
    """It takes several steps; the messages behind it keep their places."""
    tasks = []
    handlers = []

    async def note(ws: WebSocket) -> None:
        handlers.append(trio.lowlevel.current_task())

    def count(numbers: list[int]) -> int:
        tasks.append(trio.lowlevel.current_task())
        return len(numbers)

    async with connect(count, on_connect=note) as ws:
        for size in (1, 40_000, 2, 3, 30_000, 4):
            await ws.send_json([7] * size)
        assert [await ws.receive_json() for _ in range(6)] == [1, 40_000, 2, 3, 30_000, 4]
    by_handler = [task is handlers[0] for task in tasks]
    assert (by_handler[1], by_handler[4]) == (True, True)
    assert kind == "server-observed" or not by_handler[0]


async def test_messages_before_the_end_are_passed_on(connect: Connect) -> None:
    got: list[int] = []
    over = trio.Event()

    def take(number: int) -> None:
        got.append(number)
        if number == 299:
            over.set()

    async with connect(take) as ws:
        for number in range(300):
            await ws.send_json(number)
        await ws.close()
        with trio.fail_after(5):
            await over.wait()
    assert got == list(range(300))
