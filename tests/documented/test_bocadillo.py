"""Bocadillo's document on WebSockets: each example of it, and each sentence that can be observed.

The ports are in `ports/bocadillo_*.py`; the chat room is `examples/chat`, which `tests/examples/test_chat.py` drives. A
comment in quotation marks is the part of the document that a test is about.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from examples.browser import browse, new_page
from support.endings import code_of, refusal_of, status_of

from trio_ws import (
    App,
    CloseCode,
    LocalProtocolError,
    Sessions,
    WebSocket,
    WebSocketDisconnect,
)
from trio_ws.app import RegistrationError
from trio_ws.websocket.close_code import leaves

from .ports import bocadillo_accepting, bocadillo_caught, bocadillo_dangerous, bocadillo_messages, bocadillo_views
from .ways import Way, visit_rudely


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    bocadillo_accepting.app.state.steps = []
    bocadillo_caught.app.state.seen = []


async def seen_by(app: App) -> object:
    """Return the first thing that a port notes, once it has."""
    while not app.state.seen:
        await trio.sleep(0.001)
    return app.state.seen[0]


# --- "Hello, WebSockets!" ---------------------------------------------------------------------------------------------


async def test_echo_answers_and_connection_ends_with_the_view(way: Way) -> None:
    """The echo answers a message and the connection ends with the view."""
    # "Just four lines of code!"; "automatically accepts and closes the connection"
    async with way.visit(bocadillo_views.app) as visitor, visitor.connect("/echo") as ws:
        await ws.send("Hello")
        assert await ws.receive() == "You said: Hello"
        assert await code_of(ws) == 1000


async def test_a_view_that_waits_for_a_message_keeps_nobody_waiting(way: Way) -> None:
    # "the view will suspend, allowing the server to process other requests"
    async with way.visit(bocadillo_views.app) as visitor, visitor.connect("/echo") as first:
        async with visitor.connect("/echo") as second:
            await second.send("second")
            assert await second.receive() == "You said: second"
        await first.send("first")
        assert await first.receive() == "You said: first"


def test_the_name_of_the_decorator_is_another_one_for_websocket() -> None:
    # "registered using @app.websocket_route()"
    assert App.websocket_route is App.websocket


PAGE = """<!DOCTYPE html>
<title>A client</title>
<link rel="icon" href="data:,">
<script>
  const received = [], sent = [];
  const ws = new WebSocket(`ws://${location.host}/shorthand`);

  // The document's timer does not wait for this.
  ws.onopen = () => setInterval(() => {
    const message = { text: Math.random() > 0.5 ? "ping" : "pong" };
    ws.send(JSON.stringify(message));
    sent.push(message.text);
  }, 1000);
  ws.onclose = (event) => received.push(event.code);
  ws.onmessage = (event) => received.push(JSON.parse(event.data).text);
