"""Guards of rooms: who may join, on every way in."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
import trio
from support.endings import status_of
from trio.testing import wait_all_tasks_blocked

from trio_ws import (
    App,
    Depends,
    Header,
    NotFound,
    Reject,
    Room,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from trio_ws.app import GuardContext, RegistrationError, RoomForbidden
from trio_ws.errors import LocalProtocolError

ADA = {"Authorization": "Ada"}


def joining(app: App, **options: Any) -> None:
    @app.listener("/a", **options)
    async def receive(ws: WebSocket, name: str) -> str:
        return (await ws.join(name)).name


async def test_a_guard_is_asked_once_for_each_stay() -> None:
    app, asked = App(), []

    @app.room_guard("board:*")
    async def may_join(ws: WebSocket, room: Room, authorization: str = Header()) -> bool:
        asked.append((room.name, authorization, ws.accepted))
        return room.name != "board:3"

    joining(app, rooms=["board:1"])
    async with app.test_client() as client, client.websocket_connect("/a", headers=ADA) as ws:
        for name in ("board:1", "board:2", "board:2", "lobby", "board:3"):
            await ws.send_json(name)
        replies = [await ws.receive_json() for _ in range(5)]
    assert replies[:4] == ["board:1", "board:2", "board:2", "lobby"]
    assert replies[4] == {"statusCode": 403, "body": {"room": "board:3"}}
    assert asked == [("board:1", "Ada", False), ("board:2", "Ada", True), ("board:3", "Ada", True)]


@pytest.mark.parametrize(
    ("answer", "status"), [(False, 403), (NotFound(), 404), (Reject(410), 410), (None, 500), (1, 500)]
)
async def test_rooms_of_a_route_are_asked_for_before_the_answer(answer: Any, status: int) -> None:
    app, lobby = App(), []

    @app.room_guard("secret")
    def may_join(room: Room) -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    app.room_options("lobby", on_join=lambda member, count: lobby.append(count))
    joining(app, rooms=["lobby", "secret"])
    async with app.test_client(raise_server_errors=False) as client:
        assert (await status_of(client, "/a"), lobby, app.room("secret").count) == (status, [], 0)


@pytest.mark.parametrize(
    ("answer", "code"), [(False, 1008), (WebSocketException(4403), 4403), (None, 1011), (KeyError(), 1011)]
)
async def test_a_refusal_in_a_view_closes(answer: Any, code: int) -> None:
    app = App()

    @app.room_guard("*")
    async def may_join(room: Room) -> bool:
        if isinstance(answer, Exception):
            raise answer
        return answer

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        async with app.room("r").join(ws):
            pytest.fail("joined")

    async with app.test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect) as end:
            async with client.websocket_connect("/a") as ws:
                await ws.receive()
    assert (end.value.code, app.room("r").count) == (code, 0)


async def test_a_refusal_is_an_error_that_can_be_caught() -> None:
    app = App()

    @app.room_guard("*")
    async def may_join(room: Room) -> bool:
        return False

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(RoomForbidden) as refused:
            await ws.join("r")
        assert pickle.loads(pickle.dumps(refused.value)) == refused.value
        await ws.send_json(refused.value.body)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive_json() == {"room": "r"}


async def test_all_guards_that_fit_are_asked_in_order() -> None:
    app, guest, asked = App(), App(), []

    def guard(name: str, *, answer: bool) -> Any:
        async def may_join(room: Room) -> bool:
            asked.append(name)
            return answer

        return may_join

    app.room_guard("*")(guard("host", answer=True))
    app.room_guard("board:*")(guard("second", answer=False))
    app.room_guard("board:*")(guard("third", answer=True))
    guest.room_guard("board:*")(guard("guest", answer=True))
    joining(guest)
    app.include(guest)
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json("board:1")
        assert (await ws.receive_json())["statusCode"] == 403
    assert asked == ["guest", "host", "second"]


async def test_a_guard_has_the_connections_dependencies() -> None:
    """Values are shared; a context that only the guard depends on is left at once."""
    app, notes = App(), []

    async def user(authorization: str = Header()) -> str:
        notes.append("user")
        return authorization

    async def database(room: Room) -> AsyncIterator[str]:
        notes.append(f"open for {room.name}")
        yield "db"
        notes.append("left")

    @app.room_guard("*")
    async def may_join(
        room: Room,
        user: Annotated[str, Depends(user)],
        db: Annotated[str, Depends(database)],
        context: GuardContext,
    ) -> bool:
        notes.append((user, db, context.route.name))
        return True

    @app.listener("/a", guards=[Depends(user)])
    async def receive(ws: WebSocket, name: str) -> str:
        return (await ws.join(name)).name

    async with app.test_client() as client, client.websocket_connect("/a", headers=ADA) as ws:
        for name in ("x", "y"):
            await ws.send_json(name)
            assert await ws.receive_json() == name
    asked = ("Ada", "db", "receive")
    assert notes == ["user", "open for x", asked, "left", "open for y", asked, "left"]


async def test_joins_of_several_tasks_have_their_own_rooms() -> None:
    app, asked = App(), []

    async def slow(room: Room) -> str:
        await wait_all_tasks_blocked()
        return room.name

    @app.room_guard("*")
    async def may_join(room: Room, name: Annotated[str, Depends(slow)]) -> bool:
        asked.append(room.name == name)
        return True

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(ws.join, name)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.wait_closed()
    assert asked == [True] * 3


def test_guards_that_cannot_be_are_refused() -> None:
    app = App()

    async def yields(room: Room) -> AsyncIterator[bool]:
        yield True

    for wrong in (yields, lambda what, room, that: True, 5):
        with pytest.raises((RegistrationError, TypeError)):
            app.room_guard("*")(wrong)
    with pytest.raises(TypeError):
        app.room_guard(5)(lambda room: True)  # type: ignore[arg-type]
    held = app.room("lobby")
    with pytest.raises(LocalProtocolError, match="too late for room 'lobby'"):
        app.room_guard("l*")(lambda room: True)
    assert held.count == 0
