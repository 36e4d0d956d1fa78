"""trio-websocket with the handler of its documentation, and a broadcast by a nursery of sends."""

import trio
from place import place
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, WebSocketServer

members: set[WebSocketConnection] = set()


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except ConnectionClosed:
        pass


async def member(request: WebSocketRequest) -> None:
    ws = await request.accept()
    members.add(ws)
    try:
        while True:
            message = await ws.get_message()
            async with trio.open_nursery() as nursery:
                for other in members:
                    nursery.start_soon(other.send_message, message)
    except* ConnectionClosed:
        pass
    finally:
        members.discard(ws)


async def main() -> None:
    here = place()
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(here.sock))
    if here.ssl_context is not None:
        listener = trio.SSLListener(listener, here.ssl_context, https_compatible=True)
    await WebSocketServer(member if here.broadcast else echo, [listener]).run()


trio.run(main)
