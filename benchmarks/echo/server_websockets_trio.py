import sys

import trio
from websockets.trio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


trio.run(lambda: serve(echo, int(sys.argv[1]), host="127.0.0.1", max_size=16 << 20))
