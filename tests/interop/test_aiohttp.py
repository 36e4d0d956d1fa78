"""Interoperation with aiohttp's server and client, with and without permessage-deflate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import aiohttp.web
import pytest
import trio
from support.handlers import Ends, echo, serve

from .cases import SETTINGS, SIZES, binary_of, check_echo, similar_texts, text_of
from .servers import AsyncioServer


async def converse(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
    ws = aiohttp.web.WebSocketResponse(max_msg_size=2 * SIZES[-1])
    await ws.prepare(request)
    async for message in ws:
        if message.type is aiohttp.WSMsgType.TEXT:
            await ws.send_str(message.data)
        else:
            await ws.send_bytes(message.data)
    return ws


class TheirServer(AsyncioServer):
    """aiohttp's server."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        application = aiohttp.web.Application()
        application.router.add_get("/", converse)
        runner = aiohttp.web.AppRunner(application)
        await runner.setup()
        await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/"
        await runner.cleanup()


@pytest.fixture(scope="module")
def theirs() -> Iterator[TheirServer]:
    with TheirServer() as server:
        yield server


@pytest.mark.parametrize("compression", SETTINGS)
async def test_messages_to_their_server_come_back(theirs, poller, compression):
    await check_echo(theirs.url, poller=poller, compression=compression)


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
