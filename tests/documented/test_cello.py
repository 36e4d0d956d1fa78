"""Cello's document on WebSockets: each example of it, and each sentence that can be observed.

The ports are in `ports/cello_handlers.py`, the chat room is `examples/blocking_chat`. What the document measures of its
own implementation is not repeated here. A comment in quotation marks is the part of the document that a test is about.
"""

from __future__ import annotations

import asyncio
import runpy
import threading
from typing import Any

import pytest
import trio
import websockets
from examples.browser import EXAMPLES, browse, load, new_page
from support.endings import code_of

from trio_ws import App, BlockingWebSocket, WebSocket, WebSocketDisconnect, WebSocketMessage

from .ports import cello_handlers
from .ways import Way, visit_rudely

CHAT = "/ws/chat"


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    cello_handlers.app.state.seen = []


async def seen_by(app: App, count: int = 1) -> list[Any]:
    """Return what a port notes, once it is so much."""
    while len(app.state.seen) < count:
        await trio.sleep(0.001)
    seen: list[Any] = app.state.seen
    return seen


# --- "Quick Start" ----------------------------------------------------------------------------------------------------


async def test_the_quick_start(way: Way) -> None:
    # 'Output: "Connected!"'; 'Output: "Echo: Hello!"'
    async with way.visit(cello_handlers.app) as visitor, visitor.connect("/ws") as ws:
        assert await ws.receive() == "Connected!"
        for message in ("Hello!", "", "\N{EURO SIGN}" * 1000):
            await ws.send(message)
            assert await ws.receive() == f"Echo: {message}"


async def test_handlers_run_in_threads_and_block_nobody(way: Way) -> None:
    # "The handler runs for the duration of the connection"
    app = App()
    threads: set[int] = set()

    @app.websocket("/ws")
    def echo(ws: BlockingWebSocket) -> None:
        threads.add(threading.get_ident())
        ws.send(ws.receive())

    async with way.visit(app) as visitor, visitor.connect("/ws") as one, visitor.connect("/ws") as two:
        for ws, message in ((two, "second"), (one, "first")):
            await ws.send(message)
            assert await ws.receive() == message
            assert await code_of(ws) == 1000
    assert len(threads) == 2
    assert threading.get_ident() not in threads


async def test_the_connection_is_closed_when_the_handler_returns(way: Way) -> None:
    # "when the function returns, the connection is closed"
    app = App()

    @app.websocket("/ws")
    def handler(ws):  # type: ignore[no-untyped-def]
        assert type(ws) is BlockingWebSocket

    async with way.visit(app) as visitor, visitor.connect("/ws") as ws:
        assert await code_of(ws) == 1000


# --- "The WebSocket Object" -------------------------------------------------------------------------------------------


async def test_what_can_be_sent(way: Way) -> None:
    # "Send a UTF-8 text message"; "Send binary data as bytes"; "Send a WebSocketMessage object"; "gracefully"
    async with way.visit(cello_handlers.app) as visitor, visitor.connect("/ws/sending") as ws:
        assert await ws.receive() == "Hello, client!"
        assert await ws.receive() == b"\x00\x01\x02\x03"
        assert await ws.receive() == "Structured message"
        assert await code_of(ws) == 1000
        assert await seen_by(cello_handlers.app) == ["closed"]  # the handler went on after close()


@pytest.mark.parametrize(
    ("message", "received"),
    [(WebSocketMessage.text("text"), "text"), (WebSocketMessage.binary(b"\x00"), b"\x00")],
    ids=["text", "binary"],
)
async def test_messages_of_each_kind_can_be_sent(way: Way, message: WebSocketMessage, received: Any) -> None:
    # "ws.send(message)"
    app = App()

    @app.websocket("/ws")
    def handler(ws: BlockingWebSocket) -> None:
        ws.send(WebSocketMessage.ping())
        ws.send(WebSocketMessage.pong(b"unasked"))
        ws.send(message)
        ws.send(WebSocketMessage.close(4001, "enough"))

    async with way.visit(app) as visitor, visitor.connect("/ws") as ws:
        assert await ws.receive() == received
        assert await code_of(ws) == 4001
        assert ws.close_reason == "enough"


