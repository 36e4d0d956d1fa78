"""Credentials: connections that are open until a time, are renewed, and are warned before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any
from uuid import UUID

import attrs
import pytest
import trio
from support.endings import code_of, refusal_of
from support.handlers import app_of, echo, until_cancelled
from support.internals import internal
from trio.testing import memory_stream_pair

from tests.documented.ways import Way
from trio_ws import (
    App,
    BlockingWebSocket,
    ConnectionRejected,
    Credentials,
    Depends,
    LocalProtocolError,
    Timeouts,
    WebSocket,
    WebSocketDisconnect,
    open_websocket,
    serve_stream,
)
from trio_ws.app import GuardContext
from trio_ws.websocket.credentials import epoch_seconds, user_key

LONG = 1e6
"""Seconds, most of them virtual, that a client waits."""


def in_seconds(seconds: float) -> float:
    """Return a time as the `exp` of a token has it, and not cut to whole seconds."""
    return time.time() + seconds


def echoing(**of_guard: Any) -> App:
    """Return an application whose guard makes credentials at each handshake: values, or functions without arguments."""
    app = App()

    async def guard(context: GuardContext) -> Credentials:
        made = {
            name: value() if callable(value) and name == "expires_at" else value for name, value in of_guard.items()
        }
        return Credentials("ada", **made)

    app.websocket("/a", guards=[guard])(echo)

    return app


# --- times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        (datetime(2030, 1, 1), ValueError, "with a time zone"),
        (float("nan"), ValueError, "seconds since 1970"),
        (float("inf"), ValueError, "seconds since 1970"),
        (1_700_000_000_000, ValueError, "milliseconds"),
        (True, TypeError, "aware datetime"),
        ("2030-01-01", TypeError, "aware datetime"),
        (timedelta(1), TypeError, "aware datetime"),
    ],
)
async def test_no_time_is_refused_in_its_caller(given: Any, error: type[Exception], text: str) -> None:
    app, caught = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(error, match=text):
            ws.expires_at(given)
        with pytest.raises(error, match=text):
            await ws.renew(given)
        caught.append(ws.credentials)

    with pytest.raises(error, match=text):
        Credentials(expires_at=given)
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 1000
    assert caught == [None]


def test_times_are_seconds_of_the_epoch_in_any_zone() -> None:
    moment = datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=5)))
    assert epoch_seconds("time", moment) == moment.timestamp()
    assert Credentials(expires_at=moment).expires_at == moment.timestamp()
    assert epoch_seconds("time", -5) == -5.0


def test_the_last_time_is_in_9999_and_is_named_in_milliseconds() -> None:
    last = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
    assert epoch_seconds("time", last) == last
    for given, asked in ((last + 1, True), (1000 * last, True), (1000 * last + 1, False)):
        with pytest.raises(ValueError, match="until the year 9999") as caught:
            epoch_seconds("time", given)
        assert str(caught.value).endswith("are they milliseconds?") == asked


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"user": 1.5}, TypeError, "a user is"),
        ({"user": True}, TypeError, "a user is"),
        ({"user": ""}, ValueError, "empty"),
        ({"user": "\ud800"}, ValueError, "surrogate"),
        ({"code": 1005}, ValueError, "may not be sent"),
        ({"code": "4401"}, TypeError, "whole number"),
        ({"reason": "x" * 124}, ValueError, "at most 123"),
        ({"warn_before": 0, "warning": "soon"}, ValueError, "more than 0"),
        ({"warn_before": float("nan"), "warning": "soon"}, ValueError, "more than 0"),
        ({"warn_before": "30", "warning": "soon"}, TypeError, "number of seconds"),
        ({"warn_before": 30}, ValueError, "needs on_expiring"),
        ({"warning": "soon"}, ValueError, "warn_before is missing"),
        ({"warn_before": 30, "on_expiring": print}, TypeError, "async function"),
    ],
)
def test_credentials_that_make_no_sense_are_refused(options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Credentials(**options)


def test_users_are_compared_by_text_or_number() -> None:
    number = UUID(int=7)
    assert user_key(number) == user_key(str(number))
    assert user_key(4) != user_key("4")


# --- expiry ------------------------------------------------------------------------------------------------------


async def test_expired_connection_is_closed_with_its_code(autojump_clock: Any) -> None:
    async with echoing(expires_at=lambda: in_seconds(60)).test_client(timeout=LONG) as client:
        async with client.websocket_connect("/a") as ws:
            await client.clock.sleep(59)
            await ws.send("still there")
            assert await ws.receive() == "still there"
            await client.clock.sleep(2)
            assert await code_of(ws) == 4401
            assert ws.close_reason == "credentials expired"


async def test_code_and_reason_of_the_end_are_the_credentials(autojump_clock: Any) -> None:
    app = echoing(expires_at=lambda: in_seconds(60), code=4000, reason="sign in again")
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert (await code_of(ws), ws.close_reason) == (4000, "sign in again")


@pytest.fixture(params=["poller", "stream", "memory", "http1"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


async def test_credentials_expire_on_every_transport(way: Way) -> None:
    app, ended = App(), []

    @app.listener("/a")
    async def receive(data: Any) -> None: ...

    @receive.on_connect
    async def connect(ws: WebSocket) -> None:
        ws.expires_at(datetime.now(UTC) + timedelta(seconds=0.02))

    @receive.on_disconnect
    async def leave(code: int) -> None:
        ended.append(code)

    async with way.visit(app) as visitor, visitor.connect("/a") as ws:
        assert await code_of(ws) == 4401
        assert ws.closed_cleanly
    assert ended == [4401]


async def test_handler_without_a_loop_is_cancelled_at_expiry(autojump_clock: Any) -> None:
    app, ended = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        ws.expires_at(in_seconds(60))
        await until_cancelled(lambda _: ended.append(ws.close_code))

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 4401
    assert ended == [4401]


async def test_messages_after_expiry_are_not_received(autojump_clock: Any) -> None:
    app, got = App(timeouts=Timeouts(ping_interval=None, close_timeout=100)), []

    @app.websocket("/a", when_peer_leaves="finish")
    async def view(ws: WebSocket) -> None:
        ws.expires_at(in_seconds(60))
        await trio.sleep(70)
        got.append("awake")
        got.append(await ws.receive())

    async with app.test_client(timeout=LONG) as client, client.raw("/a") as peer:
        await client.clock.sleep(65)
        await peer.message("too late")
        assert (await peer.receive_close())[-1].close_code == 4401
        await client.clock.sleep(10)
    assert got == ["awake"]


@pytest.mark.parametrize("late", [0, 3600, 1_700_000_000])
async def test_past_time_closes_at_once(late: float) -> None:
    app, noted = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        ws.expires_at(in_seconds(-late))
        noted.append(ws.connected)
        await ws.receive()

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 4401
    assert noted == [False]


async def refused_by(app: App) -> ConnectionRejected:
    async with app.test_client(timeout=LONG) as client:
        return await refusal_of(client, "/a")


async def test_past_time_in_a_guard_refuses_with_401() -> None:
    refused = await refused_by(echoing(expires_at=in_seconds(-1)))
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert refused.body == b"credentials expired\n"


async def test_past_time_of_a_dependency_refuses_with_401() -> None:
    async def user(ws: WebSocket) -> str:
        ws.expires_at(in_seconds(-1))
        pytest.fail("raised nothing")

    async def view(ws: WebSocket, who: Annotated[str, Depends(user)]) -> None: ...

    assert (await refused_by(app_of(view, "/a"))).status == 401


async def test_expiry_during_the_handshake_refuses_with_401(autojump_clock: Any) -> None:
    async def slow() -> str:
        await trio.sleep(5)
        return "slow"

    async def guard(context: GuardContext) -> Credentials:
        return Credentials(expires_at=in_seconds(3))

    async def view(ws: WebSocket, it: Annotated[str, Depends(slow)]) -> None: ...

    assert (await refused_by(app_of(view, "/a", guards=[guard]))).status == 401


async def test_server_without_an_app_has_expiry(autojump_clock: Any) -> None:
    async def handler(ws: WebSocket) -> None:
        ws.expires_at(in_seconds(60))
        await ws.receive()

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, handler, theirs)
        async with open_websocket("ws://x/", stream=ours) as ws:
            with pytest.raises(LocalProtocolError, match="this side has opened"):
                ws.expires_at(in_seconds(60))
            assert await code_of(ws) == 4401


async def test_wall_clock_is_read_once(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a jump ahead ends the connection, nor one back keeps it."""
    async with echoing(expires_at=lambda: in_seconds(60)).test_client(timeout=LONG) as client:
        began = trio.current_time()
        for jump in (86400, -86400):
            async with client.websocket_connect("/a") as ws:
                with monkeypatch.context() as patch:
                    now = time.time
                    patch.setattr(time, "time", lambda jump=jump, now=now: now() + jump)
                    await client.clock.sleep(50)
                    await ws.send("there")
                    assert await ws.receive() == "there"
                    assert await code_of(ws) == 4401
        assert 119 < trio.current_time() - began < 125


