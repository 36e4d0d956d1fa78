"""Interoperation with websockets: its asyncio server and its threaded client, with and without permessage-deflate."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import attrs
import pytest
import trio
import websockets.asyncio.server
import websockets.sync.client
from support.endings import code_of, end_of
from support.handlers import Ends, echo, serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

from trio_ws import Compression, WebSocket, open_websocket

from .cases import CLOSINGS, SIZES, binary_of, similar_texts, text_of
from .servers import AsyncioServer

WITHOUT_CONTEXT = Compression(receive_context=False)
WITH_CONTEXT = Compression(send_context=True, receive_context=True)
SMALL_WINDOWS = Compression(send_context=True, receive_context=True, send_window_bits=9, receive_window_bits=9)
EVERYTHING = Compression(threshold=0)

OURS_TO_ASK = [
    pytest.param(Compression(), {}, "client_no_context_takeover", id="defaults"),
    pytest.param(WITHOUT_CONTEXT, {}, "server_no_context_takeover; client_no_context_takeover", id="no contexts"),
    pytest.param(WITH_CONTEXT, {}, "context", id="contexts"),
    pytest.param(SMALL_WINDOWS, {}, "server_max_window_bits=9", id="small windows of ours"),
    pytest.param(EVERYTHING, {}, "no_context", id="even the smallest message"),
    pytest.param(WITH_CONTEXT, {"server_no_context_takeover": True}, "server_no_context", id="they keep no context"),
    pytest.param(WITH_CONTEXT, {"client_no_context_takeover": True}, "client_no_context", id="we may keep no context"),
    pytest.param(WITH_CONTEXT, {"client_max_window_bits": 10}, "client_max_window_bits=10", id="small window for us"),
    pytest.param(WITH_CONTEXT, {"server_max_window_bits": 9}, "server_max_window_bits=9", id="small window of theirs"),
]
"""Our compression, their server's settings, and what the agreement says."""

THEIRS_TO_ASK = [
    pytest.param(Compression(), {}, "server_no_context_takeover", id="defaults"),
    pytest.param(WITHOUT_CONTEXT, {}, "server_no_context_takeover; client_no_context_takeover", id="no contexts"),
    pytest.param(WITH_CONTEXT, {}, "permessage-deflate", id="contexts"),
    pytest.param(SMALL_WINDOWS, {}, "client_max_window_bits=9", id="small windows of ours"),
    pytest.param(EVERYTHING, {}, "no_context", id="even the smallest message"),
    pytest.param(WITH_CONTEXT, {"server_no_context_takeover": True}, "server_no_context", id="we may keep no context"),
    pytest.param(WITH_CONTEXT, {"client_no_context_takeover": True}, "client_no_context", id="they keep no context"),
    pytest.param(WITH_CONTEXT, {"server_max_window_bits": 9}, "server_max_window_bits=9", id="small window for us"),
    pytest.param(WITH_CONTEXT, {"client_max_window_bits": 10}, "permessage-deflate", id="small window of theirs"),
    pytest.param(WITH_CONTEXT, {"client_max_window_bits": None}, "permessage-deflate", id="no word about their window"),
]
"""Our server's compression, their client's settings, and what the agreement says."""


# --- their server ----------------------------------------------------------------------------------------------------


async def converse(connection: websockets.asyncio.server.ServerConnection) -> None:
    """Do what the path says."""
    url = urlsplit(connection.request.path)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    match url.path:
        case "/echo":
            async for message in connection:
                await connection.send(message)
        case "/agreed":
            await connection.send(connection.response.headers.get("Sec-WebSocket-Extensions", "none"))
        case "/close":
            await connection.close(int(query["code"]), query.get("reason", ""))
        case "/fragments":
            await connection.send(["one, ", "", "two"])
            await connection.send([b"\x00" * 70_000, b"\xff"])
        case "/ping":
            await (await connection.ping(b"theirs"))
            await connection.send("answered")
        case "/drop":
            connection.transport.abort()


def _choose(_: object, offered: Sequence[str]) -> str | None:
    return "two" if "two" in offered else None


