"""Rooms for plain `def` handlers: joining and publishing from a thread."""

from __future__ import annotations

import pytest
import trio

from trio_ws import App, BlockingWebSocket, WebSocketDisconnect
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
