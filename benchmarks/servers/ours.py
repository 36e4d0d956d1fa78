"""trio_ws with its default settings."""

import trio
from place import place

from trio_ws import WebSocket, broadcast, serve_websocket

members: set[WebSocket] = set()


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def member(ws: WebSocket) -> None:
    members.add(ws)
    try:
        async for message in ws:
            await broadcast(members, message)
    finally:
        members.discard(ws)


async def main() -> None:
    here = place()
    await serve_websocket(
        member if here.broadcast else echo,
        listeners=[here.sock],
        ssl_context=here.ssl_context,
        compression=here.deflate,
    )


if __name__ == "__main__":
    trio.run(main)
