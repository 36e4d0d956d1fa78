"""Listeners: callbacks with validated bodies, in the three shapes that share one implementation."""

from __future__ import annotations

import dataclasses
import logging
from typing import Annotated, Any, Literal

import attrs
import pytest
import trio
from pydantic import BaseModel, Field
from support.handlers import app_of, app_of_listener
from typing_extensions import TypedDict

import trio_ws.app
from trio_ws import App, Controller, Ok, Reply, WebSocket, WebSocketDisconnect, WsBody
from trio_ws.app import GuardContext, Listener, ParameterError, RegistrationError, listener, websocket


class Question(BaseModel):
    text: str


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@attrs.frozen
class Pair:
    left: int
    right: int


class Named(TypedDict):
    name: str


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


async def answers(app: App, path: str, *messages: Any) -> list[Any]:
    """Send messages (text and bytes as they are, all else as JSON) and return one JSON answer to each."""
    async with app.test_client() as client, client.websocket_connect(path) as ws:
        got = []
        for message in messages:
            await (ws.send(message) if isinstance(message, str | bytes) else ws.send_json(message))
            got.append(await ws.receive_json())
        return got


@pytest.mark.parametrize(
    ("annotation", "body", "reply"),
    [
        (Question, {"text": "a"}, {"text": "a"}),
        (Point, {"x": "1"}, {"x": 1, "y": 0}),
        (Pair, {"left": 1, "right": 2}, {"left": 1, "right": 2}),
        (Named, {"name": "n"}, {"name": "n"}),
        (Pet, {"kind": "dog", "tricks": ["sit"]}, {"kind": "dog", "tricks": ["sit"]}),
        (list[int], ["1", 2], [1, 2]),
        (int, 3, 3),
        (dict[str, bool], {"a": 1}, {"a": True}),
    ],
)
async def test_a_body_is_validated_into_what_the_annotation_says(annotation: Any, body: Any, reply: Any) -> None:
    app = App()

    async def echo(data):
        return data

    echo.__annotations__["data"] = annotation
    app.listener("/a")(echo)
    assert await answers(app, "/a", body) == [reply]


async def test_bad_body_gets_error_envelope_and_connection_stays() -> None:
    """Bad bodies get the documented envelope and the connection stays."""

    async def receive(data: Question) -> Any:
        return Ok(data)

    missing, no_json, fine = await answers(app_of_listener(receive, "/a"), "/a", {}, "{", {"text": "x"})
    assert missing == {
        "statusCode": 400,
        "body": {"errorList": [{"loc": ["text"], "type": "missing", "msg": "Field required"}]},
    }
    assert (no_json["statusCode"], no_json["body"]["errorList"][0]["type"]) == (400, "json_invalid")
    assert no_json["body"]["errorList"][0]["loc"] == []
    assert fine == {"statusCode": 200, "body": {"text": "x"}}


async def test_on_invalid_close_sends_the_error_then_closes_with_1007() -> None:
    async def receive(data: Question) -> None:
        pytest.fail("called with a body that does not validate")

    async with app_of_listener(receive, "/a", on_invalid="close").test_client() as client:
        with pytest.raises(WebSocketDisconnect) as caught:
            async with client.websocket_connect("/a") as ws:
                await ws.send_json({})
                assert (await ws.receive_json())["statusCode"] == 400
                await ws.receive()
    assert caught.value.code == 1007


async def test_on_invalid_may_be_a_function_that_makes_the_reply() -> None:
    async def explain(error: ParameterError) -> Any:
        return {"problems": len(error.errors)}

    async def receive(data: Point) -> None: ...

    app = app_of_listener(receive, "/a", on_invalid=explain)
    assert await answers(app, "/a", {"x": "a", "y": "b"}) == [{"problems": 2}]


@pytest.mark.parametrize(
    ("encoding", "message", "code"), [("text", b"x", 1003), ("bytes", "x", 1003), ("json", None, None)]
)
async def test_the_wrong_kind_of_frame_closes_with_1003(encoding: Any, message: Any, code: int | None) -> None:
    async def receive(data) -> Any:
        return {"got": data}

    async with app_of_listener(receive, "/a", encoding=encoding).test_client() as client:
        if code is None:
            async with client.websocket_connect("/a") as ws:
                await ws.send(b'{"in": "binary"}')
                assert await ws.receive_json() == {"got": {"in": "binary"}}
            return
        with pytest.raises(WebSocketDisconnect) as caught:
            async with client.websocket_connect("/a") as ws:
                await ws.send(message)
                await ws.receive()
        assert caught.value.code == code


