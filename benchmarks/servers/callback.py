"""trio_ws with a callback in place of a handler; it has no task for a connection."""

import trio
from place import place

from trio_ws import WebSocket, serve_messages


async def main() -> None:
    here = place()
    await serve_messages(WebSocket.offer, listeners=[here.sock])


trio.run(main)