</script>
"""
"""The document's client expects JSON, which its echo does not answer with, and sends on where that has ended after one
message: this one talks to an echo that goes on, and whose answers are what it was sent."""


def test_the_client_in_a_browser() -> None:
    # "A vanilla JavaScript client for the endpoint above"
    app = App()
    app.page("/", lambda request: PAGE)
    app.include(bocadillo_messages.app)
    seen: list[Any] = []

    def visit(browser: Any, url: str) -> None:
        page, complaints = new_page(browser)
        page.clock.install(time=0)
        page.clock.pause_at(1000)  # or its timer would go on by itself, and send on the closed connection
        page.goto(url)
        page.wait_for_function("() => ws.readyState === WebSocket.OPEN")
        for number in (1, 2, 3):
            page.clock.run_for(1000)
            page.wait_for_function(f"() => received.length === {number}")
        page.evaluate("() => ws.close(1000)")
        page.wait_for_function("() => received.at(-1) === 1000")
        seen.append((page.evaluate("() => sent"), page.evaluate("() => received"), complaints))

    browse(app, visit)
    [(sent, received, complaints)] = seen
    assert received.pop() == 1000
    assert received == sent
    assert complaints == []


# --- "How are WebSocket requests processed?" --------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/echo/", "/Echo", "/chat", "/chat/a/b", "/echo%2F"])
async def test_a_path_that_no_route_matches_is_403(way: Way, path: str) -> None:
    # "closed with a 403 close code": there is no such code, it is the HTTP status of the answer
    async with way.visit(bocadillo_views.app) as visitor:
        assert await status_of(visitor, path) == 403


async def test_view_gets_connection_path_and_query_as_keywords(way: Way) -> None:
    """The view gets the connection and keyword arguments of path and query."""
    # "An instance of WebSocket"; "Keyword arguments representing the extracted route and query parameters"
    app = App()
    called: list[Any] = []

    @app.websocket_route("/{a}/{b:int}")
    async def view(ws, a, b, *, c: float = 0.5, d: list[int] | None = None):  # type: ignore[no-untyped-def]
        called.append((type(ws), a, b, c, d))

    async with way.visit(app) as visitor:
        for path in ("/x%20y/7", "/x/7?c=2&d=1&d=2"):
            async with visitor.connect(path) as ws:
                assert await code_of(ws) == 1000
    assert called == [(WebSocket, "x y", 7, 0.5, None), (WebSocket, "x", 7, 2.0, [1, 2])]


def test_unprovided_parameter_is_refused_at_registration() -> None:
    """A parameter that nobody provides is refused at registration."""
    # "accepting the following parameters"
    app = App()

    async def view(ws: WebSocket, *others: str) -> None:
        raise AssertionError("it is never called")

    with pytest.raises(RegistrationError, match="others"):
        app.websocket_route("/")(view)


# --- "WebSocket views" ------------------------------------------------------------------------------------------------


async def test_chat_takes_channel_from_path_and_user_from_header(way: Way) -> None:
    """The chat takes its channel from the path and the user from a header."""
    # "you can use route parameters and query parameters"; "send `channel_message` to other clients in the channel"
    async with (
        way.visit(bocadillo_views.app) as visitor,
        visitor.connect("/chat/cats", headers={"User": "Ada"}) as ada,
        visitor.connect("/chat/cats?anonymous=true") as nobody,
        visitor.connect("/chat/dogs?anonymous=1") as elsewhere,
    ):
        for each in (ada, nobody, elsewhere):
            await each.ping()
        await wait_for_members(bocadillo_views.app, {"cats": 2, "dogs": 1})
        await ada.send_json({"text": "meow"})
        for each in (ada, nobody):
            assert await each.receive_json() == {"user": "Ada", "message": {"text": "meow"}}
        await nobody.send_json("purr")
        assert await ada.receive_json() == {"user": "Anonymous", "message": "purr"}
        await elsewhere.send_json(None)
        assert await elsewhere.receive_json() == {"user": "Anonymous", "message": None}


async def wait_for_members(app: App, counts: dict[str, int]) -> None:
    while {name: app.room(name).count for name in counts} != counts:
        await trio.sleep(0.001)


@pytest.mark.parametrize(("query", "user"), [("", "Ada"), ("?anonymous=0", "Ada"), ("?anonymous=yes", "Anonymous")])
async def test_query_parameters_are_converted(way: Way, query: str, user: str) -> None:
    # "as well as validation and conversion"
    connecting = {"headers": {"user": "Ada"}}
    async with way.visit(bocadillo_views.app) as visitor, visitor.connect(f"/chat/cats{query}", **connecting) as ws:
        await ws.send_json("meow")
        assert await ws.receive_json() == {"user": user, "message": "meow"}


async def test_invalid_query_parameter_is_400_before_the_view(way: Way) -> None:
    """A query parameter that does not validate is 400 before the view."""
    # "as well as validation and conversion just like in HTTP endpoints"
    async with way.visit(bocadillo_views.app) as visitor:
        caught = await refusal_of(visitor, "/chat/cats?anonymous=perhaps")
    assert caught.status == 400
    assert b'"loc":["query","anonymous"]' in caught.body


# --- "Inspecting the connection request" ------------------------------------------------------------------------------


async def test_url_headers_and_query_parameters_of_the_request(way: Way) -> None:
    # "the full URL of the connection request"; "case-insensitive"; "dictionary-like"
    app = App()
    seen: list[WebSocket] = []

    @app.websocket_route("/where/{place}")
    async def view(ws: WebSocket, place: str) -> None:
        seen.append(ws)

    async with way.visit(app) as visitor:
        async with visitor.connect("/where/here?a=1&a=2&b=%26", headers={"X-Cat": "Tom"}) as ws:
            assert await code_of(ws) == 1000
    [ws] = seen
    assert str(ws.url) == f"ws://{ws.headers['HOST']}/where/here?a=1&a=2&b=%26"
    assert (ws.url.scheme, ws.url.path, ws.url.query) == ("ws", "/where/here", "a=1&a=2&b=%26")
    assert ws.headers["x-cat"] == ws.headers["X-CAT"] == "Tom"
    assert "x-dog" not in ws.headers
    assert dict(ws.query_parameters) == {"a": "2", "b": "&"}
    assert ws.query_parameters.get_list("a") == ["1", "2"]
    assert dict(ws.path_parameters) == {"place": "here"}


@pytest.mark.parametrize("name", ["headers", "query_parameters", "path_parameters"])
async def test_headers_and_query_parameters_are_immutable(way: Way, name: str) -> None:
    # "an immutable, case-insensitive Python dictionary"; "an immutable Python dictionary-like object"
    app = App()
    refused: list[str] = []

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        for change in (
            lambda: setattr(ws, name, {}),
            lambda: getattr(ws, name).__setitem__("a", "b"),
            lambda: getattr(ws, name).clear(),
        ):
            with pytest.raises((AttributeError, TypeError)):
                change()
            refused.append(name)

    async with way.visit(app) as visitor, visitor.connect("/?a=1") as ws:
        assert await code_of(ws) == 1000
    assert refused == [name] * 3


async def test_session_data_is_there_when_sessions_are_enabled(way: Way) -> None:
    # "When sessions are enabled, you can also access session data through ws.session"
    app = App(sessions=Sessions(secret_key="not a secret"))

    @app.websocket_route("/register", auto_accept=False)
    async def register(ws: WebSocket) -> None:
        ws.session["user"] = "Ada"
        await ws.reject(401)  # the cookie is in every answer, and in this one the test can see it

    @app.websocket_route("/session")
    async def view(ws: WebSocket) -> None:
        await ws.send_json(dict(ws.session))

    async with way.visit(app) as visitor:
        caught = await refusal_of(visitor, "/register")
        cookie = caught.headers["set-cookie"].partition(";")[0].removeprefix("session=")
        for value, data in ((cookie, {"user": "Ada"}), (f"{cookie}x", {}), ("", {})):
            async with visitor.connect("/session", cookies={"session": value}) as ws:
                assert await ws.receive_json() == data


async def test_without_sessions_there_is_no_session_data(way: Way) -> None:
    # "When sessions are enabled"
    app = App()

    @app.websocket_route("/session")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(LocalProtocolError, match="sessions="):
            _ = ws.session

    async with way.visit(app) as visitor, visitor.connect("/session") as ws:
        assert await code_of(ws) == 1000


# --- "Receiving messages", "Sending messages" -------------------------------------------------------------------------


def typed(options: dict[str, Any]) -> App:
    app = App()

    @app.websocket_route("/chat", **options)
    async def chat(ws: WebSocket) -> None:
        async for message in ws:
            app.state.received = message
            await ws.send(getattr(app.state, "reply", message))

    return app


@pytest.mark.parametrize(
    ("kind", "sent", "received"),
    [
        ("json", '{"a": [1, null]}', {"a": [1, None]}),
        ("json", b"[1]", [1]),
        ("text", "text", "text"),
        ("bytes", b"\x00\xff", b"\x00\xff"),
    ],
    ids=["json", "json in bytes", "text", "bytes"],
)
async def test_receive_type_is_what_receive_returns(way: Way, kind: str, sent: Any, received: Any) -> None:
    # "specifying a receive_type"; "json, text, and bytes"
    app = typed({"receive_type": kind})
    app.state.reply = "OK"
    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await ws.send(sent)
        assert await ws.receive() == "OK"
    assert app.state.received == received


@pytest.mark.parametrize(
    ("kind", "reply", "frame"),
    [("json", {"a": [1, None]}, '{"a":[1,null]}'), ("text", "text", "text"), ("bytes", b"\x00\xff", b"\x00\xff")],
    ids=["json", "text", "bytes"],
)
async def test_send_type_is_what_send_takes(way: Way, kind: str, reply: Any, frame: Any) -> None:
    # "customize this by specifying a send_type"
    app = typed({"send_type": kind})
    app.state.reply = reply
    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await ws.send("Hello")
        assert await ws.receive() == frame


@pytest.mark.parametrize(
    "options", [{"value_type": "json"}, {"receive_type": "json", "send_type": "json"}], ids=["value_type", "both"]
)
async def test_value_type_is_both(way: Way, options: dict[str, Any]) -> None:
    # "This is equivalent to"
    async with way.visit(typed(options)) as visitor, visitor.connect("/chat") as ws:
        await ws.send_json({"a": 1.5})
        assert await ws.receive() == '{"a":1.5}'


@pytest.mark.parametrize("sent", ["text", b"\x00\xff"], ids=["text", "binary"])
async def test_without_a_type_messages_are_what_they_are(way: Way, sent: str | bytes) -> None:
    # "By default, the message is returned in plain text": and binary ones, which were not thought of, as bytes
    async with way.visit(typed({})) as visitor, visitor.connect("/chat") as ws:
        await ws.send(sent)
        assert await ws.receive() == sent


@pytest.mark.parametrize(
    ("kind", "sent", "code"),
    [("text", b"binary", 1003), ("bytes", "text", 1003), ("json", "no JSON", 1007)],
)
async def test_a_message_of_another_type_ends_the_connection(way: Way, kind: str, sent: Any, code: int) -> None:
    # "receive and send messages of the same type"
    async with way.visit(typed({"value_type": kind})) as visitor, visitor.connect("/chat") as ws:
        await ws.send(sent)
        assert await code_of(ws) == code


@pytest.mark.parametrize(
    "options",
    [
        {"value_type": "xml"},
        {"receive_type": "xml"},
        {"send_type": "str"},
        {"value_type": "json", "send_type": "text"},
        {"value_type": "json", "receive_type": "bytes"},
    ],
    ids=str,
)
def test_a_type_that_is_none_is_refused_at_registration(options: dict[str, Any]) -> None:
    # "the value_type must be a valid receive and send type"
    with pytest.raises(ValueError, match="_type"):
        App().websocket_route("/chat", **options)


@pytest.mark.parametrize(
    ("kind", "value"), [("json", {"a": [1]}), ("text", "text"), ("bytes", b"\x00\xff")], ids=["json", "text", "bytes"]
)
async def test_there_are_methods_for_each_type_whatever_the_route_says(way: Way, kind: str, value: Any) -> None:
    # "the corresponding methods are available on ws"
    app = App()

    @app.websocket_route("/chat", value_type="json")
    async def chat(ws: WebSocket) -> None:
        await getattr(ws, f"send_{kind}")(await getattr(ws, f"receive_{kind}")())

    async with way.visit(app) as visitor, visitor.connect("/chat") as ws:
        await getattr(ws, f"send_{kind}")(value)
        assert await getattr(ws, f"receive_{kind}")() == value


@pytest.mark.parametrize("path", ["/shorthand", "/written-out"])
async def test_async_for_is_a_shorthand_for_a_loop(way: Way, path: str, caplog: pytest.LogCaptureFixture) -> None:
    # "use the async for syntax to iterate over messages"; "simply a shorthand for"
    caplog.set_level(logging.INFO)
    async with way.visit(bocadillo_messages.app) as visitor, visitor.connect(path) as ws:
        for message in ("one", "", b"two", "three" * 1000):
            await ws.send(message)
            assert await ws.receive() == message
        await ws.close(1001)
    assert caplog.records == []


# --- "Using ASGI events" ----------------------------------------------------------------------------------------------


async def test_an_echo_of_events(way: Way) -> None:
    # "implemention of an echo endpoint using ASGI events only"
    async with way.visit(bocadillo_messages.app) as visitor, visitor.connect("/events") as ws:
        await ws.send("Hello")
        assert await ws.receive() == "You said: Hello"
        assert await code_of(ws) == 1000


async def test_events_are_for_the_handshake_and_the_end_too(way: Way) -> None:
    # "receive or send raw ASGI events"
    async with way.visit(bocadillo_messages.app) as visitor, visitor.connect("/raw") as ws:
        for message in ("text", b"binary"):
            await ws.send(message)
            assert await ws.receive() == message
        await ws.close(4000, "enough")
    assert bocadillo_messages.app.state.last == {"type": "websocket.disconnect", "code": 4000, "reason": "enough"}


# --- "Error handling" -------------------------------------------------------------------------------------------------


def failing() -> App:
    app = App()

    @app.websocket_route("/fail")
    async def fail(ws: WebSocket) -> None:
        await ws.receive()
        raise ZeroDivisionError("by design")

    return app


async def test_an_unhandled_exception_closes_with_1011(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    # "closes the connection with a 1011 (Internal Error) close code": and with no other connection
    app = failing()
    async with way.visit(app, strict=False) as visitor, visitor.connect("/fail") as other:
        async with visitor.connect("/fail") as ws:
            await ws.send("now")
            assert await code_of(ws) == 1011
        assert other.connected
        assert await other.ping() >= 0
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


async def test_strict_server_raises_an_unhandled_exception_again(way: Way) -> None:
    """An unhandled exception is raised again by a strict server."""
    # "re-raises the exception for further server-side processing": the default is a line in the log, and `on_error`
    codes: list[int] = []
    with pytest.raises((ZeroDivisionError, ExceptionGroup)) as caught:
        async with way.visit(failing()) as visitor, visitor.connect("/fail") as ws:
            await ws.send("now")
            with trio.CancelScope(shield=True):
                codes.append(await code_of(ws))
    assert [str(error) for error in leaves(caught.value)] == ["by design"]
    assert codes == [1011]


async def test_an_unhandled_exception_is_told_to_on_error(way: Way) -> None:
    # "for further server-side processing"
    app = failing()
    told: list[BaseException] = []

    @app.on_error
    async def on_error(ws: WebSocket, error: BaseException) -> None:
        told.append(error)

    async with way.visit(app, strict=False) as visitor, visitor.connect("/fail") as ws:
        await ws.send("now")
        assert await code_of(ws) == 1011
    assert [type(error) for error in told] == [ZeroDivisionError]


# --- "Accepting, closing and rejecting connections" -------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/by-hand", "/block"])
async def test_accepting_and_closing_by_hand_or_with_a_block(way: Way, path: str) -> None:
    # "You then need to call .accept() and .close() manually"; "an asynchronous context manager syntax"
    app = bocadillo_accepting.app
    async with way.visit(app) as visitor, visitor.connect(path) as ws:
        assert app.state.steps == ["going to accept"]
        await ws.send("Hello")
        assert await ws.receive() == "Hello"
        assert await code_of(ws) == 1000
    assert app.state.steps == ["going to accept", "closed"]


async def test_auto_accept_route_has_accepted_before_the_view(way: Way) -> None:
    """A route that accepts by itself has done so before the view."""
    # "By default, Bocadillo automatically accepts"
    app = App()
    refusals: list[str] = []

    @app.websocket_route("/hello")
    async def hello(ws: WebSocket) -> None:
        for refused in (ws.accept, ws.reject):
            with pytest.raises(RuntimeError) as caught:
                await refused()
            refusals.append(str(caught.value))
        async with ws:  # it is accepted, and that is no mistake
            await ws.send("Hello")

    async with way.visit(app) as visitor, visitor.connect("/hello") as ws:
        assert await ws.receive() == "Hello"
        assert await code_of(ws) == 1000
    assert len(refusals) == 2
    assert all("auto_accept=False" in refusal for refusal in refusals)


async def test_close_inside_the_block_is_safe(way: Way) -> None:
    # "It is safe to call .close() inside the async with block"
    app = App()
    steps: list[str] = []

    @app.websocket_route("/hello", auto_accept=False)
    async def hello(ws: WebSocket) -> None:
        async with ws:
            await ws.close(1003, "inside")
        steps.append("after the block")

    async with way.visit(app) as visitor, visitor.connect("/hello") as ws:
        assert await code_of(ws) == 1003
    assert steps == ["after the block"]


@pytest.mark.parametrize("auto_accept", [True, False])
async def test_closing_twice_is_a_runtime_error_and_ensure_closed_not(way: Way, auto_accept: bool) -> None:
    """Closing twice is a RuntimeError and ensure_closed is none."""
    # "calling it multiple times will raise a RuntimeError"; "use await ws.ensure_closed() instead"
    app = App()
    steps: list[str] = []

    @app.websocket_route("/hello", auto_accept=auto_accept)
    async def hello(ws: WebSocket) -> None:
        async with ws:
            await ws.ensure_closed(4001)
            await ws.ensure_closed()
            with pytest.raises(RuntimeError, match="ensure_closed"):
                await ws.close()
            steps.append("refused")

    async with way.visit(app) as visitor, visitor.connect("/hello") as ws:
        assert await code_of(ws) == 4001
    assert steps == ["refused"]


@pytest.mark.parametrize("headers", [{}, {"api-key": "wrong"}], ids=["no key", "wrong key"])
async def test_a_view_may_reject_with_403_before_it_accepts(way: Way, headers: dict[str, str]) -> None:
    # "closing the connection with a 403 close code": it is an HTTP status
    async with way.visit(bocadillo_accepting.app) as visitor:
        assert await status_of(visitor, "/hello", headers=headers) == 403
    assert bocadillo_accepting.app.state.steps == []


async def test_a_view_goes_on_with_an_authorized_client(way: Way) -> None:
    # "Proceed with an authorized client"
    async with way.visit(bocadillo_accepting.app) as visitor:
        async with visitor.connect("/hello", headers={"API-Key": "s3kr3t"}) as ws:
            assert await ws.receive() == "Hello"
            assert await code_of(ws) == 1000


async def test_a_rejection_may_have_another_status_headers_and_a_body(way: Way) -> None:
    # "reject a WebSocket connection request"
    app = App()

    @app.websocket_route("/hello", auto_accept=False)
    async def hello(ws: WebSocket) -> None:
        await ws.reject(401, {"WWW-Authenticate": "Bearer"}, b"who are you?")

    async with way.visit(app) as visitor:
        caught = await refusal_of(visitor, "/hello")
    assert (caught.status, caught.body) == (401, b"who are you?")
    assert caught.headers["WWW-Authenticate"] == "Bearer"


async def test_a_view_that_does_neither_is_rejected_with_403(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    # "the server must accept a connection request"
    app = App()

    @app.websocket_route("/hello", auto_accept=False)
    async def hello(ws: WebSocket) -> None:
        pass

    async with way.visit(app) as visitor:
        assert await status_of(visitor, "/hello") == 403
    assert ["without accept() or reject()" in each.getMessage() for each in caplog.records] == [True]


# --- "Returning errors" -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1003, 1008, 4000, 4999])
async def test_a_close_code_notifies_the_client(way: Way, code: int) -> None:
    # "await ws.close(1003)"; "The 4000-4999 range should be used for application-specific errors"
    app = App()

    @app.websocket_route("/close")
    async def view(ws: WebSocket) -> None:
        await ws.close(code)

    async with way.visit(app) as visitor, visitor.connect("/close") as ws:
        assert await code_of(ws) == code


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 2999, 5000])
async def test_a_close_code_that_cannot_be_sent_is_refused(way: Way, code: int) -> None:
    # "Standard codes in the 1000-1015 range": not all of them may be sent
    app = App()

    @app.websocket_route("/close")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match=str(code)):
            await ws.close(code)

    async with way.visit(app) as visitor, visitor.connect("/close") as ws:
        assert await code_of(ws) == 1000


def test_the_standard_codes_are_constants() -> None:
    # "available as constants in Starlette's status module"
    names = (CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY, CloseCode.UNSUPPORTED_DATA, CloseCode.INTERNAL_ERROR)
    assert [int(name) for name in names] == [1000, 1001, 1003, 1011]


async def test_the_dangerous_example_explodes_with_its_own_code(way: Way) -> None:
    # "await ws.close(BOOM)"
    throws = iter([0.5, 0.1, 0.05])
    bocadillo_dangerous.app.state.throw = lambda: next(throws)
    async with way.visit(bocadillo_dangerous.app) as visitor, visitor.connect("/dangerous") as ws:
        for _ in range(2):
            await ws.send("touch")
            assert await ws.receive() == "OK"
        await ws.send("touch")
        assert await code_of(ws) == 4003


async def test_dangerous_example_ends_cleanly_after_a_hundred_messages(way: Way) -> None:
    """The dangerous example ends in peace after a hundred messages."""
    # "close the connection ourself if we need to"
    bocadillo_dangerous.app.state.throw = lambda: 0.5
    async with way.visit(bocadillo_dangerous.app) as visitor, visitor.connect("/dangerous") as ws:
        for _ in range(100):
            await ws.send("touch")
            assert await ws.receive() == "OK"
        assert await code_of(ws) == 1000


# --- "Client-side connection closures" --------------------------------------------------------------------------------


async def test_a_client_that_disconnects_is_an_exception_of_receive(way: Way) -> None:
    # "a WebSocketDisconnect exception is raised"
    app = App()
    raised: list[WebSocketDisconnect] = []

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnect) as caught:
            await ws.receive()
        raised.append(caught.value)

    async with way.visit(app) as visitor, visitor.connect("/") as ws:
        await ws.close(4002, "enough")
    assert [(each.code, each.reason) for each in raised] == [(4002, "enough")]


@pytest.mark.parametrize(
    ("path", "silent", "raised"),
    [
        ("/default", [1000, 1001], [1003, 4000]),
        ("/block", [1000, 1001], [1003, 4000]),
        ("/with-1006", [1000, 1001], [1003, 4000]),
        ("/all", [1000, 1001, 1003, 4000], []),
        ("/none", [], [1000, 1001, 4000]),
    ],
)
async def test_the_codes_that_are_caught(way: Way, path: str, silent: list[int], raised: list[int]) -> None:
    # "automatically caught (and silenced) if"; "use caught_close_codes"; "pass all (the built-in)"; "empty tuple ()"
    app = bocadillo_caught.app
    async with way.visit(app) as visitor:
        for code in (*silent, *raised):
            app.state.seen = []
            async with visitor.connect(path) as ws:
                await ws.close(code)
            assert await seen_by(app) == ("silent" if code in silent else code)


@pytest.mark.parametrize(("path", "seen"), [("/default", 1006), ("/with-1006", "silent"), ("/all", "silent")])
async def test_1006_is_a_connection_that_ended_without_a_close_frame(way: Way, path: str, seen: object) -> None:
    # "some web browsers may send a 1006": nobody can send it, it stands for no close frame at all
    app = bocadillo_caught.app
    async with way.visit(app) as visitor:
        await visit_rudely(visitor, path)
        assert await seen_by(app) == seen


@pytest.mark.parametrize(("code", "lines"), [(1000, 0), (1001, 0), (4000, 1)])
async def test_uncaught_close_code_leaving_the_view_is_logged(
    way: Way, code: int, lines: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A code that is not caught and leaves the view is a line in the log."""
    # "In other cases, you will need to handle the exception yourself"
    caplog.set_level(logging.INFO)
    async with way.visit(bocadillo_caught.app) as visitor, visitor.connect("/uncaught") as ws:
        await ws.close(code)
    assert [(each.levelname, str(code) in each.getMessage()) for each in caplog.records] == [("INFO", True)] * lines


# --- in plain tests ---------------------------------------------------------------------------------------------------


def test_the_examples_in_a_plain_test() -> None:
    with bocadillo_views.app.test_client() as client:
        with client.websocket_connect("/echo") as ws:
            ws.send("Hello")
            assert ws.receive() == "You said: Hello"
        with client.websocket_connect("/chat/cats?anonymous=1") as ws:
            ws.send_json("meow")
            assert ws.receive_json() == {"user": "Anonymous", "message": "meow"}