@pytest.mark.parametrize(("encoding", "value"), [("text", "plain"), ("bytes", b"\x01\x02")])
async def test_text_and_bytes_are_sent_unchanged_by_matching_listener(encoding: Any, value: Any) -> None:
    """Text and bytes go out as they are on a listener of their kind."""

    async def receive(data: Any) -> Any:
        return data

    app = app_of_listener(receive, "/a", encoding=encoding)
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send(value)
        assert await ws.receive() == value


async def test_a_callback_may_yield_several_replies_or_none() -> None:
    app = App()

    @app.listener("/async")
    async def count(data: int):
        for number in range(data):
            yield number

    @app.listener("/plain")
    def countdown(data: int):
        yield from range(data, 0, -1)

    async with app.test_client() as client:
        async with client.websocket_connect("/async") as ws:
            await ws.send_json(0)
            await ws.send_json(3)
            assert [await ws.receive_json() for _ in range(3)] == [0, 1, 2]
        async with client.websocket_connect("/plain") as ws:
            await ws.send_json(2)
            assert [await ws.receive_json() for _ in range(2)] == [2, 1]


async def test_invalid_reply_closes_with_1011_and_is_logged_by_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is no reply closes with 1011 and a log line that names it."""

    async def receive(data: int) -> Any:
        return object()

    async with app_of_listener(receive, "/a").test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect) as caught, caplog.at_level(logging.ERROR):
            async with client.websocket_connect("/a") as ws:
                await ws.send_json(1)
                await ws.receive()
    assert caught.value.code == 1011
    assert "receive: a callback returned object, which is no reply" in caplog.text


async def test_half_of_a_surrogate_pair_is_no_reply_in_text(caplog: pytest.LogCaptureFixture) -> None:
    """JSON has an escape for it, see test_json.py; a text message has not."""

    async def receive(data: Any) -> str:
        return "\ud800"

    async with app_of_listener(receive, "/a", encoding="text").test_client(raise_server_errors=False) as client:
        with pytest.raises(WebSocketDisconnect, match="1011"), caplog.at_level(logging.ERROR):
            async with client.websocket_connect("/a") as ws:
                await ws.send("1")
                await ws.receive()
    assert "NotAReply" in caplog.text
    assert "receive: 'utf-8' codec can't encode" in caplog.text


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("Ok", 200),
        ("Created", 201),
        ("Accepted", 202),
        ("BadRequest", 400),
        ("Unauthorized", 401),
        ("Forbidden", 403),
        ("NotFound", 404),
        ("Conflict", 409),
        ("UnprocessableEntity", 422),
        ("InternalServerError", 500),
        ("ModelWSResponse", 200),
    ],
)
async def test_the_family_of_replies_has_the_status_codes_of_http(name: str, code: int) -> None:
    async def receive(data: int) -> Reply:
        return getattr(trio_ws.app, name)(data)

    assert await answers(app_of_listener(receive, "/a"), "/a", 7) == [{"statusCode": code, "body": 7}]
    assert getattr(trio_ws.app, name)() == Reply(code, None)


async def test_on_invalid_may_be_asynchronous_and_may_yield() -> None:
    app = App()

    async def later(error: ParameterError) -> str:
        return error.errors[0].type

    def several(error: ParameterError):
        yield "no"
        yield len(error.errors)

    @app.listener("/later", on_invalid=later)
    async def receive(data: int) -> None: ...

    app.listener("/several", on_invalid=several)(receive.receive_callback)
    async with app.test_client() as client:
        async with client.websocket_connect("/later") as ws:
            await ws.send('"x"')
            assert await ws.receive_json() == "int_parsing"
        async with client.websocket_connect("/several") as ws:
            await ws.send('"x"')
            assert [await ws.receive_json(), await ws.receive_json()] == ["no", 1]


async def test_one_function_may_be_several_callbacks() -> None:
    heard: list[Any] = []
    app = App()

    @app.listener("/a")
    async def receive(data: int) -> None: ...

    @receive.on_connect
    @receive.on_disconnect
    async def note(ws: WebSocket, code: int | None = None) -> None:
        heard.append(code)

    async with app.test_client() as client, client.websocket_connect("/a"):
        pass
    assert heard == [None, 1000]


async def test_messages_without_reply_do_not_queue_behind_slow_ones() -> None:
    """What has no reply does not pile up behind what takes long."""
    app, ready = App(), trio.Event()

    @app.listener("/a", concurrency=3)
    async def work(first: bool) -> None:
        if first:
            await ready.wait()

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        before = trio.lowlevel.current_statistics().tasks_living
        await ws.send("true")
        for _ in range(200):
            await ws.send("false")
        with trio.move_on_after(0.05):
            await trio.sleep_forever()
        assert trio.lowlevel.current_statistics().tasks_living - before < 10
        ready.set()


async def test_callbacks_take_connection_code_and_route_parameters() -> None:
    """Callbacks take nothing or the connection code and route parameters."""
    heard: list[Any] = []
    app = App()

    @app.listener("/a/{name}")
    async def receive(ws: WebSocket, data: str, name: str) -> str:
        return f"{name}: {data} {ws.path_parameters['name']}"

    @receive.on_connect
    async def come() -> None:
        heard.append("come")

    @receive.on_disconnect
    async def go(ws, code, name: str) -> None:
        heard.extend([ws.connected, code, name])

    assert await answers(app, "/a/x", '"hi"') == ["x: hi x"]
    assert heard == ["come", False, 1000, "x"]


async def test_what_the_application_has_is_not_the_body() -> None:
    async def receive(application: App, context: GuardContext, data: int) -> int:
        assert application is app
        return data + len(context.parameters)

    app = app_of_listener(receive, "/a")
    assert await answers(app, "/a", 4) == [4]


async def test_a_marked_parameter_is_the_body_wherever_it_stands() -> None:
    async def receive(loud: bool = False, data: str = WsBody()) -> str:
        return data.upper() if loud else data

    assert await answers(app_of_listener(receive, "/a"), "/a?loud=1", '"x"') == ["X"]


def test_misuse_of_callbacks_is_an_error_at_registration() -> None:
    app = App()

    @app.listener("/a")
    async def receive(data: int) -> None: ...

    with pytest.raises(RegistrationError, match="'lock'"):

        @receive.on_connect
        async def bad(ws: WebSocket, lock: trio.Lock) -> None: ...

    @receive.on_connect
    async def good() -> None: ...

    with pytest.raises(RegistrationError, match="on_connect callback already"):
        receive.on_connect(good)
    with pytest.raises(RegistrationError, match="a message has one body"):

        @app.listener("/b")
        async def two(a: int = WsBody(), b: int = WsBody()) -> None: ...

    with pytest.raises(ValueError, match="on_invalid"):
        app.listener("/c", on_invalid="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency"):
        app.listener("/c", concurrency=0)
    with pytest.raises(ValueError, match="encoding"):
        app.listener("/c", encoding="xml")  # type: ignore[arg-type]


@pytest.mark.parametrize("hook", ["on_connect", "on_disconnect"])
async def test_a_refused_callback_leaves_room_for_another(hook: str) -> None:
    app = App()

    @app.listener("/a")
    async def echo(message: str) -> str:
        return message

    async def bad(ws: WebSocket, lock: trio.Lock) -> None: ...

    with pytest.raises(RegistrationError, match="'lock'"):
        getattr(echo, hook)(bad)
    called: list[str] = []

    @getattr(echo, hook)
    async def mended() -> None:
        called.append(hook)

    assert await answers(app, "/a", '"x"') == ["x"]
    assert called == [hook]


async def test_a_listener_can_still_be_called_as_the_function_it_is() -> None:
    app = App()

    @app.listener("/a")
    async def receive(data: int) -> Reply:
        """Say."""
        return Reply(201, data)

    assert await receive(3) == Reply(201, 3)
    assert (receive.__name__, receive.__doc__) == ("receive", "Say.")


async def test_on_connect_without_auto_accept_may_answer() -> None:
    """Without auto_accept on_connect runs before the answer and may give it."""
    seen: list[bool] = []
    app = App()

    @app.listener("/undecided", auto_accept=False)
    async def receive(data: int) -> int:
        return data

    @receive.on_connect
    async def look(ws: WebSocket) -> None:
        seen.append(ws.accepted)

    @app.listener("/decided", auto_accept=False)
    async def receive_too(data: int) -> int:
        return data

    @receive_too.on_connect
    async def accept(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send("welcome")

    assert await answers(app, "/undecided", 1) == [1]
    assert seen == [False]
    async with app.test_client() as client, client.websocket_connect("/decided") as ws:
        assert await ws.receive() == "welcome"


async def test_concurrent_callbacks_answer_in_message_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Concurrent callbacks overlap and answer in the order of the messages."""
    running = most = 0

    async def work(seconds: float) -> float:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(seconds)
        running -= 1
        return seconds

    waits = [3.0, 2.0, 1.0, 0.5, 0.25]
    async with app_of_listener(work, "/a", concurrency=3).test_client() as client, client.websocket_connect("/a") as ws:
        for wait in waits:
            await ws.send_json(wait)
        assert [await ws.receive_json() for _ in waits] == waits
    assert most == 3


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_callbacks_at_work_are_counted_exactly(concurrency: int, autojump_clock: trio.testing.MockClock) -> None:
    """The count decides which time a handler has after its peer left: also behind an invalid message."""
    counts: list[int] = []

    async def work(seconds: float, ws: WebSocket) -> float:
        await trio.sleep(seconds)
        counts.append(ws.context.open_channel().callbacks)
        return seconds

    app = app_of_listener(work, "/a", concurrency=concurrency)
    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        for message in ["1.0", '"none"', "1.0", "1.0"]:
            await ws.send(message)
            await ws.receive()
        await ws.send("1.0")
        await ws.send("2.0")
        assert [await ws.receive_json(), await ws.receive_json()] == [1.0, 2.0]
    assert counts == [1, 1, 1, concurrency, 1]


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_another_connections_disconnect_is_an_error(
    concurrency: int, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """The end of another connection in a callback ends this one with 1011, and is logged."""

    async def work(message: str) -> None:
        raise WebSocketDisconnect(1000, "of another connection")

    app = app_of_listener(work, "/a", concurrency=concurrency)
    with pytest.raises((WebSocketDisconnect, ExceptionGroup)):
        async with app.test_client() as client, client.websocket_connect("/a") as ws:
            await ws.send_json("x")
            with pytest.raises(WebSocketDisconnect, match="1011"):
                await ws.receive()
    assert "of another connection" in caplog.text


async def test_running_callback_has_cleanup_timeout_after_disconnect(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A callback at work when its peer leaves has the cleanup_timeout."""
    done: list[float] = []
    app = App()

    @app.listener("/a")
    async def work(seconds: float) -> None:
        with trio.CancelScope() as scope:
            await trio.sleep(seconds)
            done.append(seconds)
        assert not scope.cancelled_caught

    @app.listener("/several", concurrency=2)
    async def work_too(seconds: float) -> None:
        await trio.sleep(seconds)
        done.append(seconds)

    async with app.test_client() as client:
        for path in ("/a", "/several"):
            for seconds in (4.0, 6.0):  # of five
                async with client.websocket_connect(path) as ws:
                    await ws.send_json(seconds)
                    await trio.sleep(0.1)
        await trio.sleep(6)  # the test client, too, waits for five seconds
    assert done == [4.0, 4.0]


async def test_accept_callback_shares_the_implementation() -> None:
    heard: list[Any] = []

    async def view(ws: WebSocket) -> None:
        async def on_connect() -> None:
            heard.append("come")

        async def on_disconnect(code: int) -> None:
            heard.append(code)

        async def on_receive(data: Question) -> Any:
            return Ok(data.text)

        await ws.accept_callback(on_receive=on_receive, on_connect=on_connect, on_disconnect=on_disconnect)
        heard.append("after")

    app = app_of(view, "/a", auto_accept=False)
    assert await answers(app, "/a", {"text": "x"}) == [{"statusCode": 200, "body": "x"}]
    assert heard == ["come", "after", 1000]


# --- controllers -------------------------------------------------------------------------------------------------


async def test_controller_is_built_per_connection_after_guards() -> None:
    """A controller is made for each connection after the guards."""
    made: list[str] = []
    app = App()

    def refuse(context: Any) -> bool:
        return "no" not in context.request.query_parameters

    @app.controller("/car", guards=[refuse])
    class Car(Controller):
        def __init__(self, name: str = "John") -> None:
            made.append(f"{name} {self.websocket.request.path}")
            self.count = 0

        @app.websocket("/view")
        async def view(self, name: str = "John") -> None:
            client = self.context.switch_to_websocket().get_client()
            await client.send(f"{name} {self.request.path}")

        @app.listener("/live", encoding="text")
        async def live(self, data: str = WsBody()) -> str:
            self.count += 1
            return f"{data} {self.count}"

        @live.on_connect
        async def come(self, ws: WebSocket) -> None:
            await ws.send("welcome")

        @live.on_disconnect
        async def go(self, ws: WebSocket, code: int) -> None:
            await ws.close(code)
            made.append(f"gone {code} {self.count}")

    async with app.test_client() as client:
        async with client.websocket_connect("/car/view?name=Bob") as ws:
            assert await ws.receive() == "Bob /car/view"
        async with client.websocket_connect("/car/live") as ws:
            assert await ws.receive() == "welcome"
            await ws.send("a")
            assert await ws.receive() == "a 1"
        with pytest.raises(Exception, match="403"):
            async with client.websocket_connect("/car/view?no=1"):
                pass
    assert made == ["Bob /car/view", "John /car/live", "gone 1000 1"]


async def test_any_class_can_be_a_controller_given_to_the_application() -> None:
    class Plain:
        @websocket("/v")
        async def view(self) -> None:
            await self.websocket.send("v")  # type: ignore[attr-defined]

        @listener("/l")
        def double(self, data: int) -> int:
            return 2 * data

    app = App(controllers=[Plain])
    async with app.test_client() as client, client.websocket_connect("/v") as ws:
        assert await ws.receive() == "v"
    assert await answers(app, "/l", 2) == [4]


async def test_overridden_methods_are_no_routes_and_inherited_ones_are() -> None:
    class Base:
        @websocket("/a")
        async def a(self) -> None:
            await self.websocket.send("base a")  # type: ignore[attr-defined]

        @websocket("/b")
        async def b(self) -> None: ...

    class Derived(Base):
        async def b(self) -> None: ...

    app = App(controllers=[Derived])
    assert [route.path for route in app.routes()] == ["/a"]


def test_a_class_without_routes_is_no_controller() -> None:
    with pytest.raises(RegistrationError, match="has no routes"):
        App(controllers=[dict])


async def test_method_of_non_controller_class_is_an_error_at_startup() -> None:
    """A method whose class is no controller is an error at the start."""
    app = App()

    class Forgotten:
        @app.websocket("/a")
        async def view(self) -> None: ...

    with pytest.raises(RegistrationError, match=r"Forgotten\.view: decorate the class"):
        async with app.lifespan_context():
            pass


@pytest.mark.parametrize("annotated", [False, True])
async def test_on_disconnect_gets_close_code_as_second_parameter(annotated: bool) -> None:
    """The second bare parameter of on_disconnect is the close code."""
    codes: list[Any] = []
    app = App()

    @app.listener("/a")
    async def receive(data: int) -> None: ...

    if annotated:

        @receive.on_disconnect
        async def go(ws: WebSocket, status: int) -> None:
            codes.append(status)

    else:

        @receive.on_disconnect
        async def leave(ws, reason_code) -> None:
            codes.append(reason_code)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.close(4000)
    assert codes == [4000]


async def test_on_disconnect_may_take_route_parameters_and_no_code() -> None:
    heard: list[Any] = []
    app = App()

    @app.listener("/{name}")
    async def receive(data: int) -> None: ...

    @receive.on_disconnect
    async def go(ws: WebSocket, name: str, *, close_code: int) -> None:
        heard.append((name, close_code))

    async with app.test_client() as client, client.websocket_connect("/a"):
        pass
    assert heard == [("a", 1000)]


# --- listeners as methods ----------------------------------------------------------------------------------------


class Chat(Controller):
    name = "chat"

    @listener("/chat")
    async def chat(self, data: str) -> str:
        return f"{self.name}: {data}"

    @listener("/twice")
    async def twice(self, data: str) -> list[str]:
        return [await self.chat(data), await self.chat(data)]

    @listener("/plain")
    def plain(self, data: str) -> str:
        return data.upper()


class Loud(Chat):
    name = "loud"

    @listener("/chat")
    async def chat(self, data: str) -> str:
        return (await super().chat(data)).upper()


async def test_a_listener_of_a_class_is_called_like_a_method() -> None:
    assert await Chat().chat("a") == "chat: a"
    assert await Loud().chat("a") == "LOUD: A"
    assert await Chat.chat(Chat(), "a") == "chat: a"
    assert Chat().plain("a") == "A"
    assert isinstance(Chat.chat, Listener)


async def test_listeners_of_a_class_call_one_another() -> None:
    app = App(controllers=[Loud])
    assert await answers(app, "/twice", '"a"') == [["LOUD: A", "LOUD: A"]]
    assert await answers(app, "/chat", '"a"') == ["LOUD: A"]


async def test_a_bound_listener_is_a_callback() -> None:
    async def view(ws: WebSocket) -> None:
        await ws.accept_callback(on_receive=Chat().chat)

    assert await answers(app_of(view, "/a"), "/a", '"x"') == ["chat: x"]
