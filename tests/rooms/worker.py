"""A worker process: an application with rooms over Redis. `python worker.py URL OPTIONS NAME` prints its port.

At the end of its standard input it ends.
"""

from __future__ import annotations

import json
import sys

import trio

from trio_ws import App, BackplaneUnavailable, Query, Server, WebSocket
from trio_ws.rooms.redis import RedisBackplane


def stamp(identifier: str, message: str | bytes) -> str:
    return f'{{"id":"{identifier}","data":{message!s}}}'


app = App(backplane=RedisBackplane(sys.argv[1], **json.loads(sys.argv[2])))
name = sys.argv[3]


@app.websocket("/room/{room}")
async def visit(ws: WebSocket, room: str, user: str, since: str | None = Query(default=None)) -> None:
    """Be in a room: say whether nothing was missed, then publish what the client sends, which is JSON."""
    joining = app.room(room, history=3, resume=5000, stamp=stamp, backlog=64 * 1024 * 1024).join(
        ws, since=since, user=user
    )
    async with joining as joined:
        await ws.send_json({"recovered": joining.recovered, "worker": name})
        async for message in ws:
            await ws.send_json({"published": await joined.publish(message)})


@app.websocket("/publish/{room}")
async def publish(ws: WebSocket, room: str, count: int, tasks: int) -> None:
    """Publish so many messages from so many tasks, and tell of each that was acknowledged."""

    async def work(task: int) -> None:
        for number in range(count // tasks):
            acknowledged = await app.room(room).publish({"task": f"{name}-{task}", "number": number})
            await ws.send_json(acknowledged)

    async with trio.open_nursery() as nursery:
        for task in range(tasks):
            nursery.start_soon(work, task)


@app.websocket("/present/{room}")
async def present(ws: WebSocket, room: str) -> None:
    """Answer each message with who is in a room, in all processes."""
    async for _ in ws:
        try:
            await ws.send_json(sorted(each.info["user"] for each in await app.room(room).presence()))
        except BackplaneUnavailable:
            await ws.send_json(None)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(app.serve, "127.0.0.1", 0)
        print(server.port, flush=True)
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        server.shutdown()


if __name__ == "__main__":
    trio.run(main)
