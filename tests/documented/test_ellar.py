"""Ellar's document on WebSockets: each example of it, and each sentence that can be observed.

The ports are in `ports/ellar_*.py`; the page is driven in a browser by `tests/examples/test_live_support.py`. A comment
in quotation marks is the part of the document that a test is about.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import trio
from support.endings import code_of, status_of

from trio_ws import (
    App,
    ConnectionRejected,
    Controller,
    Cookie,
    Depends,
    Header,
    Path,
    Query,
    WebSocket,
    WebSocketDisconnect,
    WsBody,
)
from trio_ws.app import Body, Form, RegistrationError
from trio_ws.testing import TestClient

from .ports import (
    ellar_encodings,
    ellar_guard,
    ellar_handlers,
    ellar_live_support,
    ellar_query,
    ellar_route,
    ellar_simple,
)
from .ports.ellar_words import answer, welcome
from .ways import Way, visit_rudely

LIVE_SUPPORT = "/car/live-support"
GREETING_PORTS = [ellar_live_support, ellar_query, ellar_guard, ellar_handlers]


def short(port: ModuleType) -> str:
    return port.__name__.rpartition("ellar_")[2]


@pytest.fixture(autouse=True)
def nothing_noted() -> None:
    ellar_guard.app.state.asked = []
    ellar_handlers.app.state.codes = []


# --- "Creating a WebSocket Route" -------------------------------------------------------------------------------------


async def test_a_method_of_a_controller_is_a_route_below_its_prefix(way: Way) -> None:
    # "you create websocket route using ws_route decorator"
    async with way.visit(ellar_route.app) as visitor:
        async with visitor.connect(LIVE_SUPPORT) as ws:
            assert await code_of(ws) == 1000  # the method does nothing, and returns
        assert await status_of(visitor, "/live-support") == 403


@pytest.mark.parametrize("port", GREETING_PORTS, ids=short)
async def test_the_room_welcomes_and_answers(way: Way, port: ModuleType) -> None:
    # "accept connection and send messages to the client"; "long-lived connection"
    async with way.visit(port.app) as visitor, visitor.connect(LIVE_SUPPORT) as ws:
        assert await ws.receive_text() == welcome("" if port in (ellar_live_support, ellar_handlers) else "John")
        for message in ("My car does not start", "<b>still</b>", ""):
            await ws.send_text(message)
            assert await ws.receive_text() == answer(message)


async def test_nothing_is_sent_before_the_handshake_has_succeeded(way: Way) -> None:
    # "once there is a successful handshake"
    app = App()
    raised: list[BaseException] = []

    @app.websocket("/early", auto_accept=False)
    async def early(ws: WebSocket) -> None:
        try:
            await ws.send_text("too early")
        except RuntimeError as error:
            raised.append(error)
        await ws.accept()

    async with way.visit(app) as visitor, visitor.connect("/early") as ws:
        assert await code_of(ws) == 1000
    assert "not accepted yet" in str(raised[0])


async def test_closing_after_the_peer_has_left_does_nothing(way: Way) -> None:
    # "assert ws.close()": the port awaits it, where the connection has ended already
    async with way.visit(ellar_live_support.app) as visitor, visitor.connect(LIVE_SUPPORT) as ws:
        await ws.receive_text()
        await ws.close(4001)
        assert ws.close_code == 4001


async def test_the_page_is_there(way: Way) -> None:
    # "/ws-index, to fetch the html file"
    async with way.visit(ellar_live_support.app) as visitor:
        page = await visitor.get("/car/ws-index")
        assert page.status == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.body == ellar_live_support.INDEX.read_bytes()


def test_the_page_dials_its_own_host_and_shows_text() -> None:
    # "ws://localhost:8000/car/live-support" and "innerHTML": the port's page does neither
    text = ellar_live_support.INDEX.read_text(encoding="utf-8")
    assert "connect(`/car/live-support${location.search}`" in text  # a path: of the page's own host
    assert "innerHTML" not in text
    assert "://cdn" not in text


async def test_a_page_may_be_made_by_a_function(way: Way) -> None:
    # "@render(template_name='ws-index.html')": a template engine is the function's own affair
    async with way.visit(ellar_handlers.app) as visitor:
        assert (await visitor.get("/car/ws-index")).text == "<!DOCTYPE html><title>Live support</title>"


async def test_pages_redirect_a_slash_too_many_and_upgrades_do_not(way: Way) -> None:
    # "REDIRECT_SLASHES=True"
    async with way.visit(ellar_live_support.app) as visitor:
        page = await visitor.get("/car/ws-index/?name=Ada")
        assert (page.status, page.headers["location"]) == (307, "/car/ws-index?name=Ada")
        assert await status_of(visitor, f"{LIVE_SUPPORT}/") == 403


# --- kinds of messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [("text", "text"), ("json", {"a": [1, None]}), ("bytes", b"\x00\xff")],
    ids=["text", "json", "bytes"],
)
async def test_messages_are_received_and_sent_as_text_json_and_bytes(way: Way, kind: str, value: Any) -> None:
    # "received in json(ws.receive_json()), text", "bytes"; "sent back in the same forms"
    app = App()

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        seen.append(await getattr(ws, f"receive_{kind}")())
        await getattr(ws, f"send_{kind}")(seen[0])

    seen: list[Any] = []
    async with way.visit(app) as visitor, visitor.connect("/echo") as ws:
        await getattr(ws, f"send_{kind}")(value)
        assert await getattr(ws, f"receive_{kind}")() == value
    assert seen == [value]


# --- "Guards on websockets" -------------------------------------------------------------------------------------------


async def test_a_guard_decides_before_the_handshake_is_answered(way: Way) -> None:
    # "MyGuard can_activate must return True"
    async with way.visit(ellar_guard.app) as visitor:
        assert await status_of(visitor, f"{LIVE_SUPPORT}?name=Mallory") == 403
        async with visitor.connect(f"{LIVE_SUPPORT}?name=Ada") as ws:
            assert await ws.receive_text() == welcome("Ada")
    assert ellar_guard.app.state.asked == ["Mallory", "Ada"]


async def test_guards_are_not_asked_after_the_handshake(way: Way) -> None:
    # "only active when a client is about to connect"; "no longer involved"
    async with way.visit(ellar_guard.app) as visitor, visitor.connect(LIVE_SUPPORT) as ws:
        await ws.receive_text()
        for number in range(3):
            await ws.send_text(str(number))
            await ws.receive_text()
        assert ellar_guard.app.state.asked == ["John"]


@pytest.mark.parametrize(("said", "status"), [(False, 403), (None, 500), (1, 500)])
async def test_only_true_lets_a_client_in(way: Way, said: object, status: int) -> None:
    # "must return True"
    app = App()

    class MyGuard:
        async def can_activate(self, context: object) -> object:
            return said

    @app.controller("/car", guards=[MyGuard])
    class CarController(Controller):
        @app.websocket("/live-support")
        async def live_support(self) -> None:
            raise AssertionError("nobody comes here")

    async with way.visit(app, strict=False) as visitor:
        assert await status_of(visitor, LIVE_SUPPORT) == status


# --- "Websocket handler Dependencies" ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "name"), [("", "John"), ("?name=Ada", "Ada"), ("?name=Zo%C3%AB+B", "Zo\u00eb B")])
async def test_a_parameter_of_the_query_with_its_default(way: Way, query: str, name: str) -> None:
    # "you will see a name query parameter"
    async with way.visit(ellar_query.app) as visitor, visitor.connect(LIVE_SUPPORT + query) as ws:
        assert await ws.receive_text() == welcome(name)


async def test_handlers_take_all_kinds_of_parameters(way: Way) -> None:
    # "supports all route handler parameters"
    app = App()

    def doubled(number: int) -> int:
        return 2 * number

    @app.controller("/car")
    class CarController(Controller):
        @app.websocket("/{brand}/live-support", value_type="json")
        async def live_support(
            self,
            ws: WebSocket,
            *,
            brand: str = Path(),
            number: int = Query(),
            x_token: str = Header(),
            visitor: str = Cookie("nobody"),
            twice: int = Depends(doubled),
        ) -> None:
            await ws.send([brand, number, x_token, visitor, twice])

    async with way.visit(app) as visitor:
        path = "/car/beetle/live-support"
        connecting = visitor.connect(
            f"{path}?number=21", headers={"X-Token": "t"}, cookies={"visitor": "Ada"}, receive_type="json"
        )
        async with connecting as ws:
            assert await ws.receive() == ["beetle", 21, "t", "Ada", 42]
        assert await status_of(visitor, f"{path}?number=many") == 400


@pytest.mark.parametrize("marker", [Body, Form], ids=["Body", "Form"])
def test_body_and_form_are_refused_at_registration(marker: Callable[[], Any]) -> None:
    # "except Body and Forms"
    app = App()

    class CarController(Controller):
        @app.websocket("/live-support")
        async def live_support(self, data: str = marker()) -> None:
            raise AssertionError("it is never called")

    with pytest.raises(RegistrationError, match=r"live_support: parameter 'data'.*(WsBody|Query)"):
        app.controller("/car")(CarController)


# --- "Advance websocket usage" ----------------------------------------------------------------------------------------


async def test_on_connect_accepts_then_messages_then_on_disconnect(way: Way) -> None:
    """on_connect accepts by itself then messages come then on_disconnect."""
    # "handles client connection"; "handles messages"; "handles server disconnecting"
    async with way.visit(ellar_handlers.app) as visitor, visitor.connect(LIVE_SUPPORT) as ws:
        assert await ws.receive_text() == welcome()
        await ws.send_text("My car does not start")
        assert await ws.receive_text() == answer("My car does not start")
        assert ellar_handlers.app.state.codes == []
        await ws.close(4002)
    assert ellar_handlers.app.state.codes == [4002]


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_on_disconnect_may_call_close_with_the_code_that_it_got(way: Way, code: int) -> None:
    # "await websocket.close(code)": the connection has ended, and it does nothing
    async with way.visit(ellar_handlers.app) as visitor, visitor.connect(LIVE_SUPPORT) as ws:
        await ws.close(code)
    assert ellar_handlers.app.state.codes == [code]


async def test_on_disconnect_may_close_after_drop_and_server_shutdown(way: Way) -> None:
    """on_disconnect may do so after a drop and at the server's own end."""
    # "await websocket.close(code)": with 1006, which no one may send, and with our own 1001
    codes = ellar_handlers.app.state.codes
    async with way.visit(ellar_handlers.app) as visitor:
        await visit_rudely(visitor, LIVE_SUPPORT)
        while not codes:
            await trio.sleep(0.001)
        assert codes == [1006]
        async with visitor.connect(LIVE_SUPPORT) as ws:
            await ws.receive_text()
            visitor.server.shutdown()
            assert await code_of(ws) == 1001
    assert codes == [1006, 1001]


