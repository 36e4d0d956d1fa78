"""docs/coming-from-phoenix.md: its program runs, and the rows that no other test shows."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from support.endings import code_of, status_of

from trio_ws import App, ConnectionRejected, Credentials, GuardContext, Member, WebSocket

from .programs import program_of


async def test_the_program_of_the_page_answers(capsys: pytest.CaptureFixture[str]) -> None:
    names = program_of("coming-from-phoenix")
    with trio.fail_after(10):
        await names["main"]()
    assert capsys.readouterr().out == "{'ref': 1, 'status': 'ok', 'users': ['Ada']}\n"
    async with names["app"].test_client() as client:
        async with (
            client.websocket_connect("/room/lobby?user=Ada") as ada,
            client.websocket_connect("/room/lobby?user=Bob") as bob,
        ):
            await bob.send_json({"event": "who", "ref": 1})
            assert (await bob.receive_json())["users"] == ["Ada", "Bob"]
            await ada.send_json({"event": "new_msg", "body": "hi", "ref": 2})
            assert await ada.receive_json() == {"ref": 2, "status": "ok"}
            assert await bob.receive_json() == {"event": "new_msg", "user": "Ada", "body": "hi"}


async def test_a_guard_is_connect_and_join() -> None:
    def connect(context: GuardContext) -> bool:
        context.state.user = context.request.query_params.get("user")
        return context.state.user is not None

    def join(context: GuardContext, topic: str) -> bool:
        return topic in ("lobby", context.state.user)

    app = App(guards=[connect])

    @app.websocket("/room/{topic}", guards=[join])
    async def room_channel(ws: WebSocket, topic: str) -> None:
        await ws.send(f"{ws.state.user} in {topic}")

    async with app.test_client() as client:
        for path in ("/room/Bob?user=Ada", "/room/lobby"):
            assert await status_of(client, path) == 403
        async with client.websocket_connect("/room/Ada?user=Ada") as ws:
            assert await ws.receive() == "Ada in Ada"


async def test_a_task_of_the_connection_pushes_later(autojump_clock: trio.testing.MockClock) -> None:
    app = App()

    @app.websocket("/")
    async def remind(ws: WebSocket) -> None:
        async def later() -> None:
            await trio.sleep(60)
            await ws.send("a minute is over")

        ws.nursery.start_soon(later)
        await ws.receive()

    async with app.test_client(timeout=100) as client, client.websocket_connect("/") as ws:
        assert await ws.receive() == "a minute is over"


async def test_all_connections_of_a_user_are_ended() -> None:
    app = App()

    async def signed_in(context: GuardContext) -> Credentials:
        return Credentials(int(context.request.headers["user"]))

    @app.websocket("/", guards=[signed_in])
    async def stay(ws: WebSocket) -> None:
        await ws.send(await ws.receive())

    async with app.test_client() as client:
        connect = partial(client.websocket_connect, "/")
        seven, eight = {"user": "7"}, {"user": "8"}
        async with connect(headers=seven) as one, connect(headers=seven) as two, connect(headers=eight) as other:
            await app.revoke(7)
            for ws in (one, two):
                assert await code_of(ws) == 4401
            await other.send("still there")
            assert await other.receive() == "still there"


async def test_joins_and_leaves_are_published_by_callbacks() -> None:
    app = App()
    lobby = app.room("lobby")

    @lobby.on_join
    async def joined(member: Member, count: int) -> None:
        await lobby.publish({"joined": member.info["user"]})

    @lobby.on_leave
    async def left(member: Member, count: int) -> None:
        await lobby.publish({"left": member.info["user"]})

    @app.websocket("/{user}")
    async def stay(ws: WebSocket, user: str) -> None:
        async with lobby.join(ws, user=user):
            await ws.receive()

    async with app.test_client() as client, client.websocket_connect("/Ada") as ada:
        assert await ada.receive_json() == {"joined": "Ada"}
        async with client.websocket_connect("/Bob") as bob:
            assert await ada.receive_json() == {"joined": "Bob"}
            await bob.close()
        assert await ada.receive_json() == {"left": "Bob"}


async def test_a_client_of_phoenix_is_refused() -> None:
    app = program_of("coming-from-phoenix")["app"]
    async with app.test_client() as client:
        with pytest.raises(ConnectionRejected, match="no route"):
            async with client.websocket_connect("/socket/websocket?vsn=2.0.0"):
                pass