class TheirServer(AsyncioServer):
    """websockets' asyncio server."""

    def __init__(self, deflate: dict[str, Any] | None) -> None:
        super().__init__()
        self._extensions = None if deflate is None else [ServerPerMessageDeflateFactory(**deflate)]
        self.ends: queue.Queue[tuple[int | None, str | None]] = queue.Queue()
        """Code and reason of each connection that ended."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        async with websockets.asyncio.server.serve(
            self._handle,
            "127.0.0.1",
            0,
            extensions=self._extensions,
            compression=None,
            max_size=2 * SIZES[-1],
            select_subprotocol=_choose,
        ) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _handle(self, connection: websockets.asyncio.server.ServerConnection) -> None:
        try:
            await converse(connection)
        finally:
            await connection.wait_closed() if connection.close_code else await connection.close()
            self.ends.put((connection.close_code, connection.close_reason))


@pytest.fixture(scope="module")
def theirs():
    with TheirServer(None) as server:
        yield server


class TestTheirServer:
    async def test_messages_of_all_sizes_come_back(self, theirs, poller):
        async with open_websocket(f"{theirs.url}/echo", poller=poller) as ws:
            for size in SIZES:
                await ws.send(text_of(size))
                assert await ws.receive() == text_of(size)
                await ws.send(binary_of(size))
                assert await ws.receive() == binary_of(size)

    async def test_fragments_arrive_as_one_message_both_ways(self, theirs, poller):
        async with open_websocket(f"{theirs.url}/echo", poller=poller) as ws:
            await ws.send_stream(["one, ", "", "two, ", "\N{EURO SIGN}"])
            assert await ws.receive() == "one, two, \N{EURO SIGN}"
        async with open_websocket(f"{theirs.url}/fragments", poller=poller) as ws:
            assert await ws.receive() == "one, two"
            assert b"".join([part async for part in ws.receive_stream()]) == b"\x00" * 70_000 + b"\xff"

    async def test_pings_are_answered_both_ways(self, theirs, poller):
        async with open_websocket(f"{theirs.url}/ping", poller=poller) as ws:
            assert await ws.ping() >= 0
            assert await ws.receive() == "answered"

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_our_close_reaches_them(self, poller, code, reason):
        with TheirServer(None) as theirs:
            async with open_websocket(f"{theirs.url}/echo", poller=poller) as ws:
                await ws.close(code, reason)
            assert await trio.to_thread.run_sync(theirs.ends.get) == (code, reason)
        assert ws.close_info.by == "local"

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_their_close_reaches_us(self, theirs, poller, code, reason):
        url = f"{theirs.url}/close?{urlencode({'code': code, 'reason': reason})}"
        async with open_websocket(url, poller=poller, caught_close_codes=all) as ws:
            caught = await end_of(ws)
        assert (caught.code, caught.reason) == (code, reason)
        assert ws.close_info.by == "peer"

    async def test_their_lost_connection_is_a_1006(self, theirs, poller):
        async with open_websocket(f"{theirs.url}/drop", poller=poller, caught_close_codes=[1006]) as ws:
            assert await code_of(ws) == 1006

    async def test_the_subprotocol_is_theirs_to_choose(self, theirs, poller):
        async with open_websocket(f"{theirs.url}/echo", poller=poller, subprotocols=["one", "two"]) as ws:
            assert ws.subprotocol == "two"

    async def test_compression_that_only_we_want_is_not_used(self, theirs, poller):
        async with open_websocket(f"{theirs.url}/agreed", poller=poller, compression=True) as ws:
            assert await ws.receive() == "none"

    @pytest.mark.parametrize(("ours", "settings", "agreed"), OURS_TO_ASK)
    async def test_compressed_messages_come_back(self, poller, ours, settings, agreed):
        with TheirServer(settings) as theirs:
            async with open_websocket(f"{theirs.url}/agreed", poller=poller, compression=ours) as ws:
                answer = await ws.receive()
                assert answer.startswith("permessage-deflate")
                assert agreed in answer or (agreed == "context" and "no_context" not in answer)
            async with open_websocket(f"{theirs.url}/echo", poller=poller, compression=ours) as ws:
                for text in similar_texts():
                    await ws.send(text)
                    assert await ws.receive() == text
                for size in SIZES:
                    await ws.send(binary_of(size))
                    assert await ws.receive() == binary_of(size)
                await ws.send_stream(["one, " * 200, "", "two"])
                assert await ws.receive() == "one, " * 200 + "two"


# --- their client ----------------------------------------------------------------------------------------------------


@attrs.frozen
class TheirClient:
    """Runs a function with websockets' threaded client in a thread."""

    url: str

    async def __call__(self, use: Callable[[websockets.sync.client.ClientConnection], Any], **options: Any) -> Any:
        def run() -> Any:
            # What does not compress is longer on the wire, where websockets looks.
            limits = {"max_size": 2 * SIZES[-1], "proxy": None}
            with websockets.sync.client.connect(self.url, **limits, **options) as connection:
                return use(connection)

        return await trio.to_thread.run_sync(run)