async def test_on_connect_without_an_answer_is_accepted_after_it(way: Way) -> None:
    """on_connect that leaves it undecided is accepted after it."""
    # "await websocket.accept()": it may be left out
    app = App()
    accepted: list[bool] = []

    @app.listener("/room", encoding="text", auto_accept=False)
    async def room(data: str) -> str:
        return data

    @room.on_connect
    async def connect(websocket: WebSocket) -> None:
        accepted.append(websocket.accepted)

    async with way.visit(app) as visitor, visitor.connect("/room") as ws:
        await ws.send_text("Hello")
        assert await ws.receive_text() == "Hello"
    assert accepted == [False]


@pytest.mark.parametrize("accept_first", [True, False])
async def test_on_connect_that_fails_is_an_error_of_the_handler(way: Way, accept_first: bool) -> None:
    # "handle connection": on_disconnect runs for whoever was accepted, and for nobody else
    app = App()
    codes: list[int] = []

    @app.listener("/room", encoding="text", auto_accept=False)
    async def room(data: str) -> str:
        return data

    @room.on_connect
    async def connect(websocket: WebSocket) -> None:
        if accept_first:
            await websocket.accept()
        raise ZeroDivisionError

    @room.on_disconnect
    async def disconnect(code: int) -> None:
        codes.append(code)

    async with way.visit(app, strict=False) as visitor:
        if accept_first:
            async with visitor.connect("/room") as ws:
                assert await code_of(ws) == 1011
        else:
            assert await status_of(visitor, "/room") == 500
    assert codes == ([1011] if accept_first else [])


