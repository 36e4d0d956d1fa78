"""The test client in asynchronous tests: the wire's semantics, bounded waiting, errors and leaks, virtual time."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from support.endings import code_of, status_of
from support.handlers import stall, until_cancelled

import trio_ws.testing
from tests.testing.responders import Alive, Routes, echo
from trio_ws import (
    ConnectError,
    ConnectTimeout,
    Limits,
    Response,
    Service,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from trio_ws.connection.settings import Settings
from trio_ws.testing import LeakedTask, TestClient, TestTimeout


async def count(websocket: WebSocket) -> None:
    for number in range(3):
        await websocket.send(str(number))


async def fail(websocket: WebSocket) -> None:
    await websocket.receive()
    raise KeyError("ours")


# --- the wire ---------------------------------------------------------------------------------------------------------


async def test_messages_go_there_and_back_as_real_frames(autojump_clock) -> None:
    async with TestClient(Routes()) as client, client.websocket_connect("/echo") as ws:
        await ws.send("text")
        await ws.send(b"binary")
        assert [await ws.receive(), await ws.receive()] == ["text", b"binary"]
        assert await ws.ping() < 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send, "x" * 500_000)
            assert len(await ws.receive()) == 500_000


async def test_a_rejected_handshake_is_an_http_status_not_a_close_code(autojump_clock) -> None:
    async with TestClient(Routes()) as client:
        assert await status_of(client, "/nowhere") == 403


async def test_headers_cookies_subprotocols_and_origin_reach_handler(autojump_clock) -> None:
    """Headers cookies subprotocols and origin reach the handler."""
    seen = {}

    async def look(websocket: WebSocket) -> None:
        seen.update(
            agent=websocket.headers["user-agent"],
            cookies=websocket.cookies,
            query=dict(websocket.query_parameters),
            origin=websocket.headers["origin"],
            url=str(websocket.url),
        )

    async with (
        TestClient(Routes({"/look": look}, subprotocols=("chat",))) as client,
        client.websocket_connect(
            "/look?n=1",
            headers={"User-Agent": "me"},
            cookies={"session": "s"},
            subprotocols=["superchat", "chat"],
            origin="http://testserver",
        ) as ws,
    ):
        assert ws.subprotocol == "chat"
    assert seen == {
        "agent": "me",
        "cookies": {"session": "s"},
        "query": {"n": "1"},
        "origin": "http://testserver",
        "url": "ws://testserver/look?n=1",
    }


async def test_a_page_of_another_origin_is_refused_as_on_a_real_server(autojump_clock) -> None:
    async with TestClient(Routes()) as client:
        assert await status_of(client, "/echo", origin="http://evil.example") == 403


async def test_the_host_can_be_chosen_for_all_connections_and_for_one(autojump_clock) -> None:
    async with TestClient(Routes(), base_url="ws://chat.example:81") as client:
        assert (await client.get("/page")).text == "GET /page of chat.example:81"
        assert (await client.get("http://other.example/page")).text == "GET /page of other.example"


async def test_a_page_is_got_with_status_headers_and_body(autojump_clock) -> None:
    async with TestClient(Routes()) as client:
        page = await client.get("/page?a=ü", headers={"User-Agent": "me"})
        assert (page.status, page.headers["x-agent"], page.text) == (200, "me", "GET /page?a=%C3%BC of testserver")
        assert (await client.get("/nothing")).status == 404


async def test_a_page_of_json_is_read(autojump_clock) -> None:
    class Json(Routes):
        async def page(self, request):
            return Response(body=b'{"a": [1]}')

    async with TestClient(Json()) as client:
        assert (await client.get("/")).json() == {"a": [1]}


async def test_a_message_over_the_clients_limit_closes_with_1009(autojump_clock) -> None:
    async with TestClient(Routes()) as client:
        with pytest.raises(WebSocketDisconnect) as caught:
            async with client.websocket_connect("/echo", limits=Limits(max_message_size=2)) as ws:
                await ws.send("123")
                await ws.receive()
    assert caught.value.code == 1009


async def test_a_server_that_nobody_reads_from_has_to_wait(autojump_clock) -> None:
    """The buffers of the memory network are bounded as a kernel's: slow readers can be tested."""
    sent = 0

    async def flood(websocket: WebSocket) -> None:
        nonlocal sent
        while True:
            await websocket.send(b"x" * 10_000)
            sent += 1

    async with TestClient(Routes({"/": flood})) as client, client.websocket_connect("/") as ws:
        await trio.sleep(1)
        before = sent
        await trio.sleep(1)
        assert sent == before < 200
        await ws.receive()


