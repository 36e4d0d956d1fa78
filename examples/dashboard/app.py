"""A page that draws what its server does: open http://localhost:8000, and let it make some traffic.

The task that takes the figures belongs to the room: it begins with the first visitor and ends with the last.
"""

import sys
from pathlib import Path

import attrs
import trio

from trio_ws import App, Room, WebSocket

app = App()
app.page("/", Path(__file__).with_name("index.html"))
app.state.interval = 1.0
"""Seconds between two samples."""


@app.websocket("/statistics")
async def statistics(ws: WebSocket) -> None:
    async with app.room("statistics", history=60).join(ws) as room:
        if room.count == 1:
            room.start_soon(push, room)
        async for _ in ws:  # nothing that a visitor says matters, but that they leave
            pass


async def push(room: Room) -> None:
    """Publish a sample again and again: the server's own figures, and how long ago the task began."""
    start = trio.current_time()
    while True:
        sample = attrs.asdict(app.server.statistics())
        await room.publish({"time": trio.current_time() - start, **sample})
        await trio.sleep(app.state.interval)


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Give the server something to do."""
    async for message in ws:
        await ws.send(message)


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # the port is taken, say
        sys.exit(str(error))
