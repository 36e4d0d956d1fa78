import sys

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket


async def echo(request: WebSocketRequest) -> None:
    connection = await request.accept()
    try:
        while True:
            await connection.send_message(await connection.get_message())
    except ConnectionClosed:
        pass


async def main() -> None:
    await serve_websocket(echo, "127.0.0.1", int(sys.argv[1]), None, max_message_size=16 << 20)


trio.run(main)
