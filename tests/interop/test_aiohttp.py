"""Interoperation with aiohttp's server and client, with and without permessage-deflate."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from queue import SimpleQueue

import aiohttp
import aiohttp.web
import pytest
import trio
from support.handlers import Ends, echo, serve

from trio_ws import Compression, open_websocket

from .cases import SIZES, binary_of, similar_texts, text_of

SETTINGS = [
    pytest.param(True, id="defaults"),
    pytest.param(False, id="none"),
    pytest.param(Compression(send_context=True), id="contexts"),
    pytest.param(Compression(receive_context=False), id="no contexts"),
    pytest.param(Compression(send_window_bits=9, receive_window_bits=9), id="small windows"),
    pytest.param(Compression(threshold=0), id="even the smallest message"),
]


async def converse(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
    ws = aiohttp.web.WebSocketResponse(max_msg_size=2 * SIZES[-1])
    await ws.prepare(request)
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data)
        else:
            await ws.send_bytes(message.data)
    return ws


class TheirServer:
    """aiohttp's server in a thread of its own."""

    def __init__(self) -> None:
        self._started: SimpleQueue[None] = SimpleQueue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self) -> None:
        application = aiohttp.web.Application()
        application.router.add_get("/", converse)
        runner = aiohttp.web.AppRunner(application)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.put(None)
        await self._stop.wait()
        await runner.cleanup()

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


@pytest.mark.parametrize("window", [0, 9, 15])
@pytest.mark.parametrize("compression", SETTINGS)
async def test_messages_of_their_client_come_back(nursery, poller, compression, window):
    ends = Ends()
    server = await serve(nursery, echo, on_disconnect=ends, compression=compression, poller=poller)

    async def talk() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(server.urls[0], compress=window, max_msg_size=2 * SIZES[-1]) as ws,
        ):
            for text in (*similar_texts(), *map(text_of, SIZES)):
                await ws.send_str(text)
                assert await ws.receive_str() == text
            for size in SIZES:
                await ws.send_bytes(binary_of(size))
                assert await ws.receive_bytes() == binary_of(size)

    await trio.to_thread.run_sync(asyncio.run, talk())
    assert await ends.first() == 1000
