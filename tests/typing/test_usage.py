"""What the type checkers have seen in this folder also runs. It is checked by them too: it is how users write tests."""
# pyright: strict

from typing import assert_type

import pytest
import trio
from typed_application import app, say, serve
from typed_endpoints import exchange, follow, run_server

from trio_ws import ConnectionRejected, WebSocket, WebSocketDisconnect
from trio_ws.testing import TestClient, TestResponse


async def test_a_client_of_a_plain_server(nursery: trio.Nursery) -> None:
    server = await run_server(nursery)
    assert await exchange(server.urls[0]) == [1]


async def test_client_reconnects_until_server_has_sent_everything(nursery: trio.Nursery) -> None:
    """A client that reconnects until the server has said everything."""
    server = await serve(nursery)
    send, receive = trio.open_memory_channel[str](10)
    async with send:
        await follow(f"{server.urls[0]}/hello/2?name=Ann", send)
    assert [greeting async for greeting in receive] == ["hello Ann (en, 1)"] * 2


async def test_views_and_rooms() -> None:
    async with app.test_client(timeout=3) as client:
        assert_type(client, TestClient)
        async with client.websocket_connect("/rooms/lobby", receive_type="json", cookies={"a": "b"}) as ws:
            assert_type(ws, WebSocket)
            assert await ws.receive() == ["Ann"]
            assert_type(ws.close_code, int | None)
        with pytest.raises(ConnectionRejected) as rejected:
            async with client.websocket_connect("/hello/1?name=mallory"):
                pass
        assert rejected.value.status == 403
        page = await client.get("/about")
        assert_type(page, TestResponse)
        assert page.status == 200


async def test_a_close_by_the_server() -> None:
    async with app.test_client() as client:
        with pytest.raises(WebSocketDisconnect, match="enough"):
            async with client.websocket_connect("/session") as ws:
                await ws.receive()


def test_listeners_and_controllers_in_plain_tests() -> None:
    with app.test_client() as client:
        with client.websocket_connect("/say?name=Ann") as ws:
            assert ws.receive_text() == "welcome"
            ws.send_json({"text": "hi", "times": 2})
            assert ws.receive_json() == ["Ann: hi", "Ann: hi"]
        with client.websocket_connect("/api/counter/add", headers={"X-Token": "t"}) as ws:
            ws.send_json(5)
            assert ws.receive_json() == 5
        with client.websocket_connect("/plain") as ws:
            ws.send("loud")
            assert ws.receive() == "LOUD"


def test_a_listener_can_be_called_by_itself() -> None:
    assert callable(say)
    assert say.__name__ == "say"