# --- who ---------------------------------------------------------------------------------------------------------


async def test_handler_has_the_guards_credentials() -> None:
    @attrs.frozen
    class Signed(Credentials):
        roles: tuple[str, ...] = attrs.field(default=(), kw_only=True)

    app, seen = App(), []

    async def signed_in() -> Signed:
        return Signed("ada", expires_at=in_seconds(60), roles=("admin",))

    @app.websocket("/a", guards=[Depends(signed_in)])
    async def view(ws: WebSocket, who: Annotated[Signed, Depends(signed_in)]) -> None:
        assert ws.credentials is who
        ws.expires_at(in_seconds(90))
        seen.append(ws.credentials)

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a"):
        pass
    assert isinstance(seen[0], Signed)
    assert (seen[0].user, seen[0].roles) == ("ada", ("admin",))


@pytest.mark.parametrize("kind", ["thread", "class"])
async def test_guards_of_each_kind_return_credentials(kind: str) -> None:
    def in_thread(context: GuardContext) -> Credentials:
        return Credentials(7)

    class Guard:
        async def can_activate(self, context: GuardContext) -> Credentials:
            return Credentials(7)

    async def view(ws: WebSocket) -> None:
        assert ws.credentials is not None
        await ws.send_json(ws.credentials.user)

    app = app_of(view, "/a", guards=[in_thread if kind == "thread" else Guard])
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await ws.receive_json() == 7


