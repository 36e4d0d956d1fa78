"""Connections that live in rooms: `rooms=` of routes, `join` and `leave`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import trio
from support.endings import status_of
from trio.testing import wait_all_tasks_blocked

from trio_ws import (
    App,
    BlockingWebSocket,
    Controller,
    Depends,
    Forbidden,
    Header,
    Room,
    WebSocket,
    open_websocket,
    serve_websocket,
)
from trio_ws.app import RegistrationError, listener
from trio_ws.errors import LocalProtocolError
from trio_ws.rooms import Membership
from trio_ws.testing import MemoryNetwork


def ignoring(app: App, path: str, **options: Any) -> Any:
    @app.listener(path, **options)
    async def receive(data: Any) -> None: ...

    return receive


async def yields() -> AsyncIterator[str]:
    yield "r"


# --- rooms= ------------------------------------------------------------------------------------------------------


async def test_rooms_are_joined_before_on_connect() -> None:
    app, notes = App(), []

    def count() -> int:
        return app.room("board:4").count

    async def context() -> AsyncIterator[None]:
        notes.append(("entered", count()))
        yield
        notes.append(("context left", count()))

    receive = ignoring(app, "/board/{number:int}", rooms=["board:{number}"])

    @receive.on_connect
    async def connect(it: Annotated[None, Depends(context)]) -> None:
        notes.append(("connected", count()))

    @receive.on_disconnect
    async def leave(number: int) -> None:
        notes.append(("disconnected", count()))

    async with app.test_client() as client, client.websocket_connect("/board/4"):
        pass
    assert notes == [("entered", 0), ("connected", 1), ("context left", 0), ("disconnected", 0)]


@pytest.mark.parametrize("way", ["abrupt", "error", "shutdown", "close", "cancel"])
async def test_rooms_are_left_on_every_way_out(way: str) -> None:
    app = App()
    lobby = app.room("lobby")
    left = trio.Event()

    @lobby.on_leave
    def leave(member: object, count: int) -> None:
        left.set()

    @app.listener("/a", rooms=[lobby])
    async def receive(ws: WebSocket, data: Any) -> None:
        if way == "error":
            raise KeyError
        if way == "close":
            await ws.close(4000)
        if way == "cancel":
            ws.nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    async with app.test_client(raise_server_errors=False) as client, client.raw("/a") as peer:
        await wait_all_tasks_blocked()
        assert lobby.count == 1
        if way == "abrupt":
            await peer.reset()
        elif way == "shutdown":
            client.server.shutdown(grace=0)
        else:
            await peer.message("1")
        if way == "close":
            await peer.receive_close()
        with trio.fail_after(5):
            await left.wait()
        assert lobby.count == 0


async def test_the_history_comes_before_the_greeting() -> None:
    app = App()
    app.room_options("r", history=5)
    receive = ignoring(app, "/a", rooms=["r"])

    @receive.on_connect
    async def greet(ws: WebSocket) -> None:
        await ws.send("welcome")

    async with app.test_client() as client, client.websocket_connect("/a") as first:
        assert await first.receive() == "welcome"
        await app.room("r").publish("earlier")
        async with client.websocket_connect("/a") as second:
            assert [await second.receive(), await second.receive()] == ["earlier", "welcome"]


async def test_rooms_are_joined_after_an_answer_of_on_connect() -> None:
    app, counts = App(), []
    receive = ignoring(app, "/a", rooms=["r"], auto_accept=False)

    @receive.on_connect
    async def connect(ws: WebSocket) -> None:
        counts.append(app.room("r").count)

    async with app.test_client() as client, client.websocket_connect("/a"):
        await wait_all_tasks_blocked()
        counts.append(app.room("r").count)
    assert counts == [0, 1]


@pytest.mark.parametrize(
    ("returned", "names"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"]), (iter(["c"]), ["c"]), ((), [])]
)
async def test_a_function_returns_rooms(returned: Any, names: list[str]) -> None:
    app = App()

    async def rooms_of() -> Any:
        return returned

    ignoring(app, "/a", rooms=[rooms_of])
    async with app.test_client() as client, client.websocket_connect("/a"):
        await wait_all_tasks_blocked()
        assert [room.name for room in app.services.rooms] == names


async def test_a_function_returns_rooms_and_memberships() -> None:
    app = App()

    def rooms_of(ws: WebSocket, user: str, board: int) -> list[Room | Membership]:
        return [app.room("lobby"), app.room(f"board:{board}").join(ws, user=user)]

    @app.websocket("/b/{board:int}", rooms=[rooms_of])
    async def view(ws: WebSocket) -> None:
        await ws.wait_closed()

    async with app.test_client() as client, client.websocket_connect("/b/4?user=Ada"):
        await wait_all_tasks_blocked()
        assert app.room("lobby").count == 1
        assert [dict(member.info) for member in app.room("board:4").members] == [{"user": "Ada"}]


async def test_a_function_refuses_before_the_answer() -> None:
    app = App()

    async def rooms_of(authorization: str = Header(default="")) -> str:
        if not authorization:
            raise Forbidden
        return "r"

    ignoring(app, "/a", rooms=[rooms_of])
    assert await status_of(app, "/a") == 403


async def test_a_name_that_no_room_can_have_is_a_bad_request() -> None:
    app = App()
    ignoring(app, "/a/{name}", rooms=["x" * 8000 + "{name}"])
    assert await status_of(app, "/a/" + "y" * 500) == 400


async def test_controllers_have_rooms() -> None:
    app = App()

    @app.controller("/c")
    class Boards(Controller):
        @listener("/{board}", rooms=["board:{board}"])
        async def receive(self, data: str) -> None:
            await self.websocket.join("extra")
            await app.room("extra").publish(data)

    async with app.test_client() as client, client.websocket_connect("/c/4") as ws:
        await app.room("board:4").publish("hello")
        assert await ws.receive() == "hello"
        await ws.send_json("mine")
        assert await ws.receive() == "mine"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"rooms": "board"}, TypeError, "takes a list"),
        ({"rooms": [5]}, TypeError, "names, rooms and functions"),
        ({"rooms": {"a": "b"}}, TypeError, "takes a list"),
        ({"rooms": ["board:{other}"]}, RegistrationError, r"has \{number\}"),
        ({"rooms": ["board:{"]}, RegistrationError, "of the path"),
        ({"rooms": ["{number.real}"]}, RegistrationError, "of the path"),
        ({"rooms": [lambda what, this: None]}, RegistrationError, "nothing provides it"),
        ({"rooms": [yields]}, RegistrationError, "yields: return a list"),
    ],
)
def test_rooms_that_cannot_be_are_refused(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ignoring(App(), "/a/{number:int}", **options)


def test_a_view_that_accepts_by_itself_has_no_rooms() -> None:
    with pytest.raises(RegistrationError, match=r"await ws.join\(room\)"):

        @App().websocket("/a", rooms=["r"], auto_accept=False)
        async def view(ws: WebSocket) -> None: ...


# --- join and leave ----------------------------------------------------------------------------------------------


async def test_join_lasts_until_the_handler_has_ended() -> None:
    app, seen = App(), []
    lobby = app.room("lobby")

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        assert await ws.join(lobby, user="Ada") is lobby
        assert await ws.join("lobby") is lobby
        joining = app.room("other").join(ws, since="unknown")
        assert (await ws.join(joining)).name == "other"
        seen.append((joining.recovered, lobby.count, lobby.members[0].info["user"]))
        with pytest.raises(ValueError, match="is in"):
            await ws.join(lobby, user="Eve")
        await ws.leave("other")
        await ws.leave("other")
        await ws.leave("never")
        seen.append((app.room("other").count, lobby.count))
        with pytest.raises(TypeError, match="join"):
            await ws.join(5)  # type: ignore[call-overload]
        with pytest.raises(ValueError, match="surrogate"):
            await ws.join("\ud83d")
        for more in ({"since": "1"}, {"user": "Ada"}):
            with pytest.raises(TypeError, match="without more arguments"):
                await ws.join(app.room("other").join(ws), **more)  # type: ignore[call-overload]

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.wait_closed()
    assert (seen, lobby.count) == ([(False, 1, "Ada"), (0, 1)], 0)


async def test_a_block_within_does_not_end_the_stay() -> None:
    app, counts = App(), []

    @app.websocket("/a", rooms=["r"])
    async def view(ws: WebSocket) -> None:
        room = app.room("r")
        async with room.join(ws):
            await ws.leave(room)
            counts.append(room.count)
        counts.append(room.count)
        await ws.join(room)
        async with room.join(ws):
            counts.append(room.count)
        counts.append(room.count)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.wait_closed()
    assert counts == [1, 0, 1, 1]


async def test_tasks_that_join_at_once_make_one_stay() -> None:
    app, counts = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        room = app.room("r")
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ws.join, room)
        counts.append(room.count)
        await ws.leave(room)
        counts.append(room.count)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.wait_closed()
    assert counts == [1, 0]


async def test_nothing_joins_after_the_handler_has_ended() -> None:
    app, errors = App(), []
    receive = ignoring(app, "/a")

    @receive.on_disconnect
    async def leave(ws: WebSocket) -> None:
        with pytest.raises(LocalProtocolError, match="ended") as refused:
            await ws.join("r")
        errors.append(refused)

    async with app.test_client() as client, client.websocket_connect("/a"):
        pass
    assert (len(errors), app.room("r").count) == (1, 0)


async def test_join_needs_an_application() -> None:
    network, errors = MemoryNetwork(), []

    async def handler(ws: WebSocket) -> None:
        for call in (ws.join, ws.leave):
            with pytest.raises(LocalProtocolError, match="needs an App"):
                await call("r")
            errors.append(call)

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_websocket(
                handler, None, None, listeners=[network.listen()], task_status=task_status
            )
        )
        async with open_websocket("ws://testserver/", stream=await network.connect()) as ws:
            await ws.wait_closed()
        nursery.cancel_scope.cancel()
    assert len(errors) == 2


@pytest.mark.parametrize("block", [True, False])
async def test_plain_functions_join_for_a_block_or_for_the_connection(block: bool) -> None:
    app, counts = App(), []

    @app.websocket("/a")
    def view(ws: BlockingWebSocket) -> None:
        room = app.room("r")
        if block:
            with ws.join(room, user="Ada") as joined:
                with ws.join("r"):
                    pass
                counts.append((joined.count, joined.total()))
        else:
            joined = ws.join("r")
            joined.publish("said")
            assert ws.join("r").count == 1
        counts.append(room.count)
        ws.leave(room)
        counts.append(room.count)
        ws.join(room)
        counts.append(room.count)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.wait_closed()
    assert counts == ([(1, 1), 0, 0, 1] if block else [1, 0, 1])
    assert app.room("r").count == 0


async def test_a_function_of_rooms_returns_rooms_or_their_names() -> None:
    app = App()
    ignoring(app, "/a", rooms=[lambda: 7])
    with pytest.raises(TypeError, match="returned 7, which is neither a room nor its name"):
        async with app.test_client() as client:
            await status_of(client, "/a")
