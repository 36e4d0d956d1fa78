"""The table of design 3.1 and the disconnect rule of 3.2, in every shape that a handler can have."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from support.endings import code_of, status_of
from support.handlers import app_of

from trio_ws import (
    App,
    Controller,
    Depends,
    InvalidMessage,
    Reject,
    Timeouts,
    UnexpectedMessage,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from trio_ws.app import BlockingWebSocket, WsBody

Act = Callable[[], None]
"""What a handler does once a message has come: it raises, or returns."""


def view(app: App, act: Act) -> None:
    @app.websocket("/x")
    async def handler(ws: WebSocket) -> None:
        await ws.receive()
        act()


def blocking_view(app: App, act: Act) -> None:
    @app.websocket("/x")
    def handler(ws: BlockingWebSocket) -> None:
        ws.receive()
        act()


def listener(app: App, act: Act) -> None:
    @app.listener("/x", encoding="text")
    async def handler(data: str) -> None:
        act()


def blocking_listener(app: App, act: Act) -> None:
    @app.listener("/x", encoding="text")
    def handler(data: str) -> None:
        act()


def concurrent_listener(app: App, act: Act) -> None:
    @app.listener("/x", encoding="text", concurrency=4)
    async def handler(data: str) -> None:
        act()


def generator(app: App, act: Act) -> None:
    @app.listener("/x", encoding="text")
    async def handler(data: str):
        act()
        yield None


def callbacks(app: App, act: Act) -> None:
    @app.websocket("/x", auto_accept=False)
    async def handler(ws: WebSocket) -> None:
        async def on_receive(data: str = WsBody()) -> None:
            act()

        await ws.accept_callback(on_receive=on_receive, encoding="text")


def controller_view(app: App, act: Act) -> None:
    @app.controller()
    class Handler(Controller):
        @app.websocket("/x")
        async def handler(self) -> None:
            await self.websocket.receive()
            act()


def controller_listener(app: App, act: Act) -> None:
    @app.controller()
    class Handler(Controller):
        @app.listener("/x", encoding="text")
        async def handler(self, data: str) -> None:
            act()


def dependency(app: App, act: Act) -> None:
    async def unwound():
        yield
        act()

    @app.websocket("/x")
    async def handler(ws: WebSocket, _: None = Depends(unwound)) -> None:
        await ws.receive()


def child_task(app: App, act: Act) -> None:
    @app.websocket("/x")
    async def handler(ws: WebSocket) -> None:
        async def child() -> None:
            await ws.receive()
            act()
            ws.nursery.cancel_scope.cancel()

        ws.nursery.start_soon(child)
        await trio.sleep_forever()


SHAPES = [
    view,
    blocking_view,
    listener,
    blocking_listener,
    concurrent_listener,
    generator,
    callbacks,
    controller_view,
    controller_listener,
    dependency,
    child_task,
]
RETURN_ENDS = [view, blocking_view, controller_view, dependency, child_task]
"""Shapes in which the connection ends when the function returns; the others wait for the next message."""


class Mapped(Exception):  # noqa: N818 - what it is
    """One that the application maps."""


def do_raise(error: Exception) -> Act:
    def act() -> None:
        raise error

    return act


ROWS = [
    ("WebSocketException", lambda: WebSocketException(4003, "why"), 4003, "why", False),
    ("mapped", Mapped, 4010, "", False),
    ("UnexpectedMessage", lambda: UnexpectedMessage("text", b""), 1003, "expected text, the peer sent binary", False),
    ("InvalidMessage", lambda: InvalidMessage("bad", ""), 1007, "invalid message", False),
    ("group of one code", lambda: ExceptionGroup("g", [Mapped(), ExceptionGroup("h", [Mapped()])]), 4010, "", False),
    ("group of two codes", lambda: ExceptionGroup("g", [Mapped(), WebSocketException(4003)]), 1011, "", True),
    ("anything else", lambda: ValueError("boom"), 1011, "", True),
    ("reject after the answer", lambda: Reject(401), 1011, "", True),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
async def test_an_error_closes_with_its_code_in_every_shape(
    shape: Callable[[App, Act], None], caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    app.close_on(Mapped, 4010)
    heard: list[BaseException] = []
    app.on_error(lambda ws, error: heard.append(error))
    errors = iter([make() for _, make, *_ in ROWS])

    def act() -> None:
        raise next(errors)

    shape(app, act)
    with caplog.at_level(logging.ERROR):
        async with app.test_client(raise_server_errors=False) as client:
            for row, _, code, reason, unforeseen in ROWS:
                heard.clear()
                caplog.clear()
                with pytest.raises(WebSocketDisconnect) as caught:
                    async with client.websocket_connect("/x", caught_close_codes=()) as ws:
                        await ws.send("go")
                        await ws.receive()
                assert (caught.value.code, caught.value.reason) == (code, reason), row
                assert len(heard) == len(caplog.records) == unforeseen, row


@pytest.mark.parametrize("shape", RETURN_ENDS, ids=lambda shape: shape.__name__)
async def test_a_return_closes_with_1000(shape: Callable[[App, Act], None]) -> None:
    app = App()
    shape(app, lambda: None)
    async with app.test_client() as client, client.websocket_connect("/x") as ws:
        await ws.send("go")
        assert await code_of(ws) == 1000


@pytest.mark.parametrize(
    ("error", "status"), [(Reject(401), 401), (WebSocketException(4003), 403), (ValueError("boom"), 500)]
)
@pytest.mark.parametrize("where", ["guard", "dependency", "view", "on_connect"])
async def test_an_error_before_the_answer_is_an_http_status(where: str, error: Exception, status: int) -> None:
    app = App()

    def fail() -> Any:
        raise error

    def guard(context) -> bool:
        return fail()

    @app.websocket("/guard", guards=[guard])
    async def guarded(ws: WebSocket) -> None: ...

    @app.websocket("/dependency", auto_accept=False)
    async def dependent(ws: WebSocket, value: Any = Depends(fail)) -> None: ...

    @app.websocket("/view", auto_accept=False)
    async def undecided(ws: WebSocket) -> None:
        fail()

    @app.listener("/on_connect", auto_accept=False)
    async def heard(data: str) -> None: ...

    @heard.on_connect
    async def refuse() -> None:
        fail()

    async with app.test_client(raise_server_errors=False) as client:
        assert await status_of(client, f"/{where}") == status


# --- the disconnect rule -----------------------------------------------------------------------------------------


class Waits:
    """A place where handlers wait for something other than their peer, and what became of it."""

    def __init__(self) -> None:
        self.outcome = ""
        self.seconds = 0.0

    async def here(self) -> None:
        began = trio.current_time()
        try:
            await trio.sleep(60)
            self.outcome = "finished"
        except trio.Cancelled as cancelled:
            self.outcome = f"cancelled: {cancelled.reason}"
            raise
        finally:
            self.seconds = trio.current_time() - began


def waiting_view(app: App, waits: Waits, **options: Any) -> None:
    @app.websocket("/x", **options)
    async def handler(ws: WebSocket) -> None:
        await ws.receive()
        await waits.here()


def waiting_listener(app: App, waits: Waits, **options: Any) -> None:
    @app.listener("/x", encoding="text", **options)
    async def handler(data: str) -> None:
        await waits.here()


def waiting_generator(app: App, waits: Waits, **options: Any) -> None:
    @app.listener("/x", encoding="text", **options)
    async def handler(data: str):
        await waits.here()
        yield None


def waiting_dependency(app: App, waits: Waits, **options: Any) -> None:
    async def unwound():
        yield
        await waits.here()

    @app.websocket("/x", **options)
    async def handler(ws: WebSocket, _: None = Depends(unwound)) -> None:
        await ws.receive()


def waiting_child(app: App, waits: Waits, **options: Any) -> None:
    @app.websocket("/x", **options)
    async def handler(ws: WebSocket) -> None:
        ws.nursery.start_soon(waits.here)
        await ws.receive()
        await trio.sleep(30)


WAITING = {
    # shape: seconds that it may go on after its peer has left, under "drain"
    waiting_view: 1.0,  # it reads and was not told: drain_timeout
    waiting_listener: 5.0,  # a callback at work: cleanup_timeout
    waiting_generator: 5.0,
    waiting_dependency: 5.0,  # it is left: cleanup_timeout from when that began, whatever the peer does
    waiting_child: 1.0,  # cancelled with its handler
}


@pytest.mark.parametrize("policy", ["drain", "cancel", "finish"])
@pytest.mark.parametrize("shape", WAITING, ids=lambda shape: shape.__name__)
async def test_peer_leaving_gives_each_shape_the_time_of_its_policy(
    shape: Callable[..., None], policy: str, autojump_clock: trio.testing.MockClock
) -> None:
    """When the peer leaves each shape has the time of the rule."""
    app, waits = App(), Waits()
    shape(app, waits, when_peer_leaves=policy)
    async with app.test_client(timeout=100) as client:
        async with client.websocket_connect("/x") as ws:
            await ws.send("go")
            await trio.sleep(0.5)
        await trio.sleep(100)
    if policy == "finish":
        finished = shape is not waiting_child
        assert waits.outcome.startswith("finished" if finished else "cancelled: the handler has ended")
        return
    assert waits.outcome.startswith("cancelled")
    if shape is waiting_dependency:
        assert waits.seconds == pytest.approx(WAITING[shape])
        return
    if shape is not waiting_child:
        assert "peer closed: 1000" in waits.outcome
    # It had begun half a second before the peer left.
    assert waits.seconds == pytest.approx(0.5 + (WAITING[shape] if policy == "drain" else 0.0), abs=0.1)


async def until_told(ws: WebSocket) -> None:
    with pytest.raises(WebSocketDisconnect):
        while True:
            await ws.send("still here")
            await trio.sleep(0.05)


def told_view(app: App, waits: Waits, **options: Any) -> None:
    @app.websocket("/x", **options)
    async def handler(ws: WebSocket) -> None:
        await ws.receive()
        assert (await ws.recv()).is_close()
        await waits.here()


def told_listener(app: App, waits: Waits, **options: Any) -> None:
    @app.listener("/x", encoding="text", **options)
    async def handler(data: str, ws: WebSocket) -> None:
        await until_told(ws)
        await waits.here()


def told_generator(app: App, waits: Waits, **options: Any) -> None:
    @app.listener("/x", encoding="text", **options)
    async def handler(data: str, ws: WebSocket):
        await until_told(ws)
        await waits.here()
        yield None


def told_dependency(app: App, waits: Waits, **options: Any) -> None:
    async def unwound():
        yield
        await waits.here()

    @app.websocket("/x", **options)
    async def handler(ws: WebSocket, _: None = Depends(unwound)) -> None:
        await ws.receive()
        assert (await ws.recv()).is_close()


def told_child(app: App, waits: Waits, **options: Any) -> None:
    @app.websocket("/x", **options)
    async def handler(ws: WebSocket) -> None:
        async def child() -> None:
            await ws.receive()
            assert (await ws.recv()).is_close()
            await waits.here()

        ws.nursery.start_soon(child)
        await trio.sleep(30)


@pytest.mark.parametrize("policy", ["drain", "cancel", "finish"])
@pytest.mark.parametrize("shape", [told_view, told_listener, told_generator, told_dependency, told_child])
async def test_who_was_told_has_the_time_to_say_goodbye_in_each_shape(
    shape: Callable[..., None], policy: str, autojump_clock: trio.testing.MockClock
) -> None:
    app, waits = App(), Waits()
    shape(app, waits, when_peer_leaves=policy)
    async with app.test_client(timeout=100) as client:
        async with client.websocket_connect("/x") as ws:
            await ws.send("go")
            await trio.sleep(0.5)
        await trio.sleep(100)
    match policy:
        case "drain":
            assert waits.outcome.startswith("cancelled")
            assert waits.seconds == pytest.approx(5.0, abs=0.1)  # cleanup_timeout
        case "cancel":
            assert waits.outcome.startswith("cancelled") or not waits.outcome
            assert waits.seconds == pytest.approx(0.0, abs=0.1)
        case "finish":
            assert waits.outcome.startswith("cancelled: the handler" if shape is told_child else "finished")


@pytest.mark.parametrize("policy", ["drain", "cancel", "finish"])
@pytest.mark.slow
async def test_blocking_handler_waiting_elsewhere_has_policy_time(policy: Any) -> None:
    """A blocking handler that waits elsewhere has the time of the rule."""
    drain_timeout = 1000 if policy == "cancel" else 0.3
    app = App(timeouts=Timeouts(drain_timeout=drain_timeout, cleanup_timeout=60))
    outcomes: list[str] = []
    release = trio.Event()

    @app.websocket("/x", when_peer_leaves=policy)
    def handler(ws: BlockingWebSocket) -> None:
        ws.send("in")
        ws.receive()
        try:
            trio.from_thread.run(release.wait)
            outcomes.append("finished")
        except trio.Cancelled:
            outcomes.append("cancelled")
            raise

    async with app.test_client() as client:
        async with client.websocket_connect("/x") as ws:
            await ws.receive()
            await ws.send("go")
            with trio.move_on_after(0.2):
                await trio.sleep_forever()
            left = trio.current_time()
        if policy == "finish":
            with trio.move_on_after(0.6):
                await trio.sleep_forever()
            release.set()
        with trio.fail_after(60):
            while not outcomes:
                await trio.sleep(0.001)
        waited = trio.current_time() - left
    assert outcomes == ["finished" if policy == "finish" else "cancelled"]
    assert policy != "drain" or waited > drain_timeout * 0.9


async def test_async_handler_that_never_reads_is_cancelled_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A handler that never reads is cancelled at once in each async shape."""
    app, waits = App(), Waits()

    @app.websocket("/x")
    async def handler(ws: WebSocket) -> None:
        await waits.here()

    async with app.test_client() as client:
        async with client.websocket_connect("/x"):
            await trio.sleep(2)
    assert waits.outcome == "cancelled: peer closed: 1000"
    assert waits.seconds == pytest.approx(2, abs=0.1)


async def test_a_blocking_handler_that_waits_for_its_peer_is_told() -> None:
    told: list[Any] = []

    def handler(ws: BlockingWebSocket) -> None:
        told.append(ws.recv())
        told.append(ws.recv())
        with pytest.raises(WebSocketDisconnect):
            ws.send("late")

    async with app_of(handler, "/x").test_client() as client:
        async with client.websocket_connect("/x"):
            pass
    assert told[0].is_close()
    assert told[1] is None
