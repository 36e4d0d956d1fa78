"""App: lifespan, nursery, state, and serving inside another Trio program."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from trio_ws import App, WebSocket, open_websocket


async def test_lifespan_surrounds_all_connections_and_has_a_nursery() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App):
        async def tick() -> None:
            try:
                await trio.sleep_forever()
            finally:
                events.append("task cancelled")

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


async def test_a_lifespan_may_be_a_bare_generator_and_may_register_routes() -> None:
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


async def test_a_lifespan_that_fails_keeps_the_application_from_serving() -> None:
    @asynccontextmanager
    async def lifespan(app: App):
        raise OSError("no database")
        yield

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="no database"), flatten_subgroups=True):
        await App(lifespan=lifespan).serve("127.0.0.1", 0)


async def test_an_application_serves_again_after_it_has_ended() -> None:
    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.send("a")

    for _ in range(2):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(app.serve, "127.0.0.1", 0)
            async with open_websocket(f"ws://127.0.0.1:{server.port}/a") as ws:
                assert await ws.receive() == "a"
            nursery.cancel_scope.cancel()


async def test_rooms_of_an_application_are_found_by_name() -> None:
    app = App()

    @app.websocket("/{name}")
    async def view(ws: WebSocket, name: str) -> None:
        async with app.room(name).join(ws) as room:
            async for message in ws:
                await room.publish(message)

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
    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.send_json(app.server.statistics().websockets)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive_json() == 1


@pytest.mark.parametrize("option", [{"workers": 4}, {"reload": True}])
def test_run_is_one_process_and_says_what_to_call_for_more(option) -> None:
    with pytest.raises(TypeError, match="`trio-ws run MODULE:APP` has --workers N and --reload"):
        App().run(port=0, **option)
