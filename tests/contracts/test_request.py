"""What a WebSocket tells of the request that opened it, on either side."""

from __future__ import annotations

import pytest
import trio

from contracts.rig import status_of
from trio_ws import LocalProtocolError


async def test_a_handler_sees_what_the_client_asked_for(server):
    async def body(websocket):
        assert str(websocket.url) == f"{server.origin}/a%20path?one=1&two=2&two=3"
        assert websocket.url.path == "/a path"
        assert websocket.headers["x-name"] == websocket.headers["X-NAME"] == "value"
        assert websocket.headers.get_list("X-Twice") == ["1", "2"]
        with pytest.raises(TypeError):
            websocket.headers["x-name"] = "changed"
        assert websocket.query_parameters["one"] == "1"
        assert websocket.query_parameters["two"] == "3"
        with pytest.raises(TypeError):
            websocket.query_parameters["one"] = "changed"
        assert dict(websocket.path_parameters) == {}
        with pytest.raises(TypeError):
            websocket.path_parameters["one"] = "changed"
        assert websocket.cookies == {"a": "1", "b": "two"}
        assert websocket.subprotocol == "chat"
        assert websocket.request.subprotocols == ("soap", "chat")
        if server.network == "memory":
            assert websocket.client is None
        else:
            assert websocket.client[0] == "127.0.0.1"
        with pytest.raises(LocalProtocolError):
            _ = websocket.session

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, subprotocols=("chat", "wamp"))
        head, peer = await server.dial(
            "X-Name: value",
            "X-Twice: 1",
            "X-Twice: 2",
            "Cookie: a=1; b=two",
            "Sec-WebSocket-Protocol: soap, chat",
            target="/a%20path?one=1&two=2&two=3",
        )
        assert status_of(head) == 101
        assert b"sec-websocket-protocol: chat" in head.lower()
        assert await peer.rest() == [("close", (1000, ""))]
        await server.all_gone()
        nursery.cancel_scope.cancel()
    assert server.error is None


async def test_no_common_subprotocol_selects_none_and_opens(server):
    """Without a common subprotocol there is none and the connection opens."""

    async def body(websocket):
        assert websocket.subprotocol is None

    async with trio.open_nursery() as nursery:
        await server.serve(nursery, body, subprotocols=("wamp",))
        head, peer = await server.dial("Sec-WebSocket-Protocol: soap")
        assert b"sec-websocket-protocol" not in head.lower()
        assert await peer.rest() == [("close", (1000, ""))]
        await server.all_gone()
        nursery.cancel_scope.cancel()
    assert server.error is None


async def test_a_client_sees_what_it_asked_for(client):
    async def body(websocket):
        assert str(websocket.url) == f"{client.origin}/"
        assert websocket.headers["x-name"] == "value"
        assert websocket.cookies == {"a": "1"}
        assert websocket.subprotocol is None
        assert websocket.accepted

    assert await client.run(body, headers={"X-Name": "value"}, cookies={"a": "1"}) == [("close", (1000, ""))]
    assert client.error is None