async def test_messages_of_each_kind_are_received_and_then_the_close(way: Way) -> None:
    # "wait for the next message from the client"; "Client sent close frame"
    async with way.visit(cello_handlers.app) as visitor, visitor.connect("/ws/receiving") as ws:
        await ws.send("one")
        await ws.send(b"\x00\x01")
        await ws.send("")
        await ws.close(4000)
        seen = await seen_by(cello_handlers.app, 4)
    assert seen == ["Text: one", "Binary: 2 bytes", "Text: ", ("close", 4000, False)]


async def test_a_client_that_is_gone_without_a_close_frame_is_none(way: Way) -> None:
    # "`None` if the connection is closed"; "Client disconnected"
    async with way.visit(cello_handlers.app) as visitor:
        await visit_rudely(visitor, "/ws/receiving")
        assert await seen_by(cello_handlers.app) == [None]


async def test_after_the_close_message_there_is_none(way: Way) -> None:
    # "returns a `WebSocketMessage` or `None`"
    app = App()
    app.state.seen = []

    @app.websocket("/ws")
    def handler(ws: BlockingWebSocket) -> None:
        app.state.seen.extend([ws.recv(), ws.recv(), ws.recv()])

    async with way.visit(app) as visitor:
        async with visitor.connect("/ws") as ws:
            await ws.close(3000, "enough")
        assert await seen_by(app, 3) == [WebSocketMessage.close(3000, "enough"), None, None]


async def test_connected_says_whether_the_connection_is_active(way: Way) -> None:
    # "Whether the connection is active"
    app = App()
    app.state.seen = []

    @app.websocket("/ws")
    def handler(ws: BlockingWebSocket) -> None:
        app.state.seen.append(ws.connected)
        ws.close()
        app.state.seen.append(ws.connected)

    async with way.visit(app) as visitor, visitor.connect("/ws") as ws:
        assert await code_of(ws) == 1000
        assert await seen_by(app, 2) == [True, False]


# --- "The WebSocketMessage Class" -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "msg_type", "text", "data"),
    [
        (WebSocketMessage.text("Hello"), "text", "Hello", None),
        (WebSocketMessage.binary(b"\x00\x01\x02"), "binary", None, b"\x00\x01\x02"),
        (WebSocketMessage.ping(), "ping", None, b""),
        (WebSocketMessage.pong(b"x"), "pong", None, b"x"),
        (WebSocketMessage.close(), "close", None, None),
    ],
    ids=["text", "binary", "ping", "pong", "close"],
)
def test_factories_properties_and_tests_of_messages(
    message: WebSocketMessage, msg_type: str, text: str | None, data: bytes | None
) -> None:
    # "Factory Methods"; "Properties"; "Type Checking"
    assert (message.msg_type, message.text, message.data) == (msg_type, text, data)
    tests = {
        "text": message.is_text(),
        "binary": message.is_binary(),
        "ping": message.is_ping(),
        "pong": message.is_pong(),
        "close": message.is_close(),
    }
    assert [name for name, holds in tests.items() if holds] == [msg_type]


# --- "Connection Lifecycle" -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_the_lifecycle_ends_with_the_client(way: Way, code: int) -> None:
    # "Handler returns OR client disconnects"; "Phase: Cleanup"
    async with way.visit(cello_handlers.app) as visitor, visitor.connect("/ws/lifecycle") as ws:
        assert await ws.receive() == "Welcome!"
        assert cello_handlers.app.state.seen == [("connected", True)]
        await ws.send("Hello")
        assert await ws.receive() == "Got: Hello"
        await ws.close(code)
        assert await seen_by(cello_handlers.app, 2) == [("connected", True), ("client disconnected", False)]


async def test_the_cleanup_runs_when_the_server_shuts_down_too(way: Way) -> None:
    # "Connection is closed"
    async with way.visit(cello_handlers.app) as visitor, visitor.connect("/ws/lifecycle") as ws:
        assert await ws.receive() == "Welcome!"
        visitor.server.shutdown()
        assert await code_of(ws) == 1001
    assert cello_handlers.app.state.seen[-1] == ("client disconnected", False)