# --- how the block of a connection ends -------------------------------------------------------------------------------


async def test_the_block_is_not_cancelled_when_the_server_has_gone(autojump_clock) -> None:
    """What stands behind a wait is run: a test that is cancelled in silence would pass."""
    reached = False
    async with TestClient(Routes({"/": count})) as client, client.websocket_connect("/") as ws:
        await trio.sleep(60)
        assert [message async for message in ws] == ["0", "1", "2"]
        reached = True
    assert reached
    assert ws.close_code == 1000


async def test_a_disconnect_leaves_the_block_also_with_a_good_code(autojump_clock) -> None:
    async with TestClient(Routes({"/": count})) as client:
        with pytest.raises(WebSocketDisconnect) as caught:
            async with client.websocket_connect("/") as ws:
                while True:
                    await ws.receive()
    assert caught.value.code == 1000


async def test_a_failing_assertion_leaves_both_blocks_as_it_is(autojump_clock) -> None:
    with pytest.raises(AssertionError, match="mine"):
        async with TestClient(Routes()) as client, client.websocket_connect("/echo"):
            raise AssertionError("mine")


# --- patience ---------------------------------------------------------------------------------------------------------


async def test_a_message_that_does_not_come_is_a_timeout_that_names_it(autojump_clock) -> None:
    async with TestClient(Routes()) as client, client.websocket_connect("/echo") as ws:
        began = trio.current_time()
        with pytest.raises(TestTimeout, match=r"^timed out after 5 s waiting for a message from ws://testserver/echo$"):
            await ws.receive_json()
        assert trio.current_time() - began == pytest.approx(5)
        await ws.send("still there")
        assert await ws.receive() == "still there"


async def test_the_timeout_is_the_clients_or_the_connections_own(autojump_clock) -> None:
    async with TestClient(Routes(), timeout=7) as client:
        for options, seconds in (({}, 7), ({"timeout": 2}, 2)):
            async with client.websocket_connect("/echo", **options) as ws:
                began = trio.current_time()
                with pytest.raises(TestTimeout, match=f"timed out after {seconds} s waiting for a part of a message"):
                    await ws.receive_stream().__anext__()
                assert trio.current_time() - began == pytest.approx(seconds)


async def test_an_infinite_timeout_waits_for_ever(autojump_clock) -> None:
    async def slow(websocket: WebSocket) -> None:
        await trio.sleep(1_000)
        await websocket.send("at last")

    async with TestClient(Routes({"/": slow}), timeout=math.inf) as client, client.websocket_connect("/") as ws:
        assert await ws.receive() == "at last"


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
async def test_a_timeout_that_makes_no_sense_is_refused(seconds, autojump_clock) -> None:
    with pytest.raises(ValueError, match="timeout must be more than 0 seconds"):
        TestClient(Routes(), timeout=seconds)


async def test_sending_to_a_handler_that_does_not_read_is_a_timeout(autojump_clock) -> None:
    async def deaf(websocket: WebSocket) -> None:
        await trio.sleep(12)

    async with TestClient(Routes({"/": deaf})) as client:
        async with client.websocket_connect("/", limits=Limits(outbox_bytes=10_000)) as ws:
            with pytest.raises(TestTimeout, match="room to send: ws://testserver/ does not read"):
                while True:
                    await ws.send(b"x" * 100_000)
            with pytest.raises(TestTimeout, match="a pong from ws://testserver/"):
                await ws.ping()


