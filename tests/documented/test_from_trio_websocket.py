"""docs/coming-from-trio-websocket.md: the second step, to this library's own names."""

from __future__ import annotations

import pytest
import trio
from support.endings import end_of, refusal_of

from trio_ws import App, WebSocket

from .programs import program_of


async def test_the_program_of_the_page_echoes(capsys: pytest.CaptureFixture[str]) -> None:
    names = program_of("coming-from-trio-websocket", 2)
    with trio.fail_after(10):
        await names["main"]()
    assert capsys.readouterr().out == "Hello!\n"


async def test_a_handler_accepts_or_rejects_by_hand() -> None:
    app = App()

    @app.websocket("/{answer}", auto_accept=False)
    async def answer_by_hand(ws: WebSocket, answer: str) -> None:
        if answer == "no":
            await ws.reject(401, headers=[("X-Why", "token")], body=b"no")
        await ws.accept("chat", headers=[("X-Why", "welcome")])
        await ws.receive()

    async with app.test_client() as client:
        refused = await refusal_of(client, "/no")
        assert (refused.status, refused.headers["x-why"], refused.body) == (401, "token", b"no")
        async with client.websocket_connect("/yes", subprotocols=["chat"]) as ws:
            assert (ws.subprotocol, ws.response_headers["x-why"]) == ("chat", "welcome")


async def test_the_end_has_code_reason_and_side() -> None:
    app, seen = App(), []

    @app.websocket("/")
    async def wait(ws: WebSocket) -> None:
        seen.append(ws.close_info)
        end = await end_of(ws)
        seen.extend([end.code, end.reason, str(ws.close_info)])

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.close(4000, "bye")
    assert seen[:3] == [None, 4000, "bye"]
    assert "4000" in seen[3]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("get_message", "receive()"),
        ("send_message", "send(message)"),
        ("closed", "close_info"),
        ("remote", "remote_address"),
        ("handshake_headers", "response_headers"),
        ("is_server", "response_headers"),
    ],
)
async def test_a_name_of_trio_websocket_leads_to_ours(name: str, ours: str) -> None:
    app, hints = App(), []

    @app.websocket("/")
    async def reach(ws: WebSocket) -> None:
        with pytest.raises(AttributeError) as error:
            getattr(ws, name)
        hints.append(str(error.value))

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.wait_closed()
    assert ours in hints[0]
