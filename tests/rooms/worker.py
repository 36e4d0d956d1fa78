"""A worker process: an application with rooms over Redis. `work` sends its port, and ends when the pipe does."""

from __future__ import annotations

from multiprocessing.connection import Connection
from typing import Any

import trio

from trio_ws import App, BackplaneUnavailable, Query, Server, WebSocket
from trio_ws.rooms.redis import RedisBackplane


def stamp(identifier: str, message: str | bytes) -> str:
    return f'{{"id":"{identifier}","data":{message!s}}}'


def application(url: str, options: dict[str, Any], name: str) -> App:
    """Return the application of a process of that name."""
    app = App(backplane=RedisBackplane(url, **options))

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

    return app


def work(pipe: Connection, url: str, options: dict[str, Any], name: str) -> None:
    """Serve until the pipe ends."""

    async def main() -> None:
        app = application(url, options, name)
        async with trio.open_nursery() as nursery:
            server: Server = await nursery.start(app.serve, "127.0.0.1", 0)
            pipe.send(server.port)
            await trio.lowlevel.wait_readable(pipe)
            server.shutdown()

    trio.run(main)