def exchange(connection: websockets.sync.client.ClientConnection) -> str:
    """Send what is hard to compress and what is easy; return what was agreed about compression."""
    for text in similar_texts():
        connection.send(text)
        assert connection.recv() == text
    for size in SIZES:
        connection.send(binary_of(size))
        assert connection.recv() == binary_of(size)
    return connection.response.headers.get("Sec-WebSocket-Extensions", "none")


class TestTheirClient:
    async def test_messages_of_all_sizes_come_back(self, nursery, poller):
        server = await serve(nursery, poller=poller)

        def use(connection):
            for size in SIZES:
                connection.send(text_of(size))
                assert connection.recv() == text_of(size)
            return exchange(connection)

        assert await TheirClient(server.urls[0])(use, compression=None) == "none"

    async def test_fragments_arrive_as_one_message_both_ways(self, nursery, poller):
        async def in_fragments(ws: WebSocket) -> None:
            await ws.send_stream(["one, ", "two"])
            await echo(ws)

        server = await serve(nursery, in_fragments, poller=poller)

        def use(connection):
            connection.send(["three, ", "", "four"])
            return list(connection.recv_streaming()), connection.recv()

        assert await TheirClient(server.urls[0])(use) == (["one, ", "two"], "three, four")

    async def test_pings_are_answered_both_ways(self, nursery, poller):
        latencies = []

        async def ping(ws: WebSocket) -> None:
            latencies.append(await ws.ping(b"ours"))
            await echo(ws)

        server = await serve(nursery, ping, poller=poller)

        def use(connection):
            assert connection.ping(b"theirs").wait(5)
            connection.send("after")
            return connection.recv()

        assert await TheirClient(server.urls[0])(use) == "after"
        assert len(latencies) == 1

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_their_close_reaches_us(self, nursery, poller, code, reason):
        ends = Ends()
        server = await serve(nursery, on_disconnect=ends, poller=poller)
        await TheirClient(server.urls[0])(lambda connection: connection.close(code, reason))
        assert await ends.first() == code

    @pytest.mark.parametrize(("code", "reason"), CLOSINGS)
    async def test_our_close_reaches_them(self, nursery, poller, code, reason):
        server = await serve(nursery, lambda ws: ws.close(code, reason), poller=poller)

        def use(connection):
            with pytest.raises(ConnectionClosed) as caught:
                connection.recv()
            return caught.value.rcvd

        received = await TheirClient(server.urls[0])(use)
        assert (received.code, received.reason) == (code, reason)

    async def test_the_subprotocol_is_ours_to_choose(self, nursery, poller):
        server = await serve(nursery, subprotocols=("three", "two"), poller=poller)
        chosen = await TheirClient(server.urls[0])(
            lambda connection: connection.subprotocol, subprotocols=["one", "two"]
        )
        assert chosen == "two"

    async def test_compression_that_only_they_want_is_not_used(self, nursery, poller):
        server = await serve(nursery, poller=poller)
        assert await TheirClient(server.urls[0])(exchange) == "none"

    @pytest.mark.parametrize(("ours", "settings", "agreed"), THEIRS_TO_ASK)
    async def test_compressed_messages_come_back(self, nursery, poller, ours, settings, agreed):
        server = await serve(nursery, poller=poller, compression=ours)
        extensions = [ClientPerMessageDeflateFactory(**settings)]
        answer = await TheirClient(server.urls[0])(exchange, extensions=extensions, compression=None)
        assert answer.startswith("permessage-deflate")
        assert agreed in answer
