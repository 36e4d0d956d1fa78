"""aiohttp on uvloop, with a broadcast by one send after another, as in its chat example."""

import asyncio

import uvloop
from aiohttp import WSMsgType, web
from place import BACKLOG, Place, place

members: set[web.WebSocketResponse] = set()


def server_side(deflate: bool) -> web.WebSocketResponse:
    return web.WebSocketResponse(compress=deflate)


async def echo(request: web.Request) -> web.WebSocketResponse:
    ws = server_side(request.app[DEFLATE])
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def member(request: web.Request) -> web.WebSocketResponse:
    ws = server_side(request.app[DEFLATE])
    await ws.prepare(request)
    members.add(ws)
    try:
        async for message in ws:
            for other in tuple(members):
                await other.send_str(message.data)
    finally:
        members.discard(ws)
    return ws


DEFLATE = web.AppKey("deflate", bool)


async def main(here: Place) -> None:
    app = web.Application()
    app[DEFLATE] = here.deflate
    app.router.add_get("/", member if here.broadcast else echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, here.sock, ssl_context=here.ssl_context, backlog=BACKLOG).start()
    await asyncio.Event().wait()


uvloop.run(main(place()))
