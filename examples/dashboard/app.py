"""A page with charts of its server's statistics: open http://localhost:8000, and start some traffic.

The task that takes the samples belongs to the room: it begins with the first visitor and ends with the last.
"""

import sys
from pathlib import Path

import attrs
import trio

from trio_ws import App, Room, WebSocket

app = App()
app.page("/", Path(__file__).with_name("index.html"))
app.client_script("/trio_ws.js")
app.static("/shared", Path(__file__).parents[1] / "shared")
app.state.interval = 1.0
"""Seconds between two samples."""


@app.websocket("/statistics")
async def statistics(ws: WebSocket) -> None:
    async with app.room("statistics", history=60).join(ws) as room:
        if room.count == 1:
            room.start_soon(push, room)
        async for _ in ws:  # messages are ignored; the loop ends with the connection
            pass


async def push(room: Room) -> None:
    """Publish samples: the server's statistics and the age of the task."""
    start = trio.current_time()
    while True:
        sample = attrs.asdict(app.server.statistics())
        await room.publish({"time": trio.current_time() - start, **sample})
        await trio.sleep(app.state.interval)


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Echo messages, as a source of traffic."""
    async for message in ws:
        await ws.send(message)


if __name__ == "__main__":
    try:
        app.run()
    except OSError as error:  # for example, the port is in use
        sys.exit(str(error))