# --- renewal -----------------------------------------------------------------------------------------------------


def renewing(renew: Callable[[], Any]) -> App:
    app = App()

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        ws.expires_at(in_seconds(60))
        async for _ in ws:
            await ws.renew(renew())

    return app


@pytest.mark.parametrize(
    "renew",
    [
        lambda: in_seconds(60),
        lambda: datetime.now(UTC) + timedelta(seconds=60),
        lambda: Credentials(expires_at=in_seconds(60)),
        lambda: Credentials("ada", expires_at=in_seconds(60)),
    ],
    ids=["seconds", "datetime", "credentials", "user"],
)
async def test_renewed_connection_stays(autojump_clock: Any, renew: Callable[[], Any]) -> None:
    async with renewing(renew).test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        began = trio.current_time()
        for _ in range(3):
            await client.clock.sleep(40)
            await ws.send("again")
        assert await code_of(ws) == 4401
        assert 179 < trio.current_time() - began < 182


async def test_renewal_for_an_earlier_time_ends_earlier(autojump_clock: Any) -> None:
    async with (
        renewing(lambda: in_seconds(5)).test_client(timeout=LONG) as client,
        client.websocket_connect("/a") as ws,
    ):
        began = trio.current_time()
        await ws.send("shorter")
        assert await code_of(ws) == 4401
        assert trio.current_time() - began < 6


async def test_renewal_without_a_time_never_expires(autojump_clock: Any) -> None:
    async with renewing(Credentials).test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        await ws.send("for ever")
        await client.clock.sleep(600)
        assert ws.connected