async def test_an_answer_that_does_not_come_is_a_timeout(autojump_clock) -> None:
    async with TestClient(Routes({"/": stall}, auto_accept=False)) as client:
        with pytest.raises(ConnectTimeout, match="within 5 seconds"):
            async with client.websocket_connect("/"):
                pass


async def test_a_page_that_does_not_come_is_a_timeout(autojump_clock) -> None:
    class Slow(Routes):
        async def page(self, request):
            await trio.sleep(6)

    with pytest.raises(TestTimeout, match="the answer to GET /slow"):
        async with TestClient(Slow()) as client:
            await client.get("/slow")


# --- errors of the server ---------------------------------------------------------------------------------------------


async def test_handler_error_is_raised_by_the_client_with_traceback(autojump_clock) -> None:
    """An error in a handler is raised at the end of the client with its traceback."""
    codes = []
    with pytest.raises(KeyError, match="ours") as caught:
        async with TestClient(Routes({"/": fail})) as client, client.websocket_connect("/") as ws:
            await ws.send("go")
            codes.append(await code_of(ws))
    assert codes == [1011]
    assert caught.traceback[-1].name == "fail"


async def test_server_error_replaces_the_disconnect_it_caused(autojump_clock) -> None:
    """The disconnect that an error of the server caused gives way to it."""
    with pytest.raises(KeyError, match="ours"):
        async with TestClient(Routes({"/": fail})) as client, client.websocket_connect("/") as ws:
            await ws.send("go")
            await ws.receive()


async def test_a_test_and_a_server_that_both_fail_are_shown_both(autojump_clock) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with TestClient(Routes({"/": fail})) as client, client.websocket_connect("/") as ws:
            await ws.send("go")
            raise AssertionError("mine")
    assert [type(error) for error in caught.value.exceptions] == [AssertionError, KeyError]


async def test_several_errors_of_the_server_come_as_a_group(autojump_clock) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with TestClient(Routes({"/": fail})) as client:
            for _ in range(2):
                async with client.websocket_connect("/") as ws:
                    await ws.send("go")
    assert [type(error) for error in caught.value.exceptions] == [KeyError, KeyError]


async def test_error_before_the_answer_is_raised_instead_of_a_500(autojump_clock) -> None:
    """An error before the answer is the server's error not a 500."""

    async def broken(websocket: WebSocket) -> None:
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        async with TestClient(Routes({"/": broken}, auto_accept=False)) as client, client.websocket_connect("/"):
            pass


async def test_what_a_handler_raises_to_close_is_no_error(autojump_clock) -> None:
    async def refuse(websocket: WebSocket) -> None:
        raise WebSocketException(4003, "no")

    async with TestClient(Routes({"/": refuse})) as client, client.websocket_connect("/") as ws:
        with pytest.raises(WebSocketDisconnect, match="4003: no"):
            await ws.receive()


async def test_errors_can_be_looked_at_instead(autojump_clock) -> None:
    client = TestClient(Routes({"/": fail}), raise_server_errors=False)
    async with client, client.websocket_connect("/") as ws:
        await ws.send("go")
    assert [type(error) for error in client.errors] == [KeyError]


async def test_callback_error_is_raised_and_own_on_error_is_called(autojump_clock) -> None:
    """An error in a callback counts and the service's own on_error is called."""
    told = []

    async def on_disconnect(websocket: WebSocket, code: int) -> None:
        raise ValueError("leaving")

    async def on_error(websocket: WebSocket, error: BaseException) -> None:
        told.append(type(error))
        raise OSError("reporting")

    service = Service(handler=echo, on_disconnect=on_disconnect, on_error=on_error)
    with pytest.raises(ExceptionGroup) as caught:
        async with TestClient(Routes({"/": service})) as client, client.websocket_connect("/"):
            pass
    assert [type(error) for error in caught.value.exceptions] == [ValueError, OSError]
    assert told == [ValueError]


