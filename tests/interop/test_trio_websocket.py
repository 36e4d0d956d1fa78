"""Interoperation with trio-websocket, whose frames are wsproto's: it as the server, and as the client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio_websocket
from support.endings import code_of, end_of
from support.handlers import QUICK, Ends, echo, serve
from wsproto.events import TextMessage

from trio_ws import WebSocket, open_websocket

from .cases import CLOSINGS, SIZES, binary_of, text_of


async def their_echo(request: trio_websocket.WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except trio_websocket.ConnectionClosed:
        pass


async def their_server(nursery: trio.Nursery, handler=their_echo) -> str:
    server = await nursery.start(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, None)
    return f"ws://127.0.0.1:{server.port}"


@asynccontextmanager
async def their_client(url: str, **options) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    async with trio_websocket.open_websocket_url(url, **options) as connection:
        yield connection
    # trio-websocket leaves its socket open when the server was the first to close.
    await trio.aclose_forcefully(connection._stream)


class TestTheirServer:
    async def test_messages_of_all_sizes_come_back(self, nursery, poller):
        url = await their_server(nursery)
        async with open_websocket(url, poller=poller) as ws:
            for size in SIZES:
                await ws.send(text_of(size))
                assert await ws.receive() == text_of(size)
                await ws.send(binary_of(size))
                assert await ws.receive() == binary_of(size)

    async def test_a_message_in_fragments_arrives_as_one(self, nursery, poller):
        url = await their_server(nursery)
        async with open_websocket(url, poller=poller) as ws:
            await ws.send_stream(["one, ", "", "two, ", "\N{EURO SIGN}"])
            assert await ws.receive() == "one, two, \N{EURO SIGN}"
            await ws.send_stream([b"\x00" * 70_000, b"\xff"])
            assert await ws.receive() == b"\x00" * 70_000 + b"\xff"

    async def test_their_fragments_arrive_as_one_message_or_as_a_stream(self, nursery, poller):
        async def in_fragments(request):
            connection = await request.accept()
            for _ in range(2):
                await connection._send(TextMessage("one, ", message_finished=False))
                await connection._send(TextMessage("two", message_finished=True))
            await connection.aclose()

        url = await their_server(nursery, in_fragments)
        async with open_websocket(url, poller=poller) as ws:
            assert await ws.receive() == "one, two"
            assert "".join([part async for part in ws.receive_stream()]) == "one, two"

    async def test_pings_are_answered_both_ways(self, nursery, poller):
        pinged = trio.Event()

        async def ping_and_echo(request):
            connection = await request.accept()
            await connection.ping(b"theirs")
            pinged.set()
            with pytest.raises(trio_websocket.ConnectionClosed):
                await connection.get_message()

        url = await their_server(nursery, ping_and_echo)
        with trio.fail_after(5):
            async with open_websocket(url, poller=poller) as ws:
                assert await ws.ping() >= 0
                assert await ws.ping(b"x" * 125) >= 0
                await pinged.wait()

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_our_close_reaches_them(self, nursery, poller, code, reason):
        ended, result = trio.open_memory_channel[trio_websocket.CloseReason](1)

        async def wait_for_close(request):
            connection = await request.accept()
            with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                await connection.get_message()
            ended.send_nowait(caught.value.reason)

        url = await their_server(nursery, wait_for_close)
        async with open_websocket(url, poller=poller) as ws:
            await ws.close(code, reason)
        theirs = await result.receive()
        assert (theirs.code, theirs.reason or "") == (code, reason)
        assert (ws.close_info.code, ws.close_info.reason, ws.close_info.by) == (code, reason, "local")

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_their_close_reaches_us(self, nursery, poller, code, reason):
        async def close(request):
            connection = await request.accept()
            await connection.aclose(code, reason or None)

        url = await their_server(nursery, close)
        async with open_websocket(url, poller=poller, caught_close_codes=all) as ws:
            caught = await end_of(ws)
        assert (caught.code, caught.reason) == (code, reason)
        assert ws.close_info.by == "peer"

    async def test_the_subprotocol_is_theirs_to_choose(self, nursery, poller):
        async def choose(request):
            assert request.proposed_subprotocols == ("one", "two")
            connection = await request.accept(subprotocol="two")
            await connection.aclose()

        url = await their_server(nursery, choose)
        async with open_websocket(url, poller=poller, subprotocols=["one", "two"]) as ws:
            assert ws.subprotocol == "two"

    async def test_their_lost_connection_is_a_1006(self, nursery, poller):
        async def drop(request):
            connection = await request.accept()
            await connection._stream.aclose()

        url = await their_server(nursery, drop)
        async with open_websocket(url, poller=poller, caught_close_codes=[1006]) as ws:
            assert await code_of(ws) == 1006


class TestTheirClient:
    async def test_messages_of_all_sizes_come_back(self, nursery, poller):
        server = await serve(nursery, poller=poller)
        async with their_client(server.urls[0]) as connection:
            for size in SIZES:
                await connection.send_message(text_of(size))
                assert await connection.get_message() == text_of(size)
                await connection.send_message(binary_of(size))
                assert await connection.get_message() == binary_of(size)

    async def test_our_fragments_arrive_as_one_message(self, nursery, poller):
        async def in_fragments(ws: WebSocket) -> None:
            await ws.send_stream(["one, ", "two"])
            await ws.send_stream([b"\x00" * 70_000, b"\xff"])

        server = await serve(nursery, in_fragments, poller=poller)
        async with their_client(server.urls[0]) as connection:
            assert await connection.get_message() == "one, two"
            assert await connection.get_message() == b"\x00" * 70_000 + b"\xff"

    async def test_pings_are_answered_both_ways(self, nursery, poller):
        latencies = []

        async def ping(ws: WebSocket) -> None:
            latencies.append(await ws.ping(b"ours"))
            await echo(ws)

        server = await serve(nursery, ping, poller=poller)
        with trio.fail_after(5):
            async with their_client(server.urls[0]) as connection:
                await connection.ping(b"theirs")
                await connection.send_message("after")
                assert await connection.get_message() == "after"
        assert len(latencies) == 1

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_their_close_reaches_us(self, nursery, poller, code, reason):
        ends = Ends()
        server = await serve(nursery, on_disconnect=ends, poller=poller)
        async with their_client(server.urls[0]) as connection:
            await connection.aclose(code, reason or None)
        assert await ends.first() == code

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_our_close_reaches_them(self, nursery, poller, code, reason):
        server = await serve(nursery, lambda ws: ws.close(code, reason), poller=poller)
        async with their_client(server.urls[0]) as connection:
            with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                await connection.get_message()
        assert (caught.value.reason.code, caught.value.reason.reason or "") == (code, reason)

    async def test_the_subprotocol_is_ours_to_choose(self, nursery, poller):
        server = await serve(nursery, subprotocols=("three", "two"), poller=poller)
        async with their_client(server.urls[0], subprotocols=["one", "two"]) as connection:
            assert connection.subprotocol == "two"

    async def test_cancelling_the_server_tells_them_1001(self, nursery, poller):
        server = await serve(nursery, poller=poller, timeouts=QUICK)
        async with their_client(server.urls[0]) as connection:
            server.shutdown()
            with pytest.raises(trio_websocket.ConnectionClosed) as caught:
                await connection.get_message()
        assert caught.value.reason.code == 1001