async def test_expired_renewal_closes_at_once(autojump_clock: Any) -> None:
    async with (
        renewing(lambda: in_seconds(-5)).test_client(timeout=LONG) as client,
        client.websocket_connect("/a") as ws,
    ):
        began = trio.current_time()
        await ws.send("old token")
        assert await code_of(ws) == 4401
        assert trio.current_time() - began < 1


async def test_renewal_by_another_user_is_refused() -> None:
    app, kept = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        await ws.renew(Credentials("ada", expires_at=in_seconds(60)))
        with pytest.raises(ValueError, match=r"'ada'.*'eve'"):
            await ws.renew(Credentials("eve", expires_at=in_seconds(600)))
        await ws.renew(Credentials(issued_at=5))
        kept.append(ws.credentials)

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 1000
    assert kept == [Credentials("ada", issued_at=5)]


async def test_guards_agree_on_the_user() -> None:
    app, ended = App(), list[Any]()

    def guard(*arguments: Any, **options: Any) -> Any:
        async def check(context: GuardContext) -> Credentials:
            return Credentials(*arguments, **options)

        return check

    @app.websocket("/a", guards=[guard("ada", issued_at=1), guard(expires_at=in_seconds(60))])
    async def view(ws: WebSocket) -> None:
        ended.append(ws.credentials)

    @app.websocket("/b", guards=[guard("ada"), guard("eve")])
    async def other(ws: WebSocket) -> None: ...

    async with app.test_client(raise_server_errors=False) as client:
        async with client.websocket_connect("/a"):
            pass
        with pytest.raises(ConnectionRejected) as refused:
            async with client.websocket_connect("/b"):
                pass
        assert len(app.connections.revocations) == 0
    assert refused.value.status == 500
    assert ended[0].user == "ada"
    assert ended[0].expires_at is not None


@pytest.mark.parametrize("substitute", ["value", "guard"])
async def test_overrides_stand_for_guards_with_credentials(substitute: str) -> None:
    async def signed_in() -> Credentials:
        raise LookupError("no database in tests")

    async def as_ada() -> Credentials:
        return Credentials("ada")

    async def view(ws: WebSocket) -> None:
        assert ws.credentials is not None
        await ws.send(str(ws.credentials.user))

    app = app_of(view, "/a", guards=[Depends(signed_in) if substitute == "value" else signed_in])
    overrides = {signed_in: Credentials("ada") if substitute == "value" else as_ada}
    async with app.test_client(overrides=overrides) as client, client.websocket_connect("/a") as ws:
        assert await ws.receive() == "ada"


async def test_renewal_after_the_end_raises_it(autojump_clock: Any) -> None:
    app, raised = App(), []

    @app.websocket("/a", when_peer_leaves="finish")
    async def view(ws: WebSocket) -> None:
        ws.expires_at(in_seconds(5))
        await trio.sleep(10)
        with pytest.raises(WebSocketDisconnect, match="4401"):
            ws.expires_at(in_seconds(60))
        try:
            await ws.renew(in_seconds(60))
        except WebSocketDisconnect as end:
            raised.append(end.code)
            raise

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 4401
    assert raised == [4401]


async def test_cancelled_renewal_changes_nothing() -> None:
    app, kept = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ws.renew(in_seconds(5))
        kept.append((scope.cancelled_caught, ws.credentials))

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 1000
    assert kept == [(True, None)]


async def test_plain_handlers_have_credentials() -> None:
    app, seen = App(), list[Any]()

    @app.websocket("/a")
    def view(ws: BlockingWebSocket) -> None:
        assert ws.credentials is None
        ws.expires_at(in_seconds(60), 4000, reason="over")
        ws.renew(Credentials("ada", expires_at=in_seconds(-1)))
        seen.append(ws.credentials)
        ws.receive()

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 4401
    assert seen[0].user == "ada"


