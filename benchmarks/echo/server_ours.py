import sys

import trio

from trio_ws import Compression, Limits, WebSocket, serve_websocket


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


async def main() -> None:
    options = {"limits": Limits(max_message_size=16 << 20), "compression": Compression(threshold=0)}
    await serve_websocket(echo, "127.0.0.1", int(sys.argv[1]), **options)


trio.run(main)
