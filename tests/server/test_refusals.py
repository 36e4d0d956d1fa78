"""Refusals and ends that look alike: the answer, the client's error and a record say which it was."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import trio
import trio.testing
from support.endings import refusal_of
from support.handlers import app_of
from support.tls import authority, client_tls, server_tls

from trio_ws import App, ConnectError, ConnectionRejected, Depends, WebSocket, open_websocket

__all__ = ["authority", "client_tls", "server_tls"]


class KnownError(Exception):
    """An error that the application gives a close code."""


NO_ROUTE = "%s refused with %d: no route"
GUARD = "%s refused with 403: guard %s"
KNOWN = "%s refused with %d: %s before the answer, which closes with %d after it"
SENT_LATE = "%s: send() after this side's own close(), with %d: nothing was sent"
EARLY = "%s: the block ended early: the connection was closed (%s)"


def records_of(caplog: pytest.LogCaptureFixture, level: int, *messages: str) -> list[str]:
    """Return the records of a level, which have these formats."""
    records = [record for record in caplog.records if record.name == "trio_ws" and record.levelno == level]
    assert [record.msg for record in records] == list(messages)
    return [record.getMessage() for record in records]


async def test_no_route_and_guard_differ_in_answer_and_record(caplog) -> None:
    caplog.set_level(logging.INFO, "trio_ws")

    def closed(context: Any) -> bool:
        return False

    async def guarded(ws: WebSocket) -> None: ...

    app = app_of(guarded, "/guarded", guards=[closed])
    missing, refused = await refusal_of(app, "/missing?token=secret"), await refusal_of(app, "/guarded?token=secret")
    assert (missing.status, missing.body) == (403, b"no route\n")
    assert (refused.status, refused.body) == (403, b"refused by a guard\n")
    assert str(missing).endswith("HTTP status 403: no route")
    assert str(refused).endswith("HTTP status 403: refused by a guard")
    first, second = records_of(caplog, logging.INFO, NO_ROUTE, GUARD)
    assert re.fullmatch(r"/missing #1 from .* refused with 403: no route", first)
    assert re.fullmatch(r"/guarded #1 from .* refused with 403: guard .*closed", second)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("code", "status"), [(4004, 403), (1013, 503), (1012, 503), (1011, 500)])
async def test_close_on_before_the_answer_is_a_refusal(code: int, status: int, caplog) -> None:
    """There is no connection to close, and the error is a known one: no traceback, and nothing of its text."""
    caplog.set_level(logging.INFO, "trio_ws")
    app = App()
    app.close_on(KnownError, code)

    def dependency() -> None:
        raise KnownError("secret")

    @app.websocket("/")
    async def view(ws: WebSocket, known: None = Depends(dependency)) -> None: ...

    error = await refusal_of(app)
    assert (error.status, error.body) == (status, f"close code {code}\n".encode())
    assert records_of(caplog, logging.ERROR) == []
    (record,) = records_of(caplog, logging.INFO, KNOWN)
    assert f"refused with {status}: KnownError before the answer, which closes with {code} after it" in record
    assert "secret" not in caplog.text


async def test_long_and_foreign_bodies_stay_out_of_the_message() -> None:
    plain = (("Content-Type", "text/plain"),)
    assert str(ConnectionRejected(403, plain, b"no\x1b[1m\n")).endswith("403: no\\x1b[1m")
    for headers, body in (
        (plain, b"x" * 201),
        (plain, b"two\nlines"),
        ((("Content-Type", "text/html"),), b"<p>no</p>"),
    ):
        assert str(ConnectionRejected(403, headers, body)).endswith("HTTP status 403")


# --- ends ------------------------------------------------------------------------------------------------------------


async def test_send_after_own_close_is_a_warning_of_the_server(caplog) -> None:
    async def view(ws: WebSocket) -> None:
        await ws.close()
        await ws.send("late")

    async with app_of(view).test_client() as client, client.websocket_connect("/") as ws:
        async for _ in ws:
            pass
    (record,) = records_of(caplog, logging.WARNING, SENT_LATE)
    assert record.endswith("send() after this side's own close(), with 1000: nothing was sent")


async def test_receive_after_own_close_is_no_warning(caplog) -> None:
    async def view(ws: WebSocket) -> None:
        await ws.close()
        await ws.receive()

    async with app_of(view).test_client() as client, client.websocket_connect("/") as ws:
        async for _ in ws:
            pass
    assert records_of(caplog, logging.WARNING) == []


async def test_send_after_own_close_is_a_warning_of_the_client(nursery, caplog) -> None:
    async def view(ws: WebSocket) -> None:
        async for _ in ws:
            pass

    server = await nursery.start(app_of(view).serve, "127.0.0.1", 0)
    async with open_websocket(server.urls[0]) as ws:
        await ws.close()
        await ws.send("late")
    server.shutdown()
    (record,) = records_of(caplog, logging.WARNING, SENT_LATE)
    assert record.endswith("send() after this side's own close(), with 1000: nothing was sent")


async def test_client_block_that_ends_early_leaves_a_record(nursery, caplog) -> None:
    """The rest of the block is skipped without an error; a loop over the messages that ends is not early."""
    caplog.set_level(logging.INFO, "trio_ws")

    async def view(ws: WebSocket) -> None:
        await ws.send("one")

    server = await nursery.start(app_of(view).serve, "127.0.0.1", 0)
    reached = []
    async with open_websocket(server.urls[0]) as ws:
        assert await ws.receive() == "one"
        await ws.receive()
        reached.append("the rest of the block")
    async with open_websocket(server.urls[0]) as ws:
        async for _ in ws:
            pass
    server.shutdown()
    assert reached == []
    (record,) = records_of(caplog, logging.INFO, EARLY)
    assert "the block ended early: the connection was closed (" in record


# --- the wrong scheme ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poller", [None, False])
async def test_wss_to_plain_port_is_explained_on_both_sides(client_tls, nursery, caplog, poller) -> None:
    caplog.set_level(logging.INFO, "trio_ws")
    server = await nursery.start(App().serve, "127.0.0.1", 0)
    with pytest.raises(ConnectError, match=r"tls: .*try ws:// in place of wss://"):
        async with open_websocket(f"wss://127.0.0.1:{server.port}/", ssl_context=client_tls, poller=poller):
            pass
    server.shutdown()
    (record,) = records_of(caplog, logging.INFO, "%s refused with %d: %s")
    assert record.endswith("this is TLS on a port without TLS: the client's URL is wss:// where ws:// is meant")


@pytest.mark.parametrize("poller", [None, False])
async def test_ws_to_tls_port_is_explained_on_both_sides(server_tls, nursery, caplog, poller) -> None:
    caplog.set_level(logging.INFO, "trio_ws")
    app = App()
    server = await nursery.start(lambda **kw: app.serve("127.0.0.1", 0, ssl_context=server_tls, poller=poller, **kw))
    with pytest.raises(ConnectError, match=r"handshake: .*wss://"):
        async with open_websocket(f"ws://127.0.0.1:{server.port}/"):
            pass
    server.shutdown()
    with trio.fail_after(5):
        while not caplog.records:
            await trio.testing.wait_all_tasks_blocked()
    (record,) = records_of(caplog, logging.INFO, "%s: TLS failed: %s: the client speaks ws:// where wss:// is meant")
    assert record.endswith("TLS failed: HTTP_REQUEST: the client speaks ws:// where wss:// is meant")
