"""Revoked credentials through Redis: every process carries them out, also after a time without Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from support.endings import code_of
from support.handlers import echo
from support.redis import Line, RedisServer, collects_coredis, forgives_coredis, line_to, needs_redis

from trio_ws import (
    App,
    BackplaneUnavailable,
    Credentials,
    RedisBackplane,
    WebSocket,
    WebSocketDisconnect,
    connect_backplane,
)
from trio_ws.app import GuardContext
from trio_ws.testing import TestClient

pytestmark = [needs_redis, forgives_coredis, collects_coredis, pytest.mark.usefixtures("impatient")]

QUICK = {"command_timeout": 0.5, "poll_interval": 0.2, "presence_timeout": 0.6, "wait": True}


def serving(url: str, **options: Any) -> App:
    """Return an application whose users are named by a header."""
    app = App(backplane=RedisBackplane(url, **{**QUICK, **options}))

    async def signed_in(context: GuardContext) -> Credentials:
        headers = context.request.headers
        issued_at = headers.get("issued-at")
        return Credentials(headers["user"], issued_at=None if issued_at is None else float(issued_at))

    app.websocket("/a", guards=[signed_in])(echo)

    return app


@asynccontextmanager
async def two_processes(redis: RedisServer, **options: Any) -> AsyncIterator[tuple[Line, App, TestClient, TestClient]]:
    """One process right at Redis, which revokes, and one behind a line that can be cut, with clients."""
    async with line_to(redis) as line:
        near, far = serving(redis.url, publish_timeout=20, **options), serving(line.url, **options)
        async with near.test_client(timeout=60) as here, far.test_client(timeout=60) as there:
            yield line, near, here, there


@asynccontextmanager
async def connected(client: TestClient, *users: str, **headers: str) -> AsyncIterator[list[WebSocket]]:
    """Connect users for a block; how their connections end is not looked at."""
    connections: list[WebSocket] = []
    async with trio.open_nursery() as nursery:

        async def connect(user: str, *, task_status: trio.TaskStatus[WebSocket]) -> None:
            try:
                async with client.websocket_connect("/a", headers={"user": user, **headers}) as ws:
                    task_status.started(ws)
                    await trio.sleep_forever()
            except WebSocketDisconnect:
                pass

        for user in users:
            connections.append(await nursery.start(connect, user))
        yield connections
        nursery.cancel_scope.cancel()


async def is_open(ws: WebSocket) -> bool:
    await ws.send("there?")
    return bool(await ws.receive() == "there?")


async def test_revocation_reaches_every_process(redis: RedisServer) -> None:
    async with two_processes(redis) as (_, app, here, there):
        async with connected(here, "ada", "eve") as near, connected(there, "ada", "eve") as far:
            began = trio.current_time()
            await app.revoke("ada", code=4403, reason="banned")
            assert near[0].close_code in (None, 4403)
            assert [await code_of(ws) for ws in (near[0], far[0])] == [4403, 4403]
            assert trio.current_time() - began < 5  # milliseconds, on a machine that is free
            assert [await is_open(ws) for ws in (near[1], far[1])] == [True, True]
            async with connected(there, "ada") as again:
                assert await is_open(again[0])


async def test_process_without_redis_carries_out_revocations_later(redis: RedisServer) -> None:
    """Also on those that have connected meanwhile: whether their guards knew of it, no one can say."""
    async with two_processes(redis) as (line, app, _, there):
        async with connected(there, "ada", "eve") as far:
            line.cut_off()
            await app.revoke("ada")
            assert await is_open(far[0])
            later = str(time.time() + 1)
            async with connected(there, "ada") as meanwhile, connected(there, "ada", **{"issued-at": later}) as again:
                line.mend()
                assert [await code_of(ws) for ws in (far[0], meanwhile[0])] == [4401, 4401]
                assert [await is_open(ws) for ws in (far[1], again[0])] == [True, True]


async def test_revocations_beyond_the_history_close_all_users(redis: RedisServer) -> None:
    async with two_processes(redis, stream_length=100) as (line, app, here, there):
        async with connected(here, "ada", "eve") as near, connected(there, "ada", "eve") as far:
            line.cut_off()
            await app.revoke("ada")
            async with trio.open_nursery() as nursery:
                for number in range(300):
                    nursery.start_soon(app.revoke, number)
            line.mend()
            assert [await code_of(ws) for ws in far] == [1012, 1012]
            assert [await code_of(near[0]), await is_open(near[1])] == [4401, True]


async def test_redis_that_has_lost_revocations_closes_all_users(redis: RedisServer) -> None:
    async with two_processes(redis) as (line, app, _, there):
        async with connected(there, "ada", "eve") as far:
            await app.revoke("someone")
            line.cut_off()
            await app.revoke("ada")
            redis.kill()
            redis.start()
            line.mend()
            assert [await code_of(ws) for ws in far] == [1012, 1012]


async def test_redis_without_revocations_may_be_lost(redis: RedisServer) -> None:
    """What never was cannot be missing."""
    async with two_processes(redis) as (_, app, _, there):
        async with connected(there, "ada", "eve") as far:
            redis.kill()
            redis.start()
            await app.revoke("ada")
            assert [await code_of(far[0]), await is_open(far[1])] == [4401, True]


async def test_revoking_process_without_redis_acts_here_and_says_so(redis: RedisServer) -> None:
    async with line_to(redis) as line:
        app = serving(line.url, publish_timeout=0.3, local_after=0.1)
        async with app.test_client(timeout=60) as client, connected(client, "ada", "eve") as users:
            line.cut_off()
            with pytest.raises(BackplaneUnavailable) as away:
                await app.revoke("ada")
            assert away.value.local
            assert [await code_of(users[0]), await is_open(users[1])] == [4401, True]


async def test_programs_without_connections_revoke_from_outside(redis: RedisServer) -> None:
    def from_a_thread() -> None:
        with connect_backplane(redis.url) as rooms:
            rooms.revoke("eve", code=4403)

    app = serving(redis.url)
    async with app.test_client(timeout=60) as client, connected(client, "ada", "eve", "joe") as users:
        async with connect_backplane(redis.url) as rooms:
            with pytest.raises(ValueError, match="may not be sent"):
                await rooms.revoke("ada", code=5)
            await rooms.revoke("ada")
        await trio.to_thread.run_sync(from_a_thread)
        assert [await code_of(ws) for ws in users[:2]] == [4401, 4403]
        assert await is_open(users[2])
