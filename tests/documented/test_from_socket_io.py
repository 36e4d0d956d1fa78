"""docs/coming-from-socket-io.md: its program runs, and the rows that no other test shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
import trio

from trio_ws import App, CloseInfo, GuardContext, Query, WebSocket, WebSocketDisconnect

from .programs import program_of


async def test_the_program_of_the_page_acknowledges(capsys: pytest.CaptureFixture[str]) -> None:
    names = program_of("coming-from-socket-io")
    with trio.fail_after(10):
        await names["main"]()
    assert capsys.readouterr().out == "{'ack': 1, 'members': 1}\n"
    async with names["app"].test_client() as client:
        async with client.websocket_connect("/chat/tea") as one, client.websocket_connect("/chat/tea") as two:
            await one.send_json({"event": "say", "text": "hi", "ref": 7})
            assert await one.receive_json() == {"ack": 7, "members": 2}
            assert await two.receive_json() == {"event": "said", "text": "hi"}
            await two.send_json({"event": "sing"})
            assert await two.receive_json() == {"event": "error", "text": "unknown event"}


async def test_a_room_for_each_user_carries_private_messages() -> None:
    app = App()

    @app.websocket("/{user}", value_type="json")
    async def private(ws: WebSocket, user: str) -> None:
        async with app.room(f"user:{user}").join(ws):
            async for message in ws:
                await app.room(f"user:{message['to']}").publish({"from": user, "text": message["text"]})

    async with app.test_client() as client:
        async with (
            client.websocket_connect("/Ada") as ada,
            client.websocket_connect("/Bob") as bob,
            client.websocket_connect("/Bob") as window,
        ):
            await ada.send_json({"to": "Bob", "text": "hi"})
            assert await bob.receive_json() == await window.receive_json() == {"from": "Ada", "text": "hi"}


async def test_members_of_a_room_can_be_disconnected() -> None:
    app = App()
    tea = app.room("tea")

    @app.websocket("/")
    async def stay(ws: WebSocket) -> None:
        async with tea.join(ws):
            await ws.receive()

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        while not tea.count:
            await trio.sleep(0.001)
        for member in tea.members:
            await member.websocket.close(4000, "closing time")
        assert await ws.wait_closed() == CloseInfo(4000, "closing time", "peer")


@pytest.mark.parametrize(
    ("name", "hint"), [("rooms", "join"), ("enter_room", "ws.join"), ("emit", "send_json"), ("sid", "number")]
)
async def test_names_of_socket_io_lead_to_ours(name: str, hint: str) -> None:
    app, hints, numbers = App(), [], []

    @app.websocket("/")
    async def reach(ws: WebSocket) -> None:
        numbers.append(ws.number)
        with pytest.raises(AttributeError) as error:
            getattr(ws, name)
        hints.append(str(error.value))

    async with app.test_client() as client:
        for _ in range(2):
            async with client.websocket_connect("/") as ws:
                await ws.wait_closed()
    assert hint in hints[0]
    assert numbers[0] != numbers[1]


async def test_an_application_without_a_server_publishes() -> None:
    app, got = App(), []

    @app.websocket("/")
    async def stay(ws: WebSocket) -> None:
        raise AssertionError("there is no server")

    async with app.lifespan_context():
        got.append(await app.room("tea").publish("nobody is here"))
    assert isinstance(got[0], str)


@dataclass
class Say:
    event: Literal["say"]
    text: str


@dataclass
class Count:
    event: Literal["count"]


async def test_a_listener_takes_a_union_of_events() -> None:
    app = App()

    @app.listener("/")
    async def events(message: Say | Count) -> Any:
        return {"said": message.text} if isinstance(message, Say) else 7

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        await ws.send_json({"event": "say", "text": "hi"})
        await ws.send_json({"event": "count"})
        await ws.send_json({"event": "sing"})
        assert await ws.receive_json() == {"said": "hi"}
        assert await ws.receive_json() == 7
        assert (await ws.receive_json())["statusCode"] == 400


async def test_a_server_waits_for_an_acknowledgement() -> None:
    app, acknowledged = App(), []

    @app.websocket("/", value_type="json")
    async def ask(ws: WebSocket) -> None:
        await ws.send({"event": "ready?", "ref": 1})
        with trio.move_on_after(5) as waiting:
            async for message in ws:
                if message == {"ack": 1}:
                    break
        acknowledged.append(not waiting.cancelled_caught)

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        question = await ws.receive_json()
        await ws.send_json({"event": "something else"})
        await ws.send_json({"ack": question["ref"]})
        await ws.wait_closed()
    assert acknowledged == [True]


async def test_an_offer_is_dropped_when_the_outbox_is_full() -> None:
    app, offers = App(), []

    @app.websocket("/")
    async def flood(ws: WebSocket) -> None:
        offers.extend(ws.offer(bytes(60_000)) for _ in range(100))

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        got = [message async for message in ws]
    assert True in offers
    assert False in offers
    assert len(got) == offers.count(True)


async def test_a_namespace_is_a_route() -> None:
    app = App()

    @app.websocket("/")
    async def everyone(ws: WebSocket) -> None:
        await ws.send("everyone")

    @app.websocket("/admin")
    async def admin(ws: WebSocket) -> None:
        await ws.send("admin")

    async with app.test_client() as client:
        async with client.websocket_connect("/") as one, client.websocket_connect("/admin") as two:
            assert [await one.receive(), await two.receive()] == ["everyone", "admin"]


async def test_a_guard_fills_the_state_of_the_connection() -> None:
    def authenticate(context: GuardContext) -> bool:
        context.state.user = {"a-token": "Ada"}.get(context.request.query_params.get("token", ""))
        return context.state.user is not None

    app = App(guards=[authenticate])

    @app.websocket("/")
    async def greet(ws: WebSocket) -> None:
        await ws.send(ws.state.user)

    async with app.test_client() as client, client.websocket_connect("/?token=a-token") as ws:
        assert await ws.receive() == "Ada"


async def test_a_reason_for_a_page_is_a_close_code() -> None:
    app = App()

    @app.websocket("/")
    async def refuse(ws: WebSocket) -> None:
        await ws.close(4401, "sign in first")

    async with app.test_client() as client, client.websocket_connect("/") as ws:
        with pytest.raises(WebSocketDisconnect) as end:
            await ws.receive()
    assert (end.value.code, end.value.reason) == (4401, "sign in first")


def stamp(identifier: str, message: str | bytes) -> str:
    return f'{{"id": "{identifier}", "text": "{message!s}"}}'


async def test_a_member_comes_back_and_misses_nothing() -> None:
    app = App()
    tea = app.room("tea", resume=100, stamp=stamp)

    @app.websocket("/")
    async def chat(ws: WebSocket, since: str | None = Query(default=None)) -> None:
        joining = tea.join(ws, since=since)
        async with joining:
            await ws.send_json({"recovered": joining.recovered})
            await ws.receive()

    async with app.test_client() as client, client.websocket_connect("/") as other:
        assert await other.receive_json() == {"recovered": None}
        async with client.websocket_connect("/") as ws:
            assert await ws.receive_json() == {"recovered": None}
            await tea.publish("one")
            last = (await ws.receive_json())["id"]
        await tea.publish("two")
        async with client.websocket_connect(f"/?since={last}") as ws:
            got = [await ws.receive_json(), await ws.receive_json()]
    assert {"recovered": True} in got
    assert [each["text"] for each in got if "text" in each] == ["two"]


async def test_a_client_of_socket_io_is_told_that_there_is_nothing() -> None:
    app = App()

    @app.websocket("/")
    async def chat(ws: WebSocket) -> None:
        raise AssertionError("it is not reached")

    async with app.test_client() as client:
        assert (await client.get("/socket.io/?EIO=4&transport=polling")).status == 404