def disconnect_callbacks(called: list[Any]) -> dict[str, Callable[..., Any]]:
    async def none() -> None:
        called.append("ended")

    async def one(websocket: WebSocket) -> None:
        called.append(websocket.connected)

    async def two(websocket: WebSocket, code: int) -> None:
        called.append(code)

    return {
        "async ()": none,
        "async (ws)": one,
        "async (ws, code)": two,
        "plain ()": lambda: called.append("ended"),
        "plain (ws)": lambda ws: called.append(ws.connected),
        "plain (ws, code)": lambda ws, code: called.append(code),
    }


@pytest.mark.parametrize(
    ("form", "noted"), list(zip(disconnect_callbacks([]), ["ended", False, 4000] * 2, strict=True)), ids=str
)
async def test_callbacks_take_as_much_as_they_want(way: Way, form: str, noted: object) -> None:
    # "websocket instance as only parameter and must be an asynchronous function": neither is demanded here
    app = App()
    called: list[Any] = []

    @app.listener("/room", encoding="text")
    async def room(data: str) -> str:
        return data

    room.on_disconnect(disconnect_callbacks(called)[form])
    async with way.visit(app) as visitor, visitor.connect("/room") as ws:
        await ws.close(4000)
    assert called == [noted]


async def test_on_connect_may_take_the_parameters_of_the_path_together(way: Way) -> None:
    # "on_connect(websocket, **kwargs)"
    app = App()
    seen: list[Any] = []

    @app.listener("/{brand}/room/{number:int}", encoding="text")
    async def room(data: str) -> str:
        return data

    @room.on_connect
    async def connect(websocket: WebSocket, **kwargs: Any) -> None:
        seen.append((websocket.connected, kwargs))

    async with way.visit(app) as visitor, visitor.connect("/beetle/room/7"):
        pass
    assert seen == [(True, {"brand": "beetle", "number": 7})]


