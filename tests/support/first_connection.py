"""A program that prints the modules that the first connection of an application imports, by way of serving it.

Each way is a process of its own, forked when the routes are declared.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from trio_ws import App, Ok, WebSocket

app = App(guards=[lambda: True])


@app.websocket("/view/{channel}")
async def view(ws: WebSocket, channel: str) -> None:
    async with app.room(channel, history=2).join(ws) as room:
        async for message in ws:
            await room.publish(message)


@app.listener("/listener")
async def listener(data: str) -> object:
    return Ok({"got": data})


UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CLOSE = b"\x81\x83\0\0\0\0" + b'"a"', b"\x88\x82\0\0\0\0\x03\xe8"


async def served(path: str) -> set[str]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(app.serve, "127.0.0.1", 0)
        before = set(sys.modules)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        for sent in (UPGRADE % path.encode(), TEXT, CLOSE):
            await stream.send_all(sent)
            assert await stream.receive_some()
        server.statistics()
        imported = set(sys.modules) - before
        nursery.cancel_scope.cancel()
    return imported


async def tested(path: str) -> set[str]:
    async with app.test_client() as client:
        before = set(sys.modules)
        async with client.websocket_connect(path) as ws:
            await ws.send('"a"')
            assert await ws.receive()
        return set(sys.modules) - before


async def under_asgi(path: str) -> set[str]:
    to_app, events = trio.open_memory_channel[Any](1)
    to_test, answers = trio.open_memory_channel[Any](9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(app, {"type": "lifespan", "asgi": {"version": "3.0"}}, events.receive, to_test.send)
        await to_app.send({"type": "lifespan.startup"})
        await answers.receive()
        before = set(sys.modules)
        sent, received = trio.open_memory_channel[Any](9)
        scope = {"path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"localhost")]}
        nursery.start_soon(app, {"type": "websocket", "subprotocols": [], **scope}, received.receive, to_test.send)
        for event, answer in (
            ({"type": "websocket.connect"}, "websocket.accept"),
            ({"type": "websocket.receive", "text": '"a"'}, "websocket.send"),
        ):
            await sent.send(event)
            assert (await answers.receive())["type"] == answer
        await sent.send({"type": "websocket.disconnect", "code": 1000})
        while app.connections.active:
            await trio.lowlevel.checkpoint()
        await to_app.send({"type": "lifespan.shutdown"})
        await answers.receive()
        return set(sys.modules) - before


async def bounded(way: Callable[[str], Awaitable[set[str]]], path: str) -> set[str]:
    with trio.fail_after(60):
        return await way(path)


def main() -> None:
    for way, path in ((served, "/view/a"), (tested, "/listener"), (under_asgi, "/view/a")):
        child = os.fork()
        if not child:
            print(way.__name__, *sorted(trio.run(bounded, way, path)), flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{way.__name__} failed")


if __name__ == "__main__":
    main()
