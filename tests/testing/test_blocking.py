"""The blocking twin of the test client, in plain tests: its server runs in a thread."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager

import pytest
import trio
from support.handlers import stall

from tests.testing.responders import Alive, Routes, echo
from trio_ws import ConnectionRejected, WebSocket, WebSocketDisconnect
from trio_ws.testing import LeakedTask, TestClient, TestTimeout
from trio_ws.testing.portal import BlockingPortal


async def support(websocket: WebSocket) -> None:
    await websocket.send("Welcome!")
    async for message in websocket:
        await websocket.send(f"received: {message}")


async def fail(websocket: WebSocket) -> None:
    await websocket.receive()
    raise KeyError("ours")


def portals() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "portal" in thread.name]


class TestDocumentedStyle:
    """As Ellar documents it: the client is made in a set-up method, and its connections are entered."""

    def setup_method(self) -> None:
        self.client = TestClient(Routes({"/live-support": support}))

    def test_live_support_works(self) -> None:
        with self.client.websocket_connect("/live-support") as websocket_client:
            assert websocket_client.receive_text() == "Welcome!"
            websocket_client.send_text("Message from client")
            assert websocket_client.receive_text() == "received: Message from client"

    def test_two_connections_share_one_server(self) -> None:
        with self.client.websocket_connect("/live-support") as one:
            with self.client.websocket_connect("/live-support") as other:
                assert one.receive() == other.receive() == "Welcome!"
                assert self.client.server.statistics().websockets == 2
            one.send("still there")
            assert one.receive() == "received: still there"
        assert portals() == []


def test_every_kind_of_message_goes_there_and_back() -> None:
    with TestClient(Routes({"/": echo}, subprotocols=("chat",))) as client:
        with client.websocket_connect("/?n=1", subprotocols=["chat"]) as ws:
            ws.send_bytes(b"b")
            assert ws.receive_bytes() == b"b"
            ws.send_json({"a": 1})
            assert ws.receive_json() == {"a": 1}
            ws.send("as it comes")
            assert ws.recv().text == "as it comes"
            assert ws.ping() >= 0
            assert (ws.subprotocol, ws.query_parameters["n"], ws.connected, ws.close_reason) == (
                "chat",
                "1",
                True,
                None,
            )
            ws.close(4001, "enough")
            assert (ws.close_code, ws.close_reason) == (4001, "enough")


def test_a_connection_is_iterated_until_the_server_closes() -> None:
    async def count(websocket: WebSocket) -> None:
        for number in range(3):
            await websocket.send(str(number))

    with TestClient(Routes({"/": count})) as client, client.websocket_connect("/") as ws:
        assert list(ws) == ["0", "1", "2"]


def test_a_page_is_got() -> None:
    with TestClient(Routes()) as client:
        page = client.get("/page", headers={"User-Agent": "me"})
    assert (page.status, page.headers["x-agent"]) == (200, "me")


def test_a_rejected_handshake_is_an_http_status() -> None:
    with TestClient(Routes()) as client:
        with pytest.raises(ConnectionRejected) as caught, client.websocket_connect("/nowhere"):
            pytest.fail("the block runs")
        assert caught.value.status == 403
        with client.websocket_connect("/echo") as ws:
            assert ws.connected
    assert portals() == []


def test_rejected_handshake_of_unentered_client_ends_thread() -> None:
    """A rejected handshake of a client that is not entered ends its thread."""
    with pytest.raises(ConnectionRejected), TestClient(Routes()).websocket_connect("/nowhere"):
        pytest.fail("the block runs")
    assert portals() == []


def test_the_client_may_be_used_under_its_own_name() -> None:
    client = TestClient(Routes())
    with client as entered, client.websocket_connect("/echo") as ws:
        ws.send("hi")
        assert ws.receive() == "hi"
        assert entered.server is client.server
        assert entered.server.statistics().websockets == 1


def test_the_lifespan_surrounds_the_serving() -> None:
    app = Alive()
    with TestClient(app), TestClient(Routes()):
        assert app.log == ["begins"]
    assert app.log == ["begins", "ends"]


def test_failing_lifespan_raises_on_entering_and_ends_the_thread() -> None:
    """A lifespan that fails to begin is an error on entering and ends the thread."""

    class Stillborn(Routes):
        def lifespan_context(self):
            raise ValueError("no database")

    with pytest.raises(ValueError, match="no database"), TestClient(Stillborn()):
        pytest.fail("the block runs")
    assert portals() == []


def test_a_message_that_does_not_come_is_a_timeout() -> None:
    with TestClient(Routes()) as client, client.websocket_connect("/echo", timeout=0.01) as ws:
        with pytest.raises(TestTimeout, match=r"timed out after 0\.01 s waiting for a message"):
            ws.receive()


def test_handler_error_is_raised_at_the_end_of_the_client() -> None:
    """An error in a handler is raised at the end of the client."""
    codes = []
    with pytest.raises(KeyError, match="ours"):
        with TestClient(Routes({"/": fail})) as client, client.websocket_connect("/") as ws:
            ws.send("go")
            with pytest.raises(WebSocketDisconnect) as seen:
                ws.receive()
            codes.append(seen.value.code)
    assert codes == [1011]


def test_handler_error_is_raised_by_self_serving_connection() -> None:
    """An error in a handler is raised at the end of a connection that serves itself."""
    with pytest.raises(KeyError, match="ours"), TestClient(Routes({"/": fail})).websocket_connect("/") as ws:
        ws.send("go")
        ws.receive()
    assert portals() == []


def test_errors_can_be_looked_at_instead() -> None:
    with TestClient(Routes({"/": fail}), raise_server_errors=False) as client, client.websocket_connect("/") as ws:
        ws.send("go")
        with pytest.raises(WebSocketDisconnect):
            ws.receive()
    assert [type(error) for error in client.errors] == [KeyError]


def test_failing_assertion_is_raised_unchanged_and_ends_thread() -> None:
    """A failing assertion is raised as it is and ends the thread."""
    with pytest.raises(AssertionError, match="mine"):
        with TestClient(Routes()) as client, client.websocket_connect("/echo"):
            raise AssertionError("mine")
    assert portals() == []


def test_a_test_that_skips_itself_within_a_block_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception), TestClient(Routes()) as client, client.websocket_connect("/echo"):
        pytest.skip("not today")


def test_a_handler_that_outlives_its_connection_is_a_leak() -> None:
    app = Routes({"/stay": stall}, when_peer_leaves="finish")
    with pytest.raises(LeakedTask, match=r"/stay #1 at .* in stall"):
        with TestClient(app, timeout=0.05) as client, client.websocket_connect("/stay"):
            pass


def test_a_disconnect_leaves_the_block() -> None:
    async def leave(websocket: WebSocket) -> None:
        pass

    with TestClient(Routes({"/": leave})) as client:
        with pytest.raises(WebSocketDisconnect, match="1000"), client.websocket_connect("/") as ws:
            ws.receive()


async def test_in_trio_the_blocking_form_is_refused_with_a_hint() -> None:
    client = TestClient(Routes())
    with pytest.raises(RuntimeError, match="write `async with` instead of `with`"), client:
        pytest.fail("the block runs")
    with pytest.raises(RuntimeError, match="async with"), client.websocket_connect("/echo"):
        pytest.fail("the block runs")
    async with client, client.websocket_connect("/echo") as ws:
        assert ws.connected


class Manager:
    """An asynchronous context manager that swallows one kind of error and notes its tasks."""

    def __init__(self) -> None:
        self.tasks: list[trio.lowlevel.Task] = []

    async def __aenter__(self) -> str:
        self.tasks.append(trio.lowlevel.current_task())
        return "value"

    async def __aexit__(self, kind, error, trace) -> bool:
        self.tasks.append(trio.lowlevel.current_task())
        return isinstance(error, KeyError)


def test_portal_enters_and_exits_context_manager_in_one_task() -> None:
    """A portal enters and leaves a context manager in one task."""
    manager = Manager()
    with BlockingPortal() as portal, portal.hold(manager) as value:
        assert value == "value"
    assert len(manager.tasks) == 2
    assert manager.tasks[0] is manager.tasks[1]


def test_portal_lets_context_manager_swallow_error_of_the_block() -> None:
    """A portal lets a context manager swallow an error of the block."""
    with BlockingPortal() as portal:
        with portal.hold(Manager()):
            raise KeyError
        with pytest.raises(ValueError, match="not this"), portal.hold(Manager()):
            raise ValueError("not this")


def test_background_task_error_of_application_is_raised_in_test() -> None:
    """What a background task of the application raised is raised in the test."""
    crashed = threading.Event()

    class Background(Routes):
        @asynccontextmanager
        async def lifespan_context(self):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.crash)
                try:
                    yield
                finally:
                    crashed.set()

        async def crash(self):
            raise ValueError("background")

    with pytest.raises(ExceptionGroup) as caught, TestClient(Background()):
        assert crashed.wait(5)
    assert caught.group_contains(ValueError, match="background")
    assert portals() == []


def test_a_raw_peer_is_refused_with_the_form_that_works() -> None:
    with TestClient(Routes()) as client, pytest.raises(TypeError, match=r"async with client\.raw\('/x'\)"):
        client.raw("/x")
