"""Credentials against each other: expiry, renewal, revocation and close in any order, and cancelled anywhere."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from support.handlers import app_of

from trio_ws import App, Credentials, Timeouts, WebSocket, WebSocketDisconnect
from trio_ws.app import GuardContext
from trio_ws.testing import CancellationPoint, cancel_everywhere, virtual_time

LONG = 1e6

STEPS = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 100)),
    st.tuples(st.just("renew"), st.integers(-5, 200)),
    st.tuples(st.just("expires_at"), st.integers(-5, 200)),
    st.tuples(st.just("never"), st.just(0)),
    st.tuples(st.just("revoke"), st.just(0)),
    st.tuples(st.just("revoke another"), st.just(0)),
    st.tuples(st.just("close"), st.just(0)),
)


class Model:
    """What the connection of a story has to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.deadline = 50.0
        self.end: tuple[float, int] | None = None

    def take(self, step: str, value: float) -> None:
        if step == "wait":
            self.now += value
        self.look()
        if self.end is not None:
            return
        if step in ("renew", "expires_at"):
            self.deadline = self.now + max(value, 0)
        elif step == "never":
            self.deadline = float("inf")
        elif step == "revoke":
            self.end = (self.now, 4403)
        elif step == "close":
            self.end = (self.now, 1000)
        self.look()

    def look(self) -> None:
        if self.end is None and self.now >= self.deadline:
            self.end = (self.deadline, 4401)


@pytest.mark.slow
@example([("wait", 63), ("renew", -5)])
@given(st.lists(STEPS, max_size=12))
@virtual_time
async def test_connection_ends_when_its_credentials_say(steps: list[tuple[str, float]]) -> None:
    app, ends = App(timeouts=Timeouts(ping_interval=None)), list[tuple[float, int]]()

    async def signed_in(context: GuardContext) -> Credentials:
        return Credentials("ada", expires_at=time.time() + 50)

    async def take(ws: WebSocket, step: str, value: float) -> None:
        if step == "wait":
            await trio.sleep(value)
        elif step == "renew":
            await ws.renew(Credentials("ada", expires_at=time.time() + value))
        elif step == "expires_at":
            ws.expires_at(time.time() + value)
        elif step == "never":
            await ws.renew(Credentials())
        elif step == "close":
            await ws.ensure_closed()
        else:
            await app.revoke("ada" if step == "revoke" else "eve", code=4403)

    @app.websocket("/a", guards=[signed_in], when_peer_leaves="finish")
    async def view(ws: WebSocket) -> None:
        began = trio.current_time()

        async def watch() -> None:
            info = await ws.wait_closed()
            ends.append((trio.current_time() - began, info.code))

        ws.nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        for step in steps:
            try:
                await take(ws, *step)
            except WebSocketDisconnect:
                break
        await trio.testing.wait_all_tasks_blocked()

    model = Model()
    for step in steps:
        model.take(*step)
    async with app.test_client(timeout=LONG) as client:
        with pytest.raises(WebSocketDisconnect) as end:
            async with client.websocket_connect("/a") as ws:
                await ws.receive()
    if model.end is None:
        assert end.value.code == 1000
    else:
        assert end.value.code == model.end[1]
        assert ends[0][0] == pytest.approx(model.end[0], abs=1)
        assert ends[0][1] == model.end[1]
    assert len(app.connections.revocations) == 0


# --- cancelled anywhere ------------------------------------------------------------------------------------------


async def test_cancelled_renewal_renews_or_does_not() -> None:
    app, kept = App(), list[Any]()

    async def scenario(point: CancellationPoint) -> None:
        kept.clear()
        async with app.test_client() as client, client.websocket_connect("/a") as ws:
            await ws.send("renew")
            await ws.receive()
        renewed = kept[0] is not None
        assert renewed is not point.cancelled

    current: list[CancellationPoint] = []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.receive()
        with current[0]():
            await ws.renew(Credentials("ada"))
        kept.append(ws.credentials)
        await ws.send("done")

    async def run(point: CancellationPoint) -> None:
        current[:] = [point]
        await scenario(point)

    assert await cancel_everywhere(run) >= 2


async def test_cancelled_revocation_revokes_all_or_none() -> None:
    async def view(ws: WebSocket) -> None:
        await ws.renew(Credentials("ada"))
        await ws.send(await ws.receive())

    app = app_of(view, "/a")

    async def scenario(point: CancellationPoint) -> None:
        async with app.test_client() as client:
            async with client.websocket_connect("/a") as first, client.websocket_connect("/a") as second:
                await trio.testing.wait_all_tasks_blocked()
                with point():
                    await app.revoke("ada")
                ended = []
                for ws in (first, second):
                    try:
                        await ws.send("there?")
                        await ws.receive()
                        ended.append(False)
                    except WebSocketDisconnect as end:
                        ended.append(end.code == 4401)
                assert ended in ([True, True], [False, False])
                assert point.cancelled or ended == [True, True]

    assert await cancel_everywhere(scenario) >= 3
