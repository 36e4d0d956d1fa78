"""websockets on Trio."""

import trio
from place import place
from websockets.trio.connection import broadcast
from websockets.trio.server import ServerConnection, serve

members: set[ServerConnection] = set()


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def member(ws: ServerConnection) -> None:
    members.add(ws)
    try:
        async for message in ws:
            await broadcast(members, message)
    finally:
        members.discard(ws)


async def main() -> None:
    here = place()
    await serve(
        member if here.broadcast else echo,
        listeners=[trio.SocketListener(trio.socket.from_stdlib_socket(here.sock))],
        ssl=here.ssl_context,
        compression="deflate" if here.deflate else None,
    )


trio.run(main)
