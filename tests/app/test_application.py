"""App: lifespan, nursery, state, and serving inside another Trio program."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from support.handlers import app_of, noted_when_cancelled

from trio_ws import App, WebSocket, open_websocket
from trio_ws.runtime.background import open_background


async def test_lifespan_surrounds_all_connections_and_has_a_nursery() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App):
        async def tick() -> None:
            await noted_when_cancelled(events, "task cancelled")

        app.nursery.start_soon(tick)
        app.state.greeting = "hello"
        events.append("enter")
        yield
        events.append("leave")

    app = App(lifespan=lifespan)

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        events.append("connection")
        await ws.send(app.state.greeting)

    async with trio.open_nursery() as nursery:
        server = await nursery.start(app.serve, "127.0.0.1", 0)
        async with open_websocket(f"ws://127.0.0.1:{server.port}/a") as ws:
            assert await ws.receive() == "hello"
        server.shutdown()
    assert events == ["enter", "connection", "leave", "task cancelled"]
    with pytest.raises(RuntimeError, match="nursery"):
        _ = app.nursery
    with pytest.raises(RuntimeError, match="does not run"):
        _ = app.limiter


async def test_bare_generator_lifespan_may_register_routes() -> None:
    """A lifespan may be a bare generator and may register routes."""
    events: list[str] = []

    async def lifespan(app: App):
        @app.websocket("/a")
        async def view(ws: WebSocket) -> None:
            await ws.send("here")

        yield
        events.append("left")

    app = App(lifespan=lifespan)
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive() == "here"
    assert events == ["left"]


async def test_an_application_runs_once_at_a_time() -> None:
    app = App()
    async with app.lifespan_context():
        with pytest.raises(RuntimeError, match="runs already"):
            async with app.lifespan_context():
                pass
    async with app.lifespan_context():
        pass


async def test_failing_lifespan_keeps_application_from_serving() -> None:
    """A lifespan that fails keeps the application from serving."""

    @asynccontextmanager
    async def lifespan(app: App):
        raise OSError("no database")
        yield

    with pytest.raises(OSError, match="no database"):
        await App(lifespan=lifespan).serve("127.0.0.1", 0)


@pytest.mark.parametrize("raise_server_errors", [True, False])
@pytest.mark.parametrize("stage", ["startup", "shutdown"])
async def test_a_lifespan_error_reaches_the_test_as_it_is(stage: str, raise_server_errors: bool) -> None:
    """It is no error of a handler, so `raise_server_errors` is not about it; and it comes in no group of ours."""

    @asynccontextmanager
    async def lifespan(app: App):
        if stage == "startup":
            raise OSError("no database")
        yield
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"):
        async with App(lifespan=lifespan).test_client(raise_server_errors=raise_server_errors):
            pass


@pytest.mark.parametrize("raise_server_errors", [True, False])
def test_a_lifespan_error_reaches_a_plain_test_as_it_is(raise_server_errors: bool) -> None:
    @asynccontextmanager
    async def lifespan(app: App):
        raise OSError("no database")
        yield

    with pytest.raises(OSError, match="no database"):
        with App(lifespan=lifespan).test_client(raise_server_errors=raise_server_errors):
            pytest.fail("the block runs")


async def test_errors_of_a_block_and_of_its_background_come_together() -> None:
    async def fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("task")

    with pytest.RaisesGroup(ValueError, KeyError):
        async with open_background() as nursery:
            nursery.start_soon(fail)
            await trio.testing.wait_all_tasks_blocked()
            raise ValueError("block")
    with pytest.RaisesGroup(KeyError):
        async with open_background() as nursery:
            nursery.start_soon(fail)
            await trio.testing.wait_all_tasks_blocked()
    with trio.move_on_after(0):
        async with open_background():
            await trio.sleep_forever()


async def test_an_application_serves_again_after_it_has_ended() -> None:
    async def view(ws: WebSocket) -> None:
        await ws.send("a")

    app = app_of(view, "/a")
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(app.serve, "127.0.0.1", 0)
            async with open_websocket(f"ws://127.0.0.1:{server.port}/a") as ws:
                assert await ws.receive() == "a"
            nursery.cancel_scope.cancel()


async def test_rooms_of_an_application_are_found_by_name() -> None:
    async def view(ws: WebSocket, name: str) -> None:
        async with app.room(name).join(ws) as room:
            async for message in ws:
                await room.publish(message)

    app = app_of(view, "/{name}")
    async with (
        app.test_client() as client,
        client.websocket_connect("/a") as one,
        client.websocket_connect("/a") as two,
        client.websocket_connect("/b") as other,
    ):
        await one.send("x")
        assert await one.receive() == await two.receive() == "x"
        await other.send("y")
        assert await other.receive() == "y"


async def test_the_server_is_known_under_the_test_client_too() -> None:
    async def view(ws: WebSocket) -> None:
        await ws.send_json(app.server.statistics().websockets)

    app = app_of(view, "/a")
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive_json() == 1


@pytest.mark.parametrize("option", [{"workers": 4}, {"reload": True}])
def test_run_is_one_process_and_says_what_to_call_for_more(option) -> None:
    with pytest.raises(TypeError, match="`trio-ws run MODULE:APP` has --workers N and --reload"):
        App().run(port=0, **option)