async def test_the_services_own_on_error_that_works_changes_nothing(autojump_clock) -> None:
    told = []

    async def on_error(websocket: WebSocket, error: BaseException) -> None:
        told.append(error)

    with pytest.raises(KeyError) as caught:
        async with TestClient(Routes({"/": fail}, on_error=on_error)) as client, client.websocket_connect("/") as ws:
            await ws.send("go")
    assert told == [caught.value]


async def test_an_error_of_the_responder_itself_is_raised(autojump_clock) -> None:
    class Broken(Routes):
        async def page(self, request):
            raise ValueError("page")

        def route(self, request):
            raise ValueError("route")

    with pytest.raises(ExceptionGroup) as caught:
        async with TestClient(Broken()) as client:
            assert (await client.get("/")).status == 500
            assert await status_of(client, "/") == 500
    assert [str(error) for error in caught.value.exceptions] == ["page", "route"]


# --- leaks ------------------------------------------------------------------------------------------------------------


async def test_handler_outliving_its_connection_is_a_leak_with_place(autojump_clock) -> None:
    """A handler that outlives its connection is a leak that names where it waits."""
    ended = []

    async def stubborn(websocket: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(websocket)

    with pytest.raises(LeakedTask) as caught:
        app = Routes({"/stay": stubborn, "/go": count}, when_peer_leaves="finish")
        async with TestClient(app) as client, client.websocket_connect("/go"), client.websocket_connect("/stay"):
            pass
    assert str(caught.value).startswith("still running 5 seconds after the end of the test: /stay #2 at ")
    assert "test_client.py:" in str(caught.value)
    assert str(caught.value).endswith(" in stubborn")
    assert len(ended) == 1


async def test_a_leaked_child_task_is_named_by_its_own_name(autojump_clock) -> None:
    async def lingering() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)

    async def parent(websocket: WebSocket) -> None:
        websocket.nursery.start_soon(lingering)
        await websocket.receive()

    with pytest.raises(LeakedTask, match=r"lingering at .* in lingering$"):
        async with TestClient(Routes({"/": parent})) as client, client.websocket_connect("/") as ws:
            await ws.send("go")


async def test_a_handler_that_ends_in_time_is_no_leak(autojump_clock) -> None:
    async def finishing(websocket: WebSocket) -> None:
        await trio.sleep(4)

    async with (
        TestClient(Routes({"/": finishing}, when_peer_leaves="finish")) as client,
        client.websocket_connect("/"),
    ):
        pass
    assert client.server.statistics().accepted == 1


async def test_page_that_never_returns_is_reported_as_leak(autojump_clock) -> None:
    """A page that never comes and cannot be cancelled is a leak."""

    class Slow(Routes):
        async def page(self, request):
            with trio.CancelScope(shield=True):
                await trio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        async with TestClient(Slow()) as client:
            await client.get("/")
    assert [type(error) for error in caught.value.exceptions] == [TestTimeout, LeakedTask]
    assert "in page" in str(caught.value.exceptions[1])


# --- the server -------------------------------------------------------------------------------------------------------


async def test_the_lifespan_surrounds_the_serving(autojump_clock) -> None:
    app = Alive()
    async with TestClient(app) as client, client.websocket_connect("/echo"):
        app.log.append("serves")
    assert app.log == ["begins", "serves", "ends"]


async def test_a_lifespan_that_fails_to_begin_is_an_error_on_entering(autojump_clock) -> None:
    class Stillborn(Routes):
        @asynccontextmanager
        async def lifespan_context(self):
            raise ValueError("no database")
            yield

    with pytest.raises(ValueError, match="no database"):
        async with TestClient(Stillborn()):
            pytest.fail("the block runs")


