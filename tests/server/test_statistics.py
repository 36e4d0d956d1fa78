"""Statistics: how connections ended, what was answered, and what waits; nothing of it costs a message anything."""

from __future__ import annotations

import json

import attrs
import pytest
import trio
from support.endings import refusal_of
from support.handlers import serve, until_gone

from trio_ws import App, Limits, Timeouts, WebSocket, WebSocketDisconnect, open_websocket

PATIENCE = 20.0


@pytest.mark.parametrize("poller", [True, False], ids=["poller", "stream"])
async def test_closes_are_counted_by_the_code_of_the_first_close_frame(nursery, poller):
    async def close(ws: WebSocket) -> None:
        await ws.close(await ws.receive_json())

    server = await serve(nursery, close, poller=poller, caught_close_codes=all)
    for code in ("1000", "4000", "4000"):
        async with open_websocket(server.urls[0], caught_close_codes=all) as ws:
            await ws.send(code)
            await ws.receive()
    async with open_websocket(server.urls[0]) as ws:
        await ws.close(4001)
    async with open_websocket(server.urls[0], caught_close_codes=all) as ws:
        await ws.send(b"\xff")  # no JSON
        await ws.receive()
    async with open_websocket(server.urls[0], timeouts=Timeouts(close_timeout=0.01)) as ws:
        ws.context.channel.transport.close()  # it vanishes
    await until_gone(server)
    assert server.statistics().closed == {1000: 1, 4000: 2, 4001: 1, 1007: 1, 1006: 1}
    assert sum(server.statistics().closed.values()) == server.statistics().accepted


async def test_answers_are_counted_by_status_except_for_silent_clients():
    """Answers are counted by status and nothing is for those who say nothing."""
    app = App(guards=[lambda name="": name != "mallory"])
    app.page("/page", lambda request: "hello")

    @app.websocket("/open")
    async def opened(ws: WebSocket) -> None:
        await ws.receive()

    @app.websocket("/teapot", auto_accept=False)
    async def teapot(ws: WebSocket) -> None:
        await ws.reject(418)

    async with app.test_client() as client:
        for path in ("/page", "/page", "/nothing", "/open"):
            await client.get(path)
        for path in ("/nowhere", "/open?name=mallory", "/teapot"):
            await refusal_of(client, path)
        await refusal_of(client, "/open", origin="https://example.org")
        async with client.websocket_connect("/open") as ws:
            await ws.send("enough")
        await (await client.network.connect()).aclose()
        with trio.fail_after(PATIENCE):
            while client.server.statistics().refused < 9:
                await trio.sleep(0.001)
        await until_gone(client.server)
        statistics = client.server.statistics()
    assert statistics.responses == {200: 2, 404: 1, 426: 1, 403: 3, 418: 1}
    assert (statistics.accepted, statistics.closed) == (1, {1000: 1})
    assert statistics.refused == sum(statistics.responses.values()) + 1


async def test_client_notified_of_shutdown_unanswered_is_counted_once(nursery):
    """A client that hears of the shutdown instead of an answer is counted once."""
    answering = trio.Event()

    async def hesitate(ws: WebSocket) -> None:
        answering.set()
        await trio.sleep_forever()

    server = await serve(nursery, hesitate, auto_accept=False)

    async def knock() -> None:
        await refusal_of(open_websocket, server.urls[0])

    async with trio.open_nursery() as knocking:
        knocking.start_soon(knock)
        await answering.wait()
        server.shutdown(grace=0)
    await until_gone(server)
    assert server.statistics().responses == {503: 1}


async def test_answer_is_counted_even_if_server_shuts_down_meanwhile(nursery):
    """An answer that was given is what counts though the server shuts down meanwhile."""
    refused = trio.Event()

    async def refuse(ws: WebSocket) -> None:
        try:
            await ws.reject(418)
        finally:
            refused.set()
            with trio.CancelScope(shield=True):
                await ended.wait()

    ended = trio.Event()
    server = await serve(nursery, refuse, auto_accept=False)
    await refusal_of(open_websocket, server.urls[0])
    await refused.wait()
    server.shutdown(grace=0)
    await trio.testing.wait_all_tasks_blocked()
    ended.set()
    await until_gone(server)
    assert server.statistics().responses == {418: 1}


async def test_waiting_bytes_of_both_directions_are_summed_on_demand(nursery):
    """What waits in both directions is summed when somebody asks."""
    release = trio.Event()

    async def slow(ws: WebSocket) -> None:
        await release.wait()
        async for _ in ws:
            pass

    async def flood(ws: WebSocket) -> None:
        with trio.move_on_after(PATIENCE):
            while not server.statistics().outbox_bytes:
                await ws.send(bytes(64 * 1024))
        await release.wait()

    async def both(ws: WebSocket) -> None:
        await (slow if ws.url.path == "/slow" else flood)(ws)

    server = await serve(nursery, both, limits=Limits(), timeouts=Timeouts(ping_interval=None, close_timeout=0.1))
    async with open_websocket(f"{server.urls[0]}/slow") as one, open_websocket(f"{server.urls[0]}/slow") as other:
        for ws in (one, other, other):
            await ws.send("waits")
        with trio.fail_after(PATIENCE):
            while server.statistics().inbox_messages < 3:
                await trio.sleep(0.001)
        reader = await trio.open_tcp_stream("127.0.0.1", server.port)
        lines = ["GET /flood HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: upgrade"]
        lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]
        await reader.send_all("\r\n".join(lines).encode())  # and reads nothing
        with trio.fail_after(PATIENCE):
            while not server.statistics().outbox_bytes:
                await trio.sleep(0.001)
        release.set()
        await reader.aclose()
    await until_gone(server)
    assert (server.statistics().inbox_messages, server.statistics().outbox_bytes) == (0, 0)


async def test_statistics_are_immutable_and_serializable_as_json(nursery):
    """They are values that do not change and can be written as JSON."""

    server = await serve(nursery, lambda ws: ws.close(4000))
    before = server.statistics()
    with pytest.raises(WebSocketDisconnect):
        async with open_websocket(server.urls[0]) as ws:
            await ws.receive()
    await until_gone(server)
    assert before.closed == {}
    assert json.loads(json.dumps(attrs.asdict(server.statistics())))["closed"] == {"4000": 1}