async def test_a_function_for_messages_may_take_the_connection_first(way: Way) -> None:
    # "on_message(websocket, data)"
    app = App()

    @app.listener("/room", encoding="text")
    async def on_message(websocket: WebSocket, data: str = WsBody()) -> None:
        await websocket.send_text(data)

    async with way.visit(app) as visitor, visitor.connect("/room") as ws:
        await ws.send_text("Hello")
        assert await ws.receive_text() == "Hello"


# --- encodings and validation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "sent", "received"),
    [
        ("/car/text", "beetle", "BEETLE"),
        ("/car/json", '{"car": "beetle"}', '{"car":"beetle","seats":4}'),
        ("/car/json", b'{"car": "beetle", "seats": "2"}', '{"car":"beetle","seats":2}'),
        ("/car/bytes", b"abc", b"cba"),
        ("/car/number", "41", "42"),
    ],
    ids=["text", "json", "json as bytes", "bytes", "text into an int"],
)
async def test_the_encoding_is_the_structure_of_the_messages(way: Way, path: str, sent: Any, received: Any) -> None:
    # "text: allows only simple text"; "json: allows json messages"; "bytes: allows byte messages"
    async with way.visit(ellar_encodings.app) as visitor, visitor.connect(path) as ws:
        await ws.send(sent)
        assert await ws.receive() == received


@pytest.mark.parametrize(("path", "sent"), [("/car/text", b"beetle"), ("/car/bytes", "beetle")])
async def test_a_message_of_the_other_kind_ends_the_connection(way: Way, path: str, sent: Any) -> None:
    # "message data structure that is required of the client"
    async with way.visit(ellar_encodings.app) as visitor, visitor.connect(path) as ws:
        await ws.send(sent)
        assert await code_of(ws) == 1003


