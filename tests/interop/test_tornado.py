"""Interoperation with Tornado, which takes no notice of permessage-deflate's parameters without a value."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import trio
from support.handlers import Ends, echo, serve

from trio_ws import Compression, open_websocket

from .cases import SIZES, binary_of, similar_texts, text_of

SETTINGS = [
    pytest.param(True, id="defaults"),
    pytest.param(False, id="none"),
    pytest.param(Compression(send_context=True), id="contexts"),
    pytest.param(Compression(send_window_bits=9, receive_window_bits=9), id="small windows"),
    pytest.param(Compression(threshold=0), id="even the smallest message"),
]


class Echo(tornado.websocket.WebSocketHandler):
    def get_compression_options(self) -> dict[str, Any]:
        return {}

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class TheirServer:
    """Tornado's server in a thread of its own."""

    def __init__(self) -> None:
        self._started: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        application = tornado.web.Application([("/", Echo)], websocket_max_message_size=2 * SIZES[-1])
        server = tornado.httpserver.HTTPServer(application)
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        self.url = f"ws://127.0.0.1:{sockets[0].getsockname()[1]}/"
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.put(None)
        await self._stop.wait()
        server.stop()
        await server.close_all_connections()

    def __enter__(self) -> TheirServer:
        self._thread.start()
        self._started.get()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture(scope="module")
def theirs() -> Iterator[TheirServer]:
    with TheirServer() as server:
        yield server


@pytest.mark.parametrize("compression", SETTINGS)
async def test_messages_to_their_server_come_back(theirs, poller, compression):
    async with open_websocket(theirs.url, poller=poller, compression=compression) as ws:
        answer = ws.response_headers.get("sec-websocket-extensions", "")
        assert answer.startswith("permessage-deflate" if compression else "")
        for text in similar_texts():
            await ws.send(text)
            assert await ws.receive() == text
        for size in SIZES:
            await ws.send(binary_of(size))
            assert await ws.receive() == binary_of(size)
    assert ws.close_code == 1000


async def test_a_server_that_keeps_its_context_unasked_is_put_up_with(theirs, poller):
    """It accepts the offer and keeps the context that the offer rules out."""
    compression = Compression(receive_context=False, receive_window_bits=10)
    async with open_websocket(theirs.url, poller=poller, compression=compression) as ws:
        for text in similar_texts():
            await ws.send(text)
            assert await ws.receive() == text


@pytest.mark.parametrize("compression", SETTINGS)
async def test_messages_of_their_client_come_back(nursery, poller, compression):
    ends = Ends()
    server = await serve(nursery, echo, on_disconnect=ends, compression=compression, poller=poller)

    async def converse() -> None:
        client = await tornado.websocket.websocket_connect(
            server.urls[0], compression_options={}, max_message_size=2 * SIZES[-1]
        )
        agreed = client.headers.get("Sec-WebSocket-Extensions", "")
        assert agreed.startswith("permessage-deflate" if compression else "")
        for message in (*similar_texts(), *map(text_of, SIZES), *map(binary_of, SIZES)):
            await client.write_message(message, binary=isinstance(message, bytes))
            assert await client.read_message() == message
        client.close(1000)
        assert await client.read_message() is None

    await trio.to_thread.run_sync(asyncio.run, converse())
    assert await ends.first() == 1000
