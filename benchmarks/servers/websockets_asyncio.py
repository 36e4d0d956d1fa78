"""websockets on asyncio's own loop."""

import asyncio

from place import BACKLOG, Place, place
from websockets.asyncio.server import ServerConnection, broadcast, serve

members: set[ServerConnection] = set()


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def member(ws: ServerConnection) -> None:
    members.add(ws)
    try:
        async for message in ws:
            broadcast(members, message)
    finally:
        members.discard(ws)


async def main(here: Place) -> None:
    async with serve(
        member if here.broadcast else echo,
        sock=here.sock,
        backlog=BACKLOG,
        ssl=here.ssl_context,
        compression="deflate" if here.deflate else None,
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(place()))
