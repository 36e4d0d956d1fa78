"""docs/coming-from-websockets.md: its program runs, and the rows that no other test shows."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import trio
from support.endings import end_of, refusal_of
from support.handlers import until_cancelled

from trio_ws import (
    App,
    GuardContext,
    LocalProtocolError,
    Reject,
    WebSocket,
    WebSocketMessage,
    broadcast,
    open_websocket,
)

from .programs import program_of


async def test_the_program_of_the_page_echoes(capsys: pytest.CaptureFixture[str]) -> None:
    names = program_of("coming-from-websockets")
    with trio.fail_after(10):
        await names["main"]()
    assert capsys.readouterr().out == "Hello!\n"


async def test_path_values_are_converted_parameters() -> None:
    app, seen = App(), []

    @app.websocket("/channel/{number}")
    async def channel(ws: WebSocket, number: int) -> None:
        seen.append((ws.request.path, number))

    async with app.test_client() as client:
        async with client.websocket_connect("/channel/7") as ws:
            await ws.wait_closed()
        await refusal_of(client, "/channel/seven")
    assert seen == [("/channel/7", 7)]


def check_password(context: GuardContext) -> bool:
    wanted = base64.b64encode(b"ada:secret").decode()
    if context.request.headers.get("authorization") != f"Basic {wanted}":
        raise Reject(401, {"WWW-Authenticate": "Basic"}, b"who are you?")
    return True


async def test_a_guard_answers_before_the_handshake() -> None:
    app = App(guards=[check_password])

    @app.websocket("/")
    async def greet(ws: WebSocket) -> None:
        await ws.send("Hello!")

    async with app.test_client() as client:
        refused = await refusal_of(client, "/")
        assert (refused.status, refused.body) == (401, b"who are you?")
        token = base64.b64encode(b"ada:secret").decode()
        async with client.websocket_connect("/", headers={"Authorization": f"Basic {token}"}) as ws:
            assert await ws.receive() == "Hello!"


async def test_recv_is_another_method_and_receive_is_theirs() -> None:
    app = App()

    @app.websocket("/")
    async def send_two(ws: WebSocket) -> None:
        await ws.send("one")
        await ws.send(b"two")
        await ws.send("three")

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        assert await ws.receive() == "one"
        assert await ws.receive() == b"two"
        assert await ws.recv() == WebSocketMessage.text("three")


async def test_text_of_bytes_and_bytes_of_text_are_sent_by_name() -> None:
    """`send(data, text=True)` there is `send_text` of the decoded bytes here."""
    app = App()

    @app.websocket("/")
    async def send_both(ws: WebSocket) -> None:
        await ws.send_text(b"one".decode())
        await ws.send_bytes(b"two")
        await ws.send_stream(["th", "ree"])

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        assert [await ws.receive() for _ in range(3)] == ["one", b"two", "three"]


async def test_the_end_is_one_exception_with_code_and_side() -> None:
    app, ends = App(), []

    @app.websocket("/")
    async def wait(ws: WebSocket) -> None:
        end = await end_of(ws)
        ends.append((end.code, end.reason, ws.close_info.by))
        raise end

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.close(4000, "bye")
    assert ends == [(4000, "bye", "peer")]


async def test_a_second_close_is_an_error_and_ensure_closed_none() -> None:
    app = App()

    @app.websocket("/")
    async def close_twice(ws: WebSocket) -> None:
        await ws.close()
        with pytest.raises(LocalProtocolError):
            await ws.close()
        await ws.ensure_closed()

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        assert (await ws.wait_closed()).code == 1000


async def test_a_ping_returns_the_seconds_at_once() -> None:
    app, seen = App(), []

    @app.websocket("/")
    async def measure(ws: WebSocket) -> None:
        seen.append(await ws.ping())

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.wait_closed()
    assert isinstance(seen[0], float)


async def test_state_is_a_namespace_and_connected_the_state() -> None:
    app, seen = App(), []

    @app.websocket("/")
    async def look(ws: WebSocket) -> None:
        ws.state.seen = seen
        seen.append(ws.connected)
        await ws.close()
        ws.state.seen.append(ws.connected)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.wait_closed()
    assert seen == [True, False]


async def test_broadcast_is_awaited_and_excludes() -> None:
    app = App()

    @app.websocket("/")
    async def tell_others(ws: WebSocket) -> None:
        async for message in ws:
            others = [each for each in app.connections.active if each is not ws]
            await broadcast(others, message)

    async with app.test_client() as client:
        async with client.websocket_connect("/") as one, client.websocket_connect("/") as two:
            await one.send("from one")
            assert await two.receive() == "from one"
            await two.send("from two")
            assert await one.receive() == "from two"


async def test_a_handler_is_cancelled_when_its_peer_has_left() -> None:
    """There it goes on until its next send or receive."""
    app, ends = App(), []

    @app.websocket("/")
    async def busy(ws: WebSocket) -> None:
        await until_cancelled(lambda _: ends.append(ws.close_code))

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.close()
    assert ends == [1000]


@pytest.mark.parametrize("name", ["recv_streaming", "latency", "id", "request_headers", "closed", "close_rcvd"])
async def test_a_name_of_websockets_leads_to_ours(name: str) -> None:
    app, hints = App(), []

    @app.websocket("/")
    async def reach(ws: WebSocket) -> None:
        with pytest.raises(AttributeError) as error:
            getattr(ws, name)
        hints.append(str(error.value))

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.wait_closed()
    assert f"no attribute {name!r}: " in hints[0]


def test_a_url_that_cannot_be_is_a_value_error() -> None:
    for url in ("localhost:8000", "ftp://localhost", "ws://"):
        with pytest.raises(ValueError, match=r"WebSocket URL|host"):
            trio.run(_open, url)


async def _open(url: str) -> Any:
    async with open_websocket(url):
        pass
