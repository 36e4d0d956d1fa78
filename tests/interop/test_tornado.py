"""Interoperation with Tornado, which takes no notice of permessage-deflate's parameters without a value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import tornado.httpserver
import tornado.netutil
import tornado.web
import tornado.websocket
import trio
from support.handlers import Ends, echo, serve

from trio_ws import Compression, open_websocket

from .cases import SETTINGS, SIZES, binary_of, check_echo, similar_texts, text_of
from .servers import AsyncioServer

OURS = [each for each in SETTINGS if each.id != "no contexts"]
"""A Tornado that was asked to keep no context has a test of its own."""


class Echo(tornado.websocket.WebSocketHandler):
    def get_compression_options(self) -> dict[str, Any]:
        return {}

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


class TheirServer(AsyncioServer):
    """Tornado's server."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        application = tornado.web.Application([("/", Echo)], websocket_max_message_size=2 * SIZES[-1])
        server = tornado.httpserver.HTTPServer(application)
        sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        yield f"ws://127.0.0.1:{sockets[0].getsockname()[1]}/"
        server.stop()
        await server.close_all_connections()


@pytest.fixture(scope="module")
def theirs() -> Iterator[TheirServer]:
    with TheirServer() as server:
        yield server


@pytest.mark.parametrize("compression", OURS)
async def test_messages_to_their_server_come_back(theirs, poller, compression):
    await check_echo(theirs.url, poller=poller, compression=compression)


async def test_a_server_that_keeps_its_context_unasked_is_put_up_with(theirs, poller):
    """It accepts the offer and keeps the context that the offer rules out."""
    compression = Compression(receive_context=False, receive_window_bits=10)
    async with open_websocket(theirs.url, poller=poller, compression=compression) as ws:
        for text in similar_texts():
            await ws.send(text)
            assert await ws.receive() == text


@pytest.mark.parametrize("compression", OURS)
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