async def test_a_lifespan_that_fails_to_end_is_an_error_beside_others(autojump_clock) -> None:
    class Failing(Routes):
        @asynccontextmanager
        async def lifespan_context(self):
            yield
            raise ValueError("no goodbye")

    with pytest.raises(ExceptionGroup) as caught:
        async with TestClient(Failing()):
            raise AssertionError("mine")
    assert [type(error) for error in caught.value.exceptions] == [AssertionError, ValueError]


async def test_failing_lifespan_task_ends_the_test_with_its_error(autojump_clock) -> None:
    """A background task of the lifespan that fails ends the test with its error."""

    class Background(Routes):
        @asynccontextmanager
        async def lifespan_context(self):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.crash)
                yield
                nursery.cancel_scope.cancel()

        async def crash(self):
            await trio.sleep(1)
            raise ValueError("background")

    with pytest.raises(ExceptionGroup) as caught:
        async with TestClient(Background()):
            await trio.sleep(60)
    assert caught.group_contains(ValueError, match="background")


async def test_unentered_client_serves_as_long_as_a_connection(autojump_clock) -> None:
    """A client that is not entered serves as long as a connection."""
    app = Alive()
    client = TestClient(app)
    with pytest.raises(RuntimeError, match="enter the test client first"):
        _ = client.server
    async with client.websocket_connect("/echo") as ws:
        await ws.send("hi")
        assert await ws.receive() == "hi"
        assert (await client.get("/page")).status == 200
    assert app.log == ["begins", "ends"]
    assert (await client.get("/page")).status == 200
    assert app.log == ["begins", "ends"] * 2


async def test_a_client_is_entered_once_at_a_time_and_again_later(autojump_clock) -> None:
    client = TestClient(Routes())
    async with client:
        with pytest.raises(RuntimeError, match="in use"):
            await client.__aenter__()
    async with client, client.websocket_connect("/echo"):
        assert client.errors == []


async def test_the_settings_are_given_or_the_responders_own(autojump_clock) -> None:
    strict = Settings(limits=Limits(max_message_size=1))
    app = Routes()
    for client in (TestClient(app, settings=strict), TestClient(_with_settings(strict))):
        async with client, client.websocket_connect("/echo") as ws:
            await ws.send("too long")
            assert await code_of(ws) == 1009


def _with_settings(settings: Settings) -> Routes:
    app = Routes()
    app.settings = settings
    return app


async def test_the_servers_shutdown_says_1001_and_then_nobody_connects(autojump_clock) -> None:
    async with TestClient(Routes()) as client:
        async with client.websocket_connect("/echo") as ws:
            client.server.shutdown()
            assert await code_of(ws) == 1001
        with pytest.raises(ConnectError, match="has stopped listening"):
            async with client.websocket_connect("/echo"):
                pass


async def test_the_keepalive_of_the_server_runs_in_virtual_time(autojump_clock) -> None:
    timeouts = Timeouts(ping_interval=20, ping_timeout=20)
    idle = attrs.evolve(timeouts, idle_timeout=3600)
    async with TestClient(Routes(), settings=Settings(timeouts=idle)) as client:
        async with client.websocket_connect("/echo") as ws:
            await trio.sleep(3590)
            assert ws.connected
            await trio.sleep(20)
            assert (ws.close_code, ws.close_reason) == (1001, "idle timeout")


async def test_cancelling_a_test_cancels_the_handlers_and_is_passed_on(autojump_clock) -> None:
    ended = []

    async def stubborn(websocket: WebSocket) -> None:
        await until_cancelled(lambda _: ended.append(trio.current_time()))

    began = trio.current_time()
    with trio.move_on_after(10) as scope:
        async with TestClient(Routes({"/": stubborn}, when_peer_leaves="finish")) as client:
            async with client.websocket_connect("/"):
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [moment - began for moment in ended] == [pytest.approx(10)]


def test_pytest_does_not_take_our_classes_for_tests() -> None:
    names = [name for name in trio_ws.testing.__all__ if name.startswith("Test")]
    assert [name for name in names if getattr(trio_ws.testing, name).__test__] == []