async def test_many_connections_share_one_timer_task(autojump_clock: Any) -> None:
    """And renewals leave nothing behind: one entry for each connection, not for each renewal."""
    app, heaps = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        heap = internal(ws.context.open_channel(), "closing.timers._heap")
        before, tasks = len(heap), trio.lowlevel.current_statistics().tasks_living
        for renewal in range(1000):
            ws.expires_at(in_seconds(60 + renewal))
        await ws.renew(in_seconds(30))
        heaps.append((len(heap) - before, trio.lowlevel.current_statistics().tasks_living - tasks))
        await ws.receive()

    async with app.test_client(timeout=LONG) as client:
        async with client.websocket_connect("/a"), client.websocket_connect("/a") as ws:
            assert await code_of(ws) == 4401
    assert heaps == [(2, 0), (2, 0)]


# --- the warning -------------------------------------------------------------------------------------------------


async def test_warning_comes_ahead_of_expiry(autojump_clock: Any) -> None:
    called = []

    async def on_expiring(ws: WebSocket) -> None:
        called.append(ws.credentials)
        await ws.send("called")

    app = echoing(
        expires_at=lambda: in_seconds(60), warn_before=20, warning={"type": "expiring"}, on_expiring=on_expiring
    )
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        began = trio.current_time()
        assert await ws.receive_json() == {"type": "expiring"}
        assert 39 < trio.current_time() - began < 41
        assert await ws.receive() == "called"
        assert await code_of(ws) == 4401
        assert 59 < trio.current_time() - began < 61
    assert len(called) == 1


async def test_renewal_in_on_expiring_keeps_the_connection(autojump_clock: Any) -> None:
    called = []

    async def on_expiring(ws: WebSocket) -> None:
        called.append(trio.current_time())
        if len(called) < 4:
            await ws.renew(in_seconds(60))

    app = echoing(expires_at=lambda: in_seconds(60), warn_before=20, on_expiring=on_expiring)
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        began = trio.current_time()
        assert await code_of(ws) == 4401
    assert [round(moment - began) for moment in called] == [40, 80, 120, 160]


async def test_warning_of_a_short_time_comes_after_half_of_it(autojump_clock: Any) -> None:
    """Else each renewal would be followed by the next warning at once."""
    app = echoing(expires_at=lambda: in_seconds(10), warn_before=60, warning="soon")
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        began = trio.current_time()
        assert await ws.receive() == "soon"
        assert 4 < trio.current_time() - began < 6


async def test_error_of_on_expiring_is_logged_and_ends_nothing(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_expiring(ws: WebSocket) -> None:
        raise LookupError("no mail server")

    app = echoing(expires_at=lambda: in_seconds(60), warn_before=20, on_expiring=on_expiring)
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        await client.clock.sleep(50)
        await ws.send("there")
        assert await ws.receive() == "there"
        assert await code_of(ws) == 4401
    assert "error in on_expiring" in caplog.text
    assert "no mail server" in caplog.text


async def test_on_expiring_ends_with_its_connection(autojump_clock: Any) -> None:
    ended = []

    async def on_expiring(ws: WebSocket) -> None:
        await until_cancelled(lambda _: ended.append(ws.close_code))

    app = echoing(expires_at=lambda: in_seconds(60), warn_before=20, on_expiring=on_expiring)
    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        await client.clock.sleep(50)
        await ws.close()
    assert ended == [1000]


async def test_warning_that_has_no_form_in_json_is_refused() -> None:
    app, caught = App(), []

    @app.websocket("/a")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(TypeError):
            ws.expires_at(in_seconds(60), warn_before=5, warning=object())
        caught.append(ws.credentials)

    async with app.test_client(timeout=LONG) as client, client.websocket_connect("/a") as ws:
        assert await code_of(ws) == 1000
    assert caught == [None]


async def test_credentials_without_a_time_neither_warn_nor_expire(autojump_clock: Any) -> None:
    async with echoing(warn_before=20, warning="soon").test_client(timeout=LONG) as client:
        async with client.websocket_connect("/a") as ws:
            await client.clock.sleep(600)
            await ws.send("there")
            assert await ws.receive() == "there"
