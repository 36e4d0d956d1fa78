"""An application that is cancelled at each of its checkpoints in turn leaves nothing behind, and skips no callback."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from trio_ws import App, ConnectError, Depends, Timeouts, WebSocket, WebSocketDisconnect, open_websocket
from trio_ws.testing import CancellationPoint, cancel_everywhere

TIMES = Timeouts(drain_timeout=0.05, cleanup_timeout=0.5, shutdown_grace=0.05, close_timeout=0.5)


def application(counts: Counter[str]) -> App:
    app = App(timeouts=TIMES)

    async def held():
        counts["held"] += 1
        try:
            await trio.lowlevel.checkpoint()
            yield
        finally:
            counts["held"] -= 1

    async def guard(context) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    @app.listener("/a", guards=[guard], concurrency=2)
    async def receive(data: int, ws: WebSocket, _: None = Depends(held)):
        async with app.room("all").join(ws):
            yield data
            await trio.lowlevel.checkpoint()
            yield data

    @receive.on_connect
    async def greet() -> None:
        counts["came"] += 1

    @receive.on_disconnect
    async def goodbye(ws: WebSocket, code: int) -> None:
        await trio.lowlevel.checkpoint()
        counts["went"] += 1
        counts["members"] = app.room("all").count

    return app


async def talk(url: str) -> None:
    try:
        async with open_websocket(url, caught_close_codes=all) as ws:
            await ws.send("1")
            assert [await ws.receive(), await ws.receive()] == ["1", "1"]
    except (WebSocketDisconnect, ConnectError):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["the application", "its client"])
async def test_it_leaves_nothing_behind_and_skips_no_callback(victim: str) -> None:
    counts: Counter[str] = Counter()
    app = application(counts)

    async def scenario(cut: CancellationPoint) -> None:
        counts.clear()

        async def serve(task_status: trio.TaskStatus[object]) -> None:
            with cut() if victim == "the application" else trio.CancelScope():
                await app.serve("127.0.0.1", 0, task_status=task_status)

        async with trio.open_nursery() as nursery:
            try:
                server = await nursery.start(serve)
            except RuntimeError:  # cancelled before it listened
                return
            with cut() if victim == "its client" else trio.CancelScope():
                await talk(f"ws://127.0.0.1:{server.port}/a")
            nursery.cancel_scope.cancel()
        assert (counts["held"], counts["members"]) == (0, 0)
        assert counts["went"] >= counts["came"]

    assert await cancel_everywhere(scenario) > 20
