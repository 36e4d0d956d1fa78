"""Plain `def` handlers: what the blocking connection offers, generators, and rooms, each from a thread."""

from __future__ import annotations

import threading
from typing import cast

import pytest
import trio
from support.handlers import app_of, app_of_listener

from trio_ws import App, BlockingWebSocket, WebSocket, WebSocketDisconnect, WebSocketException
from trio_ws.app import BlockingRoom


def chat(seen: list[object]) -> App:
    app = App()

    @app.websocket("/{user}")
    def view(ws: BlockingWebSocket, user: str) -> None:
        with ws.join(app.room("chat"), user=user) as room:
            assert type(room) is BlockingRoom
            seen.append((room.name, room.count, [member.info["user"] for member in room.members]))
            ws.send("joined")
            for message in ws:
                match message:
                    case "to all":
                        room.publish(message)
                    case "not to me":
                        room.publish(message, exclude=ws)
                    case "to nobody":
                        room.publish(message, exclude=[ws, *(member.websocket for member in room.members)])
                    case "fail":
                        raise ZeroDivisionError
        seen.append(app.room("chat").count)

    return app


async def test_connection_attributes_are_available_in_plain_function() -> None:
    """What is known of the connection is known in a plain function too."""

    def view(ws: BlockingWebSocket) -> None:
        assert (ws.accepted, ws.subprotocol, ws.close_reason) == (False, None, None)
        with ws as same:
            assert same is ws
            ws.send_json([ws.cookies, ws.client, ws.accepted, ws.subprotocol])
        assert (ws.close_code, ws.close_reason) == (1000, "")

    async with app_of(view, "/a", subprotocols=["chat"], auto_accept=False).test_client() as client:
        async with client.websocket_connect("/a", subprotocols=["chat"], cookies={"c": "1"}) as ws:
            assert await ws.receive_json() == [{"c": "1"}, None, True, "chat"]
            assert [message async for message in ws] == []


async def test_a_block_of_a_plain_function_closes_as_its_error_demands() -> None:
    app = App()

    @app.websocket("/a")
    def view(ws: BlockingWebSocket) -> None:
        with pytest.raises(WebSocketException), ws:
            raise WebSocketException(4003, "why")
        codes.append(ws.close_code)

    @app.websocket("/caught")
    def caught(ws: BlockingWebSocket) -> None:
        with ws:  # the disconnect of a client that leaves with 1000 does not leave it
            ws.receive()
        ended.set()

    codes: list[int | None] = []

    ended = threading.Event()
    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect, match="4003: why"):
            async with client.websocket_connect("/a") as ws:
                await ws.receive()
        async with client.websocket_connect("/caught"):
            pass
    assert ended.is_set()
    assert codes == [4003]


async def test_plain_generator_in_thread_may_use_the_connection() -> None:
    """A plain generator runs in a thread and may use the connection."""
    left = threading.Event()

    def count(data: int, ws: BlockingWebSocket):
        try:
            ws.send(f"from {threading.current_thread() is threading.main_thread()}")
            yield from range(data)
        finally:
            left.set()

    async with app_of_listener(count, "/a").test_client(raise_server_errors=False) as client:
        async with client.websocket_connect("/a") as ws:
            await ws.send("2")
            assert [await ws.receive() for _ in range(3)] == ["from False", "0", "1"]
        left.clear()
        async with client.websocket_connect("/a") as ws:
            await ws.send("1000000000")
            assert await ws.receive() == "from False"
        await trio.to_thread.run_sync(left.wait)  # it is closed when the client leaves


async def test_a_plain_function_joins_a_room_and_publishes() -> None:
    seen: list[object] = []
    async with chat(seen).test_client() as client, client.websocket_connect("/Ada") as ada:
        assert await ada.receive() == "joined"
        async with client.websocket_connect("/Bob") as bob:
            assert await bob.receive() == "joined"
            for message in ("to nobody", "not to me", "to all"):
                await ada.send(message)
            assert [await bob.receive(), await bob.receive()] == ["not to me", "to all"]
            assert await ada.receive() == "to all"
        while len(seen) < 3:
            await trio.sleep(0.001)
    assert seen == [("chat", 1, ["Ada"]), ("chat", 2, ["Ada", "Bob"]), 1, 0]


