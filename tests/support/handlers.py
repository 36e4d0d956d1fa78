"""Servers of ours on this machine, what they serve, and the timeouts that tests have patience for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from trio_ws import App, Server, Timeouts, WebSocket, serve_websocket

QUICK = Timeouts(
    open_timeout=5.0, close_timeout=2.0, drain_timeout=0.05, cleanup_timeout=1.0, shutdown_grace=0.1, ping_interval=None
)
"""Long enough for a slow machine where the peer does its part, short where a test waits for the end of a timeout."""


async def echo(websocket: WebSocket) -> None:
    async for message in websocket:
        await websocket.send(message)


def app_of(view: Callable[..., Any], path: str = "/", app: App | None = None, **options: Any) -> App:
    """Return an application, or the given one, with one view."""
    app = app or App()
    app.websocket(path, **options)(view)
    return app


def app_of_listener(listener: Callable[..., Any], path: str = "/", app: App | None = None, **options: Any) -> App:
    """Return an application, or the given one, with one listener."""
    app = app or App()
    app.listener(path, **options)(listener)
    return app


async def stall(websocket: WebSocket) -> None:
    """Neither read nor send, until it is cancelled."""
    await trio.sleep_forever()


async def noted_when_cancelled(notes: list[Any], note: Any = True) -> None:
    """Wait for ever, and append `note` at the end of it."""
    try:
        await trio.sleep_forever()
    finally:
        notes.append(note)


async def until_cancelled(then: Callable[[trio.Cancelled], object]) -> None:
    """Wait for ever, and call `then` with what ends it."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled as cancelled:
        then(cancelled)
        raise


async def parts(*steps: Any) -> AsyncIterator[Any]:
    """Yield a message in parts; between them an event is waited for, a function called, an error raised."""
    for step in steps:
        await trio.lowlevel.checkpoint()
        if isinstance(step, trio.Event):
            await step.wait()
        elif isinstance(step, Exception):
            raise step
        elif callable(step):
            step()
        else:
            yield step


async def until_gone(server: Any, most: int = 0) -> None:
    """Wait until a server has no connection, or `most` of them."""
    with trio.fail_after(20):
        while server.statistics().connections > most:
            await trio.sleep(0.001)


async def serve(nursery: trio.Nursery, handler: Any = echo, **options: Any) -> Server:
    """Start a server, on a free port of 127.0.0.1 unless the options say where."""
    if not {"host", "port", "uds", "listeners"} & options.keys():
        options |= {"host": "127.0.0.1", "port": 0}
    options.setdefault("timeouts", QUICK)
    server: Server = await nursery.start(
        lambda task_status: serve_websocket(handler, task_status=task_status, **options)
    )
    return server


class Ends:
    """An `on_disconnect` that notes the codes, and lets tests wait for one."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self._changed = trio.Event()

    async def __call__(self, websocket: WebSocket, code: int) -> None:
        self.codes.append(code)
        self._changed.set()

    async def first(self) -> int:
        """Return the code of the first connection that ended."""
        with trio.fail_after(20):
            await self._changed.wait()
        return self.codes[0]