@pytest.mark.parametrize(
    ("path", "sent", "loc", "kind"),
    [
        ("/car/json", "{}", ["car"], "missing"),
        ("/car/json", '{"car": "beetle", "seats": "many"}', ["seats"], "int_parsing"),
        ("/car/json", "beetle", [], "json_invalid"),
        ("/car/number", "many", [], "int_parsing"),
    ],
    ids=["missing", "type", "no json", "text"],
)
async def test_message_failing_validation_is_answered_and_closes(
    way: Way, path: str, sent: str, loc: list[str], kind: str
) -> None:
    """A message that fails validation is told so and ends the connection."""
    # "an error will be sent to the client and connection will be destroyed"
    async with way.visit(ellar_encodings.app) as visitor, visitor.connect(path) as ws:
        await ws.send(sent)
        error = await ws.receive_json()
        assert error["statusCode"] == 400
        assert [(each["loc"], each["type"]) for each in error["body"]["errorList"]] == [(loc, kind)]
        assert await code_of(ws) == 1007


def test_an_unknown_encoding_is_refused_at_registration() -> None:
    # "There are other encoding types supported": three, and no others
    with pytest.raises(ValueError, match="encoding"):
        App().listener("/path", encoding="xml")  # type: ignore[arg-type]


async def test_the_simplified_form_accepts_and_ends_by_itself(way: Way) -> None:
    # "let the inbuilt handler apply the default"
    async with way.visit(ellar_simple.app) as visitor, visitor.connect(LIVE_SUPPORT) as ws:
        await ws.send_text("My car does not start")
        assert await ws.receive_text() == answer("My car does not start")
        await ws.close()
        assert ws.close_code == 1000


# --- "Testing a Websocket Route" --------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", GREETING_PORTS, ids=short)
def test_each_room_talks_to_a_plain_test(port: ModuleType) -> None:
    # "websocket_client.receive_text()"
    with port.app.test_client().websocket_connect(LIVE_SUPPORT) as websocket_client:
        assert websocket_client.receive_text().startswith("Welcome ")
        websocket_client.send_text("Message from client")
        assert websocket_client.receive_text() == answer("Message from client")


def test_a_refusal_is_an_http_status_in_a_plain_test() -> None:
    # "for a connection to /live-suport to be successful"
    with pytest.raises(ConnectionRejected) as caught:
        ellar_guard.app.test_client().websocket_connect(f"{LIVE_SUPPORT}?name=Mallory").__enter__()
    assert caught.value.status == 403


class TestCarController:
    """The document's test: `setup` is `setup_method` for today's pytest."""

    client: TestClient

    def setup_method(self) -> None:
        app = App(controllers=[ellar_live_support.CarController])
        self.client = app.test_client()

    def test_live_support_works(self) -> None:
        # "use the TestClient in a with statement, connecting to the WebSocket"
        with self.client.websocket_connect("/car/live-support") as websocket_client:
            data = websocket_client.receive_text()
            assert data == welcome()

            websocket_client.send_text("Message from client")
            data = websocket_client.receive_text()
            assert data == answer("Message from client")

    def test_each_connection_has_a_controller_of_its_own(self) -> None:
        # "test_module.get_test_client()": entered, one client holds several connections
        with (
            self.client as client,
            client.websocket_connect("/car/live-support") as one,
            client.websocket_connect("/car/live-support") as two,
        ):
            assert one.receive_text() == two.receive_text() == welcome()
            two.send_text("two")
            one.send_text("one")
            assert (one.receive_text(), two.receive_text()) == (answer("one"), answer("two"))

    def test_the_end_of_the_connection_is_an_error_of_the_test(self) -> None:
        app = App(controllers=[ellar_encodings.CarController])
        with app.test_client().websocket_connect("/car/text") as websocket_client:
            websocket_client.send_bytes(b"no text")
            with pytest.raises(WebSocketDisconnect) as caught:
                websocket_client.receive_text()
        assert caught.value.code == 1003