async def test_leaving_happens_when_the_function_fails() -> None:
    seen: list[object] = []
    app = chat(seen)
    async with app.test_client(raise_server_errors=False) as client, client.websocket_connect("/Ada") as ada:
        assert await ada.receive() == "joined"
        await ada.send("fail")
        with pytest.raises(WebSocketDisconnect, match="1011"):
            await ada.receive()
        assert app.room("chat").count == 0


async def test_leaving_happens_when_the_function_is_cancelled() -> None:
    app = App()
    left: list[int] = []
    room = app.room("chat")

    @app.websocket("/", when_peer_leaves="cancel")
    def view(ws: BlockingWebSocket) -> None:
        try:
            with ws.join(room):
                ws.send("joined")
                trio.from_thread.run(trio.sleep_forever)
        finally:
            left.append(room.count)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        assert await ws.receive() == "joined"
    assert left == [0]


def in_plain_thread(function) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


async def test_foreign_thread_may_use_the_connection_like_handler() -> None:
    """A thread that Trio has not started does what the handler's does."""
    app = App()
    seen: list[object] = []

    @app.websocket("/", auto_accept=False)
    def view(ws: BlockingWebSocket) -> None:
        def work() -> None:
            with ws, ws.join(app.room("chat"), user="Ada") as room:
                seen.append((room.count, ws.receive(), ws.receive_json()))
                ws.send("hello")
                ws.send_json([1])
                room.publish("to all")
                seen.extend(ws)

        in_plain_thread(work).join()
        seen.append((app.room("chat").count, ws.close_code))

    async with app.test_client() as client:
        async with client.websocket_connect("/") as ws:
            await ws.send("a")
            await ws.send("[2]")
            assert [await ws.receive() for _ in range(3)] == ["hello", "[1]", "to all"]
            await ws.send("b")
    assert seen == [(1, "a", [2]), "b", (0, 1000)]


class Where:
    """Stands for a connection, and says in which event loop a method of it runs."""

    async def receive(self) -> trio.lowlevel.TrioToken:
        return trio.lowlevel.current_trio_token()


async def test_a_thread_of_another_event_loop_uses_the_connections() -> None:
    """Trio has started it, but another run of Trio: the connection's tasks would wait there for ever."""
    blocking = BlockingWebSocket(cast("WebSocket", Where()))
    got: list[object] = []

    def work() -> None:
        got.append(blocking.receive())

    await trio.to_thread.run_sync(work)
    await trio.to_thread.run_sync(trio.run, trio.to_thread.run_sync, work)
    assert got == [trio.lowlevel.current_trio_token()] * 2


async def test_a_thread_that_outlives_its_handler_sees_the_end() -> None:
    kept: list[BlockingWebSocket] = []
    ended: list[object] = []
    threads: list[threading.Thread] = []

    def view(ws: BlockingWebSocket) -> None:
        def work() -> None:
            try:
                ws.receive()
            except WebSocketDisconnect as error:
                ended.append(error.code)

        kept.append(ws)
        threads.append(in_plain_thread(work))
        ws.send("hello")

    async with app_of(view).test_client() as client, client.websocket_connect("/") as ws:
        assert await ws.receive() == "hello"
        with pytest.raises(WebSocketDisconnect, match="1000"):
            await ws.receive()
    await trio.to_thread.run_sync(threads[0].join)
    assert ended == [1000]
    with pytest.raises(RuntimeError, match="call it from a thread"):
        kept[0].send("in the event loop")


def test_after_the_event_loop_a_plain_thread_has_a_clear_error() -> None:
    kept: list[BlockingWebSocket] = []

    def view(ws: BlockingWebSocket) -> None:
        kept.append(ws)

    with app_of(view).test_client() as client, client.websocket_connect("/") as ws:
        assert list(ws) == []
    with pytest.raises(trio.RunFinishedError):
        kept[0].send("too late")
