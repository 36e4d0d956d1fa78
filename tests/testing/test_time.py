"""Virtual time, cookies, response headers and log records, in async and in plain tests."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_ws import App, Request, Response, WebSocket
from trio_ws.testing import NoVirtualTime, SocketNetwork, TestTimeout, virtual_time

app = App()


@app.websocket("/later")
async def later(ws: WebSocket) -> None:
    async for message in ws:
        await trio.sleep(float(message))
        await ws.send(f"after {message}")


@app.websocket("/cookies")
async def cookies(ws: WebSocket) -> None:
    await ws.send_json(ws.cookies)


@app.websocket("/set", auto_accept=False)
async def set_cookie(ws: WebSocket) -> None:
    await ws.accept(headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/set"), ("X-Made-By", "me")])


@app.websocket("/refused", auto_accept=False)
async def refused(ws: WebSocket) -> None:
    await ws.reject(401, headers=[("Set-Cookie", "why=refused")])


def login(request: Request) -> Response:
    old = request.cookies.get("seen", "") if hasattr(request, "cookies") else ""
    return Response(headers=[("Set-Cookie", f"seen={len(old) + 1}"), ("Set-Cookie", "gone=; Max-Age=0")], body=b"ok")


app.page("/login", login)


@virtual_time
async def test_an_async_test_needs_no_fixture() -> None:
    async with app.test_client(virtual_time=True) as client, client.websocket_connect("/later", timeout=7200) as ws:
        began = client.clock.now()
        await ws.send("3600")
        assert await ws.receive() == "after 3600"
        assert client.clock.now() - began >= 3600
        await client.clock.sleep(100)
        assert client.clock.now() - began >= 3700
        assert client.clock.virtual


@given(st.integers(1, 1000))
@virtual_time
@pytest.mark.slow
async def test_given_needs_no_suppressed_health_check(seconds: int) -> None:
    async with app.test_client() as client, client.websocket_connect("/later", timeout=20_000) as ws:
        await ws.send(str(seconds))
        assert await ws.receive() == f"after {seconds}"


class TestMethods:
    @given(seconds=st.integers(1, 10))
    @virtual_time
    async def test_a_method_may_be_one_too(self, seconds: int) -> None:
        began = trio.current_time()
        await trio.sleep(seconds)
        assert trio.current_time() - began >= seconds


async def test_virtual_time_within_trio_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Trio run of its own"):
        test_an_async_test_needs_no_fixture()


async def test_an_async_test_in_real_time_is_told_so() -> None:
    with pytest.raises(NoVirtualTime, match="autojump_clock"):
        async with app.test_client(virtual_time=True):
            pass


async def test_a_clock_that_does_not_jump_is_set_forward(mock_clock: Any) -> None:
    async with app.test_client() as client, client.websocket_connect("/later") as ws:
        await ws.send("3")
        await client.clock.sleep(3)
        assert await ws.receive() == "after 3"


def test_plain_tests_have_virtual_time() -> None:
    began = time.monotonic()
    with app.test_client(virtual_time=True, timeout=7200) as client, client.websocket_connect("/later") as ws:
        assert client.clock.virtual
        started = client.clock.now()
        ws.send("3600")
        assert ws.receive() == "after 3600"
        client.clock.sleep(1000)
        assert 4600 <= client.clock.now() - started < 4700
    assert time.monotonic() - began < 1000


def test_time_stands_still_between_calls_of_a_plain_test() -> None:
    with app.test_client(virtual_time=True) as client, client.websocket_connect("/later") as ws:
        ws.send("1")
        before = client.clock.now()
        time.sleep(0.05)  # the system's time passes, the client's does not
        assert client.clock.now() == before
        assert ws.receive() == "after 1"


def test_a_wait_in_virtual_time_is_bounded_too() -> None:
    with app.test_client(virtual_time=True) as client, client.websocket_connect("/later") as ws:
        with pytest.raises(TestTimeout, match="5 s"):
            ws.receive()


def test_sockets_have_no_virtual_time() -> None:
    with pytest.raises(NoVirtualTime, match="sockets"):
        with app.test_client(virtual_time=True, network=SocketNetwork()):
            pass


def test_a_plain_client_has_a_clock_in_real_time() -> None:
    with app.test_client() as client:
        before = client.clock.now()
        client.clock.sleep(0.01)
        assert client.clock.now() - before >= 0.01
        assert not client.clock.virtual


@virtual_time
async def test_cookies_come_back_to_where_they_belong() -> None:
    async with app.test_client() as client:
        async with client.websocket_connect("/set") as ws:
            assert ws.response_headers is not None
            assert ws.response_headers["x-made-by"] == "me"
        assert dict(client.cookies) == {"a": "1", "b": "2"}
        async with client.websocket_connect("/cookies") as ws:
            assert await ws.receive_json() == {"a": "1"}
        async with client.websocket_connect("/cookies", cookies={"a": "mine", "c": "3"}) as ws:
            assert await ws.receive_json() == {"a": "mine", "c": "3"}
        async with client.websocket_connect("/cookies", headers={"Cookie": "x=y"}) as ws:
            assert await ws.receive_json() == {"x": "y"}
        client.cookies["own"] = "yes"
        del client.cookies["a"]
        async with client.websocket_connect("/cookies") as ws:
            assert await ws.receive_json() == {"own": "yes"}
        client.cookies.clear()
        assert not client.cookies
        with pytest.raises(KeyError):
            client.cookies["a"]
        with pytest.raises(KeyError):
            del client.cookies["a"]


def test_pages_and_refusals_set_cookies_too() -> None:
    with app.test_client() as client:
        client.cookies["gone"] = "soon"
        assert client.get("/login").status == 200
        assert dict(client.cookies) == {"seen": "1"}
        client.get("/login")
        with pytest.raises(Exception, match="401"):
            client.websocket_connect("/refused").__enter__()
        assert client.cookies["why"] == "refused"
        with client.websocket_connect("/set") as ws:
            assert ws.response_headers["x-made-by"] == "me"
        assert len(client.cookies) == 4
        assert "why" in repr(client.cookies)


def test_log_records_are_collected_on_request() -> None:
    broken = App()

    @broken.websocket("/")
    async def handler(ws: WebSocket) -> None:
        raise ZeroDivisionError

    level = logging.getLogger("trio_ws").level
    with broken.test_client(log_level=logging.ERROR, raise_server_errors=False) as client:
        with pytest.raises(Exception, match="1011"), client.websocket_connect("/") as ws:
            ws.receive()
        assert [record.levelname for record in client.log_records] == ["ERROR"]
    assert logging.getLogger("trio_ws").level == level


async def test_log_records_that_are_not_collected_are_an_error() -> None:
    async with app.test_client() as client:
        with pytest.raises(RuntimeError, match="log_level"):
            assert client.log_records