# --- "Sending JSON" ---------------------------------------------------------------------------------------------------


async def test_json_and_what_is_none(way: Way) -> None:
    # "to send structured data"; "Invalid JSON"
    async with way.visit(cello_handlers.app) as visitor, visitor.connect("/ws/data") as ws:
        assert await ws.receive_json() == {"type": "connected", "status": "ok"}
        for command in ({"do": "something"}, [1, None]):
            await ws.send_json(command)
            assert await ws.receive_json() == {"type": "result", "command": command}
        for nonsense in ("{", "", b"\xff", b"{"):
            await ws.send(nonsense)
            assert await ws.receive_json() == {"error": "Invalid JSON"}
        await ws.send(b'{"do": "bytes"}')
        assert await ws.receive_json() == {"type": "result", "command": {"do": "bytes"}}


async def test_json_in_one_word(way: Way) -> None:
    # "Use send_text with json.dumps": there is a method for it
    app = App()

    @app.websocket("/ws")
    def handler(ws: BlockingWebSocket) -> None:
        ws.send_json(ws.receive_json())

    async with way.visit(app) as visitor, visitor.connect("/ws") as ws:
        await ws.send_json({"a": [1, None]})
        assert await ws.receive_json() == {"a": [1, None]}


# --- "Chat Room Example" ----------------------------------------------------------------------------------------------


def system(message: str, users_online: int) -> dict[str, Any]:
    return {"type": "system", "message": message, "users_online": users_online}


async def test_chat_room_announces_joins_messages_and_leaves(way: Way) -> None:
    """The chat room tells who comes what is said and who leaves."""
    # "multiple connected clients"; "Broadcast join notification"; "Broadcast the message to all clients"; "A user left"
    async with way.visit(load("blocking_chat").app) as visitor, visitor.connect(CHAT) as ada:
        assert await ada.receive_json() == system("Welcome to the chat!", 1)
        async with visitor.connect(CHAT) as bob:
            assert await bob.receive_json() == system("Welcome to the chat!", 2)
            assert await ada.receive_json() == system("A new user joined", 2)
            await bob.send("Hello")
            for each in (ada, bob):
                assert await each.receive_json() == {"type": "message", "text": "Hello"}
            await ada.send(b"no text")
            await ada.send("<b>Hi</b>")
            for each in (ada, bob):
                assert await each.receive_json() == {"type": "message", "text": "<b>Hi</b>"}
        assert await ada.receive_json() == system("A user left", 1)


async def test_who_is_gone_without_a_word_has_left_the_chat_room(way: Way) -> None:
    # "Client may have disconnected": then the others are told
    async with way.visit(load("blocking_chat").app) as visitor, visitor.connect(CHAT) as ada:
        assert await ada.receive_json() == system("Welcome to the chat!", 1)
        await visit_rudely(visitor, CHAT)
        assert await ada.receive_json() == system("A new user joined", 2)
        assert await ada.receive_json() == system("A user left", 1)


async def test_who_does_not_read_keeps_nobody_waiting_in_the_chat_room(way: Way) -> None:
    # "for client in clients": there, each message waits for the slowest of them
    large = "x" * 500_000
    async with way.visit(load("blocking_chat").app) as visitor, visitor.connect(CHAT) as ada:
        assert await ada.receive_json() == system("Welcome to the chat!", 1)
        async with visitor.connect(CHAT) as deaf:
            assert await ada.receive_json() == system("A new user joined", 2)
            await ada.send(large)
            while (said := await ada.receive_json()) != system("A user left", 1):  # until it is too slow for the room
                assert said == {"type": "message", "text": large}
                await ada.send(large)
            with pytest.raises(WebSocketDisconnect):
                while True:
                    await deaf.receive()


def test_one_command_runs_the_chat_room(monkeypatch: pytest.MonkeyPatch) -> None:
    # "app.run()"
    ran: list[App] = []
    monkeypatch.setattr(App, "run", lambda app, **options: ran.append(app))
    runpy.run_path(str(EXAMPLES / "blocking_chat" / "app.py"), run_name="__main__")
    assert [route.path for route in ran[0].routes()] == [CHAT]


