"""Revoked credentials: all connections of a user are closed, in all processes, and no others."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID

import pytest
import trio
from support.endings import code_of, status_of
from support.handlers import app_of, echo
from support.internals import internal

from tests.documented.ways import Way
from trio_ws import (
    App,
    BackplaneUnavailable,
    ConnectionRejected,
    Credentials,
    Depends,
    MemoryBackplane,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
)
from trio_ws.app import GuardContext
from trio_ws.connection.channel import Channel, PendingHandshake
from trio_ws.connection.prepared import PreparedMessage
from trio_ws.rooms.topics import REVOCATIONS
from trio_ws.testing import TestClient


def serving(backplane: MemoryBackplane | None = None, **of_credentials: Any) -> App:
    """Return an application whose users are named by a header."""
    app = App(backplane=backplane)

    async def signed_in(context: GuardContext) -> Credentials:
        return Credentials(context.request.headers["user"], **of_credentials)

    app.websocket("/a", guards=[signed_in])(echo)

    return app


async def is_open(ws: WebSocket) -> bool:
    await ws.send("there?")
    return bool(await ws.receive() == "there?")


@asynccontextmanager
async def connected(client: TestClient, *users: str) -> AsyncIterator[list[WebSocket]]:
    """Connect users for a block; how their connections end is not looked at."""
    connections: list[WebSocket] = []
    async with trio.open_nursery() as nursery:

        async def connect(user: str, *, task_status: trio.TaskStatus[WebSocket]) -> None:
            try:
                async with client.websocket_connect("/a", headers={"user": user}) as ws:
                    task_status.started(ws)
                    await trio.sleep_forever()
            except WebSocketDisconnect:
                pass

        for user in users:
            connections.append(await nursery.start(connect, user))
        yield connections
        nursery.cancel_scope.cancel()


async def test_users_connections_in_all_processes_are_closed() -> None:
    backplane = MemoryBackplane()
    here, there = serving(backplane), serving(backplane)
    async with here.test_client() as near, there.test_client() as far:
        async with connected(near, "ada", "ada", "eve") as mine, connected(far, "ada", "eve") as yours:
            await here.revoke("ada")
            assert [await code_of(ws) for ws in (mine[0], mine[1], yours[0])] == [4401] * 3
            assert mine[0].close_reason == "credentials revoked"
            assert [await is_open(ws) for ws in (mine[2], yours[1])] == [True, True]


@pytest.mark.parametrize("name", ["poller", "stream", "memory", "http1"])
async def test_revocation_closes_on_every_transport(name: Any) -> None:
    app = serving()
    async with Way(name).visit(app) as visitor, visitor.connect("/a", headers={"user": "ada"}) as ws:
        assert await is_open(ws)
        await app.revoke("ada", code=4000, reason="signed out")
        assert (await code_of(ws), ws.close_reason) == (4000, "signed out")
        assert ws.closed_cleanly
    assert len(app.connections.revocations) == 0


async def test_user_who_signs_in_again_stays() -> None:
    app = serving()
    async with app.test_client() as client, connected(client, "ada") as old:
        await app.revoke("ada")
        async with connected(client, "ada") as new:
            assert await code_of(old[0]) == 4401
            assert await is_open(new[0])
            await app.revoke("eve")
            assert await is_open(new[0])
            await app.revoke("ada")
            assert await code_of(new[0]) == 4401


@pytest.mark.parametrize(("age", "stays"), [(-60, True), (60, False), (None, False)])
async def test_credentials_issued_later_are_not_concerned(age: float | None, stays: bool) -> None:
    """A revocation that arrives late, after its user has signed in again."""
    app = serving(issued_at=None if age is None else time.time() - age)
    async with app.test_client() as client, connected(client, "ada") as connections:
        await app.revoke("ada")
        if stays:
            assert await is_open(connections[0])
        else:
            assert await code_of(connections[0]) == 4401


# --- while the handshake is on its way ----------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["guard", "dependency", "accept"])
@pytest.mark.parametrize("gap", [False, True])
async def test_revocation_during_the_handshake_refuses_it(when: str, gap: bool) -> None:
    """Whether the guard has the credentials before it comes or after it."""
    app = App()

    async def revoke() -> None:
        if gap:
            app.connections.revocations.on_gap(None)
        else:
            await app.revoke("ada")

    async def guard(context: GuardContext) -> Credentials:
        if when == "guard":
            await revoke()
        return Credentials("ada")

    async def dependency() -> int:
        if when == "dependency":
            await revoke()
        return 1

    @app.websocket("/a", guards=[guard], auto_accept=when != "accept")
    async def view(ws: WebSocket, it: Annotated[int, Depends(dependency)]) -> None:
        await revoke()
        await ws.accept()
        pytest.fail("accepted")

    assert await status_of(app, "/a") == (503 if gap else 401)
    assert len(app.connections.revocations) == 0


class LateHandshake(PendingHandshake):
    """A handshake whose answer takes as long as a function."""

    def __init__(self, handshake: PendingHandshake, wait: Callable[[], Awaitable[object]]) -> None:
        self._handshake = handshake
        self._wait = wait

    async def accept(self, subprotocol: str | None, headers: Any) -> Channel:
        channel = await self._handshake.accept(subprotocol, headers)
        await self._wait()
        return channel

    async def reject(self, status: int, headers: Any, body: bytes) -> None:
        pytest.fail("rejected")


async def test_revocation_while_the_answer_is_sent_closes_at_once() -> None:
    """Between the last check and the first moment at which the connection is one."""
    app = App()

    async def guard(context: GuardContext) -> Credentials:
        own = context.websocket.context
        assert own.handshake is not None
        own.handshake = LateHandshake(own.handshake, lambda: app.revoke("ada"))
        return Credentials("ada")

    @app.websocket("/a", guards=[guard])
    async def view(ws: WebSocket) -> None:
        pytest.fail(f"received {await ws.receive()}")

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 4401


async def test_revocation_of_another_user_refuses_nothing() -> None:
    app = App()

    async def guard(context: GuardContext) -> Credentials:
        await app.revoke("eve")
        return Credentials("ada")

    @app.websocket("/a", guards=[guard])
    async def view(ws: WebSocket) -> None:
        await ws.send("welcome")

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await ws.receive() == "welcome"


@pytest.mark.parametrize(("age", "code"), [(0, 4401), (59, 4401), (61, 1000)])
async def test_check_in_the_handler_is_overtaken_by_a_revocation(autojump_clock: Any, age: float, code: int) -> None:
    async def view(ws: WebSocket) -> None:
        await app.revoke("ada")
        await trio.sleep(age)  # a check with a database that is slow
        await ws.renew(Credentials("ada"))

    app = app_of(view, "/a")
    async with app.test_client(timeout=100) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == code


@pytest.mark.parametrize("place", ["guard", "renewal"])
@pytest.mark.parametrize(
    ("before", "after", "code"), [("ada", None, 4401), ("ada", "eve", 1012), ("eve", "eve", 1000), (None, None, 1000)]
)
async def test_check_that_outlasts_the_memory_misses_nothing(
    autojump_clock: Any, place: str, before: str | None, after: str | None, code: int
) -> None:
    """If there were revocations that are forgotten, nobody knows any more whose, and it has to be made again."""
    app = App(timeouts=Timeouts(open_timeout=200))

    async def check() -> Credentials:
        for user in (before, after):
            if user is not None:
                await app.revoke(user)
            await trio.sleep(70)
        return Credentials("ada")

    app.renewal("auth")(check)

    @app.websocket("/guard", guards=[check])
    @app.websocket("/renewal")
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async with app.test_client(timeout=500) as client:
        outcome: int
        try:
            async with client.websocket_connect(f"/{place}") as ws:
                if place == "renewal":
                    await ws.send_json({"type": "auth"})
                    await trio.sleep(200)
                await ws.send("bye")
                if (place, code) == ("renewal", 1000):
                    assert (await ws.receive_json())["statusCode"] == 200
                outcome = await code_of(ws)
        except WebSocketDisconnect as end:
            outcome = end.code
        except ConnectionRejected as refusal:
            outcome = {503: 1012, 401: 4401}[refusal.status]
    assert outcome == code


async def test_past_revocations_are_forgotten(autojump_clock: Any) -> None:
    app = serving()
    async with app.test_client():
        for number in range(100):
            await app.revoke(number)
            await trio.sleep(10)
        assert len(internal(app.connections.revocations, "_recent")) <= 7


async def test_run_of_an_application_begins_without_revocations() -> None:
    """The clock of a run of Trio has nothing to do with that of the one before."""
    app = serving()
    for _ in range(2):
        async with app.test_client():
            assert len(internal(app.connections.revocations, "_recent")) == 0
            await app.revoke("ada")


# --- a gap --------------------------------------------------------------------------------------------------------


async def test_lost_revocations_close_all_users(caplog: pytest.LogCaptureFixture) -> None:
    """Any of them may be one whose revocation is lost; connections without a user stay."""
    app = serving(issued_at=time.time() + 60)  # by a clock that is ahead of this one

    @app.websocket("/anonymous")
    async def anonymous(ws: WebSocket) -> None:
        ws.expires_at(time.time() + 60)
        await ws.send(await ws.receive())

    async with app.test_client() as client, client.websocket_connect("/anonymous") as nobody:
        async with connected(client, "ada", "eve") as users:
            app.connections.revocations.on_gap(3)
            assert [await code_of(ws) for ws in users] == [1012, 1012]
        assert await is_open(nobody)
    assert "revocations may be lost (3)" in caplog.text


# --- callers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"user": None}, TypeError),
        ({"user": 1.5}, TypeError),
        ({"user": ""}, ValueError),
        ({"user": "\ud800"}, ValueError),
        ({"user": "ada", "code": 1006}, ValueError),
        ({"user": "ada", "code": None}, TypeError),
        ({"user": "ada", "reason": "x" * 124}, ValueError),
        ({"user": "ada", "reason": "\ud800"}, ValueError),
    ],
)
async def test_bad_revocation_is_refused_in_its_caller(arguments: Any, error: type[Exception]) -> None:
    app = serving()
    async with app.test_client() as client, connected(client, "ada") as connections:
        with pytest.raises(error):
            await app.revoke(**arguments)
        assert await is_open(connections[0])


@pytest.mark.parametrize(
    ("user", "revoked", "concerned"),
    [(7, 7, True), (7, "7", False), (UUID(int=7), str(UUID(int=7)), True), (2**70, 2**70, True), ("Ä\0", "Ä\0", True)],
    ids=["number", "text", "uuid", "large", "special"],
)
async def test_users_are_texts_numbers_and_uuids(user: Any, revoked: Any, concerned: bool) -> None:
    app, ended = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.renew(Credentials(user))
        await app.revoke(revoked)
        ended.append(not ws.connected)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == (4401 if concerned else 1000)
    assert ended == [concerned]


async def test_cancelled_revocation_has_done_nothing() -> None:
    app = serving()
    async with app.test_client() as client, connected(client, "ada") as connections:
        with trio.CancelScope() as scope:
            scope.cancel()
            await app.revoke("ada")
        assert scope.cancelled_caught
        assert await is_open(connections[0])


async def test_revocation_that_cannot_be_read_back_is_certain() -> None:
    class Slow(MemoryBackplane):
        async def sync(self, room: str) -> None:
            await trio.lowlevel.checkpoint()
            raise BackplaneUnavailable("away")

    app = serving(Slow())
    async with app.test_client() as client, connected(client, "ada") as connections:
        await app.revoke("ada")
        assert await code_of(connections[0]) == 4401


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"user": "ada", "code": 1, "reason": "", "time": 0}'])
async def test_foreign_entry_is_skipped(text: str, caplog: pytest.LogCaptureFixture) -> None:
    backplane = MemoryBackplane()
    app = serving(backplane)
    async with app.test_client() as client, connected(client, "ada") as connections:
        await backplane.publish(REVOCATIONS, PreparedMessage(text), frozenset())
        assert await is_open(connections[0])
        await app.revoke("ada")
        assert await code_of(connections[0]) == 4401
    assert "error in a subscriber" in caplog.text


async def test_included_application_shares_users() -> None:
    guest, app = serving(), App()
    app.include(guest, prefix="/guest")
    async with app.test_client() as client:
        for revoke in (app.revoke, guest.revoke):
            async with client.websocket_connect("/guest/a", headers={"user": "ada"}) as ws:
                assert await is_open(ws)
                await revoke("ada")
                assert await code_of(ws) == 4401


async def test_handler_may_revoke_its_own_user() -> None:
    app, ended = App(), []

    @app.listener("/a")
    async def receive(ws: WebSocket, data: Any) -> str:
        await app.revoke("ada")
        return "never sent"

    @receive.on_connect
    async def connect(ws: WebSocket) -> None:
        await ws.renew(Credentials("ada"))

    @receive.on_disconnect
    async def leave(code: int) -> None:
        ended.append(code)

    async with app.test_client() as client, client.websocket_connect("/a") as ws:
        await ws.send_json("sign out everywhere")
        assert await code_of(ws) == 4401
    assert ended == [4401]


@pytest.mark.parametrize("way", ["closed", "refused", "renewed late", "failed"])
async def test_nothing_is_kept_of_users_that_have_gone(way: str) -> None:
    app = App()

    async def late(ws: WebSocket) -> AsyncIterator[int]:
        yield 1
        if way == "renewed late":
            await ws.renew(Credentials("ada"))

    async def guard(context: GuardContext) -> Credentials:
        return Credentials("eve" if way != "renewed late" else None)

    async def refuse() -> bool:
        return way != "refused"

    @app.on_error
    async def on_error(ws: WebSocket, error: BaseException) -> None:
        await ws.renew(Credentials("eve", issued_at=1))

    @app.websocket("/a", guards=[guard, refuse])
    async def view(ws: WebSocket, it: Annotated[int, Depends(late)]) -> None:
        if way == "failed":
            raise LookupError

    async with app.test_client(raise_server_errors=False) as client:
        if way == "refused":
            assert await status_of(client, "/a") == 403
        else:
            async with client.websocket_connect("/a") as ws:
                await code_of(ws)
        assert len(app.connections.revocations) == 0


async def test_client_that_leaves_in_its_handshake_is_forgotten() -> None:
    app, waits = App(), trio.Event()

    async def guard(context: GuardContext) -> Credentials:
        return Credentials("ada")

    async def slow() -> int:
        waits.set()
        await trio.sleep_forever()
        return 1

    @app.websocket("/a", guards=[guard])
    async def view(ws: WebSocket, it: Annotated[int, Depends(slow)]) -> None: ...

    async def connect() -> None:
        async with client.websocket_connect("/a"):
            pass

    async with app.test_client() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await waits.wait()
            assert len(app.connections.revocations) == 1
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert len(app.connections.revocations) == 0
