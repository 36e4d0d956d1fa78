"""trio_ws with its application layer, a route and a room for the broadcast."""

import trio
from place import place

from trio_ws import App, WebSocket

here = place()
app = App(compression=here.deflate)
room = app.room("all")


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def member(ws: WebSocket) -> None:
    async with room.join(ws):
        async for message in ws:
            await room.publish(message)


app.websocket("/")(member if here.broadcast else echo)


async def main() -> None:
    await app.serve(listeners=[here.sock], ssl_context=here.ssl_context)


trio.run(main)