# --- "WebSocket with Path Parameters" ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "room"), [("general", "general"), ("42", "42"), ("a%20%E2%82%AC%2Fb", "a \u20ac/b")])
async def test_path_parameters_are_in_the_request(way: Way, path: str, room: str) -> None:
    # "support path parameters just like HTTP routes"
    async with way.visit(cello_handlers.app) as visitor, visitor.connect(f"/ws/rooms/{path}") as ws:
        assert await ws.receive() == f"Joined room: {room}"
        await ws.send("Hello")
        assert await ws.receive() == f"[{room}] Hello"


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_path_parameters_can_be_parameters_too_converted(way: Way, kind: str) -> None:
    # "request.params": by name they need no request
    app = App()

    if kind == "plain":

        @app.websocket("/ws/rooms/{room_id:int}")
        def plain(ws: BlockingWebSocket, room_id: int) -> None:
            ws.send_json(room_id + 1)
    else:

        @app.websocket("/ws/rooms/{room_id:int}")
        async def asynchronous(ws, request):  # type: ignore[no-untyped-def]
            assert isinstance(ws, WebSocket)
            await ws.send_json(request.params["room_id"] + 1)

    async with way.visit(app) as visitor, visitor.connect("/ws/rooms/41") as ws:
        assert await ws.receive_json() == 42


# --- "Client-Side Example" --------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html>
<title>A client</title>
<link rel="icon" href="data:,">
<script>
  const events = [];
  const ws = new WebSocket(`ws://${location.host}/ws/chat`);
  ws.onopen = () => {
    events.push("Connected");
    ws.send("Hello from browser!");
  };
  ws.onmessage = (event) => events.push(JSON.parse(event.data));
  ws.onclose = () => events.push("Disconnected");
  ws.onerror = () => events.push("WebSocket error");
</script>
"""


def test_the_client_in_a_browser() -> None:
    # "JavaScript (Browser)": the document's, but for the host, which is the page's own
    app = load("blocking_chat").app
    app.page("/", lambda request: PAGE)
    seen: list[Any] = []

    def visit(browser: Any, url: str) -> None:
        page, complaints = new_page(browser)
        page.goto(url)
        page.wait_for_function("() => events.length === 3")
        page.evaluate("() => ws.close()")
        page.wait_for_function("() => events.length === 4")
        seen.append((page.evaluate("() => events"), complaints))

    browse(app, visit)
    [(events, complaints)] = seen
    assert events == [
        "Connected",
        system("Welcome to the chat!", 1),
        {"type": "message", "text": "Hello from browser!"},
        "Disconnected",
    ]
    assert complaints == []


@pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
def test_the_client_in_python(poller: bool) -> None:
    # "Python Client": the first thing that it receives is the greeting, the second is the echo
    received: list[Any] = []

    async def client(port: int) -> None:
        async with websockets.connect(f"ws://localhost:{port}/ws") as ws:
            await ws.send("Hello from Python!")
            received.extend([await ws.recv(), await ws.recv()])

    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:

                async def serve(task_status: Any) -> None:
                    await cello_handlers.app.serve(port=0, poller=poller, strict=True, task_status=task_status)

                server = await nursery.start(serve)
                await trio.to_thread.run_sync(lambda: asyncio.run(client(server.port)))
                server.shutdown()

    trio.run(main)
    assert received == ["Connected!", "Echo: Hello from Python!"]


# --- in plain tests ---------------------------------------------------------------------------------------------------


def test_the_chat_room_in_a_plain_test() -> None:
    with load("blocking_chat").app.test_client() as client, client.websocket_connect(CHAT) as ada:
        assert ada.receive_json() == system("Welcome to the chat!", 1)
        with client.websocket_connect(CHAT) as bob:
            assert bob.receive_json() == system("Welcome to the chat!", 2)
            assert ada.receive_json() == system("A new user joined", 2)
            ada.send("Hello")
            message = bob.recv()
            assert message is not None
            assert message.is_text()
            assert message.text == '{"type":"message","text":"Hello"}'
